"""Where the programs of PostgreSQL and RabbitMQ are on this machine, or None."""

import re
import shutil
from pathlib import Path

DEBIAN_POSTGRES = Path("/usr/lib/postgresql")
DEBIAN_RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
ERLANG = Path("/usr/lib/erlang")


def postgres_directory(debian: Path = DEBIAN_POSTGRES) -> Path | None:
    """The directory with `initdb` and `postgres`: the newest of Debian's, else the one on PATH."""
    found = [path.parent for path in debian.glob("*/bin/initdb")]
    if found:
        return max(found, key=_version)
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


def rabbitmq_server(debian: Path = DEBIAN_RABBITMQ) -> Path | None:
    """The broker's own script: Debian's wrapper in /usr/sbin insists on the system's folders."""
    if debian.exists():
        return debian
    on_path = shutil.which("rabbitmq-server")
    return Path(on_path).resolve() if on_path else None


def epmd(erlang: Path = ERLANG) -> Path | None:
    """Erlang's port mapper."""
    on_path = shutil.which("epmd")
    if on_path:
        return Path(on_path)
    return max(erlang.glob("erts-*/bin/epmd"), key=_version, default=None)


def _version(path: Path) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", str(path))]
