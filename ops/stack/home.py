"""Where one checkout's servers keep their files, and what was made up for them once.

Everything is under `.stack/` of the checkout. Only when we are root and the servers' own users
cannot reach the checkout (below a 0700 directory, say) do their data go to /var/lib/system2.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ops.stack.errors import CopiedCheckout, NotOurs
from ops.stack.ports import pick
from ops.stack.processes import Account, run

ELSEWHERE = Path("/var/lib/system2")
STATE = "stack.json"


class Ports(NamedTuple):
    """Loopback ports of one stack."""

    database: int
    amqp: int
    management: int
    prometheus: int
    distribution: int
    epmd: int


class Stack(NamedTuple):
    """One checkout's stack, remembered between runs. Holds secrets: its file is 0600.

    `data` is written down only where it is not `.stack/`, so that a checkout can be moved.
    """

    data: Path
    node: str
    database_password: str
    broker_password: str
    ports: Ports


def checkout() -> Path:
    """The checkout this code runs from, else (installed) the working directory."""
    source = Path(__file__).resolve().parents[2]
    return source if (source / "setup.cfg").exists() else Path.cwd()


def directory(root: Path) -> Path:
    return root / ".stack"


def turn(root: Path) -> Path:
    """The lock of whoever is changing this stack."""
    return directory(root) / "turn"


def load(root: Path) -> Stack | None:
    """The stack of this checkout, or None where there is none yet."""
    try:
        text = (directory(root) / STATE).read_text()
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise NotOurs(directory(root)) from error
    stored = json.loads(text)
    data = Path(stored["data"]) if stored["data"] else directory(root)
    if stored["data"] and data.name != _name(root):
        raise CopiedCheckout(directory(root))
    return Stack(**stored | {"data": data, "ports": Ports(**stored["ports"])})


def save(root: Path, stack: Stack) -> None:
    """Write the state at once or not at all."""
    path = directory(root) / STATE
    draft = path.with_suffix(".draft")
    elsewhere = None if stack.data == directory(root) else str(stack.data)
    document = stack._asdict() | {"data": elsewhere, "ports": stack.ports._asdict()}
    draft.touch(mode=0o600)
    draft.write_text(json.dumps(document, indent=2) + "\n")
    draft.rename(path)


def prepare(root: Path) -> None:
    """Make `.stack/`, passable for the servers' users but not readable."""
    home = directory(root)
    home.mkdir(mode=0o711, exist_ok=True)
    if home.stat().st_uid != os.geteuid():
        raise NotOurs(home)
    (home / ".gitignore").write_text("*\n")


def invent(root: Path, accounts: list[Account], tell: Callable[[str], None]) -> Stack:
    """A new stack: names, passwords and ports of its own."""
    return Stack(
        data=_place(root, accounts, tell),
        node=f"system2-{_name(root)}@localhost",
        database_password=secrets.token_urlsafe(24),
        broker_password=secrets.token_urlsafe(24),
        ports=Ports(*pick(root, len(Ports._fields))),
    )


def _place(root: Path, accounts: list[Account], tell: Callable[[str], None]) -> Path:
    if all(_reaches(directory(root), owner) for owner in accounts):
        return directory(root)
    ELSEWHERE.mkdir(mode=0o711, exist_ok=True)
    data = ELSEWHERE / _name(root)
    data.mkdir(mode=0o711, exist_ok=True)
    names = " and ".join(owner.name for owner in accounts)
    tell(f"The users {names} cannot reach {root}: the servers' data are in {data}.")
    return data


def _reaches(path: Path, owner: Account) -> bool:
    return run(["/usr/bin/test", "-x", path], owner, {}).returncode == 0


def _name(root: Path) -> str:
    return hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:12]
