"""Our own books, order by order and shelf by shelf, for comparing them with those of others."""

from collections.abc import Mapping
from typing import NamedTuple
from uuid import UUID

from storage.database import Statements
from storage.queries import load

SQL = load("books")


class BookedOrder(NamedTuple):
    """One instance. The order itself is missing where only facts about it ever came. `pushed`: its
    ticket may be at the till; `arrived`: it certainly is.
    """

    instance_id: UUID
    state: str
    channel: str | None
    channel_order_id: str | None
    order_no: str | None
    store_id: str | None
    pushed: bool
    arrived: bool


class Movement(NamedTuple):
    """Stock that an order moved: deducted, given_up or returned."""

    store_id: str
    order_id: UUID
    movement: str
    quantities: Mapping[str, int]


class Level(NamedTuple):
    store_id: str
    sku: str
    on_hand: int
    received: int


async def orders(database: Statements) -> list[BookedOrder]:
    """Every order that ever began."""
    return [BookedOrder(*row) for row in await database.fetch(SQL["list_orders"])]


async def states(database: Statements) -> dict[str, int]:
    """How many orders are in each state."""
    rows = await database.fetch(SQL["count_states"])
    return {row["state"]: row["orders"] for row in rows}


async def movements(database: Statements) -> list[Movement]:
    """What orders did to the stock."""
    return [Movement(*row) for row in await database.fetch(SQL["list_ledger"])]


async def levels(database: Statements) -> list[Level]:
    """What is on the shelves."""
    return [Level(*row) for row in await database.fetch(SQL["list_levels"])]
