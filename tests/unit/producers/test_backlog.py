"""What was left behind goes out at the next connect, in batches, and is not asked for again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dispatcher.entrance import Entering, fact_event
from dispatcher.journal import Entry
from dispatcher.messages import TicketAccepted
from dispatcher.rabbit.connection import Backoff
from dispatcher.rabbit.errors import BrokerUnavailable
from producers.backlog import Backlog
from producers.reconnects import AtEachConnect
from tests.unit.producers.doubles import (
    NOW,
    ORDER,
    ROUTER,
    Books,
    MemoryBroker,
    MemoryJournal,
    Shelf,
    entrance,
)


async def left_behind(journal: MemoryJournal, count: int) -> None:
    """Rows of a time when the broker was down."""
    broker = MemoryBroker()
    broker.connected = False
    for number in range(count):
        event = fact_event(ORDER, "/t", "t", str(number), TicketAccepted(), NOW, None)
        try:
            row = Entering(str(number), "f", b"", (event,))
            await entrance(journal, broker, Shelf()).admit("till", "S001", [row], 1)
        except BrokerUnavailable:
            continue


def backlog(journal: MemoryJournal, broker: MemoryBroker, books: Books | None = None) -> Backlog:
    return Backlog(journal, broker, ROUTER, books or Books(), lambda: NOW, rows_at_once=3)


async def test_all_of_it_is_published_batch_by_batch() -> None:
    journal, broker = MemoryJournal(), MemoryBroker()
    await left_behind(journal, 7)
    await backlog(journal, broker).publish_all()
    assert len(broker.taken) == len(journal.done) == 7
    await backlog(journal, broker).publish_all()
    assert len(broker.taken) == 7


async def test_what_this_process_does_not_understand_holds_nobody_up() -> None:
    journal, broker, books = MemoryJournal(), MemoryBroker(), Books()
    newer = b'{"specversion": "1.0", "type": "system2.NotYetInvented"}'
    await journal.accept([Entry(0, "till", "S001", "0", "f", b"", (newer,))], NOW)
    await left_behind(journal, 5)
    await backlog(journal, broker, books).publish_all()
    assert len(broker.taken) == 5
    assert set(books.notes) == {"left in the backlog", "backlog published"}


async def test_what_became_no_event_is_done_with() -> None:
    journal, broker = MemoryJournal(), MemoryBroker()
    await journal.accept([Entry(0, "meituan", "a/", "0", "f", b"", (), "unreadable")], NOW)
    await backlog(journal, broker).publish_all()
    assert (broker.taken, len(journal.done)) == ([], 1)


class Switch:
    """A broker that is there or not, and knows when somebody has looked."""

    def __init__(self) -> None:
        self.up = True
        self._looked = asyncio.Event()

    @property
    def connected(self) -> bool:
        self._looked.set()
        return self.up

    async def looked_at(self) -> None:
        for _ in range(2):
            self._looked.clear()
            await self._looked.wait()


class Job:
    """Counts how often it was done, and fails when told to."""

    def __init__(self, fails: int = 0) -> None:
        self.fails = fails
        self.done = asyncio.Semaphore(0)
        self.tries = 0

    async def __call__(self) -> None:
        self.tries += 1
        if self.tries <= self.fails:
            raise BrokerUnavailable(1, None)
        self.done.release()


@asynccontextmanager
async def watching(broker: Switch, job: Job) -> AsyncIterator[AtEachConnect]:
    watch = AtEachConnect(broker, job, Books(), look_seconds=0.001, backoff=Backoff(0.001))
    stopping = asyncio.Event()
    running = asyncio.create_task(watch.run(stopping))
    try:
        async with asyncio.timeout(5):
            yield watch
    finally:
        stopping.set()
        await running


async def test_the_job_is_done_at_the_start_and_at_each_reconnect_and_not_between() -> None:
    broker, job = Switch(), Job()
    async with watching(broker, job):
        await job.done.acquire()
        for _ in range(3):
            broker.up = False
            await broker.looked_at()
            broker.up = True
            await job.done.acquire()
        await broker.looked_at()
    assert job.tries == 4


async def test_without_a_broker_the_job_waits() -> None:
    broker, job = Switch(), Job()
    broker.up = False
    async with watching(broker, job) as watch:
        watch.ask()
        await broker.looked_at()
        assert job.tries == 0
        broker.up = True
        await job.done.acquire()


async def test_who_left_something_behind_asks_for_it_without_a_reconnect() -> None:
    broker, job = Switch(), Job()
    async with watching(broker, job) as watch:
        await job.done.acquire()
        watch.ask()
        await job.done.acquire()
    assert job.tries == 2


async def test_a_job_that_fails_is_tried_until_it_is_done_once() -> None:
    job = Job(fails=2)
    async with watching(Switch(), job):
        await job.done.acquire()
    assert job.tries == 3
