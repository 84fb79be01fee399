"""The runtime's surroundings in memory: broker, inbox, shelf and partners, for tests that need no
servers. The inbox and the shelf pass the same contract suite as those in PostgreSQL.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from pydantic_core import to_json

from consumers.queues import BY_COMMAND, NAMES
from consumers.stock import Level, Movement
from dispatcher.batches import Desk
from dispatcher.envelope import Envelope, decode, encode, split
from dispatcher.errors import Trouble
from dispatcher.inbox import Answer, Arrival, Attempt, Key, Noted
from dispatcher.letters import Letter
from dispatcher.ports import NullObserver
from dispatcher.rabbit.publish import Outgoing
from dispatcher.rabbit.routing import Router
from dispatcher.rabbit.topology import Topology
from tests.fakes import Clock

PATIENCE = 5.0
ROUTER = Router(Topology("test", 1, NAMES), BY_COMMAND, frozenset({"OrderPlaced"}))


async def until(true: Callable[[], bool], what: str) -> None:
    """Wait for a condition."""
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                if true():
                    return
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"never came true: {what}") from None


class DatabaseGone(Exception):
    """The database is in trouble: nobody's fault."""


def sort(error: BaseException) -> Trouble:
    return Trouble.HOLD if isinstance(error, DatabaseGone) else Trouble.BUG


class Telling(NullObserver):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.counted: Counter[Any] = Counter()
        self.notes: list[tuple[str, Mapping[str, object]]] = []

    def count(self, name: str, amount: float = 1, /, **labels: str) -> None:
        self.counted[name] += int(amount)
        self.counted[name, *sorted(labels.items())] += int(amount)

    def note(self, sentence: str, /, **facts: object) -> None:
        self.notes.append((sentence, facts))


class FakeDelivery:
    """A message in hand. `end` is what became of it: ack, reject or give_back."""

    def __init__(self, queue: str, *events: Any, redelivered: bool = False) -> None:
        self.queue = queue
        self.body = _body(events)
        self.events = len(events)
        self.redelivered = redelivered
        self.lost = False
        self.end: str | None = None

    async def ack(self) -> None:
        self.end = self.end or "ack"

    async def reject(self) -> None:
        self.end = self.end or "reject"

    async def give_back(self) -> None:
        self.end = self.end or "give_back"


def _body(events: Sequence[Any]) -> bytes:
    if len(events) == 1 and isinstance(events[0], bytes):
        return events[0]
    parts = [encode(e) if isinstance(e, Envelope) else to_json(e) for e in events]
    return b"[" + b",".join(parts) + b"]"


class FakeIntake:
    """Hands over what a test puts in; remembers what was held."""

    def __init__(self) -> None:
        self.waiting: dict[str, deque[FakeDelivery]] = {}
        self.held: set[str] = set()
        self.holds = 0
        self._arrived = asyncio.Event()

    def put(self, *deliveries: FakeDelivery) -> None:
        for delivery in deliveries:
            self.waiting.setdefault(delivery.queue, deque()).append(delivery)
        self._arrived.set()

    def in_hand(self, queue: str) -> int:
        return len(self.waiting.get(queue, ()))

    async def ready(self, *queues: str) -> None:
        while not any(self.in_hand(queue) for queue in queues or self.waiting):
            self._arrived.clear()
            await self._arrived.wait()

    def take(
        self, queue: str, *, most_events: int | None = None, most_messages: int | None = None
    ) -> list[FakeDelivery]:
        hand, taken, events = self.waiting.get(queue, deque()), list[FakeDelivery](), 0
        while hand and (most_messages is None or len(taken) < most_messages):
            events += hand[0].events
            if taken and most_events is not None and events > most_events:
                break
            taken.append(hand.popleft())
        return taken

    async def hold(self, *queues: str) -> None:
        assert queues, "to the intake, naming none means all"
        self.holds += 1
        self.held |= set(queues)

    async def resume(self, *queues: str) -> None:
        self.held -= set(queues)

    async def give_back_all(self, *queues: str) -> None: ...


class FakePublisher:
    """Keeps what was published. `failing` raises once per entry before it works."""

    def __init__(self) -> None:
        self.sent: list[Outgoing] = []
        self.publishes = 0
        self.failing: list[Exception] = []
        self.watching: Callable[[], None] = lambda: None
        self.gate: asyncio.Event | None = None

    async def publish(self, items: Sequence[Outgoing], give_up_after: float | None = None) -> None:
        self.publishes += 1
        self.watching()
        if self.gate:
            await self.gate.wait()
        if self.failing:
            raise self.failing.pop()
        self.sent += items

    def read(self) -> list[Envelope[Any]]:
        return [decode(event) for item in self.sent for event in split(item.event)]

    def now(self) -> list[Envelope[Any]]:
        """What goes straight to its queue."""
        return [e for e, seconds in self._with_delay() if not seconds]

    def later(self) -> list[tuple[Envelope[Any], int]]:
        """What waits in the lattice, and for how many seconds."""
        return [(e, seconds) for e, seconds in self._with_delay() if seconds]

    def _with_delay(self) -> list[tuple[Envelope[Any], int]]:
        pairs = []
        for item in self.sent:
            (event,) = split(item.event)
            pairs.append((decode(event), delay_of(item)))
        return pairs


def delay_of(item: Outgoing) -> int:
    """The seconds in a routing key of the lattice; 0 for what does not wait."""
    bits = item.routing_key.split(".")[: ROUTER.topology.levels]
    return int("".join(bits), 2) if ".delay." in item.exchange else 0


