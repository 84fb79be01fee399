"""`bench idle`: what many waiting orders cost the database while nothing happens: nothing.

The orders come the normal way, in bulk, to tills that take them and never decide. Then nobody
looks at anything, and every statement that reaches the database all the same is counted.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass
from time import perf_counter
from typing import ClassVar

from dispatcher.workflows.takeaway import S
from ops.bench import counts
from ops.bench.feed import BULK, in_bulk
from ops.bench.figures import Figures
from ops.bench.orders import Book
from ops.bench.scenery import PROCESSES, Scene
from ops.bench.stage import Stage
from storage import books

PLATFORM = "meituan"
UNDER_WAY = 5 * BULK
SHOWN = 200


@dataclass(frozen=True)
class Idle:
    """A call that took long has left a copy in the lattice, to go on for it if its process died;
    within `settle_seconds` the last of them has come back and found its answer.
    """

    waiting: int = 100_000
    seconds: float = 60.0
    settle_seconds: float = 20.0

    scene: ClassVar[Scene] = Scene()

    async def run(self, stage: Stage) -> Figures:
        began = perf_counter()
        await self._place(stage)
        await self._all_waiting(stage)
        placed_in = perf_counter() - began
        await asyncio.sleep(self.settle_seconds)
        stage.tell(f"{self.waiting} orders wait; counting statements for {self.seconds:g} s")
        calls = await self._calls(stage)
        await self._all_waiting(stage)
        by_statement = [
            {"calls": times, "statement": " ".join(query.split())[:SHOWN]}
            for query, times in calls.most_common()
        ]
        return {
            "waiting": self.waiting,
            "placed_in_seconds": round(placed_in, 1),
            "seconds": self.seconds,
            "processes": ", ".join(PROCESSES),
            "calls": calls.total(),
            "by_statement": by_statement,
        }

    async def _place(self, stage: Stage) -> None:
        """Not more at once than the queues like to hold."""
        book = Book(stage.chain, PLATFORM)
        for sent in range(0, self.waiting, BULK):
            await in_bulk(stage, book.orders(min(BULK, self.waiting - sent)))
            enough = sent + BULK - UNDER_WAY
            await stage.until("tickets at the tills", enough, stage.tickets)
            stage.tell(f"{max(0, enough)} of {self.waiting} orders wait")
        await stage.until("tickets at the tills", self.waiting, stage.tickets)

    async def _all_waiting(self, stage: Stage) -> None:
        async def ticketed() -> int:
            return (await books.states(stage.database)).get(S.TICKETED, 0)

        await stage.until("orders waiting", self.waiting, ticketed)

    async def _calls(self, stage: Stage) -> Counter[str]:
        """Neither health nor metrics are asked for meanwhile."""
        before = await counts.statements(stage.database)
        await asyncio.sleep(self.seconds)
        return await counts.statements(stage.database) - before
