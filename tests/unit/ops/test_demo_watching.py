"""What the demo reads from the simulators' books, and how it shows it."""

import io

import pytest
from rich.console import Console

from ops.demo.books import PartnerBooks, Sold, Ticket, quantile, read_platform, read_tills
from ops.demo.scene import scene_of
from ops.demo.script import CUES, SCARCE_STORE, chain_text, wishes
from ops.demo.show import Show, milliseconds

NOTHING = dict.fromkeys(("confirmed", "ready", "rejected", "cancelled", "completed"))
ENTRY = {
    **NOTHING,
    "order_id": "m1",
    "store": "S001",
    "state": "ready",
    "placed_at": 10.0,
    "lines": [{"sku": "TEA", "quantity": 1}, {"sku": "TEA", "quantity": 2}],
    "confirmed": {"first": 11.0},
    "ready": {"first": 12.0, "code": "A001"},
}
MESSAGE = {
    "webhook_id": "w1",
    "type": "ticket.placed",
    "store": "S001",
    "ticket_id": "t1",
    "channel_order_id": "m1",
    "status": "ready",
    "first_seen": 10.5,
    "pickup_code": "A001",
    "bodies": ["aa"],
}


def test_an_order_is_read_from_a_platforms_books() -> None:
    (order,) = read_platform("meituan", {"orders": [ENTRY]})
    assert order.portions == {"TEA": 3}
    assert order.facts == {"confirmed", "ready"}
    assert (order.code, order.open) == ("A001", True)


def test_a_ticket_under_two_keys_is_one_ticket_with_two_keys() -> None:
    again = {**MESSAGE, "webhook_id": "w2", "first_seen": 10.9, "bodies": ["bb"]}
    (ticket,) = read_tills({"messages": [MESSAGE, again]})
    assert (ticket.keys, ticket.bodies, ticket.first_seen) == (2, 2, 10.5)


def test_a_cancellation_that_came_too_late_leaves_a_kept_ticket() -> None:
    cancel = {**MESSAGE, "webhook_id": "w2", "type": "ticket.cancelled", "status": "kept"}
    (ticket,) = read_tills({"messages": [MESSAGE, cancel]})
    assert ticket.kept and ticket.keys == 1


@pytest.mark.parametrize(("share", "value"), [(0.5, 5), (0.99, 10), (0.0, 1), (1.0, 10)])
def test_a_quantile_is_a_value_that_was_measured(share: float, value: int) -> None:
    assert quantile(range(10, 0, -1), share) == value


def test_there_is_no_quantile_of_nothing() -> None:
    assert quantile([], 0.5) is None


def books() -> PartnerBooks:
    (open_order,) = read_platform("meituan", {"orders": [ENTRY]})
    over: Sold = open_order._replace(number="m2", state="cancelled", placed_at=2.0)
    tickets: list[Ticket] = read_tills({"messages": [MESSAGE]})
    return PartnerBooks([open_order, over], tickets)


def test_a_scene_counts_what_the_books_say() -> None:
    scene = scene_of(books(), wanted=2, seconds=11.0, now=11.0)
    assert (scene.placed, scene.at_till, scene.ready, scene.cancelled) == (2, 1, 2, 1)
    assert (scene.over, scene.all_over) == (1, False)
    assert scene.p50_ms == 500.0
    assert scene.till_rate == pytest.approx(1 / 5)


def test_off_a_terminal_there_is_a_line_every_few_seconds() -> None:
    out = io.StringIO()
    show = Show(Console(file=out, width=200))
    for second in range(10):
        show.scene(scene_of(books(), wanted=2, seconds=float(second), now=11.0))
    lines = out.getvalue().splitlines()
    assert len(lines) == 2
    assert "2/2 placed, 1 at a till" in lines[0]


def test_on_a_terminal_the_picture_moves_and_what_happens_stays() -> None:
    out = io.StringIO()
    show = Show(Console(file=out, width=100, force_terminal=True))
    with show.playing():
        show.happened(3.0, "S008 is down")
        show.scene(scene_of(books(), wanted=2, seconds=3.0, now=11.0))
    assert "S008 is down" in out.getvalue()
    assert "at a till" in out.getvalue()


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (412.4, "412 ms"), (999.0, "999 ms"), (1840.0, "1.8 s")]
)
def test_durations_are_written_as_one_reads_them(value: float | None, text: str) -> None:
    assert milliseconds(value) == text


@pytest.mark.parametrize("orders", [0, 1, 4, 7, 30, 250])
def test_customers_place_exactly_as_many_orders_as_wanted(orders: int) -> None:
    wanted = wishes(orders, 30)
    assert sum(rush["count"] for rush in wanted.rushes) + len(wanted.singles) == orders


def test_every_disturbance_comes_while_customers_order_and_in_order() -> None:
    moments = [cue.at for cue in CUES]
    assert moments == sorted(moments)
    assert all(0 <= moment < 1 for moment in moments)


def test_the_scarce_store_has_its_own_line_of_stock() -> None:
    assert f'store = "{SCARCE_STORE}"' in chain_text("[chain]\n")
