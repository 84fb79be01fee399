"""System2's transaction over PostgreSQL: what it costs, and that several at once do no harm."""

import asyncio
import random
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from dispatcher import workflows
from dispatcher.engine import Instance, Workflows
from dispatcher.envelope import Envelope
from dispatcher.loop import Changes, Dispatcher, Key, Stored, Work
from dispatcher.messages import (
    Event,
    MealReady,
    OrderCancelled,
    OrderCompleted,
    OrderConfirmed,
    OrderRejected,
    ReadyTold,
    StockDeducted,
    StockReturned,
    TicketAccepted,
    TicketCancelled,
)
from dispatcher.ports import NullObserver
from storage.database import Database
from storage.instances import INSTANCES, DispatchStore
from storage.orders import TicketStore
from tests.builders import a_birth, an_answer, an_event, an_order
from tests.integration.runtime.ground import SQL, Statements, now, opened

LIVES = Workflows(workflows.ALL, workflows.BORN_WITH)
Opening = Callable[[Database], Any]


def a_dispatcher(database: Database, store: Opening = DispatchStore) -> Dispatcher:
    return Dispatcher(store(database), LIVES, NullObserver(), now)


# -- what it costs -------------------------------------------------------------------------------

Batch = list[Envelope[Any]]


def births(named: str, many: int) -> Batch:
    return [a_birth(an_order(f"{named}-{n}", aliases=(f"alias-{named}-{n}",))) for n in range(many)]


async def lead(dispatcher: Dispatcher, named: str, many: int) -> AsyncIterator[Batch]:
    """Batches that between them make every kind of write: births, answers with deadlines, early
    events and their release, repeats, contradictions, and what nobody expected.
    """
    placed = births(named, many)
    about = [event.subject for event in placed]
    yield placed
    deducts = (await dispatcher.dispatch(placed)).commands
    yield [an_answer(command, StockDeducted()) for command in deducts]
    yield [*placed, *(an_answer(command, StockDeducted()) for command in deducts)]
    yield [an_event(MealReady(pickup_code="A1"), order) for order in about]
    accepted = [an_event(TicketAccepted(), order) for order in about]
    yield accepted
    confirms = (await dispatcher.dispatch(accepted)).commands
    yield [an_answer(command, OrderConfirmed()) for command in confirms]
    yield [a_birth(event.data.order, fingerprint="other") for event in placed]
    yield [an_event(TicketAccepted(), order, "too late") for order in about] + [
        a_birth(event.data.order, id=an_event(OrderCancelled(), event.subject, "other id").id)
        for event in placed
    ]


async def test_a_transaction_is_a_constant_number_of_statements_whatever_the_batch(
    migrated_url: str,
) -> None:
    statements = Statements()
    counts: dict[int, list[Counter[str]]] = {}
    async with opened(migrated_url, statements) as database:
        dispatcher = a_dispatcher(database)
        for many in (1, 50, 400):
            counts[many] = []
            async for batch in lead(dispatcher, f"cost-{many}", many):
                statements.ran.clear()
                await dispatcher.dispatch(batch)
                counts[many].append(Counter(statements.ran))
    assert counts[1] == counts[50] == counts[400]
    assert max(each.total() for each in counts[1]) <= 12
    assert {name for each in counts[1] for name in each} >= {
        *("insert_placeholders", "lock_instances", "read_stored", "read_early", "insert_events"),
        *("update_instances", "release_events", "arm_deadlines", "disarm_deadlines"),
        *("insert_orders", "insert_lines", "insert_recipients", "insert_aliases"),
        "insert_letters",
    }


async def test_an_idle_dispatcher_says_nothing_to_the_database(migrated_url: str) -> None:
    statements = Statements()
    async with opened(migrated_url, statements) as database:
        await a_dispatcher(database).dispatch([])
    assert not statements.ran


async def test_tickets_of_a_batch_are_read_with_a_constant_number_of_statements(
    migrated_url: str,
) -> None:
    statements = Statements()
    async with opened(migrated_url, statements) as database:
        placed = births("tickets", 100)
        await a_dispatcher(database).dispatch(placed)
        counts = []
        for many in (1, 100):
            statements.ran.clear()
            found = await TicketStore(database).read([event.subject for event in placed[:many]])
            counts.append(Counter(statements.ran))
            assert len(found) == many
    assert counts[0] == counts[1]


# -- several at once -----------------------------------------------------------------------------

ANSWERS: Mapping[str, Event] = {
    "DeductStock": StockDeducted(),
    "PushTicket": TicketAccepted(),
    "ConfirmOrder": OrderConfirmed(),
    "TellReady": ReadyTold(),
    "ReturnStock": StockReturned(),
    "CancelTicket": TicketCancelled(),
    "RejectOrder": OrderRejected(),
}


ENOUGH_HARM = 10


