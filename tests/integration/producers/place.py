"""The ingress with its backlog over real servers, in this process or in one that can be killed.

As a program: `python -m tests.integration.producers.place DATABASE_URL AMQP_URL NAMESPACE`, says
its port.
"""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import uuid4

import aiohttp

from dispatcher.entrance import Entrance
from dispatcher.order import Amounts, Line, Order
from dispatcher.ports import NullObserver
from dispatcher.rabbit.deploy import deploy
from dispatcher.rabbit.publish import Publisher
from dispatcher.rabbit.routing import Router
from dispatcher.rabbit.topology import Topology
from producers.backlog import Backlog
from producers.ingress.door import Door, OneBodyPerKey
from producers.ingress.server import Ingress
from producers.ingress.tills import TillRoute
from producers.reconnects import AtEachConnect
from storage import orders
from storage.database import Database, trouble
from storage.journal import JournalStore
from storage.orders import TicketStore
from storage.quarantine import LetterStore
from storage.queries import read
from tests.integration.rabbit.broker import messages_in
from tests.unit.producers.doubles import ORDER, TICKET, find, signed

SQL = read(
    "-- name: test_rows\nSELECT key, published_at IS NOT NULL AS published FROM accepted_requests;",
    "test",
)
PULL = "takeaway.pull"


def now() -> datetime:
    return datetime.now(UTC)


async def place_order(database_url: str) -> None:
    """The order that the tills of these tests speak of."""
    amounts = Amounts(goods_minor=100, paid_minor=100)
    line = Line(line=1, sku=None, name="Soup", quantity=1, unit_price_minor=100, paid_minor=100)
    order = Order(
        order_id=ORDER, order_no=TICKET, channel="meituan", account="mt-main",
        channel_order_id="27057681346841638", store_id="S001", placed_at=now(), currency="CNY",
        amounts=amounts, lines=(line,),
    )  # fmt: skip
    async with opened(database_url) as database, database.transaction() as tx:
        await orders.insert(tx, [order], now())


def opened(url: str) -> AbstractAsyncContextManager[Database]:
    return Database.open(url, observer=NullObserver(), name="test", min_size=0)


async def topology(amqp_url: str) -> Topology:
    """One of its own, on the broker."""
    made = Topology(f"t{uuid4().hex[:8]}", 1, (PULL,), levels=1)
    await deploy(amqp_url, made)
    return made


def router(of: Topology) -> Router:
    return Router(of, {"PullOrders": PULL}, frozenset({"OrderPlaced"}))


class Place(NamedTuple):
    ingress: Ingress
    database: Database
    publisher: Publisher
    topology: Topology
    settled: asyncio.Event

    async def rows(self, webhook_id: str) -> list[bool]:
        """Whether the rows of this id are published."""
        found = await self.database.fetch(SQL["test_rows"])
        return [row["published"] for row in found if row["key"] == webhook_id]

    async def all_published(self, webhook_ids: Collection[str]) -> bool:
        found = await self.database.fetch(SQL["test_rows"])
        return {row["key"] for row in found if row["published"]} >= set(webhook_ids)


@asynccontextmanager
async def place(
    database_url: str, amqp_url: str, wanted: Topology, answer_seconds: float = 4
) -> AsyncIterator[Place]:
    observer = NullObserver()
    async with (
        opened(database_url) as database,
        Publisher(amqp_url, observer, "test", wanted.marker) as publisher,
    ):
        journal = JournalStore(database)
        backlog = Backlog(journal, publisher, router(wanted), observer, now)
        first = asyncio.Event()

        async def publish_all() -> None:
            await backlog.publish_all()
            first.set()

        again = AtEachConnect(publisher, publish_all, observer, look_seconds=0.02)
        way = Entrance(
            "ingress", OneBodyPerKey(journal), publisher, router(wanted), LetterStore(database),
            observer, now,
        )  # fmt: skip
        door = Door(way, observer, again.ask)
        till = TillRoute(find, TicketStore(database).of_number, door, now)
        ingress = Ingress([till], observer, trouble, answer_seconds=answer_seconds)
        stopping = asyncio.Event()
        async with ingress.serving():
            running = asyncio.create_task(again.run(stopping))
            yield Place(ingress, database, publisher, wanted, first)
            stopping.set()
            await running


async def call(port: int, body: str, webhook_id: str) -> int:
    """The status that a till's callback gets; 0 when nobody answers."""
    request = signed(body, webhook_id, at=now())
    url = f"http://127.0.0.1:{port}/tills/S001/events"
    async with aiohttp.ClientSession() as session:
        try:
            async with session.post(url, data=request.body, headers=request.headers) as response:
                return response.status
        except aiohttp.ClientError:
            return 0


async def facts(amqp_url: str, of: Topology) -> list[bytes]:
    """What lies in the queue of facts, message by message; it is empty afterwards."""
    return [message.body for message in await messages_in(amqp_url, of.queue("facts.0"))]


@asynccontextmanager
async def mortal(
    database_url: str, amqp_url: str, of: Topology, crash_at: str
) -> AsyncIterator[tuple[Process, int]]:
    """The same place in a process that dies at a point; and its port."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.producers.place", database_url, amqp_url,
        of.namespace, stdout=PIPE, env={**os.environ, "SYSTEM2_CRASH_AT": crash_at},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield process, int(await asyncio.wait_for(process.stdout.readline(), 30) or b"0")
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _main(database_url: str, amqp_url: str, namespace: str) -> None:
    wanted = Topology(namespace, 1, (PULL,), levels=1)
    async with place(database_url, amqp_url, wanted) as here:
        print(here.ingress.port, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
