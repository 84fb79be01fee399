"""Puts the parts together: the only module that knows both who asks and who answers."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

from consumers.local import LocalWork
from consumers.pull import Puller, PullLoop
from consumers.queues import BY_COMMAND, NAMES, PULL, QUEUES, Kind, Queue
from consumers.remote import RemoteLoop
from consumers.till import HttpTills
from dispatcher import workflows
from dispatcher.batches import Alone, BatchLoop, Desk, OneQueue, Tray, TwoLanes
from dispatcher.engine import Workflows
from dispatcher.entrance import Entrance
from dispatcher.envelope import Envelope
from dispatcher.errors import Hopeless
from dispatcher.journal import Journal
from dispatcher.last_resort import LastResort
from dispatcher.letters import Letters
from dispatcher.loop import Dispatcher, delay_of
from dispatcher.messages import Event
from dispatcher.ports import Observer
from dispatcher.rabbit.consume import Intake
from dispatcher.rabbit.delivery import Lane
from dispatcher.rabbit.publish import Outgoing, Publisher
from dispatcher.rabbit.raw import RawReader
from dispatcher.rabbit.routing import Router
from dispatcher.rabbit.topology import Topology
from ops.directory import PlatformBook, StoreBook
from ops.settings import Settings
from producers.backlog import Backlog
from producers.ingress.door import Door, OneBodyPerKey, Route
from producers.ingress.platforms import PlatformRoute
from producers.ingress.server import Ingress
from producers.ingress.tills import TillRoute
from producers.reconnects import AtEachConnect
from producers.schedule import Schedule
from storage.cursors import CursorStore
from storage.database import Database, trouble
from storage.inbox import ConsumerStore
from storage.instances import DispatchStore
from storage.journal import JournalStore
from storage.orders import TicketStore
from storage.quarantine import LetterStore

EVENT_PREFETCH = 40
COMMAND_PREFETCH = 16


def now() -> datetime:
    """The clock of every process."""
    return datetime.now(UTC)


def topology_of(settings: Settings) -> Topology:
    return Topology(settings.namespace, settings.partitions, NAMES)


def router_of(topology: Topology) -> Router:
    births = frozenset(event for life in workflows.BORN_WITH for event in life.births)
    return Router(topology, BY_COMMAND, births)


@dataclass(frozen=True)
class Parts:
    """What every process has."""

    settings: Settings
    name: str
    observer: Observer
    database: Database
    publisher: Publisher
    topology: Topology
    router: Router
    letters: Letters

    def entrance(self, name: str, journal: Journal | None = None) -> Entrance:
        """The way in for what this process brings."""
        return Entrance(
            name,
            journal or JournalStore(self.database),
            self.publisher,
            self.router,
            self.letters,
            self.observer,
            now,
        )


@asynccontextmanager
async def parts(settings: Settings, name: str, observer: Observer) -> AsyncIterator[Parts]:
    """Open what every process has; neither server needs to be there yet."""
    topology = topology_of(settings)
    database_url = settings.database_url.get_secret_value()
    async with (
        Database.open(database_url, observer=observer, name=name, min_size=0) as database,
        Publisher(_amqp(settings), observer, name, topology.marker) as publisher,
    ):
        yield Parts(
            settings,
            name,
            observer,
            database,
            publisher,
            topology,
            router_of(topology),
            LetterStore(database),
        )


Reader = Intake | RawReader
Loop = BatchLoop | RemoteLoop | PullLoop | LastResort | AtEachConnect | Ingress


class Crew(NamedTuple):
    """What a role brings into a process."""

    loops: Sequence[Loop]
    readers: Sequence[Reader]


@asynccontextmanager
async def dispatcher_crew(these: Parts) -> AsyncIterator[Crew]:
    """System2: facts and births of all partitions, and the queues of last resort."""
    topology = these.topology
    facts = [topology.queue(t) for t in topology.event_targets if t.startswith("facts")]
    births = [topology.queue(t) for t in topology.event_targets if t.startswith("placed")]
    lives = Workflows(workflows.ALL, workflows.BORN_WITH, these.settings.deadline_scale)
    system2 = Dispatcher(DispatchStore(these.database), lives, these.observer, now)
    work = _dispatching(system2, these.router)
    async with AsyncExitStack() as stack:
        intake, solo = await _intakes(these, (*facts, *births), EVENT_PREFETCH, stack)
        desk = _desk(these, "dispatcher", (*facts, *births), intake)
        # Two batches at once: one is worked out while the other waits for the database.
        loops: list[Loop] = [
            BatchLoop(desk, TwoLanes(intake, facts, births), work) for _ in range(2)
        ]
        alone = [topology.solo(queue) for queue in (*facts, *births)]
        alone_desk = _desk(these, "dispatcher", alone, solo)
        loops.append(BatchLoop(alone_desk, Alone(solo, alone), work))
        readers = [
            await stack.enter_async_context(_raw(these, topology.quarantine)),
            await stack.enter_async_context(_raw(these, topology.lost)),
        ]
        for reader, reason in zip(readers, ("undeliverable", "lost"), strict=True):
            loops.append(LastResort(_desk(these, reason, (), intake), reader, reason, now))
        yield Crew(loops, [intake, solo, *readers])


def _raw(these: Parts, queue: str) -> RawReader:
    return RawReader(_amqp(these.settings), queue, these.observer, these.name)


def _dispatching(system2: Dispatcher, router: Router) -> Callable[[Sequence[Envelope[Any]]], Any]:
    async def dispatch(events: Sequence[Envelope[Any]]) -> list[Outgoing]:
        for event in events:
            if not isinstance(event.data, Event):
                raise Hopeless(f"{event.type} is a command: the dispatcher takes events")
        owed = await system2.dispatch(events)
        moment = now()
        deadlines = [router.later(event, delay_of(event, moment)) for event in owed.deadlines]
        return [*map(router.now, owed.commands), *deadlines]

    return dispatch


@asynccontextmanager
async def consumer_crew(these: Parts, names: Sequence[str]) -> AsyncIterator[Crew]:
    """The queues of these lines of business (`stock`, `pos`, `takeaway`)."""
    rows = [row for row in QUEUES if row.consumer in names]
    pulls = PULL.partition(".")[0] in names
    targets = [row.name for row in rows] + [PULL] * pulls
    queues = [these.topology.queue(target) for target in targets]
    async with AsyncExitStack() as stack:
        given = await _resources(these, names, stack)
        intake, solo = await _intakes(these, queues, COMMAND_PREFETCH, stack)
        loops: list[Loop] = []
        for target, queue in zip(targets, queues, strict=True):
            alone = these.topology.solo(queue)
            for desk, tray in (
                (_desk(these, target, (queue,), intake), OneQueue(intake, queue)),
                (_desk(these, target, (alone,), solo), Alone(solo, [alone])),
            ):
                row = next((row for row in rows if row.name == target), None)
                loops.append(_loop(these, row, desk, tray, given))
        if pulls:
            # What a puller that died had accepted; the platform may tell something else by now.
            loops.append(_backlog(these))
        yield Crew(loops, [intake, solo])


async def _resources(
    these: Parts, names: Sequence[str], stack: AsyncExitStack
) -> Mapping[str, Any]:
    """What jobs are given, by the name in the queue table."""
    given: dict[str, Any] = {}
    if "pos" in names:
        given["tickets"] = TicketStore(these.database)
        find = StoreBook(these.database).find
        given["tills"] = await stack.enter_async_context(HttpTills(find))
    if "takeaway" in names:
        given["platforms"] = await stack.enter_async_context(PlatformBook.open(these.database))
    return given


def _loop(
    these: Parts, row: Queue | None, desk: Desk, tray: Tray, given: Mapping[str, Any]
) -> Loop:
    if row is None:
        cursors = CursorStore(these.database)
        puller = Puller(desk, cursors, given["platforms"], these.entrance("puller"), now)
        return PullLoop(desk, tray, puller)
    units = ConsumerStore(these.database)
    if row.kind is Kind.LOCAL:
        return BatchLoop(desk, tray, LocalWork(row, units, these.router, these.observer, now))
    return RemoteLoop(
        desk,
        row,
        units,
        tray,
        render=partial(_render, row, given.get(row.reads)),
        call=partial(_call, row, given[row.needs]),
        destination=_destination,
    )


def _render(row: Queue, source: Any, commands: Sequence[Envelope[Any]]) -> Awaitable[list[bytes]]:
    return row.render(commands, source)


def _call(row: Queue, partner: Any, command: Envelope[Any], body: bytes) -> Awaitable[Event]:
    return row.job(command, body, partner)


def _destination(command: Envelope[Any]) -> str:
    """Whose troubles are its own: an account, or a store's till."""
    data = command.data
    return getattr(data, "account", None) or f"till:{data.store_id}"


