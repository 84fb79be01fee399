"""A journal, a broker and a till for tests of the ingress: small, and true to their contracts."""

import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from standardwebhooks import Webhook

from dispatcher.entrance import Entrance
from dispatcher.envelope import decode, split
from dispatcher.identity import order_id, order_no
from dispatcher.journal import Accepted, Entry, Journal
from dispatcher.letters import Letter
from dispatcher.messages import Event
from dispatcher.platform import Request, UnknownStore
from dispatcher.ports import NullObserver
from dispatcher.rabbit.errors import BrokerUnavailable
from dispatcher.rabbit.publish import Outgoing
from dispatcher.rabbit.routing import Router
from dispatcher.rabbit.topology import Topology

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECRET = "whsec_ZXhhbXBsZS10aWxsLXNlY3JldC1vZi1TMDAx"
OTHER_SECRET = "whsec_b3RoZXItdGlsbC1zZWNyZXQtb2YtUzAwMg=="
ORDER = order_id("meituan", "27057681346841638")
TICKET = order_no(ORDER)
OTHER_ORDER = order_id("meituan", "2")
OTHER_TICKET = order_no(OTHER_ORDER)
ROUTER = Router(
    Topology("t", 1, ("takeaway.pull",)),
    {"PullOrders": "takeaway.pull"},
    frozenset({"OrderPlaced"}),
)


class Till(NamedTuple):
    till_secret: str


async def find(store_id: str) -> Till:
    secrets = {"S001": SECRET, "S002": OTHER_SECRET, "S003": f"{SECRET} {OTHER_SECRET}"}
    if store_id not in secrets:
        raise UnknownStore(store_id)
    return Till(secrets[store_id])


async def order_of(number: str) -> tuple[UUID, str] | None:
    if not number.isdigit() or len(number) != 20:
        raise ValueError("it has 20 digits")
    found = {TICKET: ORDER, OTHER_TICKET: OTHER_ORDER}.get(number)
    return (found, "S001") if found else None


class Books(NullObserver):
    """An observer that remembers."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.notes: list[str] = []

    def count(self, name: str, amount: float = 1, /, **labels: str) -> None:
        self.counts[" ".join([name, *labels.values()])] += int(amount)

    def note(self, sentence: str, /, **facts: object) -> None:
        self.notes.append(sentence)


class MemoryJournal:
    """Implements dispatcher.journal.Journal, and the backlog's port."""

    def __init__(self) -> None:
        self.rows: dict[Any, Entry] = {}
        self.done: set[Any] = set()

    async def accept(self, entries: Sequence[Entry], now: datetime) -> list[Accepted]:
        accepted = []
        for entry in entries:
            contradicts = any(k[:4] == entry[:4] and k != entry[:5] for k in self.rows)
            # Of two bodies under one key of a till the first stands: the database sees to it.
            refused = contradicts and entry.source == "till"
            first_time = entry[:5] not in self.rows and not refused
            if first_time:
                self.rows[entry[:5]] = entry
            to_publish = entry[:5] in self.rows and entry[:5] not in self.done
            accepted.append(Accepted(entry, to_publish, first_time, contradicts))
        return accepted

    async def published(self, entries: Sequence[Entry], now: datetime) -> None:
        self.done |= {entry[:5] for entry in entries}

    async def publish_oldest(self, most: int, publish: Any, clock: Any) -> int:
        waiting = [row for key, row in self.rows.items() if key not in self.done][:most]
        done = await publish(waiting) if waiting else []
        await self.published(done, clock())
        return len(done)


class MemoryBroker:
    """Takes what is published, unless it is down."""

    def __init__(self) -> None:
        self.connected = True
        self.taken: list[bytes] = []

    async def publish(self, items: Sequence[Outgoing], give_up_after: float | None = None) -> None:
        if not self.connected:
            raise BrokerUnavailable(give_up_after or 0, "down")
        self.taken += [item.event for item in items]


class Shelf:
    """Keeps letters."""

    def __init__(self) -> None:
        self.letters: list[Letter] = []

    async def put(self, letters: Sequence[Letter]) -> None:
        self.letters += letters


def entrance(journal: Journal, broker: MemoryBroker, shelf: Shelf) -> Entrance:
    return Entrance("http", journal, broker, ROUTER, shelf, NullObserver(), lambda: NOW)  # type: ignore[arg-type]


def call(kind: str = "ticket.accepted", ticket: str = TICKET, **data: object) -> str:
    """A till's callback, as its vendor would write it."""
    document = {"type": kind, "timestamp": "2026-03-01T11:59:58+00:00"}
    return json.dumps({**document, "data": {"ticket_id": ticket, **data}})


def signed(
    body: str, webhook_id: str = "fact-1", secret: str = SECRET, at: datetime = NOW
) -> Request:
    """Signed by an implementation that is not ours."""
    headers = {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(webhook_id, at, body),
    }
    return Request("/tills/S001/events", {}, headers, body.encode())


def told(broker: MemoryBroker) -> list[Event]:
    """The events that the broker has."""
    return [decode(split(body)[0]).data for body in broker.taken]  # type: ignore[misc]
