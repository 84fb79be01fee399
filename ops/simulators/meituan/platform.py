"""The simulated Meituan itself: daily numbers per store, order ids, and what is pushed when."""

from collections.abc import Mapping
from typing import Any

from ops.simulators.books import OrderEntry
from ops.simulators.chain import Chain, PlatformAccount
from ops.simulators.customers import Basket, Wish
from ops.simulators.meituan.push import Pusher
from ops.simulators.meituan.wire import MeituanOrder, as_form, order_object
from ops.simulators.platform import SimulatedPlatform, new_entry

# deal_op_type of a cancelled push: who did it.
_BY = {"customer": "1", "merchant": "6"}
_PUSHES = {"placed": "paid", "cancelled": "cancelled", "rejected": "cancelled"}


class Meituan(SimulatedPlatform):
    def __init__(self, chain: Chain, account: PlatformAccount, **how: Any) -> None:
        super().__init__(chain, account, **how)
        self.orders: dict[str, MeituanOrder] = {}
        self.sequences: dict[tuple[str, str], list[str]] = {}
        self.pusher = Pusher(
            app_id=account.credentials["app_id"],
            secret=account.credentials["secret"],
            callback_url=account.options.get("callback_url", ""),
            clock=self.clock,
            faults=self.faults,
        )
        self._last_id = 0

    def forget(self) -> None:
        super().forget()
        self.orders.clear()
        self.sequences.clear()

    def number(self, basket: Basket, wish: Wish, now: float) -> OrderEntry:
        # Microseconds of the clock: as long as the real ids, and never given twice.
        self._last_id = max(self._last_id + 1, int(now * 1_000_000))
        order_id, day = str(self._last_id), self.today.strftime("%Y%m%d")
        sequence = self.sequences.setdefault((basket.store_code, day), [])
        sequence.extend([order_id] * (2 if wish.duplicate else 1))
        entry = new_entry(order_id, basket, self.account.currency, now)
        entry.daily_number = sequence.index(order_id) + 1
        self.orders[order_id] = MeituanOrder(
            entry=entry,
            basket=basket,
            day_seq=entry.daily_number,
            readable_at=now + wish.unreadable_for,
            wanted_at=0 if wish.wanted_in is None else int(now + wish.wanted_in),
            degraded_looks=wish.degraded,
            degraded_modules=wish.degraded_modules,
        )
        return entry

    def announce(self, entry: OrderEntry, fact: str) -> None:
        kind = _PUSHES.get(fact, fact)
        wanted = self.settings.push and self.account.options.get("callback_url")
        if wanted and kind in ("paid", "cancelled", "completed"):
            self.start(self._push(entry, kind))

    async def _push(self, entry: OrderEntry, kind: str) -> None:
        attempts = await self.pusher.push(kind, lambda: self._form(entry, kind), self.settings)
        if attempts:
            entry.note("pushed", self.clock())
        entry.history.append((self.clock(), f"{kind} pushed in {attempts} attempts"))

    def _form(self, entry: OrderEntry, kind: str) -> Mapping[str, str]:
        if kind != "cancelled":
            return as_form(order_object(self.orders[entry.order_id], self.clock()))
        fact = entry.facts.get("rejected") or entry.facts["cancelled"]
        return {
            "order_id": entry.order_id,
            "reason_code": str(fact.details.get("reason_code", 1101)),
            "reason": str(fact.details["reason"]),
            "deal_op_type": _BY[fact.details["by"]],
        }
