"""What a simulator needs from the chain's data file: accounts, stores, their codes and secrets.

`${NAME:-default}` in any string is filled from the environment, as everywhere else.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


class PlatformAccount(NamedTuple):
    platform: str
    account: str
    base_url: str
    currency: str
    credentials: Mapping[str, str]
    options: Mapping[str, Any]


class Store(NamedTuple):
    store_id: str
    name: str
    till_secret: str
    accounts: Mapping[str, str]


class Item(NamedTuple):
    sku: str
    name: str
    price_minor: int


class Chain(NamedTuple):
    name: str
    timezone: str
    platforms: tuple[PlatformAccount, ...]
    stores: tuple[Store, ...]
    items: tuple[Item, ...]

    def account(self, platform: str, account: str | None = None) -> PlatformAccount:
        """The named account of a platform, or its first one."""
        for candidate in self.platforms:
            if candidate.platform == platform and account in (None, candidate.account):
                return candidate
        raise LookupError(f"the chain file has no account {account or ''} on {platform}")

    def stores_on(self, account: str) -> tuple[Store, ...]:
        return tuple(store for store in self.stores if account in store.accounts)


def read_chain(path: Path, environ: Mapping[str, str]) -> Chain:
    document = filled(tomllib.loads(path.read_text(encoding="utf-8")), environ)
    return Chain(
        name=document["chain"]["name"],
        timezone=document["chain"]["timezone"],
        platforms=tuple(_platform(row) for row in document["platforms"]),
        stores=tuple(
            Store(row["store_id"], row["name"], row["till_secret"], row["accounts"])
            for row in document["stores"]
        ),
        items=tuple(Item(row["sku"], row["name"], row["price_minor"]) for row in document["items"]),
    )


def filled(value: Any, environ: Mapping[str, str]) -> Any:
    """The value with every `${NAME:-default}` replaced; a name without either is an error."""
    if isinstance(value, str):
        return _VARIABLE.sub(lambda found: _lookup(found, environ), value)
    if isinstance(value, dict):
        return {key: filled(inner, environ) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, environ) for inner in value]
    return value


def _lookup(found: re.Match[str], environ: Mapping[str, str]) -> str:
    name, default = found.group(1), found.group(2)
    replacement = environ.get(name) or default
    if replacement is None:
        raise LookupError(f"${{{name}}} is neither in the environment nor given a default")
    return replacement


def _platform(row: Mapping[str, Any]) -> PlatformAccount:
    return PlatformAccount(
        platform=row["platform"],
        account=row["account"],
        base_url=row["base_url"].rstrip("/"),
        currency=row["currency"],
        credentials=row.get("credentials", {}),
        options=row.get("options", {}),
    )
