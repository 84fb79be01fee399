"""A whole pipeline with its partners, for tests that kill parts of it: every process by itself,
both platforms, three tills, customers who order everything that can happen, and all books.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

from dispatcher.ports import NullObserver
from dispatcher.rabbit.deploy import deploy
from dispatcher.rabbit.publish import Publisher
from dispatcher.rabbit.topology import Topology
from dispatcher.workflows import ALL
from ops import check, load, settings
from ops.checks.books import Books
from ops.fleet import Fleet, free_port
from ops.stack.local import Endpoints
from ops.wiring import topology_of
from storage import books
from storage.database import Database
from storage.migrate import migrate
from storage.queries import Statement

CHAIN = Path(__file__).parent / "chain.toml"
PLATFORMS = ("meituan", "opendelivery")
SIMULATORS = (*PLATFORMS, "tills")
ROLES: Mapping[str, tuple[str, ...]] = {
    "dispatcher": ("dispatcher",),
    "stock": ("consumer", "stock"),
    "pos": ("consumer", "pos"),
    "takeaway": ("consumer", "takeaway"),
    "producer": ("producer",),
    "http": ("http",),
}

CLOSED = frozenset(str(state) for life in ALL for state in life.closed)
OVER = frozenset({"completed", "rejected", "cancelled"})
NOBODYS_STORE = "poi-of-nobody"
SETTLE_SECONDS = 45.0
LOOK_SECONDS = 0.2

# What happens to an order, by what a customer wishes. The short one's soup is never enough.
MEAL: Mapping[str, Any] = {"store": "COOKS", "lines": [{"sku": "NOODLE"}]}
SHORT: Mapping[str, Any] = {"store": "COOKS", "lines": [{"sku": "SOUP", "quantity": 3}]}
REFUSED: Mapping[str, Any] = {"store": "REFUSES", "lines": [{"sku": "NOODLE"}]}
CANCELLED: Mapping[str, Any] = {
    "store": "SILENT", "lines": [{"sku": "NOODLE"}], "cancel_after": 0.7,
}  # fmt: skip
HANDFUL = (MEAL, SHORT, REFUSED, CANCELLED)

_AN_EVENT = Statement(
    "an_event", "SELECT events[1] FROM accepted_requests WHERE events <> '{}' LIMIT 1", ()
)


class World:
    """Everything that runs, and what can be done to it."""

    def __init__(
        self,
        fleet: Fleet,
        endpoints: Endpoints,
        database: Database,
        publisher: Publisher,
        topology: Topology,
    ) -> None:
        self.fleet = fleet
        self.endpoints = endpoints
        self.database = database
        self.publisher = publisher
        self.topology = topology
        self._foreign = 0

    # -- processes ---------------------------------------------------------------------------

    async def start(self, member: str, environment: Mapping[str, str] | None = None) -> None:
        """Start a member that is down, or that never ran; `stock.2` is one more stock consumer.

        What the environment says holds for this start only. Raises NotReady.
        """
        fleet, once = self.fleet, environment or {}
        if member in fleet.members:
            await fleet.start_again(member, once)
            return
        try:
            await fleet.run(member, *ROLES[member.partition(".")[0]], environment=once)
        finally:
            made = fleet.members[member]
            made.environment = {n: v for n, v in made.environment.items() if n not in once}

    async def start_all(self) -> None:
        await asyncio.gather(*map(self.start, ROLES))

    async def kill_all(self) -> None:
        """Every process of the pipeline, without warning."""
        pipeline = [name for name in self.fleet.members if name not in SIMULATORS]
        await asyncio.gather(*map(self.fleet.kill, pipeline))

    # -- customers ---------------------------------------------------------------------------

    async def order(self, platform: str, wish: Mapping[str, Any]) -> None:
        self._foreign += wish.get("store_code") == NOBODYS_STORE
        await self.fleet.post(platform, "/_sim/orders", wish)

    async def order_everything(self) -> None:
        """On both platforms: a meal, one that is short, one refused, one cancelled."""
        for wish in HANDFUL:
            for platform in PLATFORMS:
                await self.order(platform, wish)

    async def rush(self, orders: int, seconds: float) -> None:
        """Customers who do not wait for anybody; some change their mind."""
        half = orders // 2
        wish = {"store": "COOKS", "count": half, "per_second": half / seconds}
        for platform in PLATFORMS:
            await self.order(platform, {**wish, "cancel_rate": 0.1, "cancel_after": 0.7})

    async def known_event(self) -> bytes | None:
        """An event that was accepted before, if there is any: to send it again does no harm."""
        known: bytes | None = await self.database.fetchval(_AN_EVENT)
        return known

    async def planned(self) -> int:
        """How many orders of rushes are still to come."""
        summaries = [await self.fleet.get(platform, "/_sim/summary") for platform in PLATFORMS]
        return sum(summary["planned"] for summary in summaries)

    # -- books -------------------------------------------------------------------------------

    async def settled(self) -> None:
        """Wait until every order there ever was is over, for the platforms and for us."""
        await until(self._what_is_open, "open orders", SETTLE_SECONDS)

    async def _what_is_open(self) -> dict[str, int]:
        there: Counter[str] = Counter()
        for platform in PLATFORMS:
            summary = await self.fleet.get(platform, "/_sim/summary")
            there += Counter(summary["states"]) + Counter({"planned": summary["planned"]})
        ours = await books.states(self.database)
        there["placed"] -= self._foreign  # they stay so: nobody serves that store
        missing = there.total() - sum(ours.values())
        open_there = {f"there: {state}": n for state, n in there.items() if state not in OVER and n}
        open_here = {f"here: {state}": n for state, n in ours.items() if state not in CLOSED}
        return {**open_there, **open_here, **({"unknown here": missing} if missing else {})}

    async def faults(self, wait_seconds: float = 20) -> list[str]:
        """What `system2 check` finds, with the books of everybody."""
        findings = await check.run(
            self.endpoints.database_url,
            self.endpoints.amqp_url,
            Books([self.fleet.members[name].url for name in SIMULATORS]),
            topology=self.topology,
            wait_seconds=wait_seconds,
        )
        wrong = [finding for finding in findings if not finding.ok]
        return [f"{f.check}: {f.claim}: {f.offenders}" for f in wrong] + await self._doubled()

    async def _doubled(self) -> list[str]:
        """Tickets under two keys, or with two bodies: nobody believes our own check alone."""
        messages = (await self.fleet.get("tills", "/_sim/books"))["messages"]
        return [
            f"{m['store']} {m['ticket_id']}: doubled {m['doubled']}, {len(m['bodies'])} bodies"
            for m in messages
            if m["doubled"] or len(m["bodies"]) > 1
        ]


async def until(wanted: Callable[[], Awaitable[Any]], what: str, seconds: float) -> None:
    """Wait until nothing is left of what `wanted` gives. Raises AssertionError with the rest."""
    end = monotonic() + seconds
    while left := await wanted():
        if monotonic() > end:
            raise AssertionError(f"{what} after {seconds:.0f} s: {left}")
        await asyncio.sleep(LOOK_SECONDS)


@asynccontextmanager
async def world(endpoints: Endpoints, home: Path) -> AsyncIterator[World]:
    """Simulators up, schema and queues there; no process of the pipeline runs yet."""
    ports = {name: free_port() for name in (*SIMULATORS, "http")}
    environ = endpoints.environment() | addresses(ports) | PACE
    topology = topology_of(settings.load({**settings.given(), **environ}))
    url, observer = endpoints.database_url, NullObserver()
    async with (
        Database.open(url, observer=observer, name="chaos", min_size=0) as database,
        Publisher(endpoints.amqp_url, observer, "chaos", None) as publisher,
        Fleet(environ, home / "logs") as fleet,
    ):
        await migrate(url)
        await deploy(endpoints.amqp_url, topology)
        chain = load.read(CHAIN.read_text("utf-8"), environ)
        await load.load(database, chain, datetime.now(UTC))
        quick = {"tills": ("--accept-seconds", "0.1", "--cook-seconds", "0.3")}
        await asyncio.gather(
            *(fleet.simulate(name, CHAIN, ports[name], *quick.get(name, ())) for name in SIMULATORS)
        )
        made = World(fleet, endpoints, database, publisher, topology)
        await set_behaviour(made)
        yield made


PACE = {"SYSTEM2_DEADLINE_SCALE": "0.1", "SYSTEM2_LOG_LEVEL": "warning"}
PATIENT_PUSHES = {
    "complete_seconds": 0.2,
    "push_first_wait_seconds": 0.2,
    "push_longest_wait_seconds": 1.0,
    "push_tries": 200,
}


async def set_behaviour(of: World) -> None:
    for platform in PLATFORMS:
        await of.fleet.post(platform, "/_sim/settings", PATIENT_PUSHES)
    for store, mode in (("REFUSES", "refuse"), ("SILENT", "quiet")):
        await of.fleet.post("tills", "/_sim/behaviour", {"store": store, "mode": mode})


def addresses(ports: Mapping[str, int]) -> dict[str, str]:
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
