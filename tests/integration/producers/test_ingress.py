"""The ingress on real servers: what it accepts it keeps, and what it cannot keep it refuses."""

import asyncio
import json
from collections.abc import Awaitable
from functools import partial
from uuid import uuid4

import pytest

from dispatcher.rabbit.topology import Topology
from tests.integration.producers.place import call, facts, mortal, place, topology
from tests.integration.rabbit.broker import cable, until
from tests.unit.producers import doubles

READY = doubles.call("meal.ready", pickup_code="A012")


async def _published(rows: Awaitable[list[bool]]) -> bool:
    return await rows == [True]


async def _answered(port: int, name: str) -> bool:
    return await call(port, READY, name) == 200


async def _ids(amqp_url: str, wanted: Topology) -> set[str]:
    return {e["id"] for body in await facts(amqp_url, wanted) for e in json.loads(body)}


async def test_a_hundred_equal_callbacks_at_once_are_one_row_and_one_event(
    stocked_url: str, amqp_url: str
) -> None:
    wanted, name = await topology(amqp_url), uuid4().hex
    async with place(stocked_url, amqp_url, wanted) as here:
        await until(here.settled.is_set, "connected")
        port = here.ingress.port
        statuses = await asyncio.gather(*(call(port, READY, name) for _ in range(100)))
        assert await here.rows(name) == [True]
    assert set(statuses) == {200}
    assert len(await _ids(amqp_url, wanted)) == 1


async def test_a_repeat_of_what_is_published_is_not_published_again(
    stocked_url: str, amqp_url: str
) -> None:
    wanted, name = await topology(amqp_url), uuid4().hex
    async with place(stocked_url, amqp_url, wanted) as here:
        await until(here.settled.is_set, "connected")
        assert await call(here.ingress.port, READY, name) == 200
        await until(lambda: _published(here.rows(name)), "published")
        assert await facts(amqp_url, wanted)
        assert [await call(here.ingress.port, READY, name) for _ in range(3)] == [200] * 3
        assert await facts(amqp_url, wanted) == []


async def test_the_same_id_with_another_body_is_refused_each_time(
    stocked_url: str, amqp_url: str
) -> None:
    wanted, name = await topology(amqp_url), uuid4().hex
    async with place(stocked_url, amqp_url, wanted) as here:
        await until(here.settled.is_set, "connected")
        other = doubles.call("ticket.refused")
        statuses = [await call(here.ingress.port, body, name) for body in (READY, other, other)]
    assert statuses == [200, 409, 409]
    assert len(await _ids(amqp_url, wanted)) == 1


async def test_while_the_broker_is_away_the_row_is_enough_and_goes_out_at_the_reconnect(
    stocked_url: str, amqp_url: str
) -> None:
    wanted, name = await topology(amqp_url), uuid4().hex
    async with cable(amqp_url) as broker, place(stocked_url, broker.url, wanted) as here:
        await until(here.settled.is_set, "connected")
        broker.unplugged = True
        broker.cut()
        assert await call(here.ingress.port, READY, name) == 200
        assert await here.rows(name) == [False]
        broker.unplugged = False
        await until(lambda: _published(here.rows(name)), "published")
    assert b"A012" in b"".join(await facts(amqp_url, wanted))


async def test_without_a_database_nothing_is_accepted_and_afterwards_everything_is(
    stocked_url: str, amqp_url: str
) -> None:
    wanted, name = await topology(amqp_url), uuid4().hex
    async with cable(stocked_url) as wire, place(wire.url, amqp_url, wanted) as here:
        wire.unplugged = True
        wire.cut()
        assert await call(here.ingress.port, READY, name) == 503
        wire.unplugged = False
        assert await call(here.ingress.port, READY, name) == 200
        await until(lambda: _published(here.rows(name)), "published")


async def test_a_database_that_does_not_answer_keeps_no_sender_waiting(
    stocked_url: str, amqp_url: str
) -> None:
    wanted, name = await topology(amqp_url), uuid4().hex
    async with (
        cable(stocked_url) as wire,
        place(wire.url, amqp_url, wanted, answer_seconds=0.2) as here,
    ):
        wire.muted = True
        assert await call(here.ingress.port, READY, name) == 503
        wire.muted = False
        wire.cut()
        await until(lambda: _answered(here.ingress.port, name), "answered")
        await until(lambda: _published(here.rows(name)), "published")


@pytest.mark.parametrize(
    "point",
    [
        "ingress.accept.after:1",
        "ingress.publish.before:1",
        "ingress.publish.after:1",
        "ingress.acknowledge.before:1",
    ],
)
async def test_a_crash_after_the_row_loses_nothing(
    stocked_url: str, amqp_url: str, point: str
) -> None:
    wanted, name = await topology(amqp_url), uuid4().hex
    async with mortal(stocked_url, amqp_url, wanted, point) as (process, port):
        assert await call(port, READY, name) == 0
        assert await process.wait() == -9
    async with place(stocked_url, amqp_url, wanted) as here:
        await until(lambda: _published(here.rows(name)), "published at the next start")
        assert await call(here.ingress.port, READY, name) == 200
        assert await here.rows(name) == [True]
    assert len(await _ids(amqp_url, wanted)) == 1


@pytest.mark.parametrize(
    "point", ["backlog.publish.before:1", "backlog.publish.after:1", "backlog.marked.after:1"]
)
async def test_a_crash_in_the_backlog_leaves_it_to_the_next_process(
    stocked_url: str, amqp_url: str, point: str
) -> None:
    wanted, name = await topology(amqp_url), uuid4().hex
    async with mortal(stocked_url, amqp_url, wanted, "ingress.accept.after:1") as (process, port):
        assert await call(port, READY, name) == 0
        await process.wait()
    async with mortal(stocked_url, amqp_url, wanted, point) as (process, port):
        assert await process.wait() == -9
    async with place(stocked_url, amqp_url, wanted) as here:
        await until(lambda: _published(here.rows(name)), "published")
    assert b"A012" in b"".join(await facts(amqp_url, wanted))


async def test_two_producers_share_a_backlog_without_waiting_for_each_other(
    stocked_url: str, amqp_url: str
) -> None:
    wanted = await topology(amqp_url)
    names = [uuid4().hex for _ in range(30)]
    async with cable(amqp_url) as broker:
        broker.unplugged = True
        async with (
            place(stocked_url, broker.url, wanted) as one,
            place(stocked_url, broker.url, wanted) as other,
        ):
            calls = (call(one.ingress.port, READY, name) for name in names)
            assert set(await asyncio.gather(*calls)) == {200}
            broker.unplugged = False
            await until(partial(other.all_published, names), "published")
