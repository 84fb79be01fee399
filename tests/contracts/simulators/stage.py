"""A stage for simulators in one process: real HTTP on loopback, a clock that can be moved."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer, unused_port

from ops.simulators.chain import Chain, read_chain
from ops.simulators.meituan.api import meituan_app
from ops.simulators.meituan.signature import signature
from ops.simulators.opendelivery.api import opendelivery_app
from ops.simulators.tills.api import tills_app
from ops.simulators.tills.behaviour import Behaviour
from ops.simulators.tills.signature import key_of
from ops.simulators.tills.signature import signature as till_signature

EXAMPLE = Path(__file__).parents[3] / "examples" / "chain.toml"


class MovableClock:
    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


class Inbox:
    """Someone who is called back: keeps every request, answers as told, then with `usual`."""

    def __init__(self, usual: bytes, *answers: tuple[int, bytes]) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self._answers = list(answers)
        self._usual = usual

    async def take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append((request.path, headers, await request.read()))
        status, body = self._answers.pop(0) if self._answers else (200, self._usual)
        return web.Response(status=status, body=body)

    @property
    def documents(self) -> list[Any]:
        return [json.loads(body) for _, _, body in self.requests]


class Stage:
    """One simulator, its desk, and the session to talk to it."""

    def __init__(self, url: str, session: ClientSession, clock: MovableClock) -> None:
        self.url = url
        self.session = session
        self.clock = clock

    async def sim(self, name: str, **document: Any) -> Any:
        """`POST /_sim/name` with a document."""
        async with self.session.post(f"{self.url}/_sim/{name}", json=document) as answer:
            return await answer.json()

    async def read(self, name: str) -> Any:
        async with self.session.get(f"{self.url}/_sim/{name}") as answer:
            return await answer.json()

    async def entry(self, order_id: str) -> Any:
        orders = (await self.read("books"))["orders"]
        return next(order for order in orders if order["order_id"] == order_id)


class MeituanStage(Stage):
    async def call(self, path: str, **business: str) -> Any:
        """A signed call; the data it brought, or the error code."""
        document = json.loads(await self.raw(path, **business))
        return document["error"]["code"] if document["data"] == "ng" else document["data"]

    async def raw(self, path: str, *, secret: str = "", **business: str) -> bytes:
        url = f"{self.url}/api/v1/{path}"
        params = {"app_id": "4711", "timestamp": str(int(time.time())), **business}
        params["sig"] = signature(url, params, secret or "example-meituan-secret-not-real")
        async with self.session.get(url, params=params) as answer:
            return await answer.read()


class OpenStage(Stage):
    token = ""

    async def sign_in(self) -> None:
        form = {
            "grant_type": "client_credentials",
            "client_id": "example-client",
            "client_secret": "example-client-secret-not-real",
        }
        async with self.session.post(f"{self.url}/oauth/token", data=form) as answer:
            self.token = (await answer.json())["access_token"]

    async def call(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, Any]:
        headers["Authorization"] = f"Bearer {self.token}"
        async with self.session.request(
            method, f"{self.url}/v1/{path}", json=body, headers=headers
        ) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text else None

    async def events(self, **headers: str) -> list[Any]:
        _, events = await self.call("GET", "events:polling", **headers)
        return events or []


class TillStage(Stage):
    async def push(
        self, body: bytes, webhook_id: str, store: str = "S001", *, age: int = 0, secret: str = ""
    ) -> tuple[int, Any]:
        key = key_of(secret or secret_of(store))
        timestamp = str(int(time.time()) - age)
        headers = {
            "webhook-id": webhook_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": till_signature(key, webhook_id, timestamp, body),
            "content-type": "application/json",
        }
        url = f"{self.url}/tills/{store}"
        async with self.session.post(url, data=body, headers=headers) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text else None


def secret_of(store_id: str) -> str:
    stores = read_chain(EXAMPLE, {}).stores
    return next(store.till_secret for store in stores if store.store_id == store_id)


@asynccontextmanager
async def meituan(callbacks: Inbox | None = None) -> AsyncIterator[MeituanStage]:
    port, clock = unused_port(), MovableClock()
    async with _callbacks(callbacks) as public_url:
        chain = _chain(SYSTEM2_MEITUAN_URL=_at(port, "/api/v1"), SYSTEM2_PUBLIC_URL=public_url)
        account = chain.account("meituan")
        if callbacks is None:
            account = account._replace(options={})
        app = meituan_app(chain, account, clock=clock)
        async with TestServer(app, port=port), ClientSession() as session:
            yield MeituanStage(_at(port), session, clock)


@asynccontextmanager
async def opendelivery(callbacks: Inbox | None = None) -> AsyncIterator[OpenStage]:
    port, clock = unused_port(), MovableClock()
    async with _callbacks(callbacks) as public_url:
        chain = _chain(SYSTEM2_OPENDELIVERY_URL=_at(port))
        account = chain.account("opendelivery")
        if callbacks is not None:
            account = account._replace(options={"webhook_url": public_url})
        app = opendelivery_app(chain, account, clock=clock)
        async with TestServer(app, port=port), ClientSession() as session:
            stage = OpenStage(_at(port), session, clock)
            await stage.sign_in()
            yield stage


@asynccontextmanager
async def tills(callbacks: Inbox | None = None, **behaviour: Any) -> AsyncIterator[TillStage]:
    port, clock = unused_port(), MovableClock()
    async with _callbacks(callbacks) as public_url:
        at_once = {"accept_seconds": 0.0, "cook_seconds": 0.01, "seconds": 0.05}
        default = Behaviour.model_validate({**at_once, **behaviour})
        app = tills_app(_chain(), public_url, default, clock)
        async with TestServer(app, port=port), ClientSession() as session:
            yield TillStage(_at(port), session, clock)


@asynccontextmanager
async def _callbacks(inbox: Inbox | None) -> AsyncIterator[str]:
    """The address at which the inbox listens; one where nobody does, without an inbox."""
    port = unused_port()
    if inbox is None:
        yield _at(port)
        return
    app = web.Application()
    app.router.add_post("/{path:.*}", inbox.take)
    async with TestServer(app, port=port):
        yield _at(port)


def _at(port: int, path: str = "") -> str:
    return f"http://127.0.0.1:{port}{path}"


def _chain(**environ: str) -> Chain:
    return read_chain(EXAMPLE, environ)


async def until(claim: Callable[[], bool] | Callable[[], Awaitable[bool]]) -> None:
    """Waits for a condition, with a deadline."""
    async with asyncio.timeout(5):
        while not await _holds(claim):  # noqa: ASYNC110  # any condition, also of another process
            await asyncio.sleep(0.005)


async def _holds(claim: Callable[[], bool] | Callable[[], Awaitable[bool]]) -> bool:
    answer = claim()
    return answer if isinstance(answer, bool) else await answer
