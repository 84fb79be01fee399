"""The `/_sim` desk of a platform: place orders, arrange misbehaviour, read the books.

Everything here is the tester's side; none of it exists on a real platform.
"""

import json
from collections.abc import Collection
from datetime import date
from typing import TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import BaseModel, ValidationError

from ops.simulators.customers import Wish
from ops.simulators.faults import ON_PLACING, ON_PUSH, ON_TRANSPORT, FaultWish
from ops.simulators.platform import PlatformSettings, Rush, SimulatedPlatform

Model = TypeVar("Model", bound=BaseModel)


def open_desk(
    app: web.Application, platform: SimulatedPlatform, fault_kinds: Collection[str]
) -> None:
    desk = Desk(platform, sorted({*fault_kinds, *ON_TRANSPORT, *ON_PLACING, *ON_PUSH}))
    app.router.add_get("/_sim/books", desk.books)
    app.router.add_get("/_sim/summary", desk.summary)
    app.router.add_post("/_sim/orders", desk.orders)
    app.router.add_post("/_sim/cancel", desk.cancel)
    app.router.add_post("/_sim/faults", desk.faults)
    app.router.add_post("/_sim/settings", desk.settings)
    app.router.add_post("/_sim/day", desk.day)
    app.router.add_post("/_sim/reset", desk.reset)
    app.middlewares.append(explained)


@web.middleware
async def explained(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A tester's mistake is answered with the sentence that says what is wrong."""
    try:
        return await handler(request)
    except (ValidationError, LookupError, json.JSONDecodeError) as mistake:
        if not request.path.startswith("/_sim/"):
            raise
        return web.json_response({"error": str(mistake)}, status=422)


async def told(request: web.Request, model: type[Model]) -> Model:
    return model.model_validate(await asked(request))


async def asked(request: web.Request) -> dict[str, object]:
    body = await request.read()
    document = json.loads(body) if body else {}
    if not isinstance(document, dict):
        raise LookupError("the body must be a JSON object")
    return document


class Desk:
    def __init__(self, platform: SimulatedPlatform, fault_kinds: Collection[str]) -> None:
        self._platform = platform
        self._fault_kinds = fault_kinds

    async def books(self, request: web.Request) -> web.Response:
        return web.json_response(self._platform.books.as_json(request.query.get("store")))

    async def summary(self, _: web.Request) -> web.Response:
        platform = self._platform
        return web.json_response(
            {
                **platform.books.summary(),
                "planned": platform.planned,
                "today": platform.today.isoformat(),
                "faults_fired": platform.faults.fired,
            }
        )

    async def orders(self, request: web.Request) -> web.Response:
        """One order now (200 with its entry), or many open-loop (202)."""
        document = await asked(request)
        if "count" in document:
            rush = Rush.model_validate(document)
            self._platform.rush(rush)
            return web.json_response({"planned": rush.count}, status=202)
        entry = self._platform.place(Wish.model_validate(document))
        return web.json_response(entry.as_json())

    async def cancel(self, request: web.Request) -> web.Response:
        """`{"order_id": …, "asks": false}`: the customer cancels now."""
        document = await asked(request)
        entry = self._platform.books.get(str(document.get("order_id")))
        if entry is None:
            raise LookupError(f"no order {document.get('order_id')} in the books")
        done = self._platform.customer_cancels(entry, bool(document.get("asks")))
        return web.json_response({"cancelled": done})

    async def faults(self, request: web.Request) -> web.Response:
        wish = await told(request, FaultWish)
        if wish.kind not in self._fault_kinds:
            raise LookupError(f"no fault {wish.kind!r}; there are {', '.join(self._fault_kinds)}")
        self._platform.faults.arm(wish)
        return web.json_response({"armed": wish.kind})

    async def settings(self, request: web.Request) -> web.Response:
        self._platform.settings = await told(request, PlatformSettings)
        return web.json_response(self._platform.settings.model_dump())

    async def day(self, request: web.Request) -> web.Response:
        """`{"date": "2026-01-31"}` or `{"days": 1}`: moves the platform's today."""
        document, platform = await asked(request), self._platform
        if "date" in document:
            wanted = date.fromisoformat(str(document["date"]))
            platform.days_ahead += (wanted - platform.today).days
        else:
            platform.days_ahead += int(str(document.get("days", 1)))
        return web.json_response({"today": platform.today.isoformat()})

    async def reset(self, _: web.Request) -> web.Response:
        self._platform.forget()
        return web.json_response({"orders": 0})
