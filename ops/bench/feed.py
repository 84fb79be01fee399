"""Hands orders over to the publisher: as fast as it takes them, at a rate, or in bulk."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar
from uuid import UUID

from dispatcher.order import Order
from ops.bench.orders import placed
from ops.bench.stage import Stage

AT_A_STRETCH = 50
BULK = 2_000

T = TypeVar("T")


async def one_by_one(stage: Stage, orders: Sequence[Order]) -> dict[UUID, float]:
    """Every order in a call of its own, many calls at once. Returns when each was handed over, in
    unix seconds, as soon as the broker has confirmed them all.
    """
    handed_over: dict[UUID, float] = {}

    async def hand_over(order: Order) -> None:
        handed_over[order.order_id] = time.time()
        await stage.publisher.publish([stage.router.now(placed(order))])

    async with asyncio.TaskGroup() as calls:
        for position, order in enumerate(orders, start=1):
            calls.create_task(hand_over(order))
            if position % AT_A_STRETCH == 0:
                await asyncio.sleep(0)
    return handed_over


async def at_a_rate(
    things: Sequence[T], per_second: float, do: Callable[[T], Awaitable[object]]
) -> float:
    """Begin with each thing at its own time, however long the others take (open loop). Returns by
    how many seconds the latest beginning missed its time.
    """
    loop = asyncio.get_running_loop()
    began, latest = loop.time(), 0.0
    async with asyncio.TaskGroup() as doing:
        for position, thing in enumerate(things):
            due = began + position / per_second
            await asyncio.sleep(max(0.0, due - loop.time()))
            latest = max(latest, loop.time() - due)
            doing.create_task(_as_coroutine(do(thing)))
    return latest


async def _as_coroutine(work: Awaitable[object]) -> None:
    await work


async def in_bulk(stage: Stage, orders: Sequence[Order]) -> None:
    """All at once, many in each message."""
    for start in range(0, len(orders), BULK):
        some = orders[start : start + BULK]
        await stage.publisher.publish([stage.router.now(placed(order)) for order in some])
