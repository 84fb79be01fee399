"""Whose CPU time is whose: read from processes that really run."""

import os
import subprocess
import sys
from time import process_time

import pytest

from ops.bench import cpu

pytestmark = pytest.mark.skipif(not cpu.all_processes(), reason="there is no /proc here")

WORK_SECONDS = 0.1
TICK = 1 / cpu.TICKS
WORK_AND_WAIT = (
    "from time import process_time\n"
    f"while process_time() < {WORK_SECONDS} + 0.1: pass\n"
    "print('done', flush=True)\n"
    "input()"
)


def test_work_is_found_in_the_group_that_did_it() -> None:
    groups = {"mine": [os.getpid()]}
    before = cpu.snapshot(groups)
    until = process_time() + WORK_SECONDS
    while process_time() < until:
        pass
    after = cpu.snapshot(groups)
    assert after["mine"] - before["mine"] >= WORK_SECONDS - 2 * TICK
    assert after[cpu.MACHINE] > before[cpu.MACHINE]


def test_children_belong_to_the_group_of_their_parent_unless_they_have_their_own() -> None:
    command = (sys.executable, "-c", WORK_AND_WAIT)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as child:  # type: ignore[call-overload]
        child.stdout.readline()
        apart = cpu.snapshot({"mine": [os.getpid()], "child": [child.pid]})
        together = cpu.snapshot({"mine": [os.getpid()]})
        child.stdin.write("\n")
    assert apart["child"] >= WORK_SECONDS
    assert together["mine"] >= apart["mine"] + WORK_SECONDS - TICK
