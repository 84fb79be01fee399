"""A small consistent world: orders led through System2 and the consumers without a broker.

The tills and the platform are a few lines each; they keep books in the simulators' shape.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

from consumers.answers import answer_to
from consumers.local import LocalWork
from consumers.pos import render_cancellations, render_tickets
from consumers.queues import BY_COMMAND, QUEUES, Kind
from dispatcher import workflows
from dispatcher.engine import Workflows
from dispatcher.entrance import fact_event
from dispatcher.envelope import Envelope, as_dict, decode, encode, split
from dispatcher.identity import bucket_of, order_id, order_no, store_bucket
from dispatcher.inbox import Arrival, Attempt
from dispatcher.journal import Entry
from dispatcher.letters import Letter, letter
from dispatcher.loop import Dispatcher
from dispatcher.messages import (
    Event,
    MealReady,
    OrderCancelled,
    OrderCompleted,
    OrderConfirmed,
    OrderPlaced,
    OrderRejected,
    ReadyTold,
    TicketAccepted,
    TicketCancelled,
    TicketRefused,
    TicketTaken,
)
from dispatcher.order import Amounts, Line, Order, Recipient
from dispatcher.ports import NullObserver
from dispatcher.rabbit.topology import Topology
from ops.checks.books import Pages, pages
from ops.wiring import router_of
from storage import chain, journal, quarantine
from storage.chain import Account, OpeningStock, Store
from storage.database import Database
from storage.inbox import ConsumerStore
from storage.instances import DispatchStore
from storage.orders import TicketStore

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
TILLS, PLATFORM = "http://tills.test:7103", "http://platform.test:7101"
STORE, CHANNEL, ACCOUNT = "S001", "meituan", "mt-main"
ROWS = {row.name: row for row in QUEUES}


def opened(url: str) -> Any:
    return Database.open(url, observer=NullObserver(), name="test")


@dataclass
class Clock:
    """Moves on by a millisecond whenever it is looked at."""

    now: datetime = START

    def __call__(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now


@dataclass
class Shelf:
    """The books of the other side, as the simulators would serve them."""

    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def read(self) -> Pages:
        return pages(
            {
                TILLS: {"messages": list(self.messages.values())},
                PLATFORM: {"orders": list(self.orders.values())},
            }
        )

    def ticket(self, order: UUID) -> dict[str, Any]:
        named = ("ticket.placed", str(order))
        return next(m for m in self.messages.values() if (m["type"], m["order_id"]) == named)


class World:
    """`push_answer`: what the till says to the next ticket."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = Clock()
        self.books = Shelf()
        self.push_answer: Event = TicketTaken()
        self._router = router_of(Topology("system2", 1, tuple(ROWS)))
        lives = Workflows(workflows.ALL, workflows.BORN_WITH)
        self._system2 = Dispatcher(DispatchStore(database), lives, NullObserver(), self.clock)
        self._units = ConsumerStore(database)

    async def open(self) -> None:
        account = Account(ACCOUNT, CHANNEL, f"{PLATFORM}/api/v1", "CNY", {}, {})
        till = Store(STORE, "River Gate", "Asia/Shanghai", f"{TILLS}/tills/S001", "whsec_", ())
        stock = [OpeningStock(STORE, "NOODLE", 10), OpeningStock(STORE, "TEA", 10)]
        async with self.database.transaction() as tx:
            await chain.save_accounts(tx, [account])
            await chain.save_stores(tx, [till])
            await chain.open_stock(tx, stock, self.clock())

    async def place(self, named: str, noodles: int = 1) -> UUID:
        """Noodles, a tea, a napkin (nobody counts them), and something that is none of ours."""
        order = an_order(named, noodles, self.clock())
        self.books.orders[named] = {
            "order_id": named,
            "state": "placed",
            "seen": {"first": 1.0},
            "history": [],
        }
        await self.tell(named, OrderPlaced(order=order))
        return order.order_id

    async def tell(self, named: str, event: Event) -> None:
        """A fact from the platform or the till: accepted, published, dispatched."""
        fact = self.fact(named, event)
        from_till = isinstance(event, TicketAccepted | MealReady)
        await self.accept(fact, *([STORE] if from_till else ["", f"{ACCOUNT}/"]))
        await self.dispatch([fact])

    def fact(self, named: str, event: Event) -> Envelope[Event]:
        key, about = f"{type(event).__name__}:{named}", order_id(CHANNEL, named)
        source = f"/{CHANNEL}/{ACCOUNT}"
        return fact_event(about, source, CHANNEL, key, event, self.clock(), "print")

    async def accept(self, fact: Envelope[Event], *scopes: str) -> None:
        """Once for each scope: "" is the pull, whose rows lie in the order's bucket."""
        entries = [
            Entry(
                store_bucket(scope) if scope else bucket_of(fact.subject),
                *(CHANNEL, scope, str(fact.id), "print", b"{}", (encode(fact),)),
            )
            for scope in scopes
        ]
        await journal.accept(self.database, entries, self.clock())
        await journal.published(self.database, entries, self.clock())

    async def dispatch(self, events: Sequence[Envelope[Event]]) -> None:
        """Until nothing is owed that a consumer here can do."""
        todo = deque(events)
        while todo:
            owed = await self._system2.dispatch([todo.popleft()])
            for command in owed.commands:
                todo += await self._done(command)

    async def _done(self, command: Envelope[Any]) -> list[Envelope[Event]]:
        row = ROWS[BY_COMMAND[command.type]]
        if row.kind is Kind.LOCAL:
            work = LocalWork(row, self._units, self._router, NullObserver(), self.clock)
            out = await work([command])
            return [decode(split(outgoing.event)[0]) for outgoing in out]  # type: ignore[misc]
        return [await self._called(row.name, command)]

    async def _called(self, queue: str, command: Envelope[Any]) -> Envelope[Event]:
        """What consumers.remote does: note, call, answer, log."""
        body = await self._rendered(command)
        async with self._units.transaction() as unit:
            arrival = Arrival(command.bucket, command.id, command.subject, body)
            await unit.note(queue, [arrival], self.clock())
        started = self.clock()
        event = PARTNERS[command.type](self, command, body)
        answer = answer_to(command, event, queue.partition(".")[0], self.clock())
        attempt = Attempt(
            *(command.bucket, command.id, uuid4(), command.subject, "till:S001", 0),
            *("answered", None, None, started, 0.0005),
        )
        async with self._units.transaction() as unit:
            key = (command.bucket, command.id)
            await unit.answer(queue, {key: as_dict(answer)}, self.clock())
            await unit.log(queue, [attempt])
        return answer

    async def _rendered(self, command: Envelope[Any]) -> bytes:
        if command.type == "PushTicket":
            return (await render_tickets([command], TicketStore(self.database)))[0]
        if command.type == "CancelTicket":
            return (await render_cancellations([command], None))[0]
        return b""

    async def poison(self, named: str) -> None:
        """An order that nobody could handle, and a payload that nobody could read."""
        fact = self.fact(named, OrderPlaced(order=an_order(named, 1, self.clock())))
        await self.accept(fact, "")
        lines = Entry(7, CHANNEL, ACCOUNT, "problem:odd", "print", b"odd", (), "no number")
        await journal.accept(self.database, [lines], self.clock())
        await journal.published(self.database, [lines], self.clock())
        odd = Letter("unreadable", CHANNEL, None, None, None, b"odd", {}, "no number", START)
        about = letter(fact, "dispatcher", "KeyError", "a traceback", self.clock())
        await quarantine.insert(self.database, [odd, about])
        for refused in (named, "odd"):
            self.books.orders[refused] = {
                "order_id": refused,
                "state": "placed",
                "seen": {"first": 1.0},
            }


