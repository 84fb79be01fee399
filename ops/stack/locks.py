"""A server runs exactly as long as some process holds its lock file open.

The file's lock is taken before the server starts and inherited by it and its children, so it can
neither be forgotten nor outlive them, and no process id that was reused can be mistaken for ours:
a process is ours when /proc shows it holding this lock.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ops.stack.errors import Busy, DataDirectoryInUse


@contextmanager
def exclusive(path: Path, *, wait_seconds: float) -> Iterator[int]:
    """The locked descriptor of `path`, for a server to inherit; DataDirectoryInUse if taken."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not _lock(descriptor, wait_seconds):
            raise DataDirectoryInUse(path)
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def one_at_a_time(path: Path, *, wait_seconds: float) -> Iterator[None]:
    """Only one command changes a stack at a time; the others wait for it, then raise Busy."""
    with path.open("a") as file:
        if not _lock(file.fileno(), wait_seconds):
            raise Busy(path)
        yield


def _lock(descriptor: int, wait_seconds: float) -> bool:
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.05)
        else:
            return True


def holders(path: Path) -> set[int]:
    """Processes other than this one that hold the lock of `path`, by themselves or inherited."""
    try:
        wanted = path.stat()
    except FileNotFoundError:
        return set()
    return {pid for pid in _processes() if pid != os.getpid() and _holds(pid, wanted)}


def _processes() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _holds(pid: int, wanted: os.stat_result) -> bool:
    """Having the file open is not enough: a backup or a search reads it too."""
    process = Path("/proc") / str(pid)
    try:
        for entry in os.scandir(process / "fd"):
            if _is(entry, wanted) and "FLOCK" in (process / "fdinfo" / entry.name).read_text():
                return True
    except OSError:  # it has just ended, or is another user's
        return False
    return False


def _is(entry: os.DirEntry[str], wanted: os.stat_result) -> bool:
    try:
        return os.path.samestat(entry.stat(), wanted)
    except OSError:  # closed meanwhile, or a pipe without a name
        return False
