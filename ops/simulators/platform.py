"""What all simulated platforms share: placing orders, the customer's and the kitchen's moves, time.

A platform announces each move in its own way (a push, an event to poll) and renders its own wire.
"""

import asyncio
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from datetime import date, datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field

from ops.simulators.books import Books, OrderEntry
from ops.simulators.chain import Chain, PlatformAccount
from ops.simulators.customers import Basket, Customers, Wish
from ops.simulators.faults import ON_PLACING, Faults

Clock = Callable[[], float]


class PlatformSettings(BaseModel):
    """The body of `POST /_sim/settings`; what is left out falls back to its default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    complete_seconds: float = 2.0
    token_seconds: float = 3600.0
    push: bool = True
    push_first_wait_seconds: float = 0.5
    push_longest_wait_seconds: float = 30.0
    push_tries: int = 20


class Rush(BaseModel):
    """Many orders, placed open-loop: each at its own time, however slow the other side is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int = Field(gt=0)
    per_second: float = Field(gt=0)
    kind: Literal["delivery", "pickup"] | None = None
    store: str | None = None
    cancel_rate: float = 0.0
    cancel_after: float = 2.0
    degraded_rate: float = 0.0
    duplicate_rate: float = 0.0


class SimulatedPlatform(ABC):
    def __init__(
        self, chain: Chain, account: PlatformAccount, *, seed: int = 1, clock: Clock = time.time
    ) -> None:
        self.account = account
        self.clock = clock
        self.dice = random.Random(seed)
        self.books = Books()
        # Dice of their own, so that faults do not change what customers order.
        self.faults = Faults(random.Random(seed + 1))
        self.customers = Customers(chain, account, self.dice)
        self.settings = PlatformSettings()
        self.planned = 0
        self.days_ahead = 0
        self._zone = ZoneInfo(chain.timezone)
        self._codes = {
            store.accounts[account.account] for store in chain.stores_on(account.account)
        }
        self._tasks: set[asyncio.Task[None]] = set()

    @abstractmethod
    def number(self, basket: Basket, wish: Wish, now: float) -> OrderEntry:
        """A new entry under the platform's own order id, with what its wire needs beside it."""

    @abstractmethod
    def announce(self, entry: OrderEntry, fact: str) -> None:
        """Tells the other side, in this platform's way, what has just happened."""

    def forget(self) -> None:
        """Empties books and faults and drops everything that was planned."""
        for task in self._tasks:
            task.cancel()
        self.books.clear()
        self.faults.clear()
        self.settings = PlatformSettings()
        self.planned = self.days_ahead = 0

    @property
    def today(self) -> date:
        now = datetime.fromtimestamp(self.clock(), self._zone)
        return now.date() + timedelta(days=self.days_ahead)

    def serves(self, store_code: str) -> bool:
        return store_code in self._codes

    def place(self, wish: Wish) -> OrderEntry:
        struck = self.faults.draw(ON_PLACING)
        if struck is not None:
            wish = wish.model_copy(update={struck.kind: 1})
        entry = self.number(self.customers.order(wish), wish, self.clock())
        self.books.open(entry)
        for _ in range(2 if wish.duplicate else 1):
            self.announce(entry, "placed")
        if wish.cancel_after is not None:
            self.later(wish.cancel_after, lambda: self.customer_cancels(entry, wish.cancel_asks))
        return entry

    def customer_cancels(self, entry: OrderEntry, asks: bool = False) -> bool:
        """The customer cancels, or, where the platform knows that, asks the store for consent."""
        if asks and entry.open:
            entry.note("cancel_asked", self.clock())
            self.announce(entry, "cancel_asked")
            return True
        return self.moved(entry, "cancelled", by="customer", reason="changed my mind")

    def moved(self, entry: OrderEntry, fact: str, **details: Any) -> bool:
        """Moves the order and announces it; False when its state does not allow the move."""
        if not entry.move(fact, self.clock(), **details):
            return False
        self.announce(entry, fact)
        if fact == "ready":
            self.later(self.settings.complete_seconds, lambda: self._complete(entry))
        return True

    def _complete(self, entry: OrderEntry) -> None:
        if entry.open:
            self.moved(entry, "completed")

    def rush(self, rush: Rush) -> None:
        self.planned += rush.count
        self.start(self._rush(rush))

    async def _rush(self, rush: Rush) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        for position in range(rush.count):
            await asyncio.sleep(max(0.0, began + position / rush.per_second - loop.time()))
            self.planned -= 1
            self.place(self._drawn(rush))

    def _drawn(self, rush: Rush) -> Wish:
        cancels, degraded, duplicate = (self.dice.random() for _ in range(3))
        return Wish(
            store=rush.store,
            kind=rush.kind,
            cancel_after=rush.cancel_after if cancels < rush.cancel_rate else None,
            degraded=int(degraded < rush.degraded_rate),
            duplicate=duplicate < rush.duplicate_rate,
        )

    def later(self, seconds: float, act: Callable[[], object]) -> None:
        async def wait() -> None:
            await asyncio.sleep(seconds)
            act()

        self.start(wait())

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def new_entry(order_id: str, basket: Basket, currency: str, now: float) -> OrderEntry:
    return OrderEntry(
        order_id=order_id,
        store=basket.store.store_id,
        store_code=basket.store_code,
        kind=basket.kind,
        currency=currency,
        total_minor=basket.total_minor,
        lines=[{"sku": line.sku, "quantity": line.quantity} for line in basket.lines],
        placed_at=now,
    )
