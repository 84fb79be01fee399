"""Migrations on a real server: once each, in order, however many start."""

import asyncio
from collections.abc import Iterator
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from dispatcher.ports import NullObserver
from ops.stack import postgres
from storage.database import Database
from storage.migrate import (
    Migration,
    MigrationChanged,
    MigrationFailed,
    at_head,
    migrate,
    packaged,
    read,
    status,
)

FIRST = read("0001_first.sql", "-- migrate:up\nCREATE TABLE a (n integer);")
SECOND = read(
    "0002_second.sql", "-- migrate:up\nINSERT INTO a VALUES (1);\nINSERT INTO a VALUES (2);"
)
INDEX = read(
    "0003_index.sql",
    "-- migrate:up transaction:false\nCREATE INDEX CONCURRENTLY a_n ON a (n);",
)


@pytest.fixture
def empty_url(database_url: str) -> Iterator[str]:
    """A database of one test alone."""
    name = f"t_{uuid4().hex}"
    postgres.query(database_url, f"CREATE DATABASE {name}")
    yield urlsplit(database_url)._replace(path=f"/{name}").geturl()
    postgres.query(database_url, f"DROP DATABASE {name} WITH (FORCE)")


def rows(url: str, sql: str) -> int:
    async def fetch() -> int:
        connection = await asyncpg.connect(url)
        try:
            return int(await connection.fetchval(sql))
        finally:
            await connection.close()

    return asyncio.run(fetch())


def run(url: str, *migrations: Migration) -> list[str]:
    return [done.label for done in asyncio.run(migrate(url, migrations))]


def test_each_migration_is_applied_once(empty_url: str) -> None:
    assert run(empty_url, FIRST) == ["0001_first"]
    assert run(empty_url, FIRST, SECOND, INDEX) == ["0002_second", "0003_index"]
    assert run(empty_url, FIRST, SECOND, INDEX) == []
    assert rows(empty_url, "SELECT count(*) FROM a") == 2


def test_what_fails_halfway_leaves_nothing_and_says_where(empty_url: str) -> None:
    run(empty_url, FIRST)
    wrong = read(
        "0002_wrong.sql", "-- migrate:up\nINSERT INTO a VALUES (1);\nINSERT INTO b VALUES (1);"
    )
    with pytest.raises(MigrationFailed, match='0002_wrong, command 2: relation "b" does not exist'):
        run(empty_url, FIRST, wrong)
    assert rows(empty_url, "SELECT count(*) FROM a") == 0
    assert run(empty_url, FIRST, SECOND) == ["0002_second"]


def test_a_changed_file_stops_everything(empty_url: str) -> None:
    run(empty_url, FIRST)
    changed = read("0001_first.sql", "-- migrate:up\nCREATE TABLE a (n bigint);")
    with pytest.raises(MigrationChanged):
        run(empty_url, changed, SECOND)
    with pytest.raises(MigrationChanged):
        asyncio.run(status(empty_url, [changed]))
    assert rows(empty_url, "SELECT count(*) FROM schema_migrations") == 1


async def test_migrators_that_start_together_do_not_disturb_each_other(empty_url: str) -> None:
    every = [FIRST, SECOND, INDEX]
    done = await asyncio.gather(*(migrate(empty_url, every) for _ in range(4)))
    assert sorted(map(len, done)) == [0, 0, 0, 3]


async def test_a_release_is_ready_when_its_own_migrations_are_applied(empty_url: str) -> None:
    async with Database.open(empty_url, observer=NullObserver(), name="test") as database:
        assert not await at_head(database, [FIRST])
        await migrate(empty_url, [FIRST, SECOND])
        assert await at_head(database, [FIRST])
        assert await at_head(database, [FIRST, SECOND])
        assert not await at_head(database, [FIRST, SECOND, INDEX])


async def test_the_status_tells_since_when_each_is_applied(empty_url: str) -> None:
    before = await status(empty_url, [FIRST, SECOND])
    await migrate(empty_url, [FIRST])
    after = await status(empty_url, [FIRST, SECOND])
    assert [s.applied_at for s in before] == [None, None]
    assert [s.applied_at is not None for s in after] == [True, False]


async def test_our_own_schema_can_be_built(empty_url: str) -> None:
    assert await migrate(empty_url) == packaged()
