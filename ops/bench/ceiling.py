"""The ceiling: bare pushes of the same tickets to the same tills by the same client, with nothing
before and nothing behind them.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from time import perf_counter
from uuid import UUID

from consumers.pos import render_tickets
from consumers.queues import BY_COMMAND, QUEUES
from consumers.till import HttpTills
from dispatcher.envelope import Envelope
from dispatcher.identity import command_id
from dispatcher.messages import PushTicket
from dispatcher.order import Order
from ops.bench.orders import Book, placed
from ops.bench.stage import Stage
from storage.chain import Store


class TillsRefuse(Exception):
    """A till did not take a bare push."""


class Drafts:
    """Implements consumers.pos.Tickets: the orders are here already."""

    def __init__(self, orders: Iterable[Order]) -> None:
        self._orders = {order.order_id: order for order in orders}

    async def read(self, order_ids: Iterable[UUID]) -> dict[UUID, Order]:
        return {order_id: self._orders[order_id] for order_id in order_ids}


async def pushes_per_second(stage: Stage, book: Book, pushes: int) -> float:
    """As many calls at once as the POS consumer makes. The tills forget them in the end."""
    orders = book.orders(pushes)
    commands = [_push(order) for order in orders]
    bodies = await render_tickets(commands, Drafts(orders))
    stores = {store.store_id: store for store in stage.chain.all_stores()}
    at_once = next(row.at_once for row in QUEUES if row.name == BY_COMMAND[PushTicket.__name__])
    async with HttpTills(_finder(stores)) as tills:
        todo = iter(list(zip(commands, bodies, strict=True)))
        began = perf_counter()
        async with asyncio.TaskGroup() as callers:
            for _ in range(at_once):
                callers.create_task(_call(tills, todo))
        seconds = perf_counter() - began
    await stage.fleet.post("tills", "/_sim/reset", {})
    return pushes / seconds


async def _call(tills: HttpTills, todo: Iterator[tuple[Envelope[PushTicket], bytes]]) -> None:
    for command, body in todo:
        answer = await tills.post(command.data.store_id, str(command.id), body, None)
        if answer.status != 200:
            raise TillsRefuse(f"HTTP {answer.status}: {answer.body[:200]!r}")


def _finder(stores: Mapping[str, Store]):  # type: ignore[no-untyped-def]
    async def find(store_id: str) -> Store:
        return stores[store_id]

    return find


def _push(order: Order) -> Envelope[PushTicket]:
    birth = placed(order)
    return Envelope(
        id=command_id(birth.id, 0),
        source=birth.source,
        subject=order.order_id,
        instance=order.order_id,
        time=birth.time,
        data=PushTicket(
            order_id=order.order_id,
            store_id=order.store_id,
            channel=order.channel,
            placed_at=order.placed_at,
        ),
    )
