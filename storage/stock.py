"""Stock per store and SKU: locked in key order, moved once per order, never below zero.

Implements consumers.stock.Shelf inside one transaction.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from dispatcher.identity import store_bucket
from storage.database import Transaction
from storage.queries import load

SQL = load("stock")

Movement = tuple[str, UUID]
"""(store, order)."""
Level = tuple[str, str]
"""(store, SKU)."""


class Shelf:
    """What one transaction does to the stock. Call `claim` or `give_back` before `lock`: rows are
    waited for in that order everywhere, so that nobody waits in a circle.
    """

    def __init__(self, tx: Transaction, now: datetime) -> None:
        self._tx = tx
        self._now = now

    async def claim(self, wanted: Sequence[tuple[Movement, dict[str, int]]]) -> set[UUID]:
        """Book these deductions; returns the orders that were not deducted or given up before."""
        wanted = sorted(wanted, key=lambda pair: _order_key(pair[0]))
        rows = await self._tx.fetch(
            SQL["claim_deductions"],
            now=self._now,
            **_movements([movement for movement, _ in wanted]),
            quantities=[quantities for _, quantities in wanted],
        )
        return {row["order_id"] for row in rows}

    async def lock(self, levels: Iterable[Level]) -> dict[Level, int]:
        """Lock these levels and read them; what a store keeps no stock of is missing."""
        keys = sorted(set(levels), key=_level_key)
        if not keys:
            return {}
        rows = await self._tx.fetch(SQL["lock_levels"], **_levels(keys))
        return {(row["store_id"], row["sku"]): row["on_hand"] for row in rows}

    async def move(self, moved: dict[Level, int]) -> None:
        """Add to the levels."""
        keys = sorted((level for level, by in moved.items() if by), key=_level_key)
        if keys:
            await self._tx.execute(
                SQL["move_levels"],
                **_levels(keys),
                moved=[moved[key] for key in keys],
            )

    async def correct(self, claims: dict[Movement, dict[str, int] | None]) -> None:
        """What these claims really moved; None: short, nothing is held, now and for ever."""
        keys = sorted(claims, key=_order_key)
        if keys:
            await self._tx.execute(
                SQL["correct_claims"],
                **_movements(keys),
                movements=["given_up" if claims[key] is None else "deducted" for key in keys],
                quantities=[claims[key] or {} for key in keys],
            )

    async def give_back(self, movements: Sequence[Movement]) -> list[tuple[str, dict[str, int]]]:
        """Bury what was never deducted, book the returns; gives (store, quantities) of each."""
        keys = sorted(movements, key=_order_key)
        await self._tx.execute(SQL["bury"], now=self._now, **_movements(keys))
        rows = await self._tx.fetch(
            SQL["return_deductions"],
            now=self._now,
            **_movements(keys),
        )
        return [(row["store_id"], row["quantities"]) for row in rows]


def _order_key(movement: Movement) -> tuple[int, str, UUID]:
    return store_bucket(movement[0]), *movement


def _level_key(level: Level) -> tuple[int, str, str]:
    return store_bucket(level[0]), *level


def _movements(keys: Sequence[Movement]) -> dict[str, list[Any]]:
    return {
        "buckets": [store_bucket(store_id) for store_id, _ in keys],
        "store_ids": [store_id for store_id, _ in keys],
        "order_ids": [order_id for _, order_id in keys],
    }


def _levels(keys: Sequence[Level]) -> dict[str, list[Any]]:
    return {
        "buckets": [store_bucket(store_id) for store_id, _ in keys],
        "store_ids": [store_id for store_id, _ in keys],
        "skus": [sku for _, sku in keys],
    }
