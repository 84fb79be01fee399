"""Where the walk over a store's daily order numbers stands: the pull cursor, as pure values.

Meituan numbers a store's orders from 1 each day. A number that cannot be read yet stays as a hole
and is looked at again, ever more slowly, until its day is over. After midnight the day before
stays open for a grace time, because nothing tells where it ended: the numbers behind its last one
are tried like holes.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from enum import Enum, auto
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo


class Hole(NamedTuple):
    """A number to look at again at `due` (Unix seconds). `degraded`: its order is placed."""

    seq: int
    tries: int
    due: int
    degraded: bool = False


class Day(NamedTuple):
    """`last_seq` is the highest number known to exist that has been looked at."""

    date: date
    last_seq: int = 0
    holes: tuple[Hole, ...] = ()

    def due(self, now: float, most: int) -> list[Hole]:
        """The holes to look at now, those that waited longest first."""
        waiting = sorted((hole for hole in self.holes if hole.due <= now), key=lambda h: h.due)
        return waiting[:most]


class Cursor(NamedTuple):
    """The day that is walked and, for a while, the day before."""

    today: Day
    before: Day | None = None


class Look(Enum):
    """What looking at a number brought."""

    READ = auto()
    DEGRADED = auto()  # placed, but incomplete: look again for the rest
    NOT_YET = auto()  # no such order, or it is not paid
    SICK = auto()  # the platform answered with something that cannot be read
    UNREACHED = auto()  # no answer


KNOWN = frozenset({Look.READ, Look.DEGRADED, Look.SICK})


class Seen(NamedTuple):
    seq: int
    look: Look


class Pace(NamedTuple):
    """How the walk goes: all are settings."""

    page_numbers: int
    page_holes: int
    longest_hole_wait_seconds: int
    rollover_grace_seconds: int
    tail_misses: int
    days_back: int


def read_cursor(cursor: Mapping[str, Any], today: date, pace: Pace) -> Cursor:
    """The stored cursor, rolled over to `today` when midnight has passed."""
    if "date" not in cursor:
        return Cursor(Day(today))
    stored = _day(cursor)
    before = _day(cursor["before"]) if cursor.get("before") else None
    if stored.date >= today:
        return Cursor(stored, before)
    oldest = today - timedelta(days=pace.days_back)
    unfinished = before or stored
    return Cursor(Day(today), unfinished if unfinished.date >= oldest else Day(oldest))


def write_cursor(cursor: Cursor) -> dict[str, Any]:
    written = _plain(cursor.today)
    return written if cursor.before is None else {**written, "before": _plain(cursor.before)}


def walked(day: Day, page: range, top: int, seen: Sequence[Seen], now: float, pace: Pace) -> Day:
    """Today after a look at the numbers of `page` and at due holes.

    The walk does not pass numbers behind which nothing is known: right after midnight by our
    clock they may still be yesterday's. A whole page of unknown numbers it does pass.
    """
    known = [look.seq for look in seen if look.look in KNOWN]
    last_seq = max([day.last_seq, *known])
    if page and last_seq < page.start and page.stop <= top and _all_not_yet(page, seen):
        last_seq = page.stop - 1
    looked = [look for look in seen if look.seq <= last_seq]
    return Day(day.date, last_seq, _holes(day.holes, looked, now, pace))


def tail_probes(day: Day, now: float, pace: Pace) -> Day:
    """The day before, with the numbers behind its last one among the holes."""
    there = {hole.seq for hole in day.holes}
    behind = range(day.last_seq + 1, day.last_seq + 1 + pace.tail_misses)
    probes = (Hole(seq, 0, int(now)) for seq in behind if seq not in there)
    return day._replace(holes=(*day.holes, *probes))


def finished(day: Day, seen: Sequence[Seen], now: float, closing: bool, pace: Pace) -> Day:
    """The day before after a look; when it is `closing`, a number gets no further look."""
    last_seq = max([day.last_seq, *(look.seq for look in seen if look.look in KNOWN)])
    gone = {look.seq for look in seen if closing and look.look is not Look.UNREACHED}
    again = [look for look in seen if look.seq not in gone]
    kept = tuple(hole for hole in day.holes if hole.seq not in gone)
    return Day(day.date, last_seq, _holes(kept, again, now, pace))


def end_of(day: date, zone: ZoneInfo) -> float:
    """The instant, in Unix seconds, at which the day ends in the store's own time."""
    return datetime.combine(day + timedelta(days=1), time(), zone).timestamp()


def next_before(closed: Day, today: date) -> Day | None:
    """The day to finish after this one, if we missed more than one midnight."""
    following = closed.date + timedelta(days=1)
    return Day(following) if following < today else None


def _all_not_yet(page: range, seen: Iterable[Seen]) -> bool:
    looks = {look.seq: look.look for look in seen}
    return all(looks.get(seq) is Look.NOT_YET for seq in page)


def _holes(holes: Iterable[Hole], seen: Iterable[Seen], now: float, pace: Pace) -> tuple[Hole, ...]:
    """The holes after these looks: those read are gone, the others wait longer than before."""
    left = {hole.seq: hole for hole in holes}
    for seq, look in seen:
        before = left.pop(seq, Hole(seq, 0, 0))
        if look is not Look.READ:
            wait = min(2 ** min(before.tries, 20), pace.longest_hole_wait_seconds)
            degraded = before.degraded or look is Look.DEGRADED
            left[seq] = Hole(seq, before.tries + 1, int(now) + wait, degraded)
    return tuple(left[seq] for seq in sorted(left))


def _day(stored: Mapping[str, Any]) -> Day:
    holes = tuple(
        Hole(int(seq), int(tries), int(due), bool(degraded))
        for seq, tries, due, degraded in stored.get("holes", ())
    )
    day = datetime.strptime(stored["date"], "%Y%m%d").date()  # noqa: DTZ007  # a date has no zone
    return Day(day, int(stored["last_seq"]), holes)


def _plain(day: Day) -> dict[str, Any]:
    return {
        "date": day.date.strftime("%Y%m%d"),
        "last_seq": day.last_seq,
        "holes": [list(hole) for hole in day.holes],
    }