def _push(world: World, command: Envelope[Any], body: bytes) -> Event:
    data = command.data
    refused = isinstance(world.push_answer, TicketRefused)
    world.books.messages[str(command.id)] = {
        "webhook_id": str(command.id),
        "type": "ticket.placed",
        "store": data.store_id,
        "ticket_id": order_no(data.order_id),
        "order_id": str(data.order_id),
        "bodies": [sha256(body).hexdigest()],
        "status": "refused" if refused else "taken",
    }
    return world.push_answer


def _cancel(world: World, command: Envelope[Any], body: bytes) -> Event:
    data = command.data
    world.books.messages[str(command.id)] = {
        "webhook_id": str(command.id),
        "type": "ticket.cancelled",
        "store": data.store_id,
        "ticket_id": order_no(data.order_id),
        "order_id": str(data.order_id),
        "bodies": [sha256(body).hexdigest()],
        "status": "cancelled",
    }
    world.books.ticket(data.order_id)["status"] = "cancelled"
    return TicketCancelled()


def _telling(fact: str, answer: Event) -> Callable[[World, Envelope[Any], bytes], Event]:
    def tell(world: World, command: Envelope[Any], _: bytes) -> Event:
        order = world.books.orders[command.data.channel_order_id]
        order[fact] = {"first": world.clock().timestamp()}
        order["state"] = fact
        return answer

    return tell


PARTNERS: dict[str, Callable[[World, Envelope[Any], bytes], Event]] = {
    "PushTicket": _push,
    "CancelTicket": _cancel,
    "ConfirmOrder": _telling("confirmed", OrderConfirmed()),
    "RejectOrder": _telling("rejected", OrderRejected()),
    "TellReady": _telling("ready", ReadyTold()),
}


def an_order(named: str, noodles: int, placed_at: datetime) -> Order:
    about = order_id(CHANNEL, named)
    lines = (("NOODLE", noodles), ("TEA", 1), ("NAPKIN", 1), (None, 1))
    return Order(
        order_id=about,
        order_no=order_no(about),
        channel=CHANNEL,
        account=ACCOUNT,
        channel_order_id=named,
        aliases=(f"alias-{named}",),
        store_id=STORE,
        daily_number=7,
        placed_at=placed_at,
        remark="ring twice",
        currency="CNY",
        amounts=Amounts(goods_minor=3000, paid_minor=3000),
        lines=tuple(
            Line(line=n, sku=sku, name="x", quantity=many, unit_price_minor=1, paid_minor=1)
            for n, (sku, many) in enumerate(lines, start=1)
        ),
        recipient=Recipient(name="陈女士", phone="13800131234,123456", address="Road 1"),
        flags=("unmapped",),
    )


@asynccontextmanager
async def a_world(url: str) -> AsyncIterator[World]:
    """Done, refused, short, cancelled, waiting, not yet born, and in quarantine: one of each."""
    async with opened(url) as database:
        world = World(database)
        await world.open()
        await _one_of_each(world)
        yield world


async def _one_of_each(world: World) -> None:
    await world.place("done")
    # The meal is ready before the store has accepted: early, and released later.
    await world.tell("done", MealReady(pickup_code="A123"))
    await world.tell("done", TicketAccepted())
    world.books.orders["done"]["state"] = "completed"
    await world.tell("done", OrderCompleted())
    await world.place("short", noodles=99)
    await world.place("cancelled")
    world.books.orders["cancelled"]["state"] = "cancelled"
    await world.tell("cancelled", OrderCancelled())
    world.push_answer = TicketRefused()
    await world.place("refused")
    world.push_answer = TicketTaken()
    await world.place("waiting")
    await world.tell("unborn", OrderCancelled())
    await world.poison("poison")
