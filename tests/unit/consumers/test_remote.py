"""REMOTE consumers: every command gets its one answer, and nobody waits for a slow partner."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest

from consumers import remote
from consumers.queues import QUEUES
from consumers.remote import RemoteLoop
from consumers.under_way import Limits
from dispatcher.batches import Alone, OneQueue
from dispatcher.envelope import Envelope
from dispatcher.errors import Hopeless, Transient
from dispatcher.identity import answer_id, order_id
from dispatcher.messages import (
    Event,
    OrderCancelled,
    PushTicket,
    TicketRefused,
    TicketTaken,
    TicketUnknown,
)
from dispatcher.platform import NotDone, Throttled, Unclear
from tests.builders import NOON, a_command, an_event
from tests.fakes import Clock
from tests.unit.consumers.fakes import DatabaseGone, FakeDelivery, Surroundings, until

(PUSH,) = (row for row in QUEUES if row.name == "pos.push")
QUEUE = "test.pos.push"
Said = Event | Exception


def push(number: int = 1, store: str = "S001", **attributes: Any) -> Envelope[PushTicket]:
    about = order_id("meituan", str(number))
    data = PushTicket(order_id=about, store_id=store, channel="meituan", placed_at=NOON)
    return a_command(data, **attributes)


class Till:
    """A partner who says what a test told it to, call by call, and then that it has the ticket."""

    def __init__(self) -> None:
        self.says: dict[Any, list[Said]] = defaultdict(list)
        self.calls: list[tuple[Any, bytes]] = []
        self.running = 0
        self.most_running = 0
        self.gates: dict[str, asyncio.Event] = {}
        self.watching: Callable[[], None] = lambda: None

    async def call(self, command: Envelope[Any], body: bytes) -> Event:
        self.calls.append((command.id, body))
        self.watching()
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            if gate := self.gates.get(command.data.store_id):
                await gate.wait()
            await asyncio.sleep(0)
            said = self.says[command.id].pop(0) if self.says[command.id] else TicketTaken()
        finally:
            self.running -= 1
        if isinstance(said, Exception):
            raise said
        return said

    def is_slow(self, store: str) -> asyncio.Event:
        return self.gates.setdefault(store, asyncio.Event())


class Bench:
    """A running loop, its till, and everything around it."""

    def __init__(self) -> None:
        self.clock = Clock(NOON)
        self.around = Surroundings(clock=self.clock)
        self.till = Till()
        self.limits = Limits(128)
        self.rendering: Callable[[Envelope[Any]], bytes] = lambda command: b"ticket"

    async def _render(self, commands: Sequence[Envelope[Any]]) -> list[bytes]:
        return [self.rendering(command) for command in commands]

    @asynccontextmanager
    async def running(self, solo: bool = False) -> AsyncIterator[None]:
        intake: Any = self.around.intake
        tray = Alone(intake, [f"{QUEUE}.solo"]) if solo else OneQueue(intake, QUEUE)
        loop = RemoteLoop(
            self.around.desk,
            PUSH,
            self.around.units,
            tray,
            render=self._render,
            call=self.till.call,
            destination=lambda command: f"till:{command.data.store_id}",
            limits=self.limits,
        )
        stopping = asyncio.Event()
        running = asyncio.create_task(loop.run(stopping))
        try:
            yield
        finally:
            stopping.set()
            await asyncio.wait_for(running, 5)

    async def handles(self, *deliveries: FakeDelivery, solo: bool = False) -> None:
        """Run until all of these are let go."""
        async with self.running(solo):
            self.around.intake.put(*deliveries)
            await until(lambda: all(d.end for d in deliveries), "everything is let go")

    async def handle(self, *commands: Envelope[Any], redelivered: bool = False) -> FakeDelivery:
        delivery = FakeDelivery(QUEUE, *commands, redelivered=redelivered)
        await self.handles(delivery)
        return delivery

    @property
    def answers(self) -> list[str]:
        return [answer.type for answer in self.around.publisher.now()]

    def came_back(self) -> tuple[Envelope[Any], int]:
        """What was put off last, as the lattice will deliver it, and after how many seconds."""
        return self.around.publisher.later()[-1]


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


# -- one answer ----------------------------------------------------------------------------------


async def test_a_command_is_noted_before_its_call_and_answered_after_it() -> None:
    bench, command = Bench(), push()
    noted: list[bool] = []
    bench.till.watching = lambda: noted.append(bool(bench.around.units.books.inbox))
    delivery = await bench.handle(command)
    assert (noted, bench.till.calls) == ([True], [(command.id, b"ticket")])
    (answer,) = bench.around.publisher.now()
    assert (answer.id, answer.cause) == (answer_id(command.id), command.id)
    assert (delivery.end, bench.around.units.answer_of(command)) == ("ack", "TicketTaken")


async def test_a_command_met_again_repeats_its_answer_and_calls_nobody() -> None:
    bench, command = Bench(), push()
    await bench.handle(command)
    bench.clock.move(timedelta(minutes=1))
    await bench.handle(command, redelivered=True)
    first, second = bench.around.publisher.now()
    assert first == second
    assert len(bench.till.calls) == 1


async def test_every_attempt_carries_the_bytes_of_the_first() -> None:
    bench, command = Bench(), push()
    bench.till.says[command.id] = [Unclear("lost"), Throttled("busy", 3)]
    await bench.handle(command)
    bench.rendering = lambda _: b"the order was edited meanwhile"
    for _ in range(2):
        await bench.handle(bench.came_back()[0])
    assert bench.till.calls == [(command.id, b"ticket")] * 3
    assert bench.answers == ["TicketTaken"]


async def test_when_two_calls_run_at_once_the_first_answer_stands() -> None:
    bench, command = Bench(), push()
    bench.till.says[command.id] = [TicketTaken(), TicketRefused(reason="409 and confused")]
    first, second = FakeDelivery(QUEUE, command), FakeDelivery(QUEUE, command, redelivered=True)
    gate = bench.till.is_slow("S001")
    async with bench.running():
        bench.around.intake.put(first, second)
        await until(lambda: bench.till.running == 2, "two calls run at once")
        gate.set()
        await until(lambda: bool(first.end and second.end), "both are let go")
    assert set(bench.answers) == {bench.around.units.answer_of(command)}


async def test_two_copies_in_one_delivery_are_one_call() -> None:
    bench = Bench()
    await bench.handle(push(), push())
    assert len(bench.till.calls) == 1


async def test_answers_that_end_together_are_committed_together() -> None:
    bench = Bench()
    gate = bench.till.is_slow("S001")
    bench.limits = Limits(128, running=100, share=100)
    delivery = FakeDelivery(QUEUE, *(push(n) for n in range(100)))
    async with bench.running():
        bench.around.intake.put(delivery)
        await until(lambda: bench.till.running == 100, "all calls are under way")
        commits, publishes = bench.around.units.commits, bench.around.publisher.publishes
        gate.set()
        await until(lambda: delivery.end == "ack", "all are answered")
    assert bench.around.units.commits - commits <= 3
    assert bench.around.publisher.publishes - publishes <= 3
    assert len(bench.answers) == 100


# -- trying again --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trouble", "doubt"),
    [(Unclear("HTTP 500"), True), (NotDone("HTTP 404"), False), (Throttled("HTTP 429"), False)],
)
async def test_what_failed_for_now_waits_in_the_lattice(trouble: Transient, doubt: bool) -> None:
    bench, command = Bench(), push()
    bench.till.says[command.id] = [trouble]
    delivery = await bench.handle(command)
    again, seconds = bench.came_back()
    assert (again.id, again.attempt, again.doubt) == (command.id, 1, doubt)
    assert (seconds, delivery.end, bench.answers) == (1, "ack", [])
    (attempt,) = bench.around.units.books.attempts
    assert attempt.outcome == ("unclear" if doubt else "not_done")


async def test_a_partner_who_says_when_is_not_asked_before() -> None:
    bench, command = Bench(), push()
    bench.till.says[command.id] = [Throttled("busy", 17)]
    await bench.handle(command)
    assert bench.came_back()[1] == 17


@pytest.mark.parametrize("seconds", [1e6, 1e20, float("inf")])
async def test_a_partner_who_asks_for_ages_gets_what_is_left(seconds: float) -> None:
    bench, command = Bench(), push(expires=after(100))
    bench.till.says[command.id] = [Throttled("busy", seconds)]
    await bench.handle(command)
    assert bench.came_back()[1] == 100


async def test_trouble_of_our_database_during_a_call_is_not_the_commands_fault() -> None:
    bench, command = Bench(), push()
    bench.till.says[command.id] = [DatabaseGone("the store's address cannot be read")]
    await bench.handle(command)
    assert bench.came_back()[0].attempt == 1
    assert bench.around.letters.letters == []


# -- time is up ----------------------------------------------------------------------------------


async def at_the_end(bench: Bench, command: Envelope[Any], redelivered: bool = False) -> str:
    """What the command is answered when it comes after its time."""
    bench.clock.now = after(1000)
    calls = len(bench.till.calls)
    await bench.handle(command, redelivered=redelivered)
    assert len(bench.till.calls) == calls
    return bench.answers[-1]


async def test_nothing_was_ever_tried_so_nothing_was_done() -> None:
    assert await at_the_end(Bench(), push(expires=after(100))) == "TicketRefused"


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        (Throttled("busy"), "TicketRefused"),
        (NotDone("no connection"), "TicketRefused"),
        (Unclear("timeout"), "TicketUnknown"),
        (Transient("whatever"), "TicketUnknown"),
    ],
)
async def test_only_surely_refused_attempts_mean_that_nothing_was_done(
    said: Transient, verdict: str
) -> None:
    bench, command = Bench(), push(expires=after(100))
    bench.till.says[command.id] = [said]
    await bench.handle(command)
    assert await at_the_end(bench, bench.came_back()[0]) == verdict


async def test_doubt_stays_whatever_later_attempts_say() -> None:
    bench, command = Bench(), push(expires=after(100))
    bench.till.says[command.id] = [Unclear("timeout"), NotDone("no connection")]
    await bench.handle(command)
    await bench.handle(bench.came_back()[0])
    assert await at_the_end(bench, bench.came_back()[0]) == "TicketUnknown"


async def test_a_call_that_a_copy_of_the_command_made_is_not_forgotten() -> None:
    bench, command = Bench(), push(expires=after(100))
    bench.till.says[command.id] = [Throttled("busy"), Unclear("timeout")]
    await bench.handle(command)
    refused_only = bench.came_back()[0]
    await bench.handle(command, redelivered=True)
    assert await at_the_end(bench, refused_only) == "TicketUnknown"


async def test_who_died_in_a_call_may_have_done_it() -> None:
    bench, command = Bench(), push(expires=after(100))
    bench.till.is_slow("S001")
    async with bench.running():
        bench.around.intake.put(FakeDelivery(QUEUE, command))
        await until(lambda: bench.till.running == 1, "the call is under way")
        assert await self_again(bench, command) == "TicketUnknown"
        bench.till.gates["S001"].set()


async def self_again(bench: Bench, command: Envelope[Any]) -> str:
    """Another process gets what the dead one had in hand, when its time is up."""
    other = Bench()
    other.around.units = bench.around.units
    return await at_the_end(other, command, redelivered=True)


async def test_the_doubt_about_a_dead_process_outlives_a_refusal() -> None:
    """Killed in its call, delivered again, refused as busy, and then out of time."""
    bench, command = Bench(), push(expires=after(100))
    bench.till.says[command.id] = [Unclear("killed here"), Throttled("busy")]
    await bench.handle(command)
    await bench.handle(command, redelivered=True)
    assert bench.came_back()[0].doubt
    assert await at_the_end(bench, bench.came_back()[0]) == "TicketUnknown"


async def test_what_waited_too_long_for_its_turn_is_answered_without_a_call() -> None:
    bench = Bench()
    bench.limits = Limits(128, running=1, share=2)
    gate = bench.till.is_slow("S001")
    delivery = FakeDelivery(QUEUE, push(1), push(2, expires=after(100)))
    async with bench.running():
        bench.around.intake.put(delivery)
        await until(lambda: bench.till.running == 1, "the first call is under way")
        bench.clock.move(timedelta(seconds=101))
        gate.set()
        await until(lambda: delivery.end == "ack", "both are answered")
    assert (sorted(bench.answers), len(bench.till.calls)) == (["TicketRefused", "TicketTaken"], 1)


async def test_what_no_limit_is_given_ends_with_its_budget() -> None:
    bench, command = Bench(), push()
    bench.clock.now = after(PUSH.patience.budget_seconds)
    await bench.handle(command)
    assert bench.answers == ["TicketRefused"]


# -- poison --------------------------------------------------------------------------------------


async def test_what_is_hopeless_is_put_aside_at_once_and_still_answered_in_the_end() -> None:
    bench, command = Bench(), push(expires=after(100))
    bench.till.says[command.id] = [Hopeless("no such store")]
    await bench.handle(command)
    (letter,) = bench.around.letters.letters
    assert (letter.reason, letter.error) == ("Hopeless", "no such store")
    again, seconds = bench.came_back()
    assert seconds == 100
    assert await at_the_end(bench, again) == "TicketUnknown"


async def test_a_bug_is_tried_a_few_times_before_it_is_put_aside() -> None:
    bench, command = Bench(), push(expires=after(100))
    bench.till.says[command.id] = [KeyError("a bug")] * 3
    for expected in (0, 0, 1):
        await bench.handle(command)
        assert len(bench.around.letters.letters) == expected
        command = bench.came_back()[0]
    assert "Traceback" in bench.around.letters.letters[0].error
    assert bench.came_back()[1] == 100


async def test_what_cannot_be_rendered_is_put_aside_and_its_neighbours_are_done() -> None:
    bench, poison = Bench(), push(2, expires=after(100))

    def rendering(command: Envelope[Any]) -> bytes:
        if command.id == poison.id:
            raise Hopeless("the order has no row")
        return b"ticket"

    bench.rendering = rendering
    delivery = await bench.handle(push(1), poison, push(3))
    assert (delivery.end, bench.answers) == ("ack", ["TicketTaken"] * 2)
    assert len(bench.around.letters.letters) == 1
    again, seconds = bench.came_back()
    assert (again.id, seconds) == (poison.id, 100)
    assert await at_the_end(bench, again) == "TicketRefused"


async def test_an_answer_that_cannot_be_stored_stops_no_other() -> None:
    bench, poison = Bench(), push(2, expires=after(100))
    bench.limits = Limits(128, running=100)
    bench.till.says[poison.id] = [TicketRefused(reason="poison")]
    bench.around.units.cannot_store = "poison"
    gate = bench.till.is_slow("S001")
    delivery = FakeDelivery(QUEUE, push(1), poison, push(3))
    async with bench.running():
        bench.around.intake.put(delivery)
        await until(lambda: bench.till.running == 3, "three calls run")
        gate.set()
        await until(lambda: delivery.end == "ack", "the batch is let go")
    assert bench.answers == ["TicketTaken"] * 2
    assert await at_the_end(bench, bench.came_back()[0]) == "TicketUnknown"


async def test_another_queues_message_is_put_aside_and_stops_nobody() -> None:
    bench = Bench()
    delivery = await bench.handle(an_event(OrderCancelled()), push(1))
    assert (delivery.end, bench.answers) == ("ack", ["TicketTaken"])
    assert [letter.reason for letter in bench.around.letters.letters] == ["NotForThisQueue"]


async def test_a_body_that_nobody_can_read_goes_on_alone() -> None:
    bench, delivery = Bench(), FakeDelivery(QUEUE, b"\xff")
    await bench.handles(delivery)
    assert delivery.end == "reject"


async def test_behind_the_queue_a_batch_is_split_before_anybody_is_called() -> None:
    bench, delivery = Bench(), FakeDelivery(f"{QUEUE}.solo", push(1), push(2))
    await bench.handles(delivery, solo=True)
    assert (len(bench.around.publisher.sent), bench.till.calls) == (2, [])
    assert {o.routing_key for o in bench.around.publisher.sent} == {f"{QUEUE}.solo"}


# -- slow partners and crowds --------------------------------------------------------------------


@pytest.fixture
def quick_hand_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "HAND_OVER_SECONDS", 0.02)


async def test_a_slow_till_holds_up_nobody(quick_hand_over: None) -> None:
    """Its batch is let go while it still thinks; a copy in the lattice goes on if we die."""
    bench, slow = Bench(), push(1, "S002")
    gate = bench.till.is_slow("S002")
    delivery = FakeDelivery(QUEUE, slow, *(push(n) for n in range(2, 10)))
    async with bench.running():
        bench.around.intake.put(delivery)
        await until(lambda: delivery.end == "ack", "the batch is let go")
        assert (bench.till.running, bench.answers) == (1, ["TicketTaken"] * 8)
        again, seconds = bench.came_back()
        assert (again.id, again.doubt, seconds) == (slow.id, True, 15)
        gate.set()
        await until(lambda: len(bench.answers) == 9, "the slow one is answered too")
    assert bench.around.units.answer_of(slow) == "TicketTaken"


async def test_what_was_handed_over_is_not_put_off_twice(quick_hand_over: None) -> None:
    bench, slow = Bench(), push(1)
    bench.till.says[slow.id] = [Unclear("timeout")]
    gate = bench.till.is_slow("S001")
    async with bench.running():
        bench.around.intake.put(FakeDelivery(QUEUE, slow))
        await until(lambda: len(bench.around.publisher.sent) == 1, "it is handed over")
        gate.set()
        await until(lambda: len(bench.around.units.books.attempts) == 1, "the call has ended")
    assert len(bench.around.publisher.sent) == 1
    assert bench.answers == []


async def test_a_destination_has_its_share_and_the_rest_waits_in_the_lattice() -> None:
    bench = Bench()
    bench.limits = Limits(128, running=2, share=4)
    gate = bench.till.is_slow("S002")
    crowd = FakeDelivery(QUEUE, *(push(n, "S002") for n in range(10)))
    others = FakeDelivery(QUEUE, *(push(n) for n in range(20, 24)))
    async with bench.running():
        bench.around.intake.put(crowd, others)
        await until(lambda: others.end == "ack", "the neighbours are done")
        await until(lambda: len(bench.around.publisher.later()) == 6, "the crowd is put off")
        assert bench.till.running == 2
        assert not any(again.doubt for again, _ in bench.around.publisher.later())
        gate.set()
        await until(lambda: crowd.end == "ack", "those with a share are answered")
    assert bench.answers == ["TicketTaken"] * 8


async def test_no_more_calls_run_at_once_than_there_is_room_for() -> None:
    bench = Bench()
    bench.limits = Limits(3)
    await bench.handle(*(push(n, f"S{n}") for n in range(20)))
    assert bench.till.most_running == 3
    assert bench.limits.open == 0


async def test_no_more_is_taken_than_can_be_kept_open() -> None:
    bench = Bench()
    bench.limits = Limits(1)
    gate = bench.till.is_slow("S001")
    first, second = (FakeDelivery(QUEUE, *(push(n) for n in r)) for r in (range(9), [9]))
    async with bench.running():
        bench.around.intake.put(first)
        await until(lambda: bench.limits.open == 9, "there is no room left")
        bench.around.intake.put(second)
        await asyncio.sleep(0)
        assert bench.around.intake.in_hand(QUEUE) == 1
        gate.set()
        await until(lambda: second.end == "ack", "there is room again")


# -- trouble and the end -------------------------------------------------------------------------


async def test_database_trouble_holds_and_loses_no_answer() -> None:
    bench, command = Bench(), push()
    bench.around.units.failing = [DatabaseGone(), DatabaseGone()]
    delivery = await bench.handle(command)
    assert (delivery.end, bench.answers, len(bench.till.calls)) == ("ack", ["TicketTaken"], 1)
    assert bench.around.intake.holds >= 1


async def test_told_to_stop_it_lets_calls_end_and_settles_them() -> None:
    bench, delivery = Bench(), FakeDelivery(QUEUE, push())
    gate = bench.till.is_slow("S001")
    async with bench.running():
        bench.around.intake.put(delivery)
        await until(lambda: bench.till.running == 1, "the call is under way")
        asyncio.get_running_loop().call_later(0.02, gate.set)
    assert (delivery.end, bench.answers) == ("ack", ["TicketTaken"])


async def test_told_to_stop_it_finishes_the_publish_under_way() -> None:
    bench, delivery = Bench(), FakeDelivery(QUEUE, push())
    begun, gate = asyncio.Event(), asyncio.Event()
    bench.around.publisher.watching = begun.set
    bench.around.publisher.gate = gate
    async with bench.running():
        bench.around.intake.put(delivery)
        await begun.wait()
        asyncio.get_running_loop().call_later(0.02, gate.set)
    assert (delivery.end, bench.answers) == ("ack", ["TicketTaken"])


async def test_unknown_and_refused_answers_are_counted_as_such() -> None:
    bench, command = Bench(), push(1)
    bench.till.says[command.id] = [TicketUnknown()]
    await bench.handle(command, push(2))
    counted = bench.around.observer.counted
    for result in ("ok", "refused"):
        labels = (("result", result), ("type", "PushTicket"))
        assert counted["commands_total", *labels] == 1
