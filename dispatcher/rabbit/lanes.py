"""What waits to be published, by address: the events, who waits, and what fits together."""

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from dispatcher.rabbit.topology import Address

MOST_EVENTS = 200
# A message is taken and acknowledged as a whole: some fifty births, or over a hundred facts. More
# would save little, and make what comes behind wait longer.
MOST_BYTES = 64 * 1024


class Call:
    """One caller waiting until all of its events are confirmed."""

    def __init__(self, missing: int) -> None:
        self._missing = missing
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def is_over(self) -> bool:
        """Confirmed, failed, or the caller does not wait any more."""
        return self._over.done()

    def confirm_one(self) -> None:
        self._missing -= 1
        if not self._missing and not self._over.done():
            self._over.set_result(None)

    def fail(self, error: Exception) -> None:
        if not self._over.done():
            self._over.set_exception(error)

    async def wait(self) -> None:
        await self._over


class Pending(NamedTuple):
    event: bytes
    call: Call


class Lane:
    """What waits for one address, and how many senders are at work on it."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.pending: deque[Pending] = deque()
        self.senders = 0

    def take(self) -> list[Pending]:
        """As much as fits into one message, without what nobody waits for any more."""
        batch: list[Pending] = []
        size = 0
        while self.pending and len(batch) < MOST_EVENTS:
            item = self.pending[0]
            if not item.call.is_over:
                size += len(item.event) + 1
                if batch and size > MOST_BYTES:
                    break
                batch.append(item)
            self.pending.popleft()
        return batch


def body_of(batch: Iterable[Pending]) -> bytes:
    """A CloudEvents JSON batch, from events that are JSON already."""
    return b"[" + b",".join([item.event for item in batch]) + b"]"


def fail(batch: Iterable[Pending], error: Exception) -> None:
    """Tell everyone who waits for one of these."""
    for item in batch:
        item.call.fail(error)
