"""The dispatcher's role as wired for production: trouble, poison, and what was lost."""

import asyncio
from collections.abc import Sequence
from typing import Any

import aio_pika
from pydantic_core import to_json

from dispatcher.envelope import Envelope, as_dict
from dispatcher.rabbit.topology import Topology
from storage import quarantine
from storage.database import Database
from tests.builders import a_birth, an_order
from tests.integration.rabbit.broker import cable, publish_poison, until
from tests.integration.runtime.crews import (
    at_work,
    dispatcher_crew,
    parts,
    publish,
    ready_in,
    small_topology,
)
from tests.integration.runtime.ground import SQL, opened


def births(named: str, many: int) -> list[Envelope[Any]]:
    return [a_birth(an_order(f"{named}-{n}")) for n in range(many)]


async def stored(database: Database, events: Sequence[Envelope[Any]]) -> int:
    """How many of these orders have left UNBORN."""
    rows = await database.fetch(SQL["instances"])
    states = {row["instance_id"]: row["state"] for row in rows}
    return sum(states.get(event.subject, "UNBORN") != "UNBORN" for event in events)


async def send_raw(amqp_url: str, exchange: str, routing_key: str, body: bytes) -> None:
    async with await aio_pika.connect(amqp_url) as connection, connection.channel() as channel:
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        target = await channel.get_exchange(exchange)
        await target.publish(message, routing_key=routing_key)


def work_queues(topology: Topology) -> list[str]:
    return [topology.queue(target) for target in topology.event_targets]


async def test_while_the_database_is_away_nothing_is_given_back_and_then_all_is_done(
    amqp_url: str, migrated_url: str
) -> None:
    """With a delivery limit of 1 anything that is given back twice would leave its queue."""
    topology = await small_topology(amqp_url, delivery_limit=1)
    queues = work_queues(topology)
    before, meanwhile = births("before", 3), births("meanwhile", 12)
    async with (
        cable(migrated_url) as line,
        opened(migrated_url) as healthy,
        opened(line.url, min_size=0) as database,
        parts(amqp_url, topology, database) as these,
        at_work(dispatcher_crew(these)),
    ):
        await publish(these, *before)
        await until(lambda: _all(healthy, before), "the first orders are stored")
        line.unplugged = True
        line.cut()
        for event in meanwhile:
            await publish(these, event)

        async def held() -> bool:
            return await ready_in(amqp_url, *queues) > 0

        await until(held, "what is not in hand yet stays where it is")
        line.unplugged = False
        await until(lambda: _all(healthy, meanwhile), "all are stored")
        (later,) = births("later", 1)
        await publish(these, later)
        await until(lambda: _all(healthy, [later]), "the queues are read again")
        solo = [topology.solo(queue) for queue in queues]
        assert await ready_in(amqp_url, *solo, topology.quarantine) == 0
        assert await quarantine.newest(healthy) == []


async def _all(database: Database, events: Sequence[Envelope[Any]]) -> bool:
    return await stored(database, events) == len(events)


async def test_a_poison_order_among_two_hundred_is_quarantined_alone(
    amqp_url: str, migrated_url: str
) -> None:
    """Its remark cannot be stored: nobody but the database notices."""
    topology = await small_topology(amqp_url)
    events = births("poisoned", 200)
    poison = events[77] = a_birth(an_order("poison", remark="a\0b"))
    neighbours = [event for event in events if event is not poison]
    async with (
        opened(migrated_url) as database,
        parts(amqp_url, topology, database) as these,
        at_work(dispatcher_crew(these)),
    ):
        await publish(these, *events)
        await until(lambda: _all(database, neighbours), "the neighbours are stored")
        letters = await _letters(database, 1, "dispatcher")
    assert letters[0].event_id == poison.id
    assert "Traceback" in letters[0].error
    deducts = await _waiting(amqp_url, topology, "stock.deduct")
    assert deducts >= 1


async def _waiting(amqp_url: str, topology: Topology, target: str) -> int:
    return await ready_in(amqp_url, topology.queue(target))


async def _letters(database: Database, many: int, queue: str) -> list[Any]:
    found: list[Any] = []

    async def there() -> bool:
        found[:] = [kept.letter for kept in await quarantine.newest(database, queue=queue)]
        return len(found) >= many

    await until(there, f"{many} letters from {queue}")
    return found


async def test_what_no_client_can_read_ends_as_letters_and_its_neighbours_are_done(
    amqp_url: str, migrated_url: str
) -> None:
    topology = await small_topology(amqp_url, delivery_limit=1, solo_delivery_limit=1)
    healthy = births("beside", 5)
    async with (
        opened(migrated_url) as database,
        parts(amqp_url, topology, database) as these,
        at_work(dispatcher_crew(these)),
    ):
        await send_raw(amqp_url, topology.events, "facts.0", b"\xff no JSON")
        await publish_poison(amqp_url, topology.events, "facts.0", b"poison")
        await publish(these, *healthy)
        letters = await _letters(database, 2, "undeliverable")
        await until(lambda: _all(database, healthy), "the neighbours are stored")
    assert {letter.body for letter in letters} == {b"\xff no JSON", b"poison"}


async def test_what_the_lattice_lost_is_found_and_hostile_events_kill_nobody(
    amqp_url: str, migrated_url: str
) -> None:
    topology = await small_topology(amqp_url)
    (found,) = births("found", 1)
    await asyncio.gather(
        send_raw(amqp_url, topology.delivery, "0.0.0.0.1.placed.7", to_json([as_dict(found)])),
        send_raw(amqp_url, topology.delivery, "0.0.0.0.1.gone", b"\0\xff"),
        *(
            send_raw(amqp_url, topology.events, "facts.0", to_json([hostile]))
            for hostile in (
                as_dict(found) | {"type": "system2.Invented", "attempt": "soon"},
                as_dict(found) | {"type": "system2.StockLine"},
                {"specversion": "1.0", "type": "\0", "attempt": {}},
                {"\0": "\0"},
            )
        ),
    )
    async with (
        opened(migrated_url) as database,
        parts(amqp_url, topology, database) as these,
        at_work(dispatcher_crew(these)),
    ):
        await until(lambda: _all(database, [found]), "the lost order is stored")
        assert len(await _letters(database, 1, "lost")) == 1
        await _letters(database, 3, topology.queue("facts.0"))
