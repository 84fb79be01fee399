"""For each adapter in the registry a world to live in: its simulated platform over real HTTP."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

from aiohttp import ClientSession, DummyCookieJar, web
from aiohttp.test_utils import TestServer, unused_port
from pydantic import SecretStr

from dispatcher.errors import PipelineError
from dispatcher.platform import Fact, Page, Platform, Push, Raw, Request
from ops.simulators.books import OrderEntry
from ops.simulators.chain import Chain, Item, Store
from ops.simulators.chain import PlatformAccount as SimulatedAccount
from ops.simulators.customers import Wish
from ops.simulators.faults import FaultWish
from ops.simulators.meituan.api import PLATFORM as MEITUAN
from ops.simulators.meituan.api import meituan_app
from ops.simulators.opendelivery.api import PLATFORM as OPENDELIVERY
from ops.simulators.opendelivery.api import opendelivery_app
from ops.simulators.platform import SimulatedPlatform
from producers.platforms.registry import PlatformAccount, open_platform

OURS, FORGOTTEN = "S001", "S002"


class Traits(NamedTuple):
    """What a platform is like, beyond what every platform must be."""

    account: str
    url_path: str
    currency: str
    credentials: Mapping[str, str]
    options: Callable[[str], dict[str, Any]]
    app: Callable[..., web.Application]
    key: web.AppKey[Any]
    detail_path: str
    act_path: str
    throttled: str
    pushes_orders: bool
    stamps_pushes: bool


TRAITS = {
    "meituan": Traits(
        account="mt-main",
        url_path="/api/v1",
        currency="CNY",
        credentials={"app_id": "4711", "secret": "meituan-secret-of-this-test"},
        options=lambda url: {"callback_url": f"{url}/platforms/meituan/mt-main"},
        app=meituan_app,
        key=MEITUAN,
        detail_path="order/getOrderDetail",
        act_path="order/confirm",
        throttled="711",
        pushes_orders=True,
        stamps_pushes=True,
    ),
    "opendelivery": Traits(
        account="od-main",
        url_path="",
        currency="BRL",
        credentials={"client_id": "client", "client_secret": "od-secret", "app_id": "app"},
        options=lambda url: {"webhook_url": f"{url}/platforms/opendelivery/od-main"},
        app=opendelivery_app,
        key=OPENDELIVERY,
        detail_path="",
        act_path="/confirm",
        throttled="429",
        pushes_orders=False,
        stamps_pushes=False,
    ),
}


class ChainCatalogue:
    """The chain's stores and items; `FORGOTTEN` is pulled, but names no store of ours."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def store_of(self, account: str, code: str) -> str | None:
        stores = (s for s in self._chain.stores_on(account) if s.store_id != FORGOTTEN)
        return next((s.store_id for s in stores if s.accounts[account] == code), None)

    def code_of(self, account: str, store_id: str) -> str | None:
        stores = self._chain.stores_on(account)
        return next((s.accounts[account] for s in stores if s.store_id == store_id), None)

    def codes(self, account: str) -> tuple[str, ...]:
        return tuple(sorted(s.accounts[account] for s in self._chain.stores_on(account)))

    def sku_of(self, code: str) -> str | None:
        return code if any(item.sku == code for item in self._chain.items) else None


class World:
    """One adapter, opened through the registry, before its simulated platform."""

    def __init__(self, traits: Traits, platform: Platform, sim: SimulatedPlatform) -> None:
        self.traits = traits
        self.platform = platform
        self.sim = sim
        self.pushed: list[Request] = []
        self._cursors: dict[str, dict[str, Any]] = {}

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.sim.clock(), UTC)

    def place(self, store: str = OURS, **wish: Any) -> OrderEntry:
        return self.sim.place(Wish(store=store, **wish))

    def fault(self, kind: str, times: int = 1, path: str = "") -> None:
        self.sim.faults.arm(FaultWish(kind=kind, next=times, path=path))

    async def pull(self) -> list[Raw]:
        """Everything there is to see now, from where the last pull ended."""
        raws: list[Raw] = []
        for scope in self.platform.scopes():
            page = Page((), {}, more=True)
            while page.more:
                page = await self.platform.pull(scope, self._cursors.get(scope, {}), self.now)
                await self.platform.acknowledge(page)
                self._cursors[scope] = page.cursor
                raws.extend(page.raws)
        return raws

    async def pull_until(self, seen: Callable[[list[Raw]], bool]) -> list[Raw]:
        """Pulls on, whatever goes wrong meanwhile, until the payloads so far will do."""
        raws: list[Raw] = []
        async with asyncio.timeout(10):
            while not seen(raws):
                try:
                    raws += await self.pull()
                except PipelineError:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.01)
        return raws

    def look_anew(self) -> None:
        self._cursors.clear()

    async def push_about(self, tells: Callable[[Push], bool]) -> Push:
        """The first push whose reading will do. Whoever waits here has already made it happen."""
        async with asyncio.timeout(5):
            while True:
                for request in self.pushed:
                    push = self._read(request)
                    if push is not None and tells(push):
                        return push
                await asyncio.sleep(0.005)

    def _read(self, request: Request) -> Push | None:
        try:
            return self.platform.receive(request, self.now)
        except PipelineError:
            return None

    async def take(self, request: web.Request) -> web.Response:
        """Stands where the pipeline's own ingress would."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = await request.read()
        kept = Request(request.path, dict(request.query), headers, body)
        self.pushed.append(kept)
        push = self._read(kept)
        if push is None:
            return web.Response(status=503)
        return web.Response(body=push.answer, content_type=push.content_type)


def facts(raws: list[Raw]) -> list[Fact]:
    return [fact for raw in raws for fact in raw.facts]


def tells(kind: str) -> Callable[[Any], bool]:
    """Whether payloads, or a push, tell a fact of this kind."""

    def claim(told: Any) -> bool:
        raws = [told.raw] if isinstance(told, Push) else told
        return any(fact.key.startswith(f"{kind}:") for fact in facts(raws))

    return claim


@asynccontextmanager
async def opened(name: str, **options: Any) -> AsyncIterator[World]:
    traits = TRAITS[name]
    port, public_port = unused_port(), unused_port()
    base_url = f"http://127.0.0.1:{port}{traits.url_path}"
    told = {**traits.options(f"http://127.0.0.1:{public_port}"), "pause_seconds": 0.0, **options}
    stores = tuple(
        Store(store_id, store_id, "", {traits.account: f"code-{store_id}"})
        for store_id in (OURS, FORGOTTEN)
    )
    prices = {"NOODLE": 2800, "TEA": 850, "EGG": 333, "SOUP": 1299, "BUN": 501}
    items = tuple(Item(sku, sku.title(), price) for sku, price in prices.items())
    simulated = SimulatedAccount(
        name, traits.account, base_url, traits.currency, traits.credentials, told
    )
    chain = Chain("Test", "Asia/Shanghai", (simulated,), stores, items)
    app = traits.app(chain, simulated, clock=time.time)
    account = PlatformAccount(
        platform=name,
        account=traits.account,
        base_url=base_url,
        currency=traits.currency,
        credentials={key: SecretStr(value) for key, value in traits.credentials.items()},
        options=told,
        timezone="Asia/Shanghai",
    )
    async with ClientSession(cookie_jar=DummyCookieJar()) as http:
        world = World(traits, open_platform(account, ChainCatalogue(chain), http), app[traits.key])
        public = web.Application()
        public.router.add_post("/{path:.*}", world.take)
        async with TestServer(public, port=public_port), TestServer(app, port=port):
            yield world
