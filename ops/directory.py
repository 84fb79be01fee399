"""The chain's stores and platform accounts, as processes look them up."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from time import monotonic
from typing import TypeVar

import aiohttp
from pydantic import SecretStr
from tenacity import AsyncRetrying, retry_if_exception, wait_random_exponential

from consumers.takeaway import UnknownAccount
from dispatcher.errors import Trouble
from dispatcher.platform import Catalogue, Platform, UnknownStore
from producers.platforms.registry import PlatformAccount, open_platform
from storage import chain
from storage.database import Database, trouble

T = TypeVar("T")


class StoreBook:
    """Stores by id, read when asked for and again when older than `fresh_seconds`."""

    def __init__(self, database: Database, fresh_seconds: float = 30) -> None:
        self._database = database
        self._fresh_seconds = fresh_seconds
        self._stores: Mapping[str, chain.Store] = {}
        self._stale_at = 0.0
        self._reading = asyncio.Lock()

    async def find(self, store_id: str) -> chain.Store:
        """Raises UnknownStore when no such store is loaded."""
        if monotonic() >= self._stale_at:
            async with self._reading:
                if monotonic() >= self._stale_at:
                    found = await chain.load_stores(self._database)
                    self._stores = {store.store_id: store for store in found}
                    self._stale_at = monotonic() + self._fresh_seconds
        try:
            return self._stores[store_id]
        except KeyError:
            raise UnknownStore(f"no store {store_id} is loaded: `system2 load FILE`") from None


class PlatformBook:
    """Implements consumers.takeaway.Platforms: one client per account, opened at start."""

    def __init__(self, platforms: Mapping[str, Platform]) -> None:
        self._platforms = platforms

    @classmethod
    @asynccontextmanager
    async def open(cls, database: Database) -> AsyncIterator["PlatformBook"]:
        catalogue, zones, accounts = await _when_there(partial(_chain_data, database))
        connector = aiohttp.TCPConnector(limit=128, limit_per_host=64)
        jar = aiohttp.DummyCookieJar()
        async with aiohttp.ClientSession(
            connector=connector, cookie_jar=jar, trust_env=False
        ) as http:
            clients = (_platform_account(account, catalogue, zones) for account in accounts)
            yield cls({a.account: open_platform(a, catalogue, http) for a in clients})

    def of(self, account: str) -> Platform:
        try:
            return self._platforms[account]
        except KeyError:
            raise UnknownAccount(
                f"no platform account {account} is loaded: `system2 load FILE`"
            ) from None

    def all(self) -> Sequence[Platform]:
        return list(self._platforms.values())


async def _chain_data(
    database: Database,
) -> tuple[chain.StoredCatalogue, dict[str, str], list[chain.Account]]:
    zones = {store.store_id: store.timezone for store in await chain.load_stores(database)}
    return await chain.load_catalogue(database), zones, await chain.load_accounts(database)


async def _when_there(read: Callable[[], Awaitable[T]]) -> T:
    """A process may start before its database: it waits, it does not fail."""
    async for attempt in AsyncRetrying(
        retry=retry_if_exception(lambda error: trouble(error) is not Trouble.BUG),
        wait=wait_random_exponential(multiplier=0.2, max=5),
    ):
        with attempt:
            return await read()
    raise AssertionError("tenacity ends by returning or raising")


def _platform_account(
    account: chain.Account, catalogue: Catalogue, zones: Mapping[str, str]
) -> PlatformAccount:
    stores = {
        code: catalogue.store_of(account.account, code) for code in catalogue.codes(account.account)
    }
    return PlatformAccount(
        platform=account.platform,
        account=account.account,
        base_url=account.base_url,
        currency=account.currency,
        credentials={name: SecretStr(secret) for name, secret in account.credentials.items()},
        options=account.options,
        timezones={code: zones[store] for code, store in stores.items() if store},
    )
