"""The demo's verdict: what it calls off, whoever of the four keeps the wrong book."""

from collections.abc import Sequence
from uuid import UUID

import pytest

from ops.demo.books import PartnerBooks, Sold, Ticket
from ops.demo.verdict import Comparison, OurBooks, Verdict
from storage.books import BookedOrder, Level, Movement

DELIVERED = Sold(
    channel="meituan",
    number="m1",
    store_id="S001",
    state="completed",
    placed_at=100.0,
    facts=frozenset({"confirmed", "ready", "completed"}),
    code="A001",
    portions={"NOODLE-BEEF": 2, "SEASONAL-SOUP": 1},
)
REFUSED = DELIVERED._replace(number="m2", state="rejected", code=None, placed_at=101.0)
BOOKED = BookedOrder(UUID(int=1), "DONE", "meituan", "m1", "no1", "S001", True, True)
BOOKED_REFUSED = BookedOrder(UUID(int=2), "REJECTED", "meituan", "m2", "no2", "S001", True, True)
TICKET = Ticket("S001", "no1", "m1", "ready", 100.25, "A001", keys=1, bodies=1, kept=False)
REFUSED_TICKET = TICKET._replace(
    ticket_id="no2", number="m2", status="refused", code=None, first_seen=102.0
)
MOVED = [
    Movement("S001", UUID(int=1), "deducted", {"NOODLE-BEEF": 2}),
    Movement("S001", UUID(int=2), "deducted", {"NOODLE-BEEF": 2}),
    Movement("S001", UUID(int=2), "returned", {"NOODLE-BEEF": 2}),
]
SHELF = [Level("S001", "NOODLE-BEEF", on_hand=98, received=100)]


def verdict(
    *,
    sold: Sequence[Sold] = (DELIVERED, REFUSED),
    tickets: Sequence[Ticket] = (TICKET, REFUSED_TICKET),
    booked: Sequence[BookedOrder] = (BOOKED, BOOKED_REFUSED),
    moved: Sequence[Movement] = MOVED,
    shelf: Sequence[Level] = SHELF,
    incomplete: Sequence[str] = (),
) -> Verdict:
    partners, ours = PartnerBooks(sold, tickets), OurBooks(booked, moved, shelf)
    return Comparison(partners, ours, {"NOODLE-BEEF"}, incomplete).verdict()


def test_books_that_tell_the_same_story_are_all_right() -> None:
    found = verdict()
    ends = {"orders": 2, "delivered": 1, "refused": 1, "closed": 0, "open": 0}
    rest = {"lost": 0, "duplicated": 0, "p50_ms": 250, "p99_ms": 1000, "ok": True}
    assert found.as_json() == ends | rest
    assert all(row.agrees for row in found.rows)


def test_a_paid_order_that_the_database_does_not_know_is_lost() -> None:
    found = verdict(booked=[BOOKED])
    assert (found.lost, found.open, found.ok) == (1, 1, False)
    assert "paid on the platform, but not in the database" in found.faults[0]


def test_a_platform_may_say_rejected_of_what_we_call_cancelled() -> None:
    assert verdict(booked=[BOOKED, BOOKED_REFUSED._replace(state="CANCELLED")]).ok


def test_an_order_that_ended_differently_on_each_side_is_lost() -> None:
    found = verdict(booked=[BOOKED, BOOKED_REFUSED._replace(state="DONE")])
    assert (found.lost, found.ok) == (1, False)
    assert "rejected on the platform, DONE in the database" in found.faults[0]


@pytest.mark.parametrize("state", ["COOKING", "NEEDS_HELP"])
def test_an_order_that_is_not_over_is_open(state: str) -> None:
    found = verdict(booked=[BOOKED._replace(state=state), BOOKED_REFUSED])
    assert (found.open, found.ok) == (1, False)


def test_orders_are_always_the_sum_of_what_became_of_them() -> None:
    for booked in ([], [BOOKED], [BOOKED, BOOKED_REFUSED._replace(state="CLOSED")]):
        found = verdict(booked=booked)
        assert found.orders == found.delivered + found.refused + found.closed + found.open


def test_a_ticket_under_two_keys_is_doubled() -> None:
    found = verdict(tickets=[TICKET._replace(keys=2), REFUSED_TICKET])
    assert (found.duplicated, found.ok) == (1, False)


def test_a_repeat_with_other_bytes_is_off() -> None:
    found = verdict(tickets=[TICKET._replace(bodies=2), REFUSED_TICKET])
    assert (found.duplicated, found.ok) == (0, False)


def test_a_ticket_in_doubt_may_be_at_the_till_or_not() -> None:
    doubtful = BOOKED_REFUSED._replace(arrived=False)
    assert verdict(booked=[BOOKED, doubtful]).ok
    assert verdict(booked=[BOOKED, doubtful], tickets=[TICKET]).ok


def test_a_ticket_that_the_till_answered_but_does_not_have_is_off() -> None:
    assert "its till never saw" in verdict(tickets=[TICKET]).faults[0]


def test_a_ticket_that_nobody_pushed_is_off() -> None:
    found = verdict(booked=[BOOKED, BOOKED_REFUSED._replace(pushed=False, arrived=False)])
    assert "never pushed" in found.faults[0]


def test_a_kitchen_that_still_cooks_a_refused_order_is_off() -> None:
    found = verdict(tickets=[TICKET, REFUSED_TICKET._replace(status="accepted")])
    assert not found.ok
    assert "accepted at its till" in found.faults[0]


def test_another_pickup_code_on_the_platform_is_off() -> None:
    found = verdict(sold=[DELIVERED._replace(code="B002"), REFUSED])
    assert "pickup code A001 at the till, B002 on the platform" in found.faults[0]


def test_portions_that_a_refused_order_did_not_bring_back_are_off() -> None:
    found = verdict(moved=MOVED[:2], shelf=[SHELF[0]._replace(on_hand=96)])
    assert not found.ok
    assert found.faults[0] == "S001 NOODLE-BEEF: 2 sold, 4 in the ledger, 4 gone from the shelf"


def test_a_shelf_that_differs_from_its_ledger_is_off() -> None:
    assert not verdict(shelf=[SHELF[0]._replace(on_hand=97)]).ok


def test_the_ledger_is_believed_for_orders_whose_lines_could_not_be_read() -> None:
    untouched = [SHELF[0]._replace(on_hand=100)]
    assert verdict(moved=MOVED[1:], shelf=untouched, incomplete=["m1"]).ok
    assert not verdict(moved=MOVED[1:], shelf=untouched).ok


def test_an_order_that_no_platform_knows_is_off() -> None:
    stranger = BOOKED._replace(channel_order_id="m9", order_no="no9")
    found = verdict(booked=[BOOKED, BOOKED_REFUSED, stranger])
    assert found.faults == ["the database has 1 orders that no platform knows"]
