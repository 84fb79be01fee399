"""Where demo and benchmarks work: a database and a vhost of their own beside yours, emptied at each
start.

Both bear a mark. What has the name but not the mark is somebody's data and is left alone.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

import aiohttp
from yarl import URL

from dispatcher.ports import NullObserver
from ops.settings import BAD_CONFIGURATION
from ops.stack.local import Endpoints
from storage.database import Database
from storage.queries import Statement

MARK = "made by system2, which empties it at each start"
SESSION = {"idle_in_transaction_session_timeout": "0", "statement_timeout": "60s"}
TAKES_PART = {"configure": ".*", "write": ".*", "read": ".*"}


class NotOurs(Exception):
    """A database or vhost has our name, but not our mark: it is not ours to empty."""

    exit_code = BAD_CONFIGURATION


class AnotherOne(Exception):
    """Another one of these is running on this database server."""

    exit_code = 75


class NoManagement(Exception):
    """This makes a vhost of its own: set SYSTEM2_MANAGEMENT_URL to RabbitMQ's management."""

    exit_code = BAD_CONFIGURATION


class Place(NamedTuple):
    """Addresses of a database and vhost of one's own. Holds secrets."""

    name: str
    database_url: str
    amqp_url: str
    management_url: str

    def environment(self) -> dict[str, str]:
        return {
            "SYSTEM2_DATABASE_URL": self.database_url,
            "SYSTEM2_AMQP_URL": self.amqp_url,
            "SYSTEM2_MANAGEMENT_URL": self.management_url,
        }


@asynccontextmanager
async def own_place(endpoints: Endpoints, purpose: str = "demo") -> AsyncIterator[Place]:
    """An empty database and vhost, `<yours>_<purpose>`; nobody else can have them until this block
    ends. Raises AnotherOne, NotOurs or NoManagement.
    """
    if endpoints.management_url is None:
        raise NoManagement
    name = (unquote(urlsplit(endpoints.database_url).path.strip("/")) or "system2") + f"_{purpose}"
    place = Place(
        name,
        urlsplit(endpoints.database_url)._replace(path=f"/{quote(name, safe='')}").geturl(),
        urlsplit(endpoints.amqp_url)._replace(path=f"/{quote(name, safe='')}").geturl(),
        endpoints.management_url,
    )
    async with _turn(endpoints.database_url, purpose) as database:
        await _empty_database(database, name)
        await _empty_vhost(endpoints.management_url, name, endpoints.amqp_url)
        yield place


@asynccontextmanager
async def _turn(url: str, purpose: str) -> AsyncIterator[Database]:
    """The lock stands as long as its transaction does, and ends with the process."""
    async with (
        Database.open(url, observer=NullObserver(), name=purpose, settings=SESSION) as database,
        database.transaction() as tx,
    ):
        turn = int.from_bytes(sha256(f"system2 {purpose}".encode()).digest()[:7])
        lock = Statement("take_turn", f"SELECT pg_try_advisory_xact_lock({turn})", ())
        if not await tx.fetchval(lock):
            raise AnotherOne
        yield database


async def _empty_database(database: Database, name: str) -> None:
    mark = await _mark_of(database, name)
    if mark not in (None, MARK):
        raise NotOurs(f"the database {name} was not made by us, so it is left alone")
    quoted = '"' + name.replace('"', '""') + '"'
    if mark == MARK:
        await _do(database, f"DROP DATABASE {quoted} WITH (FORCE)")
    await _do(database, f"CREATE DATABASE {quoted}")
    await _do(database, f"COMMENT ON DATABASE {quoted} IS '{MARK}'")


async def _mark_of(database: Database, name: str) -> str | None:
    """What is remarked about the database: None if there is no such database."""
    look = "SELECT coalesce(shobj_description(d.oid, 'pg_database'), '') FROM pg_database d"
    statement = Statement("read_mark", f"{look} WHERE d.datname = $1", ("name",))
    mark: str | None = await database.fetchval(statement, name=name)
    return mark


async def _do(database: Database, command: str) -> None:
    await database.execute(Statement("make_place", command, ()))


async def _empty_vhost(management_url: str, name: str, amqp_url: str) -> None:
    user = unquote(urlsplit(amqp_url).username or "guest")
    vhost = f"vhosts/{quote(name, safe='')}"
    async with _management(management_url) as ask:
        there = await ask("GET", vhost)
        if there is not None and there.get("description") != MARK:
            raise NotOurs(f"the vhost {name} was not made by us, so it is left alone")
        if there is not None:
            await ask("DELETE", vhost)
        await ask("PUT", vhost, {"description": MARK})
        permissions = f"permissions/{quote(name, safe='')}/{quote(user, safe='')}"
        await ask("PUT", permissions, TAKES_PART)


Ask = Callable[..., Awaitable[dict[str, Any] | None]]


@asynccontextmanager
async def _management(url: str) -> AsyncIterator[Ask]:
    """RabbitMQ's management: `ask` gives its JSON, None for what is not there."""
    parts = urlsplit(url)
    base = parts._replace(netloc=parts.netloc.rpartition("@")[2], path="/api/").geturl()
    user, password = unquote(parts.username or "guest"), unquote(parts.password or "guest")
    headers = {"Authorization": aiohttp.encode_basic_auth(user, password)}
    timeout = aiohttp.ClientTimeout(total=60)

    async def ask(method: str, path: str, body: Any = None) -> dict[str, Any] | None:
        # Encoded already: the name of a vhost may hold a slash.
        address = URL(base + path, encoded=True)
        async with http.request(method, address, json=body) as answer:
            if answer.status == 404:
                return None
            answer.raise_for_status()
            return await answer.json() if answer.content_type == "application/json" else {}

    async with aiohttp.ClientSession(headers=headers, timeout=timeout, trust_env=False) as http:
        yield ask
