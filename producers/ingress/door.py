"""Where a verified payload goes in: once its row is there, its sender may be told.

The broker may be down: what it did not confirm in time is left to the backlog.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from dispatcher.entrance import Entering
from dispatcher.identity import store_bucket
from dispatcher.journal import Accepted, Entry, Journal
from dispatcher.platform import Request
from dispatcher.ports import Observer
from dispatcher.rabbit.errors import BrokerLost, BrokerUnavailable, PublisherClosed, Unroutable
from producers.ingress.errors import Contradiction

CONFIRM_SECONDS = 1.0

_ROW_IS_ENOUGH = (BrokerLost, BrokerUnavailable, PublisherClosed, Unroutable)


class Answer(NamedTuple):
    """What a sender gets when all is well."""

    body: bytes
    content_type: str


class Route(Protocol):
    """One kind of sender. `names` are the parts of the path, by the names in the template."""

    template: str
    longest_body: int

    def source(self, names: Mapping[str, str]) -> str:
        """Who sends, for the metrics: one of a few words."""

    async def answer(self, names: Mapping[str, str], request: Request) -> Answer:
        """Raises a PipelineError that says why not."""


class Way(Protocol):
    """As much of dispatcher.entrance.Entrance as senders need."""

    async def admit(
        self,
        source: str,
        scope: str,
        entering: Sequence[Entering],
        give_up_after: float | None = None,
    ) -> list[Accepted]: ...


class Door:
    """`left_behind` is told that a row may be there whose publish nobody will confirm."""

    def __init__(self, way: Way, observer: Observer, left_behind: Callable[[], None]) -> None:
        self._way = way
        self._observer = observer
        self._left_behind = left_behind

    async def take(self, source: str, scope: str, entering: Entering) -> None:
        """Returns when the payload is safe with us. Raises what the journal raises."""
        try:
            accepted = await self._way.admit(source, scope, [entering], CONFIRM_SECONDS)
        except _ROW_IS_ENOUGH as trouble:
            self._left_behind()
            self._observer.note("accepted, to be published later", source=source, why=str(trouble))
            return
        except Exception:
            # Whatever failed may have failed after the row.
            self._left_behind()
            raise
        if any(one.first_time and one.contradicts for one in accepted):
            # The order's own id decides what becomes of it; here it is only worth a look.
            self._observer.note("known key, new content", level="warning", source=source)


class OneBodyPerKey:
    """A journal for senders whose keys are ours to define: a key that comes again with another
    body is refused, whichever order it speaks of, and is never published.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def accept(self, entries: Sequence[Entry], now: datetime) -> list[Accepted]:
        """Raises Contradiction. The bucket is that of the scope: the order's would let one key
        through once per bucket.
        """
        placed = [entry._replace(bucket=store_bucket(entry.scope)) for entry in entries]
        accepted = await self._journal.accept(placed, now)
        refused = [one for one in accepted if one.contradicts]
        if refused:
            raise Contradiction(f"another body came under the id {refused[0].entry.key} before")
        return accepted

    async def published(self, entries: Sequence[Entry], now: datetime) -> None:
        await self._journal.published(entries, now)
