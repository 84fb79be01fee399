"""The unit in memory keeps the contract, so that what is tested over it means something."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from tests.contracts.consumers.units import Place, UnitContract
from tests.unit.consumers.fakes import FakeUnits


@asynccontextmanager
async def in_memory() -> AsyncIterator[Place]:
    units = FakeUnits()

    async def opens(**quantities: int) -> str:
        store = f"S-{uuid4().hex}"
        units.books.levels |= {(store, sku): many for sku, many in quantities.items()}
        return store

    async def on_hand(store: str) -> dict[str, int]:
        levels = units.books.levels.items()
        return {sku: many for (place, sku), many in levels if place == store}

    async def booked(store: str) -> list[str]:
        ledger = units.books.ledger.items()
        return sorted(movement for ((place, _), _), (movement, _) in ledger if place == store)

    yield Place(units, opens, on_hand, booked)


class TestUnitsInMemory(UnitContract):
    def place(self) -> Any:
        return in_memory()
