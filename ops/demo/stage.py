"""The demo's stage: an empty database and vhost, three simulators, and every process of the
pipeline, all told where the others are.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import UUID

from dispatcher.ports import NullObserver
from dispatcher.rabbit.deploy import deploy
from dispatcher.rabbit.topology import Topology
from ops import check, load, settings
from ops.chain_file import ChainFile
from ops.checks.books import Books
from ops.checks.finding import Finding
from ops.demo.books import PartnerBooks, read_platform, read_tills
from ops.demo.script import PLATFORMS, Body, chain_text
from ops.demo.together import together
from ops.demo.verdict import OurBooks
from ops.fleet import Fleet, NotReady, free_port
from ops.place import Place, own_place
from ops.stack.local import Endpoints
from ops.timeline import Timeline, timeline
from ops.wiring import topology_of
from storage import books
from storage.database import Database
from storage.migrate import migrate

DEADLINE_SCALE = 0.1
CHECK_SECONDS = 15.0
PROCESSES = {
    "dispatcher-1": ("dispatcher",),
    "dispatcher-2": ("dispatcher",),
    "stock": ("consumer", "stock"),
    "pos": ("consumer", "pos"),
    "takeaway": ("consumer", "takeaway"),
    "producer": ("producer",),
    "http": ("http",),
}
SIMULATORS = (*PLATFORMS, "tills")


class Stage:
    """Everything that runs."""

    def __init__(
        self,
        fleet: Fleet,
        place: Place,
        database: Database,
        topology: Topology,
        chain: ChainFile,
    ) -> None:
        self.fleet = fleet
        self.place = place
        self.chain = chain
        self._database = database
        self._topology = topology

    async def tell(self, member: str, path: str, body: Body) -> Any:
        return await self.fleet.post(member, f"/_sim/{path}", body)

    async def kill_and_restart(self, member: str) -> float:
        began = monotonic()
        await self.fleet.kill(member)
        await self.fleet.start_again(member)
        return monotonic() - began

    async def partner_books(self) -> PartnerBooks:
        """What the platforms and the tills have in their books now. Raises NotReady if a process
        has ended by itself.
        """
        for name in self.fleet.ended_by_themselves():
            raise NotReady(self.fleet.obituary(name))
        *platforms, tills = await asyncio.gather(
            *(self.fleet.get(name, "/_sim/books") for name in SIMULATORS)
        )
        sold = [
            order
            for channel, document in zip(PLATFORMS, platforms, strict=True)
            for order in read_platform(channel, document)
        ]
        return PartnerBooks(sold, read_tills(tills))

    async def our_books(self) -> OurBooks:
        found = await asyncio.gather(
            books.orders(self._database),
            books.movements(self._database),
            books.levels(self._database),
        )
        return OurBooks(*found)

    async def check(self) -> list[str]:
        """What `system2 check` finds wrong, given some time to settle."""
        findings = await check.run(
            self.place.database_url,
            self.place.amqp_url,
            Books([self.fleet.members[name].url for name in SIMULATORS]),
            topology=self._topology,
            wait_seconds=CHECK_SECONDS,
        )
        return [_sentence(finding) for finding in findings if not finding.ok]

    async def timeline(self, order_id: UUID) -> Timeline:
        return await timeline(self._database, order_id)

    async def states(self) -> dict[str, int]:
        return await books.states(self._database)


def _sentence(finding: Finding) -> str:
    subject, why = finding.offenders[0] if finding.offenders else ("", "")
    claim = f"check {finding.check}: {finding.claim}"
    return f"{claim}; not so for {finding.total}, such as {subject} {why}".rstrip()


@asynccontextmanager
async def set_up(endpoints: Endpoints, example: Path, home: Path) -> AsyncIterator[Stage]:
    """Everything up and ready; all processes end with this block."""
    text, chain_path = _chain(example, home)
    logs = home / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    ports = {name: free_port() for name in (*SIMULATORS, "http")}
    async with own_place(endpoints) as place:
        environ = place.environment() | _addresses(ports) | _pace()
        chain = load.read(text, {**os.environ, **environ})
        topology = topology_of(settings.load({**settings.given(), **environ}))
        async with (
            _database(place) as database,
            Fleet(environ, logs) as fleet,
        ):
            await together(
                _furnish(place, database, topology, chain),
                *(fleet.simulate(name, chain_path, ports[name]) for name in SIMULATORS),
            )
            await together(*(fleet.run(name, *role) for name, role in PROCESSES.items()))
            yield Stage(fleet, place, database, topology, chain)


def _chain(example: Path, home: Path) -> tuple[str, Path]:
    """The demo's chain file, for us and for the simulators."""
    home.mkdir(parents=True, exist_ok=True)
    text, path = chain_text(example.read_text("utf-8")), home / "chain.toml"
    path.write_text(text, "utf-8")
    return text, path


def _addresses(ports: dict[str, int]) -> dict[str, str]:
    at = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    return {
        "SYSTEM2_MEITUAN_URL": f"{at['meituan']}/api/v1",
        "SYSTEM2_OPENDELIVERY_URL": at["opendelivery"],
        "SYSTEM2_TILLS_URL": at["tills"],
        "SYSTEM2_PUBLIC_URL": at["http"],
        "SYSTEM2_HTTP_HOST": "127.0.0.1",
        "SYSTEM2_HTTP_PORT": str(ports["http"]),
        "SYSTEM2_METRICS_HOST": "127.0.0.1",
    }


def _pace() -> dict[str, str]:
    """A silent store is given up after 18 seconds instead of three minutes."""
    return {"SYSTEM2_DEADLINE_SCALE": str(DEADLINE_SCALE)}


@asynccontextmanager
async def _database(place: Place) -> AsyncIterator[Database]:
    url, observer = place.database_url, NullObserver()
    async with Database.open(url, observer=observer, name="demo", min_size=0) as database:
        yield database


async def _furnish(place: Place, database: Database, topology: Topology, chain: ChainFile) -> None:
    """Schema and chain data in the database, exchanges and queues at the broker."""

    async def schema_and_chain() -> None:
        await migrate(place.database_url)
        await load.load(database, chain, datetime.now(UTC))

    await together(schema_and_chain(), deploy(place.amqp_url, topology))
