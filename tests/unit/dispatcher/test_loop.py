"""One batch: what is written, what is owed afterwards, and what goes round once more."""

from datetime import timedelta

import pytest

from dispatcher.engine import Workflows
from dispatcher.envelope import Envelope
from dispatcher.errors import NotUnderstood
from dispatcher.identity import BUCKETS, bucket_of
from dispatcher.loop import GRACE, Dispatcher, Owed, delay_of, postponed
from dispatcher.messages import (
    DeadlineEvent,
    DetailsCompleted,
    Event,
    OrderCancelled,
    OrderPlaced,
    StockDeducted,
    StoreSilent,
)
from dispatcher.platform import DEGRADED
from dispatcher.workflow import Fate
from tests.builders import NOON, a_birth, an_answer, an_event, an_order
from tests.fakes import Clock, CountingObserver, Crash, FakeStore, run
from tests.unit.dispatcher.life import LIVES


class Desk:
    """A dispatcher over a store in memory, at a time that stands still."""

    def __init__(self, workflows: Workflows = LIVES) -> None:
        self.store = FakeStore()
        self.clock = Clock()
        self.observer = CountingObserver()
        self.dispatcher = Dispatcher(self.store, workflows, self.observer, self.clock)

    def dispatch(self, *events: Envelope[Event]) -> Owed:
        return run(self.dispatcher.dispatch(events))

    def ticketing(self) -> tuple[Envelope[Event], Owed]:
        """An order whose stock is taken: the answer that said so, and what it led to."""
        (deduct,) = self.dispatch(a_birth()).commands
        answer = an_answer(deduct, StockDeducted())
        return answer, self.dispatch(answer)


def types(owed: Owed) -> list[str]:
    return [command.type for command in owed.commands]


# -- met again -----------------------------------------------------------------------------------


def test_a_stored_event_met_again_sends_again_what_has_no_answer() -> None:
    desk = Desk()
    first = desk.dispatch(a_birth())
    again = desk.dispatch(a_birth())
    assert types(first) == ["DeductStock"]
    assert again.commands == first.commands
    assert len(desk.store.events) == 1


def test_a_stored_event_met_again_sends_nothing_that_is_answered() -> None:
    desk = Desk()
    desk.ticketing()
    assert desk.dispatch(a_birth()) == Owed()


def test_a_deadline_is_sent_again_as_long_as_its_epoch_stands() -> None:
    desk = Desk()
    answer, first = desk.ticketing()
    assert [d.type for d in first.deadlines] == ["StoreSilent"]
    assert desk.dispatch(answer).deadlines == first.deadlines
    desk.dispatch(an_event(OrderCancelled()))
    assert desk.dispatch(answer).deadlines == []


def test_what_died_before_its_commit_left_nothing_and_is_done_once_when_it_comes_again() -> None:
    desk = Desk()
    desk.store.crash_at_commit = True
    with pytest.raises(Crash):
        desk.dispatch(a_birth())
    assert (desk.store.events, desk.store.instances) == ({}, {})
    assert types(desk.dispatch(a_birth())) == ["DeductStock"]


def test_the_same_fact_with_other_content_is_an_alarm_and_changes_nothing() -> None:
    desk = Desk()
    desk.dispatch(a_birth(fingerprint="56.00"))
    before = dict(desk.store.instances)
    owed = desk.dispatch(a_birth(fingerprint="5.60"))
    (odd,) = desk.store.odd
    assert (odd.reason, odd.event.fingerprint) == ("other_content", "5.60")
    assert types(owed) == ["DeductStock"]
    assert desk.store.instances == before
    assert desk.observer.counted["quarantined_total"] == 1


@pytest.mark.parametrize(("first", "second"), [("56.00", DEGRADED), (DEGRADED, "56.00")])
def test_a_look_at_a_degraded_order_is_no_other_content(first: str, second: str) -> None:
    desk = Desk()
    desk.dispatch(a_birth(fingerprint=first))
    desk.dispatch(a_birth(fingerprint=second))
    assert desk.store.odd == []


def test_the_same_event_twice_in_one_batch_is_one_event() -> None:
    desk = Desk()
    assert types(desk.dispatch(a_birth(), a_birth())) == ["DeductStock"]
    assert len(desk.store.events) == 1


def test_the_same_fact_twice_in_one_batch_with_other_content_is_an_alarm() -> None:
    desk = Desk()
    owed = desk.dispatch(a_birth(fingerprint="56.00"), a_birth(fingerprint="5.60"))
    assert [(odd.reason, odd.event.fingerprint) for odd in desk.store.odd] == [
        ("other_content", "5.60")
    ]
    assert types(owed) == ["DeductStock"]


# -- one batch -----------------------------------------------------------------------------------


