"""The virtual environment of the checkout, and the stamp that says it is up to date."""

import hashlib
import subprocess
from pathlib import Path

SIZE = "about 60 MB to fetch, 200 MB on disk"


def is_current(root: Path) -> bool:
    """Whether .venv/ was made from setup.cfg and pyproject.toml as they are now."""
    stamp = _stamp(root)
    return stamp.exists() and stamp.read_text() == _fingerprint(root)


def create(root: Path, python: str) -> int:
    """Make or refresh .venv/; returns the exit code of what failed, else 0."""
    venv = root / ".venv"
    interpreter = str(venv / "bin" / "python")
    if not _runs(interpreter):
        code = subprocess.run((python, "-m", "venv", "--clear", str(venv))).returncode
        if code:
            return code
    pip = (interpreter, "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    code = subprocess.run((*pip, "--editable", ".[dev]"), cwd=root).returncode
    if code == 0:
        _stamp(root).write_text(_fingerprint(root))
    return code


def _runs(interpreter: str) -> bool:
    """Whether the environment works: one copied or left half-made has no pip or no Python."""
    try:
        return subprocess.run((interpreter, "-m", "pip", "-V"), capture_output=True).returncode == 0
    except OSError:
        return False


def _stamp(root: Path) -> Path:
    return root / ".venv" / "system2-setup"


def _fingerprint(root: Path) -> str:
    """Place and requirements: an environment does not survive a move of its checkout."""
    parts = (str(root).encode(), *((root / name).read_bytes() for name in _SOURCES))
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


_SOURCES = ("setup.cfg", "pyproject.toml")
