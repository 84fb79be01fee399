"""The pull tick: its copies die, it never dies itself, and nothing it brought is forgotten."""

import asyncio
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from consumers.pull import (
    FASTEST_SECONDS,
    MENDING_SECONDS,
    PAGES_A_TICK,
    SLOWEST_SECONDS,
    Puller,
    PullLoop,
    next_interval,
)
from consumers.takeaway import UnknownAccount
from dispatcher import crashpoints
from dispatcher.batches import OneQueue
from dispatcher.entrance import Entrance
from dispatcher.envelope import Envelope, as_dict
from dispatcher.errors import Hopeless
from dispatcher.journal import Accepted, Entry
from dispatcher.messages import OrderCancelled, PullOrders
from dispatcher.platform import Fact, NotDone, Page, Raw, Throttled, Unclear
from dispatcher.ticks import tick
from tests.builders import NOON
from tests.unit.consumers.fakes import (
    ROUTER,
    DatabaseGone,
    FakeDelivery,
    Surroundings,
    delay_of,
    until,
)

QUEUE = "test.takeaway.pull"


class Killed(BaseException):
    """The process died here; nothing of ours catches it."""


@contextmanager
def dying_at(name: str) -> Iterator[None]:
    """Die at the first passing of this point."""

    def watch(passing: str) -> None:
        if passing == name:
            raise Killed

    before, crashpoints._watcher = crashpoints._watcher, watch
    try:
        yield
    finally:
        crashpoints._watcher = before


@dataclass(frozen=True)
class Cursor:
    cursor: Mapping[str, Any] = field(default_factory=dict)
    generation: int = 0
    moved_by: UUID | None = None
    interval_seconds: float = 2.0
    paused: bool = False


class FakeCursors:
    """One account's cursor."""

    def __init__(self) -> None:
        self.cursor: Cursor | None = Cursor()
        self.failing: list[Exception] = []

    async def read(self, channel: str, account: str, scope: str) -> Cursor | None:
        if self.failing:
            raise self.failing.pop()
        return self.cursor

    async def move(
        self,
        tick: PullOrders,
        tick_id: UUID,
        cursor: Mapping[str, Any],
        interval_seconds: float,
        now: datetime,
    ) -> bool:
        here = self.cursor
        if here is None or here.generation != tick.generation:
            return False
        self.cursor = replace(
            Cursor(cursor, here.generation + 1, tick_id, interval_seconds), paused=here.paused
        )
        return True


class FakeJournal:
    """dispatcher.journal.Journal in memory."""

    def __init__(self) -> None:
        self.rows: dict[str, bool] = {}

    async def accept(self, entries: Sequence[Entry], now: datetime) -> list[Accepted]:
        accepted = []
        for entry in entries:
            known = self.rows.setdefault(entry.key, False) if entry.key in self.rows else None
            self.rows.setdefault(entry.key, False)
            accepted.append(Accepted(entry, not known, known is None, False))
        return accepted

    async def published(self, entries: Sequence[Entry], now: datetime) -> None:
        self.rows |= {entry.key: True for entry in entries}


class FakePlatform:
    """A poll-and-ack platform: what is acknowledged it forgets for ever."""

    def __init__(self, *orders: str) -> None:
        self.orders = deque(orders)
        self.troubles: list[Exception] = []
        self.refuses_ack: list[Exception] = []
        self.pulls = 0
        self.fails_after = 1000
        self.gate: asyncio.Event | None = None
        self.page = 2

    async def pull(self, scope: str, cursor: Mapping[str, Any], now: datetime) -> Page:
        self.pulls += 1
        if self.gate:
            await self.gate.wait()
        if self.troubles:
            raise self.troubles.pop()
        if self.pulls > self.fails_after:
            raise Unclear("timeout")
        orders = list(self.orders)[: self.page]
        seen = cursor.get("seen", 0) + len(orders)
        more = len(self.orders) > self.page
        return Page(tuple(map(_raw, orders)), {"seen": seen}, tuple(orders), more)

    async def acknowledge(self, page: Page) -> None:
        if self.refuses_ack:
            raise self.refuses_ack.pop()
        for order in set(page.receipt) & set(self.orders):
            self.orders.remove(order)


