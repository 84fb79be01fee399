"""Loading the chain's own data: once or often, the same result; opening stock is booked once."""

from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dispatcher.identity import store_bucket
from dispatcher.platform import Catalogue
from dispatcher.ports import NullObserver
from ops.load import load, read
from storage import chain
from storage.database import Database
from storage.queries import read as statements

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EXAMPLE = (Path(__file__).parents[3] / "examples" / "chain.toml").read_text("utf-8")
SQL = statements(
    """-- name: test_levels
SELECT bucket, store_id, sku, on_hand FROM stock_levels ORDER BY store_id, sku;
-- name: test_ledger
SELECT store_id, sum(q.quantity::integer) AS quantity
FROM stock_ledger, jsonb_each_text(quantities) AS q(sku, quantity) GROUP BY store_id ORDER BY 1;
-- name: test_take
UPDATE stock_levels SET on_hand = on_hand - 1 WHERE store_id = 'S001';
""",
    "test",
)


def opened(url: str) -> AbstractAsyncContextManager[Database]:
    return Database.open(url, observer=NullObserver(), name="test")


async def test_the_example_is_loaded_and_read_back(migrated_url: str) -> None:
    file = read(EXAMPLE, {})
    async with opened(migrated_url) as database:
        await load(database, file, NOW)
        assert await chain.load_accounts(database) == file.accounts()
        assert await chain.load_stores(database) == file.all_stores()
        assert len(await chain.load_items(database)) == len(file.items)
        catalogue: Catalogue = await chain.load_catalogue(database)
    assert catalogue.store_of("mt-main", "poi-001") == "S001"
    assert len(catalogue.codes("od-main")) == 20


async def test_opening_stock_is_booked_once_whatever_the_file_says_later(migrated_url: str) -> None:
    async with opened(migrated_url) as database:
        await load(database, read(EXAMPLE, {}), NOW)
        await database.execute(SQL["test_take"])
        before = await database.fetch(SQL["test_levels"])
        more = read(EXAMPLE.replace("quantity = 100000", "quantity = 7"), {})
        again = await load(database, more, NOW)
        after = await database.fetch(SQL["test_levels"])
        booked = await database.fetch(SQL["test_ledger"])
    assert (again.opened, again.levels) == (0, len(after))
    assert after == before
    assert all(row["bucket"] == store_bucket(row["store_id"]) for row in after)
    assert {row["quantity"] for row in booked} == {1_200_000}


async def test_codes_can_change_places(migrated_url: str) -> None:
    swapped = (
        EXAMPLE.replace('"poi-001"', '"x"')
        .replace('"poi-002"', '"poi-001"')
        .replace('"x"', '"poi-002"')
    )
    async with opened(migrated_url) as database:
        await load(database, read(EXAMPLE, {}), NOW)
        await load(database, read(swapped, {}), NOW)
        catalogue = await chain.load_catalogue(database)
    assert catalogue.code_of("mt-main", "S001") == "poi-002"
    assert catalogue.store_of("mt-main", "poi-001") == "S002"
    assert len(catalogue.codes("mt-main")) == 20


async def test_what_fails_halfway_loads_nothing(migrated_url: str) -> None:
    async with opened(migrated_url) as database:
        before = await chain.load_items(database)
        with pytest.raises(Exception, match="null value"):
            async with database.transaction() as tx:
                await chain.save_items(tx, [chain.Item("NEW", "New", 1)])
                await chain.save_items(tx, [chain.Item("BAD", None, 1)])  # type: ignore[arg-type]
        assert await chain.load_items(database) == before
