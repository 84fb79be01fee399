"""The guarded call over real HTTP: what is known after each kind of failure."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer, unused_port

from dispatcher.crashpoints import recording
from dispatcher.platform import NotDone, Throttled, Unclear
from producers.platforms.account import CallOptions
from producers.platforms.partner_http import PartnerHttp

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def partner(handler: Handler, **options: Any) -> AsyncIterator[tuple[PartnerHttp, str]]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    async with TestServer(app) as server, ClientSession() as session:
        yield PartnerHttp(session, CallOptions(**options)), str(server.make_url("/x"))


def answering(**response: Any) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(**response)

    return answer


@pytest.mark.parametrize(
    ("response", "acting", "reading"),
    [
        ({"status": 500}, Unclear, NotDone),
        ({"status": 503}, Unclear, NotDone),
        ({"status": 307, "headers": {"Location": "http://127.0.0.1:1/"}}, NotDone, NotDone),
        ({"status": 429}, Throttled, Throttled),
        ({"status": 503, "headers": {"Retry-After": "7"}}, Throttled, Throttled),
        ({"body": b"x" * 1001}, Unclear, NotDone),
    ],
)
async def test_failures_are_sorted_by_what_may_have_been_done(
    response: Any, acting: type[Exception], reading: type[Exception]
) -> None:
    options = {"longest_answer_bytes": 1000, "pause_seconds": 0, "longest_pause_seconds": 0.001}
    for acts, error in ((True, acting), (False, reading)):
        async with partner(answering(**response), **options) as (http, url):
            with pytest.raises(error) as told:
                await http.call("GET", url, acting=acts)
            assert type(told.value) is error


async def test_an_answer_below_500_is_the_adapter_s_to_judge() -> None:
    async with partner(answering(status=422, body=b"{}")) as (http, url):
        assert await http.call("POST", url, acting=True, body=b"") == (422, b"{}")


async def test_a_partner_that_is_too_slow_leaves_an_acting_call_unclear() -> None:
    async def hang(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with partner(hang, timeout_seconds=0.05) as (http, url):
        with pytest.raises(Unclear):
            await http.call("GET", url, acting=True)
        with pytest.raises(NotDone):
            await http.call("GET", url, acting=False)


async def test_without_a_connection_surely_nothing_was_done() -> None:
    async with ClientSession() as session:
        http = PartnerHttp(session, CallOptions())
        with pytest.raises(NotDone):
            await http.call("GET", f"http://127.0.0.1:{unused_port()}/", acting=True)


async def test_an_acting_call_leaves_once_even_when_its_connection_is_lost() -> None:
    calls = 0

    async def hang_up(request: web.Request) -> web.Response:
        nonlocal calls
        calls += 1
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with partner(hang_up) as (http, url):
        with pytest.raises(Unclear):
            await http.call("GET", url, acting=True)
    assert calls == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        (
            {
                "Retry-After": "Mon, 06 May 2024 12:00:30 GMT",
                "Date": "Mon, 06 May 2024 12:00:00 GMT",
            },
            30.0,
        ),
        ({"Retry-After": "99999999999"}, 600.0),
        ({"Retry-After": "soon"}, 1.0),
        ({}, 1.0),
    ],
)
async def test_a_pause_that_was_asked_for_is_kept_by_all_calls(
    headers: dict[str, str], seconds: float
) -> None:
    calls = 0

    async def busy(_: web.Request) -> web.Response:
        nonlocal calls
        calls += 1
        return web.Response(status=429, headers=headers)

    async with partner(busy) as (http, url):
        for _ in range(2):
            with pytest.raises(Throttled) as told:
                await http.call("GET", url, acting=True)
            assert told.value.retry_after == pytest.approx(seconds, abs=0.5)
    assert calls == 1


async def test_our_own_rate_limit_holds_back_and_then_says_so() -> None:
    options = {"requests_per_second": 2, "timeout_seconds": 0.05}
    async with partner(answering(), **options) as (http, url):
        for _ in range(2):
            await http.call("GET", url, acting=False)
        with pytest.raises(Throttled):
            await http.call("GET", url, acting=False)


async def test_a_crash_can_be_placed_before_and_after_the_call() -> None:
    async with partner(answering()) as (http, url):
        with recording() as passed:
            await http.call("GET", url, acting=True)
    assert passed == ["platform.call.before", "platform.call.after"]
