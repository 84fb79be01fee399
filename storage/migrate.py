"""Forward-only migrations: storage/migrations/NNNN_name.sql in dbmate's file format.

Each file is one transaction (unless it says `-- migrate:up transaction:false`), sent one command
per call, as Citus needs it. A file that was applied must never change: its checksum is kept.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from itertools import pairwise
from typing import NamedTuple

import asyncpg

from dispatcher.errors import Hopeless
from storage.database import Record, Statements
from storage.queries import OPAQUE, load, without_comments

SQL = load("schema_migrations")

_LOCK = int.from_bytes(sha256(b"system2 migrations").digest()[:8], "big", signed=True)
_LOCK_POLL_SECONDS = 0.2
_FILE = re.compile(r"(?P<version>\d{4,})_(?P<name>\w+)\.sql")
_UP = re.compile(r"^-- migrate:up(?P<options>[^\n]*)\n(?P<body>.*)", re.MULTILINE | re.DOTALL)
_DOWN = re.compile(r"^-- migrate:down\b", re.MULTILINE)
_PIECE = re.compile(OPAQUE + r"| ;", re.VERBOSE | re.DOTALL)
# A command that waits for a table makes everybody else wait behind it.
_SESSION = {"application_name": "system2-migrate", "lock_timeout": "5s"}


class MigrationError(Hopeless):
    """The schema cannot be brought to where this release needs it."""


class MigrationUnreadable(MigrationError):
    """A migration file is not in dbmate's format."""


class MigrationChanged(MigrationError):
    """A file was changed after it had been applied. Restore it, and write a new migration."""


class MigrationMissing(MigrationError):
    """The database knows a migration that this release has no file for."""


class MigrationOutOfOrder(MigrationError):
    """A new file has a lower number than one that is applied. Give it a higher one."""


class MigrationFailed(MigrationError):
    """PostgreSQL refused a command of a migration."""


class Migration(NamedTuple):
    version: str
    name: str
    checksum: str
    commands: tuple[str, ...]
    transaction: bool

    @property
    def label(self) -> str:
        return f"{self.version}_{self.name}"


class Standing(NamedTuple):
    """A migration, and since when it is applied (None: it is not)."""

    version: str
    name: str
    applied_at: datetime | None


def packaged() -> list[Migration]:
    """The migrations of this release, in order."""
    return read_all(files("storage") / "migrations")


def read_all(directory: Traversable) -> list[Migration]:
    """The migrations in a directory, in order. Raises MigrationUnreadable."""
    found = [file for file in directory.iterdir() if file.name.endswith(".sql")]
    migrations = sorted(read(file.name, file.read_text("utf-8")) for file in found)
    for one, next_one in pairwise(migrations):
        if one.version == next_one.version:
            raise MigrationUnreadable(f"{one.label} and {next_one.label} have the same number")
    return migrations


def read(filename: str, text: str) -> Migration:
    """One file. Raises MigrationUnreadable."""
    named, up = _FILE.fullmatch(filename), _UP.search(text)
    if named is None:
        raise MigrationUnreadable(f"{filename} is not named NNNN_name.sql")
    if up is None:
        raise MigrationUnreadable(f"{filename} has no line `-- migrate:up`")
    options = up["options"].split()
    if unknown := set(options) - {"transaction:true", "transaction:false"}:
        raise MigrationUnreadable(f"{filename}: nobody knows the option {sorted(unknown)[0]}")
    return Migration(
        version=named["version"],
        name=named["name"],
        checksum=sha256("\n".join(text.splitlines()).encode()).hexdigest(),
        commands=tuple(split(_DOWN.split(up["body"])[0])),
        transaction="transaction:false" not in options,
    )


def split(text: str) -> list[str]:
    """The commands in a text: cut at semicolons outside of quotes, dollar quotes and comments."""
    cuts = [piece.start() for piece in _PIECE.finditer(text) if piece[0] == ";"]
    edges = [0, *(cut + 1 for cut in cuts), len(text)]
    commands = [text[start:end].strip().removesuffix(";") for start, end in pairwise(edges)]
    return [command for command in commands if without_comments(command)]


