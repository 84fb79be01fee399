"""When to pull: every scope of every account has a cursor, and a tick of its generation goes round.

Ticks circulate by themselves; this only sets them going. Any number of producers may: of several
ticks of one generation one moves the cursor, the others die.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from dispatcher.crashpoints import point
from dispatcher.envelope import Envelope
from dispatcher.ports import Observer
from dispatcher.rabbit.publish import Outgoing
from dispatcher.ticks import tick
from producers.backlog import CONFIRM_SECONDS, Publisher


class Scope(NamedTuple):
    """What is pulled separately."""

    channel: str
    account: str
    scope: str


class Cursor(Protocol):
    @property
    def channel(self) -> str: ...

    @property
    def account(self) -> str: ...

    @property
    def scope(self) -> str: ...

    @property
    def generation(self) -> int: ...

    @property
    def paused(self) -> bool: ...


class Cursors(Protocol):
    async def all(self) -> Sequence[Cursor]: ...

    async def seed(self, channel: str, account: str, scope: str, now: datetime) -> None:
        """Make sure that the cursor exists; a new one is at generation 0."""


class Pulled(Protocol):
    """As much of a platform as its schedule needs."""

    @property
    def channel(self) -> str: ...

    @property
    def account(self) -> str: ...

    def scopes(self) -> tuple[str, ...]: ...


class Router(Protocol):
    def now(self, envelope: Envelope[Any]) -> Outgoing: ...


class Schedule:
    def __init__(
        self,
        cursors: Cursors,
        platforms: Callable[[], Sequence[Pulled]],
        publisher: Publisher,
        router: Router,
        observer: Observer,
        clock: Callable[[], datetime],
    ) -> None:
        self._cursors = cursors
        self._platforms = platforms
        self._publisher = publisher
        self._router = router
        self._observer = observer
        self._clock = clock

    async def set_going(self) -> None:
        """A tick for every scope there is; harmless however often it is done."""
        wanted = [
            Scope(platform.channel, platform.account, scope)
            for platform in self._platforms()
            for scope in platform.scopes()
        ]
        cursors = await self._cursors.all()
        known = {Scope(c.channel, c.account, c.scope) for c in cursors}
        missing = [scope for scope in wanted if scope not in known]
        generations = self._standing(cursors)
        for scope in missing:
            point("schedule.seed.before")
            await self._cursors.seed(*scope, self._clock())
            point("schedule.seed.after")
        if missing:
            # Another producer may have been first, and its tick has moved the cursor since.
            generations = await self._generations()
        going = [scope for scope in wanted if scope in generations]
        now = self._clock()
        ticks = [self._router.now(tick(*scope, generations[scope], now)) for scope in going]
        point("schedule.publish.before")
        await self._publisher.publish(ticks, CONFIRM_SECONDS)
        point("schedule.publish.after")
        self._observer.note("pulling", scopes=len(going), new=len(missing))

    async def _generations(self) -> dict[Scope, int]:
        """Of the scopes that are not paused."""
        return self._standing(await self._cursors.all())

    @staticmethod
    def _standing(cursors: Sequence[Cursor]) -> dict[Scope, int]:
        return {
            Scope(cursor.channel, cursor.account, cursor.scope): cursor.generation
            for cursor in cursors
            if not cursor.paused
        }
