"""Why the local stack cannot do what it was asked; each carries the exit code for scripts."""

from pathlib import Path

UNAVAILABLE = 69


class StackError(Exception):
    """The local PostgreSQL and RabbitMQ cannot be used."""

    exit_code = UNAVAILABLE


class ProgramMissing(StackError):
    """A server's program is not installed."""

    def __init__(self, package: str, variable: str) -> None:
        self.package = package
        super().__init__(
            f"{package} is not installed: `make setup` installs it, "
            f"or set {variable} to a server that is there."
        )


class DataDirectoryInUse(StackError):
    """Another process has the data directory open."""

    def __init__(self, lock: Path) -> None:
        self.lock = lock
        super().__init__(
            f"The data behind {lock} are in use by a server that this command did not start; "
            f"`system2 down` stops it."
        )


class ServerFailed(StackError):
    """A server ended, or did not answer in time."""

    def __init__(self, server: str, why: str, log: Path) -> None:
        self.server = server
        self.log = log
        super().__init__(f"{server} {why}; its last words in {log}:\n{last_lines(log)}")


class NotOurs(StackError):
    """The files of the stack belong to another user."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(
            f"{path} belongs to another user: run as that user, or remove it to start anew."
        )


class CopiedCheckout(StackError):
    """A checkout was copied or moved while its data are outside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(
            f"{path} was made for a checkout at another place, whose data it must not open: "
            f"remove it to start anew."
        )


class Busy(StackError):
    """Another `system2 up` or `down` of this checkout is still at work."""

    def __init__(self, lock: Path) -> None:
        super().__init__(f"Another up or down of this checkout is at work (it holds {lock}).")


def last_lines(log: Path, count: int = 8) -> str:
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return "  (no log)"
    return "\n".join(f"  {line}" for line in lines[-count:])
