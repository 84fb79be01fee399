"""One order's life in business words, and what the engine promises about every fold."""

from dataclasses import replace
from datetime import timedelta

import pytest

from dispatcher.engine import NEVER_BORN_AFTER, Armed, Instance, Workflows, fold, is_stale
from dispatcher.identity import command_id, fact_id
from dispatcher.messages import (
    CancelRefused,
    CancelTicket,
    CancelUnknown,
    ConfirmOrder,
    ConfirmRefused,
    ConfirmUnknown,
    DeductStock,
    DetailsCompleted,
    Event,
    MealReady,
    NeverBorn,
    OperatorClosed,
    OrderCancelled,
    OrderCompleted,
    OrderConfirmed,
    OrderLapsed,
    OrderRejected,
    PushTicket,
    ReadyTold,
    RejectOrder,
    RejectRefused,
    ReturnStock,
    StockDeducted,
    StockReturned,
    StockShort,
    StoreSilent,
    TellReady,
    TicketAccepted,
    TicketCancelled,
    TicketRefused,
    TicketTaken,
    TicketUnknown,
    UndoOverdue,
)
from dispatcher.workflow import UNBORN, Fate, Workflow, deadline
from dispatcher.workflows import ALL, BORN_WITH
from dispatcher.workflows.takeaway import TAKEAWAY_V1
from tests.builders import NOON, a_birth, a_line, an_event, an_order
from tests.unit.dispatcher.life import LIVES, Life


def ticketing(life: Life | None = None) -> Life:
    """A placed order whose stock is taken; its ticket is on its way."""
    life = life or Life()
    life.is_placed()
    life.answers(DeductStock, StockDeducted())
    return life


def cooking() -> Life:
    """The store cooks, and the platform knows."""
    life = ticketing()
    life.answers(PushTicket, TicketTaken())
    life.happens(TicketAccepted())
    life.answers(ConfirmOrder, OrderConfirmed())
    return life


# -- the way of an order -------------------------------------------------------------------------


def test_an_order_goes_from_platform_to_till_and_back() -> None:
    life = Life()
    assert life.is_placed() == ["DeductStock"]
    assert life.answers(DeductStock, StockDeducted()) == ["PushTicket"]
    assert life.answers(PushTicket, TicketTaken()) == []
    assert life.happens(TicketAccepted()) == ["ConfirmOrder"]
    assert life.answers(ConfirmOrder, OrderConfirmed()) == []
    assert life.happens(MealReady(pickup_code="A17")) == ["TellReady"]
    assert life.answers(TellReady, ReadyTold()) == []
    assert life.happens(OrderCompleted()) == []
    assert life.state == "DONE"
    assert (life.instance.owed, dict(life.instance.armed)) == ((), {})


def test_the_platform_hears_the_pickup_code_and_when_the_meal_was_ready() -> None:
    """Ready twelve minutes before the platform took our confirmation, and told only then."""
    life = ticketing()
    life.answers(PushTicket, TicketAccepted())
    life.happens(MealReady(pickup_code="A17"))
    life.clock.move(timedelta(minutes=12))
    life.answers(ConfirmOrder, OrderConfirmed())
    told = life.sent["TellReady"].data
    assert isinstance(told, TellReady)
    assert (told.pickup_code, told.happened_at) == ("A17", NOON)
    assert (told.account, told.channel_order_id) == ("mt-main", "1001")


def test_stock_is_wanted_by_sku_and_not_for_items_that_are_none_of_ours() -> None:
    lines = (
        a_line(line=1, sku="B", quantity=2),
        a_line(line=2, sku="A", quantity=1),
        a_line(line=3, sku=None, quantity=9),
        a_line(line=4, sku="B", quantity=3),
    )
    life = Life(an_order(lines=lines, flags=("unmapped",)))
    life.is_placed()
    wanted = life.sent["DeductStock"].data
    assert isinstance(wanted, DeductStock)
    assert [(line.sku, line.quantity) for line in wanted.lines] == [("A", 1), ("B", 5)]


