"""`bench pickup`: how long a pickup code takes from the till to the platform while a flood of new
orders waits to be dispatched.

Some orders are cooked already. The dispatcher is held still until the whole flood waits before it;
then the tills report meals ready over HTTP, at a steady rate. A code has arrived when the platform
has it in its books.
"""

import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from time import time
from typing import Any, ClassVar, NamedTuple

from dispatcher.workflows.takeaway import S
from ops.bench.feed import at_a_rate, in_bulk
from ops.bench.figures import Figures, hops_ms, spread_ms
from ops.bench.orders import SOURCE, Book
from ops.bench.scenery import Scene
from ops.bench.stage import Stage
from ops.simulators.tills.books import Callback
from ops.simulators.tills.callbacks import Callbacks, fact
from storage import books

PLATFORM, FLOOD_PLATFORM = "meituan", "opendelivery"
DISPATCHER = "dispatcher"
COOK_SECONDS = 36_000
PLACED_PER_SECOND = 100
TILLS = ("--mode", "accept_now", "--cook-seconds", str(COOK_SECONDS))


class WrongCode(Exception):
    """The platform was told another pickup code than the till's."""


class Ready(NamedTuple):
    """One meal that its till reports."""

    store: str
    ticket_id: str
    number: str
    code: str


class Told(NamedTuple):
    """When the till said so, and when the platform knew; unix seconds."""

    number: str
    said: float
    told: float


@dataclass(frozen=True)
class Pickup:
    waiting: int = 20_000
    count: int = 200
    rate: float = 40.0

    scene: ClassVar[Scene] = Scene(TILLS, (PLATFORM,))

    async def run(self, stage: Stage) -> Figures:
        meals = await self._cooking(stage)
        flood = Book(stage.chain, FLOOD_PLATFORM).orders(self.waiting)
        async with _held_still(stage, DISPATCHER):
            await in_bulk(stage, flood)
            born_before = await _born(stage)
            stage.tell(f"{len(flood) - born_before} placed orders wait")
        said = await self._report(stage, meals)
        told = await self._told(stage, meals, said)
        still = self.waiting - await _born(stage, max(one.told for one in told))
        stage.tell(f"{still} still wait when the last code is told")
        await self._drained(stage)
        return {
            "waiting_at_first": self.waiting - born_before,
            "waiting_at_last": still,
            "count": self.count,
            "rate": self.rate,
            **spread_ms([one.told - one.said for one in told]),
            "hops": await _hops(stage, told),
        }

    async def _cooking(self, stage: Stage) -> list[Ready]:
        """Orders placed on the platform, pushed to us, accepted by their tills and confirmed."""
        rush = {"count": self.count, "per_second": PLACED_PER_SECOND}
        await stage.fleet.post(PLATFORM, "/_sim/orders", rush)

        async def cooking() -> int:
            return (await books.states(stage.database)).get(S.COOKING, 0)

        await stage.until("orders cooking", self.count, cooking)
        await stage.fleet.post("tills", "/_sim/behaviour", {"store": "*", "mode": "quiet"})
        tickets = (await stage.books.tills())["messages"]
        return [
            Ready(t["store"], t["ticket_id"], t["channel_order_id"], f"P{number:04d}")
            for number, t in enumerate(tickets)
        ]

    async def _report(self, stage: Stage, meals: Sequence[Ready]) -> dict[str, float]:
        """Every till tells its meals ready. Returns when each was said first, by order."""
        secrets = {store.store_id: store.till_secret for store in stage.chain.stores}
        callbacks = Callbacks(stage.public_url, secrets)
        said: dict[str, float] = {}

        async def report(meal: Ready) -> None:
            spoken = fact(meal.store, "meal.ready", meal.ticket_id, pickup_code=meal.code)
            said[meal.number] = time()
            record = Callback(spoken.webhook_id, spoken.type, said[meal.number])
            await callbacks.deliver(spoken, record)

        await callbacks.start()
        try:
            await at_a_rate(meals, self.rate, report)
        finally:
            await callbacks.close()
        return said

    async def _told(
        self, stage: Stage, meals: Sequence[Ready], said: Mapping[str, float]
    ) -> list[Told]:
        async def ready() -> int:
            summary = await stage.fleet.get(PLATFORM, "/_sim/summary")
            return int(summary["facts"].get("ready", 0))

        await stage.until("pickup codes at the platform", len(meals), ready)
        document = await stage.fleet.get(PLATFORM, "/_sim/books")
        return arrivals(document, {meal.number: meal.code for meal in meals}, said)

    async def _drained(self, stage: Stage) -> None:
        async def dispatched() -> int:
            return (await books.states(stage.database)).get(S.TICKETED, 0)

        await stage.until("orders of the flood at their tills", self.waiting, dispatched)


def arrivals(
    document: Mapping[str, Any], codes: Mapping[str, str], said: Mapping[str, float]
) -> list[Told]:
    """What the platform's books say of these orders. Raises WrongCode."""
    found = []
    for order in document["orders"]:
        number, fact_ready = order["order_id"], order["ready"]
        if fact_ready["code"] != codes[number]:
            raise WrongCode(f"{number}: {codes[number]} at the till, {fact_ready['code']} there")
        found.append(Told(number, said[number], fact_ready["first"]))
    return found


@asynccontextmanager
async def _held_still(stage: Stage, member: str) -> AsyncIterator[None]:
    """The process is there but does nothing."""
    pid = stage.fleet.members[member].pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def _born(stage: Stage, by: float | None = None) -> int:
    """How many orders of the flood were dispatched by then."""
    moment = datetime.now(UTC) if by is None else datetime.fromtimestamp(by, UTC)
    rows = await stage.rows("bench_born", source=SOURCE, moment=moment)
    born: int = rows[0][0]
    return born


async def _hops(stage: Stage, told: Sequence[Told]) -> dict[str, Figures]:
    """Ingress and queue; dispatcher and queue; call to the platform."""
    moments = {
        row["channel_order_id"]: (row["dispatched"], row["called"])
        for row in await stage.rows("bench_codes")
    }
    ways = [(one.said, *moments[one.number], one.told) for one in told]
    return hops_ms(("to_dispatcher", "to_takeaway", "to_platform"), ways)
