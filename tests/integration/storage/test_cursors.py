"""Pull cursors: of several copies of a tick one moves the cursor."""

import asyncio
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from uuid import UUID, uuid4

from dispatcher.ports import NullObserver
from storage import cursors
from storage.database import Database

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def opened(url: str) -> AbstractAsyncContextManager[Database]:
    return Database.open(url, observer=NullObserver(), name="test")


async def move(database: Database, account: str, from_generation: int, tick_id: UUID) -> bool:
    return await cursors.move(
        database,
        "meituan",
        account,
        "poi-1",
        from_generation=from_generation,
        tick_id=tick_id,
        cursor={"next": 7, "holes": [3]},
        interval_seconds=2.5,
        now=NOW,
    )


async def test_a_new_cursor_has_never_looked_and_is_seeded_once(migrated_url: str) -> None:
    account, tick_id = uuid4().hex, uuid4()
    async with opened(migrated_url) as database:
        assert await cursors.read(database, "meituan", account, "poi-1") is None
        await cursors.seed(database, "meituan", account, "poi-1", NOW)
        seeded = await cursors.read(database, "meituan", account, "poi-1")
        assert seeded and (seeded.cursor, seeded.generation, seeded.moved_by) == ({}, 0, None)
        assert await move(database, account, 0, tick_id)
        await cursors.seed(database, "meituan", account, "poi-1", NOW)
        moved = await cursors.read(database, "meituan", account, "poi-1")
    assert moved == seeded._replace(
        cursor={"next": 7, "holes": [3]}, generation=1, moved_by=tick_id, interval_seconds=2.5
    )


async def test_of_many_ticks_of_one_generation_one_moves_the_cursor(migrated_url: str) -> None:
    account = uuid4().hex
    async with opened(migrated_url) as database:
        await cursors.seed(database, "meituan", account, "poi-1", NOW)
        moved = await asyncio.gather(*(move(database, account, 0, uuid4()) for _ in range(8)))
        stands = await cursors.read(database, "meituan", account, "poi-1")
    assert sum(moved) == 1
    assert stands and stands.generation == 1


async def test_pausing_concerns_every_scope_of_the_account_and_no_other(migrated_url: str) -> None:
    account, other = uuid4().hex, uuid4().hex
    async with opened(migrated_url) as database:
        for where, scope in [(account, "poi-1"), (account, "poi-2"), (other, "poi-1")]:
            await cursors.seed(database, "meituan", where, scope, NOW)
        assert await cursors.pause(database, "meituan", account) == ["poi-1", "poi-2"]
        every = await cursors.all_cursors(database)
        paused = {(c.account, c.scope) for c in every if c.paused}
        assert paused == {(account, "poi-1"), (account, "poi-2")}
        assert await cursors.resume(database, "meituan", account) == ["poi-1", "poi-2"]
        assert not any(c.paused for c in await cursors.all_cursors(database))
