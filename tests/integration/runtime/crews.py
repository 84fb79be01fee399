"""Whole roles of a process, as wired for production, over a small topology of their own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any
from uuid import uuid4

import aio_pika
from pydantic import SecretStr

from dispatcher.envelope import Envelope, decode, split
from dispatcher.rabbit.deploy import deploy
from dispatcher.rabbit.publish import Publisher
from dispatcher.rabbit.topology import Topology
from ops import wiring
from ops.settings import Settings
from ops.wiring import Crew, Parts, router_of, topology_of
from storage.database import Database
from storage.quarantine import LetterStore
from tests.unit.consumers.fakes import Telling


async def small_topology(amqp_url: str, **limits: int) -> Topology:
    """Like the real one, with short lattice and small delivery limits."""
    names = topology_of(_settings(amqp_url)).queues
    topology = Topology(f"r{uuid4().hex[:6]}", 1, names, levels=5, **limits)
    await deploy(amqp_url, topology)
    return topology


def _settings(amqp_url: str) -> Settings:
    url = SecretStr(amqp_url)
    return Settings(database_url=SecretStr("postgresql://unused"), amqp_url=url)


@asynccontextmanager
async def parts(amqp_url: str, topology: Topology, database: Database) -> AsyncIterator[Parts]:
    observer = Telling()
    async with Publisher(amqp_url, observer, "test", topology.marker) as publisher:
        yield Parts(
            *(_settings(amqp_url), "test", observer, database, publisher, topology),
            *(router_of(topology), LetterStore(database)),
        )


@asynccontextmanager
async def at_work(crew: AbstractAsyncContextManager[Crew]) -> AsyncIterator[None]:
    """The crew's loops run inside the block; one that dies fails the test."""
    stopping = asyncio.Event()
    async with crew as members:
        loops = [asyncio.create_task(loop.run(stopping)) for loop in members.loops]
        try:
            yield
        finally:
            dead = [loop for loop in loops if loop.done()]
            stopping.set()
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.gather(*loops, return_exceptions=True), 10)
            for loop in dead:
                loop.result()


async def publish(these: Parts, *messages: Envelope[Any]) -> None:
    await these.publisher.publish([these.router.now(message) for message in messages])


async def taken_from(amqp_url: str, queue: str) -> list[Envelope[Any]]:
    """Everything that lies in a queue, understood."""
    found: list[Envelope[Any]] = []
    async with await aio_pika.connect(amqp_url) as connection, connection.channel() as channel:
        source = await channel.get_queue(queue)
        while (message := await source.get(fail=False)) is not None:
            await message.ack()
            found += map(decode, split(message.body))
    return found


async def ready_in(amqp_url: str, *queues: str) -> int:
    """How many messages wait in these queues; what consumers hold does not count."""
    messages = 0
    async with await aio_pika.connect(amqp_url) as connection, connection.channel() as channel:
        for queue in queues:
            result = (await channel.declare_queue(queue, passive=True)).declaration_result
            messages += result.message_count or 0
    return messages


dispatcher_crew, consumer_crew = wiring.dispatcher_crew, wiring.consumer_crew
