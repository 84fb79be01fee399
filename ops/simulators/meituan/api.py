"""Meituan's HTTP API as the wire notes describe it, served under the path of its base URL."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from aiohttp import ClientSession, ClientTimeout, web

from ops.simulators.books import OrderEntry
from ops.simulators.chain import Chain, PlatformAccount
from ops.simulators.desk import open_desk
from ops.simulators.faults import misbehaving
from ops.simulators.meituan import answers
from ops.simulators.meituan.answers import FAULT_KINDS, Refused
from ops.simulators.meituan.platform import Meituan
from ops.simulators.meituan.signature import signature
from ops.simulators.meituan.wire import STATUS, MeituanOrder, order_object

Params = dict[str, str]
Endpoint = Callable[[Params], Any]

PLATFORM: web.AppKey[Meituan] = web.AppKey("platform", Meituan)


def meituan_app(chain: Chain, account: PlatformAccount, **how: Any) -> web.Application:
    """The whole simulated platform as one application; `how` takes `seed` and `clock`."""
    platform = Meituan(chain, account, **how)
    app = web.Application()
    app[PLATFORM] = platform
    open_desk(app, platform, FAULT_KINDS)
    app.middlewares.append(misbehaving(platform.faults, FAULT_KINDS, answers.fault))
    MeituanApi(platform).open(app)
    app.cleanup_ctx.append(_outgoing)
    return app


async def _outgoing(app: web.Application) -> AsyncIterator[None]:
    async with ClientSession(timeout=ClientTimeout(total=5), trust_env=False) as session:
        app[PLATFORM].pusher.session = session
        yield
        app[PLATFORM].forget()


class MeituanApi:
    def __init__(self, platform: Meituan) -> None:
        self._platform = platform
        self._base = urlsplit(platform.account.base_url)
        self._credentials = platform.account.credentials

    def open(self, app: web.Application) -> None:
        prefix = self._base.path.rstrip("/")
        gets: dict[str, Endpoint] = {
            "order/getOrderDaySeq": self.day_seq,
            "order/getOrderIdByDaySeq": self.id_by_day_seq,
            "order/getOrderDetail": self.detail,
            "order/viewstatus": self.status,
            "order/poi_received": lambda params: self._tell("received", params),
            "order/confirm": lambda params: self._tell("confirmed", params),
            "order/cancel": self.cancel,
            "order/preparationMealComplete": self.meal_complete,
        }
        for path, endpoint in gets.items():
            app.router.add_get(f"{prefix}/{path}", self._checked(endpoint))
        phones = self._checked(self.phone_numbers)
        app.router.add_post(f"{prefix}/order/batchPullPhoneNumber", phones)

    def _checked(self, endpoint: Endpoint) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(request: web.Request) -> web.Response:
            try:
                return answers.data(endpoint(await self._params(request)))
            except Refused as refusal:
                return answers.error(refusal.code)

        return answer

    async def _params(self, request: web.Request) -> Params:
        """All parameters of a call whose signature, application and timestamp are right."""
        form = await request.post() if request.method == "POST" else {}
        params = {**request.query, **{key: str(value) for key, value in form.items()}}
        needed(request.query, "app_id", "timestamp", "sig")
        if not (params["timestamp"].isdigit() and len(params["timestamp"]) == 10):
            raise Refused(705)
        if params["app_id"] != self._credentials["app_id"]:
            raise Refused(702)
        url = f"{self._base.scheme}://{self._base.netloc}{request.path}"
        if params["sig"] != signature(url, params, self._credentials["secret"]):
            raise Refused(703)
        return params

    def day_seq(self, params: Params) -> Any:
        code = self._store_code(params)
        day = self._platform.today.strftime("%Y%m%d")
        return {"result": "ok", "day_seq": len(self._platform.sequences.get((code, day), []))}

    def id_by_day_seq(self, params: Params) -> Any:
        code = self._store_code(params)
        needed(params, "date_time", "day_seq")
        sequence = self._platform.sequences.get((code, params["date_time"]), [])
        position = whole(params["day_seq"])
        if not 1 <= position <= len(sequence):
            raise Refused(806)
        order = self._platform.orders[sequence[position - 1]]
        if order.readable_at > self._platform.clock():
            raise Refused(806)
        return {"result": "ok", "order_id": int(order.entry.order_id)}

    def detail(self, params: Params) -> Any:
        order, now = self._order(params), self._platform.clock()
        order.entry.note("seen", now)
        document = order_object(order, now)
        order.degraded_looks = max(0, order.degraded_looks - 1)
        return document

    def status(self, params: Params) -> Any:
        entry = self._entry(params)
        return {"order_id": int(entry.order_id), "status": STATUS[entry.state]}

    def cancel(self, params: Params) -> Any:
        needed(params, "order_id", "reason_code", "reason")
        if self._entry(params).state == "completed":
            raise Refused(1022)
        told = {"reason_code": whole(params["reason_code"]), "reason": params["reason"]}
        return self._tell("rejected", params, by="merchant", **told)

    def meal_complete(self, params: Params) -> Any:
        """Repeating it is harmless. `pickup_code` is our extension, kept in the books."""
        entry = self._entry(params)
        if entry.state == "ready":
            entry.note("ready", self._platform.clock())
            return "ok"
        return self._tell("ready", params, code=params.get("pickup_code"))

    def phone_numbers(self, params: Params) -> Any:
        code = self._store_code(params)
        needed(params, "offset", "limit")
        offset, limit = whole(params["offset"]), whole(params["limit"])
        if limit > 1000:
            raise Refused(705)
        orders = [o for o in self._platform.orders.values() if o.entry.store_code == code]
        return [_real_number(order) for order in orders[offset : offset + limit]]

    def _tell(self, fact: str, params: Params, **details: Any) -> str:
        if not self._platform.moved(self._entry(params), fact, **details):
            raise Refused(808)
        return "ok"

    def _order(self, params: Params) -> MeituanOrder:
        needed(params, "order_id")
        order = self._platform.orders.get(params["order_id"])
        if order is None:
            raise Refused(806)
        return order

    def _entry(self, params: Params) -> OrderEntry:
        return self._order(params).entry

    def _store_code(self, params: Params) -> str:
        needed(params, "app_poi_code")
        if not self._platform.serves(params["app_poi_code"]):
            raise Refused(answers.NO_STORE)
        return params["app_poi_code"]


def needed(params: Any, *names: str) -> None:
    if any(not params.get(name) for name in names):
        raise Refused(701)


def whole(text: str) -> int:
    if not text.isdigit():
        raise Refused(705)
    return int(text)


def _real_number(order: MeituanOrder) -> dict[str, Any]:
    return {
        "order_id": int(order.entry.order_id),
        "wm_order_id_view": int(order.entry.order_id),
        "day_seq": order.day_seq,
        "real_phone_number": order.basket.customer.phone,
    }
