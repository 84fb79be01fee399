"""One round of deaths: every process is killed at a point that it was armed with, restarted, and
nothing may be lost or doubled.
"""

import asyncio
import json
import signal
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from dispatcher.rabbit.publish import Outgoing
from ops.fleet import NotReady, last_words
from storage.queries import Statement
from tests.chaos.world import MEAL, NOBODYS_STORE, PLATFORMS, ROLES, World, until

DEATH_SECONDS = 40.0
BETWEEN_CUSTOMERS_SECONDS = 0.5

ALONE = frozenset({"producer", "http"})
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
_AN_EVENT = Statement(
    "an_event", "SELECT events[1] FROM accepted_requests WHERE events <> '{}' LIMIT 1", ()
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

    async def start(role: str) -> None:
        await world.fleet.run(role, *ROLES[role], environment={SWITCH_LOG: str(logs[role])})

    await asyncio.gather(*map(start, ROLES))
    odd = OddMail(world)
    await customers_come(world)
    await until(lambda: _unseen_orders(world), "orders nobody looked at", DEATH_SECONDS)
    await odd.send()
    await world.settled()
    await world.fleet.kill("producer")
    await leave_behind(world)
    await world.start("producer")
    await world.settled()
    await until(world.faults, "faults", DEATH_SECONDS)
    await world.kill_all()
    for role in ROLES:
        # From here on members start unrecorded.
        world.fleet.members[role].environment = {
            name: value
            for name, value in world.fleet.members[role].environment.items()
            if name != SWITCH_LOG
        }
    passed = {role: set(log.read_text().split()) for role, log in logs.items()}
    passed["http"] -= passed["producer"]
    return Recorded({role: sorted(names) for role, names in passed.items()})


SWITCH_LOG = "SYSTEM2_CRASH_LOG"
SWITCH_AT = "SYSTEM2_CRASH_AT"


async def _unseen_orders(world: World) -> list[str]:
    return [o["order_id"] for o in await world.sold() if not (o["seen"] or o["pushed"])]


async def customers_come(world: World) -> None:
    """Whatever can be ordered, and an order for a store that is none of ours."""
    await world.order_everything()
    await world.order("meituan", {**MEAL, "store_code": NOBODYS_STORE})


class OddMail:
    """Messages that no loop can handle, and one that lost its way."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def send(self) -> None:
        """To every queue an event that is none, and behind every queue a batch of two."""
        topology, publisher = self._world.topology, self._world.publisher
        for target in topology.targets:
            queue = topology.queue(target)
            await publisher.publish([Outgoing(*topology.route(target), nonsense())])
            behind = topology.dead, topology.solo(queue)
            await publisher.publish([Outgoing(*behind, nonsense()) for _ in range(2)])
        for queue in (topology.quarantine, topology.lost):
            await publisher.publish([Outgoing(topology.dead, queue, nonsense())])
        known = await self._world.database.fetchval(_AN_EVENT)
        if known is not None:
            await publisher.publish([Outgoing(topology.dead, topology.lost, known)])


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

    async def run(self) -> None:
        world = self._world
        await world.kill_all()
        await customers_come(world)
        await leave_behind(world)
        alone = [self._one_after_the_other(role) for role in sorted(ALONE, reverse=True)]
        together = [self._all_at_once(role) for role in ROLES if role not in ALONE]
        work: list[Any] = [_in_turn(*alone), *together, self._customers()]
        await asyncio.gather(*work)
        await world.settled()

    async def _customers(self) -> None:
        """They keep coming until everybody who is to die has died."""
        odd = OddMail(self._world)
        while self._waiting:
            await odd.send()
            await asyncio.sleep(BETWEEN_CUSTOMERS_SECONDS)
            if self._waiting:
                await customers_come(self._world)

    async def _one_after_the_other(self, role: str) -> None:
        for point in self._plan[role]:
            if role == "producer":
                await leave_behind(self._world)
            await self._die(role, point)
        await self._world.start(role)

    async def _all_at_once(self, role: str) -> None:
        names = [role, *(f"{role}.{n}" for n in range(1, len(self._plan[role])))]
        victims = zip(names, self._plan[role], strict=False)
        await asyncio.gather(*(self._die(*victim) for victim in victims))
        await self._world.start(role)

    async def _die(self, member: str, point: str) -> None:
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
        world, environment = self._world, {SWITCH_AT: f"{point}:1"}
        try:
            if member in world.fleet.members:
                await world.fleet.start_again(member, environment)
            else:
                role = ROLES[member.partition(".")[0]]
                await world.fleet.run(member, *role, environment=environment)
        except NotReady:
            if world.fleet.members[member].alive:
                raise


async def _in_turn(*work: Any) -> None:
    for each in work:
        await each


__all__ = ["PLATFORMS", "Plan", "Recorded", "Round", "recorded"]