def test_orders_are_locked_by_bucket_and_events_of_one_order_keep_their_order() -> None:
    """The fake store refuses keys that are not sorted."""
    desk = Desk()
    orders = [an_order(str(number)) for number in range(40)]
    births = [a_birth(order) for order in orders]
    cancelled = [an_event(OrderCancelled(), order.order_id) for order in orders]
    owed = desk.dispatch(*births, *cancelled)
    assert {types(Owed([c]))[0] for c in owed.commands} == {"DeductStock", "ReturnStock"}
    assert {i.state for i in desk.store.instances.values()} == {"CANCELLING"}
    assert all(0 <= bucket_of(i) < BUCKETS for i in desk.store.instances)


def test_what_one_batch_arms_and_disarms_is_never_sent() -> None:
    desk = Desk()
    (deduct,) = desk.dispatch(a_birth()).commands
    owed = desk.dispatch(an_answer(deduct, StockDeducted()), an_event(OrderCancelled()))
    assert [deadline.type for deadline in owed.deadlines] == ["UndoOverdue"]
    assert list(desk.store.deadlines[deduct.subject]) == ["UndoOverdue"]


def test_an_order_is_written_when_it_is_born_and_not_when_it_waits() -> None:
    desk = Desk()
    details = an_event(DetailsCompleted(order=an_order()))
    desk.dispatch(details)
    assert desk.store.orders == []
    desk.dispatch(a_birth())
    assert [type(event.data) for event in desk.store.orders] == [OrderPlaced, DetailsCompleted]


def test_an_unexpected_event_is_quarantined_in_the_same_transaction() -> None:
    desk = Desk()
    desk.dispatch(a_birth(), an_event(OrderPlaced(order=an_order()), key="under another id"))
    (odd,) = desk.store.odd
    assert odd.reason == "unexpected"
    assert desk.store.events[odd.event.id].fate is Fate.UNEXPECTED


def test_no_personal_data_is_stored_of_an_event() -> None:
    desk = Desk()
    desk.dispatch(a_birth())
    assert "13800000000" not in repr([row.event for row in desk.store.events.values()])


def test_an_order_of_a_version_that_is_unknown_here_waits_for_a_newer_process() -> None:
    desk = Desk()
    desk.dispatch(a_birth())
    desk.dispatcher = Dispatcher(desk.store, Workflows([], []), desk.observer, desk.clock)
    with pytest.raises(NotUnderstood, match="takeaway version 1"):
        desk.dispatch(an_event(OrderCancelled()))


# -- deadlines on their way ----------------------------------------------------------------------


def a_deadline(due_in: float, attempt: int = 0) -> Envelope[DeadlineEvent]:
    due = NOON + timedelta(seconds=due_in)
    return an_event(StoreSilent(epoch=1, due=due), attempt=attempt, fingerprint=None)


def round_trip(deadline: Envelope[DeadlineEvent]) -> timedelta | None:
    """How long it goes round again when it comes at noon, or None when it is judged."""
    again = postponed(deadline, NOON)
    return None if again is None else delay_of(again, NOON)


@pytest.mark.parametrize("late", [0, 1, 4.9])
def test_a_deadline_that_is_due_is_judged(late: float) -> None:
    assert round_trip(a_deadline(-late)) is None


@pytest.mark.parametrize("early", [0.1, 30, 3600])
def test_a_deadline_before_its_time_goes_round_for_the_rest(early: float) -> None:
    assert round_trip(a_deadline(early)) == timedelta(seconds=early)


def test_a_deadline_long_after_its_time_goes_round_once_with_grace() -> None:
    assert round_trip(a_deadline(-6)) == GRACE
    assert round_trip(a_deadline(-36, attempt=1)) is None


def test_a_deadline_is_never_judged_before_its_time_whatever_round_it_is_in() -> None:
    assert round_trip(a_deadline(30, attempt=1)) == timedelta(seconds=30)
    assert round_trip(a_deadline(3, attempt=1)) == timedelta(seconds=3)


def test_other_events_are_never_postponed() -> None:
    assert postponed(a_birth(), NOON + timedelta(days=3)) is None


def test_a_postponed_deadline_keeps_its_id_and_leaves_no_event() -> None:
    desk = Desk()
    deadline = a_deadline(10)
    owed = desk.dispatch(deadline)
    assert [d.id for d in owed.deadlines] == [deadline.id]
    assert (desk.store.events, desk.store.instances) == ({}, {})


def test_a_stale_deadline_is_counted_and_forgotten() -> None:
    desk = Desk()
    desk.dispatch(a_birth())
    desk.dispatch(a_deadline(0))
    assert desk.observer.counted["deadlines_stale_total"] == 1
    assert len(desk.store.events) == 1


def test_answers_that_waited_longer_come_before_a_late_deadline() -> None:
    """After an outage the deadline may be read first; the answer beside it still wins."""
    desk = Desk()
    _, owed = desk.ticketing()
    (deadline,) = owed.deadlines
    desk.clock.now = deadline.data.due + timedelta(minutes=5)
    (again,) = desk.dispatch(deadline).deadlines
    assert delay_of(again, desk.clock()) == GRACE
    desk.dispatch(an_event(OrderCancelled()))
    desk.clock.move(GRACE)
    assert desk.dispatch(again) == Owed()
