"""As much of AMQP 0-9-1 as it takes to consume one queue without decoding message properties."""

import asyncio
import ssl
import struct
from typing import NamedTuple, TypeVar

from pamqp import commands, constants, frame, header, heartbeat
from pamqp.base import Frame
from yarl import URL

from dispatcher.rabbit.errors import BrokerLost, QueueMissing

CHANNEL = 1
NOT_FOUND = 404
PORTS = {"amqp": 5672, "amqps": 5671}

Method = TypeVar("Method", bound=Frame)


class Arrived(NamedTuple):
    """A delivery as it came: `properties` are bytes."""

    tag: int
    body: bytes
    properties: bytes
    exchange: str
    routing_key: str
    redelivered: bool


class Wire:
    """One connection, one channel, one consumer. Only one task may read."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heartbeat_seconds: int
    ) -> None:
        self._reader, self._writer = reader, writer
        self._heartbeat_seconds = heartbeat_seconds

    @classmethod
    async def open(cls, url: str, name: str, heartbeat_seconds: int) -> "Wire":
        """Connect, log in and open the channel."""
        where = URL(url)
        wire = cls(*await _socket(where), heartbeat_seconds)
        try:
            await wire._log_in(where, name)
            wire.send(commands.Channel.Open())
            await wire._expect(commands.Channel.OpenOk)
        except BaseException:
            wire.close()
            raise
        return wire

    async def consume(self, queue: str, prefetch: int) -> None:
        """Ask for messages. Raises QueueMissing."""
        self.send(commands.Basic.Qos(prefetch_count=prefetch))
        await self._expect(commands.Basic.QosOk)
        self.send(commands.Basic.Consume(queue=queue, consumer_tag="last-resort"))
        try:
            await self._expect(commands.Basic.ConsumeOk)
        except _ChannelClosed as closed:
            if closed.code == NOT_FOUND:
                raise QueueMissing(queue) from None
            raise

    async def next(self) -> Arrived:
        """The next message; heartbeats pass unseen. Raises BrokerLost."""
        while True:
            kind, payload = await self._frame()
            if kind == constants.FRAME_METHOD:
                method = _method(payload)
                if isinstance(method, commands.Basic.Deliver):
                    return await self._content(method)
                _refuse(method)

    def send(self, method: Frame, channel: int = CHANNEL) -> None:
        if self._writer.is_closing():
            raise BrokerLost("the connection is closed")
        self._writer.write(frame.marshal(method, channel))

    async def beat(self) -> None:
        """Say that we live, until cancelled."""
        while True:
            await asyncio.sleep(self._heartbeat_seconds / 2)
            self._writer.write(heartbeat.Heartbeat().marshal())

    def close(self) -> None:
        self._writer.close()

    async def _log_in(self, where: URL, name: str) -> None:
        self._writer.write(header.ProtocolHeader().marshal())
        await self._expect(commands.Connection.Start)
        self.send(
            commands.Connection.StartOk(
                client_properties={
                    "connection_name": name,
                    # Else the broker does not say that the queue was deleted.
                    "capabilities": {"consumer_cancel_notify": True},
                },
                response=f"\0{where.user or 'guest'}\0{where.password or 'guest'}",
            ),
            channel=0,
        )
        tune = await self._expect(commands.Connection.Tune)
        self.send(
            commands.Connection.TuneOk(tune.channel_max, tune.frame_max, self._heartbeat_seconds),
            channel=0,
        )
        vhost = where.path.removeprefix("/").replace("%2F", "/") or "/"
        self.send(commands.Connection.Open(virtual_host=vhost), channel=0)
        await self._expect(commands.Connection.OpenOk)

    async def _expect(self, kind: type[Method]) -> Method:
        while True:
            frame_kind, payload = await self._frame()
            if frame_kind == constants.FRAME_METHOD:
                method = _method(payload)
                if isinstance(method, kind):
                    return method
                _refuse(method)

    async def _content(self, delivery: commands.Basic.Deliver) -> Arrived:
        _, head = await self._frame()
        # class id, weight, body size; what follows are the properties.
        (size,) = struct.unpack_from(">xxxxQ", head)
        parts, received = [], 0
        while received < size:
            _, part = await self._frame()
            parts.append(part)
            received += len(part)
        return Arrived(
            delivery.delivery_tag or 0,
            b"".join(parts),
            head[12:],
            delivery.exchange or "",
            delivery.routing_key or "",
            bool(delivery.redelivered),
        )

    async def _frame(self) -> tuple[int, bytes]:
        """Kind and payload of the next frame that is no heartbeat. Raises BrokerLost."""
        try:
            while True:
                # A heartbeat comes twice in this time, if the broker lives.
                async with asyncio.timeout(self._heartbeat_seconds):
                    kind, _, size = struct.unpack(">BHI", await self._reader.readexactly(7))
                    payload = await self._reader.readexactly(size + 1)
                if kind != constants.FRAME_HEARTBEAT:
                    return kind, payload[:-1]
        except (OSError, EOFError, TimeoutError) as lost:
            raise BrokerLost(f"{type(lost).__name__}: {lost}") from lost


class _ChannelClosed(BrokerLost):
    """The broker closed the channel."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code} {text}")
        self.code = code


def _method(payload: bytes) -> Frame:
    (index,) = struct.unpack_from(">I", payload)
    method: Frame = commands.INDEX_MAPPING[index]()
    method.unmarshal(payload[4:])
    return method


def _refuse(method: Frame) -> None:
    """Whatever else the broker may say means the end."""
    if isinstance(method, commands.Channel.Close | commands.Connection.Close):
        raise _ChannelClosed(method.reply_code or 0, method.reply_text or "")
    raise BrokerLost(f"the broker said {method.name}")


async def _socket(where: URL) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    secure = _trusted(where) if where.scheme == "amqps" else None
    port = where.explicit_port or PORTS[where.scheme]
    try:
        return await asyncio.open_connection(where.host, port, ssl=secure)
    except OSError as error:
        raise BrokerLost(f"{type(error).__name__}: {error}") from error


def _trusted(where: URL) -> ssl.SSLContext:
    """The certificates named in the URL, by the same words as for the other connections."""
    asked = where.query
    context = ssl.create_default_context(cafile=asked.get("cafile"), capath=asked.get("capath"))
    if "certfile" in asked:
        context.load_cert_chain(asked["certfile"], asked.get("keyfile"))
    return context
