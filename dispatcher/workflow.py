"""What a workflow table means: rows of data, no guards, no callbacks, no code.

    step(state, event, target, *commands)   in this state, on this event, go there and send these
    late(event, *states)                    may arrive after it stopped mattering: nothing moves
    deadline(event, *states, minutes=…)     armed on entering these states, disarmed on leaving them
    settled(state, target)                  once every command's own answer is in, go there
    attended(state)                         waits for an operator, without a deadline

Everything else is derived: an event is *early* when a state still reachable from here has a row
for it, and *unexpected* otherwise.
"""

from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from dispatcher.messages import Command, DeadlineEvent, Event

State = StrEnum
UNBORN = "UNBORN"
"""Where every instance begins: facts about it may be there, the order itself is not."""


class Fate(StrEnum):
    """What became of an event."""

    APPLIED = "applied"
    EARLY = "early"
    LATE = "late"
    UNEXPECTED = "unexpected"


class Step(NamedTuple):
    state: str
    event: type[Event]
    target: str
    commands: tuple[type[Command], ...]


class Late(NamedTuple):
    event: type[Event]
    states: tuple[str, ...]


class Deadline(NamedTuple):
    event: type[DeadlineEvent]
    states: tuple[str, ...]
    after: timedelta

    @property
    def name(self) -> str:
        return self.event.__name__


class Settled(NamedTuple):
    state: str
    target: str


class Attended(NamedTuple):
    state: str


Row = Step | Late | Deadline | Settled | Attended


def step(state: str, event: type[Event], target: str, *commands: type[Command]) -> Step:
    return Step(str(state), event, str(target), commands)


def late(event: type[Event], *states: str) -> Late:
    return Late(event, tuple(map(str, states)))


def deadline(
    event: type[DeadlineEvent], *states: str, hours: float = 0, minutes: float = 0
) -> Deadline:
    return Deadline(event, tuple(map(str, states)), timedelta(hours=hours, minutes=minutes))


def settled(state: str, target: str) -> Settled:
    return Settled(str(state), str(target))


def attended(state: str) -> Attended:
    return Attended(str(state))


class Workflow:
    """One version of one kind of order's life. Two rows for one pair are refused at import."""

    def __init__(self, name: str, version: int, *rows: Row) -> None:
        self.name = name
        self.version = version
        self.rows = rows
        self.steps = {(r.state, r.event.__name__): r for r in rows if isinstance(r, Step)}
        self.late = {pair for row in rows if isinstance(row, Late) for pair in _claims(row)}
        self.deadlines = tuple(row for row in rows if isinstance(row, Deadline))
        self.settles = {row.state: row.target for row in rows if isinstance(row, Settled)}
        self.attended = {row.state for row in rows if isinstance(row, Attended)}
        self._refuse_two_for_one()

    def _refuse_two_for_one(self) -> None:
        claimed: set[tuple[str, str]] = set()
        for row in self.rows:
            for state, claim in _claims(row):
                if (state, claim) in claimed:
                    raise ValueError(f"{self.name}: two rows for {claim} in {state}")
                claimed.add((state, claim))

    @cached_property
    def states(self) -> tuple[str, ...]:
        """All states, in the order the table first names them."""
        seen: dict[str, None] = {}
        for row in self.rows:
            if isinstance(row, Step | Settled):
                seen.setdefault(row.state)
                seen.setdefault(row.target)
        return tuple(seen)

    @cached_property
    def births(self) -> frozenset[str]:
        """The events that an instance is born with."""
        return frozenset(event for state, event in self.steps if state == UNBORN)

    @cached_property
    def closed(self) -> frozenset[str]:
        """States that nothing leaves."""
        return frozenset(s for s in self.states if not any(True for _ in self.ways_out(s)))

    def ways_out(self, state: str) -> Iterator[str]:
        for row in self.rows:
            if isinstance(row, Step | Settled) and row.state == state and row.target != state:
                yield row.target

    def reachable(self, state: str) -> frozenset[str]:
        """Every state that an instance can still come to from here, not counting here."""
        return self._reach[state]

    @cached_property
    def _reach(self) -> dict[str, frozenset[str]]:
        reach: dict[str, frozenset[str]] = {}
        for state in self.states:
            seen: set[str] = set()
            todo = list(self.ways_out(state))
            while todo:
                here = todo.pop()
                if here not in seen:
                    seen.add(here)
                    todo.extend(self.ways_out(here))
            reach[state] = frozenset(seen)
        return reach

    @cached_property
    def _awaited_later(self) -> dict[str, frozenset[str]]:
        """Per state, the events that a state still reachable from it has a step for."""
        return {
            state: frozenset(event for at, event in self.steps if at in self._reach[state])
            for state in self.states
        }

    def fate(self, state: str, event: str) -> Fate:
        """What becomes of this event in this state, the birth aside."""
        if (state, event) in self.steps:
            return Fate.APPLIED
        if (state, event) in self.late:
            return Fate.LATE
        if event in self._awaited_later[state]:
            return Fate.EARLY
        return Fate.UNEXPECTED


def _claims(row: Row) -> list[tuple[str, str]]:
    """What a row decides, and no other row may: (state, event) for the most part."""
    match row:
        case Step(state, event):
            return [(state, event.__name__)]
        case Late(event, states):
            return [(state, event.__name__) for state in states]
        case Deadline(event):
            return [("any state", f"the deadline {event.__name__}")]
        case Settled(state):
            return [(state, "the last answer")]
        case Attended():
            return []
