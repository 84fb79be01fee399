"""What a running benchmark works with: everything that runs, and what it is measured by."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from dispatcher.rabbit.publish import Publisher
from dispatcher.rabbit.routing import Router
from dispatcher.rabbit.topology import Topology
from ops.bench import counts, cpu
from ops.bench.counts import SQL, Publishes
from ops.chain_file import ChainFile
from ops.checks.books import Books, Pages, pages
from ops.fleet import Fleet, NotReady, last_words
from ops.place import Place
from storage.database import Database, Record

Tell = Callable[[str], None]

LOOK_SECONDS = 0.05
PATIENCE_SECONDS = 30.0


class Stuck(Exception):
    """What the benchmark waits for has stopped coming."""


class PartnerBooks(Books):
    """The books of all partners, and the volumes of the tills' that were closed before."""

    def __init__(self, fleet: Fleet, platforms: Sequence[str]) -> None:
        super().__init__(())
        self._fleet = fleet
        self._platforms = platforms
        self._closed: dict[str, Any] = {}

    async def begin_anew(self) -> None:
        """The tills forget; what they had in their books is kept here."""
        self._closed[f"volume {len(self._closed)}"] = await self.tills()
        await self._fleet.post("tills", "/_sim/reset", {})

    async def tills(self) -> dict[str, Any]:
        """The tills' open volume, as it stands."""
        document: dict[str, Any] = await self._fleet.get("tills", "/_sim/books")
        return document

    async def read(self) -> Pages:
        urls = {self._fleet.members[name].url: name for name in ("tills", *self._platforms)}
        found = {url: await self._fleet.get(name, "/_sim/books") for url, name in urls.items()}
        return pages({**self._closed, **found})


@dataclass(frozen=True)
class Stage:
    """One of these per benchmark. `groups`: the processes that CPU time is told of, by name;
    `public_url`: where our HTTP ingress is.
    """

    fleet: Fleet
    place: Place
    chain: ChainFile
    topology: Topology
    router: Router
    publisher: Publisher
    publishes: Publishes
    database: Database
    books: PartnerBooks
    groups: Mapping[str, Sequence[int]]
    conditions: Mapping[str, str]
    public_url: str
    tell: Tell

    def cpu(self) -> cpu.Snapshot:
        return cpu.snapshot(self.groups)

    async def published(self) -> int:
        """Messages published so far by every process, this one too."""
        urls = [m.url for m in self.fleet.members.values() if m.ready_path == "/readyz"]
        return self.publishes.published + await counts.published(urls)

    async def tickets(self) -> int:
        """How many tickets the tills have."""
        summary = await self.fleet.get("tills", "/_sim/summary")
        return int(summary["tickets"])

    async def recorded(self, type_: str) -> int:
        """How many events of this type the dispatcher has stored."""
        found: int = await self.database.fetchval(SQL["bench_recorded"], type=type_)
        return found

    async def rows(self, statement: str, **parameters: Any) -> list[Record]:
        return await self.database.fetch(SQL[statement], **parameters)

    async def until(self, what: str, wanted: int, count: Callable[[], Awaitable[int]]) -> None:
        """Wait until there are so many. Raises Stuck when no more come, NotReady after a death."""
        most, until = -1, 0.0
        while (found := await self._look(count)) < wanted:
            if found > most:
                most, until = found, monotonic() + PATIENCE_SECONDS
            if monotonic() > until:
                raise Stuck(f"{found} of {wanted} {what}; none for {PATIENCE_SECONDS:.0f} s")
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self, count: Callable[[], Awaitable[int]]) -> int:
        for name in self.fleet.ended_by_themselves():
            log = self.fleet.members[name].log
            raise NotReady(f"{name} ended by itself: {last_words(log)} ({log})")
        return await count()
