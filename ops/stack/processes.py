"""Starts a server in the background, under its lock and its account, and stops it for certain."""

import os
import pwd
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ops.stack.locks import exclusive, holders

LOCK_WAIT_SECONDS = 2.0
KILL_WAIT_SECONDS = 10.0


class Account(NamedTuple):
    """The system user a server runs as when we are root."""

    name: str
    uid: int
    gid: int


class Server(NamedTuple):
    """One server's files: what it holds while it runs, and what it says."""

    name: str
    lock: Path
    log: Path
    stop_signal: signal.Signals
    stop_seconds: float


def account(name: str) -> Account | None:
    """The account to drop privileges to: None for a plain user, or where there is none such."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def give(path: Path, owner: Account | None) -> None:
    """Hand `path` to the server's account."""
    if owner:
        os.chown(path, owner.uid, owner.gid)


def run(
    command: Sequence[str | Path], owner: Account | None, environ: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a short program as the server's account."""
    return subprocess.run(
        [*map(str, command)],
        cwd="/",
        env=environ,
        user=owner.uid if owner else None,
        group=owner.gid if owner else None,
        extra_groups=[] if owner else None,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def start(
    server: Server,
    command: Sequence[str | Path],
    owner: Account | None,
    environ: Mapping[str, str],
) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own, holding the server's lock."""
    with (
        exclusive(server.lock, wait_seconds=LOCK_WAIT_SECONDS) as descriptor,
        server.log.open("ab") as log,
    ):
        process = subprocess.Popen(
            [*map(str, command)],
            cwd="/",
            env=environ,
            user=owner.uid if owner else None,
            group=owner.gid if owner else None,
            extra_groups=[] if owner else None,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(descriptor,),
            start_new_session=True,
        )
        os.pwrite(descriptor, f"{process.pid:<20}\n".encode(), 0)
    threading.Thread(target=process.wait, daemon=True).start()  # leaves no zombie behind
    return process


def running(server: Server) -> bool:
    """Whether the process we started is there; children may outlive it for a moment."""
    return leader(server) is not None


def leader(server: Server) -> int | None:
    """The process we started, if it is still there."""
    try:
        pid = int(server.lock.read_text())
    except (OSError, ValueError):
        return None
    return pid if pid in holders(server.lock) else None


def stop(server: Server) -> None:
    """Stop gracefully, and after `stop_seconds` for certain."""
    pid = leader(server)
    if pid is not None:
        _signal(pid, server.stop_signal)
        _wait_until_gone(server, server.stop_seconds)
    kill(server)


def kill(server: Server) -> None:
    """SIGKILL every process of the server at once; also children that outlived it."""
    for pid in holders(server.lock):
        _signal(pid, signal.SIGKILL)
    _wait_until_gone(server, KILL_WAIT_SECONDS)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _wait_until_gone(server: Server, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while holders(server.lock) and time.monotonic() < deadline:
        time.sleep(0.05)
