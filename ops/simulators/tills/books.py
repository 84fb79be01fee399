"""The fleet's books, by idempotency key: what came, how often, with which bytes, and what became
of it.

One small record per message, so that a benchmark's hundred thousand tickets fit.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["taken", "accepted", "refused", "ready", "cancelled", "kept"]


@dataclass(slots=True)
class Callback:
    webhook_id: str
    type: str
    first_at: float
    tries: int = 0
    status: int = 0
    done_at: float | None = None


@dataclass(slots=True)
class Message:
    """One message from us under one idempotency key, however often it came."""

    webhook_id: str
    type: str
    store: str
    ticket_id: str
    order_id: str
    channel_order_id: str
    digest: bytes
    first_seen: float
    last_seen: float
    status: Status
    reason: str = ""
    attempts: int = 1
    doubled: bool = False
    other_digests: set[bytes] = field(default_factory=set)
    pickup_code: str = ""
    callbacks: list[Callback] = field(default_factory=list)

    def again(self, digest: bytes, now: float) -> None:
        self.attempts += 1
        self.last_seen = now
        if digest != self.digest:
            self.other_digests.add(digest)

    def as_json(self) -> dict[str, Any]:
        bodies = [self.digest, *sorted(self.other_digests)]
        return {
            "webhook_id": self.webhook_id,
            "type": self.type,
            "store": self.store,
            "ticket_id": self.ticket_id,
            "order_id": self.order_id,
            "channel_order_id": self.channel_order_id,
            "bodies": [digest.hex() for digest in bodies],
            "attempts": self.attempts,
            "first_seen": self.first_seen,
            "last_seen": self.last_seen,
            "status": self.status,
            "reason": self.reason,
            "doubled": self.doubled,
            "pickup_code": self.pickup_code,
            "callbacks": [_callback(callback) for callback in self.callbacks],
        }


def _callback(callback: Callback) -> dict[str, Any]:
    return {name: getattr(callback, name) for name in Callback.__slots__}


class TillBooks:
    def __init__(self) -> None:
        self.messages: dict[str, Message] = {}
        self.tickets: dict[tuple[str, str], Message] = {}
        self.tombstones: dict[tuple[str, str], str] = {}
        self.counts: Counter[str] = Counter()

    def clear(self) -> None:
        self.messages.clear()
        self.tickets.clear()
        self.tombstones.clear()
        self.counts.clear()

    def enter(self, message: Message) -> None:
        """Enters a message seen for the first time; a known ticket under another key is doubled."""
        self.messages[message.webhook_id] = message
        self.counts[message.type] += 1
        if message.type != "ticket.placed":
            return
        key = (message.store, message.ticket_id)
        message.doubled = self.tickets.setdefault(key, message) is not message
        self.counts["doubled"] += message.doubled

    def as_json(self, store: str | None = None) -> dict[str, Any]:
        messages = self.messages.values()
        return {
            "messages": [one.as_json() for one in messages if store in (None, one.store)],
            "tombstones": [
                {"store": where, "ticket_id": ticket_id, "reason": reason}
                for (where, ticket_id), reason in self.tombstones.items()
                if store in (None, where)
            ],
        }

    def summary(self) -> dict[str, int]:
        """Counters only: cheap however many tickets there are."""
        return {"tickets": len(self.tickets), "messages": len(self.messages), **self.counts}
