"""The ingress journal: everything that enters is a row here before its sender gets an answer.

First the row, then a confirmed publish, then `published`. What died in between is found by
`unpublished`; publishing it twice does no harm, because events have deterministic ids.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

from dispatcher.identity import BUCKETS
from dispatcher.journal import Accepted, Entry
from storage import storable
from storage.database import Database, Statements, Transaction
from storage.queries import load

SQL = load("accepted_requests")

ALL_BUCKETS = tuple(range(BUCKETS))

Prefix = tuple[int, str, str, str]


Publish = Callable[[Sequence[Entry]], Awaitable[Sequence[Entry]]]
"""Publishes these and returns those that the broker has confirmed."""

Key = tuple[int, str, str, str, str]
"""(bucket, source, scope, key, fingerprint): a repeat has all five equal."""


async def accept(where: Statements, entries: Sequence[Entry], now: datetime) -> list[Accepted]:
    """Write entries down and say how each stands. Copies within one call count once: the result
    has each key once, in the order of the entries.
    """
    distinct = {entry[:5]: entry for entry in entries}
    if not distinct:
        return []
    rows = [distinct[key] for key in sorted(distinct)]
    inserted = await where.fetch(
        SQL["insert_accepted"],
        **_columns([entry[:5] for entry in rows]),
        bodies=[entry.body for entry in rows],
        events=[_array(entry.events) for entry in rows],
        problems=[entry.problem and storable.text(entry.problem) for entry in rows],
        now=now,
    )
    fresh = {tuple(row) for row in inserted}
    stored = await _stored(where, list(distinct))
    return [_accepted(entry, key in fresh, stored[key[:4]]) for key, entry in distinct.items()]


async def published(where: Statements, entries: Sequence[Entry], now: datetime) -> None:
    """The broker has confirmed all events of these requests."""
    if entries:
        await where.execute(
            SQL["mark_published"],
            **_columns(sorted({entry[:5] for entry in entries})),
            now=now,
        )


async def unpublished(
    tx: Transaction, limit: int, buckets: Sequence[int] = ALL_BUCKETS
) -> list[Entry]:
    """The oldest requests that were accepted but never published. They stay locked until the
    transaction ends, and others skip them: publish, call `published`, commit. Bodies stay behind.
    """
    rows = await tx.fetch(SQL["lock_unpublished"], limit=limit, buckets=buckets)
    return [
        Entry(bucket, source, scope, key, fingerprint, b"", tuple(events))
        for bucket, source, scope, key, fingerprint, events in rows
    ]


async def _stored(where: Statements, keys: Sequence[Key]) -> dict[Prefix, dict[str, bool]]:
    """Under each key without its fingerprint: the stored fingerprints -> whether published."""
    prefixes = sorted({key[:4] for key in keys})
    rows = await where.fetch(
        SQL["read_accepted"],
        buckets=[bucket for bucket, _, _, _ in prefixes],
        sources=[source for _, source, _, _ in prefixes],
        scopes=[scope for _, _, scope, _ in prefixes],
        keys=[key for _, _, _, key in prefixes],
    )
    stored: dict[Prefix, dict[str, bool]] = defaultdict(dict)
    for bucket, source, scope, key, fingerprint, is_published in rows:
        stored[bucket, source, scope, key][fingerprint] = is_published
    return stored


def _accepted(entry: Entry, fresh: bool, stored: dict[str, bool]) -> Accepted:
    return Accepted(
        entry,
        to_publish=fresh or stored.get(entry.fingerprint) is False,
        first_time=fresh,
        contradicts=bool(stored.keys() - {entry.fingerprint}),
    )


def _columns(keys: Sequence[Key]) -> dict[str, list[Any]]:
    names = ("buckets", "sources", "scopes", "keys", "fingerprints")
    return {name: list(column) for name, column in zip(names, zip(*keys, strict=True), strict=True)}


def _array(events: Sequence[bytes]) -> str:
    """A bytea[] as PostgreSQL writes it."""
    return "{" + ",".join(f'"\\\\x{event.hex()}"' for event in events) + "}"


class JournalStore:
    """Implements dispatcher.journal.Journal, each call a transaction of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def accept(self, entries: Sequence[Entry], now: datetime) -> list[Accepted]:
        return await accept(self._database, entries, now)

    async def published(self, entries: Sequence[Entry], now: datetime) -> None:
        await published(self._database, entries, now)

    async def publish_oldest(
        self, most: int, publish: Publish, clock: Callable[[], datetime]
    ) -> int:
        """In one transaction: lock the oldest rows that nobody else has locked, `publish` them,
        and mark those that it returns. How many these were.
        """
        async with self._database.transaction() as tx:
            entries = await unpublished(tx, most)
            if not entries:
                return 0
            done = await publish(entries)
            await published(tx, done, clock())
            return len(done)
