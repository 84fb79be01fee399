"""The connection that publishers share: up, down, or blocked by an alarm of the broker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from aiormq.abc import AbstractConnection
from aiormq.channel import Channel

from dispatcher.rabbit.connection import Link, Trouble, ended, heed_cancellation, is_blocked

BLOCKED_LOOK_SECONDS = 0.5


class Outlet:
    """Gives out channels while the broker takes messages; makes everyone wait while it does not."""

    def __init__(self, link: Link, confirm_seconds: float) -> None:
        self._link = link
        self._confirm_seconds = confirm_seconds
        self._open = asyncio.Event()
        self._connection: AbstractConnection | None = None
        self._channels: dict[str, Channel] = {}
        self._opening = asyncio.Lock()
        self._patience: set[asyncio.Timeout] = set()
        self.trouble: str | None = "not connected yet"

    @property
    def is_open(self) -> bool:
        return self._open.is_set()

    async def keep(self) -> None:
        """Keep the connection up until cancelled."""
        await self._link.keep(self._serve, self._troubled)

    async def channel(self, exchange: str) -> Channel:
        """A confirming channel, one per exchange: one that is missing disturbs no other."""
        while True:
            await self._open.wait()
            channel = self._channels.get(exchange)
            if channel is not None and not channel.is_closed:
                return channel
            async with self._opening:
                await self._open_channel(exchange)

    @asynccontextmanager
    async def patience(self) -> AsyncIterator[None]:
        """Limits the wait for a confirm; the clock stands still while the broker is blocked.

        A blocked broker has our message and will confirm it later: repeating it would only make
        more of them.
        """
        async with asyncio.timeout(self._confirm_seconds) as limit:
            self._patience.add(limit)
            try:
                yield
            finally:
                self._patience.discard(limit)

    async def _open_channel(self, exchange: str) -> None:
        present = self._channels.get(exchange)
        if self._connection is None or (present is not None and not present.is_closed):
            return
        opened = await self._connection.channel(
            publisher_confirms=True, on_return_raises=True, timeout=self._link.rpc_seconds
        )
        assert isinstance(opened, Channel)
        self._channels[exchange] = opened

    async def _serve(self, connection: AbstractConnection) -> None:
        heed_cancellation()
        self._connection, self._channels, self.trouble = connection, {}, None
        self._unblock()
        closing = connection.closing
        try:
            while (lost := await ended(closing, within=BLOCKED_LOOK_SECONDS)) is None:
                self._notice(is_blocked(connection))
            raise lost
        finally:
            self._open.clear()
            self._connection = None
            closing.cancel()

    def _notice(self, blocked: bool) -> None:
        if blocked and self.is_open:
            self._block()
        elif not blocked and not self.is_open:
            self._unblock()

    def _block(self) -> None:
        self._link.observer.level("amqp_blocked", 1, role=self._link.role)
        self.trouble = "the broker blocks publishers (memory or disk alarm)"
        self._open.clear()
        self._wait_until(None)

    def _unblock(self) -> None:
        self._link.observer.level("amqp_blocked", 0, role=self._link.role)
        self.trouble = None
        self._open.set()
        self._wait_until(asyncio.get_running_loop().time() + self._confirm_seconds)

    def _wait_until(self, when: float | None) -> None:
        for limit in self._patience:
            # One that is just expiring cannot be stopped any more.
            with suppress(RuntimeError):
                limit.reschedule(when)

    def _troubled(self, trouble: Trouble) -> None:
        self.trouble = str(trouble)
