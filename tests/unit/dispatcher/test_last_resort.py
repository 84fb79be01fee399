"""What nobody could handle or route: found again, or kept as a letter, and never in the way."""

import asyncio
import struct
from typing import Any

import pytest

from dispatcher.envelope import encode
from dispatcher.last_resort import LastResort
from dispatcher.messages import OrderCancelled, StockLine
from dispatcher.rabbit.errors import Unroutable
from dispatcher.rabbit.raw import readable
from tests.builders import NOON, an_event
from tests.unit.consumers.fakes import DatabaseGone, Surroundings, until


class FakeMessage:
    """What the raw reader hands over."""

    def __init__(self, body: bytes, properties: bytes = b"\0\0") -> None:
        self.body, self.properties, self.acked = body, properties, False

    def readable(self) -> Any:
        return readable(self.properties)

    def ack(self) -> None:
        self.acked = True


class Queue:
    """A queue of last resort and its reader."""

    def __init__(self, reason: str) -> None:
        self.around = Surroundings(queues=(), name=reason)
        self.messages: asyncio.Queue[FakeMessage] = asyncio.Queue()
        anything: Any = self.messages
        self.reader = LastResort(self.around.desk, anything, reason, lambda: NOON)

    async def reads(self, *messages: FakeMessage) -> None:
        stopping = asyncio.Event()
        reading = asyncio.create_task(self.reader.run(stopping))
        for message in messages:
            self.messages.put_nowait(message)
        await until(lambda: all(m.acked for m in messages), "everything is acknowledged")
        stopping.set()
        await asyncio.wait_for(reading, 2)


FACT = an_event(OrderCancelled())


async def test_what_the_lattice_lost_is_found_again() -> None:
    lost = Queue("lost")
    await lost.reads(FakeMessage(b"[" + encode(FACT) + b"]"))
    assert lost.around.publisher.now() == [FACT]
    assert lost.around.letters.letters == []


async def test_what_is_lost_for_good_becomes_a_letter() -> None:
    lost = Queue("lost")
    line = {"specversion": "1.0", "type": StockLine.__name__, "id": "?"}
    await lost.reads(FakeMessage(b"?"), FakeMessage(b"[]"), FakeMessage(str(line).encode()))
    assert [letter.reason for letter in lost.around.letters.letters] == ["lost"] * 3


async def test_what_still_has_no_place_becomes_a_letter_and_stops_nobody() -> None:
    lost = Queue("lost")
    lost.around.publisher.failing = [Unroutable("test.commands", "gone", "no queue")]
    await lost.reads(FakeMessage(encode(FACT)), FakeMessage(encode(FACT)))
    assert len(lost.around.letters.letters) == 1
    assert lost.around.publisher.now() == [FACT]


async def test_what_was_undeliverable_is_kept_with_all_that_can_be_told() -> None:
    queue = Queue("undeliverable")
    await queue.reads(FakeMessage(encode(FACT)))
    (letter,) = queue.around.letters.letters
    assert (letter.type, letter.order_id, letter.event_id) == (FACT.type, FACT.subject, FACT.id)
    assert letter.body == encode(FACT)
    assert queue.around.publisher.sent == []


@pytest.mark.parametrize("body", [b"", b"\xff", b"[1]", b'{"a":' * 3000, b'{"type":"\\ud800"}'])
async def test_no_body_and_no_properties_are_too_broken_to_be_kept(body: bytes) -> None:
    queue, poison = Queue("undeliverable"), struct.pack(">HQ", 1 << 6, 1 << 62)
    await queue.reads(FakeMessage(body, poison))
    (letter,) = queue.around.letters.letters
    assert letter.body == body
    assert "timestamp cannot be decoded" in letter.error
    assert letter.headers["raw"] == poison.hex()


async def test_database_trouble_keeps_the_message_and_holds_no_other_queue() -> None:
    queue = Queue("undeliverable")
    queue.around.letters.failing = [DatabaseGone(), DatabaseGone()]
    await queue.reads(FakeMessage(encode(FACT)))
    assert len(queue.around.letters.letters) == 1
    assert queue.around.intake.holds == 0
