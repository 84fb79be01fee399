"""Open Delivery's HTTP API, the side of the ordering application."""

import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from aiohttp import ClientSession, ClientTimeout, web

from ops.simulators.chain import Chain, PlatformAccount
from ops.simulators.desk import open_desk
from ops.simulators.faults import misbehaving
from ops.simulators.opendelivery.platform import OpenDelivery
from ops.simulators.opendelivery.wire import OpenOrder, order_object

FAULT_KINDS = frozenset({"401", "403", "429", "500", "503"})
MOST_ACKNOWLEDGED = 100

CANCEL_CODES = frozenset(
    {
        "SYSTEMIC_ISSUES",
        "DUPLICATE_APPLICATION",
        "UNAVAILABLE_ITEM",
        "RESTAURANT_WITHOUT_DELIVERY_PERSON",
        "OUTDATED_MENU",
        "ORDER_OUTSIDE_THE_DELIVERY_AREA",
        "BLOCKED_CUSTOMER",
        "OUTSIDE_DELIVERY_HOURS",
        "INTERNAL_DIFFICULTIES_OF_THE_RESTAURANT",
        "RISK_AREA",
        "DELIVERY_PROBLEM",
    }
)
DENY_CODES = frozenset({"DISH_ALREADY_DONE", "OUT_FOR_DELIVERY"})

PLATFORM: web.AppKey[OpenDelivery] = web.AppKey("platform", OpenDelivery)

Endpoint = Callable[[web.Request], Awaitable[web.Response]]


class Refused(Exception):
    """The platform answers with an HTTP status and a problem document."""

    def __init__(self, status: int, title: str) -> None:
        super().__init__(title)
        self.status = status
        self.title = title


def opendelivery_app(chain: Chain, account: PlatformAccount, **how: Any) -> web.Application:
    """The whole simulated platform as one application; `how` takes `seed` and `clock`."""
    platform = OpenDelivery(chain, account, **how)
    app = web.Application()
    app[PLATFORM] = platform
    open_desk(app, platform, FAULT_KINDS)
    app.middlewares.append(misbehaving(platform.faults, FAULT_KINDS, _fault))
    OpenDeliveryApi(platform).open(app)
    app.cleanup_ctx.append(_outgoing)
    return app


async def _outgoing(app: web.Application) -> AsyncIterator[None]:
    async with ClientSession(timeout=ClientTimeout(total=5), trust_env=False) as session:
        app[PLATFORM].session = session
        yield
        app[PLATFORM].forget()


def _fault(kind: str) -> web.Response:
    response = _problem(int(kind), "as asked for")
    if kind == "429":
        response.headers["Retry-After"] = "1"
    return response


def _problem(status: int, title: str) -> web.Response:
    return web.json_response({"title": title, "status": status}, status=status)


