"""Named places where a test may kill this process, to show that nothing is lost there.

SYSTEM2_CRASH_AT="name:nth" sends SIGKILL at the nth passing of a point; SYSTEM2_CRASH_LOG names
a file that gets one line per passing. Without either a point costs one comparison.
"""

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

Passing = Callable[[str], None]


def _nobody(name: str) -> None:
    """Nobody watches."""


def point(name: str) -> None:
    """Say that this place, such as `puller.publish.before`, is passed now."""
    if _watcher is not _nobody:
        _watcher(name)


def armed(environment: Mapping[str, str]) -> Passing:
    """What to do at each point in this environment. Raises ValueError if it cannot be read."""
    watchers: list[Passing] = []
    if log := environment.get("SYSTEM2_CRASH_LOG"):
        watchers.append(_written_to(Path(log)))
    if where := environment.get("SYSTEM2_CRASH_AT"):
        watchers.append(_killing_at(where))
    return partial(_tell, watchers) if watchers else _nobody


def _tell(watchers: Sequence[Passing], passing: str) -> None:
    for watch in watchers:
        watch(passing)


def _killing_at(where: str) -> Passing:
    name, _, nth = where.rpartition(":")
    if not name or not nth.isdecimal() or int(nth) < 1:
        raise ValueError(f"SYSTEM2_CRASH_AT is name:nth with nth from 1, not {where!r}")
    passed: Counter[str] = Counter()

    def watch(passing: str) -> None:
        passed[passing] += 1
        if passing == name and passed[name] == int(nth):
            os.kill(os.getpid(), signal.SIGKILL)

    return watch


def _written_to(log: Path) -> Passing:
    # O_APPEND: lines of several processes do not cut one another, and none waits in a buffer
    # when the process is killed.
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    return lambda passing: _write(file, passing)


def _write(file: int, passing: str) -> None:
    os.write(file, f"{passing}\n".encode())


@contextmanager
def recording() -> Iterator[list[str]]:
    """The names passed inside the block, in order."""
    global _watcher
    before, names = _watcher, list[str]()
    _watcher = names.append
    try:
        yield names
    finally:
        _watcher = before


_watcher = armed(os.environ)
