"""The tills' books against ours: each ticket once, with the bytes that we stored, and stopped when
its order was.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from ops.checks.books import TillMessage
from ops.checks.finding import Claim, Finding
from storage.audit import Audit, Offender, Sent, Ticket

ONCE = Claim("tickets_once", "a till has seen a ticket under exactly one idempotency key")
SAME_BYTES = Claim("tickets_byte_equal", "every attempt carried the bytes that we stored")
KNOWN = Claim("tickets_known", "a till has only what we sent, and only for its own store")
THERE = Claim("tickets_there", "a ticket that the till said it has is in its books")
STOPPED = Claim("tickets_stopped", "no till cooks for an order that is rejected or cancelled")

PLACED = "ticket.placed"
_CONSUMERS = {PLACED: "pos.push", "ticket.cancelled": "pos.cancel"}
_COOKING = frozenset({"taken", "accepted", "ready"})


async def compare(audit: Audit, messages: Sequence[TillMessage]) -> list[Finding]:
    """What the tills' books say about ours."""
    tickets, sent = await audit.tickets(), await audit.till_messages()
    note = f"{sum(message.type == PLACED for message in messages)} tickets at tills"
    return [
        ONCE.broken_by(seen_twice(messages), note),
        SAME_BYTES.broken_by(other_bytes(messages, sent)),
        KNOWN.broken_by(strangers(messages, tickets, sent)),
        THERE.broken_by(missing(messages, tickets)),
        STOPPED.broken_by(cooked_for_nothing(messages, tickets)),
    ]


def seen_twice(messages: Iterable[TillMessage]) -> Iterator[Offender]:
    placed = [message for message in messages if message.type == PLACED]
    keys = Counter((message.store, message.ticket_id) for message in placed)
    for message in placed:
        times = keys[message.store, message.ticket_id]
        if times > 1 or message.doubled:
            yield Offender(message.order_id, f"{times} keys at {message.store}")


def other_bytes(messages: Iterable[TillMessage], sent: Iterable[Sent]) -> Iterator[Offender]:
    ours = {str(one.command_id): one.digest for one in sent}
    for message in messages:
        if len(message.bodies) > 1:
            yield Offender(message.order_id, f"{len(message.bodies)} bodies under one key")
        elif message.webhook_id in ours and message.bodies != (ours[message.webhook_id],):
            yield Offender(message.order_id, "other bytes than those that we stored")


def strangers(
    messages: Iterable[TillMessage], tickets: Iterable[Ticket], sent: Iterable[Sent]
) -> Iterator[Offender]:
    orders = {str(ticket.order_id): ticket for ticket in tickets}
    ours = {(str(one.command_id), one.consumer, str(one.order_id)) for one in sent}
    for message in messages:
        order = orders.get(message.order_id)
        key = (message.webhook_id, _CONSUMERS.get(message.type, ""), message.order_id)
        if order is None:
            yield Offender(message.order_id, f"{message.store} has it, we do not know it")
        elif (order.store_id, order.order_no) != (message.store, message.ticket_id):
            yield Offender(message.order_id, f"{message.store} has it, it is for {order.store_id}")
        elif key not in ours:
            yield Offender(message.order_id, f"we never sent {message.type} under this key")


def missing(messages: Iterable[TillMessage], tickets: Iterable[Ticket]) -> Iterator[Offender]:
    there = {(m.store, m.ticket_id) for m in messages if m.type == PLACED}
    for ticket in tickets:
        if ticket.taken and (ticket.store_id, ticket.order_no) not in there:
            yield Offender(str(ticket.order_id), f"not in the books of {ticket.store_id}")


def cooked_for_nothing(
    messages: Iterable[TillMessage], tickets: Iterable[Ticket]
) -> Iterator[Offender]:
    """Unless the till has told us that it is too late to stop."""
    ended = {
        (ticket.store_id, ticket.order_no): ticket
        for ticket in tickets
        if ticket.state in ("REJECTED", "CANCELLED") and not ticket.kept
    }
    for message in messages:
        ticket = ended.get((message.store, message.ticket_id))
        if ticket is not None and message.type == PLACED and message.status in _COOKING:
            yield Offender(message.order_id, f"{ticket.state}, at the till {message.status}")
