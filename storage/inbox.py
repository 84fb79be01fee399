"""Every command once per consumer: what was sent for it, and its one answer."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

from dispatcher.inbox import Answer, Arrival, Attempt, Key, Noted
from storage.database import Database, Transaction
from storage.queries import load
from storage.stock import Shelf

SQL = load("inbox")


class ConsumerWork:
    """One transaction of a consumer: its inbox and, for the stock, the shelf."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    def shelf(self, now: datetime) -> Shelf:
        return Shelf(self._tx, now)

    async def note(
        self, consumer: str, arrivals: Sequence[Arrival], now: datetime
    ) -> dict[UUID, Noted]:
        """Insert what is new, read back what is not. A second copy waits for the first."""
        arrivals = sorted(arrivals, key=lambda a: (a.bucket, a.command_id))
        new = await self._tx.fetch(
            SQL["insert_commands"],
            consumer=consumer,
            now=now,
            buckets=[a.bucket for a in arrivals],
            command_ids=[a.command_id for a in arrivals],
            order_ids=[a.order_id for a in arrivals],
            bodies=[a.body for a in arrivals],
        )
        fresh = {row["command_id"] for row in new}
        noted = {a.command_id: Noted(True, a.body, None) for a in arrivals if a.command_id in fresh}
        known = [a for a in arrivals if a.command_id not in fresh]
        return noted | await self.read(consumer, [(a.bucket, a.command_id) for a in known])

    async def read(self, consumer: str, keys: Sequence[Key]) -> dict[UUID, Noted]:
        """What is noted of these commands."""
        if not keys:
            return {}
        rows = await self._tx.fetch(
            SQL["read_commands"],
            consumer=consumer,
            buckets=[bucket for bucket, _ in keys],
            command_ids=[command_id for _, command_id in keys],
        )
        return {row["command_id"]: Noted(False, row["body"], row["answer"]) for row in rows}

    async def answer(
        self,
        consumer: str,
        answers: Mapping[Key, Answer],
        now: datetime,
    ) -> dict[UUID, Answer]:
        """Store these answers where there is none yet; returns the answers that stand."""
        keys = sorted(answers)
        rows = await self._tx.fetch(
            SQL["answer_commands"],
            consumer=consumer,
            now=now,
            buckets=[bucket for bucket, _ in keys],
            command_ids=[command_id for _, command_id in keys],
            answers=[answers[key] for key in keys],
        )
        stored = {row["command_id"] for row in rows}
        standing = {key[1]: answers[key] for key in keys if key[1] in stored}
        beaten = await self.read(consumer, [key for key in keys if key[1] not in stored])
        return standing | {
            i: noted.answer for i, noted in beaten.items() if noted.answer is not None
        }

    async def log(self, queue: str, attempts: Sequence[Attempt]) -> None:
        """Add to the log of outbound calls."""
        attempts = sorted(attempts, key=lambda a: (a.bucket, a.command_id, a.attempt_id))
        await self._tx.execute(
            SQL["insert_deliveries"],
            queue=queue,
            buckets=[a.bucket for a in attempts],
            command_ids=[a.command_id for a in attempts],
            attempt_ids=[a.attempt_id for a in attempts],
            order_ids=[a.order_id for a in attempts],
            destinations=[a.destination for a in attempts],
            attempts=[a.attempt for a in attempts],
            outcomes=[a.outcome for a in attempts],
            statuses=[a.status for a in attempts],
            errors=[a.error for a in attempts],
            started_at=[a.started_at for a in attempts],
            seconds=[a.seconds for a in attempts],
        )

    async def unclear(self, keys: Sequence[Key]) -> set[UUID]:
        """The commands with a logged call of which nobody can say whether it did anything."""
        rows = await self._tx.fetch(
            SQL["unclear_commands"],
            buckets=[bucket for bucket, _ in keys],
            command_ids=[command_id for _, command_id in keys],
        )
        return {row["command_id"] for row in rows}


class ConsumerStore:
    """Opens the transactions of consumers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[ConsumerWork]:
        async with self._database.transaction() as tx:
            yield ConsumerWork(tx)
