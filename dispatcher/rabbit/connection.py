"""One connection to the broker, kept up for as long as the process lives.

Not a robust connection: after a loss everything is closed, checked and opened anew, because what
the broker offers afterwards may not be what it offered before.
"""

import asyncio
import random
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any, Never

import aio_pika
from aiormq.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import (
    AMQPError,
    ChannelAccessRefused,
    ChannelLockedResource,
    ChannelNotFoundEntity,
    InvalidFrameError,
)

from dispatcher.ports import Observer
from dispatcher.rabbit.errors import BrokerLost, MarkerMissing, QueueMissing

Trouble = BrokerLost | MarkerMissing | QueueMissing


class Backoff:
    """Growing waits with full jitter, so that a fleet does not come back in step."""

    def __init__(
        self,
        first_seconds: float = 0.2,
        most_seconds: float = 5.0,
        rng: random.Random | None = None,
    ) -> None:
        self._first, self._most = first_seconds, most_seconds
        self._rng = rng or random.Random()
        self._failures = 0

    def reset(self) -> None:
        self._failures = 0

    def next(self) -> float:
        """Seconds to wait after one more failure."""
        ceiling = min(self._most, self._first * 2 ** min(self._failures, 30))
        self._failures += 1
        return self._rng.uniform(0, ceiling)


async def supervise(
    attempt: Callable[[], Awaitable[None]],
    troubled: Callable[[Trouble], None],
    observer: Observer,
    role: str,
    settled_seconds: float = 5.0,
) -> Never:
    """Make one attempt after another, each until trouble; says each trouble once, and waits."""
    backoff, said = Backoff(), ""
    while True:
        started = monotonic()
        trouble = await _trouble_of(attempt, observer, role)
        heed_cancellation()
        troubled(trouble)
        if str(trouble) != said:
            said = str(trouble)
            observer.note("the broker is in trouble", role=role, trouble=said)
        # A connection that held for a while was no failure of connecting.
        if monotonic() - started > settled_seconds:
            backoff.reset()
        await asyncio.sleep(backoff.next())
        observer.count("amqp_reconnects_total", role=role)


async def _trouble_of(
    attempt: Callable[[], Awaitable[None]], observer: Observer, role: str
) -> Trouble:
    try:
        await attempt()
    except (BrokerLost, MarkerMissing, QueueMissing) as trouble:
        return trouble
    except Exception as bug:
        # Whatever it is, standing still for ever would be worse than trying again.
        observer.note("unexpected trouble", role=role, traceback=traceback.format_exc())
        return as_trouble(bug)
    return BrokerLost("closed")


@dataclass(frozen=True)
class Link:
    """How to reach the broker, and as whom. `marker` is the queue that must be there (None: trust
    any broker); `role` labels the metrics and is what the management page shows.
    """

    url: str
    role: str
    observer: Observer
    marker: str | None
    heartbeat_seconds: int = 10
    rpc_seconds: float = 10.0

    async def keep(
        self,
        serve: Callable[[AbstractConnection], Awaitable[None]],
        troubled: Callable[[Trouble], None],
    ) -> Never:
        """Connect, check the marker, `serve` until trouble, tell `troubled`, wait, and again."""

        async def attempt() -> None:
            async with self._connected() as connection:
                await self._check_marker(connection)
                await serve(connection)

        await supervise(attempt, troubled, self.observer, self.role)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AbstractConnection]:
        with broker_trouble():
            async with asyncio.timeout(self.rpc_seconds):
                opened = await aio_pika.connect(
                    self.url,
                    heartbeat=self.heartbeat_seconds,
                    client_properties={"connection_name": self.role},
                )
        assert opened.transport is not None
        self.observer.level("amqp_connected", 1, role=self.role)
        try:
            yield opened.transport.connection
        finally:
            self.observer.level("amqp_connected", 0, role=self.role)
            with suppress(BrokerLost), broker_trouble():
                async with asyncio.timeout(self.rpc_seconds):
                    await opened.close()

    async def _check_marker(self, connection: AbstractConnection) -> None:
        if self.marker is None:
            return
        try:
            async with self.channel(connection) as channel:
                await self.consumers_of(channel, self.marker)
        except QueueMissing:
            raise MarkerMissing(self.marker) from None

    @asynccontextmanager
    async def channel(self, connection: AbstractConnection) -> AsyncIterator[AbstractChannel]:
        """A channel for a few questions."""
        with broker_trouble():
            channel = await connection.channel(timeout=self.rpc_seconds)
        try:
            yield channel
        finally:
            with suppress(BrokerLost), broker_trouble():
                async with asyncio.timeout(self.rpc_seconds):
                    await channel.close()

    async def consumers_of(self, channel: AbstractChannel, queue: str) -> int:
        """How many consumers the broker sees at this queue. Raises QueueMissing."""
        with broker_trouble():
            try:
                found = await channel.queue_declare(queue, passive=True, timeout=self.rpc_seconds)
            except (ChannelNotFoundEntity, ChannelLockedResource, ChannelAccessRefused) as refusal:
                raise QueueMissing(queue, str(refusal)) from None
        return found.consumer_count or 0


@contextmanager
def broker_trouble() -> Iterator[None]:
    """Turn all that the client library raises when the broker goes away into BrokerLost.

    aiormq answers with a CancelledError that nobody asked for, and with another error to a
    cancellation that somebody did ask for; here each gets what it means.
    """
    try:
        yield
    except (AMQPError, OSError, RuntimeError, TimeoutError, asyncio.CancelledError) as lost:
        if being_cancelled():
            raise asyncio.CancelledError from lost
        raise as_trouble(lost) from lost


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel and wait; cancel again while it takes long, for a cancellation can get lost."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=2)
    await asyncio.gather(*tasks, return_exceptions=True)


def heed_cancellation() -> None:
    """Until Python 3.12 `wait_for`, which the client library uses, may swallow a cancellation."""
    if being_cancelled():
        raise asyncio.CancelledError


def being_cancelled() -> bool:
    """Whether somebody asked this task to end."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def as_trouble(lost: BaseException) -> Trouble:
    """What a connection or channel died of, as one of ours."""
    if isinstance(lost, Trouble):
        return lost
    trouble = BrokerLost(_why(lost))
    trouble.__cause__ = lost
    return trouble


def _why(lost: BaseException) -> str:
    if isinstance(lost, asyncio.CancelledError):
        return "the channel was closed"
    return f"{type(lost).__name__}: {lost}" if str(lost) else type(lost).__name__


def is_blocked(connection: AbstractConnection) -> bool:
    """Whether the broker has stopped reading from publishers (a memory or disk alarm)."""
    # aiormq offers no question, only a wait; one step of that wait is the question.
    waiting = connection.ready().__await__()
    try:
        next(waiting)
    except StopIteration:
        return False
    waiting.close()
    return True


def is_unreadable(lost: BaseException | None) -> bool:
    """Whether a connection died of a frame that the library cannot decode."""
    return isinstance(lost, InvalidFrameError | ValueError | ArithmeticError)


async def ended(*closings: asyncio.Future[None], within: float) -> Trouble | None:
    """Why the first of these ended, or None if none did in so many seconds."""
    done, _ = await asyncio.wait(closings, timeout=within, return_when=asyncio.FIRST_COMPLETED)
    if not done:
        return None
    first = next(closing for closing in closings if closing in done)
    return as_trouble((None if first.cancelled() else first.exception()) or BrokerLost("closed"))
