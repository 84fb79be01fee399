"""The pipeline's ports in memory, for tests that need no servers."""

from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from dispatcher.engine import Armed, Instance, Recorded
from dispatcher.envelope import Envelope
from dispatcher.loop import Changes, Key, Odd, Stored, Work
from dispatcher.messages import Event
from dispatcher.ports import NullObserver
from dispatcher.workflow import Fate
from tests.builders import NOON

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run what never really waits, without an event loop."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("this coroutine waits for something")


class Clock:
    """Stands until it is moved."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def move(self, by: timedelta) -> None:
        self.now += by


class CountingObserver(NullObserver):
    """Remembers what was counted: by name, and by name with labels."""

    def __init__(self) -> None:
        self.counted: Counter[Any] = Counter()

    def count(self, name: str, amount: float = 1, /, **labels: str) -> None:
        self.counted[name] += int(amount)
        self.counted[name, *sorted(labels.items())] += int(amount)


class Crash(Exception):
    """The process died here."""


@dataclass
class Row:
    """A stored event. `fate` changes when an early event is released."""

    record: Recorded
    event: Envelope[Event]
    fate: Fate
    recorded_at: datetime


@dataclass
class FakeStore:
    """dispatcher.loop.Store in memory: all or nothing, each fact once, no personal data."""

    instances: dict[UUID, Instance] = field(default_factory=dict)
    events: dict[UUID, Row] = field(default_factory=dict)
    deadlines: dict[UUID, dict[str, Armed]] = field(default_factory=dict)
    orders: list[Envelope[Any]] = field(default_factory=list)
    odd: list[Odd] = field(default_factory=list)
    crash_at_commit: bool = False

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Work]:
        work = _Work(self)
        yield work
        if self.crash_at_commit:
            self.crash_at_commit = False
            raise Crash
        for identifier in work.placeholders:
            self.instances.setdefault(identifier, Instance(identifier))
        for changes in work.written:
            self._apply(changes)

    def _apply(self, changes: Changes) -> None:
        for instance in changes.instances:
            self.instances[instance.instance_id] = replace(instance, early=())
        for record in changes.records:
            event = record.event
            assert event.id not in self.events, f"{event.type} was written before"
            bare = replace(event, data=type(event.data).model_validate_json(event.data.stored()))
            self.events[event.id] = Row(record, bare, record.fate, changes.now)
        for event, fate in changes.released.values():
            assert self.events[event.id].fate is Fate.EARLY
            self.events[event.id].fate = fate
        for identifier, name, standing in changes.armed:
            standings = self.deadlines.setdefault(identifier, {})
            assert standings.get(name) != standing, f"{name} stood so before: nothing to write"
            standings[name] = standing
        for identifier, name in changes.disarmed:
            self.deadlines.get(identifier, {}).pop(name, None)
        self.orders += changes.orders
        self.odd += changes.odd

    def history(self, identifier: UUID) -> list[Row]:
        """An order's events, in order of their revision."""
        rows = (row for row in self.events.values() if row.event.instance == identifier)
        return sorted(rows, key=lambda row: row.record.revision)


class _Work:
    def __init__(self, store: FakeStore) -> None:
        self._store = store
        self.placeholders: list[UUID] = []
        self.written: list[Changes] = []

    async def lock(self, keys: Sequence[Key], now: datetime) -> dict[UUID, Instance]:
        assert list(keys) == sorted(set(keys)), "keys are locked in order, each once"
        self.placeholders = [identifier for _, identifier in keys]
        return {identifier: self._instance(identifier) for identifier in self.placeholders}

    def _instance(self, identifier: UUID) -> Instance:
        instance = self._store.instances.get(identifier, Instance(identifier))
        rows = self._store.history(identifier) if instance.revision else []
        return replace(instance, early=tuple(row.event for row in rows if row.fate is Fate.EARLY))

    async def stored(
        self, events: Sequence[Envelope[Event]], instances: Mapping[UUID, Instance]
    ) -> dict[UUID, Stored]:
        known = (event.id for event in events if event.id in self._store.events)
        return {identifier: _stored(self._store.events[identifier]) for identifier in known}

    async def write(self, changes: Changes) -> None:
        self.written.append(changes)


def _stored(row: Row) -> Stored:
    return Stored(row.event.fingerprint, row.record.commands, row.record.armed)
