"""Look-ups of one order: by whatever name it is called, and everything that happened to it."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from dispatcher.identity import bucket_of, order_id, store_bucket
from storage.chain import load_accounts
from storage.database import Database
from storage.orders import TicketStore
from storage.queries import load

SQL = load("timeline")


class Found(NamedTuple):
    """An order in a list."""

    order_id: UUID
    order_no: str
    channel: str
    account: str
    channel_order_id: str
    store_id: str
    daily_number: int | None
    placed_at: datetime
    state: str | None


class Span(NamedTuple):
    """From when to when; `before` and `beyond` are time and id of the order shown last."""

    since: datetime
    until: datetime
    before: datetime
    beyond: UUID


class Standing(NamedTuple):
    workflow: str | None
    version: int
    state: str
    revision: int
    owed: Sequence[UUID]


class Due(NamedTuple):
    name: str
    due: datetime
    epoch: int


class Request(NamedTuple):
    source: str
    key: str
    accepted_at: datetime
    published_at: datetime | None


class Happened(NamedTuple):
    """One stored event. `caused` holds its commands as CloudEvents."""

    event_id: UUID
    revision: int
    type: str
    fate: str
    source: str
    payload: Mapping[str, Any]
    caused: Mapping[str, Any] | None
    happened_at: datetime
    recorded_at: datetime

    @property
    def commands(self) -> Sequence[Mapping[str, Any]]:
        found: Sequence[Mapping[str, Any]] = (self.caused or {}).get("commands", ())
        return found


class Worked(NamedTuple):
    """A command in its consumer's inbox; `answer` is a CloudEvent type."""

    consumer: str
    command_id: UUID
    received_at: datetime
    answered_at: datetime | None
    answer: str | None


class Called(NamedTuple):
    """One attempt at a partner."""

    command_id: UUID
    queue: str
    destination: str
    attempt: int
    outcome: str
    status: int | None
    error: str | None
    started_at: datetime
    seconds: float


class Left(NamedTuple):
    """A letter in quarantine."""

    type: str | None
    queue: str
    reason: str
    recorded_at: datetime


async def named(database: Database, text: str) -> list[Found]:
    """Orders with this order id, order number, channel order id or alias, newest first."""
    accounts = await load_accounts(database)
    ids = {order_id(account.platform, text) for account in accounts}
    ids |= {row["order_id"] for row in await database.fetch(SQL["orders_of_alias"], alias=text)}
    ids |= await _of_own_names(database, text)
    return await _found(database, ids)


async def _of_own_names(database: Database, text: str) -> set[UUID]:
    try:
        return {UUID(text)}
    except ValueError:
        pass
    try:
        order = await TicketStore(database).of_number(text)
    except ValueError:
        return set()
    return {order[0]} if order else set()


async def _found(database: Database, ids: Iterable[UUID]) -> list[Found]:
    keys = sorted((bucket_of(identifier), identifier) for identifier in ids)
    if not keys:
        return []
    rows = await database.fetch(
        SQL["list_found"],
        buckets=[bucket for bucket, _ in keys],
        order_ids=[identifier for _, identifier in keys],
    )
    return [Found(*row) for row in rows]


async def of_store(database: Database, store_id: str, span: Span, limit: int) -> list[Found]:
    """A store's orders, newest first."""
    rows = await database.fetch(
        SQL["orders_of_store"], store_id=store_id, **span._asdict(), limit=limit
    )
    return [Found(*row) for row in rows]


class History:
    """What is stored about one order."""

    def __init__(self, database: Database, order: UUID) -> None:
        self._database = database
        self._key = {"bucket": bucket_of(order), "order_id": order}
        self._order = order

    async def standing(self) -> Standing | None:
        row = await self._database.fetchrow(SQL["read_instance"], **self._key)
        return Standing(*row) if row else None

    async def aliases(self) -> list[str]:
        rows = await self._database.fetch(SQL["list_aliases"], **self._key)
        return [row["alias"] for row in rows]

    async def deadlines(self) -> list[Due]:
        return [Due(*row) for row in await self._database.fetch(SQL["list_deadlines"], **self._key)]

    async def requests(self, scopes: Iterable[str]) -> list[Request]:
        """What entered about it: pulled, in the order's bucket; called in, in that of its scope."""
        buckets = {bucket_of(self._order), *map(store_bucket, scopes)}
        rows = await self._database.fetch(
            SQL["list_requests"],
            buckets=sorted(buckets),
            named=f'"subject":"{self._order}"'.encode(),
        )
        return [Request(*row) for row in rows]

    async def events(self) -> list[Happened]:
        return [
            Happened(*row) for row in await self._database.fetch(SQL["list_events"], **self._key)
        ]

    async def letters(self) -> list[Left]:
        rows = await self._database.fetch(SQL["list_letters_of_order"], **self._key)
        return [Left(*row) for row in rows]

    async def worked(self, commands: Sequence[tuple[int, str, UUID]]) -> list[Worked]:
        """What became of these (bucket, consumer, command id)."""
        if not commands:
            return []
        buckets, consumers, command_ids = zip(*sorted(commands), strict=True)
        rows = await self._database.fetch(
            SQL["list_commands"], buckets=buckets, consumers=consumers, command_ids=command_ids
        )
        return [Worked(*row) for row in rows]

    async def calls(self, command_ids: Sequence[UUID]) -> list[Called]:
        """Every attempt at these commands."""
        if not command_ids:
            return []
        rows = await self._database.fetch(
            SQL["list_calls"],
            buckets=[bucket_of(self._order)] * len(command_ids),
            command_ids=sorted(command_ids),
        )
        return [Called(*row) for row in rows]
