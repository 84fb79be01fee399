"""Consumes from several queues over one supervised connection, and only hands over: what arrives
lies in a hand per queue until the job takes it and lets go of it.

Nothing is declared here: a missing queue or marker means to hold and say so until it is back.
"""

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from aiormq.abc import AbstractConnection

from dispatcher.ports import Observer
from dispatcher.rabbit.connection import Link, Trouble, end, is_unreadable
from dispatcher.rabbit.delivery import Delivery, Hand, Lane
from dispatcher.rabbit.errors import BrokerLost
from dispatcher.rabbit.session import Session

PROBATION_SECONDS = 0.2


class Intake:
    """Use as an async context manager; then `ready`, `take`, and let go of each Delivery.

    `marker` is the queue that says that this broker was set up (None: trust any). The watchdog
    compares what the broker sees with what we think every `watch_seconds`.
    """

    def __init__(
        self,
        url: str,
        lanes: Sequence[Lane],
        observer: Observer,
        name: str,
        marker: str | None,
        *,
        watch_seconds: float = 30.0,
        rng: random.Random | None = None,
    ) -> None:
        self._link = Link(url, f"{name}.consume", observer, marker)
        self._lanes = {lane.queue: lane for lane in lanes}
        self._watch_seconds = watch_seconds
        self._rng = rng or random.Random()
        self._held: set[str] = set()
        self._session: Session | None = None
        self._changing = asyncio.Lock()
        self._arrived = asyncio.Event()
        self._changes: set[asyncio.Task[None]] = set()
        self._careful = False
        self._keeper: asyncio.Task[None] | None = None
        self.trouble: str | None = "not connected yet"

    @property
    def connected(self) -> bool:
        """Whether we read all the queues that are not held."""
        return self.trouble is None

    async def __aenter__(self) -> Self:
        self._keeper = asyncio.create_task(self._link.keep(self._serve, self._troubled))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Hang up; what is still in hand is delivered again, to somebody else."""
        if self._keeper is not None:
            await end(self._keeper, *self._changes)
            self._keeper = None

    async def ready(self, *queues: str) -> None:
        """Return when something of these queues (none given: of any) can be taken."""
        while not any(self.in_hand(queue) for queue in queues or self._lanes):
            self._arrived.clear()
            await self._arrived.wait()

    def in_hand(self, queue: str) -> int:
        """How many messages of this queue can be taken now."""
        hand = self._hand(queue)
        return len(hand.waiting) if hand else 0

    def take(
        self, queue: str, *, most_events: int | None = None, most_messages: int | None = None
    ) -> list[Delivery]:
        """What is in hand, oldest first, up to the limits; the first message always."""
        hand = self._hand(queue)
        return hand.take(most_events, most_messages) if hand else []

    async def hold(self, *queues: str) -> None:
        """Read no more from these queues (none given: all); what is in hand can still be settled.

        Costs the messages nothing, unlike giving them back again and again.
        """
        self._held.update(queues or self._lanes)
        await self._change()

    async def resume(self, *queues: str) -> None:
        """Read from these queues (none given: all) again."""
        self._held.difference_update(queues or self._lanes)
        await self._change()

    async def drain(self) -> None:
        """Before stopping: nothing more comes in; what is in hand can still be settled."""
        await self.hold()

    async def give_back_all(self, *queues: str) -> None:
        """Give everything of these queues (none given: all) back, taken or not. Hold them first."""
        for queue in queues or self._lanes:
            if hand := self._hand(queue):
                await hand.give_back_all()

    async def _serve(self, connection: AbstractConnection) -> None:
        session = Session(self._link, connection, self._arrived.set)
        try:
            await session.open(self._lanes.values())
            self._session = session
            if self._careful:
                await self._probe(session)
            await self._follow()
            self.trouble = None
            await session.watch(self._watch_seconds)
        except BrokerLost as lost:
            self._careful = is_unreadable(lost.__cause__)
            raise
        finally:
            self._session = None
            session.forget()

    async def _change(self) -> None:
        # In a task of its own: the caller's cancellation must not meet the client library.
        change = asyncio.create_task(self._follow())
        self._changes.add(change)
        change.add_done_callback(self._changes.discard)
        await asyncio.shield(change)

    async def _follow(self) -> None:
        """Bring the subscriptions in line with what is held. A loss here ends the session."""
        async with self._changing:
            session = self._session
            if session is None:
                return
            with suppress(BrokerLost):
                for queue, lane in self._lanes.items():
                    if queue in self._held:
                        await session.unsubscribe(queue)
                    else:
                        await session.subscribe(queue, lane.prefetch)
            self._report(len(session.subscribed))

    async def _probe(self, session: Session) -> None:
        """After a message that the library cannot decode: one message of one queue after the
        other, in an order that changes, so that it spends its own delivery limit only.
        """
        queues = [queue for queue in self._lanes if queue not in self._held]
        self._rng.shuffle(queues)
        async with self._changing:
            for queue in queues:
                await session.subscribe(queue, 1)
                await session.settled(PROBATION_SECONDS)
            for queue in queues:
                await session.unsubscribe(queue)

    def _hand(self, queue: str) -> Hand | None:
        return self._session.hands.get(queue) if self._session else None

    def _troubled(self, trouble: Trouble) -> None:
        self.trouble = str(trouble)
        self._report(0)

    def _report(self, expected: int) -> None:
        self._link.observer.level("consumers_expected", expected, role=self._link.role)
