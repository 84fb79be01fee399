"""Runs a process: its loops, its health server, and an orderly end on SIGTERM."""

import asyncio
import gc
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from consumers.queues import CONSUMERS
from dispatcher.ports import Observer
from ops import wiring
from ops.observability.health import Check, Health
from ops.observability.logs import configure
from ops.observability.metrics import PrometheusObserver
from ops.settings import Settings
from ops.wiring import Crew, Loop, Parts, Reader
from storage.migrate import at_head

DRAIN_SECONDS = 25.0
ROLES = ("dispatcher", "consumer", "producer", "http", "all")


def main(settings: Settings, role: str, names: Sequence[str]) -> None:
    """Blocks until the process is told to stop."""
    # What is imported by now stays: the garbage collector need not look at it again and again.
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(process(settings, role, names))


async def process(settings: Settings, role: str, names: Sequence[str]) -> None:
    """One process of the pipeline, until SIGTERM or SIGINT; what is in hand is finished first."""
    name = "-".join(names) if role == "consumer" else role
    configure(level=settings.log_level, format=settings.log_format, service=name)
    observer = PrometheusObserver()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with AsyncExitStack() as stack:
        these = await stack.enter_async_context(wiring.parts(settings, name, observer))
        crews = [await stack.enter_async_context(crew) for crew in _crews(these, role, names)]
        readers = [reader for crew in crews for reader in crew.readers]
        health = Health(observer, _checks(these, readers, stopping))
        serving = health.serving(settings.metrics_host, settings.metrics_port)
        await stack.enter_async_context(serving)
        observer.note("started", role=role, consumers=",".join(names), metrics_port=health.port)
        loops = [loop for crew in crews for loop in crew.loops]
        await _until_stopped(loops, stopping, observer)
    observer.note("stopped", role=role)


def _crews(
    these: Parts, role: str, names: Sequence[str]
) -> list[AbstractAsyncContextManager[Crew]]:
    crews: Mapping[str, Callable[[], AbstractAsyncContextManager[Crew]]] = {
        "dispatcher": lambda: wiring.dispatcher_crew(these),
        "consumer": lambda: wiring.consumer_crew(these, names or CONSUMERS),
        "producer": lambda: wiring.producer_crew(these),
        "http": lambda: wiring.http_crew(these),
    }
    return [crew() for name, crew in crews.items() if role in (name, "all")]


async def _until_stopped(
    loops: Sequence[Loop], stopping: asyncio.Event, observer: Observer
) -> None:
    """A loop that ends by itself has met a bug: then the whole process ends, and says so."""
    tasks = [asyncio.create_task(loop.run(stopping)) for loop in loops]
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait({*tasks, stop}, return_when=asyncio.FIRST_COMPLETED)
    if not stopping.is_set():
        observer.note("a loop ended by itself: this process stops")
        stopping.set()
    # Whoever waits for a server that is away must not wait for ever: what is in hand comes again.
    _, late = await asyncio.wait(tasks, timeout=DRAIN_SECONDS)
    for task in (*late, stop):
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            raise result


def _checks(
    these: Parts, readers: Sequence[Reader], stopping: asyncio.Event
) -> Mapping[str, Check]:
    async def not_draining() -> bool:
        return not stopping.is_set()

    async def broker() -> bool | str:
        troubles = [reader.trouble for reader in (these.publisher, *readers) if reader.trouble]
        return troubles[0] or False if troubles else True

    migrated = False

    async def database() -> bool:
        # Asked until it is well: afterwards a probe must not be the one that disturbs an idle
        # database, and who works with it says so when it goes.
        nonlocal migrated
        migrated = migrated or await at_head(these.database)
        return migrated

    return {"not draining": not_draining, "broker": broker, "database": database}


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed, asyncio's own loop otherwise."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
