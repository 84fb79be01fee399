"""What was accepted while the broker was away, or by a process that died: published in one go.

Rows are locked in small batches that other producers skip. Publishing one twice does no harm.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Protocol

from dispatcher.crashpoints import point
from dispatcher.errors import PipelineError
from dispatcher.journal import Entry
from dispatcher.ports import Observer
from dispatcher.rabbit.publish import Outgoing

ROWS_AT_ONCE = 200
CONFIRM_SECONDS = 20.0

Publish = Callable[[Sequence[Entry]], Awaitable[Sequence[Entry]]]


class Unpublished(Protocol):
    async def publish_oldest(
        self, most: int, publish: Publish, clock: Callable[[], datetime]
    ) -> int:
        """In one transaction: lock the oldest rows that nobody else has locked, `publish` them,
        and mark those that it returns. How many these were.
        """


class Publisher(Protocol):
    async def publish(
        self, items: Sequence[Outgoing], give_up_after: float | None = None
    ) -> None: ...


class Router(Protocol):
    def raw_event(self, event: bytes) -> Outgoing: ...


class Backlog:
    """The database is asked only when `publish_all` is called: at a start, at a reconnect, or when
    this process knows that it left something behind.
    """

    def __init__(
        self,
        unpublished: Unpublished,
        publisher: Publisher,
        router: Router,
        observer: Observer,
        clock: Callable[[], datetime],
        rows_at_once: int = ROWS_AT_ONCE,
    ) -> None:
        self._unpublished = unpublished
        self._publisher = publisher
        self._router = router
        self._observer = observer
        self._clock = clock
        self._rows_at_once = rows_at_once

    async def publish_all(self) -> None:
        """Until nothing is left that this process can publish."""
        total = 0
        while published := await self._unpublished.publish_oldest(
            self._rows_at_once, self._publish, self._clock
        ):
            point("backlog.marked.after")
            total += published
        if total:
            self._observer.note("backlog published", rows=total)

    async def _publish(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Publish what can be addressed; the rest waits for a process that understands it."""
        outgoing: list[Outgoing] = []
        understood: list[Entry] = []
        for entry in entries:
            try:
                outgoing += [self._router.raw_event(event) for event in entry.events]
                understood.append(entry)
            except PipelineError as error:
                self._observer.note("left in the backlog", source=entry.source, why=str(error))
        point("backlog.publish.before")
        await self._publisher.publish(outgoing, CONFIRM_SECONDS)
        point("backlog.publish.after")
        return understood
