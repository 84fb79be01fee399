"""Where the puller stands at each platform account, and whether it may go on.

A cursor moves only from the generation its tick was made for: of any number of copies of a tick
one moves it, and the others find the generation gone.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from dispatcher.messages import PullOrders
from storage.database import Database, Statements
from storage.queries import load

SQL = load("pull_cursors")


class Cursor(NamedTuple):
    """Where one scope of an account is. `moved_by` is the tick that led to this generation: when it
    is delivered again, the tick after it may never have been published.
    """

    channel: str
    account: str
    scope: str
    cursor: dict[str, Any]
    generation: int
    moved_by: UUID | None
    interval_seconds: float
    paused: bool
    moved_at: datetime


async def seed(where: Statements, channel: str, account: str, scope: str, now: datetime) -> None:
    """Make sure that the cursor exists; a new one is empty and at generation 0."""
    await where.execute(SQL["seed_cursor"], channel=channel, account=account, scope=scope, now=now)


async def read(where: Statements, channel: str, account: str, scope: str) -> Cursor | None:
    row = await where.fetchrow(SQL["read_cursor"], channel=channel, account=account, scope=scope)
    return Cursor(*row) if row else None


async def move(
    where: Statements,
    channel: str,
    account: str,
    scope: str,
    *,
    from_generation: int,
    tick_id: UUID,
    cursor: Mapping[str, Any],
    interval_seconds: float,
    now: datetime,
) -> bool:
    """Move on by one generation; False when somebody else already did."""
    moved = await where.fetch(
        SQL["move_cursor"],
        channel=channel,
        account=account,
        scope=scope,
        from_generation=from_generation,
        tick_id=tick_id,
        cursor=cursor,
        interval_seconds=interval_seconds,
        now=now,
    )
    return bool(moved)


async def pause(where: Statements, channel: str, account: str) -> list[str]:
    """Stop looking; returns the scopes that this concerns. Ticks go on and look at nothing."""
    return await _set_paused(where, channel, account, paused=True)


async def resume(where: Statements, channel: str, account: str) -> list[str]:
    """Look again; returns the scopes that this concerns."""
    return await _set_paused(where, channel, account, paused=False)


async def all_cursors(where: Statements) -> list[Cursor]:
    return [Cursor(*row) for row in await where.fetch(SQL["list_cursors"])]


async def _set_paused(where: Statements, channel: str, account: str, *, paused: bool) -> list[str]:
    rows = await where.fetch(SQL["set_paused"], channel=channel, account=account, paused=paused)
    return sorted(row["scope"] for row in rows)


class CursorStore:
    """Implements consumers.pull.Cursors and producers.schedule.Cursors."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, channel: str, account: str, scope: str) -> Cursor | None:
        return await read(self._database, channel, account, scope)

    async def all(self) -> list[Cursor]:
        return await all_cursors(self._database)

    async def seed(self, channel: str, account: str, scope: str, now: datetime) -> None:
        await seed(self._database, channel, account, scope, now)

    async def move(
        self,
        tick: PullOrders,
        tick_id: UUID,
        cursor: Mapping[str, Any],
        interval_seconds: float,
        now: datetime,
    ) -> bool:
        return await move(
            self._database,
            tick.channel,
            tick.account,
            tick.scope,
            from_generation=tick.generation,
            tick_id=tick_id,
            cursor=cursor,
            interval_seconds=interval_seconds,
            now=now,
        )
