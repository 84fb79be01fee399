"""Every situation that a workflow table lets an order come to, found by trying everything that
may arrive in each: own answers, later answers, deadlines and facts from outside, in any order.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from dispatcher.messages import Command, Event
from dispatcher.workflow import UNBORN, Fate, Workflow

MANY = 2
"""Two open commands of one kind stand for any number of them."""


class Job(Protocol):
    """What a workflow must know of a row of the queue table."""

    @property
    def name(self) -> str: ...

    @property
    def command(self) -> type[Command]: ...

    @property
    def kind(self) -> str: ...

    @property
    def all_answers(self) -> tuple[type[Event], ...]:
        """Whatever can be the command's own answer."""

    @property
    def unknown(self) -> type[Event] | None:
        """The own answer that says: nobody can say."""

    @property
    def later(self) -> tuple[type[Event], ...]:
        """What may be told afterwards, any number of times."""


class Situation(NamedTuple):
    """All that decides what can happen next: `sent` are the commands so far, `owed` those without
    an answer, `heard` the events so far, `shelf` the early ones in order of arrival.
    """

    state: str
    owed: tuple[str, ...] = ()
    sent: frozenset[str] = frozenset()
    heard: frozenset[str] = frozenset()
    shelf: tuple[str, ...] = ()


Came = tuple[Situation, str]
"""From where, and by which event."""


class Arrival(NamedTuple):
    """An event that may come. `answers`: the command that it is the own answer of."""

    event: str
    why: str
    answers: str | None = None


class Surprise(NamedTuple):
    """Something that must be awaited came, and was not."""

    event: str
    state: str
    why: str
    after: tuple[str, ...]


class Exploration:
    """All situations of one workflow, the steps taken on the way, and the surprises.

    `heed` names the events whose having been heard makes a difference to who asks.
    """

    def __init__(self, workflow: Workflow, jobs: Sequence[Job], heed: frozenset[str]) -> None:
        self.workflow = workflow
        self.jobs: Mapping[str, Job] = {job.command.__name__: job for job in jobs}
        self.heed = heed
        self.taken: set[tuple[str, str]] = set()
        self._surprises: dict[tuple[str, str, str], Came] = {}
        self._came: dict[Situation, Came] = {}
        self._outside = self._facts_from_outside()
        self.situations = self._explore()

    @property
    def surprises(self) -> list[Surprise]:
        return [
            Surprise(*what, after=(*self.way_to(here), event))
            for what, (here, event) in self._surprises.items()
        ]

    def way_to(self, situation: Situation) -> tuple[str, ...]:
        """The events of one of the shortest ways there."""
        events: list[str] = []
        while situation in self._came:
            situation, event = self._came[situation]
            events.append(event)
        return tuple(reversed(events))

    def _facts_from_outside(self) -> list[str]:
        named = {event for _, event in (*self.workflow.steps, *self.workflow.late)}
        told = {event.__name__ for job in self.jobs.values() for event in _tellings(job)}
        timed = {row.name for row in self.workflow.deadlines}
        return sorted(named - told - timed - self.workflow.births)

    def _explore(self) -> set[Situation]:
        begin = Situation(UNBORN)
        found, todo = {begin}, deque([begin])
        while todo:
            here = todo.popleft()
            for arrival in self._arrivals(here):
                there = self._after(here, arrival)
                if there not in found:
                    found.add(there)
                    self._came[there] = (here, arrival.event)
                    todo.append(there)
        return found

    def _arrivals(self, here: Situation) -> Iterator[Arrival]:
        if here.state == UNBORN:
            yield from (Arrival(event, "birth") for event in sorted(self.workflow.births))
            return
        for command in dict.fromkeys(here.owed):
            for event in self._job_answers(command):
                yield Arrival(event, f"an answer of {command}", command)
        for command in sorted(here.sent & self.jobs.keys()):
            for kind in self.jobs[command].later:
                yield Arrival(kind.__name__, f"told some time after {command}")
        for row in self.workflow.deadlines:
            if here.state in row.states:
                yield Arrival(row.name, "a deadline")
        yield from (Arrival(event, "") for event in self._outside)

    def _job_answers(self, command: str) -> list[str]:
        job = self.jobs.get(command)
        return [kind.__name__ for kind in job.all_answers] if job else []

    def _after(self, here: Situation, arrival: Arrival) -> Situation:
        owed = list(here.owed)
        if arrival.answers is not None:
            owed.remove(arrival.answers)
        there = here._replace(owed=tuple(owed), heard=here.heard | (self.heed & {arrival.event}))
        came = (here, arrival.event)
        return self._settle(self._judge(there, arrival, came), came)

    def _judge(self, now: Situation, arrival: Arrival, came: Came) -> Situation:
        """The same as the engine does, for one event that is there."""
        fate = self.workflow.fate(now.state, arrival.event)
        if fate is Fate.APPLIED:
            return self._step(now, arrival.event)
        if fate is Fate.EARLY and arrival.event not in now.shelf:
            return now._replace(shelf=(*now.shelf, arrival.event))
        if fate is Fate.UNEXPECTED and arrival.why:
            self._surprises.setdefault((arrival.event, now.state, arrival.why), came)
        return now

    def _step(self, now: Situation, event: str) -> Situation:
        self.taken.add((now.state, event))
        row = self.workflow.steps[now.state, event]
        owed = list(now.owed)
        for command in row.commands:
            if owed.count(command.__name__) < MANY:
                owed.append(command.__name__)
        sent = now.sent | {command.__name__ for command in row.commands}
        return now._replace(state=row.target, owed=tuple(sorted(owed)), sent=sent)

    def _settle(self, now: Situation, came: Came) -> Situation:
        """Early events whose state has come, then the state that waits for the last answer."""
        moved = True
        while moved:
            moved = False
            for event in now.shelf:
                if self.workflow.fate(now.state, event) is not Fate.EARLY:
                    rest = tuple(other for other in now.shelf if other != event)
                    now = self._judge(now._replace(shelf=rest), self._shelved(event), came)
                    moved = True
                    break
            else:
                if now.state in self.workflow.settles and not now.owed:
                    now = now._replace(state=self.workflow.settles[now.state])
                    moved = True
        return now

    def _shelved(self, event: str) -> Arrival:
        return Arrival(event, "" if event in self._outside else "it waited from before")


def _tellings(job: Job) -> tuple[type[Event], ...]:
    return (*job.all_answers, *job.later)