class FakeLetters:
    def __init__(self) -> None:
        self.letters: list[Letter] = []
        self.failing: list[Exception] = []

    async def put(self, letters: Sequence[Letter]) -> None:
        if self.failing:
            raise self.failing.pop()
        self.letters += letters


@dataclass
class Books:
    """What transactions have committed."""

    inbox: dict[tuple[str, UUID], Noted] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)
    levels: dict[Level, int] = field(default_factory=dict)
    ledger: dict[tuple[Movement, int], tuple[str, dict[str, int]]] = field(default_factory=dict)


class FakeUnits:
    """consumers.local.Units in memory, one transaction at a time. `failing` breaks commits; an
    answer with `cannot_store` in it breaks its transaction.
    """

    def __init__(self) -> None:
        self.books = Books()
        self.commits = 0
        self.failing: list[Exception] = []
        self.cannot_store = "\0"
        self._one_at_a_time = asyncio.Lock()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["FakeUnit"]:
        async with self._one_at_a_time:
            unit = FakeUnit(deepcopy(self.books), self.cannot_store)
            yield unit
            if self.failing:
                raise self.failing.pop()
            self.books = unit.books
            self.commits += 1

    def answer_of(self, command: Envelope[Any]) -> str | None:
        """The stored answer's type."""
        noted = next(n for (_, key), n in self.books.inbox.items() if key == command.id)
        return decode(_json(noted.answer)).type if noted.answer else None


def _json(answer: Any) -> dict[str, Any]:
    return split(to_json(answer))[0]


class FakeUnit:
    """One transaction: the inbox and, for the stock, the shelf."""

    def __init__(self, books: Books, cannot_store: str) -> None:
        self.books = books
        self._cannot_store = cannot_store

    def shelf(self, now: datetime) -> "FakeShelf":
        return FakeShelf(self.books)

    async def note(
        self, consumer: str, arrivals: Sequence[Arrival], now: datetime
    ) -> dict[UUID, Noted]:
        noted = {}
        for arrival in arrivals:
            key = consumer, arrival.command_id
            known = self.books.inbox.get(key)
            if known is None:
                self.books.inbox[key] = Noted(False, arrival.body, None)
            noted[arrival.command_id] = known or Noted(True, arrival.body, None)
        return noted

    async def answer(
        self, consumer: str, answers: Mapping[Key, Answer], now: datetime
    ) -> dict[UUID, Answer]:
        standing = {}
        for (_, command_id), answer in answers.items():
            if self._cannot_store in str(_json(answer)):
                raise ValueError("unsupported Unicode escape sequence")
            known = self.books.inbox[consumer, command_id]
            if known.answer is None:
                stored = Noted(False, known.body, _json(answer))
                self.books.inbox[consumer, command_id] = stored
            standing[command_id] = answer if known.answer is None else known.answer
        return standing

    async def log(self, queue: str, attempts: Sequence[Attempt]) -> None:
        self.books.attempts += attempts

    async def unclear(self, keys: Sequence[Key]) -> set[UUID]:
        asked = {command_id for _, command_id in keys}
        return {a.command_id for a in self.books.attempts if a.outcome != "not_done"} & asked


class FakeShelf:
    """consumers.stock.Shelf in memory."""

    def __init__(self, books: Books) -> None:
        self._levels, self._ledger = books.levels, books.ledger

    async def claim(self, wanted: Sequence[tuple[Movement, dict[str, int]]]) -> set[UUID]:
        fresh = [(order, q) for order, q in wanted if (order, 1) not in self._ledger]
        self._ledger.update({(order, 1): ("deducted", q) for order, q in fresh})
        return {order[1] for order, _ in fresh}

    async def lock(self, levels: Iterable[Level]) -> dict[Level, int]:
        return {level: self._levels[level] for level in levels if level in self._levels}

    async def move(self, moved: dict[Level, int]) -> None:
        for level, by in moved.items():
            assert self._levels[level] + by >= 0, "the database would refuse"
            self._levels[level] += by

    async def correct(self, claims: dict[Movement, dict[str, int] | None]) -> None:
        for order, taken in claims.items():
            self._ledger[order, 1] = ("deducted", taken) if taken is not None else ("given_up", {})

    async def give_back(self, movements: Sequence[Movement]) -> list[tuple[str, dict[str, int]]]:
        returned = []
        for order in movements:
            movement, quantities = self._ledger.setdefault((order, 1), ("given_up", {}))
            if movement == "deducted" and (order, 2) not in self._ledger:
                self._ledger[order, 2] = ("returned", quantities)
                returned.append((order[0], quantities))
        return returned


@dataclass
class Surroundings:
    """A desk and everything around it."""

    queues: tuple[str, ...] = ("test.pos.push",)
    name: str = "pos.push"
    clock: Callable[[], datetime] = field(default_factory=Clock)
    intake: FakeIntake = field(default_factory=FakeIntake)
    publisher: FakePublisher = field(default_factory=FakePublisher)
    letters: FakeLetters = field(default_factory=FakeLetters)
    observer: Telling = field(default_factory=Telling)
    units: FakeUnits = field(default_factory=FakeUnits)

    @property
    def desk(self) -> Desk:
        anything: Any = self
        return Desk(
            name=self.name,
            queues=self.queues,
            intake=anything.intake,
            publisher=anything.publisher,
            router=ROUTER,
            letters=self.letters,
            observer=self.observer,
            sort=sort,
            clock=self.clock,
        )


def real_now() -> datetime:
    return datetime.now(UTC)
