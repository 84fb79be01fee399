"""`bench chain`: how many orders a second travel from the publisher to a recorded ticket.

The clock runs from the first publish until the database shows the TicketTaken of the last order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from time import perf_counter
from typing import Any, ClassVar
from uuid import UUID

from dispatcher.order import Order
from ops.bench import counts, cpu
from ops.bench.ceiling import pushes_per_second
from ops.bench.feed import one_by_one
from ops.bench.figures import Figures, medians, spread_ms
from ops.bench.orders import Book
from ops.bench.scenery import Scene
from ops.bench.stage import Stage

PLATFORM = "meituan"
TICKET = "TicketTaken"


@dataclass(frozen=True)
class Chain:
    """`warm_up` orders go ahead and do not count; `pushes` measure the ceiling, each time."""

    orders: int = 6_000
    repeat: int = 1
    warm_up: int = 500
    pushes: int = 3_000

    scene: ClassVar[Scene] = Scene()

    async def run(self, stage: Stage) -> Figures:
        """The figures are medians over all runs; those of each run stand in `runs`."""
        book = Book(stage.chain, PLATFORM)
        await self._warm_up(stage, book)
        ceilings = [await pushes_per_second(stage, book, self.pushes)]
        runs = []
        for number in range(self.repeat):
            found = await self._once(stage, book.orders(self.orders))
            await stage.books.begin_anew()
            ceilings.append(await pushes_per_second(stage, book, self.pushes))
            ceiling = mean(ceilings[-2:])
            rate = found["orders_per_second"]
            figures = {"ceiling_per_second": round(ceiling, 1), "ratio": round(rate / ceiling, 3)}
            runs.append({"orders_per_second": rate, **figures, **found})
            stage.tell(f"run {number + 1}: {rate:.0f} orders/s, ceiling {ceiling:.0f}/s")
        each = {"runs": runs, "ceilings": [round(c, 1) for c in ceilings]}
        return {"orders": self.orders, **medians(runs), **(each if self.repeat > 1 else {})}

    async def _warm_up(self, stage: Stage, book: Book) -> None:
        await pushes_per_second(stage, book, self.pushes // 3)
        await one_by_one(stage, book.orders(self.warm_up))
        await _recorded(stage, self.warm_up)
        await stage.books.begin_anew()

    async def _once(self, stage: Stage, orders: Sequence[Order]) -> Figures:
        before = await stage.recorded(TICKET)
        messages, statements = await stage.published(), await counts.statements(stage.database)
        cpu_before, began = stage.cpu(), perf_counter()
        handed_over = await one_by_one(stage, orders)
        await stage.until("tickets at the tills", len(orders), stage.tickets)
        await _recorded(stage, before + len(orders))
        seconds, cpu_after = perf_counter() - began, stage.cpu()
        statements = await counts.statements(stage.database) - statements
        messages = await stage.published() - messages
        delays = spread_ms(at_the_till(await stage.books.tills(), handed_over))
        return {
            "orders_per_second": round(len(orders) / seconds, 1),
            **{name: delays[name] for name in ("p50_ms", "p99_ms")},
            "statements_per_order": round(statements.total() / len(orders), 4),
            "messages_per_order": round(messages / len(orders), 4),
            "cpu_s_per_1000": cpu.spent(cpu_before, cpu_after, len(orders)),
        }


async def _recorded(stage: Stage, wanted: int) -> None:
    async def count() -> int:
        return await stage.recorded(TICKET)

    await stage.until("tickets recorded", wanted, count)


def at_the_till(books: Mapping[str, Any], handed_over: Mapping[UUID, float]) -> list[float]:
    """Seconds from handing an order over to the till's first sight of its ticket."""
    return [
        message["first_seen"] - handed_over[UUID(message["order_id"])]
        for message in books["messages"]
    ]
