"""Stock under concurrency: never oversold, never undersold, nothing twice, nobody in a circle."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consumers.local import LocalWork
from consumers.queues import QUEUES
from consumers.stock import deduct_stock, return_stock
from dispatcher.envelope import decode, split
from dispatcher.ports import NullObserver
from dispatcher.rabbit.publish import Outgoing
from storage.database import Database
from storage.inbox import ConsumerStore, ConsumerWork
from tests.contracts.consumers.units import deduct, give_back
from tests.integration.runtime.ground import (
    SQL,
    Statements,
    book_sums,
    fill,
    now,
    on_hand,
    opened,
)
from tests.unit.consumers.fakes import ROUTER

ROWS = {row.name: row for row in QUEUES}


def consumer(database: Database, queue: str = "stock.deduct") -> LocalWork:
    return LocalWork(ROWS[queue], ConsumerStore(database), ROUTER, NullObserver(), now)


def said(outgoing: Sequence[Outgoing]) -> Counter[str]:
    return Counter(decode(event).type for item in outgoing for event in split(item.event))


async def test_four_consumers_sell_a_hot_item_exactly(migrated_url: str) -> None:
    async with opened(migrated_url) as database:
        store = await fill(database, beef=250)
        orders = [deduct(store, beef=1) for _ in range(400)]
        batches = [orders[at : at + 25] for at in range(0, 400, 25)]
        work = consumer(database)
        answers = await asyncio.gather(*(work(batch) for batch in batches))
        assert sum(map(said, answers), Counter()) == {"StockDeducted": 250, "StockShort": 150}
        assert await on_hand(database, store) == await book_sums(database, store) == {"beef": 0}


async def test_a_hot_item_is_one_row_update_however_many_want_it(migrated_url: str) -> None:
    async with opened(migrated_url) as database:
        store = await fill(database, beef=1000, tea=1000)
        orders = [deduct(store, beef=1, tea=1) for _ in range(200)]
        async with database.transaction() as tx:
            await deduct_stock(orders, ConsumerWork(tx).shelf(now()))
            assert await tx.fetchval(SQL["row_updates"]) == 2


@pytest.mark.parametrize("queue", ["stock.deduct", "stock.return"])
async def test_a_batch_is_a_constant_number_of_statements(migrated_url: str, queue: str) -> None:
    statements = Statements()
    async with opened(migrated_url, statements) as database:
        counts = []
        for many in (1, 200):
            store = await fill(database, beef=many - 1, tea=many)
            orders = [deduct(store, beef=1, tea=1) for _ in range(many)]
            orders += [deduct(store, tea=1, umbrella=1)]
            if queue == "stock.return":
                await consumer(database)(orders)
                orders = list(map(give_back, orders))
            statements.ran.clear()
            await consumer(database, queue)(orders)
            counts.append(Counter(statements.ran))
    assert counts[0] == counts[1]
    assert counts[0].total() <= 6


async def test_one_command_in_two_consumers_at_once_is_deducted_once(migrated_url: str) -> None:
    async with opened(migrated_url) as database:
        store = await fill(database, beef=100)
        orders = [deduct(store, beef=1) for _ in range(20)]
        work = consumer(database)
        answers = await asyncio.gather(
            *(work(random.sample(orders, 20) + orders[:5]) for _ in range(4))
        )
        assert [said(each) for each in answers] == [{"StockDeducted": 20}] * 4
        assert await on_hand(database, store) == {"beef": 80}


async def test_a_return_and_its_deduction_at_once_leave_nothing_held(migrated_url: str) -> None:
    """In either order, and with the second waiting for the first one's commit."""
    async with opened(migrated_url) as database:
        store = await fill(database, beef=100)
        orders = [deduct(store, beef=1) for _ in range(40)]
        deducting, returning = consumer(database), consumer(database, "stock.return")
        work = [deducting([order]) for order in orders]
        work += [returning([give_back(order)]) for order in orders]
        random.shuffle(work)
        await asyncio.gather(*work)
        assert await on_hand(database, store) == await book_sums(database, store) == {"beef": 100}