@asynccontextmanager
async def producer_crew(these: Parts) -> AsyncIterator[Crew]:
    """Sets the pull ticks going, and publishes what an outage left behind."""
    async with PlatformBook.open(these.database) as platforms:
        schedule = Schedule(
            CursorStore(these.database),
            platforms.all,
            these.publisher,
            these.router,
            these.observer,
            now,
        )
        yield Crew([_at_each_connect(these, schedule.set_going), _backlog(these)], [])


@asynccontextmanager
async def http_crew(these: Parts) -> AsyncIterator[Crew]:
    """Takes what platforms and tills send."""
    backlog = _backlog(these)
    stores = StoreBook(these.database)
    tickets = TicketStore(these.database)
    own_keys = OneBodyPerKey(JournalStore(these.database))
    till_door = Door(these.entrance("ingress", own_keys), these.observer, backlog.ask)
    platform_door = Door(these.entrance("ingress"), these.observer, backlog.ask)
    async with PlatformBook.open(these.database) as platforms:
        routes: list[Route] = [
            TillRoute(stores.find, tickets.of_number, till_door, now),
            PlatformRoute(platforms, platform_door, now),
        ]
        settings = these.settings
        ingress = Ingress(routes, these.observer, trouble, settings.http_host, settings.http_port)
        yield Crew([ingress, backlog], [])