def test_a_store_without_stock_lets_the_platform_know_why() -> None:
    life = Life()
    life.is_placed()
    assert life.answers(DeductStock, StockShort(skus=("A",))) == ["RejectOrder"]
    assert life.sent["RejectOrder"].data.reason == "stock_short"  # type: ignore[attr-defined]
    life.answers(RejectOrder, OrderRejected())
    assert life.state == "REJECTED"


def test_a_till_that_refuses_gets_no_cancellation_but_its_stock_comes_back() -> None:
    life = ticketing()
    assert life.answers(PushTicket, TicketRefused(reason="oven broken")) == [
        "RejectOrder",
        "ReturnStock",
    ]


@pytest.mark.parametrize("taken_first", [True, False])
def test_a_silent_store_loses_the_order_and_its_till_is_told_to_stop(taken_first: bool) -> None:
    life = ticketing()
    if taken_first:
        life.answers(PushTicket, TicketTaken())
    assert life.runs_out(StoreSilent) == ["RejectOrder", "ReturnStock", "CancelTicket"]


def test_a_ticket_that_nobody_knows_about_is_taken_back_too() -> None:
    life = ticketing()
    commands = life.answers(PushTicket, TicketUnknown())
    assert commands == ["RejectOrder", "ReturnStock", "CancelTicket"]


@pytest.mark.parametrize(
    ("before", "undone"),
    [
        (Life, None),
        (ticketing, ["ReturnStock", "CancelTicket"]),
        (cooking, ["ReturnStock", "CancelTicket"]),
    ],
)
def test_a_customer_may_cancel_at_any_moment(before: type[Life], undone: list[str] | None) -> None:
    life = before()
    if undone is None:
        life.is_placed()
    assert life.happens(OrderCancelled()) == (undone or ["ReturnStock"])
    assert life.state == "CANCELLING"


def test_a_cancelled_order_closes_only_when_every_answer_is_in() -> None:
    life = ticketing()
    life.happens(OrderCancelled())
    life.answers(ReturnStock, StockReturned())
    life.answers(CancelTicket, CancelRefused())
    assert life.state == "CANCELLING"
    life.answers(PushTicket, TicketTaken())
    assert life.state == "CANCELLED"


def test_what_cannot_be_undone_waits_for_an_operator() -> None:
    life = ticketing()
    life.answers(PushTicket, TicketUnknown())
    life.answers(CancelTicket, CancelUnknown())
    assert (life.state, dict(life.instance.armed)) == ("NEEDS_HELP", {})
    life.happens(OperatorClosed(reason="called the store", operator="li"))
    assert life.state == "CLEARING"
    life.answers(RejectOrder, RejectRefused())
    life.answers(ReturnStock, StockReturned())
    assert life.state == "CLOSED"


def test_an_undo_that_takes_too_long_waits_for_an_operator() -> None:
    life = ticketing()
    life.happens(OrderCancelled())
    life.runs_out(UndoOverdue)
    assert life.state == "NEEDS_HELP"


def test_an_order_of_which_nobody_hears_again_is_over_after_six_hours() -> None:
    life = cooking()
    assert life.due == {"OrderLapsed": timedelta(hours=6)}
    life.runs_out(OrderLapsed)
    assert life.state == "DONE"


# -- early, late, unexpected ---------------------------------------------------------------------


def test_a_cancellation_that_overtakes_its_order_cancels_it_at_birth() -> None:
    life = Life()
    assert life.happens(OrderCancelled()) == []
    assert life.state == UNBORN
    assert life.is_placed() == ["DeductStock", "ReturnStock"]
    assert life.state == "CANCELLING"


def test_ready_is_told_only_after_confirm_was_answered() -> None:
    life = ticketing()
    life.answers(PushTicket, TicketAccepted())
    assert life.happens(MealReady(pickup_code="7")) == []
    assert life.answers(ConfirmOrder, ConfirmUnknown()) == ["TellReady"]


