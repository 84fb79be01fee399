"""The shape of a chain file (examples/chain.toml): its tables, and what a value in them can be."""

from base64 import b64decode
from ipaddress import ip_network
from typing import Annotated, Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from storage import chain as stored

EVERY_STORE = "*"
# Standard Webhooks 1.0: a secret is whsec_ and 24 to 64 bytes in base64.
SECRET_PREFIX, SECRET_BYTES = "whsec_", range(24, 65)


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is no http:// or https:// address")
    if parts.username or parts.fragment:
        raise ValueError("must hold neither a password nor a #fragment")
    _ = parts.port  # raises ValueError for a port that is no number
    return value


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (LookupError, ValueError, OSError):
        raise ValueError(f"nobody knows the time zone {value!r}") from None
    return value


def _secret(value: str) -> str:
    """One secret, or two separated by a blank while one replaces the other."""
    for one in value.split(" ", maxsplit=1):
        try:
            key = b64decode(one.removeprefix(SECRET_PREFIX), validate=True)
        except ValueError:
            raise ValueError("is not base64 behind whsec_") from None
        if not one.startswith(SECRET_PREFIX) or len(key) not in SECRET_BYTES:
            raise ValueError("is not whsec_ and 24 to 64 bytes in base64")
    return value


def _network(value: str) -> str:
    return str(ip_network(value))


Text = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=200)]
Code = Annotated[str, StringConstraints(pattern=r"^[^\s\x00-\x1f\x7f]+$", max_length=100)]
Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=50)]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
Url = Annotated[str, AfterValidator(_url)]
Timezone = Annotated[str, AfterValidator(_timezone)]
Secret = Annotated[str, AfterValidator(_secret)]
Network = Annotated[str, AfterValidator(_network)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class ChainTable(_Table):
    name: Text
    timezone: Timezone


class PlatformTable(_Table):
    platform: Word
    account: Word
    base_url: Url
    currency: Currency
    credentials: dict[str, str] = Field(repr=False)
    options: dict[str, Any] = {}


class StoreTable(_Table):
    """`accounts` holds the store's code at each platform account."""

    store_id: Word
    name: Text
    timezone: Timezone | None = None
    till_url: Url
    till_secret: Secret = Field(repr=False)
    till_networks: list[Network] = []
    accounts: dict[str, Code] = {}


class ItemTable(_Table):
    sku: Code
    name: Text
    price_minor: Annotated[int, Field(ge=0, le=10**12)]


class StockTable(_Table):
    """Opening stock of one store, or of every store of the file (`*`)."""

    store: str
    sku: str
    quantity: Annotated[int, Field(ge=0, le=10**9)]


class ChainFile(_Table):
    chain: ChainTable
    platforms: list[PlatformTable] = []
    stores: list[StoreTable] = []
    items: list[ItemTable] = []
    stock: list[StockTable] = []

    def accounts(self) -> list[stored.Account]:
        return [
            stored.Account(p.account, p.platform, p.base_url, p.currency, p.credentials, p.options)
            for p in self.platforms
        ]

    def all_stores(self) -> list[stored.Store]:
        return [
            stored.Store(
                s.store_id,
                s.name,
                s.timezone or self.chain.timezone,
                s.till_url,
                s.till_secret,
                tuple(s.till_networks),
            )
            for s in self.stores
        ]

    def codes(self) -> list[stored.StoreCode]:
        return [
            stored.StoreCode(account, code, store.store_id)
            for store in self.stores
            for account, code in store.accounts.items()
        ]

    def opening_stock(self) -> list[stored.OpeningStock]:
        """One row for each store and SKU; a store's own line wins over the one for every store."""
        every = {
            (store.store_id, row.sku): row.quantity
            for row in self.stock
            for store in self.stores
            if row.store == EVERY_STORE
        }
        own = {(r.store, r.sku): r.quantity for r in self.stock if r.store != EVERY_STORE}
        return [stored.OpeningStock(*key, quantity) for key, quantity in (every | own).items()]