def _backlog(these: Parts) -> AtEachConnect:
    journal = JournalStore(these.database)
    backlog = Backlog(journal, these.publisher, these.router, these.observer, now)
    return _at_each_connect(these, backlog.publish_all)


def _at_each_connect(these: Parts, job: Callable[[], Awaitable[None]]) -> AtEachConnect:
    return AtEachConnect(these.publisher, job, these.observer)


async def _intakes(
    these: Parts, queues: Sequence[str], prefetch: int, stack: AsyncExitStack
) -> tuple[Intake, Intake]:
    """One for the queues, one for those behind them: a message that breaks its connection must
    not break the others' each time.
    """
    marker = these.topology.marker
    lanes = [Lane(queue, prefetch) for queue in queues]
    alone = [Lane(these.topology.solo(queue), 1) for queue in queues]
    url = _amqp(these.settings)
    return (
        await stack.enter_async_context(Intake(url, lanes, these.observer, these.name, marker)),
        await stack.enter_async_context(
            Intake(url, alone, these.observer, f"{these.name}-solo", marker)
        ),
    )


def _desk(these: Parts, name: str, queues: Sequence[str], intake: Intake) -> Desk:
    return Desk(
        name=name,
        queues=tuple(queues),
        intake=intake,
        publisher=these.publisher,
        router=these.router,
        letters=these.letters,
        observer=these.observer,
        sort=trouble,
        clock=now,
    )


def _amqp(settings: Settings) -> str:
    return settings.amqp_url.get_secret_value()
