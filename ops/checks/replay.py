"""The stored events of an order, folded again, give the stored order.

Times are not compared: how long a limit is depends on a setting, and settings change.
"""

from collections.abc import Iterator
from functools import cache
from uuid import UUID

from dispatcher import workflows
from dispatcher.engine import Instance, Recorded, Workflows, fold
from dispatcher.envelope import Envelope
from dispatcher.messages import Command, Message
from dispatcher.workflow import Fate
from storage.audit import Kept, Life, Offender, Unread


def offenders(page: list[Life | Unread]) -> Iterator[Offender]:
    """Those of a page whose rows and events say different things."""
    for life in page:
        if isinstance(life, Unread):
            yield Offender(str(life.instance_id), life.error)
        elif wrong := differences(life):
            yield Offender(str(life.instance.instance_id), "; ".join(wrong[:3]))


def differences(life: Life) -> list[str]:
    """What is stored and what the events say, where these differ."""
    stored = life.instance
    if stored.workflow is not None and (stored.workflow, stored.version) not in _known():
        return [f"nobody here knows {stored.workflow} version {stored.version}"]
    try:
        return [*_replay(life, _lives(stored.workflow, stored.version))]
    except Exception as error:
        # The engine never met such rows; what it makes of them is the finding.
        return [f"the events cannot be folded: {error!r}"]


def _replay(life: Life, lives: Workflows) -> Iterator[str]:
    replayed = Instance(life.instance.instance_id)
    fates: dict[UUID, Fate] = {}
    for kept in life.events:
        replayed, records = fold(replayed, [kept.event], lives, kept.recorded_at)
        if not records:
            yield f"{kept.event.type} was stale, yet it is recorded"
        for record in records:
            fates[kept.event.id] = record.fate
            fates |= {event.id: fate for event, fate in record.released}
            yield from _compared(kept, record)
    for kept in life.events:
        fate = fates.get(kept.event.id)
        if fate is not None and fate is not kept.fate:
            yield f"{kept.event.type} is stored as {kept.fate}, the events say {fate}"
    yield from _stands(life, replayed)


def _compared(kept: Kept, record: Recorded) -> Iterator[str]:
    what = kept.event.type
    if kept.revision != record.revision:
        yield f"{what} has revision {kept.revision}, the events say {record.revision}"
    if _essence(kept.commands) != _essence(record.commands):
        caused = ", ".join(command.type for command in kept.commands) or "nothing"
        yield f"{what} caused {caused}, or with other content than the events say"
    armed = {name: deadline.epoch for name, deadline in record.armed.items()}
    if kept.armed != armed:
        yield f"{what} armed {kept.armed}, the events say {armed}"


def _stands(life: Life, replayed: Instance) -> Iterator[str]:
    stored = life.instance
    pairs = {
        "workflow": (stored.workflow, replayed.workflow),
        "version": (stored.version, replayed.version),
        "state": (stored.state, replayed.state),
        "revision": (stored.revision, replayed.revision),
        "owed": (sorted(stored.owed), sorted(replayed.owed)),
        "armed": (_epochs(stored), _epochs(replayed)),
        "early": (life.early, len(replayed.early)),
        "context": (dict(stored.context), dict(replayed.context)),
    }
    for name, (ours, theirs) in pairs.items():
        if ours != theirs:
            yield f"{name} is {ours}, the events say {theirs}"


def _epochs(instance: Instance) -> dict[str, int]:
    return {name: deadline.epoch for name, deadline in instance.armed.items()}


def _essence(
    commands: tuple[Envelope[Command], ...],
) -> list[tuple[UUID, UUID, UUID | None, Message]]:
    return [(c.id, c.subject, c.cause, c.data) for c in commands]


def _known() -> frozenset[tuple[str, int]]:
    return frozenset((life.name, life.version) for life in workflows.ALL)


@cache
def _lives(workflow: str | None, version: int) -> Workflows:
    """An order is born again with the version that it was born with."""
    own = [life for life in workflows.ALL if (life.name, life.version) == (workflow, version)]
    return Workflows(workflows.ALL, own or workflows.BORN_WITH)