async def migrate(url: str, migrations: Sequence[Migration] | None = None) -> list[Migration]:
    """Apply what is not applied yet; returns it. Several migrators may start at once."""
    migrations = packaged() if migrations is None else migrations
    async with _session(url) as connection:
        await _lock(connection)
        await connection.execute(SQL["create_table"].sql)
        todo = pending(migrations, await connection.fetch(SQL["list_applied"].sql))
        for migration in todo:
            await _apply(connection, migration)
    return todo


async def status(url: str, migrations: Sequence[Migration] | None = None) -> list[Standing]:
    """Every migration of this release. Raises MigrationError where `migrate` would refuse."""
    migrations = packaged() if migrations is None else migrations
    async with _session(url) as connection:
        known = await connection.fetchval(SQL["table_exists"].sql)
        applied = await connection.fetch(SQL["list_applied"].sql) if known else []
    pending(migrations, applied)
    since = {row["version"]: row["applied_at"] for row in applied}
    return [Standing(m.version, m.name, since.get(m.version)) for m in migrations]


async def at_head(where: Statements, migrations: Sequence[Migration] | None = None) -> bool:
    """Whether all migrations of this release are applied. Newer ones do not matter: during a
    rolling deploy the newer release migrates first.
    """
    migrations = packaged() if migrations is None else migrations
    if not await where.fetchval(SQL["table_exists"]):
        return False
    applied = {row["version"] for row in await where.fetch(SQL["list_applied"])}
    return applied >= {migration.version for migration in migrations}


def pending(migrations: Sequence[Migration], applied: Sequence[Record]) -> list[Migration]:
    """What is to be applied. Raises MigrationError if files and database contradict each other."""
    ours = {migration.version: migration for migration in migrations}
    head = max(ours, default="")
    for row in applied:
        label = f"{row['version']}_{row['name']}"
        migration = ours.get(row["version"])
        if migration is None and row["version"] < head:
            raise MigrationMissing(f"{label} is applied, but this release has no such file")
        if migration is not None and migration.checksum != row["checksum"]:
            raise MigrationChanged(
                f"{label} was changed after it had been applied on {row['applied_at']:%Y-%m-%d}; "
                "restore the file and write a new migration"
            )
    done = {row["version"] for row in applied}
    todo = [migration for migration in migrations if migration.version not in done]
    if todo and done and todo[0].version < max(done):
        raise MigrationOutOfOrder(
            f"{todo[0].label} comes after {max(done)}, which is applied: give it a higher number"
        )
    return todo


async def _lock(connection: "asyncpg.Connection[Record]") -> None:
    while True:
        if await connection.fetchval(SQL["try_lock"].sql, _LOCK):
            return
        await asyncio.sleep(_LOCK_POLL_SECONDS)


async def _apply(connection: "asyncpg.Connection[Record]", migration: Migration) -> None:
    if migration.transaction:
        async with connection.transaction():
            await _run(connection, migration)
    else:
        await _run(connection, migration)


async def _run(connection: "asyncpg.Connection[Record]", migration: Migration) -> None:
    for number, command in enumerate(migration.commands, start=1):
        try:
            await connection.execute(command)
        except asyncpg.PostgresError as error:
            raise MigrationFailed(f"{migration.label}, command {number}: {error}") from error
    await connection.execute(
        SQL["insert_applied"].sql, migration.version, migration.name, migration.checksum
    )


@asynccontextmanager
async def _session(url: str) -> AsyncIterator["asyncpg.Connection[Record]"]:
    """A session of its own: it holds the lock, and no statement is too slow for it."""
    connection = await asyncpg.connect(url, timeout=10, server_settings=_SESSION)
    try:
        yield connection
    finally:
        await connection.close()
