"""The pull tick: looks at a platform account, brings in what is new, and sends the next tick.

A tick carries the generation of the cursor it was made for; only one tick of a generation moves
the cursor. The cursor moves, and the platform is told, only after everything that the look brought
is written down and published. Whoever dies on the way is redelivered and looks again.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from time import perf_counter
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from consumers.takeaway import Platforms
from dispatcher.batches import Desk, Tray
from dispatcher.crashpoints import point
from dispatcher.entrance import Entrance, entering
from dispatcher.envelope import Envelope
from dispatcher.errors import Hopeless, Transient
from dispatcher.letters import traceback_of
from dispatcher.messages import PullOrders
from dispatcher.platform import Page, Throttled
from dispatcher.rabbit.delivery import Delivery
from dispatcher.ticks import tick

FASTEST_SECONDS = 1.0
SLOWEST_SECONDS = 5.0
GROWTH = 1.3
PAGES_A_TICK = 20
MENDING_SECONDS = 60.0
LONGEST_PAUSE_SECONDS = 600.0


class Cursor(Protocol):
    """Where one scope of an account stands."""

    @property
    def cursor(self) -> Mapping[str, Any]: ...

    @property
    def generation(self) -> int: ...

    @property
    def moved_by(self) -> UUID | None: ...

    @property
    def interval_seconds(self) -> float: ...

    @property
    def paused(self) -> bool: ...


class Cursors(Protocol):
    async def read(self, channel: str, account: str, scope: str) -> Cursor | None: ...

    async def move(
        self,
        tick: PullOrders,
        tick_id: UUID,
        cursor: Mapping[str, Any],
        interval_seconds: float,
        now: datetime,
    ) -> bool:
        """Compare-and-set from the tick's generation to the next."""


class Look(NamedTuple):
    """What a tick led to: the next cursor, and when to look again."""

    cursor: Mapping[str, Any]
    interval_seconds: float
    orders: int


class Puller:
    """Answers ticks."""

    def __init__(
        self,
        desk: Desk,
        cursors: Cursors,
        platforms: Platforms,
        entrance: Entrance,
        clock: Callable[[], datetime],
    ) -> None:
        self._desk = desk
        self._cursors = cursors
        self._platforms = platforms
        self._entrance = entrance
        self._clock = clock

    async def answer(self, envelope: Envelope[PullOrders]) -> None:
        """Look if this tick's turn has come, and see to it that the next one is under way."""
        data = envelope.data
        cursor = await self._desk.persist(
            lambda: self._cursors.read(data.channel, data.account, data.scope)
        )
        if cursor is None or cursor.paused:
            # A paused account costs nothing: `platform resume` sends a tick again.
            return
        if cursor.generation == data.generation:
            await self._look(envelope, cursor)
        elif cursor.generation == data.generation + 1 and cursor.moved_by == envelope.id:
            # We moved the cursor and died before the next tick was on its way.
            await self._send_next(data, cursor.interval_seconds)

    async def _look(self, envelope: Envelope[PullOrders], cursor: Cursor) -> None:
        data = envelope.data
        look = await self._pull(data, cursor)
        point("puller.move.before")
        moved = await self._desk.persist(
            lambda: self._cursors.move(
                data, envelope.id, look.cursor, look.interval_seconds, self._clock()
            )
        )
        point("puller.move.after")
        if moved:
            await self._send_next(data, look.interval_seconds)

    async def _send_next(self, data: PullOrders, interval_seconds: float) -> None:
        following = tick(data.channel, data.account, data.scope, data.generation + 1, self._clock())
        delay = timedelta(seconds=interval_seconds)
        point("puller.tick.publish.before")
        await self._desk.publish([self._desk.router.later(following, delay)])
        point("puller.tick.publish.after")

    async def _pull(self, data: PullOrders, cursor: Cursor) -> Look:
        """All pages there are. Trouble at the platform, or with what it says, keeps what was
        brought, and backs off: a tick that died would end the looking for good.
        """
        at, brought = dict(cursor.cursor), 0
        started, result = perf_counter(), "ok"
        interval = cursor.interval_seconds
        try:
            platform = self._platforms.of(data.account)
            for _ in range(PAGES_A_TICK):
                point("puller.call.before")
                page = await platform.pull(data.scope, at, self._clock())
                point("puller.call.after")
                brought += await self._bring_in(data, page)
                point("puller.acknowledge.before")
                await platform.acknowledge(page)
                point("puller.acknowledge.after")
                at = page.cursor
                if not page.more:
                    break
            interval = next_interval(interval, brought)
            now = self._clock().timestamp()
            self._level("pull_last_success_timestamp_seconds", now, data)
        except Exception as error:
            result = _result(error)
            interval = interval_after(error, interval)
            why = traceback_of(error) if result == "bug" else str(error)
            self._desk.observer.note(
                "pull failed", account=data.account, scope=data.scope, error=why
            )
        self._desk.observer.count("pull_runs_total", platform=data.channel, result=result)
        self._level("pull_lag_seconds", perf_counter() - started, data)
        return Look(at, interval, brought)

    async def _bring_in(self, data: PullOrders, page: Page) -> int:
        scope = f"{data.account}/{data.scope}"
        payloads = [entering(data.channel, data.account, raw) for raw in page.raws]
        accepted = await self._desk.persist(
            lambda: self._entrance.admit(data.channel, scope, payloads)
        )
        return sum(one.first_time for one in accepted or ())

    def _level(self, name: str, value: float, data: PullOrders) -> None:
        self._desk.observer.level(name, value, platform=data.channel)


