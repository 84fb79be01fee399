"""Whatever comes, in whatever order, twice or with a death in between: every order ends well."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dispatcher.engine import Instance, Workflows, fold
from dispatcher.loop import Dispatcher, Owed
from dispatcher.messages import CancelTicket, StoreSilent
from dispatcher.workflow import UNBORN, Fate, Step, Workflow
from dispatcher.workflows.takeaway import TAKEAWAY_V1
from tests.fakes import FakeStore
from tests.unit.dispatcher.life import LIVES
from tests.unit.dispatcher.world import World

SEEDS = st.integers(0, 2**32 - 1)
FROM_OUTSIDE = {"OrderCancelled", "OrderCompleted", "OperatorClosed", "DetailsCompleted"}


@settings(max_examples=800, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SEEDS)
def test_every_order_ends_in_a_legal_state_with_every_command_answered(seed: int) -> None:
    world = World(seed, LIVES)
    world.live()
    check_the_end(world)


def check_the_end(world: World) -> None:
    for instance in world.instances():
        _check_order(world, instance)
    caused = {c.id: c for row in world.store.events.values() for c in row.record.commands}
    assert caused == world.known, "commands sent = commands stored, each once"
    assert caused.keys() == world.inbox.keys(), "every command has its answer"
    unexpected = [row.event for row in world.store.events.values() if row.fate is Fate.UNEXPECTED]
    assert {event.id for event in unexpected} == {odd.event.id for odd in world.store.odd}
    assert {event.type for event in unexpected} <= FROM_OUTSIDE, "our own question, not awaited"


def _check_order(world: World, instance: Instance) -> None:
    about = instance.instance_id
    rows = world.store.history(about)
    assert instance.state in {UNBORN, *TAKEAWAY_V1.closed}
    assert (instance.owed, dict(instance.armed)) == ((), {})
    assert not world.store.deadlines.get(about)
    assert all(row.fate is not Fate.EARLY for row in rows), "nothing waits in a closed order"
    assert replay(world.store, about, world.workflows) == (instance, _fates(world.store, about))
    if world.ended_unfulfilled(about):
        assert world.held[about] == 0, "stock is held for an order that was not fulfilled"
        assert not world.left_at_the_till(about), "the till was not told to stop"


def replay(
    store: FakeStore, about: UUID, workflows: Workflows
) -> tuple[Instance, dict[UUID, Fate]]:
    """The stored events in order of revision, folded again; each must cause the same again."""
    instance, fates = Instance(about), dict[UUID, Fate]()
    for row in store.history(about):
        instance, (again,) = fold(instance, [row.event], workflows, row.recorded_at)
        assert (again.fate, again.revision) == (row.record.fate, row.record.revision)
        assert (again.commands, again.armed) == (row.record.commands, row.record.armed)
        fates |= {row.event.id: again.fate} | {e.id: fate for e, fate in again.released}
    return instance, fates


def _fates(store: FakeStore, about: UUID) -> dict[UUID, Fate]:
    return {row.event.id: row.fate for row in store.history(about)}


def steps_taken(world: World) -> Iterator[tuple[str, str]]:
    """(state, event) of every step; a move by a settled row has no event."""
    for row in world.store.events.values():
        judged = [(row.record.event, row.record.fate), *row.record.released]
        applied = [event.type for event, fate in judged if fate is Fate.APPLIED]
        for source, target in row.record.moves:
            step = TAKEAWAY_V1.steps.get((source, applied[0])) if applied else None
            if step is not None and step.target == target:
                yield source, applied.pop(0)


def test_the_world_leaves_no_step_of_the_table_out() -> None:
    taken: set[tuple[str, str]] = set()
    for seed in range(2_000):
        world = World(seed, LIVES)
        world.live()
        taken.update(steps_taken(world))
        if taken == TAKEAWAY_V1.steps.keys():
            return
    raise AssertionError(f"never taken: {TAKEAWAY_V1.steps.keys() - taken}")


# -- the same world notices what is broken -------------------------------------------------------


class Forgetful(Dispatcher):
    """Takes a stored event for done: what it had caused is not sent again."""

    def _repeat(self, *args: Any) -> None:
        pass


class Trusting(Dispatcher):
    """Judges a deadline whenever it comes."""

    def _due(self, events: Any, now: Any, owed: Owed) -> Any:
        return events


def without_undo(workflow: Workflow) -> Workflow:
    """The table, but nobody tells the till when a silent store is given up."""
    rows = [
        row._replace(commands=tuple(c for c in row.commands if c is not CancelTicket))
        if isinstance(row, Step) and row.event is StoreSilent
        else row
        for row in workflow.rows
    ]
    return Workflow(workflow.name, workflow.version, *rows)


def without(workflow: Workflow, state: str, event: str) -> Workflow:
    """The table without one of its steps."""
    gone = workflow.steps[state, event]
    return Workflow(workflow.name, workflow.version, *(r for r in workflow.rows if r != gone))


def lives(workflow: Workflow) -> Workflows:
    return Workflows([workflow], [workflow])


@pytest.mark.parametrize(
    ("workflows", "dispatcher", "complaint"),
    [
        (LIVES, Forgetful, "assert"),
        (lives(without_undo(TAKEAWAY_V1)), Dispatcher, "told to stop"),
        (lives(without(TAKEAWAY_V1, "REJECTING", "UndoOverdue")), Dispatcher, "not awaited"),
        (lives(without(TAKEAWAY_V1, "TICKETING", "TicketUnknown")), Dispatcher, "not awaited"),
    ],
)
def test_a_broken_system_is_noticed(
    workflows: Workflows, dispatcher: type[Dispatcher], complaint: str
) -> None:
    with pytest.raises(AssertionError, match=complaint):
        for seed in range(300):
            world = World(seed, workflows, dispatcher)
            world.live()
            check_the_end(world)
