"""System2 itself: one batch of events, one transaction, then commands and deadlines.

The order of work is the promise: what will be sent is stored first, sent with confirms after the
commit, and only then are the events acknowledged. Who dies in between is redelivered, meets its
stored events, and sends again what is still owed.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol
from uuid import UUID

from dispatcher.crashpoints import point
from dispatcher.engine import Armed, Instance, Recorded, Workflows, fold, is_stale
from dispatcher.envelope import TYPES, Envelope
from dispatcher.errors import NotUnderstood
from dispatcher.identity import deadline_id
from dispatcher.messages import Command, DeadlineEvent, Event, OrderEvent
from dispatcher.platform import DEGRADED
from dispatcher.ports import Observer
from dispatcher.workflow import Fate

SOURCE = "/system2/lattice"
EARLY_TOLERANCE = timedelta(milliseconds=1)
LATE_TOLERANCE = timedelta(seconds=5)
GRACE = timedelta(seconds=30)

Key = tuple[int, UUID]


class Stored(NamedTuple):
    """An event that was recorded before, and what it caused then."""

    fingerprint: str | None
    commands: tuple[Envelope[Command], ...]
    armed: Mapping[str, Armed]


class Odd(NamedTuple):
    """An event for the quarantine table: nobody expected it, or it contradicts a stored one."""

    event: Envelope[Event]
    reason: str
    error: str


@dataclass(slots=True)
class Changes:
    """Everything that one batch writes."""

    now: datetime
    instances: list[Instance] = field(default_factory=list)
    records: list[Recorded] = field(default_factory=list)
    released: dict[UUID, tuple[Envelope[Event], Fate]] = field(default_factory=dict)
    armed: list[tuple[UUID, str, Armed]] = field(default_factory=list)
    disarmed: list[tuple[UUID, str]] = field(default_factory=list)
    orders: list[Envelope[OrderEvent]] = field(default_factory=list)
    odd: list[Odd] = field(default_factory=list)


class Work(Protocol):
    """One open transaction. Keys come sorted; each method is a constant number of statements."""

    async def lock(self, keys: Sequence[Key], now: datetime) -> dict[UUID, Instance]:
        """Insert placeholders for the unknown, lock all, and read them with their early events."""

    async def stored(
        self, events: Sequence[Envelope[Event]], instances: Mapping[UUID, Instance]
    ) -> dict[UUID, Stored]:
        """Which of these events are recorded already."""

    async def write(self, changes: Changes) -> None:
        """Write all of it."""


class Store(Protocol):
    def transaction(self) -> AbstractAsyncContextManager[Work]:
        """Commits on leaving, rolls back on an exception."""


@dataclass(slots=True)
class Owed:
    """What must be sent after the commit."""

    commands: list[Envelope[Command]] = field(default_factory=list)
    deadlines: list[Envelope[DeadlineEvent]] = field(default_factory=list)


class Dispatcher:
    """Takes events, moves orders, and says what is owed."""

    def __init__(
        self,
        store: Store,
        workflows: Workflows,
        observer: Observer,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._workflows = workflows
        self._observer = observer
        self._clock = clock

    async def dispatch(self, events: Iterable[Envelope[Event]]) -> Owed:
        """One transaction for all of these. Returns what is owed, new and repeated."""
        now = self._clock()
        owed = Owed()
        once, contradictions = _sorted_once(events)
        batch = self._due(once, now, owed)
        if batch:
            await self._transact(batch, contradictions, now, owed)
        return owed

    def _due(
        self, events: list[Envelope[Event]], now: datetime, owed: Owed
    ) -> list[Envelope[Event]]:
        """Deadlines that come before their time, or long after it, go round once more."""
        due = []
        for event in events:
            again = postponed(event, now)
            if again is None:
                due.append(event)
            else:
                owed.deadlines.append(again)
        return due

    async def _transact(
        self,
        batch: list[Envelope[Event]],
        contradictions: list[Odd],
        now: datetime,
        owed: Owed,
    ) -> None:
        keys = sorted({event.key for event in batch})
        async with self._store.transaction() as work:
            instances = await work.lock(keys, now)
            stored = await work.stored(batch, instances)
            changes = self._fold(batch, instances, stored, now, owed)
            changes.odd += contradictions
            await work.write(changes)
            point("dispatcher.commit.before")
        point("dispatcher.commit.after")
        self._report(changes)

    def _fold(
        self,
        batch: list[Envelope[Event]],
        instances: dict[UUID, Instance],
        stored: dict[UUID, Stored],
        now: datetime,
        owed: Owed,
    ) -> Changes:
        changes = Changes(now)
        fresh: dict[UUID, list[Envelope[Event]]] = {}
        for event in batch:
            if event.id in stored:
                self._repeat(event, stored[event.id], instances[event.instance], changes, owed)
            else:
                fresh.setdefault(event.instance, []).append(event)
        for identifier, events in fresh.items():
            self._advance(instances[identifier], events, changes, owed)
        return changes

    def _repeat(
        self,
        event: Envelope[Event],
        before: Stored,
        instance: Instance,
        changes: Changes,
        owed: Owed,
    ) -> None:
        """Met again: send again those of its commands that have no answer, and its deadlines that
        still stand. The same fact with other content is an alarm.
        """
        self._observer.count("events_total", type=event.type, result="duplicate")
        changes.odd += _contradiction(event, before.fingerprint)
        owed.commands += [c for c in before.commands if c.id in instance.owed]
        standing = {n: a for n, a in before.armed.items() if instance.armed.get(n) == a}
        owed.deadlines += deadline_events(event, standing, changes.now)

    def _advance(
        self, before: Instance, events: list[Envelope[Event]], changes: Changes, owed: Owed
    ) -> None:
        if not self._workflows.knows(before):
            version = f"{before.workflow} version {before.version}"
            raise NotUnderstood(f"order {before.instance_id} lives by {version}: unknown here")
        for event in events:
            if is_stale(before, event.data):
                self._observer.count("deadlines_stale_total", name=event.type)
        after, records = fold(before, events, self._workflows, changes.now)
        if not records:
            return
        changes.instances.append(after)
        changes.records += records
        for record in records:
            owed.commands += [c for c in record.commands if c.id in after.owed]
            standing = {n: a for n, a in record.armed.items() if after.armed.get(n) == a}
            owed.deadlines += deadline_events(record.event, standing, changes.now)
            changes.released |= {event.id: (event, fate) for event, fate in record.released}
            self._note(record, changes)
        names = before.armed.keys() | after.armed.keys()
        for name in sorted(names):
            if name not in after.armed:
                changes.disarmed.append((after.instance_id, name))
            elif before.armed.get(name) != after.armed[name]:
                changes.armed.append((after.instance_id, name, after.armed[name]))

    def _note(self, record: Recorded, changes: Changes) -> None:
        judged = [(record.event, record.fate), *record.released]
        for event, fate in judged:
            if fate is Fate.UNEXPECTED:
                error = f"{event.type} is unexpected in this state of the order"
                changes.odd.append(Odd(event, "unexpected", error))
            elif fate is not Fate.EARLY and isinstance(event.data, OrderEvent):
                changes.orders.append(event)  # type: ignore[arg-type]

    def _report(self, changes: Changes) -> None:
        lives = {i.instance_id: i.workflow or "" for i in changes.instances}
        for record in changes.records:
            event = record.event
            self._observer.count("events_total", type=event.type, result=record.fate)
            if isinstance(event.data, DeadlineEvent):
                self._observer.count("deadlines_fired_total", name=event.type)
            for source, target in record.moves:
                self._observer.count(
                    "transitions_total",
                    workflow=lives[event.instance],
                    from_state=source,
                    to_state=target,
                )
        for odd in changes.odd:
            self._observer.count("quarantined_total", queue="dispatcher", reason=odd.reason)


def postponed(event: Envelope[Event], now: datetime) -> Envelope[DeadlineEvent] | None:
    """The deadline to send instead, when this one must not be judged now.

    Before its time (a clock stepped) it goes round for the rest. Long after it (an outage) it goes
    round once more, so that answers that waited longer come first.
    """
    data = event.data
    if not isinstance(data, DeadlineEvent):
        return None
    if data.due - now > EARLY_TOLERANCE:
        return _again(event, event.attempt)
    if now - data.due > LATE_TOLERANCE and event.attempt == 0:
        return _again(event, 1)
    return None


def _again(event: Envelope[Event], attempt: int) -> Envelope[DeadlineEvent]:
    assert isinstance(event.data, DeadlineEvent)
    return Envelope(
        id=event.id,
        source=event.source,
        subject=event.subject,
        instance=event.instance,
        time=event.time,
        data=event.data,
        attempt=attempt,
        traceparent=event.traceparent,
    )


def delay_of(deadline: Envelope[DeadlineEvent], now: datetime) -> timedelta:
    """How long this deadline stays in the lattice from now."""
    rest = deadline.data.due - now
    if rest > timedelta():
        return rest
    return GRACE if deadline.attempt else timedelta()


def deadline_events(
    event: Envelope[Event], armed: Mapping[str, Armed], now: datetime
) -> list[Envelope[DeadlineEvent]]:
    """The messages that bring these deadlines back when they are due."""
    return [
        Envelope(
            id=deadline_id(event.instance, name, standing.epoch),
            source=SOURCE,
            subject=event.subject,
            instance=event.instance,
            time=now,
            data=_deadline(name)(epoch=standing.epoch, due=standing.due),
            traceparent=event.traceparent,
        )
        for name, standing in armed.items()
    ]


def _deadline(name: str) -> type[DeadlineEvent]:
    kind = TYPES[name]
    assert issubclass(kind, DeadlineEvent)
    return kind


def _sorted_once(
    events: Iterable[Envelope[Event]],
) -> tuple[list[Envelope[Event]], list[Odd]]:
    """Each event once, in order of arrival within an order, orders in order of their keys; and the
    copies that contradict the one that is kept.
    """
    once: dict[UUID, Envelope[Event]] = {}
    odd: list[Odd] = []
    for event in events:
        odd += _contradiction(event, once.setdefault(event.id, event).fingerprint)
    return sorted(once.values(), key=lambda event: event.key), odd


def _contradiction(event: Envelope[Event], fingerprint: str | None) -> list[Odd]:
    """The same fact with other content is an alarm, unless one of the looks was degraded."""
    if event.fingerprint == fingerprint or DEGRADED in (event.fingerprint, fingerprint):
        return []
    return [Odd(event, "other_content", "same fact, other content")]
