"""The quarantine: messages that no retry can help, each once, for a person to look at."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from dispatcher.letters import Letter
from storage import storable
from storage.database import Database, Statements
from storage.queries import load

SQL = load("quarantine")


class Kept(NamedTuple):
    quarantine_id: UUID
    letter: Letter


class Heap(NamedTuple):
    """How many letters of one kind there are, and since when."""

    queue: str
    reason: str
    letters: int
    oldest: datetime


async def insert(where: Statements, letters: Sequence[Letter]) -> int:
    """Keep letters; says how many of them are new."""
    distinct = {(letter.bucket, letter.quarantine_id): letter for letter in letters}
    if not distinct:
        return 0
    keys = sorted(distinct)
    rows = [distinct[key] for key in keys]
    fresh = await where.fetch(
        SQL["insert_letters"],
        buckets=[bucket for bucket, _ in keys],
        quarantine_ids=[quarantine_id for _, quarantine_id in keys],
        reasons=[storable.text(letter.reason) for letter in rows],
        queues=[storable.text(letter.queue) for letter in rows],
        types=[letter.type and storable.text(letter.type) for letter in rows],
        order_ids=[letter.order_id for letter in rows],
        event_ids=[letter.event_id for letter in rows],
        bodies=[letter.body for letter in rows],
        headers=[storable.json(letter.headers) for letter in rows],
        errors=[storable.text(letter.error) for letter in rows],
        recorded_at=[letter.recorded_at for letter in rows],
    )
    return len(fresh)


async def heaps(where: Statements) -> list[Heap]:
    """What lies there, by queue and reason."""
    return [Heap(*row) for row in await where.fetch(SQL["count_letters"])]


async def newest(where: Statements, *, queue: str | None = None, limit: int = 100) -> list[Kept]:
    """The newest letters, of one queue or of all."""
    rows = await where.fetch(SQL["list_letters"], queue=queue, limit=limit)
    return [Kept(quarantine_id, Letter(*letter)) for quarantine_id, *letter in rows]


class LetterStore:
    """Implements dispatcher.letters.Letters, each call a transaction of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, letters: Sequence[Letter]) -> None:
        await insert(self._database, letters)
