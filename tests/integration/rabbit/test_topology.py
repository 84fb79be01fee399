"""The declared shape: idempotent, explained where it differs, and trusted only with its marker."""

from dataclasses import replace

import aio_pika
import pytest

from dispatcher.rabbit.declare import apply, diff, drop_marker, marker_present, set_marker
from dispatcher.rabbit.errors import WrongArguments
from dispatcher.rabbit.topology import Binding
from tests.integration.rabbit.broker import declared


async def test_applying_twice_changes_nothing_and_leaves_no_difference(amqp_url: str) -> None:
    topology = await declared(amqp_url)
    async with await aio_pika.connect(amqp_url) as connection:
        await apply(connection, topology)
        assert await diff(connection, topology) == []


async def test_a_difference_in_arguments_is_explained_in_a_sentence(amqp_url: str) -> None:
    topology = await declared(amqp_url)
    wanted = replace(topology, delivery_limit=7)
    async with await aio_pika.connect(amqp_url) as connection:
        assert (
            f"queue {topology.queue('facts.0')} exists with x-delivery-limit = 10 where we want 7; "
            "arguments cannot be changed: drain it, delete it and apply again"
        ) in await diff(connection, wanted)
        with pytest.raises(WrongArguments, match="x-delivery-limit = 10 where we want 7"):
            await apply(connection, wanted)


async def test_a_missing_queue_exchange_or_marker_is_named(amqp_url: str) -> None:
    topology = await declared(amqp_url)
    async with await aio_pika.connect(amqp_url) as connection:
        async with connection.channel() as channel:
            await channel.queue_delete(topology.lost)
            await channel.exchange_delete(topology.commands)
        await drop_marker(connection, topology)
        assert await diff(connection, topology) == [
            f"exchange {topology.commands} is missing",
            f"queue {topology.lost} is missing",
            f"queue {topology.marker}, the marker of a broker that is set up, is missing",
        ]
        await apply(connection, topology)
        assert not await marker_present(connection, topology)
        await set_marker(connection, topology)
        assert await diff(connection, topology) == []


async def test_a_missing_binding_is_named_when_the_bindings_are_known(amqp_url: str) -> None:
    topology = await declared(amqp_url)
    queue = topology.queue("facts.0")
    present = set(topology.bindings()) - {Binding(topology.events, "facts.0", queue)}
    async with await aio_pika.connect(amqp_url) as connection:
        assert await diff(connection, topology, present) == [
            f"exchange {topology.events} does not lead to queue {queue} by facts.0"
        ]
