"""The local stack of one checkout: up, down, and the kills that tests and demo need.

A server whose URL is given in the environment (SYSTEM2_DATABASE_URL, SYSTEM2_AMQP_URL) is used
where it is and never started, stopped or changed.
"""

import shutil
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ops.stack import home, postgres, processes, rabbitmq
from ops.stack.home import Stack
from ops.stack.locks import one_at_a_time
from ops.stack.ports import is_free, pick

Tell = Callable[[str], None]
NOTHING_GIVEN: Mapping[str, str] = {}
TURN_SECONDS = 240.0


class Endpoints(NamedTuple):
    """Where the servers are. None: a server that is not ours, so we do not know. Holds secrets."""

    database_url: str
    amqp_url: str
    management_url: str | None = None
    prometheus_url: str | None = None

    def environment(self) -> dict[str, str]:
        """The settings that point System2's processes at these servers."""
        given = {
            "SYSTEM2_DATABASE_URL": self.database_url,
            "SYSTEM2_AMQP_URL": self.amqp_url,
            "SYSTEM2_MANAGEMENT_URL": self.management_url,
        }
        return {name: value for name, value in given.items() if value}


def tell_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def up(
    root: Path, *, tell: Tell = tell_stderr, environ: Mapping[str, str] = NOTHING_GIVEN
) -> Endpoints:
    """Start what does not run yet, both servers at once; returns when both answer."""
    if _all_given(environ):
        tell("Both servers are given by the environment: nothing to start.")
        return _endpoints(None, environ)
    home.prepare(root)
    with one_at_a_time(home.turn(root), wait_seconds=TURN_SECONDS):
        stack = _remembered(root, tell)
        starts: list[tuple[str, Callable[[Stack], bool], int]] = []
        if not environ.get("SYSTEM2_DATABASE_URL"):
            starts.append(("PostgreSQL", postgres.ensure_running, stack.ports.database))
        if not environ.get("SYSTEM2_AMQP_URL"):
            starts.append(("RabbitMQ", rabbitmq.ensure_running, stack.ports.amqp))
        with ThreadPoolExecutor() as pool:
            for done in [pool.submit(_start, *each, stack, tell) for each in starts]:
                done.result()
        return _endpoints(stack, environ)


def _all_given(environ: Mapping[str, str]) -> bool:
    return bool(environ.get("SYSTEM2_DATABASE_URL") and environ.get("SYSTEM2_AMQP_URL"))


def _start(name: str, ensure: Callable[[Stack], bool], port: int, stack: Stack, tell: Tell) -> None:
    began = time.monotonic()
    started = ensure(stack)
    took = f" after {time.monotonic() - began:.1f} s" if started else ", as before"
    tell(f"{name} is ready on 127.0.0.1:{port}{took}.")


def _remembered(root: Path, tell: Tell) -> Stack:
    """The stack of this checkout, with ports that are free or its own."""
    stack = home.load(root)
    if stack is None:
        accounts = [owner for owner in (postgres.owner(), rabbitmq.owner()) if owner]
        stack = home.invent(root, accounts, tell)
    _clear_orphans(stack)
    stack = stack._replace(ports=_usable(root, stack))
    home.save(root, stack)
    return stack


def _clear_orphans(stack: Stack) -> None:
    """End what outlived a killed server: it would keep the data locked and the ports taken."""
    for server in (*_servers(stack), rabbitmq.port_mapper(stack)):
        if not processes.running(server):
            processes.kill(server)


def _servers(stack: Stack) -> list[processes.Server]:
    return [postgres.server(stack), rabbitmq.server(stack)]


def _usable(root: Path, stack: Stack) -> home.Ports:
    """The remembered ports; those of a stopped server that a stranger took are picked anew."""
    resting: list[str] = []
    if not processes.running(postgres.server(stack)):
        resting.append("database")
    if not processes.running(rabbitmq.server(stack)):
        resting += ["amqp", "management", "prometheus", "distribution"]
        if not processes.running(rabbitmq.port_mapper(stack)):
            resting.append("epmd")
    lost = [name for name in resting if not is_free(getattr(stack.ports, name))]
    picked = pick(root, len(lost), taken=stack.ports)
    return stack.ports._replace(**dict(zip(lost, picked, strict=True)))


def endpoints(root: Path, environ: Mapping[str, str] = NOTHING_GIVEN) -> Endpoints | None:
    """Where this checkout's servers are or would be; None before the first `up`."""
    given = _all_given(environ)
    stack = None if given else home.load(root)
    return _endpoints(stack, environ) if stack or given else None


def _endpoints(stack: Stack | None, environ: Mapping[str, str]) -> Endpoints:
    amqp_given = environ.get("SYSTEM2_AMQP_URL")
    ours = stack if stack and not amqp_given else None
    return Endpoints(
        database_url=environ.get("SYSTEM2_DATABASE_URL") or (postgres.url(stack) if stack else ""),
        amqp_url=amqp_given or (rabbitmq.url(stack) if stack else ""),
        management_url=environ.get("SYSTEM2_MANAGEMENT_URL")
        or (rabbitmq.management_url(ours) if ours else None),
        prometheus_url=f"http://127.0.0.1:{ours.ports.prometheus}/metrics" if ours else None,
    )


def down(root: Path, *, wipe: bool = False, tell: Tell = tell_stderr) -> None:
    """Stop our servers within bounded time; `wipe` kills them and deletes their data."""
    stack = home.load(root)
    if stack is None:
        tell("Nothing runs: this checkout has no local stack.")
        return
    with one_at_a_time(home.turn(root), wait_seconds=TURN_SECONDS):
        _stop(stack, tell, at_once=wipe)
        if wipe:
            _delete(root, stack)
            tell("Its data are deleted.")


def _stop(stack: Stack, tell: Tell, *, at_once: bool) -> None:
    stop = processes.kill if at_once else processes.stop
    ran = [server for server in _servers(stack) if processes.running(server)]
    with ThreadPoolExecutor() as pool:
        list(pool.map(stop, ran))
    _clear_orphans(stack)
    processes.stop(rabbitmq.port_mapper(stack))  # last: the broker signs off there
    tell(f"Stopped: {', '.join(server.name for server in ran) or 'nothing ran'}.")


def _delete(root: Path, stack: Stack) -> None:
    if stack.data != home.directory(root):
        shutil.rmtree(stack.data, ignore_errors=True)
        with suppress(OSError):  # other checkouts may have theirs beside it
            stack.data.parent.rmdir()
    shutil.rmtree(home.directory(root))


def kill_database(root: Path) -> None:
    """SIGKILL PostgreSQL, every process of it."""
    stack = home.load(root)
    if stack:
        processes.kill(postgres.server(stack))


def kill_broker(root: Path) -> None:
    """SIGKILL RabbitMQ; its port mapper stays."""
    stack = home.load(root)
    if stack:
        processes.kill(rabbitmq.server(stack))
