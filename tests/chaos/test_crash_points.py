"""SIGKILL at every point of every process: before and after each commit, publish, acknowledgement
and call of a partner. Afterwards all books agree, and every order is over.

The points are those that a recorded round passes, so that a new one needs no line here.
"""

import asyncio
from collections.abc import Coroutine, Iterator
from functools import partial
from typing import Any

import pytest

from ops.stack.local import Endpoints
from tests.architecture.test_crash_points import places
from tests.chaos.rounds import DEATH_SECONDS, Recorded, Round, recorded
from tests.chaos.world import MEAL, NOBODYS_STORE, World, until, world

pytestmark = pytest.mark.timeout(180)

ROUNDS = 8


class Stage:
    """One world for all tests of this module, in one event loop."""

    def __init__(self, runner: asyncio.Runner, there: World, points: Recorded) -> None:
        self._runner = runner
        self.world = there
        self.recorded = points

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(work)


@pytest.fixture(scope="module")
def stage(
    database_url: str,
    amqp_url: str,
    management_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stage]:
    home = tmp_path_factory.mktemp("chaos")
    with asyncio.Runner() as runner:
        there = world(Endpoints(database_url, amqp_url, management_url), home)
        made = runner.run(there.__aenter__())
        try:
            yield Stage(runner, made, runner.run(recorded(made, home)))
        finally:
            runner.run(there.__aexit__(None, None, None))


def test_an_undisturbed_round_passes_every_point_there_is(stage: Stage) -> None:
    passed = {name for names in stage.recorded.points.values() for name in names}
    unreached = [place for place in places() if not any(map(place.pattern.fullmatch, passed))]
    assert unreached == []


@pytest.mark.parametrize("number", range(ROUNDS))
def test_a_death_at_each_of_these_points_leaves_books_that_agree(stage: Stage, number: int) -> None:
    plan = stage.recorded.plan(number, ROUNDS)
    stage.run(Round(stage.world, plan).run())
    assert stage.run(stage.world.faults()) == [], f"after deaths at {plan}"


def test_what_a_dead_puller_accepted_is_published_although_the_platform_tells_more_by_now(
    stage: Stage,
) -> None:
    stage.run(left_by_a_puller(stage.world))
    assert stage.run(stage.world.faults()) == []


async def left_by_a_puller(world: World) -> None:
    """The next look finds the order cancelled: another payload, under another key."""
    await world.fleet.post("meituan", "/_sim/settings", {"push": False})
    await world.fleet.kill("takeaway")
    await world.order("meituan", {**MEAL, "cancel_after": 0.3})
    await Round(world, {}).die("takeaway", "puller.accept.after")
    await until(partial(still_wanted, world), "nobody cancels", DEATH_SECONDS)
    await world.start("takeaway")
    await world.settled()


async def still_wanted(world: World) -> int:
    """How many orders of stores of ours nobody has answered or cancelled."""
    states = (await world.fleet.get("meituan", "/_sim/books"))["orders"]
    return sum(o["state"] == "placed" and o["store_code"] != NOBODYS_STORE for o in states)
