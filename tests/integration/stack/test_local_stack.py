"""Two stacks side by side: one started as who runs the tests, one as a plain user.

As root, the first lies below a directory that the servers' users cannot enter.
"""

import fcntl
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import PIPE
from typing import NoReturn

import pytest

from ops.stack import doctor, home, local, postgres, processes, rabbitmq
from ops.stack.errors import DataDirectoryInUse
from ops.stack.home import Stack
from ops.stack.listeners import Listener, listeners
from ops.stack.locks import holders
from tests.integration.servers import create_vhost, manage

NOBODY = pwd.getpwnam("nobody")


def as_plain_user(act: Callable[[], object]) -> None:
    """Carry `act` out in a process that has given up root for good."""
    child = os.fork()
    if child == 0:
        _drop_and_act(act)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def _drop_and_act(act: Callable[[], object]) -> NoReturn:
    try:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY.pw_gid)
            os.setuid(NOBODY.pw_uid)
        act()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def stack_of(root: Path) -> Stack:
    stack = home.load(root)
    assert stack
    return stack


@pytest.fixture(scope="module")
def roots() -> Iterator[tuple[Path, Path]]:
    ours, plain = (Path(tempfile.mkdtemp(prefix="system2-", dir="/var/tmp")) for _ in range(2))
    if os.geteuid() == 0:
        os.chown(plain, NOBODY.pw_uid, NOBODY.pw_gid)
    try:
        with ThreadPoolExecutor() as pool:
            list(pool.map(_start, (ours, plain), (_in_place, as_plain_user)))
        yield ours, plain
    finally:
        local.down(ours, wipe=True)
        as_plain_user(lambda: local.down(plain, wipe=True))
        for root in (ours, plain):
            shutil.rmtree(root)


def _start(root: Path, run: Callable[[Callable[[], object]], None]) -> None:
    run(lambda: local.up(root))


def _in_place(act: Callable[[], object]) -> None:
    act()


def both(roots: tuple[Path, Path]) -> list[Stack]:
    return [stack_of(root) for root in roots]


def listening_on(stack: Stack) -> list[Listener]:
    return [listener for listener in listeners() if listener.port in stack.ports]


def pids(stack: Stack) -> set[int]:
    servers = (postgres.server(stack), rabbitmq.server(stack), rabbitmq.port_mapper(stack))
    return {pid for server in servers for pid in holders(server.lock)}


def test_two_checkouts_run_side_by_side(roots: tuple[Path, Path]) -> None:
    one, other = both(roots)
    assert one.node != other.node
    assert not set(one.ports) & set(other.ports)
    for root in roots:
        assert [server.state for server in doctor.status(root, {})] == ["running", "running"]


def test_nothing_listens_beyond_loopback(roots: tuple[Path, Path]) -> None:
    for stack in both(roots):
        heard = listening_on(stack)
        assert {listener.port for listener in heard} == set(stack.ports)
        assert [listener for listener in heard if not listener.local_only] == []


def test_no_server_runs_as_root(roots: tuple[Path, Path]) -> None:
    for stack in both(roots):
        running = pids(stack)
        assert running
        assert 0 not in {Path(f"/proc/{pid}").stat().st_uid for pid in running}


def test_secrets_are_readable_by_their_owner_only(roots: tuple[Path, Path]) -> None:
    for root, stack in zip(roots, both(roots), strict=True):
        cookie = stack.data / "rabbitmq" / ".erlang.cookie"
        assert stat.S_IMODE(cookie.stat().st_mode) == 0o400
        assert stat.S_IMODE((home.directory(root) / home.STATE).stat().st_mode) == 0o600


def test_data_lie_where_the_servers_users_can_reach_them(roots: tuple[Path, Path]) -> None:
    ours, plain = roots
    below = home.ELSEWHERE if os.geteuid() == 0 else ours
    assert stack_of(ours).data.is_relative_to(below)
    assert stack_of(plain).data == home.directory(plain)


def test_up_again_changes_nothing(roots: tuple[Path, Path]) -> None:
    before = pids(stack_of(roots[0]))
    local.up(roots[0])
    assert pids(stack_of(roots[0])) == before


def test_commits_are_durable(roots: tuple[Path, Path]) -> None:
    failed = [check for check in doctor.checks(roots[0], {}) if not check.ok]
    assert failed == []
    assert "durability" in [check.name for check in doctor.checks(roots[0], {})]


def test_a_killed_stack_comes_back_with_its_data(roots: tuple[Path, Path]) -> None:
    ours, _ = roots
    before = stack_of(ours)
    postgres.query(postgres.url(before), "CREATE TABLE kept ()")
    create_vhost(rabbitmq.management_url(before), "kept")
    local.kill_database(ours)
    local.kill_broker(ours)
    assert [server.state for server in doctor.status(ours, {})] == ["stopped", "stopped"]
    give_the_old_number_to_another_program(before)

    local.up(ours)

    assert stack_of(ours) == before
    assert postgres.query(postgres.url(before), "SELECT 'kept'::regclass") == ["kept"]
    vhosts = manage(rabbitmq.management_url(before), "GET", "vhosts?columns=name")
    assert isinstance(vhosts, list)
    assert {"name": "kept"} in vhosts


def give_the_old_number_to_another_program(stack: Stack) -> None:
    """As if a process id had been reused: this test's own is in every file that names one."""
    postgres.server(stack).lock.write_text(f"{os.getpid()}\n")
    stale = stack.data / "postgresql" / "cluster" / "postmaster.pid"
    lines = stale.read_text().splitlines()
    stale.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")


def test_a_stopped_stack_leaves_nothing_running(roots: tuple[Path, Path]) -> None:
    _, plain = roots
    stack = stack_of(plain)
    as_plain_user(lambda: local.down(plain))
    assert pids(stack) == set()
    assert listening_on(stack) == []
    assert (stack.data / "postgresql" / "cluster" / "PG_VERSION").exists()


def test_data_that_someone_has_open_are_refused(tmp_path: Path) -> None:
    server = processes.Server("X", tmp_path / "lock", tmp_path / "log", signal.SIGTERM, 1)
    with server.lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(DataDirectoryInUse, match="in use by a server"):
            processes.start(server, ["/bin/true"], None, {})


def test_reading_a_lock_file_does_not_make_a_program_a_server(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    with (
        path.open() as file,
        subprocess.Popen(["cat"], stdin=PIPE, pass_fds=[file.fileno()]) as cat,
    ):
        assert cat.pid not in holders(path)
        fcntl.flock(file, fcntl.LOCK_EX)
        assert cat.pid in holders(path)
