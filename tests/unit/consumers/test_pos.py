"""What a till's answer means: docs/till.md, line by line."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.pos import (
    TicketMissing,
    TillAnswer,
    cancel_ticket,
    push_ticket,
    render_cancellations,
    render_tickets,
)
from dispatcher.errors import Transient
from dispatcher.identity import order_no
from dispatcher.messages import CancelTicket, PushTicket, TicketRefused
from dispatcher.platform import NotDone, Throttled, Unclear
from dispatcher.strict_json import loads
from tests.builders import NOON, a_command, an_order
from tests.fakes import run

ABOUT = an_order().order_id
PUSH = a_command(PushTicket(order_id=ABOUT, store_id="S001", channel="meituan", placed_at=NOON))
CANCEL = a_command(CancelTicket(order_id=ABOUT, store_id="S001", reason="not wanted"))


class Till:
    """Answers as told."""

    def __init__(self, status: int, body: bytes = b"", retry_after: float | None = None) -> None:
        self._answer = TillAnswer(status, body, retry_after)
        self.ids: list[str] = []

    async def post(self, store_id: str, webhook_id: str, body: bytes, trace: Any) -> TillAnswer:
        self.ids.append(webhook_id)
        return self._answer


def pushed(status: int, body: bytes = b"") -> str:
    return type(run(push_ticket(PUSH, b"", Till(status, body)))).__name__


def cancelled(status: int, body: bytes = b"") -> str:
    return type(run(cancel_ticket(CANCEL, b"", Till(status, body)))).__name__


@pytest.mark.parametrize(
    ("status", "body", "meaning"),
    [
        (200, b"", "TicketTaken"),
        (202, b'{"status":"taken"}', "TicketTaken"),
        (204, b"", "TicketTaken"),
        (200, b'{"status":"accepted"}', "TicketAccepted"),
        (200, b'{"status":"refused","reason":"sold out"}', "TicketRefused"),
        (409, b"", "TicketTaken"),
        (409, b'{"status":"refused"}', "TicketTaken"),
        (409, b'{"status":"cancelled"}', "TicketRefused"),
        (410, b"", "TicketRefused"),
        (422, b'{"reason":"sold out"}', "TicketRefused"),
        (400, b"", "TicketRefused"),
        (418, b"teapot", "TicketRefused"),
    ],
)
def test_what_a_till_says_about_a_ticket(status: int, body: bytes, meaning: str) -> None:
    assert pushed(status, body) == meaning


@pytest.mark.parametrize(
    ("status", "body", "meaning"),
    [
        (200, b"", "TicketCancelled"),
        (409, b"", "TicketCancelled"),
        (410, b"", "TicketCancelled"),
        (422, b'{"reason":"too late"}', "CancelRefused"),
        (400, b"", "CancelRefused"),
    ],
)
def test_what_a_till_says_about_a_cancellation(status: int, body: bytes, meaning: str) -> None:
    assert cancelled(status, body) == meaning


@pytest.mark.parametrize(
    ("trouble", "statuses"),
    [
        (Throttled, (429, 503)),
        (NotDone, (300, 301, 302, 304, 307, 308, 401, 403, 404)),
        (Unclear, (101, 408, 500, 502, 504, 599)),
    ],
)
def test_what_is_tried_again(trouble: type[Transient], statuses: tuple[int, ...]) -> None:
    for status in statuses:
        for say in (pushed, cancelled):
            with pytest.raises(trouble):
                say(status)


def test_a_reason_is_passed_on_and_cut() -> None:
    body = b'{"status":"refused","reason":"' + b"sold out " * 1000 + b'"}'
    answer = run(push_ticket(PUSH, b"", Till(200, body)))
    assert isinstance(answer, TicketRefused)
    assert answer.reason.startswith("till: sold out") and len(answer.reason) == 500


HOSTILE = [
    b"\xff\xfe", b"{", b"[]", b'"taken"', b"null", b"NaN", b"[" * 100_000, b'{"status":' * 3000,
    b'{"status":"refused","status":"taken"}', b'{"status":{"a":1}}', b'{"status":[]}',
    b'{"status":"\\u0000"}', b'{"status":"\\ud800"}', b"9" * 60_000, b"1e999", b"x" * 65_536,
]  # fmt: skip


@pytest.mark.parametrize("body", HOSTILE)
def test_hostile_bodies_change_nothing_about_a_status(body: bytes) -> None:
    assert pushed(200, body) == "TicketTaken"
    assert pushed(422, body) == "TicketRefused"


@pytest.mark.parametrize("reason", ['"\\u0000"', '"\\ud800"', '{"a":[1]}', "1e999", "17", "null"])
def test_a_hostile_reason_can_be_stored(reason: str) -> None:
    answer = run(push_ticket(PUSH, b"", Till(422, b'{"reason":%b}' % reason.encode())))
    assert isinstance(answer, TicketRefused)
    assert "\0" not in answer.reason
    answer.reason.encode()


@settings(max_examples=100, deadline=None)
@given(st.integers(100, 599), st.binary(max_size=40))
def test_every_answer_means_something(status: int, body: bytes) -> None:
    for say in (pushed, cancelled):
        try:
            assert say(status, body)
        except (Throttled, NotDone, Unclear):
            assert not 200 <= status < 300
        else:
            assert 200 <= status < 500


def test_the_key_of_every_attempt_is_the_commands_id() -> None:
    till = Till(200)
    for again in (PUSH, PUSH.again(), PUSH.again(doubt=True).again()):
        run(push_ticket(again, b"", till))
    assert till.ids == [str(PUSH.id)] * 3


class Tickets:
    """Orders in memory; counts how often it is asked."""

    def __init__(self, *orders: Any) -> None:
        self.orders = {order.order_id: order for order in orders}
        self.asked = 0

    async def read(self, order_ids: Any) -> Any:
        self.asked += 1
        return {i: self.orders[i] for i in order_ids if i in self.orders}


def test_a_ticket_has_what_the_page_for_vendors_promises() -> None:
    order = an_order(flags=("unmapped",))
    (body,) = run(render_tickets([PUSH], Tickets(order)))
    ticket = loads(body)
    assert ticket["type"] == "ticket.placed"
    assert ticket["data"]["ticket_id"] == order.order_no
    assert ticket["data"]["customer"] == order.recipient.model_dump()
    assert ticket["data"]["flags"] == ["unmapped"]
    assert ticket["data"]["paid_minor"] == 5600


def test_a_batch_of_tickets_is_rendered_with_one_pass() -> None:
    orders = [an_order(str(n)) for n in range(50)]
    pushes = [
        a_command(PUSH.data.model_copy(update={"order_id": order.order_id})) for order in orders
    ]
    tickets = Tickets(*orders)
    assert len(run(render_tickets(pushes, tickets))) == 50
    assert tickets.asked == 1


def test_an_order_without_a_row_has_no_ticket() -> None:
    with pytest.raises(TicketMissing):
        run(render_tickets([PUSH], Tickets()))


def test_a_cancellation_names_the_ticket_and_the_reason() -> None:
    (body,) = run(render_cancellations([CANCEL], None))
    said = loads(body)
    assert said["type"] == "ticket.cancelled"
    assert (said["data"]["ticket_id"], said["data"]["reason"]) == (order_no(ABOUT), "not wanted")
