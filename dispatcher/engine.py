"""The engine: a pure function from (instance, events) to writes and commands.

It folds the events of one order, in order of arrival, through the order's workflow. Folding the
stored events again in order of their revision gives the stored instance again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from dispatcher.envelope import Envelope
from dispatcher.identity import command_id
from dispatcher.messages import Command, DeadlineEvent, Event, Message, NeverBorn, OrderPlaced
from dispatcher.workflow import UNBORN, Fate, Workflow

SOURCE = "/system2/dispatcher"
NEVER_BORN_AFTER = timedelta(hours=24)
CALL_TIMEOUT = timedelta(seconds=15)
"""A command expires this long before its state's deadline, so that its last call can end."""


class Armed(NamedTuple):
    """A deadline that stands. Epoch: the instance's revision when it was armed."""

    epoch: int
    due: datetime


@dataclass(frozen=True, slots=True)
class Instance:
    """Where one order stands. `owed` are its commands without an answer of their own."""

    instance_id: UUID
    workflow: str | None = None
    version: int = 0
    state: str = UNBORN
    revision: int = 0
    owed: tuple[UUID, ...] = ()
    armed: Mapping[str, Armed] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    early: tuple[Envelope[Event], ...] = ()


class Recorded(NamedTuple):
    """One event written once: what became of it and what it caused.

    What an early event causes when it is released is stored with the event that released it: that
    is the one that would come again.
    """

    event: Envelope[Event]
    fate: Fate
    revision: int
    commands: tuple[Envelope[Command], ...]
    armed: Mapping[str, Armed]
    released: tuple[tuple[Envelope[Event], Fate], ...]
    moves: tuple[tuple[str, str], ...]


class Workflows:
    """All versions that this process knows, and which of them orders are born with. Every time
    limit is multiplied by `deadline_scale`, for a demonstration or a test that cannot wait hours.
    """

    def __init__(
        self,
        known: Iterable[Workflow],
        births: Iterable[Workflow],
        deadline_scale: float = 1.0,
    ) -> None:
        self._scale = deadline_scale
        self._known = {(w.name, w.version): w for w in known}
        self._births = {event: w for w in births for event in w.births}

    def of(self, instance: Instance) -> Workflow:
        assert instance.workflow is not None
        return self._known[instance.workflow, instance.version]

    def born_with(self, event: Event) -> Workflow | None:
        return self._births.get(type(event).__name__)

    def limit(self, after: timedelta) -> timedelta:
        """How long a time limit of the tables is here."""
        return after * self._scale

    def knows(self, instance: Instance) -> bool:
        return instance.workflow is None or (instance.workflow, instance.version) in self._known


def is_stale(instance: Instance, event: Event) -> bool:
    """A deadline that was disarmed, or armed anew, since this message was sent."""
    if not isinstance(event, DeadlineEvent):
        return False
    standing = instance.armed.get(type(event).__name__)
    return standing is None or standing.epoch != event.epoch


def fold(
    instance: Instance, events: Sequence[Envelope[Event]], workflows: Workflows, now: datetime
) -> tuple[Instance, list[Recorded]]:
    """The instance after these new events, and what to write about each. Stale deadlines leave
    nothing behind.
    """
    records = []
    for event in events:
        if not is_stale(instance, event.data):
            course = _Course(instance, event, workflows, now)
            records.append(course.run())
            instance = course.instance
    return instance, records


