"""The POS consumer's role as wired for production, against tills of a few lines."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from dispatcher.envelope import Envelope
from dispatcher.messages import PushTicket
from storage import chain
from storage.chain import Store
from storage.database import Database
from storage.orders import insert
from storage.queries import read
from tests.builders import a_command, an_order
from tests.integration.rabbit.broker import until
from tests.integration.runtime.crews import (
    at_work,
    consumer_crew,
    parts,
    publish,
    ready_in,
    small_topology,
    taken_from,
)
from tests.integration.runtime.ground import now, opened

EDIT = read("-- name: edit\nUPDATE orders SET remark = :remark;", "edit")["edit"]


class Tills:
    """Remember what they got, and answer as told: a status, or silence until the gate opens."""

    def __init__(self) -> None:
        self.got: dict[str, list[tuple[str, bytes]]] = defaultdict(list)
        self.says: dict[str, list[int]] = defaultdict(list)
        self.silent: set[str] = set()
        self.gate = asyncio.Event()

    async def answer(self, request: web.Request) -> web.Response:
        store = request.match_info["store"]
        self.got[store].append((request.headers["webhook-id"], await request.read()))
        if store in self.silent:
            await self.gate.wait()
        return web.Response(status=self.says[store].pop(0) if self.says[store] else 200)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        application = web.Application()
        application.router.add_post("/{store}", self.answer)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


@asynccontextmanager
async def a_database(url: str, tills_url: str) -> AsyncIterator[Database]:
    stores = [
        Store(
            name, name, "Asia/Shanghai", f"{tills_url}/{name}", "whsec_c2VjcmV0", ("127.0.0.0/8",)
        )
        for name in ("S001", "S002")
    ]
    async with opened(url) as database:
        async with database.transaction() as tx:
            await chain.save_stores(tx, stores)
        yield database


async def tickets(database: Database, named: str, *stores: str) -> list[Envelope[Any]]:
    orders = [an_order(f"{named}-{n}", store_id=store) for n, store in enumerate(stores)]
    async with database.transaction() as tx:
        await insert(tx, orders, now())
    return [
        a_command(
            PushTicket(
                order_id=order.order_id,
                store_id=order.store_id,
                channel=order.channel,
                placed_at=order.placed_at,
            ),
            time=now(),
        )
        for order in orders
    ]


async def test_every_attempt_sends_the_same_bytes_though_the_order_was_edited_meanwhile(
    amqp_url: str, migrated_url: str
) -> None:
    topology = await small_topology(amqp_url)
    tills = Tills()
    tills.says["S001"] = [500, 503, 200]
    async with (
        tills.open() as url,
        a_database(migrated_url, url) as database,
        parts(amqp_url, topology, database) as these,
        at_work(consumer_crew(these, ["pos"])),
    ):
        (push,) = await tickets(database, "edited", "S001")
        await publish(these, push)
        await until(lambda: len(tills.got["S001"]) == 1, "the first attempt")
        await database.execute(EDIT, remark="edited meanwhile")
        facts = topology.queue("facts.0")

        async def answered() -> bool:
            return await ready_in(amqp_url, facts) == 1

        await until(answered, "the answer is there")
    assert tills.got["S001"] == [(str(push.id), tills.got["S001"][0][1])] * 3
    assert [answer.type for answer in await taken_from(amqp_url, facts)] == ["TicketTaken"]


async def test_a_slow_till_holds_up_nobody_and_its_batch_is_let_go(
    amqp_url: str, migrated_url: str
) -> None:
    topology = await small_topology(amqp_url)
    tills, got = Tills(), list[Envelope[Any]]()
    tills.silent = {"S002"}
    queue, facts = topology.queue("pos.push"), topology.queue("facts.0")
    async with (
        tills.open() as url,
        a_database(migrated_url, url) as database,
        parts(amqp_url, topology, database) as these,
    ):
        pushes = await tickets(database, "slow", "S002", *["S001"] * 20)
        async with at_work(consumer_crew(these, ["pos"])):
            await publish(these, *pushes)

            async def answered(many: int) -> bool:
                got.extend(await taken_from(amqp_url, facts))
                return len(got) == many

            await until(lambda: answered(20), "the neighbours are answered")

            async def handed_over() -> bool:
                lattice = [topology.level(level) for level in range(topology.levels)]
                return await ready_in(amqp_url, *lattice) == 1

            await until(handed_over, "a copy waits in the lattice")
            tills.gate.set()
            await until(lambda: answered(21), "the slow one is answered too")
        assert await ready_in(amqp_url, queue) == 0
    assert {answer.cause for answer in got} == {push.id for push in pushes}
    assert len(tills.got["S002"]) == 1
