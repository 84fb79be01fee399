"""Accidents of the servers, and of processes, while customers order: afterwards all books agree,
nothing is lost or doubled, every order is over.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import aio_pika
import aiohttp
import pytest

from dispatcher.rabbit.publish import Outgoing
from ops.stack import local, postgres
from ops.stack.local import Endpoints
from storage.queries import Statement
from tests.chaos.world import MEAL, ROLES, World, until, world
from tests.integration.servers import Servers, manage

pytestmark = pytest.mark.timeout(180)

ORDERS, SECONDS = 60, 6.0
PATIENCE_SECONDS = 30.0

Accident = Callable[["Stage"], Awaitable[None]]

_UNPUBLISHED = Statement(
    "unpublished", "SELECT count(*) FROM accepted_requests WHERE published_at IS NULL", ()
)


class Stage:
    """One world for all tests of this module, in one event loop, and its servers."""

    def __init__(self, runner: asyncio.Runner, there: World, servers: Servers) -> None:
        self._runner = runner
        self.world = there
        self.servers = servers

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(work)

    @property
    def root(self) -> Path:
        if self.servers.root is None:
            pytest.skip("these servers are not ours to kill")
        return self.servers.root

    @property
    def vhost(self) -> str:
        return urlsplit(self.world.endpoints.amqp_url).path[1:]

    async def manage(self, method: str, path: str) -> Any:
        url = self.world.endpoints.management_url
        assert url is not None
        return await asyncio.to_thread(manage, url, method, path)


@pytest.fixture(scope="module")
def stage(
    servers: Servers,
    database_url: str,
    amqp_url: str,
    management_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stage]:
    endpoints = Endpoints(database_url, amqp_url, management_url)
    with asyncio.Runner() as runner:
        there = world(endpoints, tmp_path_factory.mktemp("servers-killed"))
        made = runner.run(there.__aenter__())
        try:
            runner.run(made.start_all())
            yield Stage(runner, made, servers)
        finally:
            runner.run(there.__aexit__(None, None, None))


async def survived(stage: Stage, accident: Accident) -> None:
    """Customers order, it happens, they go on ordering; then everything ends well."""
    await stage.world.rush(ORDERS, SECONDS)
    await stage.world.order_everything()
    await until(partial(most_is_to_come, stage.world), "nobody orders", PATIENCE_SECONDS)
    await accident(stage)
    await stage.world.settled()
    assert await stage.world.faults() == []
    assert stage.world.fleet.ended_by_themselves() == []


async def most_is_to_come(world: World) -> bool:
    return await world.planned() > ORDERS * 0.75


# -- RabbitMQ --------------------------------------------------------------------------------


@asynccontextmanager
async def broker_down(stage: Stage) -> AsyncIterator[None]:
    """Killed, and started again at the end of the block."""
    await asyncio.to_thread(local.kill_broker, stage.root)
    try:
        yield
    finally:
        await asyncio.to_thread(local.up, stage.root)


def test_a_killed_broker_costs_nothing(stage: Stage) -> None:
    async def killed(stage: Stage) -> None:
        async with broker_down(stage):
            await is_heard(stage.world)

    stage.run(survived(stage, killed))


async def is_heard(world: World) -> None:
    """The platform's push of a new order is acknowledged, for its row is there; nothing else is."""
    order = await world.fleet.post("meituan", "/_sim/orders", MEAL)

    async def deaf() -> bool:
        sold = (await world.fleet.get("meituan", "/_sim/books"))["orders"]
        pushed = {one["order_id"] for one in sold if one["pushed"]}
        return order["order_id"] not in pushed

    await until(deaf, "no acknowledgement", PATIENCE_SECONDS)
    assert await world.database.fetchval(_UNPUBLISHED) > 0


