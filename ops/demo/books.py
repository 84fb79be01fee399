"""The books that everybody keeps by himself: both platforms, the tills, our database, the shelves.

Only the platforms and tills are asked while orders travel: watching costs the database nothing.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

PLATFORM_OPEN = frozenset({"placed", "received", "confirmed", "preparing", "ready"})
TILL_OPEN = frozenset({"taken", "accepted"})

Level = tuple[str, str]
"""(store, SKU)."""


class Sold(NamedTuple):
    """One order in a platform's books. `code` is the pickup code that the platform was told."""

    channel: str
    number: str
    store_id: str
    state: str
    placed_at: float
    facts: frozenset[str]
    code: str | None
    portions: Mapping[str, int]

    @property
    def open(self) -> bool:
        return self.state in PLATFORM_OPEN


class Ticket(NamedTuple):
    """One ticket in a till's books, under however many keys it came: there should be one."""

    store_id: str
    ticket_id: str
    number: str
    status: str
    first_seen: float
    code: str | None
    keys: int
    bodies: int
    kept: bool


class PartnerBooks(NamedTuple):
    sold: Sequence[Sold]
    tickets: Sequence[Ticket]


def read_platform(channel: str, document: Mapping[str, Any]) -> list[Sold]:
    """A platform's `/_sim/books`."""
    return [_sold(channel, entry) for entry in document["orders"]]


def _sold(channel: str, entry: Mapping[str, Any]) -> Sold:
    portions: Counter[str] = Counter()
    for line in entry["lines"]:
        portions[line["sku"]] += line["quantity"]
    told = ("confirmed", "ready", "rejected", "cancelled", "completed")
    return Sold(
        channel=channel,
        number=entry["order_id"],
        store_id=entry["store"],
        state=entry["state"],
        placed_at=entry["placed_at"],
        facts=frozenset(fact for fact in told if entry[fact]),
        code=entry["ready"]["code"] if entry["ready"] else None,
        portions=portions,
    )


def read_tills(document: Mapping[str, Any]) -> list[Ticket]:
    """The tills' `/_sim/books`, one entry per ticket."""
    placed: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    kept = set()
    for message in document["messages"]:
        key = message["store"], message["ticket_id"]
        if message["type"] == "ticket.placed":
            placed.setdefault(key, []).append(message)
        elif message["status"] == "kept":
            kept.add(key)
    return [_ticket(messages, key in kept) for key, messages in placed.items()]


def _ticket(messages: Sequence[Mapping[str, Any]], kept: bool) -> Ticket:
    first = messages[0]
    return Ticket(
        store_id=first["store"],
        ticket_id=first["ticket_id"],
        number=first["channel_order_id"],
        status=first["status"],
        first_seen=min(message["first_seen"] for message in messages),
        code=first["pickup_code"] or None,
        keys=len(messages),
        bodies=len({body for message in messages for body in message["bodies"]}),
        kept=kept,
    )


def delays_ms(books: PartnerBooks) -> list[float]:
    """From placing on the platform to the till, in order of placing."""
    arrived = {ticket.number: ticket.first_seen for ticket in books.tickets}
    return [
        (arrived[order.number] - order.placed_at) * 1000
        for order in sorted(books.sold, key=lambda order: order.placed_at)
        if order.number in arrived
    ]


def quantile(values: Iterable[float], share: float) -> float | None:
    """The smallest value that this share of all do not exceed; None without values."""
    ranked = sorted(values)
    if not ranked:
        return None
    return ranked[max(0, -(-len(ranked) * round(share * 1000) // 1000) - 1)]