def interval_after(error: Exception, interval: float) -> float:
    """A platform that asks us to slow down says for how long; others are asked again soon, because
    orders wait there.
    """
    if isinstance(error, Throttled):
        return min(max(FASTEST_SECONDS, error.retry_after or 0), LONGEST_PAUSE_SECONDS)
    return min(interval * 2, SLOWEST_SECONDS if isinstance(error, Transient) else MENDING_SECONDS)


def _result(error: Exception) -> str:
    """A platform that refuses us (wrong secret, no right) is asked on, slowly: it may be mended."""
    if isinstance(error, Throttled):
        return "throttled"
    if isinstance(error, Hopeless):
        return "refused"
    return "failed" if isinstance(error, Transient) else "bug"


def next_interval(interval: float, brought: int) -> float:
    """Look often where orders come, ever less often where none do."""
    return FASTEST_SECONDS if brought else min(interval * GROWTH, SLOWEST_SECONDS)


class PullLoop:
    """Reads ticks, answers several accounts at once, each tick acknowledged by itself."""

    def __init__(self, desk: Desk, tray: Tray, puller: Puller) -> None:
        self._desk = desk
        self._tray = tray
        self._puller = puller
        self._looks: set[asyncio.Task[None]] = set()

    async def run(self, stopping: asyncio.Event) -> None:
        stop = asyncio.create_task(stopping.wait())
        while not stopping.is_set():
            ready = asyncio.create_task(self._tray.ready())
            await asyncio.wait({ready, stop}, return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                for delivery in self._tray.take():
                    look = asyncio.create_task(self._answer(delivery))
                    self._looks.add(look)
                    look.add_done_callback(self._looks.discard)
            ready.cancel()
        stop.cancel()
        await self._desk.intake.hold(*self._desk.queues)
        if self._looks:
            await asyncio.wait(self._looks, timeout=15)

    async def _answer(self, delivery: Delivery) -> None:
        try:
            found = self._desk.read(delivery)
            await self._desk.quarantine(found.letters)
            await self._desk.publish(found.outgoing, [delivery])
            for envelope in found.envelopes:
                await self._puller.answer(envelope)  # type: ignore[arg-type]
        except Exception as error:
            # Ticks are never worth a quarantine: reject leads to the solo queue, and then there.
            self._desk.observer.note("tick failed", error=repr(error))
            await delivery.reject()
            return
        point("puller.ack.before")
        await delivery.ack()
        point("puller.ack.after")
