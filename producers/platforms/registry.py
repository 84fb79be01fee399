"""Which adapter speaks which platform's language. A new platform is one line here and one file."""

import time
from collections.abc import Callable, Mapping
from typing import Protocol

import aiohttp

from dispatcher.platform import Catalogue, Platform
from producers.platforms.account import PlatformAccount
from producers.platforms.meituan import Meituan
from producers.platforms.opendelivery import OpenDelivery

__all__ = ["ADAPTERS", "Adapter", "PlatformAccount", "open_platform"]


class Adapter(Protocol):
    """What makes a platform of an account. Raises ValueError for settings it cannot use."""

    def __call__(
        self,
        account: PlatformAccount,
        catalogue: Catalogue,
        http: aiohttp.ClientSession,
        *,
        clock: Callable[[], float],
    ) -> Platform: ...


ADAPTERS: Mapping[str, Adapter] = {
    "meituan": Meituan,
    "opendelivery": OpenDelivery,
}


def open_platform(
    account: PlatformAccount,
    catalogue: Catalogue,
    http: aiohttp.ClientSession,
    *,
    clock: Callable[[], float] = time.time,
) -> Platform:
    """The account's platform, ready to call. Raises ValueError when it is not set up right."""
    adapter = ADAPTERS.get(account.platform)
    if adapter is None:
        known = ", ".join(sorted(ADAPTERS))
        raise ValueError(f"no adapter speaks {account.platform!r}; there are {known}")
    return adapter(account, catalogue, http, clock=clock)
