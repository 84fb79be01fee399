"""Does a job at the start, at each reconnect of the broker, and when asked; never by the clock.

Only the state of our own connection is watched: with everything well, no server hears of it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from dispatcher.letters import traceback_of
from dispatcher.ports import Observer
from dispatcher.rabbit.connection import Backoff

LOOK_SECONDS = 0.25


class Broker(Protocol):
    @property
    def connected(self) -> bool: ...


class AtEachConnect:
    """A job that fails is tried again, with growing waits, until it is done once."""

    def __init__(
        self,
        broker: Broker,
        job: Callable[[], Awaitable[None]],
        observer: Observer,
        *,
        look_seconds: float = LOOK_SECONDS,
        backoff: Backoff | None = None,
    ) -> None:
        self._broker = broker
        self._job = job
        self._observer = observer
        self._look_seconds = look_seconds
        self._backoff = backoff or Backoff()
        self._due = False

    def ask(self) -> None:
        """Do it as soon as the broker is there, although it may never have been away."""
        self._due = True

    async def run(self, stopping: asyncio.Event) -> None:
        """Until told to stop; a job under way is given up then, and done at the next start."""
        watch = asyncio.create_task(self._watch())
        stop = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait({watch, stop}, return_when=asyncio.FIRST_COMPLETED)
            if watch.done():
                watch.result()
        finally:
            watch.cancel()
            stop.cancel()
            await asyncio.wait({watch, stop})

    async def _watch(self) -> None:
        was_connected = False
        while True:
            connected = self._broker.connected
            self._due = self._due or (connected and not was_connected)
            was_connected = connected
            wait_seconds = self._look_seconds
            if connected and self._due:
                self._due = False
                if await self._done():
                    self._backoff.reset()
                else:
                    self._due, wait_seconds = True, self._look_seconds + self._backoff.next()
            await asyncio.sleep(wait_seconds)

    async def _done(self) -> bool:
        try:
            await self._job()
        except Exception as error:
            self._observer.note("will be tried again", error=traceback_of(error))
            return False
        return True
