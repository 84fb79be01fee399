"""One round of deaths: every process is killed at a point that it was armed with, restarted, and
nothing may be lost or doubled.
"""

import asyncio
import json
import signal
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple

from dispatcher.rabbit.publish import Outgoing
from ops.demo.together import together
from ops.fleet import NotReady, last_words
from storage.queries import Statement
from tests.chaos.world import MEAL, NOBODYS_STORE, ROLES, World

SWITCH_AT, SWITCH_LOG = "SYSTEM2_CRASH_AT", "SYSTEM2_CRASH_LOG"
DEATH_SECONDS = 40.0
BETWEEN_CUSTOMERS_SECONDS = 0.5

ALONE = ("producer", "http")
"""Roles of which one process runs at a time: their points are taken one after the other."""

_FORGET_A_CONFIRM = Statement(
    "forget_a_confirm",
    "UPDATE accepted_requests SET published_at = NULL WHERE (bucket, key, fingerprint) IN"
    " (SELECT bucket, key, fingerprint FROM accepted_requests"
    "  WHERE events <> '{}' ORDER BY accepted_at DESC LIMIT 1)",
    (),
)
_FORGET_A_CURSOR = Statement(
    "forget_a_cursor", "DELETE FROM pull_cursors WHERE channel = 'opendelivery'", ()
)

Plan = Mapping[str, Sequence[str]]
"""Role -> the points at which its processes die in one round."""


class Recorded(NamedTuple):
    """Role -> the points that it passed in a round in which nobody died."""

    points: Mapping[str, Sequence[str]]

    def plan(self, number: int, rounds: int) -> Plan:
        """The share of one round; all rounds together have every point."""
        return {role: names[number::rounds] for role, names in self.points.items()}


async def recorded(world: World, home: Path) -> Recorded:
    """A round in which every process writes down the points that it passes."""
    logs = {role: home / f"{role}.points" for role in ROLES}
    await together(*(world.start(role, {SWITCH_LOG: str(logs[role])}) for role in ROLES))
    await customers_come(world)
    await world.settled()
    await send_odd_mail(world)
    await world.fleet.kill("producer")
    await leave_behind(world)
    await world.start("producer", {SWITCH_LOG: str(logs["producer"])})
    assert await world.faults() == []
    await world.kill_all()
    passed = {role: set(log.read_text().split()) for role, log in logs.items()}
    passed["http"] -= passed["producer"]
    return Recorded({role: sorted(names) for role, names in passed.items()})


async def customers_come(world: World) -> None:
    """Whatever can be ordered, and an order for a store that is none of ours."""
    await world.order_everything()
    await world.order("meituan", {**MEAL, "store_code": NOBODYS_STORE})


async def send_odd_mail(world: World) -> None:
    """To every queue an event that is none, behind every queue a batch of two, to the queues of
    last resort one each; and an event that is known, to the lost and found.
    """
    topology = world.topology
    mail = [Outgoing(*topology.route(target), nonsense()) for target in topology.targets]
    for target in topology.targets:
        behind = topology.solo(topology.queue(target))
        mail += [Outgoing(topology.dead, behind, nonsense()) for _ in range(2)]
    last_resort = (topology.quarantine, topology.lost)
    mail += [Outgoing(topology.dead, queue, nonsense()) for queue in last_resort]
    known = await world.known_event()
    await world.publisher.publish(mail)
    if known is not None:
        await world.publisher.publish([Outgoing(topology.dead, topology.lost, known)])


_numbers = count()


def nonsense() -> bytes:
    """Different each time: the same letter twice would be one."""
    return json.dumps({"specversion": "1.0", "nonsense": next(_numbers)}).encode()


async def leave_behind(world: World) -> None:
    """What an outage leaves: a row that nobody published, and a scope without a cursor."""
    await world.database.execute(_FORGET_A_CONFIRM)
    await world.database.execute(_FORGET_A_CURSOR)


class Round:
    """Kills by plan. Raises AssertionError with the names of the points that were not passed."""

    def __init__(self, world: World, plan: Plan) -> None:
        self._world = world
        self._plan = plan
        self._waiting = {point for points in plan.values() for point in points}
        self._starting: set[str] = set()

    async def run(self) -> None:
        world = self._world
        await world.kill_all()
        await customers_come(world)
        await send_odd_mail(world)
        # First the producer: it must find what an outage left before the others' backlog does.
        await self._one_after_the_other("producer")
        several = [self._all_at_once(role) for role in ROLES if role not in ALONE]
        await together(self._one_after_the_other("http"), *several, self._customers())
        await world.settled()

    async def _customers(self) -> None:
        """They keep coming until everybody who is to die has died."""
        while self._waiting:
            if not self._starting:
                await customers_come(self._world)
                await send_odd_mail(self._world)
            await asyncio.sleep(BETWEEN_CUSTOMERS_SECONDS)

    async def _one_after_the_other(self, role: str) -> None:
        for point in self._plan[role]:
            if role == "producer":
                await leave_behind(self._world)
            await self.die(role, point)
        await self._world.start(role)

    async def _all_at_once(self, role: str) -> None:
        names = [role, *(f"{role}.{n}" for n in range(1, len(self._plan[role])))]
        victims = zip(names, self._plan[role], strict=False)
        await together(*(self.die(*victim) for victim in victims))
        await self._world.start(role)

    async def die(self, member: str, point: str) -> None:
        """Start a member that is down, and see it die at its point."""
        fleet = self._world.fleet
        try:
            await self._start_armed(member, point)
            async with asyncio.timeout(DEATH_SECONDS):
                code = await fleet.ended(member)
        except TimeoutError:
            words = last_words(fleet.members[member].log)
            raise AssertionError(f"{member} never came past {point}; it says: {words}") from None
        finally:
            self._waiting.discard(point)
        assert code == -signal.SIGKILL, f"{point}: {fleet.obituary(member)}"

    async def _start_armed(self, member: str, point: str) -> None:
        """It may die before it is ready; that is as good."""
        self._starting.add(member)
        try:
            await self._world.start(member, {SWITCH_AT: f"{point}:1"})
        except NotReady:
            if self._world.fleet.members[member].alive:
                raise
        finally:
            self._starting.discard(member)
