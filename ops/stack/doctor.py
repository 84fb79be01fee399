"""What is there and what is missing: the state of both servers, and a list of checks.

Every check says what it found and, where it failed, what to do.
"""

import re
import shutil
import sys
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from ops.stack import amqp_probe, binaries, home, postgres, rabbitmq
from ops.stack.errors import StackError
from ops.stack.home import Stack
from ops.stack.listeners import listeners
from ops.stack.processes import run, running

OLDEST_POSTGRES = 15
ENOUGH_DISK_BYTES = 2_000_000_000
SET_UP = "run `make setup`"


class ServerStatus(NamedTuple):
    """One server as it is now: running, given (by its URL), stopped or unreachable."""

    name: str
    state: str
    detail: str

    @property
    def answers(self) -> bool:
        return self.state in ("running", "given")


class Check(NamedTuple):
    """One line of the doctor."""

    name: str
    ok: bool
    found: str
    remedy: str


def status(root: Path, environ: Mapping[str, str]) -> list[ServerStatus]:
    """Both servers, by a real query and a real handshake."""
    stack = home.load(root)
    database = postgres.url(stack) if stack and running(postgres.server(stack)) else None
    broker = rabbitmq.url(stack) if stack and running(rabbitmq.server(stack)) else None
    return [
        _status("PostgreSQL", environ.get("SYSTEM2_DATABASE_URL"), database, _ask_database),
        _status("RabbitMQ", environ.get("SYSTEM2_AMQP_URL"), broker, _ask_broker),
    ]


def _status(
    name: str, given: str | None, ours: str | None, ask: Callable[[str], str]
) -> ServerStatus:
    url = given or ours
    if url is None:
        return ServerStatus(name, "stopped", "`system2 up` starts it")
    try:
        answer = ask(url)
    except (OSError, StackError) as error:
        return ServerStatus(name, "unreachable", f"{_place(url)}: {error}")
    return ServerStatus(name, "given" if given else "running", f"{_place(url)}{answer}")


def _ask_database(url: str) -> str:
    return f", version {postgres.query(url, 'SHOW server_version')[0]}"


def _ask_broker(url: str) -> str:
    amqp_probe.shake_hands(url)
    return ""


def _place(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


def checks(root: Path, environ: Mapping[str, str]) -> list[Check]:
    """Everything System2 needs here, in the order in which one would mend it."""
    database, broker = status(root, environ)
    found = [_python(), _packages()]
    if not environ.get("SYSTEM2_DATABASE_URL"):
        found.append(_postgres_programs())
    if not environ.get("SYSTEM2_AMQP_URL"):
        found.append(_rabbitmq_programs())
    found += [_disk(root), _server(database), _server(broker)]
    stack = home.load(root)
    url = environ.get("SYSTEM2_DATABASE_URL") or (postgres.url(stack) if stack else None)
    if url and database.answers:
        found += _durability(url)
    if stack:
        found.append(_loopback(stack))
    return found


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    remedy = "install Python 3.11 or newer and run `make setup`"
    return Check("python", sys.version_info >= (3, 11), version, remedy)


def _packages() -> Check:
    """Whether everything that setup.cfg asks for can be found; pip keeps the versions right."""
    required = [line for line in metadata.requires("system2") or [] if "extra ==" not in line]
    missing = [name for name in map(_name, required) if not _installed(name)]
    found = f"missing: {', '.join(missing)}" if missing else f"{len(required)} installed"
    return Check("python packages", not missing, found, SET_UP)


def _name(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement)[0]


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _postgres_programs() -> Check:
    directory = binaries.postgres_directory()
    remedy = f"{SET_UP}, or set SYSTEM2_DATABASE_URL"
    if directory is None:
        return Check("postgresql programs", False, "not installed", remedy)
    said = run([directory / "postgres", "--version"], None, {}).stdout
    major = re.search(r"\d+", said)
    new_enough = major is not None and int(major[0]) >= OLDEST_POSTGRES
    return Check("postgresql programs", new_enough, f"{said.strip()}, {directory}", remedy)


def _rabbitmq_programs() -> Check:
    program = binaries.rabbitmq_server()
    ok = program is not None and binaries.epmd() is not None
    remedy = f"{SET_UP}, or set SYSTEM2_AMQP_URL"
    return Check("rabbitmq programs", ok, str(program or "not installed"), remedy)


def _disk(root: Path) -> Check:
    free = shutil.disk_usage(root).free
    remedy = "make room: the broker stops publishers when 512 MB are left"
    return Check("disk", free > ENOUGH_DISK_BYTES, f"{free / 1e9:.0f} GB free", remedy)


def _server(server: ServerStatus) -> Check:
    remedy = "run `system2 up`" if server.state == "stopped" else "look at its log"
    return Check(server.name, server.answers, f"{server.state}, {server.detail}", remedy)


def _durability(url: str) -> list[Check]:
    """What PostgreSQL must not be tuned out of, and the standby that a fail-over needs."""
    names = ("fsync", "full_page_writes", "synchronous_commit")
    values = {name: postgres.query(url, f"SHOW {name}")[0] for name in names}
    said = ", ".join(f"{name} {value}" for name, value in values.items())
    durable = "off" not in values.values()
    statistics = postgres.query(url, "SHOW shared_preload_libraries")[0]
    return [
        Check("durability", durable, said, "set all three to on: a crash would lose orders"),
        Check(
            "pg_stat_statements",
            "pg_stat_statements" in statistics,
            statistics or "not loaded",
            "add it to shared_preload_libraries: `system2 bench` counts statements with it",
        ),
        _standby(url),
    ]


def _standby(url: str) -> Check:
    states = postgres.query(url, "SELECT sync_state FROM pg_stat_replication")
    safe = not states or any(state in ("sync", "quorum") for state in states)
    found = f"{len(states)} standbys: {', '.join(states)}" if states else "no standby"
    remedy = "make one standby synchronous: a fail-over to an asynchronous one loses orders"
    return Check("standby", safe, found, remedy)


def _loopback(stack: Stack) -> Check:
    open_to_all = [
        f"{listener.address}:{listener.port}"
        for listener in listeners()
        if listener.port in stack.ports and not listener.local_only
    ]
    found = f"open to others: {', '.join(open_to_all)}" if open_to_all else "nothing else"
    return Check("loopback only", not open_to_all, found, "run `system2 down`, then `system2 up`")
