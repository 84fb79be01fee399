"""The chain's own data: platform accounts, stores, the codes platforms know them by, items, and
the stock that a store opens with. Small tables, read whole.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid5

from dispatcher.identity import NAMESPACE, store_bucket
from storage.database import Statements, Transaction
from storage.queries import load

SQL = load("chain")


@dataclass(frozen=True, slots=True)
class Account:
    """One account at one platform. Credentials do not print."""

    account: str
    platform: str
    base_url: str
    currency: str
    credentials: Mapping[str, str] = field(repr=False)
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Store:
    """`till_networks` are the private networks its till may be in. The secret does not print."""

    store_id: str
    name: str
    timezone: str
    till_url: str
    till_secret: str = field(repr=False)
    till_networks: tuple[str, ...]


class StoreCode(NamedTuple):
    account: str
    code: str
    store_id: str


class Item(NamedTuple):
    sku: str
    name: str
    price_minor: int


class OpeningStock(NamedTuple):
    store_id: str
    sku: str
    quantity: int

    @property
    def order_id(self) -> UUID:
        """What the ledger books it under: the same each time, so that it is booked once."""
        return uuid5(NAMESPACE, f"opening stock\0{self.store_id}\0{self.sku}")


class StoredCatalogue:
    """Implements dispatcher.platform.Catalogue on what was read once."""

    def __init__(self, codes: Iterable[StoreCode], items: Iterable[Item]) -> None:
        self._stores: dict[str, dict[str, str]] = defaultdict(dict)
        self._codes: dict[str, dict[str, str]] = defaultdict(dict)
        for account, code, store_id in codes:
            self._stores[account][code] = store_id
            self._codes[account][store_id] = code
        self._skus = frozenset(item.sku for item in items)

    def store_of(self, account: str, code: str) -> str | None:
        return self._stores.get(account, {}).get(code)

    def code_of(self, account: str, store_id: str) -> str | None:
        return self._codes.get(account, {}).get(store_id)

    def codes(self, account: str) -> tuple[str, ...]:
        return tuple(sorted(self._stores.get(account, ())))

    def sku_of(self, code: str) -> str | None:
        """Platforms are told our SKU as the item's code."""
        return code if code in self._skus else None


async def load_accounts(where: Statements) -> list[Account]:
    return [Account(*row) for row in await where.fetch(SQL["list_accounts"])]


async def load_stores(where: Statements) -> list[Store]:
    rows = await where.fetch(SQL["list_stores"])
    return [Store(**{**row, "till_networks": tuple(row["till_networks"])}) for row in rows]


async def load_items(where: Statements) -> list[Item]:
    return [Item(*row) for row in await where.fetch(SQL["list_items"])]


async def load_catalogue(where: Statements) -> StoredCatalogue:
    codes = [StoreCode(*row) for row in await where.fetch(SQL["list_codes"])]
    return StoredCatalogue(codes, await load_items(where))


async def save_accounts(tx: Transaction, accounts: Sequence[Account]) -> None:
    rows = sorted(accounts, key=lambda account: account.account)
    if rows:
        await tx.execute(
            SQL["upsert_accounts"],
            accounts=[row.account for row in rows],
            platforms=[row.platform for row in rows],
            base_urls=[row.base_url for row in rows],
            currencies=[row.currency for row in rows],
            credentials=[row.credentials for row in rows],
            options=[row.options for row in rows],
        )


async def save_stores(tx: Transaction, stores: Sequence[Store]) -> None:
    rows = sorted(stores, key=lambda store: store.store_id)
    if rows:
        await tx.execute(
            SQL["upsert_stores"],
            store_ids=[row.store_id for row in rows],
            names=[row.name for row in rows],
            timezones=[row.timezone for row in rows],
            till_urls=[row.till_url for row in rows],
            till_secrets=[row.till_secret for row in rows],
            till_networks=["{" + ",".join(row.till_networks) + "}" for row in rows],
        )


async def save_codes(tx: Transaction, codes: Sequence[StoreCode]) -> None:
    """These codes replace what their stores and they themselves stood for; others stay."""
    if codes:
        columns = {
            "accounts": [code.account for code in codes],
            "codes": [code.code for code in codes],
            "store_ids": [code.store_id for code in codes],
        }
        await tx.execute(SQL["free_codes"], **columns)
        await tx.execute(SQL["insert_codes"], **columns)


async def save_items(tx: Transaction, items: Sequence[Item]) -> None:
    rows = sorted(items)
    if rows:
        await tx.execute(
            SQL["upsert_items"],
            skus=[row.sku for row in rows],
            names=[row.name for row in rows],
            prices_minor=[row.price_minor for row in rows],
        )


async def open_stock(tx: Transaction, stock: Sequence[OpeningStock], now: datetime) -> int:
    """Book what stores open with; says how many levels are new. What was booked before stays as
    it is, whatever quantity it comes with now.
    """
    rows = sorted(stock, key=lambda row: (store_bucket(row.store_id), row.store_id, row.order_id))
    if not rows:
        return 0
    booked = await tx.fetch(
        SQL["receive_opening_stock"],
        buckets=[store_bucket(row.store_id) for row in rows],
        store_ids=[row.store_id for row in rows],
        order_ids=[row.order_id for row in rows],
        quantities=[{row.sku: row.quantity} for row in rows],
        now=now,
    )
    fresh = {row["order_id"] for row in booked}
    await _raise_levels(tx, [row for row in rows if row.order_id in fresh])
    return len(fresh)


async def _raise_levels(tx: Transaction, stock: Sequence[OpeningStock]) -> None:
    rows = sorted(stock, key=lambda row: (store_bucket(row.store_id), row.store_id, row.sku))
    if rows:
        await tx.execute(
            SQL["raise_levels"],
            buckets=[store_bucket(row.store_id) for row in rows],
            store_ids=[row.store_id for row in rows],
            skus=[row.sku for row in rows],
            quantities=[row.quantity for row in rows],
        )
