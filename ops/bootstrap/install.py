"""The part of set-up that needs root: apt-get, with every service held back.

While packages are installed no service may start (policy-rc.d) and no database cluster is made
(createcluster.conf); both are put back afterwards, also after a failure. Services that are new
stay off at the next boot too: RabbitMQ's default is to listen on every interface.
"""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from ops.bootstrap.setaside import MARK, put_back, replaced

APT = ("apt-get", "-o", "DPkg::Lock::Timeout=300")
INSTALL = (*APT, "install", "--yes", "--no-install-recommends")
DENY_ALL = f"#!/bin/sh\n{MARK}exit 101\n"
NEW_SERVICES = {
    "rabbitmq-server": ("rabbitmq-server.service", "epmd.service", "epmd.socket"),
}


class Machine(NamedTuple):
    """The places on this machine that are changed for a while."""

    policy: Path = Path("/usr/sbin/policy-rc.d")
    createcluster: Path = Path("/etc/postgresql-common/createcluster.conf")
    lock: Path = Path("/run/system2-setup.lock")


def install(packages: list[str], machine: Machine) -> int:
    """Install `packages`; returns apt-get's exit code, with the machine's policies as they were."""
    with _alone(machine.lock), _services_held_back(machine.policy):
        _run(*APT, "update", "--quiet")
        code = _install_without_cluster(packages, machine.createcluster)
        for package in packages:
            _keep_off_at_boot(NEW_SERVICES.get(package, ()))
        return code


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One set-up at a time: the first to finish would put back what the second still needs."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _services_held_back(policy: Path) -> Iterator[None]:
    put_back(policy)
    with ExitStack() as stack:
        if not _denies(policy):
            stack.enter_context(replaced(policy, DENY_ALL, mode=0o755))
        yield


def _denies(policy: Path) -> bool:
    """Whether the machine's own policy already forbids to start a broker (exit code 101)."""
    return policy.exists() and _run(str(policy), "rabbitmq-server", "start") == 101


def _install_without_cluster(packages: list[str], createcluster: Path) -> int:
    if "postgresql" not in packages:
        return _run(*INSTALL, *packages)
    if not createcluster.exists():  # comes with this package, which holds no server
        code = _run(*INSTALL, "postgresql-common")
        if code:
            return code
    shipped = createcluster.read_text() if createcluster.exists() else ""
    createcluster.parent.mkdir(parents=True, exist_ok=True)
    with replaced(createcluster, f"{shipped}\n{MARK}create_main_cluster = false\n"):
        return _run(*INSTALL, *packages)


def _keep_off_at_boot(units: tuple[str, ...]) -> None:
    """Take out the links the package made for the next boot; what runs is left alone."""
    for unit in units:
        _run("systemctl", "--quiet", "disable", unit)
    if units:
        _run("update-rc.d", units[0].removesuffix(".service"), "disable")


def _run(*command: str) -> int:
    """Exit code of `command`, its output on stderr; 127 where there is no such program."""
    # needrestart would restart other people's services after an installation
    quiet = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1", "LC_ALL": "C"}
    try:
        finished = subprocess.run(
            command, env={**os.environ, **quiet}, stdin=subprocess.DEVNULL, stdout=sys.stderr
        )
    except FileNotFoundError:
        return 127
    return finished.returncode


if __name__ == "__main__":
    sys.exit(install(sys.argv[1:], Machine()))