class OpenDeliveryApi:
    def __init__(self, platform: OpenDelivery) -> None:
        self._platform = platform
        self._credentials = platform.account.credentials

    def open(self, app: web.Application) -> None:
        prefix = urlsplit(self._platform.account.base_url).path.rstrip("/")
        order = f"{prefix}/v1/orders/{{order_id}}"
        app.router.add_post(f"{prefix}/oauth/token", self.token)
        app.router.add_get(f"{prefix}/v1/events:polling", self._checked(self.poll))
        app.router.add_post(f"{prefix}/v1/events/acknowledgment", self._checked(self.acknowledge))
        app.router.add_get(order, self._checked(self.details))
        actions: dict[str, Endpoint] = {
            "confirm": self.confirm,
            "preparing": self.preparing,
            "readyForPickup": self.ready,
            "requestCancellation": self.request_cancellation,
            "acceptCancellation": self.accept_cancellation,
            "denyCancellation": self.deny_cancellation,
        }
        for name, action in actions.items():
            app.router.add_post(f"{order}/{name}", self._checked(action))

    def _checked(self, endpoint: Endpoint) -> Endpoint:
        async def answer(request: web.Request) -> web.Response:
            scheme, _, token = request.headers.get("Authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not self._platform.knows(token):
                return _problem(401, "the access token is missing, unknown or expired")
            try:
                return await endpoint(request)
            except Refused as refusal:
                return _problem(refusal.status, refusal.title)

        return answer

    async def token(self, request: web.Request) -> web.Response:
        """Client credentials, as a form or as JSON."""
        asked = dict(await request.post()) or await _document(request)
        right = asked.get("grant_type") == "client_credentials" and all(
            hmac.compare_digest(str(asked.get(name)).encode(), self._credentials[name].encode())
            for name in ("client_id", "client_secret")
        )
        if not right:
            return _problem(401, "the client credentials are not right")
        lifetime = int(self._platform.settings.token_seconds)
        token = self._platform.new_token()
        return web.json_response(
            {"access_token": token, "token_type": "bearer", "expires_in": lifetime}
        )

    async def poll(self, request: web.Request) -> web.Response:
        named = request.headers.get("x-polling-merchants", "")
        merchants = frozenset(code.strip() for code in named.split(",") if code.strip())
        if len(merchants) > 100:
            raise Refused(400, "at most 100 merchants in x-polling-merchants")
        events = self._platform.unacknowledged(merchants)
        if not events:
            return web.Response(status=204)
        base_url = self._platform.account.base_url
        return web.json_response([event.as_json(base_url) for event in events])

    async def acknowledge(self, request: web.Request) -> web.Response:
        document = await _json(request)
        if not isinstance(document, list) or not 1 <= len(document) <= MOST_ACKNOWLEDGED:
            raise Refused(400, "a list of 1 to 100 events")
        if not all(isinstance(event, dict) and event.get("id") for event in document):
            raise Refused(400, "each event needs id, orderId and eventType")
        for event in document:
            self._platform.acknowledge(str(event["id"]))
        return web.Response(status=202)

    async def details(self, request: web.Request) -> web.Response:
        order = self._order(request)
        order.entry.note("seen", self._platform.clock())
        return web.json_response(order_object(order))

    async def confirm(self, request: web.Request) -> web.Response:
        _needed(await _document(request), "createdAt", "orderExternalCode")
        return self._tell(request, "confirmed")

    async def preparing(self, request: web.Request) -> web.Response:
        return self._tell(request, "preparing")

    async def ready(self, request: web.Request) -> web.Response:
        """`pickupCode` is our extension, kept in the books."""
        document = await _document(request)
        return self._tell(request, "ready", code=document.get("pickupCode"))

    async def request_cancellation(self, request: web.Request) -> web.Response:
        document = await _document(request)
        _needed(document, "reason", "code", "mode")
        if document["code"] not in CANCEL_CODES or document["mode"] not in ("AUTO", "MANUAL"):
            raise Refused(400, "code or mode is not one of the listed values")
        told = {"reason_code": document["code"], "reason": document["reason"]}
        return self._tell(request, "rejected", by="merchant", **told)

    async def accept_cancellation(self, request: web.Request) -> web.Response:
        self._asked_to_cancel(request)
        return self._tell(request, "cancelled", status=204, by="customer", reason="agreed")

    async def deny_cancellation(self, request: web.Request) -> web.Response:
        document = await _document(request)
        _needed(document, "reason", "code")
        if document["code"] not in DENY_CODES:
            raise Refused(400, "code is not one of the listed values")
        order = self._asked_to_cancel(request)
        order.cancel_asked = False
        order.entry.history.append((self._platform.clock(), "cancellation denied"))
        self._platform.announce(order.entry, "cancel_denied")
        return web.Response(status=204)

    def _tell(
        self, request: web.Request, fact: str, status: int = 202, **details: Any
    ) -> web.Response:
        """A wrong state, and also the same request a second time, is a 422."""
        entry = self._order(request).entry
        if not self._platform.moved(entry, fact, **details):
            raise Refused(422, f"the order is {entry.state}")
        return web.Response(status=status)

    def _order(self, request: web.Request) -> OpenOrder:
        order = self._platform.orders.get(request.match_info["order_id"])
        if order is None:
            raise Refused(404, "no such order")
        return order

    def _asked_to_cancel(self, request: web.Request) -> OpenOrder:
        order = self._order(request)
        if not order.cancel_asked:
            raise Refused(422, "no cancellation was asked for")
        return order


async def _json(request: web.Request) -> Any:
    body = await request.read()
    try:
        return json.loads(body) if body else {}
    except json.JSONDecodeError as broken:
        raise Refused(400, "the body is not JSON") from broken


async def _document(request: web.Request) -> dict[str, Any]:
    document = await _json(request)
    if not isinstance(document, dict):
        raise Refused(400, "the body must be a JSON object")
    return document


def _needed(document: dict[str, Any], *names: str) -> None:
    missing = [name for name in names if not document.get(name)]
    if missing:
        raise Refused(400, f"{', '.join(missing)} is required")
