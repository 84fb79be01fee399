"""Ticks on real servers: however many producers set them going, each scope has one cursor."""

import asyncio
import json
from typing import NamedTuple
from uuid import uuid4

from dispatcher.messages import PullOrders
from dispatcher.ports import NullObserver
from dispatcher.rabbit.publish import Publisher
from producers.schedule import Schedule
from storage.cursors import CursorStore
from tests.integration.producers.place import PULL, now, opened, router, topology
from tests.integration.rabbit.broker import messages_in


class Account(NamedTuple):
    channel: str
    account: str

    def scopes(self) -> tuple[str, ...]:
        return ("poi-1", "poi-2")


async def test_several_producers_seed_each_cursor_once(stocked_url: str, amqp_url: str) -> None:
    wanted, observer, account = await topology(amqp_url), NullObserver(), uuid4().hex
    async with (
        opened(stocked_url) as database,
        Publisher(amqp_url, observer, "test", wanted.marker) as publisher,
    ):
        cursors = CursorStore(database)
        schedule = Schedule(
            cursors,
            lambda: [Account("meituan", account)],
            publisher,
            router(wanted),
            observer,
            now,
        )
        await asyncio.gather(*(schedule.set_going() for _ in range(4)))
        tick = PullOrders(channel="meituan", account=account, scope="poi-1", generation=0)
        assert await cursors.move(tick, uuid4(), {"day": 1}, 1.0, now())
        await schedule.set_going()
        rows = [row for row in await cursors.all() if row.account == account]
    assert sorted((row.scope, row.generation) for row in rows) == [("poi-1", 1), ("poi-2", 0)]
    messages = await messages_in(amqp_url, wanted.queue(PULL))
    sent = [event["data"] for message in messages for event in json.loads(message.body)]
    assert [(tick["scope"], tick["generation"]) for tick in sent] == [
        *([("poi-1", 0), ("poi-2", 0)] * 4),
        ("poi-1", 1),
        ("poi-2", 0),
    ]
