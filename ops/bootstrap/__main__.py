"""`python3 -m ops.bootstrap [--without-servers]`: installs what is missing, after saying what."""

import os
import subprocess
import sys
from pathlib import Path

from ops.bootstrap import environment
from ops.bootstrap.needs import (
    Need,
    checkout,
    missing_packages,
    privileges,
    size_of,
    without_rights,
)

UNAVAILABLE = 69


def main(arguments: list[str]) -> int:
    root = checkout()
    need = Need(
        packages=missing_packages(os.environ, servers="--without-servers" not in arguments),
        environment=not environment.is_current(root),
    )
    if not need:
        return 0
    rights = privileges(ask=_on_terminal())
    if need.packages and rights is None:
        return _fail(without_rights(need.packages))
    _announce(need, root)
    if not _agreed():
        return _fail("Nothing was installed.")
    return _carry_out(need, root, rights or [])


def _carry_out(need: Need, root: Path, rights: list[str]) -> int:
    if need.packages:
        installer = (sys.executable, "-B", "-m", "ops.bootstrap.install", *need.packages)
        if subprocess.run((*rights, *installer), cwd=root).returncode:
            return _fail(
                f"apt-get could not install {' '.join(need.packages)}: see its words above."
            )
    if need.environment and environment.create(root, sys.executable):
        return _fail("The Python packages could not be installed: see pip's words above.")
    _say("System2 is set up.")
    return 0


def _announce(need: Need, root: Path) -> None:
    _say("System2 installs what is missing here:")
    if need.packages:
        _say(
            f"  system packages  {' '.join(need.packages)}, by apt-get ({size_of(need.packages)});"
        )
        _say("                   no system service is started or changed")
    if need.environment:
        _say(f"  Python packages  into {root / '.venv'} ({environment.SIZE})")
    _say("  time             one to four minutes, as the network goes")


def _agreed() -> bool:
    if os.environ.get("YES") == "1":
        return True
    if not _on_terminal():
        _say("No terminal to ask on: going on.")
        return True
    sys.stderr.write("Go on? [Y/n] ")
    sys.stderr.flush()
    return sys.stdin.readline().lower() in ("\n", "y\n", "yes\n")


def _on_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _fail(sentence: str) -> int:
    _say(sentence)
    return UNAVAILABLE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