def _raw(order: str) -> Raw:
    fact = Fact(f"cancelled:{order}", order, OrderCancelled(), "print", NOON)
    return Raw(order, "print", order.encode(), (fact,))


class Bench:
    """A puller and everything around it."""

    def __init__(self, *orders: str) -> None:
        self.around = Surroundings(queues=(QUEUE,), name="takeaway.pull")
        self.platform = FakePlatform(*orders)
        self.cursors, self.journal = FakeCursors(), FakeJournal()
        around, desk = self.around, self.around.desk
        publisher: Any = around.publisher
        entrance = Entrance(
            *("puller", self.journal, publisher, ROUTER),
            around.letters,
            around.observer,
            around.clock,
        )
        self.puller = Puller(desk, self.cursors, self, entrance, around.clock)
        tray: Any = OneQueue(around.intake, QUEUE)  # type: ignore[arg-type]
        self.loop = PullLoop(desk, tray, self.puller)
        self.loaded = True

    def of(self, account: str) -> Any:
        if not self.loaded:
            raise UnknownAccount("no such account")
        return self.platform

    @property
    def cursor(self) -> Cursor:
        assert self.cursors.cursor
        return self.cursors.cursor

    def ticks(self) -> list[tuple[int, int]]:
        """The ticks under way: their generation and how long they wait."""
        later = self.around.publisher.later()
        return [(e.data.generation, s) for e, s in later if isinstance(e.data, PullOrders)]

    @property
    def brought(self) -> set[str]:
        """The orders that were published and are marked so."""
        return {key for key, published in self.journal.rows.items() if published}


def a_tick(generation: int = 0) -> Envelope[PullOrders]:
    return tick("meituan", "mt-main", "", generation, NOON)


# -- one tick at a time --------------------------------------------------------------------------


async def test_a_tick_brings_all_pages_and_sends_the_next_one() -> None:
    bench = Bench(*"abcde")
    await bench.puller.answer(a_tick())
    assert bench.brought == set("abcde")
    assert not bench.platform.orders
    assert (bench.cursor.generation, bench.cursor.cursor) == (1, {"seen": 5})
    assert bench.ticks() == [(1, 1)]


async def test_copies_of_a_tick_die() -> None:
    bench, first = Bench(*"ab"), a_tick()
    await bench.puller.answer(first)
    await bench.puller.answer(a_tick())
    assert (bench.cursor.generation, len(bench.ticks())) == (1, 1)


async def test_copies_that_look_at_the_same_time_send_one_next_tick() -> None:
    bench = Bench(*"abc")
    bench.platform.gate = asyncio.Event()
    looks = [asyncio.create_task(bench.puller.answer(a_tick())) for _ in range(5)]
    await until(lambda: bench.platform.pulls == 5, "all look at once")
    bench.platform.gate.set()
    await asyncio.gather(*looks)
    assert (bench.cursor.generation, len(bench.ticks())) == (1, 1)
    assert bench.brought == set("abc")


async def test_the_tick_that_moved_the_cursor_sends_the_next_one_again() -> None:
    bench, first = Bench(), a_tick()
    await bench.puller.answer(first)
    await bench.puller.answer(first)
    assert [generation for generation, _ in bench.ticks()] == [1, 1]
    for again, _ in bench.around.publisher.later():
        await bench.puller.answer(again)
    assert (bench.cursor.generation, len(bench.ticks())) == (2, 3)


async def test_ticks_of_another_time_die() -> None:
    bench = Bench("a")
    bench.cursors.cursor = Cursor(generation=5)
    for generation in (0, 4, 6, 100):
        await bench.puller.answer(a_tick(generation))
    assert (bench.platform.pulls, bench.ticks()) == (0, [])


