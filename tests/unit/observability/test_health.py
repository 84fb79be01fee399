"""What a process answers about itself, over a real socket."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from dispatcher.ports import NullObserver
from ops.observability.health import Check, Health, sample_lag
from ops.observability.metrics import PrometheusObserver


class Server:
    """A check whose answer the test decides."""

    def __init__(self, answer: bool | str = True) -> None:
        self.answer, self.asked = answer, 0

    async def check(self) -> bool | str:
        self.asked += 1
        return self.answer


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Probe:
    """What looks at the process from outside."""

    def __init__(self, http: aiohttp.ClientSession, base: str) -> None:
        self._http, self._base = http, base

    async def get(self, path: str, **headers: str) -> tuple[int, str, str]:
        async with self._http.get(self._base + path, headers=headers) as answer:
            return answer.status, await answer.text(), answer.headers["Content-Type"]


@asynccontextmanager
async def probing(
    checks: Mapping[str, Check] | None = None,
    observer: PrometheusObserver | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[Probe]:
    health = Health(observer or PrometheusObserver(), checks or {}, clock)
    async with health.serving("127.0.0.1", 0), aiohttp.ClientSession() as http:
        assert health.port
        yield Probe(http, f"http://127.0.0.1:{health.port}")


async def test_a_process_is_alive_even_when_nothing_it_needs_is_there() -> None:
    async with probing({"database": Server("gone").check}) as probe:
        assert (await probe.get("/livez"))[:2] == (200, "ok\n")


async def test_a_process_is_ready_when_every_check_says_so() -> None:
    async with probing({"broker": Server().check, "database": Server().check}) as probe:
        assert (await probe.get("/readyz"))[:2] == (200, "ready\n")


async def test_verbose_tells_which_check_failed_and_why() -> None:
    async def down() -> bool:
        raise ConnectionRefusedError("postgresql://system2:hunter2@db/system2")

    checks = {"broker": Server().check, "database": down, "not draining": Server(False).check}
    async with probing(checks) as probe:
        status, text, _ = await probe.get("/readyz?verbose")
    assert status == 503
    assert text.splitlines() == [
        "[+]broker ok",
        "[-]database ConnectionRefusedError: postgresql://system2:***@db/system2",
        "[-]not draining failed",
        "not ready",
    ]


async def test_a_check_is_asked_at_most_once_a_second_however_many_look() -> None:
    database, clock = Server(), Clock()
    async with probing({"database": database.check}, clock=clock) as probe:
        await asyncio.gather(*(probe.get("/readyz") for _ in range(20)))
        clock.now = 0.9
        await probe.get("/readyz")
        assert database.asked == 1
        clock.now, database.answer = 1.0, False
        assert (await probe.get("/readyz"))[0] == 503
        assert database.asked == 2


async def test_a_check_that_never_ends_is_a_no() -> None:
    async def hang() -> bool:
        await asyncio.Event().wait()
        return True

    health = Health(PrometheusObserver(), {"database": hang}, patience_seconds=0.01)
    (finding,) = await health.findings()
    assert str(finding) == "[-]database no answer within 0.01 s"


async def test_metrics_come_in_the_text_format_with_what_runs() -> None:
    observer = PrometheusObserver()
    observer.count("pull_runs_total", platform="meituan", result="ok")
    async with probing(observer=observer) as probe:
        status, text, content_type = await probe.get("/metrics")
    families = {family.name for family in text_string_to_metric_families(text)}
    assert status == 200
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert 'system2_pull_runs_total{platform="meituan",result="ok"} 1.0' in text
    assert {"system2_build_info", "process_resident_memory_bytes"} <= families


async def test_prometheus_may_ask_for_openmetrics() -> None:
    async with probing() as probe:
        _, text, content_type = await probe.get(
            "/metrics", Accept="application/openmetrics-text;version=1.0.0"
        )
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith("# EOF\n")


class Listener(NullObserver):
    def __init__(self) -> None:
        self.heard = asyncio.Queue[tuple[str, float]]()

    def time(self, name: str, seconds: float, /, **labels: str) -> None:
        self.heard.put_nowait((name, seconds))


async def test_the_lag_of_a_blocked_loop_is_seen() -> None:
    listener = Listener()
    sampling = asyncio.create_task(sample_lag(listener, interval_seconds=0.005))
    await asyncio.sleep(0)
    time.sleep(0.06)  # noqa: ASYNC251 - this is the fault to be seen
    async with asyncio.timeout(5):
        name, seconds = await listener.heard.get()
    sampling.cancel()
    assert (name, seconds > 0.05) == ("event_loop_lag_seconds", True)
