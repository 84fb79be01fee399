"""The lattice: never early, hardly late, and nobody can jam it for the others."""

import asyncio
import time

from dispatcher.rabbit.publish import Outgoing
from tests.integration.rabbit.broker import declared, depth, intake, one, publisher, until


async def test_delays_are_never_early_and_hardly_late(amqp_url: str) -> None:
    topology = await declared(amqp_url)
    queue = topology.queue("facts.0")
    async with publisher(amqp_url, topology) as out, intake(amqp_url, topology, "facts.0") as into:
        started = time.monotonic()
        delayed = [Outgoing(*topology.delay_route(n, "facts.0"), b"%d" % n) for n in (3, 2, 1)]
        await out.publish(delayed)
        for seconds in (1, 2, 3):
            delivery = await one(into, queue)
            late = time.monotonic() - started - seconds
            assert delivery.body == b"[%d]" % seconds
            assert 0 <= late < 0.5
            await delivery.ack()


async def test_messages_for_nobody_are_found_again_and_hold_up_nobody(amqp_url: str) -> None:
    topology = await declared(amqp_url)
    queue = topology.queue("pos.push")
    nobody = [Outgoing(*topology.delay_route(3, f"gone.{n}"), b"{}") for n in range(40)]
    async with publisher(amqp_url, topology) as out, intake(amqp_url, topology, "pos.push") as into:
        await out.publish(nobody)
        await out.publish([Outgoing(*topology.delay_route(3, "pos.push"), b"1")])
        await (await one(into, queue)).ack()

        async def all_found() -> bool:
            return await depth(amqp_url, topology.lost) == 40

        await until(all_found, "all forty in lost and found")


async def test_a_message_can_be_delayed_again_and_again(amqp_url: str) -> None:
    topology = await declared(amqp_url)
    queue = topology.queue("stock.deduct")
    async with (
        publisher(amqp_url, topology) as out,
        intake(amqp_url, topology, "stock.deduct") as into,
    ):
        event, headers = b"{}", []
        for _ in range(3):
            await out.publish([Outgoing(*topology.delay_route(1, "stock.deduct"), event)])
            delivery = await one(into, queue)
            headers.append(delivery.headers)
            await delivery.ack()
        # Each time it came out of the lattice as if for the first time.
        assert [len(h["x-death"]) for h in headers] == [1, 1, 1]  # type: ignore[arg-type]


async def test_longer_than_the_lattice_means_the_longest_it_has(amqp_url: str) -> None:
    topology = await declared(amqp_url, levels=1)
    queue = topology.queue("facts.0")
    async with publisher(amqp_url, topology) as out, intake(amqp_url, topology, "facts.0") as into:
        await out.publish([Outgoing(*topology.delay_route(86_400, "facts.0"), b"1")])
        async with asyncio.timeout(3):
            assert (await one(into, queue)).body == b"[1]"