async def test_a_tick_of_a_scope_that_is_gone_dies() -> None:
    bench = Bench("a")
    bench.cursors.cursor = None
    await bench.puller.answer(a_tick())
    assert (bench.platform.pulls, bench.ticks()) == (0, [])


async def test_the_tick_of_a_paused_account_dies_and_costs_nothing_more() -> None:
    bench = Bench("a")
    bench.cursors.cursor = Cursor({"seen": 3}, paused=True)
    await bench.puller.answer(a_tick())
    assert (bench.platform.pulls, bench.ticks()) == (0, [])
    assert bench.cursor.cursor == {"seen": 3}


# -- dying on the way ----------------------------------------------------------------------------


def points() -> list[str]:
    """Every point that a tick passes."""
    with crashpoints.recording() as passed:
        asyncio.run(Bench("a").puller.answer(a_tick()))
    return list(dict.fromkeys(passed))


@pytest.mark.parametrize("name", points())
async def test_whoever_dies_on_the_way_is_delivered_again_and_nothing_is_lost(name: str) -> None:
    bench, first = Bench(*"abc"), a_tick()
    with dying_at(name), pytest.raises(Killed):
        await bench.puller.answer(first)
    await bench.puller.answer(first)
    assert bench.brought == set("abc")
    assert not bench.platform.orders
    assert bench.cursor.generation == 1
    assert {generation for generation, _ in bench.ticks()} == {1}


def test_there_is_a_point_before_and_after_every_step() -> None:
    steps = {name.rpartition(".")[0] for name in points()}
    assert steps >= {
        f"puller.{step}"
        for step in ("call", "accept", "publish", "acknowledge", "move", "tick.publish")
    }


async def test_the_platform_is_told_and_the_cursor_moves_only_after_the_confirm() -> None:
    bench = Bench("a")
    seen: list[tuple[int, int]] = []
    bench.around.publisher.watching = lambda: seen.append(
        (len(bench.platform.orders), bench.cursor.generation)
    )
    await bench.puller.answer(a_tick())
    # First the order, then the next tick.
    assert seen == [(1, 0), (0, 1)]


# -- trouble -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trouble", "result", "slowest"),
    [
        (NotDone("down"), "failed", SLOWEST_SECONDS),
        (Unclear("timeout"), "failed", SLOWEST_SECONDS),
        (Throttled("slow down"), "throttled", FASTEST_SECONDS),
        (Hopeless("wrong secret"), "refused", MENDING_SECONDS),
        (KeyError("an adapter's bug"), "bug", MENDING_SECONDS),
    ],
)
async def test_a_platform_in_trouble_is_asked_on_as_its_trouble_wants(
    trouble: Exception, result: str, slowest: float
) -> None:
    bench, generation = Bench("a"), 0
    waits = []
    for _ in range(8):
        bench.platform.troubles = [trouble]
        await bench.puller.answer(a_tick(generation))
        generation, wait = bench.ticks()[-1]
        waits.append(wait)
    assert waits == sorted(waits) and waits[-1] == slowest
    labels = (("platform", "meituan"), ("result", result))
    assert bench.around.observer.counted["pull_runs_total", *labels] == 8
    await bench.puller.answer(a_tick(generation))
    assert (bench.brought, bench.ticks()[-1][1]) == ({"a"}, FASTEST_SECONDS)


async def test_what_was_brought_before_the_trouble_is_kept() -> None:
    bench = Bench(*"abcd")
    bench.platform.refuses_ack = [Unclear("timeout")]
    await bench.puller.answer(a_tick())
    assert bench.brought == set("ab")
    assert (bench.cursor.cursor, len(bench.platform.orders)) == ({}, 4)
    await bench.puller.answer(a_tick(1))
    assert (bench.brought, bench.cursor.cursor) == (set("abcd"), {"seen": 4})


