"""The inbox, as consumers and storage see it: every command once, with its one answer."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol
from uuid import UUID

Key = tuple[int, UUID]
"""(bucket, command id). The bucket is the store's for stock, the order's for everything else."""

Answer = dict[str, Any]
"""An answer's CloudEvent."""


class Arrival(NamedTuple):
    """A command to note; `body` is what will be sent for it, byte by byte, at every attempt."""

    bucket: int
    command_id: UUID
    order_id: UUID
    body: bytes | None = None


class Noted(NamedTuple):
    """How the inbox knows a command. `first_time`: nobody can have done anything for it yet."""

    first_time: bool
    body: bytes | None
    answer: Answer | None


class Attempt(NamedTuple):
    """One outbound call that ended."""

    bucket: int
    command_id: UUID
    attempt_id: UUID
    order_id: UUID
    destination: str
    attempt: int
    outcome: str
    status: int | None
    error: str | None
    started_at: datetime
    seconds: float


class Inbox(Protocol):
    """The inbox inside one transaction."""

    async def note(
        self, consumer: str, arrivals: Sequence[Arrival], now: datetime
    ) -> dict[UUID, Noted]:
        """Insert what is new, read back what is not. A second copy waits for the first."""

    async def answer(
        self, consumer: str, answers: Mapping[Key, Answer], now: datetime
    ) -> dict[UUID, Answer]:
        """Store these where there is none yet; returns the answers that stand."""

    async def log(self, queue: str, attempts: Sequence[Attempt]) -> None:
        """Add to the log of outbound calls."""

    async def unclear(self, keys: Sequence[Key]) -> set[UUID]:
        """The commands with a logged call of which nobody can say whether it did anything."""
