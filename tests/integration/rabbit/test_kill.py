"""A broker that is killed under load: what was confirmed is there when it is back."""

import asyncio

import pytest

from ops.stack import local
from tests.integration.rabbit.broker import declared, messages_in, publisher, to, until
from tests.integration.servers import Servers


async def test_what_was_confirmed_survives_a_killed_broker(servers: Servers, amqp_url: str) -> None:
    if servers.root is None:
        pytest.skip("the broker is not ours to kill")
    topology = await declared(amqp_url)
    async with publisher(amqp_url, topology) as out:
        confirmed = 0

        async def publish_some(first: int) -> None:
            nonlocal confirmed
            for n in range(first, first + 100):
                await out.publish(to(topology, "facts.0", b"%d" % n))
                confirmed += 1

        work = asyncio.gather(*(publish_some(first) for first in range(0, 1000, 100)))
        await until(lambda: confirmed > 300, "under load")
        await asyncio.to_thread(local.kill_broker, servers.root)
        assert confirmed < 1000
        await asyncio.to_thread(local.up, servers.root)
        await work
    arrived = b",".join(
        m.body[1:-1] for m in await messages_in(amqp_url, topology.queue("facts.0"))
    )
    assert set(arrived.split(b",")) == {b"%d" % n for n in range(1000)}
