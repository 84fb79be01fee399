"""The HTTP client for tills against servers on this machine: where it goes, what it says, and what
it believes.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import time
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import web
from standardwebhooks import Webhook

from consumers.pos import TillAnswer
from consumers.till import LONGEST_ANSWER, HttpTills, is_allowed
from dispatcher.platform import NotDone, Unclear, UnknownStore

SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
LOOPBACK = ("127.0.0.0/8",)
Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Store:
    till_url: str
    till_secret: str = SECRET
    till_networks: tuple[str, ...] = LOOPBACK


class Stores(dict[str, Store]):
    """Where the client looks tills up."""

    async def find(self, store_id: str) -> Store:
        if store_id not in self:
            raise UnknownStore(store_id)
        return self[store_id]


class Canary:
    """Counts who connects, and answers each with an empty 200."""

    def __init__(self) -> None:
        self.connections = 0
        self.port = 0

    async def sing(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()


@asynccontextmanager
async def a_canary(host: str = "127.0.0.1") -> AsyncIterator[Canary]:
    canary = Canary()
    server = await asyncio.start_server(canary.sing, host, 0)
    canary.port = server.sockets[0].getsockname()[1]
    try:
        yield canary
    finally:
        server.close()


@asynccontextmanager
async def a_till(answering: Answering) -> AsyncIterator[str]:
    """The address of a till that answers so."""
    application = web.Application()
    application.router.add_post("/till", answering)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/till"
    finally:
        await runner.cleanup()


async def post(stores: Stores, store_id: str = "S1", **limits: Any) -> TillAnswer:
    async with HttpTills(stores.find, **limits) as tills:
        return await tills.post(store_id, str(uuid4()), b"{}", None)


async def says(answering: Answering, **limits: Any) -> TillAnswer:
    async with a_till(answering) as url:
        return await post(Stores(S1=Store(url)), **limits)


def plain(
    status: int = 200, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> Answering:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, body=body, headers=headers)

    return answer


# -- where it goes -------------------------------------------------------------------------------

FORBIDDEN = [
    "http://127.0.0.1:{port}/", "http://127.0.0.1.:{port}/", "http://127.1:{port}/",
    "http://2130706433:{port}/", "http://0x7f000001:{port}/", "http://0x7f.1:{port}/",
    "http://017700000001:{port}/", "http://0177.0.0.1:{port}/", "http://127.8.9.10:{port}/",
    "http://localhost:{port}/", "http://LOCALHOST.:{port}/", "http://①②⑦.⓪.⓪.①:{port}/",
    "http://someone@127.0.0.1:{port}/", "http://example.com:80@127.0.0.1:{port}/",
    "http://0:{port}/", "http://0.0.0.0:{port}/", "http://[::]:{port}/", "http://[::1]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/", "http://[::ffff:7f00:1]:{port}/",
    "http://[::127.0.0.1]:{port}/", "http://[64:ff9b::127.0.0.1]:{port}/",
    "http://[64:ff9b:1::7f00:1]:{port}/", "http://[2002:7f00:1::1]:{port}/",
    "http://[2001:0:4136:e378:8000:63bf:80ff:fffe]:{port}/", "http://[fe80::1]:{port}/",
    "http://[fec0::1]:{port}/", "http://[fd00:ec2::254]:{port}/", "http://[ff02::1]:{port}/",
    "http://169.254.169.254/latest/meta-data/", "http://10.0.0.1:{port}/",
    "http://172.16.0.1:{port}/", "http://192.168.0.1:{port}/", "http://100.64.0.1:{port}/",
    "http://198.18.0.1:{port}/", "http://192.0.0.170:{port}/", "http://224.0.0.1:{port}/",
    "http://240.0.0.1:{port}/", "http://255.255.255.255:{port}/",
    "file:///etc/passwd", "unix:///var/run/docker.sock", "gopher://127.0.0.1:{port}/", "ftp://x/",
    "127.0.0.1:{port}", "//127.0.0.1:{port}/", "http://", "http:///", "http://:{port}/", "",
    "http://127.0.0.1:99999/", "http://[::1/", "http://\x00/", "http://127.0.0.1:{port}:80/",
]  # fmt: skip


@pytest.mark.parametrize("address", FORBIDDEN)
async def test_no_address_leads_into_our_own_network(address: str) -> None:
    async with a_canary() as canary:
        url = address.format(port=canary.port)
        with pytest.raises(NotDone):
            await post(Stores(S1=Store(url, till_networks=())), connect_seconds=0.5)
        assert canary.connections == 0


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "10.1.2.3", "100.64.0.1", "127.8.9.10", "169.254.169.254", "172.31.0.1"),
        *("192.0.0.170", "192.168.1.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::7f00:1"),
        *("2001:0:7f00:1::", "2002:7f00:1::1", "fc00::1", "fe80::1%eth0", "fec0::1", "ff02::1"),
    ],
)
def test_an_address_that_is_not_public_is_none_of_a_tills(address: str) -> None:
    """By itself: where no route leads there, a refused connection would hide a missing rule."""
    assert not is_allowed(address, ())


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34"])
def test_a_public_address_may_be_a_tills(address: str) -> None:
    assert is_allowed(address, ())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
async def test_a_network_on_the_stores_list_can_be_reached(host: str) -> None:
    async with a_canary() as canary:
        url = f"http://{host}:{canary.port}/"
        assert (await post(Stores(S1=Store(url)))).status == 200
        assert canary.connections == 1


async def test_a_list_opens_its_own_networks_and_no_other() -> None:
    async with a_canary() as canary:
        store = Store(f"http://127.0.0.1:{canary.port}/", till_networks=("127.0.0.2/32", "::/0"))
        with pytest.raises(NotDone):
            await post(Stores(S1=store))
        assert canary.connections == 0


async def test_a_name_that_points_elsewhere_the_second_time_is_looked_at_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with a_canary("127.0.0.2") as ours, a_canary("127.0.0.1") as secret:
        points_to = [("127.0.0.2", ours.port)]

        async def resolved(*_: object, **__: object) -> Sequence[Any]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", points_to[-1])]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolved)
        store = Store(f"http://till.example:{ours.port}/", till_networks=("127.0.0.2/32",))
        async with HttpTills(Stores(S1=store).find) as tills:
            await tills.post("S1", "a", b"{}", None)
            points_to.append(("127.0.0.1", secret.port))
            for session in tills._sessions.values():
                session.connector.clear_dns_cache()  # type: ignore[union-attr]
            with pytest.raises(NotDone):
                await tills.post("S1", "a", b"{}", None)
        assert (ours.connections, secret.connections) == (1, 0)


async def test_stores_with_different_lists_never_share_a_connection() -> None:
    async with a_till(plain()) as url:
        stores = Stores(allowed=Store(url), forbidden=Store(url, till_networks=()))
        async with HttpTills(stores.find) as tills:
            assert (await tills.post("allowed", "a", b"{}", None)).status == 200
            with pytest.raises(NotDone):
                await tills.post("forbidden", "b", b"{}", None)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer_and_not_followed(status: int) -> None:
    async with a_canary() as canary:
        where = f"http://127.0.0.1:{canary.port}/"
        assert (await says(plain(status, {"Location": where}))).status == status
        assert canary.connections == 0


async def test_no_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_canary() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert (await says(plain())).status == 200
        assert proxy.connections == 0


# -- what it says --------------------------------------------------------------------------------


async def test_every_attempt_is_signed_anew_over_the_same_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    got: list[tuple[dict[str, str], bytes]] = []

    async def answer(request: web.Request) -> web.Response:
        got.append(({k.lower(): v for k, v in request.headers.items()}, await request.read()))
        return web.Response()

    async with a_till(answer) as url, HttpTills(Stores(S1=Store(url)).find) as tills:
        now = time()
        for seconds in (0, 2):
            monkeypatch.setattr("consumers.till.time", lambda at=now + seconds: at)
            await tills.post("S1", "the-command", b'{"x":1}', "00-trace-01")
    for headers, body in got:
        assert Webhook(SECRET).verify(body, headers) == {"x": 1}
        assert (headers["webhook-id"], headers["traceparent"]) == ("the-command", "00-trace-01")
        assert headers["content-type"] == "application/json"
    assert got[0][0]["webhook-signature"] != got[1][0]["webhook-signature"]


# -- what it believes ----------------------------------------------------------------------------


async def test_an_answer_without_end_is_cut() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while request.transport and not request.transport.is_closing():
            await response.write(b"x" * 65536)
        return response

    answer = await says(endless)
    assert (answer.status, len(answer.body)) == (200, LONGEST_ANSWER)


async def test_a_compressed_answer_is_not_blown_up() -> None:
    answer = await says(plain(200, {"Content-Encoding": "gzip"}, b"\x1f\x8b not even gzip"))
    assert (answer.status, answer.body) == (200, b"\x1f\x8b not even gzip")


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("7", 7.0), ("²", None), ("-1", None), ("1e9", None), ("NaN", None), ("soon", None)],
)
async def test_a_strange_retry_after_does_not_make_a_taken_ticket_undone(
    said: str, seconds: float | None
) -> None:
    answer = await says(plain(200, {"Retry-After": said}))
    assert (answer.status, answer.retry_after) == (200, seconds)


async def test_a_till_that_does_not_answer_leaves_us_in_doubt() -> None:
    async def silent(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    with pytest.raises(Unclear):
        await says(silent, total_seconds=0.1)


async def test_an_answer_that_drips_leaves_us_in_doubt() -> None:
    async def dripping(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"{")
        await asyncio.Event().wait()
        return response

    with pytest.raises(Unclear):
        await says(dripping, total_seconds=0.1)


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{", b"SSH-2\r\n\r\n"]
)
async def test_a_connection_lost_after_the_ticket_was_sent_leaves_us_in_doubt(said: bytes) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(said)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(Unclear):
            await post(Stores(S1=Store(f"http://127.0.0.1:{port}/")))


async def test_where_nobody_listens_nothing_was_done() -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unheard.getsockname()[1]}/"
        with pytest.raises(NotDone):
            await post(Stores(S1=Store(url)))


async def test_a_till_that_is_just_restarting_is_reached_at_the_second_try(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with a_till(plain()) as url:
        tills = HttpTills(Stores(S1=Store(url)).find)
        once, real = [NotDone("restarting")], tills._post

        async def restarting(*arguments: Any) -> TillAnswer:
            if once:
                raise once.pop()
            return await real(*arguments)

        monkeypatch.setattr(tills, "_post", restarting)
        async with tills:
            assert (await tills.post("S1", "a", b"{}", None)).status == 200


async def test_a_store_that_is_not_loaded_is_hopeless() -> None:
    with pytest.raises(UnknownStore):
        await post(Stores(), "S9")
