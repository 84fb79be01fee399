"""Confirmed means stored; everything else is published again or said to the caller."""

import asyncio
from functools import partial

import aio_pika
import pytest
from pamqp.commands import Connection

from dispatcher.rabbit.declare import drop_marker, set_marker
from dispatcher.rabbit.errors import BrokerUnavailable, PublisherClosed, Unroutable
from dispatcher.rabbit.publish import Outgoing, Publisher
from tests.integration.rabbit.broker import (
    Ledger,
    bodies,
    cable,
    declared,
    messages_in,
    publisher,
    to,
    until,
)


async def test_what_is_sent_is_persistent_and_carries_nothing_but_our_own_words(
    amqp_url: str,
) -> None:
    topology = await declared(amqp_url)
    async with publisher(amqp_url, topology) as out:
        await out.publish(to(topology, "pos.push", b'{"a":1}', b'{"a":2}'))
    (message,) = await messages_in(amqp_url, topology.queue("pos.push"))
    assert message.body == b'[{"a":1},{"a":2}]'
    assert message.content_type == "application/cloudevents-batch+json"
    assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    # The broker's own count comes with every message of a quorum queue.
    assert message.headers == {"events": 2, "x-delivery-count": 0}


async def test_what_piles_up_travels_together_within_limits(amqp_url: str) -> None:
    topology = await declared(amqp_url)
    big = b'"' + b"x" * 25_000 + b'"'
    async with publisher(amqp_url, topology) as out:
        await asyncio.gather(
            out.publish(to(topology, "facts.0", *[b"%d" % n for n in range(450)])),
            out.publish(to(topology, "facts.0", b"450")),
            out.publish(to(topology, "pos.push", big, big, big)),
        )
    facts = await messages_in(amqp_url, topology.queue("facts.0"))
    assert [message.headers["events"] for message in facts] == [200, 200, 51]
    assert b",".join(m.body[1:-1] for m in facts) == b",".join(b"%d" % n for n in range(451))
    pushed = await messages_in(amqp_url, topology.queue("pos.push"))
    assert [message.headers["events"] for message in pushed] == [2, 1]


async def test_an_unroutable_event_is_an_error_for_its_caller_only(amqp_url: str) -> None:
    topology = await declared(amqp_url)
    async with publisher(amqp_url, topology, Ledger()) as out:
        lost, missing, good = await asyncio.gather(
            out.publish([Outgoing(topology.events, "facts.99", b"1")]),
            out.publish([Outgoing("no.such.exchange", "facts.0", b"2")]),
            out.publish(to(topology, "facts.0", b"3")),
            return_exceptions=True,
        )
    assert isinstance(lost, Unroutable)
    assert (lost.exchange, lost.routing_key) == (topology.events, "facts.99")
    assert isinstance(missing, Unroutable)
    assert good is None
    assert bodies(await messages_in(amqp_url, topology.queue("facts.0"))) == [b"[3]"]


async def test_the_same_event_in_flight_twice_is_not_taken_for_confirmed(amqp_url: str) -> None:
    topology = await declared(amqp_url)
    event = b'{"id":"the same"}'
    async with publisher(amqp_url, topology, in_flight=2) as out:
        for _ in range(5):
            lost, good = await asyncio.gather(
                out.publish([Outgoing(topology.events, "facts.99", event)]),
                out.publish(to(topology, "facts.0", event)),
                return_exceptions=True,
            )
            assert isinstance(lost, Unroutable)
            assert good is None
    messages = await messages_in(amqp_url, topology.queue("facts.0"))
    assert len({message.message_id for message in messages}) == len(messages) == 5


async def test_a_confirm_that_does_not_come_means_publish_again(amqp_url: str) -> None:
    topology, seen = await declared(amqp_url), Ledger()
    async with (
        cable(amqp_url) as line,
        publisher(line.url, topology, seen, confirm_seconds=0.2) as out,
    ):
        await out.publish(to(topology, "facts.0", b"0"))
        line.muted = True
        publishing = asyncio.create_task(out.publish(to(topology, "facts.0", b"1")))
        await until(lambda: ("published_total", "unknown") in seen.counts, "a timeout")
        assert not publishing.done()
        line.muted = False
        await publishing
    arrived = bodies(await messages_in(amqp_url, topology.queue("facts.0")))
    assert set(arrived) == {b"[0]", b"[1]"}
    assert arrived.count(b"[1]") >= 2