class _Course:
    """What one event sets in motion, early events that it releases included. The instance's fields
    are worked on here and put together again at the end.
    """

    def __init__(
        self, instance: Instance, event: Envelope[Event], workflows: Workflows, now: datetime
    ) -> None:
        self.before = instance
        self.event = event
        self.workflows = workflows
        self.now = now
        self.revision = instance.revision + 1
        self.workflow = None if instance.workflow is None else workflows.of(instance)
        self.state = instance.state
        self.owed = instance.owed
        self.armed = dict(instance.armed)
        self.context = instance.context
        self.early = instance.early
        self.commands: list[Envelope[Command]] = []
        self.released: list[tuple[Envelope[Event], Fate]] = []
        self.moves: list[tuple[str, str]] = []

    def run(self) -> Recorded:
        self._answer()
        fate = self._never_born() if self._fired() is NeverBorn else self._judge(self.event)
        if fate is Fate.EARLY:
            self._shelve()
        self._release()
        standing = self.before.armed
        return Recorded(
            self.event,
            fate,
            self.revision,
            tuple(self.commands),
            {name: at for name, at in self.armed.items() if standing.get(name) != at},
            tuple(self.released),
            tuple(self.moves),
        )

    @property
    def instance(self) -> Instance:
        """The instance after it."""
        return Instance(
            self.before.instance_id,
            None if self.workflow is None else self.workflow.name,
            0 if self.workflow is None else self.workflow.version,
            self.state,
            self.revision,
            self.owed,
            self.armed,
            self.context,
            self.early,
        )

    def _answer(self) -> None:
        """An answer's cause is its command; that command is owed no longer."""
        cause = self.event.cause
        if cause in self.owed:
            self.owed = tuple(command for command in self.owed if command != cause)

    def _fired(self) -> type[Message] | None:
        kind = type(self.event.data)
        if not issubclass(kind, DeadlineEvent):
            return None
        self.armed.pop(kind.__name__)
        return kind

    def _never_born(self) -> Fate:
        """The order itself never came: what waited for it is unexpected now."""
        self.released += [(event, Fate.UNEXPECTED) for event in self.early]
        self.early = ()
        return Fate.APPLIED

    def _judge(self, event: Envelope[Event]) -> Fate:
        if self.workflow is None:
            workflow = self.workflows.born_with(event.data)
            if workflow is None:
                return Fate.EARLY
            self._be_born(workflow, event.data)
        assert self.workflow is not None
        fate = self.workflow.fate(self.state, event.type)
        if fate is Fate.APPLIED:
            row = self.workflow.steps[self.state, event.type]
            self._move(self.workflow, row.target)
            if row.commands:
                self._send(self.workflow, event, row.commands)
        return fate

    def _be_born(self, workflow: Workflow, event: Event) -> None:
        self.workflow = workflow
        if isinstance(event, OrderPlaced):
            self.context = event.context()
        self.armed.pop(NeverBorn.__name__, None)

    def _move(self, workflow: Workflow, target: str) -> None:
        for row in workflow.deadlines:
            if target not in row.states:
                self.armed.pop(row.name, None)
            elif self.state not in row.states:
                self.armed[row.name] = Armed(self.revision, self._due(row.after))
        self.moves.append((self.state, target))
        self.state = target

    def _send(
        self, workflow: Workflow, event: Envelope[Event], commands: Sequence[type[Command]]
    ) -> None:
        told = {**self.context, **event.data.tells()}
        told |= {"order_id": event.subject, "happened_at": event.time}
        expires = self._expires(workflow)
        sent = [
            Envelope(
                id=command_id(event.id, position),
                source=SOURCE,
                subject=event.subject,
                instance=event.instance,
                time=self.now,
                data=kind(**{name: told[name] for name in kind.model_fields}),
                cause=event.id,
                expires=expires,
                traceparent=event.traceparent,
            )
            for position, kind in enumerate(commands)
        ]
        self.commands += sent
        self.owed += tuple(command.id for command in sent)

    def _expires(self, workflow: Workflow) -> datetime | None:
        """Before the deadline of the state that sends, so that the last call can still end."""
        limits = [
            self.armed[row.name].due - min(CALL_TIMEOUT, self.workflows.limit(row.after) / 2)
            for row in workflow.deadlines
            if self.state in row.states and row.name in self.armed
        ]
        return min(limits, default=None)

    def _due(self, after: timedelta) -> datetime:
        return self.now + self.workflows.limit(after)

    def _shelve(self) -> None:
        if self.workflow is None:
            self.armed.setdefault(
                NeverBorn.__name__, Armed(self.revision, self._due(NEVER_BORN_AFTER))
            )
        self.early = (*self.early, self.event)

    def _release(self) -> None:
        """Judge the early events again, in order of arrival, until none moves; then settle."""
        while self.workflow is not None and (self._release_one() or self._settle(self.workflow)):
            pass

    def _release_one(self) -> bool:
        for event in self.early:
            assert self.workflow is not None
            if self.workflow.fate(self.state, event.type) is not Fate.EARLY:
                self.early = tuple(other for other in self.early if other is not event)
                self.released.append((event, self._judge(event)))
                return True
        return False

    def _settle(self, workflow: Workflow) -> bool:
        target = workflow.settles.get(self.state)
        if target is None or self.owed:
            return False
        self._move(workflow, target)
        return True
