"""What the runtime's tests share: databases that count, and shelves to fill and look at."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from dispatcher.ports import NullObserver
from storage import chain
from storage.chain import OpeningStock
from storage.database import Database
from storage.inbox import ConsumerStore
from storage.queries import read
from tests.contracts.consumers.units import Place

SQL = read(
    """
-- name: on_hand
SELECT sku, on_hand FROM stock_levels WHERE store_id = :store;

-- name: booked
SELECT movement
FROM stock_ledger
WHERE store_id = :store AND movement <> 'received'
ORDER BY movement;

-- name: book_sums
SELECT e.key AS sku, sum(CASE l.movement WHEN 'deducted' THEN -1 ELSE 1 END * e.value::integer) AS n
FROM stock_ledger l
CROSS JOIN LATERAL jsonb_each_text(l.quantities) e(key, value)
WHERE l.store_id = :store
GROUP BY e.key;

-- name: row_updates
SELECT pg_stat_get_xact_tuples_updated('stock_levels'::regclass);

-- name: instances
SELECT instance_id, state, owed FROM instances;

-- name: sent
SELECT e.instance_id, c ->> 'type' AS type, count(*) AS n
FROM events e
CROSS JOIN LATERAL jsonb_array_elements(e.caused -> 'commands') c
GROUP BY e.instance_id, c ->> 'type';
""",
    "ground",
)


class Statements(NullObserver):
    """Counts statements by name."""

    def __init__(self) -> None:
        self.ran: Counter[str] = Counter()

    def time(self, name: str, seconds: float, /, **labels: str) -> None:
        if name == "db_statement_seconds":
            self.ran[labels["statement"]] += 1


@asynccontextmanager
async def opened(
    url: str, observer: NullObserver | None = None, **options: Any
) -> AsyncIterator[Database]:
    """A database on which a deadlock is found at once."""
    settings = {"deadlock_timeout": "20ms"}
    watching = observer or NullObserver()
    async with Database.open(
        url, observer=watching, name="test", settings=settings, **options
    ) as database:
        yield database


def now() -> datetime:
    return datetime.now(UTC)


async def fill(database: Database, **quantities: int) -> str:
    """A new store opens with this stock."""
    store = f"S-{uuid4().hex}"
    stock = [OpeningStock(store, sku, many) for sku, many in quantities.items()]
    async with database.transaction() as tx:
        await chain.open_stock(tx, stock, now())
    return store


async def on_hand(database: Database, store: str) -> dict[str, int]:
    rows = await database.fetch(SQL["on_hand"], store=store)
    return {row["sku"]: row["on_hand"] for row in rows}


async def book_sums(database: Database, store: str) -> dict[str, int]:
    """What must be on hand, after the ledger."""
    rows = await database.fetch(SQL["book_sums"], store=store)
    return {row["sku"]: int(row["n"]) for row in rows}


@asynccontextmanager
async def in_postgres(url: str) -> AsyncIterator[Place]:
    async with opened(url) as database:

        async def opens(**quantities: int) -> str:
            return await fill(database, **quantities)

        async def held(store: str) -> dict[str, int]:
            return await on_hand(database, store)

        async def booked(store: str) -> list[str]:
            rows = await database.fetch(SQL["booked"], store=store)
            return [row["movement"] for row in rows]

        yield Place(ConsumerStore(database), opens, held, booked)
