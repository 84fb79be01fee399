"""The arrows between our packages, and the one home of each driver library."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = ("dispatcher", "producers", "consumers", "storage", "ops")
ALLOWED = {
    "dispatcher": {"dispatcher"},
    "producers": {"producers", "dispatcher"},
    "consumers": {"consumers", "dispatcher"},
    "storage": {"storage", "dispatcher"},
    "ops/simulators": {"ops.simulators"},
    "ops": set(OURS),
}
"""Which of our packages each may import. The longest place that fits a file decides."""

HOMES = {
    "asyncpg": ("storage/",),
    "aio_pika": ("dispatcher/rabbit/",),
    "aiormq": ("dispatcher/rabbit/",),
    "pamqp": ("dispatcher/rabbit/",),
    "structlog": ("ops/",),
    "prometheus_client": ("ops/",),
    "typer": ("ops/",),
    "rich": ("ops/",),
    "aiohttp": ("producers/", "consumers/", "ops/"),
}
"""Where a library may be imported; what is not listed may be used anywhere."""


def imported(source: str) -> set[str]:
    """The modules that a file imports, at the top or deeper."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name the whole path"
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def wrong_arrows(place: str, source: str) -> Iterator[str]:
    """The imports of a file that point where they must not; `place` is its path in the checkout."""
    home = max((p for p in ALLOWED if place.startswith(f"{p}/")), key=len)
    for module in sorted(imported(source)):
        library = module.partition(".")[0]
        if library in OURS and not any(f"{module}.".startswith(f"{a}.") for a in ALLOWED[home]):
            yield f"{place} imports {module}"
        if library in HOMES and not place.startswith(HOMES[library]):
            yield f"{place} imports {module}, whose home is {' or '.join(HOMES[library])}"


def files() -> list[str]:
    found = [path for package in OURS for path in (ROOT / package).rglob("*.py")]
    return sorted(str(path.relative_to(ROOT)) for path in found)


def test_no_arrow_points_elsewhere() -> None:
    places = files()
    assert len(places) > 100
    assert [w for p in places for w in wrong_arrows(p, (ROOT / p).read_text())] == []


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("dispatcher/engine.py", "from storage import orders"),
        ("dispatcher/loop.py", "import aio_pika"),
        ("dispatcher/engine.py", "import structlog"),
        ("dispatcher/engine.py", "import asyncpg.exceptions"),
        ("producers/http.py", "from consumers.queues import QUEUES"),
        ("consumers/pos.py", "def f():\n    from storage.orders import insert"),
        ("consumers/pos.py", "from ops import settings"),
        ("storage/inbox.py", "import producers.platforms.meituan"),
        ("ops/check.py", "import asyncpg"),
        ("ops/simulators/tills/api.py", "from dispatcher.identity import order_no"),
        ("ops/simulators/tills/api.py", "from ops.settings import load"),
    ],
)
def test_a_planted_arrow_is_found(place: str, source: str) -> None:
    assert list(wrong_arrows(place, source))


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("dispatcher/rabbit/publish.py", "import aio_pika\nfrom dispatcher.envelope import encode"),
        ("storage/database.py", "import asyncpg\nfrom dispatcher.errors import Trouble"),
        ("ops/wiring.py", "from consumers import queues\nfrom storage import chain"),
        ("ops/simulators/books.py", "from ops.simulators.faults import FaultWish"),
    ],
)
def test_an_arrow_of_the_design_is_fine(place: str, source: str) -> None:
    assert list(wrong_arrows(place, source)) == []
