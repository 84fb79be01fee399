"""The reader of last resort, for the quarantine: it hands over what no other client can read.

A message whose properties cannot be decoded kills the connection of the ordinary client each time
it is delivered. Here properties stay bytes; `readable` shows them as far as they can be read.
"""

import asyncio
import struct
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple, Self

from pamqp import decode
from pamqp.commands import Basic

from dispatcher.ports import Observer
from dispatcher.rabbit.connection import Trouble, end, supervise
from dispatcher.rabbit.errors import BrokerLost
from dispatcher.rabbit.wire import Arrived, Wire


class Readable(NamedTuple):
    """The properties up to the first one that cannot be decoded, and why it cannot."""

    properties: dict[str, object]
    problem: str | None


class RawMessage:
    """Let go of it once; after a loss of the connection that reaches nobody."""

    def __init__(self, wire: Wire, arrived: Arrived) -> None:
        self._wire, self._tag = wire, arrived.tag
        self.body = arrived.body
        self.properties = arrived.properties
        self.exchange = arrived.exchange
        self.routing_key = arrived.routing_key
        self.redelivered = arrived.redelivered

    def readable(self) -> Readable:
        return readable(self.properties)

    def ack(self) -> None:
        with suppress(BrokerLost):
            self._wire.send(Basic.Ack(self._tag))

    def give_back(self) -> None:
        with suppress(BrokerLost):
            self._wire.send(Basic.Reject(self._tag, requeue=True))


class RawReader:
    """Use as an async context manager; `get` waits for the next message of the queue.

    Reconnects by itself; what was in hand then comes again.
    """

    def __init__(
        self,
        url: str,
        queue: str,
        observer: Observer,
        name: str,
        *,
        prefetch: int = 20,
        heartbeat_seconds: int = 10,
    ) -> None:
        self._url, self._queue, self._prefetch = url, queue, prefetch
        self._observer, self._role = observer, f"{name}.raw"
        self._heartbeat_seconds = heartbeat_seconds
        self._messages: asyncio.Queue[RawMessage] = asyncio.Queue()
        self._keeper: asyncio.Task[None] | None = None
        self.trouble: str | None = "not connected yet"

    @property
    def connected(self) -> bool:
        return self.trouble is None

    async def __aenter__(self) -> Self:
        self._keeper = asyncio.create_task(
            supervise(self._read, self._troubled, self._observer, self._role)
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._keeper is not None:
            await end(self._keeper)

    async def get(self) -> RawMessage:
        """The next message, as soon as there is one."""
        return await self._messages.get()

    async def _read(self) -> None:
        wire = await Wire.open(self._url, self._role, self._heartbeat_seconds)
        beating = asyncio.create_task(wire.beat())
        try:
            await wire.consume(self._queue, self._prefetch)
            self._told(None)
            while True:
                self._messages.put_nowait(RawMessage(wire, await wire.next()))
        finally:
            beating.cancel()
            wire.close()
            # What waits here was never seen by anybody; the broker delivers it again.
            while not self._messages.empty():
                self._messages.get_nowait()

    def _troubled(self, trouble: Trouble) -> None:
        self._told(str(trouble))

    def _told(self, trouble: str | None) -> None:
        self.trouble = trouble
        self._observer.level("amqp_connected", trouble is None, role=self._role)


def readable(properties: bytes) -> Readable:
    """Decode message properties as far as possible; the headers come before the usual poison."""
    found: dict[str, object] = {}
    name = "flags"
    try:
        (flags,) = struct.unpack_from(">H", properties)
        rest = properties[2:]
        for name in Basic.Properties.__slots__:
            if flags & Basic.Properties.flags[name]:
                consumed, found[name] = decode.by_type(rest, Basic.Properties.amqp_type(name))
                rest = rest[consumed:]
    except (struct.error, ValueError, ArithmeticError, LookupError, OSError) as error:
        return Readable(found, f"{name} cannot be decoded: {error}")
    return Readable(found, None)
