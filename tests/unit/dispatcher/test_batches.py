"""The loop that System2 and the LOCAL consumers run: who is held, who is blamed, who is let go."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher import batches
from dispatcher.batches import (
    PATIENT_ATTEMPTS,
    TRIES_OF_A_BUG,
    Alone,
    BatchLoop,
    OneQueue,
    TwoLanes,
)
from dispatcher.envelope import Envelope, Unreadable, as_dict, decode, split
from dispatcher.errors import Hopeless, NotUnderstood
from dispatcher.messages import OrderCancelled
from dispatcher.rabbit.errors import Unroutable
from dispatcher.rabbit.publish import Outgoing
from tests.builders import an_event
from tests.unit.consumers.fakes import (
    ROUTER,
    DatabaseGone,
    FakeDelivery,
    FakeIntake,
    Surroundings,
    delay_of,
    until,
)

FACTS, BIRTHS = "test.facts.0", "test.placed.0"


def fact(key: object = "") -> Envelope[Any]:
    return an_event(OrderCancelled(), key=str(key))


class Bench:
    """A loop whose work records what it is given, and fails as a test says."""

    def __init__(self, fails: Callable[[Sequence[Envelope[Any]]], None] | None = None) -> None:
        self.around = Surroundings(queues=(FACTS, BIRTHS), name="dispatcher")
        self.batches: list[list[str]] = []
        self._fails = fails or (lambda envelopes: None)
        tray: Any = OneQueue(self.around.intake, FACTS)  # type: ignore[arg-type]
        self.loop = BatchLoop(self.around.desk, tray, self._work)

    async def _work(self, envelopes: Sequence[Envelope[Any]]) -> list[Outgoing]:
        self.batches.append([str(e.fingerprint).split()[-1] for e in envelopes])
        self._fails(envelopes)
        return [ROUTER.now(e) for e in envelopes]

    async def takes(self, *deliveries: FakeDelivery) -> None:
        self.around.intake.put(*deliveries)
        await self.loop.once()

    @property
    def done(self) -> list[str]:
        return [str(e.fingerprint).split()[-1] for e in self.around.publisher.now()]


def failing_once(*errors: Exception) -> Callable[[Sequence[Envelope[Any]]], None]:
    left = list(errors)

    def fails(envelopes: Sequence[Envelope[Any]]) -> None:
        if left:
            raise left.pop(0)

    return fails


def poisonous(key: str, error: Callable[[], Exception]) -> Callable[[Any], None]:
    def fails(envelopes: Sequence[Envelope[Any]]) -> None:
        if any(str(e.fingerprint).endswith(f" {key}") for e in envelopes):
            raise error()

    return fails


# -- the order of things -------------------------------------------------------------------------


async def test_a_batch_is_let_go_only_after_its_outcome_is_published() -> None:
    bench, delivery = Bench(), FakeDelivery(FACTS, fact(1), fact(2))
    ends: list[str | None] = []
    bench.around.publisher.watching = lambda: ends.append(delivery.end)
    await bench.takes(delivery)
    assert (ends, delivery.end, bench.done) == ([None], "ack", ["1", "2"])


async def test_a_batch_whose_publish_fails_is_not_let_go() -> None:
    bench, delivery = Bench(), FakeDelivery(FACTS, fact(1))
    bench.around.publisher.failing = [RuntimeError("the process dies here")]
    with pytest.raises(RuntimeError):
        await bench.takes(delivery)
    assert delivery.end is None


async def test_several_deliveries_are_one_batch_and_each_is_let_go_by_itself() -> None:
    bench = Bench()
    deliveries = [FakeDelivery(FACTS, fact(n)) for n in range(5)]
    await bench.takes(*deliveries)
    assert bench.batches == [["0", "1", "2", "3", "4"]]
    assert [d.end for d in deliveries] == ["ack"] * 5


# -- troubles that are nobody's fault ------------------------------------------------------------


async def test_database_trouble_holds_the_queues_and_gives_nothing_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batches, "HOLD_SECONDS_MOST", 0.01)
    held: list[set[str]] = []
    left = [DatabaseGone()] * 5

    def fails(envelopes: Any) -> None:
        if left:
            held.append(set(bench.around.intake.held))
            raise left.pop()

    bench, delivery = Bench(fails), FakeDelivery(FACTS, fact(1))
    await bench.takes(delivery)
    assert held == [set()] + [{FACTS, BIRTHS}] * 4
    assert (bench.around.intake.held, bench.around.intake.holds) == (set(), 1)
    assert (delivery.end, bench.done, bench.around.letters.letters) == ("ack", ["1"], [])


async def test_what_the_broker_has_given_to_somebody_else_is_not_tried_for_ever() -> None:
    bench = Bench(lambda envelopes: (_ for _ in ()).throw(DatabaseGone()))
    delivery = FakeDelivery(FACTS, fact(1))
    delivery.lost = True
    await asyncio.wait_for(bench.takes(delivery), 2)
    assert (bench.done, bench.around.intake.held) == ([], set())


async def test_after_long_trouble_everything_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "GIVE_BACK_AFTER_SECONDS", 0)
    bench = Bench(failing_once(DatabaseGone()))
    given_back: list[tuple[str, ...]] = []

    async def give_back_all(*queues: str) -> None:
        given_back.append(queues)

    bench.around.intake.give_back_all = give_back_all  # type: ignore[method-assign]
    await bench.takes(FakeDelivery(FACTS, fact(1)))
    assert given_back == [(FACTS, BIRTHS)]


async def test_a_queue_that_is_missing_means_to_hold_and_not_to_die() -> None:
    bench, delivery = Bench(), FakeDelivery(FACTS, fact(1))
    bench.around.publisher.failing = [Unroutable("test.commands", "pos.push", "no queue")] * 2
    await bench.takes(delivery)
    assert (delivery.end, bench.done, bench.around.intake.holds) == ("ack", ["1"], 1)


async def test_trouble_while_writing_a_letter_holds_too() -> None:
    bench, delivery = Bench(), FakeDelivery(FACTS, fact(1), {"no": "event"})
    bench.around.letters.failing = [DatabaseGone()]
    await bench.takes(delivery)
    assert (delivery.end, len(bench.around.letters.letters)) == ("ack", 1)
    assert bench.around.intake.holds == 1


async def test_a_desk_without_queues_holds_nobody_elses() -> None:
    around = Surroundings(queues=())
    await around.desk.persist(_failing(DatabaseGone()))
    assert around.intake.holds == 0


def _failing(*errors: Exception) -> Callable[[], Awaitable[None]]:
    left = list(errors)

    async def what() -> None:
        if left:
            raise left.pop()

    return what


# -- poison --------------------------------------------------------------------------------------


async def test_one_poison_event_among_two_hundred_stands_alone_in_quarantine() -> None:
    bench = Bench(poisonous("77", lambda: KeyError("nobody thought of this")))
    delivery = FakeDelivery(FACTS, *(fact(n) for n in range(200)))
    await bench.takes(delivery)
    assert bench.done == [str(n) for n in range(200) if n != 77]
    (letter,) = bench.around.letters.letters
    assert letter.reason == "KeyError"
    assert "nobody thought of this" in letter.error and "Traceback" in letter.error
    assert decode(split(letter.body)[0]) == fact(77)
    assert delivery.end == "ack"


async def test_a_bug_is_tried_a_few_times_and_what_is_hopeless_once() -> None:
    for error, tries in ((KeyError("?"), TRIES_OF_A_BUG), (Hopeless("no way"), 1)):
        bench = Bench(poisonous("1", lambda e=error: e))  # type: ignore[misc]
        await bench.takes(FakeDelivery(FACTS, fact(1)))
        assert len(bench.batches) == tries
        assert len(bench.around.letters.letters) == 1


async def test_a_bug_that_passes_leaves_no_letter() -> None:
    bench = Bench(failing_once(KeyError("once")))
    await bench.takes(FakeDelivery(FACTS, fact(1)))
    assert (bench.done, bench.around.letters.letters) == (["1"], [])


# -- newer than us -------------------------------------------------------------------------------


def newer(**changes: Any) -> dict[str, Any]:
    return as_dict(fact(1)) | {"type": "system2.InventedTomorrow"} | changes


async def test_a_message_of_tomorrow_waits_in_the_lattice_with_one_more_attempt() -> None:
    bench, delivery = Bench(), FakeDelivery(FACTS, newer(attempt=3), fact(2))
    await bench.takes(delivery)
    waiting = [item for item in bench.around.publisher.sent if delay_of(item)]
    (event,) = split(waiting[0].event)
    assert (event["attempt"], event["type"]) == (4, "system2.InventedTomorrow")
    assert waiting[0].routing_key.endswith(".facts.0")
    assert delivery.end == "ack"
    assert bench.around.letters.letters == []


async def test_behind_the_queue_patience_leads_back_to_the_queue_itself() -> None:
    bench = Bench()
    found = bench.around.desk.read(FakeDelivery(f"{FACTS}.solo", newer()))  # type: ignore[arg-type]
    assert found.outgoing[0].routing_key.endswith(".facts.0")


async def test_patience_ends_in_quarantine() -> None:
    bench = Bench()
    await bench.takes(FakeDelivery(FACTS, newer(attempt=PATIENT_ATTEMPTS)))
    (letter,) = bench.around.letters.letters
    assert (letter.reason, bench.around.publisher.sent) == ("not_understood", [])
    assert "InventedTomorrow" in letter.error


async def test_an_order_of_a_newer_workflow_waits_and_its_neighbours_do_not() -> None:
    bench = Bench(poisonous("2", lambda: NotUnderstood("takeaway version 9")))
    await bench.takes(FakeDelivery(FACTS, fact(1), fact(2), fact(3)))
    ((waits, seconds),) = bench.around.publisher.later()
    assert (waits.attempt, timedelta(seconds=seconds)) == (1, batches.PATIENCE)
    assert bench.done == ["1", "3"]


@pytest.mark.parametrize("attempt", ["soon", None, [], {}, "1", 1.5, 10**40, -1, True])
async def test_an_attempt_that_is_no_number_kills_no_process(attempt: Any) -> None:
    bench, delivery = Bench(), FakeDelivery(FACTS, newer(attempt=attempt), fact(1))
    await bench.takes(delivery)
    sent = len([item for item in bench.around.publisher.sent if delay_of(item)])
    assert (delivery.end, sent + len(bench.around.letters.letters)) == ("ack", 1)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from([*as_dict(fact()), "attempt", "expires"]), JSON))
def test_whatever_an_event_says_it_is_read_put_off_or_put_aside(changes: dict[str, Any]) -> None:
    desk = Surroundings().desk
    with_type = as_dict(fact()) | changes
    found = desk.read(FakeDelivery(FACTS, with_type))  # type: ignore[arg-type]
    assert len(found.envelopes) + len(found.outgoing) + len(found.letters) == 1


# -- unreadable ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [b"", b"\xff\xfe", b"[", b"17", b"[]", b"[1]", b"[" * 5000, b"NaN"]
)
async def test_a_body_that_nobody_can_read_goes_on_alone_and_its_neighbours_are_done(
    body: bytes,
) -> None:
    bench, unreadable, healthy = Bench(), FakeDelivery(FACTS, body), FakeDelivery(FACTS, fact(1))
    await bench.takes(unreadable, healthy)
    assert (unreadable.end, healthy.end, bench.done) == ("reject", "ack", ["1"])
    with pytest.raises(Unreadable):
        bench.around.desk.read(unreadable)  # type: ignore[arg-type]


async def test_what_is_no_event_among_events_becomes_a_letter() -> None:
    bench = Bench()
    await bench.takes(FakeDelivery(FACTS, fact(1), {"hello": "world"}, fact(2)))
    (letter,) = bench.around.letters.letters
    assert (letter.reason, letter.body) == ("unreadable", b'{"hello":"world"}')
    assert bench.done == ["1", "2"]


async def test_behind_the_queue_a_batch_is_split_before_it_is_tried() -> None:
    bench = Bench()
    alone: Any = Alone(bench.around.intake, [f"{FACTS}.solo"])  # type: ignore[arg-type]
    loop = BatchLoop(bench.around.desk, alone, bench.loop._work)
    delivery = FakeDelivery(f"{FACTS}.solo", fact(1), fact(2))
    bench.around.intake.put(delivery)
    await loop.once()
    assert {(o.exchange, o.routing_key) for o in bench.around.publisher.sent} == {
        ("test.dead", f"{FACTS}.solo")
    }
    assert (bench.batches, delivery.end) == ([], "ack")


# -- two lanes -----------------------------------------------------------------------------------


def filled(facts: int, births: int, each: int = 1) -> FakeIntake:
    intake = FakeIntake()
    for queue, many in ((FACTS, facts), (BIRTHS, births)):
        intake.put(*(FakeDelivery(queue, *[fact()] * each) for _ in range(many)))
    return intake


@pytest.mark.parametrize(
    ("facts", "births", "taken"),
    [
        (1000, 0, (400, 0)),
        (1000, 1000, (300, 100)),
        (0, 1000, (0, 100)),
        (1000, 20, (300, 20)),
    ],
)
def test_facts_go_first_and_births_get_a_quarter_of_each_batch(
    facts: int, births: int, taken: tuple[int, int]
) -> None:
    tray: Any = TwoLanes(filled(facts, births), [FACTS], [BIRTHS])  # type: ignore[arg-type]
    batch = [delivery.queue for delivery in tray.take()]
    assert (batch.count(FACTS), batch.count(BIRTHS)) == taken
    assert batch == sorted(batch, key=[FACTS, BIRTHS].index)


def test_while_facts_wait_births_get_one_place_in_four_however_they_are_packed() -> None:
    intake = FakeIntake()
    intake.put(*(FakeDelivery(FACTS, fact()) for _ in range(600)))
    intake.put(*(FakeDelivery(BIRTHS, *[fact()] * 50) for _ in range(40)))
    tray: Any = TwoLanes(intake, [FACTS], [BIRTHS], most_events=40)  # type: ignore[arg-type]
    taken = [delivery for _ in range(19) for delivery in tray.take()]
    facts = sum(delivery.queue == FACTS for delivery in taken)
    births = sum(delivery.events for delivery in taken if delivery.queue == BIRTHS)
    assert facts > 500 and facts / 3 - 60 <= births <= facts / 3 + 60


# -- the end -------------------------------------------------------------------------------------


async def test_told_to_stop_it_finishes_the_batch_in_hand_and_reads_no_more() -> None:
    bench, delivery, stopping = Bench(), FakeDelivery(FACTS, fact(1)), asyncio.Event()
    bench.around.publisher.watching = stopping.set
    bench.around.intake.put(delivery)
    await asyncio.wait_for(bench.loop.run(stopping), 2)
    assert (delivery.end, bench.around.intake.held) == ("ack", {FACTS, BIRTHS})


async def test_idle_it_waits_without_turning() -> None:
    bench, stopping = Bench(), asyncio.Event()
    running = asyncio.create_task(bench.loop.run(stopping))
    bench.around.intake.put(FakeDelivery(FACTS, fact(1)))
    await until(lambda: bench.done == ["1"], "the batch is done")
    stopping.set()
    await asyncio.wait_for(running, 2)
    assert bench.batches == [["1"]]
