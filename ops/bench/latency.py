"""`bench latency`: how long an order takes from the publisher to the till's 2xx, at a calm rate.

Open loop: each order at its own time, however long the others take. It ends when our client has
read the till's answer (`deliveries`: started_at + seconds), and every hop between is told, from
the times that the pipeline itself writes down.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

from dispatcher.order import Order
from ops.bench.feed import at_a_rate
from ops.bench.figures import Figures, hops_ms, spread_ms
from ops.bench.orders import Book, placed
from ops.bench.scenery import Scene
from ops.bench.stage import Stage

PLATFORM = "meituan"
WARM_UP_SECONDS = 3

MOMENTS = (
    "handed_over",
    "dispatched",
    "deducted",
    "dispatched_again",
    "rendered",
    "called",
    "answered",
)
"""In the order of an order; columns of `bench_journeys`."""

HOPS: Mapping[str, str] = {
    "to_dispatcher": "published, until the dispatcher begins with it",
    "to_stock": "dispatcher's transaction and publish, until stock begins",
    "to_dispatcher_again": "stock's transaction and publish, until the dispatcher begins",
    "to_pos": "dispatcher's transaction and publish, until POS has read the order",
    "noted": "the ticket's bytes are stored",
    "call": "the till is called and answers",
}


class OrdersMissing(Exception):
    """Not every order that was placed has arrived."""


@dataclass(frozen=True)
class Latency:
    rate: float = 20.0
    seconds: float = 30.0

    scene: ClassVar[Scene] = Scene()

    async def run(self, stage: Stage) -> Figures:
        book = Book(stage.chain, PLATFORM)
        await self._place(stage, book.orders(max(1, round(self.rate * WARM_UP_SECONDS))))
        orders = book.orders(max(1, round(self.rate * self.seconds)))
        since = datetime.now(UTC)
        stage.tell(f"{len(orders)} orders at {self.rate:g}/s")
        late = await self._place(stage, orders)
        journeys = [
            tuple(float(row[moment]) for moment in MOMENTS)
            for row in await stage.rows("bench_journeys", since=since)
        ]
        if len(journeys) != len(orders):
            raise OrdersMissing(f"{len(orders)} orders placed, {len(journeys)} at the till")
        return {
            "rate": self.rate,
            "orders": len(orders),
            **spread_ms([journey[-1] - journey[0] for journey in journeys]),
            "latest_start_ms": round(late * 1000, 2),
            "hops": hops_ms(list(HOPS), journeys),
        }

    async def _place(self, stage: Stage, orders: Sequence[Order]) -> float:
        before = await stage.recorded("TicketTaken")

        async def place(order: Order) -> None:
            await stage.publisher.publish([stage.router.now(placed(order))])

        async def recorded() -> int:
            return await stage.recorded("TicketTaken") - before

        late = await at_a_rate(orders, self.rate, place)
        await stage.until("tickets recorded", len(orders), recorded)
        return late
