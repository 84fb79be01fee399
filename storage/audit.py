"""What a check reads: all of it in one snapshot, nothing of it ever written.

Offenders come counted and cut off; the instances with their events come in pages, so that memory
stays the same however many orders there are.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from dispatcher.engine import Instance
from dispatcher.envelope import Envelope, decode
from dispatcher.identity import BUCKETS
from dispatcher.messages import Command, Event
from dispatcher.workflow import Fate
from storage.chain import Account, load_accounts
from storage.database import SCANNING, Database, Record, Transaction
from storage.instances import armed_of, event_of
from storage.queries import load

SQL = load("audit")

MOST_OFFENDERS = 10
PAGE = 500
SESSION = {
    **SCANNING,
    "statement_timeout": "30min",
    "idle_in_transaction_session_timeout": "30min",
}
"""A check may take long; for the pool that it is run with."""

_NO_ID = UUID(int=0)


class Offender(NamedTuple):
    """What is wrong: whose id it is, and in what way."""

    subject: str
    why: str


class Offenders(NamedTuple):
    """The first of them, and how many there are."""

    first: tuple[Offender, ...]
    total: int


class Balance(NamedTuple):
    """What has become of the accepted orders of one channel."""

    channel: str
    accepted: int
    finished: int
    open: int
    quarantined: int


class Closed(NamedTuple):
    """A state that nothing leaves."""

    workflow: str
    version: int
    state: str


class Kept(NamedTuple):
    """One stored event: what became of it, and what it caused. `armed`: deadline -> epoch."""

    event: Envelope[Event]
    fate: Fate
    revision: int
    recorded_at: datetime
    commands: tuple[Envelope[Command], ...]
    armed: dict[str, int]


class Life(NamedTuple):
    """One instance as it is stored, and its events in order of revision."""

    instance: Instance
    early: int
    events: tuple[Kept, ...]


class Unread(NamedTuple):
    """An instance whose rows this release cannot read."""

    instance_id: UUID
    error: str


class Ticket(NamedTuple):
    """An order as its till should know it. `taken`: the till said that it has it; `kept`: that it
    is too late to cancel it.
    """

    order_id: UUID
    order_no: str
    store_id: str
    state: str
    taken: bool
    kept: bool


class Sent(NamedTuple):
    """A message to a till. `digest`: SHA-256 of the stored body, in hex."""

    command_id: UUID
    order_id: UUID
    consumer: str
    digest: str


class PlatformOrder(NamedTuple):
    """An order as its platform should know it. `told`: what the platform answered (event types);
    `sent`: the commands that were sent for it (CloudEvent types).
    """

    order_id: UUID
    channel_order_id: str
    account: str
    state: str
    told: frozenset[str]
    sent: frozenset[str]
    aliases: tuple[str, ...]


class Audit:
    """One snapshot of the database."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    @classmethod
    @asynccontextmanager
    async def open(cls, database: Database) -> AsyncIterator["Audit"]:
        async with database.transaction() as tx:
            await tx.execute(SQL["take_snapshot"])
            await tx.execute(SQL["read_whole_tables"])
            yield cls(tx)

    async def offenders(self, statement: str, **parameters: Any) -> Offenders:
        """What this statement of audit.sql finds."""
        rows = await self._tx.fetch(SQL[statement], most=MOST_OFFENDERS, **parameters)
        found = tuple(Offender(row["subject"], row["why"] or "") for row in rows)
        return Offenders(found, rows[0]["total"] if rows else 0)

    async def unsettled(self, closed: Sequence[Closed]) -> Offenders:
        """Instances that are over, yet expect something."""
        return await self.offenders("closed_unsettled", **_columns(closed))

    async def balance(self, closed: Sequence[Closed]) -> list[Balance]:
        rows = await self._tx.fetch(SQL["balance"], **_columns(closed))
        return [Balance(*row) for row in rows]

    async def lives(
        self, start: int = 0, most: int | None = None
    ) -> AsyncIterator[list[Life | Unread]]:
        """All instances in pages, beginning with bucket `start`; at most so many."""
        await self._tx.execute(SQL["look_up_keys"])
        left = most
        for first, end in ((start, BUCKETS), (0, start)):
            bucket, instance_id = first, _NO_ID
            while left is None or left > 0:
                size = PAGE if left is None else min(PAGE, left)
                rows = await self._tx.fetch(
                    SQL["page_instances"],
                    bucket=bucket,
                    instance_id=instance_id,
                    end=end,
                    limit=size,
                )
                if not rows:
                    break
                bucket, instance_id = rows[-1]["bucket"], rows[-1]["instance_id"]
                left = None if left is None else left - len(rows)
                yield await self._page(rows)
        await self._tx.execute(SQL["read_whole_tables"])

    async def _page(self, rows: Sequence[Record]) -> list[Life | Unread]:
        events: dict[UUID, list[Record]] = defaultdict(list)
        found = await self._tx.fetch(
            SQL["page_events"],
            buckets=[row["bucket"] for row in rows],
            instance_ids=[row["instance_id"] for row in rows],
        )
        for event in found:
            events[event["instance_id"]].append(event)
        return [_life(row, events[row["instance_id"]]) for row in rows]

    async def accounts(self) -> list[Account]:
        return await load_accounts(self._tx)

    async def tickets(self) -> list[Ticket]:
        return [Ticket(*row) for row in await self._tx.fetch(SQL["list_tickets"])]

    async def till_messages(self) -> list[Sent]:
        return [Sent(*row) for row in await self._tx.fetch(SQL["list_till_messages"])]

    async def platform_orders(self, accounts: Iterable[str]) -> list[PlatformOrder]:
        rows = await self._tx.fetch(SQL["list_platform_orders"], accounts=sorted(accounts))
        return [
            PlatformOrder(
                **{
                    **row,
                    "told": frozenset(row["told"]),
                    "sent": frozenset(row["sent"]),
                    "aliases": tuple(row["aliases"]),
                }
            )
            for row in rows
        ]

    async def quarantined_orders(self) -> frozenset[str]:
        """By our order id, or by the id that their platform gave them."""
        rows = await self._tx.fetch(SQL["list_quarantined_orders"])
        return frozenset(row["named"] for row in rows)


def _columns(closed: Sequence[Closed]) -> dict[str, list[Any]]:
    return {
        "workflows": [row.workflow for row in closed],
        "versions": [row.version for row in closed],
        "states": [row.state for row in closed],
    }


def _life(row: Record, events: Sequence[Record]) -> Life | Unread:
    try:
        instance = Instance(
            instance_id=row["instance_id"],
            workflow=row["workflow"],
            version=row["version"],
            state=row["state"],
            revision=row["revision"],
            owed=tuple(row["owed"]),
            armed={name: armed_of(pair) for name, pair in row["armed"].items()},
            context=row["context"],
        )
        return Life(instance, row["early"], tuple(map(_kept, events)))
    except Exception as error:
        # Whatever stands in the rows, its neighbours are checked.
        return Unread(row["instance_id"], f"{type(error).__name__}: {error}"[:300])


def _kept(row: Record) -> Kept:
    caused = row["caused"] or {}
    return Kept(
        event_of(row),
        Fate(row["fate"]),
        row["revision"],
        row["recorded_at"],
        tuple(map(_command, caused.get("commands", ()))),
        {name: epoch for name, epoch, _ in caused.get("deadlines", ())},
    )


def _command(event: dict[str, Any]) -> Envelope[Command]:
    command = decode(event)
    if not isinstance(command.data, Command):
        raise TypeError(f"{command.type} is no command")
    return command  # type: ignore[return-value]
