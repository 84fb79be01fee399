"""What this machine lacks, who may install it, and how much that is."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ops.stack.binaries import postgres_directory, rabbitmq_server

# Measured on a bare Debian 12; used only where apt-get has no lists to reckon with.
USUAL_SIZE = "about 100 MB of archives, 400 MB on disk"


class Need(NamedTuple):
    """What has to be installed before System2 can run here."""

    packages: list[str]
    environment: bool

    def __bool__(self) -> bool:
        return bool(self.packages) or self.environment


def missing_packages(environ: Mapping[str, str], *, servers: bool) -> list[str]:
    """Debian packages that are missing; a server whose URL is given is not needed here."""
    packages = [] if _can_make_environments() else [_venv_package()]
    if servers and "SYSTEM2_DATABASE_URL" not in environ and postgres_directory() is None:
        packages.append("postgresql")
    if servers and "SYSTEM2_AMQP_URL" not in environ and rabbitmq_server() is None:
        packages.append("rabbitmq-server")
    return packages


def _can_make_environments() -> bool:
    check = (sys.executable, "-c", "import ensurepip, venv")
    return subprocess.run(check, capture_output=True).returncode == 0


def _venv_package() -> str:
    return f"python{sys.version_info.major}.{sys.version_info.minor}-venv"


def privileges(*, ask: bool) -> list[str] | None:
    """How to run a command as root here: as it is, through sudo, or None (not at all)."""
    if shutil.which("apt-get") is None:
        return None
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo is None:
        return None
    if ask or subprocess.run((sudo, "-n", "true"), capture_output=True).returncode == 0:
        return [sudo]
    return None


def size_of(packages: list[str]) -> str:
    """What apt-get says it would fetch and unpack; it changes nothing and needs no rights."""
    command = ("apt-get", "install", "--assume-no", "--no-install-recommends")
    said = subprocess.run(
        (*command, "-o", "Debug::NoLocking=1", *packages),
        env={**os.environ, "LC_ALL": "C"},
        capture_output=True,
        text=True,
    ).stdout
    fetched = re.search(r"Need to get (?:\S+ \S+?/)?(\S+ \S+) of archives", said)
    unpacked = re.search(r"this operation, (\S+ \S+) of additional", said)
    if fetched and unpacked:
        return f"{fetched[1]} of archives, {unpacked[1]} on disk"
    return USUAL_SIZE


def without_rights(packages: list[str]) -> str:
    """The one sentence for someone who may not install what is missing."""
    names = " ".join(packages)
    return (
        f"System2 needs {names}, which this user cannot install: have an administrator run "
        f"`apt-get install {names}`, or set SYSTEM2_DATABASE_URL and SYSTEM2_AMQP_URL to servers "
        f"that are there, or use containers: `docker compose --profile demo up`."
    )


def checkout() -> Path:
    return Path(__file__).resolve().parents[2]