@dataclass
class World:
    """A queue of events, dispatchers that take batches from it, and consumers that answer every
    command once. A fifth of what was committed is not published: its batch is delivered again.
    """

    seed: int
    queue: deque[Envelope[Any]] = field(default_factory=deque)
    done: Counter[UUID] = field(default_factory=Counter)
    troubles: Counter[str] = field(default_factory=Counter)
    busy: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    def place(self, named: str, many: int) -> list[UUID]:
        """Orders in every order of arrival, half of what is said about them said twice."""
        orders = [an_order(f"{named}-{n}") for n in range(many)]
        events: Batch = []
        for n, order in enumerate(orders):
            fact: Event = OrderCancelled() if n % 3 == 0 else OrderCompleted()
            events += [a_birth(order), an_event(fact, order.order_id)]
            events += [an_event(MealReady(pickup_code="A1"), order.order_id)] * (n % 2)
        events += self.chance.sample(events, len(events) // 2)
        self.chance.shuffle(events)
        self.queue.extend(events)
        return [order.order_id for order in orders]

    async def run(self, dispatchers: Sequence[Dispatcher], most: int = 60) -> None:
        async with asyncio.timeout(60):
            await asyncio.gather(*(self._work(dispatcher, most) for dispatcher in dispatchers))

    async def _work(self, dispatcher: Dispatcher, most: int) -> None:
        while self.queue or self.busy:
            batch = [self.queue.popleft() for _ in range(min(most, len(self.queue)))]
            self.chance.shuffle(batch)
            self.busy += 1
            try:
                owed = await dispatcher.dispatch(batch)
            except (asyncpg.DeadlockDetectedError, asyncpg.UniqueViolationError) as trouble:
                self.troubles[type(trouble).__name__] += 1
                self._deliver_again(batch)
            else:
                if self.chance.random() < 0.2:
                    self._deliver_again(batch)
                else:
                    self._answer(owed.commands)
            self.busy -= 1
            await asyncio.sleep(0)

    def _deliver_again(self, batch: Batch) -> None:
        self.queue.extend(batch)
        if self.troubles.total() >= ENOUGH_HARM:
            self.queue.clear()

    def _answer(self, commands: Sequence[Envelope[Any]]) -> None:
        for command in commands:
            self.done[command.id] += 1
            self.queue.append(an_answer(command, ANSWERS[command.type]))


async def ended(database: Database, orders: Sequence[UUID]) -> Counter[str]:
    """How many of these are in which state; "owing" when something has no answer."""
    rows = {row["instance_id"]: row for row in await database.fetch(SQL["instances"])}
    found = (rows.get(order) for order in orders)
    return Counter("none" if r is None else "owing" if r["owed"] else r["state"] for r in found)


async def test_six_dispatchers_and_every_arrival_order_do_each_command_once(
    migrated_url: str,
) -> None:
    async with opened(migrated_url, max_size=6) as database:
        world = World(seed=1)
        orders = world.place("six", 600)
        await world.run([a_dispatcher(database) for _ in range(6)])
        assert not world.troubles
        assert await ended(database, orders) == {"DONE": 400, "CANCELLED": 200}
        sent = await database.fetch(SQL["sent"])
        of_these = [row for row in sent if row["instance_id"] in set(orders)]
        assert all(row["n"] == 1 for row in of_these)
        assert len(world.done) == len(of_these)


async def test_without_repeating_what_is_owed_orders_are_stuck(
    migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault alone, to show that the experiment above can fail."""
    async with opened(migrated_url, max_size=2) as database:
        world = World(seed=2)
        orders = world.place("forgetful", 60)
        monkeypatch.setattr(Dispatcher, "_repeat", lambda *_: None)
        await world.run([a_dispatcher(database) for _ in range(2)], most=5)
        states = await ended(database, orders)
        assert states["owing"] > 0


class Wrapped:
    """A work of which a test changes one method."""

    def __init__(self, work: Any) -> None:
        self._work = work

    async def lock(self, keys: Sequence[Key], when: datetime) -> dict[UUID, Instance]:
        found: dict[UUID, Instance] = await self._work.lock(keys, when)
        return found

    async def stored(
        self, events: Sequence[Envelope[Event]], instances: Mapping[UUID, Instance]
    ) -> dict[UUID, Stored]:
        found: dict[UUID, Stored] = await self._work.stored(events, instances)
        return found

    async def write(self, changes: Changes) -> None:
        await self._work.write(changes)


class OneByOne(Wrapped):
    """Takes keys one at a time, in order."""

    async def lock(self, keys: Sequence[Key], when: datetime) -> dict[UUID, Instance]:
        found: dict[UUID, Instance] = {}
        for key in keys:
            found |= await super().lock([key], when)
        return found


class Unsorted(OneByOne):
    """Takes keys as they come."""

    async def lock(self, keys: Sequence[Key], when: datetime) -> dict[UUID, Instance]:
        return await super().lock(random.sample(list(keys), len(keys)), when)


class WithoutPlaceholder(Wrapped):
    """Locks what is there, and inserts what was not there when it writes."""

    async def lock(self, keys: Sequence[Key], when: datetime) -> dict[UUID, Instance]:
        found: dict[UUID, Instance] = await self._work._lock(keys)
        return {identifier: Instance(identifier) for _, identifier in keys} | found

    async def write(self, changes: Changes) -> None:
        keys = sorted({record.event.key for record in changes.records})
        columns = {"buckets": [k[0] for k in keys], "instance_ids": [k[1] for k in keys]}
        await self._work._tx.fetch(INSTANCES["insert_placeholders"], **columns, now=changes.now)
        await self._work.write(changes)


def opening(wrap: Callable[[Work], Any]) -> Opening:
    @asynccontextmanager
    async def transaction(store: DispatchStore) -> AsyncIterator[Work]:
        async with store.transaction() as work:
            yield wrap(work)

    return lambda database: SimpleNamespace(
        transaction=partial(transaction, DispatchStore(database))
    )


@pytest.mark.parametrize("wrap", [OneByOne, Unsorted, WithoutPlaceholder])
async def test_without_sorting_and_placeholders_the_same_orders_do_harm(
    migrated_url: str, wrap: type[Wrapped]
) -> None:
    async with opened(migrated_url, max_size=6) as database:
        world = World(seed=3)
        orders = world.place(wrap.__name__, 120)
        await world.run([a_dispatcher(database, opening(wrap)) for _ in range(6)], most=40)
        states = await ended(database, orders)
        unharmed = not world.troubles and states == {"DONE": 80, "CANCELLED": 40}
        assert unharmed is (wrap is OneByOne)
