"""Takes an order's items from its store's stock, and puts them back.

One batch of orders is one pass over the locked levels: never oversold, never undersold, one row
update per SKU however many orders want it.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol
from uuid import UUID

from dispatcher.envelope import Envelope
from dispatcher.messages import (
    DeductStock,
    ReturnStock,
    StockDeducted,
    StockReturned,
    StockShort,
)

Movement = tuple[str, UUID]
Level = tuple[str, str]


class Shelf(Protocol):
    """The stock, inside one transaction."""

    async def claim(self, wanted: Sequence[tuple[Movement, dict[str, int]]]) -> set[UUID]: ...

    async def lock(self, levels: Iterable[Level]) -> dict[Level, int]: ...

    async def move(self, moved: dict[Level, int]) -> None: ...

    async def correct(self, claims: dict[Movement, dict[str, int] | None]) -> None: ...

    async def give_back(
        self, movements: Sequence[Movement]
    ) -> list[tuple[str, dict[str, int]]]: ...


async def deduct_stock(
    commands: Sequence[Envelope[DeductStock]], shelf: Shelf
) -> list[StockDeducted | StockShort]:
    """Allot in order of arrival, each order all of its lines or none. An item of which a store
    keeps no stock is not short: a paid order is never stopped by our own bookkeeping.
    """
    orders = [(command.data.store_id, command.data.order_id) for command in commands]
    wanted = {
        order: {line.sku: line.quantity for line in command.data.lines}
        for order, command in zip(orders, commands, strict=True)
    }
    claimed = await shelf.claim(list(wanted.items()))
    open_ = {order: quantities for order, quantities in wanted.items() if order[1] in claimed}
    left = await shelf.lock((order[0], sku) for order in open_ for sku in open_[order])
    before = dict(left)
    moved = {order: _allot(order[0], quantities, left) for order, quantities in open_.items()}
    await shelf.correct({o: moved[o] for o, quantities in open_.items() if moved[o] != quantities})
    await shelf.move({level: left[level] - before[level] for level in left})
    return [_answer(order, wanted[order], moved, left) for order in orders]


def _allot(store_id: str, wanted: dict[str, int], left: dict[Level, int]) -> dict[str, int] | None:
    """What this order takes; None when any of its items is short."""
    kept = {sku: quantity for sku, quantity in wanted.items() if (store_id, sku) in left}
    if any(left[store_id, sku] < quantity for sku, quantity in kept.items()):
        return None
    for sku, quantity in kept.items():
        left[store_id, sku] -= quantity
    return kept


def _answer(
    order: Movement,
    wanted: dict[str, int],
    moved: dict[Movement, dict[str, int] | None],
    left: dict[Level, int],
) -> StockDeducted | StockShort:
    if order not in moved:
        return StockShort(reason="given_up")
    if moved[order] is not None:
        return StockDeducted()
    short = (
        sku for sku, quantity in wanted.items() if left.get((order[0], sku), quantity) < quantity
    )
    return StockShort(skus=tuple(short))


async def return_stock(
    commands: Sequence[Envelope[ReturnStock]], shelf: Shelf
) -> list[StockReturned]:
    """Put back what was deducted; what was not leaves a tombstone for a late deduction."""
    orders = {(c.data.store_id, c.data.order_id) for c in commands}
    returned = await shelf.give_back(sorted(orders))
    kept = await shelf.lock((store, sku) for store, quantities in returned for sku in quantities)
    moved = dict.fromkeys(kept, 0)
    for store_id, quantities in returned:
        for sku, quantity in quantities.items():
            if (store_id, sku) in kept:
                moved[store_id, sku] += quantity
    await shelf.move(moved)
    return [StockReturned() for _ in commands]
