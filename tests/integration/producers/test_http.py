"""The ingress over a real socket: every request gets a status and a sentence, and nothing leaks."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, NamedTuple

import aiohttp
import pytest

from dispatcher.errors import Trouble
from dispatcher.platform import NotDone, Request
from producers.ingress.door import Answer, Door, OneBodyPerKey
from producers.ingress.server import Ingress
from producers.ingress.tills import TillRoute
from tests.unit.producers.doubles import (
    NOW,
    TICKET,
    Books,
    MemoryBroker,
    MemoryJournal,
    Shelf,
    call,
    entrance,
    find,
    order_of,
    signed,
)

PATH = "/tills/S001/events"


class Bench:
    """A platform route that does as it is told, beside the real one of tills."""

    template = "/platforms/{platform}/{account}/{path:.*}"
    longest_body = 1000

    def __init__(self) -> None:
        self.arrived: list[Request] = []
        self.trouble: Exception | None = None
        self.begun, self.go_on, self.ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.go_on.set()

    def source(self, names: Mapping[str, str]) -> str:
        return names["platform"]

    async def answer(self, names: Mapping[str, str], request: Request) -> Answer:
        self.arrived.append(request)
        self.begun.set()
        await self.go_on.wait()
        self.ended.set()
        if self.trouble:
            raise self.trouble
        return Answer(b'{"data":"ok"}', "application/json")


class Told(NamedTuple):
    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def sentence(self) -> str:
        assert self.headers["Content-Type"] == "application/problem+json"
        problem = json.loads(self.body)
        assert problem["status"] == self.status
        return str(problem["detail"])


class Stage:
    def __init__(self, session: aiohttp.ClientSession, answer_seconds: float) -> None:
        self.session, self.books, self.bench = session, Books(), Bench()
        self.journal = MemoryJournal()
        way = entrance(OneBodyPerKey(self.journal), MemoryBroker(), Shelf())
        till = TillRoute(find, order_of, Door(way, self.books, lambda: None), lambda: NOW)
        self.ingress = Ingress([till, self.bench], self.books, _sort, answer_seconds=answer_seconds)

    async def send(self, path: str, body: Any = b"", method: str = "POST", **how: Any) -> Told:
        url = f"http://127.0.0.1:{self.ingress.port}{path}"
        async with self.session.request(method, url, data=body, **how) as response:
            return Told(response.status, await response.read(), response.headers)

    async def call(self, body: str, **changes: str) -> Told:
        request = signed(body)
        return await self.send(PATH, request.body, headers={**request.headers, **changes})


def _sort(error: BaseException) -> Trouble:
    return Trouble.HOLD if isinstance(error, OSError) else Trouble.BUG


@asynccontextmanager
async def stage(answer_seconds: float = 5) -> AsyncIterator[Stage]:
    async with aiohttp.ClientSession() as session:
        made = Stage(session, answer_seconds)
        async with made.ingress.serving():
            yield made


async def test_a_till_is_told_ok_and_the_software_is_not_named() -> None:
    async with stage() as it:
        told = await it.call(call())
    assert (told.status, json.loads(told.body)) == (200, {"status": "ok"})
    assert told.headers["Content-Type"] == "application/json"
    assert told.headers["Server"] == "system2"
    assert it.books.counts["ingress_requests_total /tills/{store_id}/events 200"] == 1


async def test_a_platform_gets_its_bytes_and_the_adapter_gets_the_request_raw() -> None:
    async with stage() as it:
        told = await it.send(
            "/platforms/mt/a/x/paid?sig=1&b=%E4%B8%AD+1&c=", b"a=%2B&b", headers={"X-Sig": "z"}
        )
    assert (told.status, told.body) == (200, b'{"data":"ok"}')
    (request,) = it.bench.arrived
    assert (request.path, request.body) == ("/platforms/mt/a/x/paid", b"a=%2B&b")
    assert request.query == {"sig": "1", "b": "中 1", "c": ""}
    assert request.headers["x-sig"] == "z"


@pytest.mark.parametrize(
    ("body", "changes", "status", "counted"),
    [
        (call(), {"webhook-signature": "v1,AAAA"}, 401, "till signature"),
        (call(), {"webhook-id": "other"}, 401, "till signature"),
        ('{"type": NaN}', {}, 422, "till schema"),
        ("[" * 60_000, {}, 422, "till schema"),
        (" " * 65_537, {}, 413, "till oversize"),
        (call(ticket=TICKET[::-1]), {}, 404, "till unknown"),
    ],
    ids=["forged", "another id", "NaN", "deep", "oversize", "no such ticket"],
)
async def test_a_bad_callback_gets_a_status_and_a_sentence(
    body: str, changes: dict[str, str], status: int, counted: str
) -> None:
    async with stage() as it:
        told = await it.call(body, **changes)
        assert (told.status, bool(told.sentence)) == (status, True)
        assert (await it.call(call())).status == 200
    assert it.books.counts[f"ingress_rejected_total {counted}"] == 1
    assert len(it.journal.rows) == 1


async def test_a_stale_callback_is_counted_as_a_replay() -> None:
    request = signed(call(), at=NOW - timedelta(seconds=301))
    async with stage() as it:
        told = await it.send(PATH, request.body, headers=request.headers)
    assert (told.status, "webhook-timestamp" in told.sentence) == (401, True)
    assert it.books.counts["ingress_rejected_total till replay"] == 1


async def test_a_contradiction_is_told_apart_from_a_repeat() -> None:
    async with stage() as it:
        statuses = [
            (await it.call(call(kind))).status for kind in ("ticket.accepted", "meal.ready")
        ]
    assert statuses == [200, 409]
    assert it.books.counts["ingress_rejected_total till replay"] == 1


async def test_unknown_paths_and_methods_get_problem_documents() -> None:
    async with stage() as it:
        unknown = await it.send("/nowhere")
        wrong = await it.send(PATH, method="GET")
    assert (unknown.status, bool(unknown.sentence)) == (404, True)
    assert (wrong.status, wrong.headers["Allow"], bool(wrong.sentence)) == (405, "POST", True)
    assert it.books.counts["ingress_requests_total unknown 404"] == 1


async def test_a_body_without_a_length_is_read_no_further_than_the_limit() -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(50):
            yield b"x" * 100

    async with stage() as it:
        assert (await it.send("/platforms/mt/a/paid", endless())).status == 413
    assert it.bench.arrived == []


async def test_a_packed_body_stays_packed() -> None:
    async with stage() as it:
        packed = b"\x1f\x8b anything"
        headers = {"content-encoding": "gzip"}
        assert (await it.send("/platforms/mt/a/paid", packed, headers=headers)).status == 200
    assert it.bench.arrived[0].body == packed


async def test_a_parameter_that_comes_twice_is_refused() -> None:
    async with stage() as it:
        assert (await it.send("/platforms/mt/a/paid?a=1&a=2")).status == 400


@pytest.mark.parametrize(
    ("trouble", "status", "sentence"),
    [
        (NotDone("the next poll brings it"), 503, "the next poll brings it"),
        (ConnectionError("password=secret"), 503, "we cannot keep it"),
        (KeyError("secret"), 500, "we failed at it"),
    ],
)
async def test_troubles_of_ours_say_come_again_and_nothing_else(
    trouble: Exception, status: int, sentence: str
) -> None:
    async with stage() as it:
        it.bench.trouble = trouble
        told = await it.send("/platforms/mt/a/paid")
    assert told.status == status
    assert told.sentence.startswith(sentence)
    assert b"secret" not in told.body
    assert ("Retry-After" in told.headers) == (status == 503)


async def test_what_takes_too_long_is_answered_in_time_and_finished_all_the_same() -> None:
    async with stage(answer_seconds=0.05) as it:
        it.bench.go_on.clear()
        told = await asyncio.wait_for(it.send("/platforms/mt/a/paid"), 5)
        it.bench.go_on.set()
        await asyncio.wait_for(it.bench.ended.wait(), 5)
    assert (told.status, told.headers["Retry-After"]) == (503, "2")


async def test_a_sender_that_hangs_up_cancels_nothing() -> None:
    async with stage() as it:
        it.bench.go_on.clear()
        sending = asyncio.create_task(it.send("/platforms/mt/a/paid"))
        await asyncio.wait_for(it.bench.begun.wait(), 5)
        sending.cancel()
        await asyncio.wait({sending})
        it.bench.go_on.set()
        await asyncio.wait_for(it.bench.ended.wait(), 5)


async def test_who_is_told_to_stop_finishes_what_is_in_hand() -> None:
    async with aiohttp.ClientSession() as session:
        it, stopping = Stage(session, 5), asyncio.Event()
        it.bench.go_on.clear()
        async with it.ingress.serving():
            sending = asyncio.create_task(it.send("/platforms/mt/a/paid"))
            await asyncio.wait_for(it.bench.begun.wait(), 5)
            asyncio.get_running_loop().call_soon(it.bench.go_on.set)
        assert (await sending).status == 200
        stopping.set()
        await it.ingress.run(stopping)


async def test_what_is_not_http_is_refused_without_a_traceback() -> None:
    async with stage() as it:
        reader, writer = await asyncio.open_connection("127.0.0.1", it.ingress.port)
        writer.write(b"\x16\x03\x01 nonsense\r\n\r\n")
        said = await asyncio.wait_for(reader.read(), 5)
        writer.close()
    assert said.startswith(b"HTTP/1.0 400")
    assert b"Traceback" not in said