def test_early_events_are_judged_again_in_order_of_arrival_until_none_moves() -> None:
    life = Life()
    cancelled, completed = life.fact(OrderCancelled()), life.fact(OrderCompleted())
    life.record(completed, cancelled)
    life.is_placed()
    life.answers(DeductStock, StockDeducted())
    life.answers(ReturnStock, StockReturned())
    assert life.state == "CANCELLED"
    assert life.fate_of(cancelled) is Fate.APPLIED
    assert life.fate_of(completed) is Fate.UNEXPECTED
    assert life.instance.early == ()


def test_what_a_released_event_causes_is_stored_with_the_event_that_released_it() -> None:
    life = ticketing()
    life.answers(PushTicket, TicketAccepted())
    ready = life.fact(MealReady())
    life.record(ready)
    (record,) = life.record(life.answer(ConfirmOrder, OrderConfirmed()))
    (command,) = record.commands
    assert (command.type, command.cause) == ("TellReady", ready.id)
    assert command.id == command_id(ready.id, 0)
    assert record.moves == (("CONFIRMING", "COOKING"), ("COOKING", "TELLING"))
    assert record.released == ((ready, Fate.APPLIED),)


def test_an_answer_that_comes_too_late_is_recorded_and_moves_nothing() -> None:
    life = ticketing()
    life.runs_out(StoreSilent)
    late = life.answer(PushTicket, TicketAccepted())
    assert life.record(late)[0].moves == ()
    assert life.fate_of(late) is Fate.LATE


def test_an_order_that_lapses_while_its_completion_waits_is_no_surprise() -> None:
    """Confirm unanswered for six hours: both events wait, and the first one ends the order."""
    life = ticketing()
    life.answers(PushTicket, TicketAccepted())
    life.happens(OrderCompleted())
    lapsed = life.deadline(OrderLapsed)
    life.runs_out(OrderLapsed)
    life.answers(ConfirmOrder, OrderConfirmed())
    assert (life.state, life.fate_of(lapsed)) == ("DONE", Fate.LATE)


def test_an_event_that_no_state_to_come_awaits_is_unexpected() -> None:
    life = cooking()
    life.happens(OrderCompleted())
    cancelled = life.fact(OrderCancelled())
    life.record(cancelled)
    assert (life.state, life.fate_of(cancelled)) == ("DONE", Fate.UNEXPECTED)


@pytest.mark.parametrize("fact", [OrderCancelled(), MealReady(), TicketAccepted()])
def test_whatever_waited_for_an_order_that_never_came_is_unexpected(fact: Event) -> None:
    life = Life()
    waited = life.fact(fact)
    life.record(waited)
    assert life.due == {"NeverBorn": NEVER_BORN_AFTER}
    life.runs_out(NeverBorn)
    assert (life.state, life.fate_of(waited)) == (UNBORN, Fate.UNEXPECTED)
    assert life.instance.early == ()


def test_an_order_born_in_time_need_not_be_waited_for() -> None:
    life = Life()
    life.happens(OrderCancelled())
    never = life.deadline(NeverBorn)
    life.is_placed()
    assert "NeverBorn" not in life.instance.armed
    assert life.record(never) == []


def test_details_that_were_missing_are_recorded_in_every_state() -> None:
    for life in (ticketing(), cooking()):
        details = life.fact(DetailsCompleted(order=life.order))
        life.record(details)
        assert life.fate_of(details) is Fate.LATE


# -- deadlines -----------------------------------------------------------------------------------


def test_a_deadline_stands_for_all_its_states_and_is_not_armed_anew_between_them() -> None:
    life = ticketing()
    armed = life.instance.armed["StoreSilent"]
    life.clock.move(timedelta(minutes=1))
    life.answers(PushTicket, TicketTaken())
    assert life.instance.armed["StoreSilent"] == armed
    assert armed == Armed(epoch=2, due=NOON + timedelta(minutes=3))
    life.happens(TicketAccepted())
    assert "StoreSilent" not in life.instance.armed


def test_a_disarmed_deadline_leaves_nothing_behind() -> None:
    life = ticketing()
    silent = life.deadline(StoreSilent)
    life.answers(PushTicket, TicketAccepted())
    before = life.instance
    assert life.record(silent) == []
    assert life.instance is before


