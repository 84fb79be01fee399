"""Callbacks from a till: signed, one id per fact, repeated under that id until taken.

Repeated are connection troubles, 408, 429 and 5xx; any other answer is final.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from ops.simulators.tills.books import Callback
from ops.simulators.tills.signature import key_of, signature

FIRST_WAIT_SECONDS = 0.2
LONGEST_WAIT_SECONDS = 5.0
TRIES = 60


class Fact(NamedTuple):
    """One fact about one ticket; `webhook_id` names it for good."""

    store: str
    type: str
    ticket_id: str
    webhook_id: str
    data: Mapping[str, str]

    def body(self, now: float) -> bytes:
        document = {
            "type": self.type,
            "timestamp": datetime.fromtimestamp(now, UTC).isoformat(),
            "data": {"ticket_id": self.ticket_id, **self.data},
        }
        return json.dumps(document, ensure_ascii=False).encode()


def fact(store: str, type_: str, ticket_id: str, **data: str) -> Fact:
    return Fact(store, type_, ticket_id, f"{store}-{ticket_id}-{type_}", data)


class Callbacks:
    def __init__(
        self, base_url: str, secrets: Mapping[str, str], clock: Callable[[], float] = time.time
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._keys = {store: key_of(secret) for store, secret in secrets.items()}
        self._clock = clock
        self._session: ClientSession | None = None

    async def start(self) -> None:
        self._session = ClientSession(
            connector=TCPConnector(limit=100), timeout=ClientTimeout(total=10), trust_env=False
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def deliver(self, fact: Fact, record: Callback) -> None:
        """Repeats the same bytes under the same id until the answer is final."""
        body, wait = fact.body(record.first_at), FIRST_WAIT_SECONDS
        for _ in range(TRIES):
            record.tries += 1
            record.status, _text = await self.attempt(fact, body)
            if record.status not in (0, 408, 429) and record.status < 500:
                record.done_at = self._clock()
                return
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)

    async def attempt(
        self, fact: Fact, body: bytes, *, timestamp: str = "", key: bytes | None = None
    ) -> tuple[int, str]:
        """One attempt; status 0 without an answer. `key` and `timestamp` are for forgeries."""
        if self._session is None:
            return 0, ""
        timestamp = timestamp or str(int(self._clock()))
        signed = signature(key or self._keys[fact.store], fact.webhook_id, timestamp, body)
        headers = {
            "content-type": "application/json",
            "webhook-id": fact.webhook_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": signed,
        }
        url = f"{self.base_url}/tills/{fact.store}/events"
        try:
            async with self._session.post(
                url, data=body, headers=headers, allow_redirects=False
            ) as got:
                return got.status, await got.text()
        except (ClientError, TimeoutError) as trouble:
            return 0, str(trouble)


def as_answer(status: int, text: str) -> dict[str, Any]:
    return {"status": status, "body": text}
