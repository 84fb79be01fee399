"""What the tests of the transport share: a topology on the broker, ways to look into a queue, and
a cable between us and the broker that can be cut, muted, or made to say things.
"""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from uuid import uuid4

import aio_pika
from aio_pika.abc import AbstractIncomingMessage
from pamqp import frame
from pamqp.base import Frame
from pamqp.commands import Basic
from yarl import URL

from dispatcher.ports import NullObserver
from dispatcher.rabbit.consume import Intake
from dispatcher.rabbit.declare import apply, set_marker
from dispatcher.rabbit.delivery import Delivery, Lane
from dispatcher.rabbit.publish import Outgoing, Publisher
from dispatcher.rabbit.topology import Topology
from dispatcher.rabbit.wire import CHANNEL, Wire

PATIENCE = 20.0


class Ledger(NullObserver):
    """An observer that remembers."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], float] = {}
        self.levels: dict[str, float] = {}
        self.sentences: list[str] = []

    def count(self, name: str, amount: float = 1, /, **labels: str) -> None:
        key = (name, labels.get("result", ""))
        self.counts[key] = self.counts.get(key, 0) + amount

    def level(self, name: str, value: float, /, **labels: str) -> None:
        self.levels[name] = value

    def note(self, sentence: str, /, **facts: object) -> None:
        self.sentences.append(f"{sentence}: {facts.get('trouble')}")


async def declared(url: str, **changes: int) -> Topology:
    """A small topology of its own, on the broker, marked as complete."""
    wanted: dict[str, int] = {"partitions": 1, "levels": 3, **changes}
    topology = Topology(f"t{uuid4().hex[:6]}", queues=("stock.deduct", "pos.push"), **wanted)
    async with await aio_pika.connect(url) as connection:
        await apply(connection, topology)
        await set_marker(connection, topology)
    return topology


@asynccontextmanager
async def publisher(
    url: str, topology: Topology, observer: NullObserver | None = None, **options: float
) -> AsyncIterator[Publisher]:
    made = Publisher(url, observer or NullObserver(), "tests", topology.marker, **options)  # type: ignore[arg-type]
    async with made as running:
        yield running


@asynccontextmanager
async def intake(
    url: str,
    topology: Topology,
    *targets: str,
    prefetch: int = 10,
    watch_seconds: float = 30,
    observer: NullObserver | None = None,
) -> AsyncIterator[Intake]:
    lanes = [Lane(topology.queue(target), prefetch) for target in targets]
    made = Intake(
        url,
        lanes,
        observer or NullObserver(),
        "tests",
        topology.marker,
        watch_seconds=watch_seconds,
    )
    async with made as running:
        yield running


def to(topology: Topology, target: str, *events: bytes) -> list[Outgoing]:
    return [Outgoing(*topology.route(target), event) for event in events]


async def one(intake: Intake, queue: str) -> Delivery:
    """The next message of a queue."""
    async with asyncio.timeout(PATIENCE):
        await intake.ready(queue)
    return intake.take(queue, most_messages=1)[0]


async def until(true: Callable[[], bool | Awaitable[bool]], what: str) -> None:
    """Wait for a condition."""
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            while True:
                said = true()
                if said if isinstance(said, bool) else await said:
                    return
                await asyncio.sleep(0.02)
    raise AssertionError(f"never came true: {what}")


async def messages_in(url: str, queue: str) -> list[AbstractIncomingMessage]:
    """Take everything that lies in a queue."""
    found = []
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        source = await channel.get_queue(queue)
        while (message := await source.get(fail=False)) is not None:
            await message.ack()
            found.append(message)
    return found


async def depth(url: str, queue: str) -> int:
    """How many messages are ready in a queue."""
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        return (
            await channel.declare_queue(queue, passive=True)
        ).declaration_result.message_count or 0


async def publish_poison(url: str, exchange: str, routing_key: str, body: bytes) -> None:
    """A message whose timestamp, 2**62, no Python client can decode; and its headers can."""
    wire = await Wire.open(url, "poisoner", 10)
    headers = struct.pack(">I", 9) + b"\x03ten" + b"I" + struct.pack(">i", 10)
    properties = struct.pack(">H", 1 << 13 | 1 << 6) + headers + struct.pack(">Q", 1 << 62)
    head = struct.pack(">HHQ", 60, 0, len(body)) + properties
    raw = frame.marshal(Basic.Publish(exchange=exchange, routing_key=routing_key), CHANNEL)
    for kind, payload in ((2, head), (3, body)):
        raw += struct.pack(">BHI", kind, CHANNEL, len(payload)) + payload + b"\xce"
    wire._writer.write(raw)
    await wire._writer.drain()
    wire.close()


class Cable:
    """Everything between us and the broker, in our hands."""

    def __init__(self, broker: URL) -> None:
        self._broker = broker
        self._writers: set[asyncio.StreamWriter] = set()
        self._to_us: set[asyncio.StreamWriter] = set()
        self.muted = False
        self.unplugged = False
        self.url = ""

    async def plug_in(self, us: asyncio.StreamReader, to_us: asyncio.StreamWriter) -> None:
        if self.unplugged:
            to_us.close()
            return
        broker, to_broker = await asyncio.open_connection(self._broker.host, self._broker.port)
        self._writers |= {to_us, to_broker}
        self._to_us.add(to_us)
        await asyncio.gather(self._carry(us, to_broker), self._carry(broker, to_us))

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65536):
                if not (self.muted and sink in self._to_us):
                    sink.write(data)
        sink.close()
        self._to_us.discard(sink)
        self._writers.discard(sink)

    def cut(self) -> None:
        """Every connection breaks; new ones can be made."""
        for writer in list(self._writers):
            writer.transport.abort()

    def say(self, method: Frame) -> None:
        """Let the broker say something to us that it did not say."""
        for writer in self._to_us:
            writer.write(frame.marshal(method, 0))


@asynccontextmanager
async def cable(url: str) -> AsyncIterator[Cable]:
    """A broker behind a cable: use its `url`."""
    made = Cable(URL(url))
    server = await asyncio.start_server(made.plug_in, "127.0.0.1", 0)
    made.url = str(URL(url).with_port(server.sockets[0].getsockname()[1]))
    try:
        yield made
    finally:
        server.close()
        made.cut()


def bodies(messages: Sequence[AbstractIncomingMessage]) -> list[bytes]:
    return [message.body for message in messages]
