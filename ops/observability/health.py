"""What a process answers about itself over HTTP: /livez, /readyz, /metrics.

Alive means that the event loop turns. Ready means that every check of the process says so: it is
asked at most once a second, however many look.
"""

import asyncio
import platform
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from importlib import metadata
from time import monotonic
from typing import NamedTuple

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from dispatcher.ports import Observer
from ops.observability.masking import mask
from ops.observability.metrics import PrometheusObserver

Check = Callable[[], Awaitable[bool | str]]
"""True: well. False, or a sentence: not, and why."""

FRESH_SECONDS = 1.0


class Finding(NamedTuple):
    """One check's answer. `trouble` is empty when all is well."""

    name: str
    trouble: str

    def __str__(self) -> str:
        return f"[-]{self.name} {self.trouble}" if self.trouble else f"[+]{self.name} ok"


class Health:
    """`checks` by name; one that takes longer than `patience_seconds` says no."""

    def __init__(
        self,
        observer: PrometheusObserver,
        checks: Mapping[str, Check],
        clock: Callable[[], float] = monotonic,
        patience_seconds: float = 2.0,
    ) -> None:
        self._observer = observer
        self._checks = checks
        self._clock = clock
        self._patience_seconds = patience_seconds
        self._findings: list[Finding] = []
        self._asked_at: float | None = None
        self._asking = asyncio.Lock()
        self.port = 0

    @asynccontextmanager
    async def serving(self, host: str, port: int) -> AsyncIterator[int]:
        """Answer on this address; with port 0 on a free one. Yields the port, also in `port`."""
        version, python = metadata.version("system2"), platform.python_version()
        self._observer.level("build_info", 1, version=version, python=python)
        runner = web.AppRunner(self._app(), access_log=None, handle_signals=False)
        await runner.setup()
        sampling = asyncio.create_task(sample_lag(self._observer))
        try:
            await web.TCPSite(runner, host, port).start()
            self.port = runner.addresses[0][1]
            yield self.port
        finally:
            sampling.cancel()
            with suppress(asyncio.CancelledError):
                await sampling
            await runner.cleanup()

    def _app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        return app

    async def _livez(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, request: web.Request) -> web.Response:
        findings = await self.findings()
        well = not any(finding.trouble for finding in findings)
        verdict = "ready" if well else "not ready"
        told = [*map(str, findings), verdict] if "verbose" in request.query else [verdict]
        return web.Response(text="\n".join(told) + "\n", status=200 if well else 503)

    async def _metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        body = encode(self._observer.registry)
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def findings(self) -> list[Finding]:
        """The checks' answers, at most a second old."""
        async with self._asking:
            now = self._clock()
            if self._asked_at is None or now - self._asked_at >= FRESH_SECONDS:
                asked = (self._ask(name, check) for name, check in self._checks.items())
                self._findings = list(await asyncio.gather(*asked))
                self._asked_at = now
            return self._findings

    async def _ask(self, name: str, check: Check) -> Finding:
        """A check that fails or does not end is a check that says no."""
        try:
            async with asyncio.timeout(self._patience_seconds):
                answer = await check()
        except TimeoutError:
            return Finding(name, f"no answer within {self._patience_seconds:g} s")
        except Exception as error:
            return Finding(name, f"{type(error).__name__}: {mask(str(error))}")
        if answer is True:
            return Finding(name, "")
        return Finding(name, answer or "failed")


async def sample_lag(observer: Observer, interval_seconds: float = 1.0) -> None:
    """Measure how late the loop comes to a timer, for ever."""
    clock = asyncio.get_running_loop().time
    while True:
        due = clock() + interval_seconds
        await asyncio.sleep(interval_seconds)
        observer.time("event_loop_lag_seconds", max(clock() - due, 0.0))
