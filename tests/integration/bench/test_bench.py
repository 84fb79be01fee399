"""Every benchmark, tiny: its figures come from work that was really done, or there are none."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest

from dispatcher.ports import NullObserver
from ops.bench import counts
from ops.bench.chain import Chain
from ops.bench.counts import SQL
from ops.bench.idle import Idle
from ops.bench.latency import HOPS, Latency
from ops.bench.perform import Bench, BooksDisagree, measured
from ops.bench.pickup import Pickup
from ops.bench.scenery import PROCESSES, Scene
from ops.bench.stage import Stage
from ops.stack import postgres
from ops.stack.local import Endpoints
from storage.database import Database
from storage.queries import Statement
from tests.integration.servers import delete_vhost

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def endpoints(database_url: str, amqp_url: str, management_url: str) -> Iterator[Endpoints]:
    """Servers of which the benchmark's own database and vhost are taken away again."""
    yield Endpoints(database_url, amqp_url, management_url)
    own = urlsplit(database_url).path.strip("/") + "_bench"
    postgres.query(database_url, f'DROP DATABASE IF EXISTS "{own}" WITH (FORCE)')
    delete_vhost(management_url, own)


async def figures_of(bench: Bench, endpoints: Endpoints, logs: Path) -> dict[str, Any]:
    return await measured(bench, endpoints, logs, lambda _: None)


async def test_the_chain_tells_its_rate_beside_the_ceiling_and_what_an_order_costs(
    endpoints: Endpoints, tmp_path: Path
) -> None:
    found = await figures_of(Chain(orders=50, repeat=2, warm_up=20, pushes=60), endpoints, tmp_path)
    assert found["orders"] == 50 and len(found["runs"]) == 2 and len(found["ceilings"]) == 3
    for run in found["runs"]:
        assert run["ratio"] == pytest.approx(
            run["orders_per_second"] / run["ceiling_per_second"], abs=0.001
        )
        # Fifty orders need longer than the slowest of them.
        assert 50 / run["orders_per_second"] * 1000 >= run["p99_ms"] >= run["p50_ms"] > 0
        assert run["messages_per_order"] * 50 >= 5  # placed, deduct, deducted, push, taken
        assert run["statements_per_order"] * 50 > 5 * 5
    assert found["conditions"]["fsync"] == "on"


async def test_the_hops_of_an_order_add_up_to_its_way(endpoints: Endpoints, tmp_path: Path) -> None:
    found = await figures_of(Latency(rate=15, seconds=2), endpoints, tmp_path)
    assert found["orders"] == 30
    assert list(found["hops"]) == list(HOPS)
    assert all(hop["mean_ms"] > 0 for hop in found["hops"].values())
    whole = sum(hop["mean_ms"] for hop in found["hops"].values())
    assert whole == pytest.approx(found["mean_ms"], abs=0.1)


async def test_waiting_orders_cost_the_database_nothing(
    endpoints: Endpoints, tmp_path: Path
) -> None:
    found = await figures_of(Idle(waiting=20, seconds=3, settle_seconds=1), endpoints, tmp_path)
    assert set(PROCESSES) == set(found["processes"].split(", "))
    assert (found["waiting"], found["calls"], found["by_statement"]) == (20, 0, [])


async def test_pickup_codes_pass_a_flood_of_new_orders(
    endpoints: Endpoints, tmp_path: Path
) -> None:
    found = await figures_of(Pickup(waiting=50, count=10, rate=20), endpoints, tmp_path)
    assert found["count"] == 10 and found["waiting_at_first"] > 0
    assert 0 < found["p50_ms"] <= found["p99_ms"] <= found["max_ms"]
    whole = sum(hop["mean_ms"] for hop in found["hops"].values())
    assert whole == pytest.approx(found["mean_ms"], abs=0.1)


async def test_every_statement_is_counted_but_for_those_that_count(endpoints: Endpoints) -> None:
    async with Database.open(
        endpoints.database_url, observer=NullObserver(), name="test", max_size=1
    ) as database:
        await database.execute(SQL["bench_extension"])
        before = await counts.statements(database)
        for _ in range(3):
            await database.fetchval(Statement("somebody_polls", "SELECT 1 AS polled", ()))
        found = await counts.statements(database) - before
    assert found.total() == 3
    assert ["polled" in query for query in found] == [True]


@dataclass(frozen=True)
class Theft:
    """Takes portions from a shelf behind everybody's back."""

    scene: ClassVar[Scene] = Scene()

    async def run(self, stage: Stage) -> dict[str, Any]:
        steal = "UPDATE stock_levels SET on_hand = on_hand - 1 WHERE store_id = 'S001'"
        await stage.database.execute(Statement("steal", steal, ()))
        return {"orders_per_second": 1_000_000}


async def test_books_that_disagree_leave_no_figure(
    endpoints: Endpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ops.bench.perform.SETTLE_SECONDS", 0)
    with pytest.raises(BooksDisagree, match="stock_adds_up"):
        await figures_of(Theft(), endpoints, tmp_path)
