"""The pool against a real server: what it costs, what it carries, and how it breaks."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import asyncpg
import pytest

from dispatcher.errors import Trouble
from dispatcher.ports import NullObserver
from storage.database import ConnectionLost, Database, trouble
from storage.queries import read

SQL = read(
    """
    -- name: ground_one
    SELECT 1 + :x::integer;
    -- name: ground_pid
    SELECT pg_backend_pid();
    -- name: ground_kill
    SELECT pg_terminate_backend(:pid::integer);
    -- name: ground_sleep
    SELECT pg_sleep(:seconds::float);
    -- name: ground_setting
    SELECT current_setting(:name);
    -- name: ground_echo
    SELECT :value::jsonb;
    -- name: ground_unnest
    SELECT id, value FROM unnest(:ids::uuid[], :values::jsonb[]) AS v(id, value);
    -- name: ground_lock
    SELECT n FROM rows_to_lock WHERE n = :n FOR UPDATE;
    -- name: ground_insert
    INSERT INTO rows_to_lock VALUES (:n);
    -- name: ground_shape
    SELECT n FROM shapes;
    -- name: ground_count
    SELECT count(*) FROM rows_to_lock;
    """.replace("\n    ", "\n"),
    "test",
)


# Of this database alone: others on the server count too.
FORGET = (
    "SELECT pg_stat_statements_reset(0, oid, 0) FROM pg_database WHERE datname = current_database()"
)
COUNTED = (
    "SELECT query, calls FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid"
    " WHERE datname = current_database() AND query NOT LIKE '%pg_stat_statements%'"
)


class Heard(NullObserver):
    def __init__(self) -> None:
        self.times: list[tuple[str, dict[str, str]]] = []

    def time(self, name: str, seconds: float, /, **labels: str) -> None:
        self.times.append((name, labels))


@asynccontextmanager
async def one_connection(url: str, **how: float) -> AsyncIterator[Database]:
    async with Database.open(
        url, observer=NullObserver(), name="test", max_size=1, **how
    ) as database:
        yield database


async def run(url: str, *commands: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url)
    try:
        return [row for command in commands for row in await connection.fetch(command)]
    finally:
        await connection.close()


async def test_a_transaction_costs_its_statements_and_begin_and_commit(database_url: str) -> None:
    await run(database_url, "CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    async with one_connection(database_url) as database:
        await database.fetch(SQL["ground_one"], x=1)
        await run(database_url, FORGET)
        for n in range(50):
            async with database.transaction() as tx:
                await tx.fetchval(SQL["ground_one"], x=n)
                await tx.fetchval(SQL["ground_one"], x=n)
    rows = await run(
        database_url,
        COUNTED,
    )
    counted = {row["query"].splitlines()[-1]: row["calls"] for row in rows}
    assert counted == {"BEGIN": 50, "COMMIT": 50, "SELECT 1 + $1::integer": 100}


async def test_a_single_statement_costs_nothing_but_itself(database_url: str) -> None:
    await run(database_url, "CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    async with one_connection(database_url) as database:
        await database.fetch(SQL["ground_one"], x=1)
        await run(database_url, FORGET)
        for n in range(50):
            assert await database.fetchval(SQL["ground_one"], x=n) == n + 1
    assert [row["calls"] for row in await run(database_url, COUNTED)] == [50]


async def test_every_statement_and_every_wait_is_timed(database_url: str) -> None:
    heard = Heard()
    async with Database.open(database_url, observer=heard, name="seats") as database:
        await database.fetch(SQL["ground_one"], x=1)
    assert heard.times == [
        ("db_pool_wait_seconds", {"pool": "seats"}),
        ("db_statement_seconds", {"statement": "ground_one"}),
    ]


@pytest.mark.parametrize("value", [{"a": [1, "面"]}, [1, [2]], "text", 1.5, True, None])
async def test_json_comes_back_as_it_went_out(database_url: str, value: object) -> None:
    async with one_connection(database_url) as database:
        assert await database.fetchval(SQL["ground_echo"], value=value) == value


async def test_a_batch_of_json_documents_is_one_parameter(database_url: str) -> None:
    values = [{"lines": [1, 2], "quote": 'a"\\,{}b'}, {}, None]
    ids = sorted(uuid4() for _ in values)
    async with one_connection(database_url) as database:
        rows = await database.fetch(SQL["ground_unnest"], ids=ids, values=values)
    assert [(row["id"], row["value"]) for row in rows] == list(zip(ids, values, strict=True))
    assert isinstance(rows[0]["id"], UUID)


async def test_the_session_says_whose_it_is_and_cannot_hang(database_url: str) -> None:
    async with one_connection(database_url) as database:
        names = (
            "application_name",
            "lock_timeout",
            "statement_timeout",
            "idle_in_transaction_session_timeout",
            "transaction_isolation",
        )
        shown = [await database.fetchval(SQL["ground_setting"], name=name) for name in names]
    assert shown == ["system2-test", "5s", "30s", "1min", "read committed"]


async def test_a_block_that_raises_leaves_nothing_behind(database_url: str) -> None:
    await run(database_url, "CREATE TABLE IF NOT EXISTS rows_to_lock (n integer PRIMARY KEY)")
    async with one_connection(database_url) as database:
        with pytest.raises(KeyError):
            async with database.transaction() as tx:
                await tx.execute(SQL["ground_insert"], n=random.randrange(10**6, 10**9))
                raise KeyError
        async with database.transaction() as tx:
            await tx.execute(SQL["ground_insert"], n=1)
        assert await database.fetchval(SQL["ground_count"]) == 1


@pytest.mark.parametrize("wait_seconds", [0, 0.1])
async def test_a_connection_lost_inside_a_transaction_holds(
    database_url: str, wait_seconds: float
) -> None:
    async with one_connection(database_url) as database, one_connection(database_url) as other:
        with pytest.raises(Exception) as failure:
            async with database.transaction() as tx:
                pid = await tx.fetchval(SQL["ground_pid"])
                await other.fetch(SQL["ground_kill"], pid=pid)
                await other.fetch(SQL["ground_sleep"], seconds=wait_seconds)
                await tx.fetchval(SQL["ground_pid"])
        assert trouble(failure.value) is Trouble.HOLD
        assert await database.fetchval(SQL["ground_one"], x=1) == 2


async def test_a_connection_lost_before_the_commit_holds(database_url: str) -> None:
    async with one_connection(database_url) as database, one_connection(database_url) as other:
        with pytest.raises(ConnectionLost) as failure:
            async with database.transaction() as tx:
                pid = await tx.fetchval(SQL["ground_pid"])
                await other.fetch(SQL["ground_kill"], pid=pid)
                await other.fetch(SQL["ground_sleep"], seconds=0.1)
        assert trouble(failure.value) is Trouble.HOLD


async def test_a_connection_lost_while_idle_holds_at_most_once(database_url: str) -> None:
    async with one_connection(database_url) as database, one_connection(database_url) as other:
        pid = await database.fetchval(SQL["ground_pid"])
        await other.fetch(SQL["ground_kill"], pid=pid)
        try:
            await database.fetchval(SQL["ground_pid"])
        except Exception as error:
            assert trouble(error) is Trouble.HOLD
        assert await database.fetchval(SQL["ground_pid"]) != pid


async def test_a_statement_that_takes_too_long_holds(database_url: str) -> None:
    async with one_connection(database_url, command_seconds=0.1) as database:
        with pytest.raises(TimeoutError) as failure:
            await database.fetch(SQL["ground_sleep"], seconds=30)
        assert trouble(failure.value) is Trouble.HOLD
        assert await database.fetchval(SQL["ground_one"], x=1) == 2


async def test_who_waits_too_long_for_a_connection_holds(database_url: str) -> None:
    async with (
        one_connection(database_url, acquire_seconds=0.1) as database,
        database.transaction(),
    ):
        with pytest.raises(TimeoutError) as failure:
            await database.fetch(SQL["ground_pid"])
    assert trouble(failure.value) is Trouble.HOLD


async def test_a_pool_that_is_closed_holds(database_url: str) -> None:
    async with one_connection(database_url) as database:
        pass
    with pytest.raises(ConnectionLost):
        await database.fetch(SQL["ground_pid"])


async def test_two_transactions_in_a_circle_end_in_a_retry(database_url: str) -> None:
    await run(
        database_url,
        "CREATE TABLE IF NOT EXISTS rows_to_lock (n integer PRIMARY KEY)",
        "INSERT INTO rows_to_lock VALUES (11), (12) ON CONFLICT DO NOTHING",
    )
    met = asyncio.Barrier(2)

    async def crossing(database: Database, first: int, second: int) -> Trouble | None:
        try:
            async with database.transaction() as tx:
                await tx.fetch(SQL["ground_lock"], n=first)
                await met.wait()
                await tx.fetch(SQL["ground_lock"], n=second)
        except asyncpg.PostgresError as error:
            return trouble(error)
        return None

    async with Database.open(database_url, observer=NullObserver(), name="test") as database:
        ends = await asyncio.gather(crossing(database, 11, 12), crossing(database, 12, 11))
    assert sorted(map(str, ends)) == ["None", "retry"]


async def test_a_transaction_that_meets_a_migration_is_tried_again(database_url: str) -> None:
    await run(database_url, "CREATE TABLE shapes (n integer)", "INSERT INTO shapes VALUES (1)")
    async with one_connection(database_url) as database:
        await database.fetch(SQL["ground_shape"])
        await run(database_url, "ALTER TABLE shapes ALTER n TYPE text")
        with pytest.raises(asyncpg.InvalidCachedStatementError) as failure:
            async with database.transaction() as tx:
                await tx.fetch(SQL["ground_shape"])
        assert trouble(failure.value) is Trouble.RETRY
        async with database.transaction() as tx:
            assert await tx.fetchval(SQL["ground_shape"]) == "1"


async def test_a_value_of_the_wrong_type_is_a_bug_and_costs_no_connection(
    database_url: str,
) -> None:
    async with one_connection(database_url) as database:
        pid = await database.fetchval(SQL["ground_pid"])
        with pytest.raises(Exception, match="invalid input") as failure:
            await database.fetch(SQL["ground_one"], x="three")
        assert trouble(failure.value) is Trouble.BUG
        assert await database.fetchval(SQL["ground_pid"]) == pid


async def test_two_statements_at_once_in_one_transaction_are_a_bug_and_cost_the_connection(
    database_url: str,
) -> None:
    async with one_connection(database_url) as database:
        pid = await database.fetchval(SQL["ground_pid"])
        with pytest.raises(asyncpg.InterfaceError) as failure:
            async with database.transaction() as tx:
                await asyncio.gather(
                    tx.fetch(SQL["ground_sleep"], seconds=0.05), tx.fetch(SQL["ground_pid"])
                )
        assert trouble(failure.value) is Trouble.BUG
        assert await database.fetchval(SQL["ground_pid"]) != pid


async def test_a_driver_in_doubt_about_its_state_gets_a_new_connection(database_url: str) -> None:
    async with one_connection(database_url) as database:
        pid = await database.fetchval(SQL["ground_pid"])
        with pytest.raises(asyncpg.InternalClientError):
            async with database.transaction():
                raise asyncpg.InternalClientError("cannot switch to state 12")
        assert await database.fetchval(SQL["ground_pid"]) != pid
