"""What is in hand is settled once, or delivered again; trouble costs healthy messages nothing."""

import asyncio

import aio_pika

from dispatcher.rabbit.declare import apply, drop_marker, set_marker
from tests.integration.rabbit.broker import (
    Ledger,
    bodies,
    cable,
    declared,
    depth,
    intake,
    messages_in,
    one,
    publisher,
    to,
    until,
)


async def test_a_settled_message_is_gone_and_its_neighbours_are_not(amqp_url: str) -> None:
    topology = await declared(amqp_url)
    queue = topology.queue("facts.0")
    async with publisher(amqp_url, topology) as out, intake(amqp_url, topology, "facts.0") as into:
        for n in range(3):
            await out.publish(to(topology, "facts.0", b"%d" % n))
        await until(lambda: into.in_hand(queue) == 3, "three in hand")
        first, second, third = into.take(queue)
        assert (third.queue, third.events, third.delivery_count) == (queue, 1, 0)
        await third.ack()
        await second.ack()
        await second.ack()
    assert bodies(await messages_in(amqp_url, queue)) == [first.body]


async def test_a_take_stops_at_so_many_events(amqp_url: str) -> None:
    topology = await declared(amqp_url)
    queue = topology.queue("facts.0")
    async with publisher(amqp_url, topology) as out, intake(amqp_url, topology, "facts.0") as into:
        for size in (3, 2, 2):
            await out.publish(to(topology, "facts.0", *[b"1"] * size))
        await until(lambda: into.in_hand(queue) == 3, "three in hand")
        assert [len(into.take(queue, most_events=5)), into.in_hand(queue)] == [2, 1]
        assert [len(into.take(queue, most_events=1)), into.in_hand(queue)] == [1, 0]


async def test_after_a_lost_connection_a_message_comes_once_more(amqp_url: str) -> None:
    topology = await declared(amqp_url)
    queue = topology.queue("facts.0")
    async with (
        cable(amqp_url) as line,
        publisher(amqp_url, topology) as out,
        intake(line.url, topology, "facts.0") as into,
    ):
        await out.publish(to(topology, "facts.0", b"1"))
        before = await one(into, queue)
        line.cut()
        after = await one(into, queue)
        assert before.lost
        await before.ack()  # reaches nobody
        assert (after.body, after.redelivered, after.delivery_count) == (b"[1]", True, 1)
        await after.ack()
    assert await depth(amqp_url, queue) == 0


async def test_holding_and_resuming_costs_no_delivery_and_what_is_in_hand_can_be_settled(
    amqp_url: str,
) -> None:
    topology = await declared(amqp_url, delivery_limit=1)
    queue = topology.queue("stock.deduct")
    async with (
        publisher(amqp_url, topology) as out,
        intake(amqp_url, topology, "stock.deduct", prefetch=1) as into,
    ):
        await out.publish(to(topology, "stock.deduct", b"1"))
        held = await one(into, queue)
        for _ in range(5):
            await into.hold()
            await into.resume()
        await into.hold(queue)
        await out.publish(to(topology, "stock.deduct", b"2"))
        await held.ack()
        assert into.in_hand(queue) == 0
        await into.resume(queue)
        second = await one(into, queue)
        assert (second.body, second.delivery_count) == (b"[2]", 0)
        await into.give_back_all()
        assert (await one(into, queue)).delivery_count == 1


async def test_a_hold_outlives_the_connection(amqp_url: str) -> None:
    topology = await declared(amqp_url)
    queue = topology.queue("facts.0")
    async with (
        cable(amqp_url) as line,
        publisher(amqp_url, topology) as out,
        intake(line.url, topology, "facts.0", "pos.push") as into,
    ):
        await out.publish(to(topology, "facts.0", b"1"))
        await into.hold(queue)
        line.cut()
        await out.publish(to(topology, "pos.push", b"2"))
        await one(into, topology.queue("pos.push"))
        assert into.in_hand(queue) == 0
        await into.resume(queue)
        assert (await one(into, queue)).body == b"[1]"


async def test_what_fails_again_and_again_goes_to_solo_and_then_to_quarantine(
    amqp_url: str,
) -> None:
    topology = await declared(amqp_url, delivery_limit=1, solo_delivery_limit=1)
    queue = topology.queue("pos.push")
    async with (
        publisher(amqp_url, topology) as out,
        intake(amqp_url, topology, "pos.push", "pos.push.solo") as into,
    ):
        await out.publish(to(topology, "pos.push", b"1", b"2"))
        for lane in (queue, queue, topology.solo(queue), topology.solo(queue)):
            await (await one(into, lane)).give_back()

        async def quarantined() -> bool:
            return await depth(amqp_url, topology.quarantine) == 1

        await until(quarantined, "in quarantine")
    (message,) = await messages_in(amqp_url, topology.quarantine)
    assert message.body == b"[1,2]"
    assert message.headers["x-first-death-queue"] == queue


