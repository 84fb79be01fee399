"""The switch that kills a process at a named place."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dispatcher.crashpoints import armed, point, recording

PASSING = "from dispatcher.crashpoints import point\nfor n in range(5): point('a'); point('b')"


def test_a_process_is_killed_at_the_nth_passing(tmp_path: Path) -> None:
    log = tmp_path / "passed"
    environment = {"SYSTEM2_CRASH_AT": "b:3", "SYSTEM2_CRASH_LOG": str(log)}
    died = subprocess.run([sys.executable, "-c", PASSING], env=environment, check=False)
    assert died.returncode == -signal.SIGKILL
    assert log.read_text().split() == ["a", "b"] * 3


def test_the_names_passed_are_recorded() -> None:
    with recording() as names:
        point("puller.publish.before")
    point("puller.publish.after")
    assert names == ["puller.publish.before"]


@pytest.mark.parametrize("where", ["a", "a:", ":1", "a:0", "a:x"])
def test_an_unreadable_switch_is_refused_at_once(where: str) -> None:
    with pytest.raises(ValueError, match="name:nth"):
        armed({"SYSTEM2_CRASH_AT": where})