@pytest.mark.parametrize("first", ["deduct", "return"])
async def test_the_second_of_the_two_waits_for_the_first(migrated_url: str, first: str) -> None:
    async with opened(migrated_url) as database:
        store = await fill(database, beef=10)
        order = deduct(store, beef=3)
        jobs: list[tuple[Any, Any]] = [(deduct_stock, order), (return_stock, give_back(order))]
        (job, command), (other, after) = jobs if first == "deduct" else reversed(jobs)
        units = ConsumerStore(database)
        async with units.transaction() as unit:
            await job([command], unit.shelf(now()))
            second = asyncio.create_task(_alone(units, other, after))
            done, _ = await asyncio.wait({second}, timeout=0.1)
            assert not done, "it must wait: what the first one does is not decided yet"
        await second
        assert await on_hand(database, store) == {"beef": 10}


async def _alone(units: ConsumerStore, job: Any, command: Any) -> None:
    async with units.transaction() as unit:
        await job([command], unit.shelf(now()))


async def crowd(url: str, store: str, shelf: type[Any] | None = None) -> int:
    """Sixteen batches of the same stores and items, in every order; returns the deadlocks."""
    deadlocks = 0
    async with opened(url, max_size=8) as database:

        async def batch(seed: int) -> None:
            nonlocal deadlocks
            chance = random.Random(seed)
            skus = [f"sku{n}" for n in range(30)]
            chance.shuffle(skus)
            orders = [deduct(store, uuid4(), **{sku: 1}) for sku in skus]
            try:
                async with database.transaction() as tx:
                    made: Any = ConsumerWork(tx).shelf(now())
                    await deduct_stock(orders, shelf(made) if shelf else made)
            except asyncpg.DeadlockDetectedError:
                deadlocks += 1

        await asyncio.gather(*(batch(seed) for seed in range(16)))
    return deadlocks


async def test_crowds_that_want_the_same_items_in_every_order_never_deadlock(
    migrated_url: str,
) -> None:
    async with opened(migrated_url) as database:
        store = await fill(database, **{f"sku{n}": 1000 for n in range(30)})
    assert await crowd(migrated_url, store) == 0


class OneByOne:
    """A shelf that locks its levels as they come: what sorting protects from."""

    def __init__(self, shelf: Any) -> None:
        self._shelf = shelf

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shelf, name)

    async def lock(self, levels: Any) -> dict[Any, int]:
        found: dict[Any, int] = {}
        for level in levels:
            found |= await self._shelf.lock([level])
        return found


async def test_without_sorting_the_same_crowds_deadlock(migrated_url: str) -> None:
    async with opened(migrated_url) as database:
        store = await fill(database, **{f"sku{n}": 1000 for n in range(30)})
    assert await crowd(migrated_url, store, OneByOne) > 0


# Each step: which of six orders, whether it is deducted or returned, and what it wants.
STEPS = st.lists(
    st.tuples(st.integers(0, 5), st.booleans(), st.integers(1, 4), st.integers(0, 3)),
    min_size=1,
    max_size=15,
)


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(STEPS)
def test_after_any_sequence_the_ledger_adds_up_to_the_levels(
    migrated_url: str, steps: list[tuple[int, bool, int, int]]
) -> None:
    asyncio.run(_live_through(migrated_url, steps))


async def _live_through(url: str, steps: list[tuple[int, bool, int, int]]) -> None:
    async with opened(url, max_size=1) as database:
        store = await fill(database, beef=7, tea=4)
        orders: dict[int, UUID] = {}
        for who, returning, beef, tea in steps:
            wants = {"beef": beef} | ({"tea": tea} if tea else {})
            command = deduct(store, orders.setdefault(who, uuid4()), **wants)
            queue = "stock.return" if returning else "stock.deduct"
            await consumer(database, queue)([give_back(command) if returning else command])
        left = await on_hand(database, store)
        assert left == await book_sums(database, store)
        assert all(many >= 0 for many in left.values())
        for order in orders.values():
            await consumer(database, "stock.return")([give_back(deduct(store, order, beef=1))])
        assert await on_hand(database, store) == {"beef": 7, "tea": 4}
