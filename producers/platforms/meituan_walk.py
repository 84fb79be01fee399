"""The walk itself: looks at new numbers and due holes of one store, a bounded page at a time."""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple, Protocol
from zoneinfo import ZoneInfo

from dispatcher.errors import PipelineError
from dispatcher.platform import Page, Raw
from producers.platforms import meituan_days as days
from producers.platforms.foreign import digest, text, whole
from producers.platforms.meituan_days import Cursor, Day, Hole, Look, Pace, Seen
from producers.platforms.meituan_order import Books, read_order
from producers.platforms.meituan_wire import Garbled, Rejected, StateChanged, UnknownOrder


class Reader(Protocol):
    """What the walk needs of Meituan's API."""

    async def read(self, resource: str, **params: str) -> tuple[Any, bytes]:
        """The data of the answer and its raw body. Raises NotDone, Throttled or Rejected."""


class Sight(NamedTuple):
    """What was seen at a number: a payload, or why there is none."""

    seq: int
    look: Look
    raw: Raw | None = None
    error: PipelineError | None = None
    first_look: bool = True


class Stretch(NamedTuple):
    """A day after a look at it; `more`: there is work left that need not wait."""

    day: Day | None
    sights: Sequence[Sight]
    more: bool


class Walk(NamedTuple):
    """`paid_from_status`: an order in a lower status is not paid yet and comes later."""

    client: Reader
    books: Books
    pace: Pace
    zone: Callable[[str], ZoneInfo]
    parallel_reads: int
    paid_from_status: int

    async def page(self, store: str, stored: Mapping[str, Any], now: datetime) -> Page:
        """Yesterday's rest first, then today. Raises only when nothing at all could be read."""
        today = now.astimezone(self.zone(store)).date()
        cursor = days.read_cursor(stored, today, self.pace)
        top = await self._highest_number(store)
        rest = await self._finish(store, cursor.before, cursor.today.date, now)
        new = await self._go_on(store, cursor.today, top, now)
        sights = [*rest.sights, *new.sights]
        _raise_if_nothing_was_read(sights)
        return Page(
            raws=tuple(sight.raw for sight in sights if sight.raw is not None),
            cursor=days.write_cursor(Cursor(new.day or cursor.today, rest.day)),
            more=rest.more or new.more,
        )

    async def _go_on(self, store: str, day: Day, top: int, now: datetime) -> Stretch:
        if top < day.last_seq:
            # Our clock passed midnight before theirs did: what we took for today was yesterday.
            day = Day(day.date)
        page = range(day.last_seq + 1, min(top, day.last_seq + self.pace.page_numbers) + 1)
        due = day.due(now.timestamp(), self.pace.page_holes)
        sights = await self._look(store, day.date, [*due, *(Hole(n, 0, 0) for n in page)], now)
        after = days.walked(day, page, top, _seen(sights), now.timestamp(), self.pace)
        more = day.last_seq < after.last_seq < top and len(page) == self.pace.page_numbers
        return Stretch(after, sights, more)

    async def _finish(self, store: str, day: Day | None, today: date, now: datetime) -> Stretch:
        """The day before: looked at until its grace is over, then once more and closed."""
        if day is None:
            return Stretch(None, (), more=False)
        pace, instant = self.pace, now.timestamp()
        overtime = instant - days.end_of(day.date, self.zone(store))
        closing = overtime >= pace.rollover_grace_seconds
        probed = days.tail_probes(day, instant, pace)
        due = probed.due(float("inf") if closing else instant, pace.page_holes)
        sights = await self._look(store, day.date, due, now)
        if closing:
            last_chance = overtime >= 2 * pace.rollover_grace_seconds
            sights = [_given_up(sight, store, day.date, last_chance) for sight in sights]
        after = days.finished(probed, _seen(sights), instant, closing, pace)
        if closing and not after.holes and after.last_seq == day.last_seq:
            following = days.next_before(after, today)
            return Stretch(following, sights, more=following is not None)
        # Only progress asks for more: a number without an answer must not keep the walk busy.
        progress = after.last_seq > day.last_seq or len(after.holes) < len(day.holes)
        return Stretch(after, sights, more=closing and progress)

    async def _look(
        self, store: str, day: date, holes: Iterable[Hole], now: datetime
    ) -> list[Sight]:
        gate = asyncio.Semaphore(self.parallel_reads)

        async def look(hole: Hole) -> Sight:
            async with gate:
                sight = await self._read(store, day, hole, now)
                return sight._replace(first_look=hole.tries == 0)

        return await asyncio.gather(*(look(hole) for hole in holes))

    async def _read(self, store: str, day: date, hole: Hole, now: datetime) -> Sight:
        try:
            document, body = await self._order(store, day, hole.seq)
        except UnknownOrder as error:
            return Sight(hole.seq, Look.NOT_YET, error=error)
        except (Garbled, StateChanged, Rejected) as error:
            return Sight(hole.seq, Look.SICK, error=error)
        except PipelineError as error:
            return Sight(hole.seq, Look.UNREACHED, error=error)
        reading = read_order(document, body, self.books, now, again=hole.degraded)
        if reading.status is not None and reading.status < self.paid_from_status:
            return Sight(hole.seq, Look.NOT_YET)
        incomplete = reading.degraded and reading.raw.problem is None
        return Sight(hole.seq, Look.DEGRADED if incomplete else Look.READ, reading.raw)

    async def _order(self, store: str, day: date, seq: int) -> tuple[Mapping[str, Any], bytes]:
        found, _ = await self.client.read(
            "order/getOrderIdByDaySeq",
            app_poi_code=store,
            date_time=day.strftime("%Y%m%d"),
            day_seq=str(seq),
        )
        channel_order_id = text(found.get("order_id") if isinstance(found, dict) else found)
        if not (channel_order_id.isascii() and channel_order_id.isdigit()):
            raise Garbled("the answer names no order id")
        document, body = await self.client.read(
            "order/getOrderDetail", order_id=channel_order_id, is_mt_logistics="1"
        )
        if not isinstance(document, dict):
            raise Garbled("the answer holds no order")
        return document, body

    async def _highest_number(self, store: str) -> int:
        found, _ = await self.client.read("order/getOrderDaySeq", app_poi_code=store)
        top = whole(found.get("day_seq") if isinstance(found, dict) else found)
        if top is None or top < 0:
            raise Garbled("the answer names no day sequence")
        return top