def test_connections_closed_by_the_broker_are_made_again(stage: Stage) -> None:
    async def all_closed(stage: Stage) -> None:
        async def none_seen() -> bool:
            # Management learns of connections only every few seconds.
            return len(await stage.manage("GET", f"vhosts/{stage.vhost}/connections")) < len(ROLES)

        await until(none_seen, "no connections", PATIENCE_SECONDS)
        for one in await stage.manage("GET", f"vhosts/{stage.vhost}/connections"):
            await stage.manage("DELETE", f"connections/{quote(one['name'], safe='')}")

    stage.run(survived(stage, all_closed))


# -- PostgreSQL ------------------------------------------------------------------------------


def test_a_killed_database_costs_nothing_and_no_message_a_delivery(stage: Stage) -> None:
    async def killed(stage: Stage) -> None:
        known = await stage.world.known_event()
        assert known is not None
        await asyncio.to_thread(local.kill_database, stage.root)
        try:
            assert await status_of_a_callback(stage.world) == 503
            topology = stage.world.topology
            await stage.world.publisher.publish([Outgoing(*topology.route("facts.0"), known)])
            await until(partial(queues_read, stage.world), "still reading", PATIENCE_SECONDS)
            await stage.world.fleet.kill("dispatcher")
            assert await deliveries_spent(stage.world) == 1
        finally:
            await asyncio.to_thread(local.up, stage.root)
        await stage.world.start("dispatcher")

    stage.run(survived(stage, killed))


async def deliveries_spent(world: World) -> int:
    """The most that any message in the queue of facts was delivered before, says the broker."""
    spent = 0
    async with await aio_pika.connect(world.endpoints.amqp_url) as broker:
        channel = await broker.channel()
        queue = await channel.get_queue(world.topology.queue("facts.0"), ensure=False)
        while (message := await queue.get(fail=False)) is not None:
            count = message.headers.get("x-delivery-count", 0)
            assert isinstance(count, int)
            spent = max(spent, count)
    return spent


async def status_of_a_callback(world: World) -> int:
    """A till reports a meal as ready again, under a new id."""
    messages = (await world.fleet.get("tills", "/_sim/books"))["messages"]
    ticket = next(m for m in messages if m["type"] == "ticket.placed")
    told = {"store": ticket["store"], "ticket_id": ticket["ticket_id"], "type": "meal.ready"}
    answer = await world.fleet.post("tills", "/_sim/call_back", told)
    return int(answer["status"])


async def queues_read(world: World) -> float:
    """How many queues the dispatcher reads, by its own metric: who holds reads none.

    The broker counts a consumer that was cancelled as long as messages are in its hand.
    """
    url = f"{world.fleet.members['dispatcher'].url}/metrics"
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        text = await answer.text()
    found = re.search(
        r'^system2_consumers_expected\{role="dispatcher\.consume"\} (\S+)$', text, re.M
    )
    assert found is not None
    return float(found[1])


def test_terminated_sessions_are_opened_again(stage: Stage) -> None:
    async def all_terminated(stage: Stage) -> None:
        for _ in range(3):
            await until(partial(none_terminated, stage), "no sessions", PATIENCE_SECONDS)

    stage.run(survived(stage, all_terminated))


async def none_terminated(stage: Stage) -> bool:
    """Ends every session of our processes that there is."""
    name = urlsplit(stage.world.endpoints.database_url).path[1:]
    admin = stage.servers.endpoints.database_url
    end_all = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    return not await asyncio.to_thread(postgres.query, admin, end_all)


# -- our own processes -----------------------------------------------------------------------


@pytest.mark.parametrize("members", [("dispatcher", "pos"), ("stock", "takeaway", "http")])
def test_killed_processes_that_are_started_again_go_on(
    stage: Stage, members: tuple[str, ...]
) -> None:
    async def killed(stage: Stage) -> None:
        for member in members:
            await stage.world.fleet.kill(member)
        await asyncio.gather(*map(stage.world.start, members))

    stage.run(survived(stage, killed))