async def test_a_lost_connection_loses_no_event(amqp_url: str) -> None:
    topology = await declared(amqp_url)
    async with cable(amqp_url) as line, publisher(line.url, topology) as out:
        published = 0

        async def publish_some(first: int) -> None:
            nonlocal published
            for n in range(first, first + 100):
                await out.publish(to(topology, "facts.0", b"%d" % n))
                published += 1

        def so_many_published(least: int) -> bool:
            return published >= least

        work = asyncio.gather(*(publish_some(first) for first in range(0, 1000, 100)))
        for cuts in range(1, 4):
            await until(partial(so_many_published, 200 * cuts), "some published")
            line.cut()
        await work
    arrived = b",".join(
        m.body[1:-1] for m in await messages_in(amqp_url, topology.queue("facts.0"))
    )
    assert set(arrived.split(b",")) == {b"%d" % n for n in range(1000)}


async def test_a_nack_means_publish_again(amqp_url: str) -> None:
    topology, seen = await declared(amqp_url), Ledger()
    async with await aio_pika.connect(amqp_url) as connection, connection.channel() as channel:
        full = {"x-max-length": 1, "x-overflow": "reject-publish"}
        queue = await channel.declare_queue("full", durable=True, arguments=full)  # type: ignore[arg-type]
        await queue.bind(topology.events, "full")
        async with publisher(amqp_url, topology, seen) as out:
            await out.publish([Outgoing(topology.events, "full", b"1")])
            publishing = asyncio.create_task(out.publish([Outgoing(topology.events, "full", b"2")]))
            await until(lambda: ("published_total", "nacked") in seen.counts, "a nack")
            assert not publishing.done()
            await queue.purge()
            await publishing
        assert bodies(await messages_in(amqp_url, "full")) == [b"[2]"]


async def test_who_cannot_wait_for_the_broker_is_told_so(amqp_url: str) -> None:
    topology = await declared(amqp_url)
    async with cable(amqp_url) as line, publisher(line.url, topology) as out:
        await out.publish(to(topology, "facts.0", b"0"))
        line.unplugged = True
        line.cut()
        with pytest.raises(BrokerUnavailable):
            await out.publish(to(topology, "facts.0", b"1"), give_up_after=0.2)
        await until(lambda: not out.connected, "the loss is noticed")
        line.unplugged = False
        await out.publish(to(topology, "facts.0", b"2"))
    # What nobody waits for any more is not sent once the broker is back.
    assert b"[1]" not in bodies(await messages_in(amqp_url, topology.queue("facts.0")))


async def test_a_blocked_broker_is_waited_for_without_repeating(amqp_url: str) -> None:
    topology, seen = await declared(amqp_url), Ledger()
    async with (
        cable(amqp_url) as line,
        publisher(line.url, topology, seen, confirm_seconds=1) as out,
    ):
        await out.publish(to(topology, "facts.0", b"0"))
        line.say(Connection.Blocked("low on memory"))
        line.muted = True
        publishing = asyncio.create_task(out.publish(to(topology, "facts.0", b"1")))
        await until(lambda: seen.levels["amqp_blocked"] == 1, "the alarm is noticed")
        assert not out.connected
        assert out.trouble is not None and "alarm" in out.trouble
        with pytest.raises(BrokerUnavailable, match="alarm"):
            await out.publish(to(topology, "facts.0", b"2"), give_up_after=1.2)
        assert ("published_total", "unknown") not in seen.counts
        line.muted = False
        line.say(Connection.Unblocked())
        await until(lambda: seen.levels["amqp_blocked"] == 0, "the end of the alarm")
        await publishing


async def test_a_broker_without_its_marker_gets_nothing(amqp_url: str) -> None:
    topology = await declared(amqp_url)
    async with await aio_pika.connect(amqp_url) as connection:
        await drop_marker(connection, topology)
        async with publisher(amqp_url, topology) as out:
            with pytest.raises(BrokerUnavailable, match="run `system2 recover`"):
                await out.publish(to(topology, "facts.0", b"1"), give_up_after=0.5)
            await set_marker(connection, topology)
            await out.publish(to(topology, "facts.0", b"2"))
    assert bodies(await messages_in(amqp_url, topology.queue("facts.0"))) == [b"[2]"]


async def test_recovery_publishes_to_a_broker_that_has_no_marker_yet(amqp_url: str) -> None:
    topology = await declared(amqp_url)
    async with await aio_pika.connect(amqp_url) as connection:
        await drop_marker(connection, topology)
    async with Publisher(amqp_url, Ledger(), "recover", None) as out:
        await out.publish(to(topology, "facts.0", b"1"), give_up_after=5)


async def test_stopping_tells_those_who_still_wait(amqp_url: str) -> None:
    topology = await declared(amqp_url)
    async with cable(amqp_url) as line:
        line.unplugged = True
        async with publisher(line.url, topology) as out:
            waiting = asyncio.create_task(out.publish(to(topology, "facts.0", b"1")))
            await asyncio.sleep(0)
        with pytest.raises(PublisherClosed):
            await waiting
        with pytest.raises(PublisherClosed):
            await out.publish(to(topology, "facts.0", b"1"))
