"""A message that no client can decode: it ends in quarantine alone, and can be read there."""

import asyncio

import aio_pika

from dispatcher.ports import NullObserver
from dispatcher.rabbit.publish import Outgoing
from dispatcher.rabbit.raw import RawReader
from tests.integration.rabbit.broker import (
    PATIENCE,
    cable,
    declared,
    depth,
    intake,
    publish_poison,
    publisher,
    to,
    until,
)


async def test_poison_ends_in_quarantine_and_takes_no_healthy_message_with_it(
    amqp_url: str,
) -> None:
    topology = await declared(amqp_url, delivery_limit=2, solo_delivery_limit=1)
    targets = ("facts.0", "pos.push", "facts.0.solo", "pos.push.solo")
    seen: set[tuple[str, bytes]] = set()
    async with publisher(amqp_url, topology) as out:
        for n in range(10):
            if n == 5:
                await publish_poison(amqp_url, topology.events, "facts.0", b"poison")
            await out.publish(to(topology, "facts.0", b"%d" % n))
            await out.publish(to(topology, "pos.push", b"%d" % n))
        async with intake(amqp_url, topology, *targets) as into:

            async def work() -> None:
                while True:
                    await into.ready()
                    for target in targets:
                        for delivery in into.take(topology.queue(target)):
                            seen.add((target, delivery.body))
                            await delivery.ack()

            working = asyncio.create_task(work())

            async def quarantined() -> bool:
                return await depth(amqp_url, topology.quarantine) == 1

            await until(quarantined, "in quarantine")
            await until(lambda: len(seen) == 20, "all healthy messages handled")
            working.cancel()
    # Each where it was sent to: none was dead-lettered for a neighbour's fault.
    assert {target for target, _ in seen} == {"facts.0", "pos.push"}


async def test_the_reader_of_last_resort_reads_poison(amqp_url: str) -> None:
    topology = await declared(amqp_url)
    await publish_poison(amqp_url, topology.dead, topology.quarantine, b"poison")
    async with RawReader(amqp_url, topology.quarantine, NullObserver(), "tests") as reader:
        async with asyncio.timeout(PATIENCE):
            message = await reader.get()
        assert (message.body, message.routing_key) == (b"poison", topology.quarantine)
        found = message.readable()
        assert found.properties == {"headers": {"ten": 10}}
        assert found.problem is not None and found.problem.startswith("timestamp cannot be decoded")
        message.ack()

        async def empty() -> bool:
            return await depth(amqp_url, topology.quarantine) == 0

        await until(empty, "acknowledged")
    assert await depth(amqp_url, topology.quarantine) == 0


async def test_the_reader_of_last_resort_comes_back_after_a_loss(amqp_url: str) -> None:
    topology = await declared(amqp_url)
    async with (
        cable(amqp_url) as line,
        publisher(amqp_url, topology) as out,
        RawReader(line.url, topology.quarantine, NullObserver(), "tests") as reader,
    ):
        body = b'"' + b"x" * 200_000 + b'"'
        await out.publish([Outgoing(topology.dead, topology.quarantine, body)])
        async with asyncio.timeout(PATIENCE):
            assert (await reader.get()).body == b"[" + body + b"]"
            line.cut()
            again = await reader.get()
        assert again.redelivered
        assert again.readable().problem is None
        again.ack()


async def test_the_reader_of_last_resort_says_what_is_missing(amqp_url: str) -> None:
    topology = await declared(amqp_url)
    async with (
        await aio_pika.connect(amqp_url) as connection,
        connection.channel() as channel,
        RawReader(amqp_url, topology.quarantine, NullObserver(), "tests") as reader,
    ):
        await until(lambda: reader.connected, "connected")
        await channel.queue_delete(topology.quarantine)
        await until(lambda: "system2 topology apply" in (reader.trouble or ""), "the sentence")