async def test_a_rejected_message_goes_straight_to_solo(amqp_url: str) -> None:
    topology = await declared(amqp_url)
    queue = topology.queue("facts.0")
    async with (
        publisher(amqp_url, topology) as out,
        intake(amqp_url, topology, "facts.0", "facts.0.solo") as into,
    ):
        await out.publish(to(topology, "facts.0", b"1"))
        await (await one(into, queue)).reject()
        assert (await one(into, topology.solo(queue))).delivery_count == 0


async def test_a_deleted_queue_means_hold_and_say_so_until_it_is_back(amqp_url: str) -> None:
    topology, seen = await declared(amqp_url), Ledger()
    queue = topology.queue("facts.0")
    async with (
        await aio_pika.connect(amqp_url) as connection,
        publisher(amqp_url, topology) as out,
        intake(amqp_url, topology, "facts.0", "pos.push", observer=seen) as into,
    ):
        await until(lambda: into.connected, "connected")
        async with connection.channel() as channel:
            await channel.queue_delete(queue)
        await until(lambda: f"queue {queue}" in (into.trouble or ""), "the sentence")
        assert "system2 topology apply" in str(into.trouble)
        said = f"the broker is in trouble: {into.trouble}"
        assert seen.sentences.count(said) == 1
        await apply(connection, topology)
        await out.publish(to(topology, "facts.0", b"1"))
        assert (await one(into, queue)).body == b"[1]"


async def test_a_broker_without_its_marker_is_not_read(amqp_url: str) -> None:
    topology = await declared(amqp_url)
    async with await aio_pika.connect(amqp_url) as connection:
        await drop_marker(connection, topology)
        async with intake(amqp_url, topology, "facts.0") as into:
            await until(lambda: "system2 recover" in (into.trouble or ""), "the sentence")
            assert not into.connected
            await set_marker(connection, topology)
            await until(lambda: into.connected, "connected")


async def test_the_watchdog_sees_that_the_broker_has_forgotten_us(amqp_url: str) -> None:
    topology = await declared(amqp_url)
    queue = topology.queue("facts.0")
    async with (
        publisher(amqp_url, topology) as out,
        intake(amqp_url, topology, "facts.0", watch_seconds=0.1) as into,
    ):
        await until(lambda: into.connected, "connected")
        hand = into._hand(queue)
        assert hand is not None and hand.consumer_tag is not None
        await hand.channel.basic_cancel(hand.consumer_tag)
        await out.publish(to(topology, "facts.0", b"1"))
        assert (await one(into, queue)).body == b"[1]"


async def test_draining_takes_nothing_more_and_lets_what_is_in_hand_be_settled(
    amqp_url: str,
) -> None:
    topology = await declared(amqp_url)
    queue = topology.queue("facts.0")
    async with publisher(amqp_url, topology) as out, intake(amqp_url, topology, "facts.0") as into:
        await out.publish(to(topology, "facts.0", b"1"))
        mine = await one(into, queue)
        await into.drain()
        await out.publish(to(topology, "facts.0", b"2"))
        await mine.ack()
        assert into.in_hand(queue) == 0
    assert bodies(await messages_in(amqp_url, queue)) == [b"[2]"]


async def test_a_message_that_arrives_while_the_connection_breaks_is_not_lost(
    amqp_url: str,
) -> None:
    topology = await declared(amqp_url, delivery_limit=50)
    queue = topology.queue("facts.0")
    seen: set[bytes] = set()
    async with (
        cable(amqp_url) as line,
        publisher(amqp_url, topology) as out,
        intake(line.url, topology, "facts.0") as into,
    ):

        async def work() -> None:
            while len(seen) < 300:
                await into.ready()
                for delivery in into.take(queue):
                    await asyncio.sleep(0)
                    seen.update(delivery.body[1:-1].split(b","))
                    await delivery.ack()

        working = asyncio.create_task(work())
        for n in range(300):
            await out.publish(to(topology, "facts.0", b"%d" % n))
            if n % 100 == 50:
                line.cut()
        async with asyncio.timeout(20):
            await working
    assert await depth(amqp_url, queue) == 0
