"""A platform's own books: every order with every fact told about it, in order and with times.

The books are kept apart from the system under test, so that the two can be compared afterwards.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

FACTS = (
    "seen",
    "received",
    "confirmed",
    "preparing",
    "ready",
    "rejected",
    "cancel_asked",
    "cancelled",
    "completed",
    "pushed",
)

_OPEN = frozenset({"placed", "received", "confirmed", "preparing", "ready"})
_ALLOWED_IN = {
    "received": frozenset({"placed", "received"}),
    "confirmed": frozenset({"placed", "received"}),
    "preparing": frozenset({"confirmed"}),
    "ready": frozenset({"confirmed", "preparing"}),
    "rejected": _OPEN,
    "cancelled": _OPEN,
    "completed": frozenset({"confirmed", "preparing", "ready"}),
}


@dataclass(slots=True)
class Fact:
    first: float
    last: float
    count: int
    details: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        return {"first": self.first, "last": self.last, "count": self.count, **self.details}


@dataclass(slots=True)
class OrderEntry:
    order_id: str
    store: str
    store_code: str
    kind: str
    currency: str
    total_minor: int
    lines: list[dict[str, Any]]
    placed_at: float
    daily_number: int | None = None
    state: str = "placed"
    facts: dict[str, Fact] = field(default_factory=dict)
    history: list[tuple[float, str]] = field(default_factory=list)
    refused_calls: int = 0

    def note(self, name: str, now: float, **details: Any) -> None:
        """Records a fact; its first details stay, its count grows."""
        fact = self.facts.get(name)
        if fact is None:
            self.facts[name] = Fact(now, now, 1, details)
        else:
            fact.last, fact.count = now, fact.count + 1
        self.history.append((now, name))

    def move(self, name: str, now: float, **details: Any) -> bool:
        """Moves the order if its state allows; a call in the wrong state is recorded as such.

        A fact that is told again is counted, whether or not it moves anything.
        """
        if self.state not in _ALLOWED_IN[name]:
            self.refused_calls += 1
            if name in self.facts:
                self.facts[name].count += 1
            self.history.append((now, f"refused {name} while {self.state}"))
            return False
        self.note(name, now, **details)
        self.state = name
        return True

    @property
    def open(self) -> bool:
        return self.state in _OPEN

    def as_json(self) -> dict[str, Any]:
        facts = {name: self.facts[name].as_json() if name in self.facts else None for name in FACTS}
        return {
            "order_id": self.order_id,
            "store": self.store,
            "store_code": self.store_code,
            "daily_number": self.daily_number,
            "kind": self.kind,
            "currency": self.currency,
            "total_minor": self.total_minor,
            "lines": self.lines,
            "placed_at": self.placed_at,
            "state": self.state,
            "refused_calls": self.refused_calls,
            **facts,
            "history": self.history,
        }


class Books:
    def __init__(self) -> None:
        self.orders: dict[str, OrderEntry] = {}

    def open(self, entry: OrderEntry) -> None:
        entry.history.append((entry.placed_at, "placed"))
        self.orders[entry.order_id] = entry

    def get(self, order_id: str) -> OrderEntry | None:
        return self.orders.get(order_id)

    def clear(self) -> None:
        self.orders.clear()

    def as_json(self, store: str | None = None) -> dict[str, Any]:
        entries = self.orders.values()
        return {"orders": [entry.as_json() for entry in entries if store in (None, entry.store)]}

    def summary(self) -> dict[str, Any]:
        """How many orders there are, are in each state, and have had each fact told."""
        entries = self.orders.values()
        return {
            "orders": len(self.orders),
            "states": Counter(entry.state for entry in entries),
            "facts": Counter(name for entry in entries for name in entry.facts),
            "refused_calls": sum(entry.refused_calls for entry in entries),
        }
