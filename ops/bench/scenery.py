"""Sets up what a benchmark runs on: an empty database and vhost, the partners' stubs, and every
process of the pipeline by itself, with the log level that production has.

Two settings are not the defaults. Pulls are paused, because the orders come from the benchmark;
and time limits are ten times as long, so that an order that waits for its till keeps waiting.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from dispatcher.ports import NullObserver, Observer
from dispatcher.rabbit.deploy import deploy
from dispatcher.rabbit.publish import Publisher
from dispatcher.rabbit.topology import Topology
from ops import load, settings
from ops.bench import cpu
from ops.bench.counts import SQL, Publishes
from ops.bench.stage import PartnerBooks, Stage, Tell
from ops.chain_file import ChainFile
from ops.directory import PlatformBook
from ops.fleet import Fleet, free_port
from ops.place import Place, own_place
from ops.stack.local import Endpoints
from ops.wiring import router_of, topology_of
from storage import cursors
from storage.database import SCANNING, Database
from storage.migrate import migrate

PROCESSES: Mapping[str, Sequence[str]] = {
    "dispatcher": ("dispatcher",),
    "stock": ("consumer", "stock"),
    "pos": ("consumer", "pos"),
    "takeaway": ("consumer", "takeaway"),
    "producer": ("producer",),
    "http": ("http",),
}
APART = ("dispatcher", "stock", "pos", "tills")
"""Members that the CPU time of is told one by one; that of all others is `other`."""
DURABLE = {"fsync": ("on",), "full_page_writes": ("on",), "synchronous_commit": ("on", "local")}


class NotDurable(Exception):
    """The database may lose what it has committed: no figure of it would count."""

    exit_code = settings.BAD_CONFIGURATION


class NoStatistics(Exception):
    """Statements are counted by pg_stat_statements: add it to shared_preload_libraries."""

    exit_code = settings.BAD_CONFIGURATION


class Scene(NamedTuple):
    """Who plays beside the pipeline: how the tills behave, and which platforms there are."""

    tills: Sequence[str] = ("--mode", "quiet")
    platforms: Sequence[str] = ()


@asynccontextmanager
async def set_up(
    endpoints: Endpoints, example: Path, logs: Path, scene: Scene, tell: Tell
) -> AsyncIterator[Stage]:
    """Everything up and ready; all processes end with this block."""
    async with own_place(endpoints, "bench") as place:
        ports = {name: free_port() for name in (*scene.platforms, "tills", "http")}
        environ = _environment(place, ports)
        topology = topology_of(settings.load({**settings.given(), **environ}))
        chain = await asyncio.to_thread(_read, example, environ)
        await _furnish(place, chain, topology)
        publishes = Publishes()
        async with (
            _database(place.database_url, publishes) as database,
            Publisher(place.amqp_url, publishes, "bench", topology.marker) as publisher,
            Fleet(environ, logs) as fleet,
        ):
            conditions = await _conditions(database)
            await _start(fleet, scene, example, ports)
            tell(f"{', '.join(fleet.members)} are ready")
            yield Stage(
                fleet=fleet,
                place=place,
                chain=chain,
                topology=topology,
                router=router_of(topology),
                publisher=publisher,
                publishes=publishes,
                database=database,
                books=PartnerBooks(fleet, scene.platforms),
                groups=await _groups(fleet, place, database),
                conditions=conditions,
                public_url=environ["SYSTEM2_PUBLIC_URL"],
                tell=tell,
            )


@asynccontextmanager
async def _database(url: str, observer: Observer) -> AsyncIterator[Database]:
    """One connection that stays: a new one would ask the catalogue, and that would be counted."""
    how: dict[str, Any] = {"name": "bench", "max_size": 1, "settings": SCANNING}
    async with Database.open(url, observer=observer, **how) as database:
        yield database


def _environment(place: Place, ports: Mapping[str, int]) -> dict[str, str]:
    at = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    return {
        **place.environment(),
        **({"SYSTEM2_MEITUAN_URL": f"{at['meituan']}/api/v1"} if "meituan" in at else {}),
        "SYSTEM2_TILLS_URL": at["tills"],
        "SYSTEM2_PUBLIC_URL": at["http"],
        "SYSTEM2_HTTP_HOST": "127.0.0.1",
        "SYSTEM2_HTTP_PORT": str(ports["http"]),
        "SYSTEM2_METRICS_HOST": "127.0.0.1",
        "SYSTEM2_LOG_LEVEL": "warning",
        "SYSTEM2_DEADLINE_SCALE": "10",
    }


def _read(example: Path, environ: Mapping[str, str]) -> ChainFile:
    return load.read(example.read_text("utf-8"), {**os.environ, **environ})


async def _furnish(place: Place, chain: ChainFile, topology: Topology) -> None:
    """Schema, chain and paused pulls in the database; exchanges and queues at the broker."""
    await migrate(place.database_url)
    async with _database(place.database_url, NullObserver()) as database:
        await load.load(database, chain, datetime.now(UTC))
        await _pause_pulls(database)
    await deploy(place.amqp_url, topology)


async def _pause_pulls(database: Database) -> None:
    """Before there is a tick: the pullers find everything paused from the start."""
    async with PlatformBook.open(database) as platforms:
        for platform in platforms.all():
            where = platform.channel, platform.account
            for scope in platform.scopes():
                await cursors.seed(database, *where, scope, datetime.now(UTC))
            await cursors.pause(database, *where)


async def _conditions(database: Database) -> dict[str, str]:
    """What the figures were found under. Raises NotDurable and NoStatistics."""
    row = await database.fetchrow(SQL["bench_conditions"])
    found = {name: str(value) for name, value in row.items()} if row else {}
    for name, values in DURABLE.items():
        if found[name] not in values:
            raise NotDurable(f"{name} is {found[name]}. {NotDurable.__doc__}")
    if "pg_stat_statements" not in found.pop("preloaded"):
        raise NoStatistics
    await database.execute(SQL["bench_extension"])
    return {
        **found,
        "queues": "quorum, with publisher confirms",
        "cpus": str(os.cpu_count()),
        "load_before": f"{os.getloadavg()[0]:.1f}",
    }


async def _start(fleet: Fleet, scene: Scene, example: Path, ports: Mapping[str, int]) -> None:
    """Partners first: whoever starts may already be asked by them."""
    partners: dict[str, Sequence[str]] = {"tills": scene.tills}
    partners |= dict.fromkeys(scene.platforms, ())
    await asyncio.gather(
        *(fleet.simulate(name, example, ports[name], *how) for name, how in partners.items())
    )
    await asyncio.gather(*(fleet.run(name, *role) for name, role in PROCESSES.items()))


async def _groups(fleet: Fleet, place: Place, database: Database) -> dict[str, list[int]]:
    """Whose CPU time is told: our processes, the servers if they are on this machine."""
    groups = {name: [fleet.members[name].pid] for name in APART}
    groups["publisher"] = [os.getpid()]
    groups["other"] = [m.pid for name, m in fleet.members.items() if name not in APART]
    here = cpu.all_processes()
    backend = here.get(await database.fetchval(SQL["bench_backend"]))
    if backend is not None and backend.name.startswith("postgres"):
        groups["postgres"] = [backend.parent]
    broker = await _broker_pid(place.management_url)
    if broker in here and here[broker].name.startswith("beam"):
        groups["rabbitmq"] = [broker]
    return groups


async def _broker_pid(management_url: str) -> int:
    """The number of the broker's process on its own machine. A broker that has just started does
    not tell it at once.
    """
    async with aiohttp.ClientSession(trust_env=False) as http, asyncio.timeout(30):
        while True:
            async with http.get(f"{management_url.rstrip('/')}/api/nodes") as answer:
                answer.raise_for_status()
                node = (await answer.json())[0]
            if "os_pid" in node:
                return int(node["os_pid"])
            await asyncio.sleep(0.5)
