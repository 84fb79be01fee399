"""What an operator does to a broker by URL: bring it into shape, compare it, count its queues."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika
from aio_pika.abc import AbstractConnection

from dispatcher.rabbit import declare
from dispatcher.rabbit.topology import Topology

CONNECT_SECONDS = 10.0


async def deploy(url: str, topology: Topology) -> None:
    """Declare everything and set the marker. Harmless to repeat. Raises WrongArguments."""
    async with _connected(url) as connection:
        await declare.apply(connection, topology)
        await declare.set_marker(connection, topology)


async def differences(url: str, topology: Topology) -> list[str]:
    """One sentence for everything that is missing or different."""
    async with _connected(url) as connection:
        return await declare.diff(connection, topology)


async def depths(url: str, topology: Topology) -> dict[str, int]:
    """How many messages wait in each queue; what consumers hold does not count."""
    counted = {}
    async with _connected(url) as connection, connection.channel() as channel:
        for queue in topology.all_queues():
            declared = await channel.declare_queue(queue.name, passive=True)
            counted[queue.name] = declared.declaration_result.message_count or 0
    return counted


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[AbstractConnection]:
    connection = await aio_pika.connect(url, timeout=CONNECT_SECONDS)
    try:
        yield connection
    finally:
        await connection.close()