def _seen(sights: Iterable[Sight]) -> list[Seen]:
    return [Seen(sight.seq, sight.look) for sight in sights]


def _given_up(sight: Sight, store: str, day: date, last_chance: bool) -> Sight:
    """At the end of its day a number that cannot be read becomes a problem for a person."""
    hopeless = sight.look is Look.SICK or (sight.look is Look.UNREACHED and last_chance)
    if not hopeless:
        return sight
    number = {"store": store, "date": day.strftime("%Y%m%d"), "day_seq": sight.seq}
    problem = f"number {sight.seq} of {day} at store {store} could not be read: {sight.error}"
    body = json.dumps(number, ensure_ascii=False).encode()
    key = f"number:{store}:{day:%Y%m%d}:{sight.seq}"
    return sight._replace(look=Look.SICK, raw=Raw(key, digest(number), body, (), problem))


def _raise_if_nothing_was_read(sights: Sequence[Sight]) -> None:
    """A number that cannot be read never stops its neighbours; when none can be, the caller must
    slow down. A hole may fail alone: it waits by itself.
    """
    if any(sight.raw is not None for sight in sights):
        return
    for sight in sights:
        in_the_way = sight.look is Look.UNREACHED or isinstance(sight.error, Rejected)
        if sight.error is not None and in_the_way and sight.first_look:
            raise sight.error
