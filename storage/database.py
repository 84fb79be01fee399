"""The way to PostgreSQL: one pool per process, named statements, and what an error means.

The pool does not reset connections between uses (no session state is ever kept), so a transaction
costs its statements plus BEGIN and COMMIT and nothing else. Isolation is READ COMMITTED: every
statement sees what the one before it waited for.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any, Self, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from pydantic_core import from_json, to_json

from dispatcher.errors import Transient, Trouble
from dispatcher.ports import Observer
from storage.queries import DISTINCT_BUCKETS, Statement, without_pruning

Record: TypeAlias = asyncpg.Record
Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"
_RawConnection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_JSONB_VERSION = b"\x01"

_RETRY_CODES = frozenset({"40001", "40P01", "55P03"})
_HOLD_CODES = frozenset(
    # a server that only reads, a transaction that stood idle, no such database, a table or column
    # that a migration is still about to bring
    {"25006", "25P03", "3D000", "42P01", "42703"}
)
# connection, authorisation, resources, operator, system
_HOLD_CLASSES = frozenset({"08", "28", "53", "57", "58"})

# Whole tables are read here, not keys looked up.
SCANNING = {"enable_seqscan": "on", "enable_hashjoin": "on", "enable_mergejoin": "on"}

_SESSION = {
    # Every statement looks keys up. A plan made while the tables were empty scans them, is kept,
    # and gets slower with every order; an index and a loop over the keys is right at every size.
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    # Unnested arrays are estimated too high, and compiling a statement costs more than running it.
    "jit": "off",
    "lock_timeout": "5s",
    "statement_timeout": "30s",
    "idle_in_transaction_session_timeout": "60s",
}


class ConnectionLost(Transient):
    """The connection broke. What it was committing may be committed: look before you repeat."""


# A plan that was made before a migration; the driver has thrown it away by now.
_STALE = (asyncpg.InvalidCachedStatementError, asyncpg.OutdatedSchemaCacheError)
# TimeoutError is an OSError: of a connection, of an acquire, of a command.
_GONE = (OSError, ConnectionLost, asyncpg.TargetServerAttributeNotMatched)


def trouble(error: BaseException) -> Trouble:
    """What an error from a transaction means. Sorted by SQLSTATE: Citus names no constraints."""
    if isinstance(error, _STALE):
        return Trouble.RETRY
    if isinstance(error, _GONE):
        return Trouble.HOLD
    code = str(getattr(error, "sqlstate", None) or "")
    if code in _RETRY_CODES:
        return Trouble.RETRY
    if code in _HOLD_CODES or code[:2] in _HOLD_CLASSES:
        return Trouble.HOLD
    return Trouble.BUG


class Statements(ABC):
    """Where named statements run. Parameters are passed by name, all of them."""

    @abstractmethod
    async def fetch(self, statement: Statement, /, **parameters: Any) -> list[Record]: ...

    async def fetchrow(self, statement: Statement, /, **parameters: Any) -> Record | None:
        rows = await self.fetch(statement, **parameters)
        return rows[0] if rows else None

    async def fetchval(self, statement: Statement, /, **parameters: Any) -> Any:
        """The first column of the first row, None without rows."""
        rows = await self.fetch(statement, **parameters)
        return rows[0][0] if rows else None

    async def execute(self, statement: Statement, /, **parameters: Any) -> None:
        await self.fetch(statement, **parameters)


class Transaction(Statements):
    """Several statements that happen together or not at all."""

    def __init__(self, connection: Connection, observer: Observer, sharded: bool) -> None:
        self._connection = connection
        self._observer = observer
        self._sharded = sharded

    async def fetch(self, statement: Statement, /, **parameters: Any) -> list[Record]:
        if DISTINCT_BUCKETS in statement.parameters:
            if self._sharded:
                parameters[DISTINCT_BUCKETS] = sorted(set(parameters["buckets"]))
            else:
                statement = without_pruning(statement)
        values = arguments(statement, parameters)
        started = perf_counter()
        try:
            return await self._connection.fetch(statement.sql, *values)
        finally:
            seconds = perf_counter() - started
            self._observer.time("db_statement_seconds", seconds, statement=statement.name)


class Database(Statements):
    """A pool of connections. An element of a `jsonb[]` parameter is a dict, or bytes that are JSON
    already: a list would be taken for a further dimension of the array.
    """

    def __init__(
        self,
        pool: "asyncpg.Pool[asyncpg.Record]",
        observer: Observer,
        name: str,
        acquire: float,
        sharded: bool,
    ) -> None:
        self._pool = pool
        self._sharded = sharded
        self._observer = observer
        self._name = name
        self._acquire_seconds = acquire

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        observer: Observer,
        name: str,
        min_size: int = 1,
        max_size: int = 4,
        acquire_seconds: float = 10,
        connect_seconds: float = 5,
        command_seconds: float = 35,
        settings: Mapping[str, str] | None = None,
        sharded: bool = False,
    ) -> Self:
        """A pool that is open; `close` it. With `min_size=0` it opens without a server. `name` says
        in pg_stat_activity whose it is; `settings` adds to or overrides those of the session. On a
        `sharded` database statements name their buckets.
        """
        session = {"application_name": f"system2-{name}", **_SESSION, **(settings or {})}
        pool = await asyncpg.create_pool(
            url,
            min_size=min_size,
            max_size=max_size,
            timeout=connect_seconds,
            command_timeout=command_seconds,
            init=_speak_json,
            reset=_keep,
            server_settings=session,
        )
        return cls(pool, observer, name, acquire_seconds, sharded)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, *, observer: Observer, name: str, **how: Any
    ) -> AsyncIterator[Self]:
        """`connect`, and close in the end."""
        database = await cls.connect(url, observer=observer, name=name, **how)
        try:
            yield database
        finally:
            await database.close()

    async def close(self) -> None:
        await self._pool.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Commits when the block ends, rolls back when it raises."""
        async with self._connection() as connection, connection.transaction():
            yield Transaction(connection, self._observer, self._sharded)

    async def fetch(self, statement: Statement, /, **parameters: Any) -> list[Record]:
        """One statement by itself: it is its own transaction."""
        async with self._connection() as connection:
            return await Transaction(connection, self._observer, self._sharded).fetch(
                statement, **parameters
            )

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        if self._pool.is_closing():
            raise ConnectionLost("the pool is closed")
        started = perf_counter()
        async with self._pool.acquire(timeout=self._acquire_seconds) as connection:
            waited = perf_counter() - started
            self._observer.time("db_pool_wait_seconds", waited, pool=self._name)
            try:
                yield connection
            except asyncpg.DataError:
                raise
            except (asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
                if _drop(connection):
                    raise ConnectionLost(str(error)) from error
                raise


def arguments(statement: Statement, parameters: Mapping[str, Any]) -> list[Any]:
    """The values in the statement's order. Raises TypeError unless the names fit exactly."""
    if len(parameters) == len(statement.parameters):
        try:
            return [parameters[name] for name in statement.parameters]
        except KeyError:
            pass
    missing = sorted(set(statement.parameters) - parameters.keys())
    unknown = sorted(parameters.keys() - set(statement.parameters))
    raise TypeError(f"{statement.name} lacks {missing} and does not know {unknown}")


def _drop(connection: Connection) -> bool:
    """Whether the connection was lost. It leaves the pool in any case: a driver that is in doubt
    about its state would be in doubt again, and nothing resets it.
    """
    try:
        if connection.is_closed():
            return True
        connection.terminate()
    except asyncpg.InterfaceError:
        return True
    return False


async def _speak_json(connection: _RawConnection) -> None:
    # Binary: PostgreSQL sends a version byte ahead of jsonb, and arrays need no second quoting.
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=lambda value: _JSONB_VERSION + (value if type(value) is bytes else to_json(value)),
        decoder=lambda sent: from_json(sent[1:]),
    )
    await connection.set_type_codec(
        "json", schema="pg_catalog", format="binary", encoder=to_json, decoder=from_json
    )


async def _keep(connection: _RawConnection) -> None:
    """Nothing to reset: no statement of ours leaves anything behind in its session."""
