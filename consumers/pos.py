"""Gives tickets to the stores' tills, and tells them to stop. The contract is docs/till.md.

Safe to repeat: every attempt carries the same bytes under the same webhook-id, and the till keeps
one ticket per id.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from pydantic_core import to_json

from dispatcher.envelope import Envelope
from dispatcher.errors import Hopeless
from dispatcher.identity import order_no
from dispatcher.messages import (
    CancelRefused,
    CancelTicket,
    PushTicket,
    TicketAccepted,
    TicketCancelled,
    TicketRefused,
    TicketTaken,
)
from dispatcher.order import Order
from dispatcher.platform import NotDone, Throttled, Unclear
from dispatcher.strict_json import BadJson, loads


class TicketMissing(Hopeless):
    """The order of this ticket is not in the database."""


class Tickets(Protocol):
    async def read(self, order_ids: Iterable[UUID]) -> dict[UUID, Order]:
        """The orders, recipients included, with one pass for the whole batch."""


class TillAnswer(NamedTuple):
    """What a till's server said; `body` is cut off at a sane length."""

    status: int
    body: bytes
    retry_after: float | None = None


class Tills(Protocol):
    async def post(
        self, store_id: str, webhook_id: str, body: bytes, traceparent: str | None
    ) -> TillAnswer:
        """One signed call. Raises NotDone (nothing was sent) or Unclear (no answer came)."""


async def render_tickets(commands: Sequence[Envelope[PushTicket]], tickets: Tickets) -> list[bytes]:
    """The bytes of each ticket; a batch costs a constant number of statements."""
    orders = await tickets.read({command.data.order_id for command in commands})
    return [_render(orders.get(command.data.order_id), command) for command in commands]


async def render_cancellations(
    commands: Sequence[Envelope[CancelTicket]], _: object
) -> list[bytes]:
    return [
        to_json(
            {
                "type": "ticket.cancelled",
                "timestamp": command.time,
                "data": {
                    "ticket_id": order_no(command.data.order_id),
                    "order_id": command.data.order_id,
                    "store_id": command.data.store_id,
                    "reason": command.data.reason,
                },
            }
        )
        for command in commands
    ]


async def push_ticket(
    command: Envelope[PushTicket], body: bytes, tills: Tills
) -> TicketTaken | TicketAccepted | TicketRefused:
    answer = await _post(command, command.data.store_id, body, tills)
    said = _said(answer)
    status = said.get("status")
    if answer.status == 409:
        # A duplicate under our own key is the ticket itself, unless it was cancelled before.
        return TicketRefused(reason="cancelled_before") if status == "cancelled" else TicketTaken()
    if 200 <= answer.status < 300 and status != "refused":
        return TicketAccepted() if status == "accepted" else TicketTaken()
    return TicketRefused(reason=_reason(said, answer.status))


async def cancel_ticket(
    command: Envelope[CancelTicket], body: bytes, tills: Tills
) -> TicketCancelled | CancelRefused:
    answer = await _post(command, command.data.store_id, body, tills)
    if 200 <= answer.status < 300 or answer.status in (409, 410):
        return TicketCancelled()
    return CancelRefused(reason=_reason(_said(answer), answer.status))


async def _post(command: Envelope[Any], store_id: str, body: bytes, tills: Tills) -> TillAnswer:
    """Only answers that say something definite come back; the rest is tried again."""
    answer = await tills.post(store_id, str(command.id), body, command.traceparent)
    status = answer.status
    if status in (429, 503):
        raise Throttled(f"HTTP {status}", answer.retry_after)
    if status in (401, 403, 404) or 300 <= status < 400:
        raise NotDone(f"HTTP {status}: the till's address or secret is not right")
    if status < 200 or status == 408 or status >= 500:
        raise Unclear(f"HTTP {status}")
    return answer


def _said(answer: TillAnswer) -> dict[str, Any]:
    """The till's words; an empty or foreign body says nothing."""
    try:
        found = loads(answer.body) if answer.body.strip() else {}
    except BadJson:
        return {}
    return found if isinstance(found, dict) else {}


def _reason(said: dict[str, Any], status: int) -> str:
    return f"till: {said.get('reason') or f'HTTP {status}'}"[:500]


def _render(order: Order | None, command: Envelope[PushTicket]) -> bytes:
    if order is None:
        raise TicketMissing(f"order {command.data.order_id} has no row: its ticket has no content")
    ticket = {
        "ticket_id": order.order_no,
        "order_id": order.order_id,
        "store_id": order.store_id,
        "channel": order.channel,
        "channel_order_id": order.channel_order_id,
        "daily_number": order.daily_number,
        "kind": order.kind,
        "placed_at": order.placed_at,
        "wanted_at": order.wanted_at,
        "remark": order.remark,
        "customer": order.recipient,
        "currency": order.currency,
        "paid_minor": order.amounts.paid_minor,
        "lines": order.lines,
        "flags": order.flags,
    }
    return to_json({"type": "ticket.placed", "timestamp": order.placed_at, "data": ticket})