async def test_a_second_page_in_trouble_does_not_undo_the_first() -> None:
    bench = Bench(*"abcd")
    bench.platform.fails_after = 1
    await bench.puller.answer(a_tick())
    assert (bench.brought, bench.cursor.cursor) == (set("ab"), {"seen": 2})


async def test_a_platform_says_when_to_come_again() -> None:
    bench = Bench()
    bench.platform.troubles = [Throttled("slow down", 30)]
    await bench.puller.answer(a_tick())
    assert bench.ticks() == [(1, 30)]


async def test_an_account_that_is_not_loaded_ticks_on_slowly() -> None:
    bench = Bench("a")
    bench.loaded = False
    await bench.puller.answer(a_tick())
    bench.loaded = True
    await bench.puller.answer(a_tick(1))
    assert bench.brought == {"a"}


async def test_a_platform_that_always_has_more_does_not_keep_a_tick_for_ever() -> None:
    bench = Bench(*map(str, range(200)))
    await bench.puller.answer(a_tick())
    assert (bench.platform.pulls, bench.ticks()) == (PAGES_A_TICK, [(1, 1)])


async def test_database_trouble_is_waited_out() -> None:
    bench = Bench("a")
    bench.cursors.failing = [DatabaseGone(), DatabaseGone()]
    await bench.puller.answer(a_tick())
    assert (bench.brought, bench.around.intake.holds) == ({"a"}, 1)


def test_where_orders_come_we_look_often_and_elsewhere_ever_less() -> None:
    assert next_interval(20, brought=1) == FASTEST_SECONDS
    assert next_interval(2, brought=0) == pytest.approx(2.6)
    assert next_interval(19, brought=0) == SLOWEST_SECONDS


# -- the loop ------------------------------------------------------------------------------------


async def reads(bench: Bench, *deliveries: FakeDelivery) -> None:
    stopping = asyncio.Event()
    running = asyncio.create_task(bench.loop.run(stopping))
    bench.around.intake.put(*deliveries)
    await until(lambda: all(d.end for d in deliveries), "all ticks are let go")
    stopping.set()
    await asyncio.wait_for(running, 2)


async def test_a_tick_is_let_go_when_the_next_one_is_under_way() -> None:
    bench, delivery = Bench("a"), FakeDelivery(QUEUE, a_tick())
    ends: list[str | None] = []
    bench.around.publisher.watching = lambda: ends.append(delivery.end)
    await reads(bench, delivery)
    assert (ends, delivery.end, len(bench.ticks())) == ([None, None], "ack", 1)


async def test_what_is_no_tick_goes_on_alone_and_stops_no_tick() -> None:
    bench = Bench("a")
    odd, healthy = FakeDelivery(QUEUE, b"{"), FakeDelivery(QUEUE, a_tick())
    await reads(bench, odd, healthy)
    assert (odd.end, healthy.end, bench.brought) == ("reject", "ack", {"a"})


async def test_a_tick_of_tomorrow_is_put_off_and_not_forgotten() -> None:
    bench, newer = Bench(), as_dict(a_tick()) | {"dataschema": "urn:system2:PullOrders:9"}
    await reads(bench, FakeDelivery(QUEUE, newer, {"no": "event"}))
    (item,) = bench.around.publisher.sent
    assert (delay_of(item), item.routing_key.endswith(".takeaway.pull")) == (10, True)
    assert [letter.reason for letter in bench.around.letters.letters] == ["unreadable"]


async def test_accounts_are_looked_at_side_by_side() -> None:
    bench = Bench()
    bench.platform.gate = asyncio.Event()
    deliveries = [FakeDelivery(QUEUE, a_tick()) for _ in range(5)]
    stopping = asyncio.Event()
    running = asyncio.create_task(bench.loop.run(stopping))
    bench.around.intake.put(*deliveries)
    await until(lambda: bench.platform.pulls == 5, "all look at once")
    bench.platform.gate.set()
    stopping.set()
    await asyncio.wait_for(running, 2)
    assert [delivery.end for delivery in deliveries] == ["ack"] * 5
