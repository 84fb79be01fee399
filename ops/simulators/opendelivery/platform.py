"""The simulated ordering application: its orders, its tokens, and the events not yet acknowledged.

An event comes back on every poll until it is acknowledged; with a webhook address in the account's
options it is sent there as well, and repeated until the answer is 200.
"""

import asyncio
import json
import secrets
from typing import Any
from uuid import uuid4

from aiohttp import ClientError, ClientSession

from ops.simulators.books import OrderEntry
from ops.simulators.chain import Chain, PlatformAccount
from ops.simulators.customers import Basket, Wish
from ops.simulators.opendelivery.signature import signature
from ops.simulators.opendelivery.wire import Event, OpenOrder
from ops.simulators.platform import SimulatedPlatform, new_entry

MOST_EVENTS = 1000

# A merchant's request to cancel is taken (CANCELLATION_REQUESTED) and granted (CANCELLED).
_EVENTS = {
    "placed": ("CREATED",),
    "confirmed": ("CONFIRMED",),
    "preparing": ("PREPARING",),
    "ready": ("READY_FOR_PICKUP",),
    "rejected": ("CANCELLATION_REQUESTED", "CANCELLED"),
    "cancel_asked": ("ORDER_CANCELLATION_REQUEST",),
    "cancel_denied": ("CANCELLED_DENIED",),
    "cancelled": ("CANCELLED",),
    "completed": ("CONCLUDED",),
}


class OpenDelivery(SimulatedPlatform):
    def __init__(self, chain: Chain, account: PlatformAccount, **how: Any) -> None:
        super().__init__(chain, account, **how)
        self.orders: dict[str, OpenOrder] = {}
        self.session: ClientSession | None = None
        self._events: dict[str, Event] = {}
        self._tokens: dict[str, float] = {}

    def forget(self) -> None:
        super().forget()
        self.orders.clear()
        self._events.clear()
        self._tokens.clear()

    def number(self, basket: Basket, wish: Wish, now: float) -> OrderEntry:
        entry = new_entry(str(uuid4()), basket, self.account.currency, now)
        entry.daily_number = 1000 + len(self.orders)
        wanted_at = None if wish.wanted_in is None else now + wish.wanted_in
        self.orders[entry.order_id] = OpenOrder(entry, basket, wanted_at)
        return entry

    def announce(self, entry: OrderEntry, fact: str) -> None:
        order = self.orders[entry.order_id]
        order.cancel_asked = fact == "cancel_asked" or (order.cancel_asked and entry.open)
        for event_type in _EVENTS[fact]:
            event = Event(str(uuid4()), event_type, entry.store_code, entry.order_id, self.clock())
            self._events[event.event_id] = event
            order.last_event = event_type
            if self.settings.push and self.account.options.get("webhook_url"):
                self.start(self._push(event, entry))

    def unacknowledged(self, merchants: frozenset[str]) -> list[Event]:
        """The oldest events still to be acknowledged; no merchants named means all of them."""
        waiting = [e for e in self._events.values() if not merchants or e.merchant in merchants]
        return waiting[:MOST_EVENTS]

    def acknowledge(self, event_id: str) -> None:
        """Acknowledging what is not there is no error: a repeated acknowledgment finds nothing."""
        self._events.pop(event_id, None)

    def new_token(self) -> str:
        token = secrets.token_urlsafe(24)
        self._tokens[token] = self.clock() + self.settings.token_seconds
        return token

    def knows(self, token: str) -> bool:
        return self._tokens.get(token, 0.0) > self.clock()

    async def _push(self, event: Event, entry: OrderEntry) -> None:
        wait = self.settings.push_first_wait_seconds
        for _ in range(self.settings.push_tries):
            if await self._delivered(event):
                entry.note("pushed", self.clock())
                return
            await asyncio.sleep(wait)
            wait = min(2 * wait, self.settings.push_longest_wait_seconds)

    async def _delivered(self, event: Event) -> bool:
        if self.session is None:
            return False
        body = json.dumps(event.as_json(self.account.base_url)).encode()
        url = f"{self.account.options['webhook_url'].rstrip('/')}/v1/newEvent"
        try:
            async with self.session.post(url, data=body, headers=self._headers(event, body)) as got:
                return got.status == 200
        except (ClientError, TimeoutError):
            return False

    def _headers(self, event: Event, body: bytes) -> dict[str, str]:
        credentials = self.account.credentials
        return {
            "Content-Type": "application/json",
            "X-App-Id": credentials["app_id"],
            "X-App-MerchantId": event.merchant,
            "X-App-Signature": signature(body, credentials["client_secret"]),
        }