def test_a_deadline_of_another_epoch_is_stale() -> None:
    life = ticketing()
    standing = life.instance.armed["StoreSilent"]
    assert not is_stale(life.instance, StoreSilent(epoch=standing.epoch, due=standing.due))
    assert is_stale(life.instance, StoreSilent(epoch=standing.epoch - 1, due=standing.due))


def test_a_deadline_disarmed_by_its_own_batch_does_not_fire() -> None:
    life = ticketing()
    batch = [life.answer(PushTicket, TicketAccepted()), life.deadline(StoreSilent)]
    assert [record.event.type for record in life.record(*batch)] == ["TicketAccepted"]


def test_a_command_expires_one_call_before_the_deadline_of_its_state() -> None:
    life = ticketing()
    assert life.sent["PushTicket"].expires == NOON + timedelta(minutes=2, seconds=45)
    assert life.sent["DeductStock"].expires is None


def test_the_nearest_of_several_deadlines_decides_when_a_command_expires() -> None:
    hurried = deadline(UndoOverdue, "TICKETING", minutes=1)
    rows = [row for row in TAKEAWAY_V1.rows if row != TAKEAWAY_V1.deadlines[2]]
    table = Workflow("takeaway", 1, *rows, hurried)
    life = ticketing(Life(workflows=Workflows([table], [table])))
    assert life.sent["PushTicket"].expires == NOON + timedelta(seconds=45)


def test_a_demonstration_need_not_wait_hours() -> None:
    life = ticketing(Life(workflows=Workflows(ALL, BORN_WITH, deadline_scale=0.01)))
    assert life.due == {"StoreSilent": timedelta(seconds=1.8)}
    expires = life.sent["PushTicket"].expires
    assert expires is not None
    assert NOON < expires < NOON + timedelta(seconds=1.8)


# -- ids, answers, replay ------------------------------------------------------------------------


def test_commands_are_named_after_their_cause_and_their_place() -> None:
    life = ticketing()
    cause = life.answer(PushTicket, TicketUnknown())
    (record,) = life.record(cause)
    assert [c.id for c in record.commands] == [command_id(cause.id, n) for n in range(3)]
    assert {c.cause for c in record.commands} == {cause.id}


def test_only_its_own_answer_answers_a_command() -> None:
    life = ticketing()
    life.happens(TicketAccepted())
    assert life.sent["PushTicket"].id in life.instance.owed
    life.answers(PushTicket, TicketTaken())
    assert life.sent["PushTicket"].id not in life.instance.owed


def test_commands_carry_the_trace_of_what_caused_them() -> None:
    life = Life()
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    life.record(a_birth(life.order, traceparent=trace))
    assert life.sent["DeductStock"].traceparent == trace


def test_personal_data_is_in_no_command_and_in_nothing_that_is_remembered() -> None:
    life = cooking()
    life.happens(MealReady(pickup_code="A17"))
    said = repr(life.sent) + repr(life.instance)
    assert not any(word in said for word in ("王小明", "13800000000", "Noodle Road", "coriander"))


def test_folding_one_by_one_gives_what_folding_at_once_gives() -> None:
    order = an_order()
    events = [an_event(OrderCancelled()), a_birth(order), an_event(MealReady())]
    at_once, _ = fold(Instance(order.order_id), events, LIVES, NOON)
    one_by_one = Instance(order.order_id)
    for event in events:
        one_by_one, _ = fold(one_by_one, [event], LIVES, NOON)
    assert one_by_one == at_once


def test_an_instance_of_an_unknown_version_is_not_known() -> None:
    born = replace(Instance(fact_id("test", "1")), workflow="takeaway", version=99)
    assert not LIVES.knows(born)
    assert LIVES.knows(Instance(fact_id("test", "1")))


def test_a_confirmation_that_the_platform_refuses_cancels_the_order() -> None:
    life = ticketing()
    life.answers(PushTicket, TicketAccepted())
    assert life.answers(ConfirmOrder, ConfirmRefused()) == ["ReturnStock", "CancelTicket"]
    life.answers(ReturnStock, StockReturned())
    life.answers(CancelTicket, TicketCancelled())
    assert life.state == "CANCELLED"
