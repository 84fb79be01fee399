"""Puts a file of ours in the place of one of the system's for a while, and the system's back.

Survives being killed: the next run finds what was left behind and puts it back first.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MARK = "# temporary: placed by System2's set-up, which removes it when it is done\n"


@contextmanager
def replaced(path: Path, text: str, mode: int = 0o644) -> Iterator[None]:
    """While inside, `path` holds `text` (MARK must be in it); afterwards what it held before."""
    put_back(path)
    if path.exists():
        path.rename(_kept(path))
    try:
        path.write_text(text)
        path.chmod(mode)
        yield
    finally:
        put_back(path)


def put_back(path: Path) -> None:
    """Undo a replacement, finished or not; does nothing where there was none."""
    if _kept(path).exists():
        _kept(path).rename(path)
    elif path.exists() and MARK in path.read_text(errors="replace"):
        path.unlink()


def _kept(path: Path) -> Path:
    return path.with_name(path.name + ".system2-kept")
