"""Who used the processor: seconds of CPU time by group of processes, from Linux's /proc.

A group is some processes and all that descend from them, those that have ended included, but for
what belongs to another group. Where there is no /proc there are no figures.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")
BUSY = (0, 1, 2, 5, 6)  # of the first line of /proc/stat: user, nice, system, irq, softirq
MACHINE = "machine"


class Process(NamedTuple):
    """`seconds`: its own CPU time, and that of its children that have ended."""

    name: str
    parent: int
    seconds: float


Snapshot = Mapping[str, float]


def snapshot(groups: Mapping[str, Sequence[int]]) -> Snapshot:
    """CPU seconds so far of each group, and of the whole machine."""
    processes = all_processes()
    if not processes:
        return {}
    used = _used(groups, processes)
    return {**used, MACHINE: _machine_seconds()}


def spent(before: Snapshot, after: Snapshot, orders: int) -> dict[str, float]:
    """Seconds per 1000 orders; `elsewhere` is what the machine did beside all groups."""
    used = {name: after[name] - before[name] for name in after}
    if MACHINE in used:
        machine = used.pop(MACHINE)
        used["elsewhere"] = max(0.0, machine - sum(used.values()))
    return {name: round(seconds / orders * 1000, 3) for name, seconds in used.items()}


def all_processes() -> dict[int, Process]:
    """What runs now, by number; nothing where there is no /proc."""
    if not (PROC / "stat").exists():
        return {}
    numbers = [int(entry.name) for entry in PROC.iterdir() if entry.name.isdecimal()]
    found = {number: _process(number) for number in numbers}
    return {number: process for number, process in found.items() if process is not None}


def _process(number: int) -> Process | None:
    try:
        stat = (PROC / str(number) / "stat").read_text()
    except OSError:  # it has just ended
        return None
    # The name may hold spaces and brackets.
    head, _, tail = stat.rpartition(")")
    fields = tail.split()
    # proc(5): 4 is the parent, 14 to 17 are utime, stime and those of children that have ended.
    seconds = sum(map(int, fields[11:15])) / TICKS
    return Process(head.partition("(")[2], int(fields[1]), seconds)


def _used(
    groups: Mapping[str, Sequence[int]], processes: Mapping[int, Process]
) -> dict[str, float]:
    belongs = {root: name for name, roots in groups.items() for root in roots}
    used = dict.fromkeys(groups, 0.0)
    for number, process in processes.items():
        ancestor = number
        while ancestor in processes and ancestor not in belongs:
            ancestor = processes[ancestor].parent
        if ancestor in belongs:
            used[belongs[ancestor]] += process.seconds
    return used


def _machine_seconds() -> float:
    fields = (PROC / "stat").read_text().partition("\n")[0].split()[1:]
    return sum(int(fields[place]) for place in BUSY) / TICKS
