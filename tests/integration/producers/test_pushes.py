"""Real adapters behind the ingress: a push over the wire, and the bytes its platform waits for."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import NamedTuple

import aiohttp
import pytest
from pydantic import SecretStr

from dispatcher.errors import Trouble
from dispatcher.messages import OrderCancelled
from dispatcher.platform import Platform
from ops.simulators.meituan.signature import signature as meituan_signature
from ops.simulators.opendelivery.signature import signature as opendelivery_signature
from producers.ingress.door import Door
from producers.ingress.platforms import PlatformRoute
from producers.ingress.server import Ingress
from producers.platforms.registry import PlatformAccount, open_platform
from tests.unit.platforms.fakes import FakeCatalogue
from tests.unit.producers.doubles import Books, MemoryBroker, MemoryJournal, Shelf, entrance, told

PUBLIC = "https://orders.example.test/platforms/meituan/mt-main"
CANCELLED = b'{"eventId":"e-1","eventType":"CANCELLED","orderId":"o-1"}'


class Stage(NamedTuple):
    session: aiohttp.ClientSession
    ingress: Ingress
    broker: MemoryBroker

    async def post(self, path: str, body: object, **headers: str) -> tuple[int, bytes]:
        url = f"http://127.0.0.1:{self.ingress.port}/platforms/{path}"
        async with self.session.post(url, data=body, headers=headers) as response:
            return response.status, await response.read()


class Accounts:
    def __init__(self, session: aiohttp.ClientSession) -> None:
        meituan = PlatformAccount(
            platform="meituan",
            account="mt-main",
            base_url="http://127.0.0.1:9/api/v1",
            currency="CNY",
            credentials={"app_id": SecretStr("4711"), "secret": SecretStr("s")},
            options={"callback_url": PUBLIC},
        )
        opendelivery = PlatformAccount(
            platform="opendelivery",
            account="od-main",
            base_url="http://127.0.0.1:9",
            currency="BRL",
            credentials={"client_id": SecretStr("c"), "client_secret": SecretStr("s")},
        )
        self._all = {
            account.account: open_platform(account, FakeCatalogue(), session)
            for account in (meituan, opendelivery)
        }

    def of(self, account: str) -> Platform:
        return self._all[account]


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    async with aiohttp.ClientSession(trust_env=False) as session:
        broker = MemoryBroker()
        door = Door(entrance(MemoryJournal(), broker, Shelf()), Books(), lambda: None)
        route = PlatformRoute(Accounts(session), door, lambda: datetime.now(UTC))
        ingress = Ingress([route], Books(), lambda _: Trouble.BUG)
        async with ingress.serving():
            yield Stage(session, ingress, broker)


def meituan(kind: str, at: float, **fields: str) -> dict[str, str]:
    params = {"app_id": "4711", "timestamp": str(int(at)), **fields}
    return {**params, "sig": meituan_signature(f"{PUBLIC}/{kind}", params, "s")}


async def test_meituan_reads_its_exact_acknowledgement_however_often_it_pushes() -> None:
    async with stage() as it:
        form = meituan("cancelled", time.time(), order_id="12", reason="下错单 a+b", empty="")
        for _ in range(3):
            answer = await it.post("meituan/mt-main/cancelled", form)
            assert answer == (200, b'{"data":"ok"}')
        assert [type(event) for event in told(it.broker)] == [OrderCancelled]


@pytest.mark.parametrize("seconds", [-301, 301])
async def test_a_stale_push_of_meituan_is_refused(seconds: int) -> None:
    async with stage() as it:
        form = meituan("cancelled", time.time() + seconds, order_id="12")
        status, sentence = await it.post("meituan/mt-main/cancelled", form)
        assert (status, b"timestamp" in sentence, it.broker.taken) == (401, True, [])


async def test_a_push_of_meituan_signed_for_another_path_is_refused() -> None:
    async with stage() as it:
        form = meituan("cancelled", time.time(), order_id="12")
        status, sentence = await it.post("meituan/mt-main/completed", form)
        assert (status, b"signature" in sentence, it.broker.taken) == (401, True, [])


async def test_open_delivery_reads_an_empty_200() -> None:
    async with stage() as it:
        right = opendelivery_signature(CANCELLED, "s")
        path = "opendelivery/od-main/v1/newEvent"
        for _ in range(2):
            assert await it.post(path, CANCELLED, **{"X-App-Signature": right}) == (200, b"")
        assert [type(event) for event in told(it.broker)] == [OrderCancelled]
        forged = await it.post(path, CANCELLED, **{"X-App-Signature": right[::-1]})
        assert forged[0] == 401


async def test_a_new_order_of_open_delivery_is_left_to_the_poll() -> None:
    body = CANCELLED.replace(b"CANCELLED", b"CREATED")
    async with stage() as it:
        right = opendelivery_signature(body, "s")
        status, sentence = await it.post(
            "opendelivery/od-main/v1/newEvent", body, **{"X-App-Signature": right}
        )
        assert (status, b"poll" in sentence) == (503, True)
