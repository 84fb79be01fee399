"""What must hold of every workflow table, found out without running it: pure functions from a
table and from what each job may answer to sentences about what is wrong.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple
from uuid import UUID

from pydantic import BaseModel, ValidationError

from dispatcher.messages import Command, Event, OrderPlaced
from dispatcher.situations import Exploration, Job, Situation
from dispatcher.workflow import UNBORN, Attended, Deadline, Fate, Late, Row, Workflow

REMOTE = "remote"


class Undo(NamedTuple):
    """What `command` did is taken back by `by`, unless an answer was `void` (nothing was done) or
    the order ends in one of the states where it is `kept`.
    """

    command: type[Command]
    by: type[Command]
    void: tuple[type[Event], ...]
    kept: tuple[str, ...]


class Check(NamedTuple):
    """One rule, and each place where the table breaks it."""

    rule: str
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.problems


@dataclass(frozen=True)
class Case:
    """A table to be judged, and all that it is judged by."""

    workflow: Workflow
    jobs: Sequence[Job]
    undos: Sequence[Undo]

    @cached_property
    def exploration(self) -> Exploration:
        heed = frozenset(event.__name__ for undo in self.undos for event in undo.void)
        return Exploration(self.workflow, self.jobs, heed)


def verify(workflow: Workflow, jobs: Sequence[Job], undos: Sequence[Undo]) -> list[Check]:
    """Every rule, in the order in which their problems are best mended."""
    case = Case(workflow, jobs, undos)
    return [Check(rule, tuple(broken(case))) for rule, broken in RULES.items()]


def _queues(case: Case) -> Iterator[str]:
    for command in _commands(case.workflow):
        names = [job.name for job in case.jobs if job.command is command]
        if len(names) != 1:
            found = " and ".join(names) or "no queue"
            yield f"{command.__name__} is carried by {found}"


def _named_states(case: Case) -> Iterator[str]:
    for row in case.workflow.rows:
        kind = type(row).__name__.lower()
        for state in _extra_states(row):
            if state not in case.workflow.states:
                yield f"no step leads to {state}, which a row of kind {kind} names"
            elif state in case.workflow.closed and not isinstance(row, Late):
                yield f"{state} is closed, so a row of kind {kind} has no use there"


def _extra_states(row: Row) -> tuple[str, ...]:
    """The states of a row that does not itself lead anywhere."""
    match row:
        case Late(_, states) | Deadline(_, states, _):
            return states
        case Attended(state):
            return (state,)
        case _:
            return ()


def _unreached(case: Case) -> Iterator[str]:
    reachable = {UNBORN, *case.workflow.reachable(UNBORN)}
    yield from (f"nothing leads to {s}" for s in case.workflow.states if s not in reachable)


def _endless(case: Case) -> Iterator[str]:
    closed = case.workflow.closed
    for state in case.workflow.states:
        if state not in closed and not case.workflow.reachable(state) & closed:
            yield f"from {state} no closed state can be reached"


def _never_taken(case: Case) -> Iterator[str]:
    for state, event in case.workflow.steps:
        if (state, event) not in case.exploration.taken:
            yield f"{event} cannot come while an order is in {state}"


def _not_filled_in(case: Case) -> Iterator[str]:
    context: dict[str, Any] = {}
    for (state, event), row in case.workflow.steps.items():
        if state == UNBORN and issubclass(row.event, OrderPlaced):
            context = _example(row.event).context()
        told = {**context, **_example(row.event).tells()}
        told |= {"order_id": UUID(int=0), "happened_at": _SOME_TIME}
        for command in row.commands:
            yield from (
                f"{command.__name__} of {event} in {state}: {problem}"
                for problem in _misfits(command, told)
            )


def _misfits(command: type[Command], told: Mapping[str, Any]) -> Iterator[str]:
    missing = [name for name in command.model_fields if name not in told]
    if missing:
        yield f"nobody tells its {', '.join(missing)}"
        return
    try:
        command(**{name: told[name] for name in command.model_fields})
    except ValidationError as error:
        yield from (f"its {p['loc'][0]} does not fit: {p['msg']}" for p in error.errors())


def _patient(case: Case) -> Iterator[str]:
    """Jobs of our own always answer, and what a settled state waits for was sent with an expiry;
    anything else may never come.
    """
    workflow = case.workflow
    remote = {job.command for job in case.jobs if job.kind == REMOTE}
    limited = {state for row in workflow.deadlines for state in row.states} | workflow.attended
    for state in workflow.states:
        if state == UNBORN or state in workflow.closed or state in limited:
            continue
        sent = [set(row.commands) for row in workflow.steps.values() if row.target == state]
        asked = sorted(command.__name__ for command in remote.intersection(set().union(*sent)))
        if asked:
            yield f"{state} waits for {asked[0]} without a deadline"
        elif state not in workflow.settles and not _led_on(case, state, sent):
            yield f"{state} waits for the outside without a deadline"


def _led_on(case: Case, state: str, sent: Sequence[set[type[Command]]]) -> bool:
    """Whether some job, asked on every way in, leads out of this state by each of its answers."""
    asked = set.intersection(*sent) if sent else set()
    return any(
        all((state, answer.__name__) in case.workflow.steps for answer in job.all_answers)
        for job in case.jobs
        if job.command in asked
    )


def _idle_deadlines(case: Case) -> Iterator[str]:
    workflow = case.workflow
    for row in workflow.deadlines:
        for state in workflow.states:
            fate = workflow.fate(state, row.name)
            if state in row.states and fate not in (Fate.APPLIED, Fate.EARLY):
                yield f"{row.name} stands in {state}, where it would be {fate}"


def _unheard(case: Case) -> Iterator[str]:
    awaited = {event for _, event in (*case.workflow.steps, *case.workflow.late)}
    for job in case.jobs:
        if job.command in _commands(case.workflow):
            for event in dict.fromkeys((*job.all_answers, *job.later)):
                if event.__name__ not in awaited:
                    yield f"{event.__name__}, which {job.name} may bring, is awaited nowhere"


def _missed(case: Case) -> Iterator[str]:
    for missed in case.exploration.surprises:
        way = ", ".join(missed.after)
        yield f"{missed.event} ({missed.why}) is unexpected in {missed.state}, as after {way}"


def _unknowns(case: Case) -> Iterator[str]:
    unknown = {job.command: job.unknown for job in case.jobs if job.unknown is not None}
    asking = ((r.target, c) for r in case.workflow.steps.values() for c in r.commands)
    for state, command in dict.fromkeys(asking):
        event = unknown.get(command)
        if event is not None and (state, event.__name__) not in case.workflow.steps:
            yield f"{state} asks for {command.__name__} but has no step for {event.__name__}"


def _hasty(case: Case) -> Iterator[str]:
    for (state, event), row in case.workflow.steps.items():
        if row.target in case.workflow.closed and row.commands:
            yield f"{event} in {state} sends {row.commands[0].__name__} on its way to {row.target}"
    seen: set[tuple[str, ...]] = set()
    for situation in _closed(case.exploration):
        here = (situation.state, *situation.owed)
        if situation.owed and here not in seen:
            seen.add(here)
            owed, after = " and ".join(situation.owed), _after(case.exploration, situation)
            yield f"{situation.state} is closed while {owed} has no answer, as {after}"


def _left_behind(case: Case) -> Iterator[str]:
    seen: set[tuple[str, Undo]] = set()
    for situation in _closed(case.exploration):
        for undo in case.undos:
            if _is_left(situation, undo) and (situation.state, undo) not in seen:
                seen.add((situation.state, undo))
                after = _after(case.exploration, situation)
                yield f"{situation.state} comes without {undo.by.__name__}, as {after}"


def _is_left(situation: Situation, undo: Undo) -> bool:
    void = {event.__name__ for event in undo.void}
    return (
        undo.command.__name__ in situation.sent
        and undo.by.__name__ not in situation.sent
        and not situation.heard & void
        and situation.state not in undo.kept
    )


def _closed(exploration: Exploration) -> list[Situation]:
    """Nearest first, so that the way told is a short one."""
    closed = [s for s in exploration.situations if s.state in exploration.workflow.closed]
    return sorted(closed, key=lambda s: (len(exploration.way_to(s)), exploration.way_to(s)))


def _after(exploration: Exploration, situation: Situation) -> str:
    return f"after {', '.join(exploration.way_to(situation))}"


def _commands(workflow: Workflow) -> list[type[Command]]:
    return list(dict.fromkeys(c for row in workflow.steps.values() for c in row.commands))


_SOME_TIME = datetime(2026, 1, 1, tzinfo=UTC)


def _example(kind: type[Any]) -> Any:
    """A message with something of the right type in every field; it need not make sense."""
    plain = {str: "", int: 0, bool: False, UUID: UUID(int=0), datetime: _SOME_TIME}
    filled: dict[str, Any] = {}
    for name, field in kind.model_fields.items():
        hint = field.annotation
        if isinstance(hint, type) and issubclass(hint, BaseModel):
            filled[name] = _example(hint)
        elif field.is_required():
            filled[name] = plain.get(hint, ())
    return kind.model_construct(**filled)


RULES: Mapping[str, Callable[[Case], Iterator[str]]] = {
    "every command has exactly one queue": _queues,
    "every row names states of the table": _named_states,
    "every state can be reached": _unreached,
    "every state can end": _endless,
    "every step can be taken": _never_taken,
    "every command can be filled in": _not_filled_in,
    "what waits for the outside has a deadline or is attended": _patient,
    "every deadline leads on wherever it stands": _idle_deadlines,
    "every answer of a job is awaited somewhere": _unheard,
    "every answer is awaited wherever the order has moved to meanwhile": _missed,
    "an unknown outcome has a row in the state that asked": _unknowns,
    "an order closes with every command answered, and closing sends nothing": _hasty,
    "what was done is taken back before an order ends unfulfilled": _left_behind,
}
"""Each rule and what finds its breaches."""
