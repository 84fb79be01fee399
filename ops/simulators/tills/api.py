"""The fleet over HTTP: `POST /tills/{store_id}`, and the `/_sim` desk for testers.

The push handler is also the benchmark's target, so it does little: signature, books, answer.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from ops.simulators.chain import Chain
from ops.simulators.desk import asked, explained, told
from ops.simulators.faults import hung_up
from ops.simulators.tills.behaviour import Behaviour, Behaviours
from ops.simulators.tills.callbacks import Callbacks, as_answer, fact
from ops.simulators.tills.fleet import Fleet
from ops.simulators.tills.signature import fresh, key_of, matches

LARGEST_BODY = 256 * 1024

FLEET: web.AppKey[Fleet] = web.AppKey("fleet", Fleet)


class CallBack(BaseModel):
    """One callback to send now; `secret` and `timestamp` are for forged and stale ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: str
    ticket_id: str
    type: str
    reason: str | None = None
    pickup_code: str | None = None
    webhook_id: str | None = None
    secret: str | None = None
    timestamp: int | None = None


def tills_app(
    chain: Chain,
    callbacks_to: str,
    default: Behaviour | None = None,
    clock: Callable[[], float] = time.time,
) -> web.Application:
    """All tills of the chain as one application; callbacks go to `callbacks_to`/tills/…/events."""
    secrets = {store.store_id: store.till_secret for store in chain.stores}
    callbacks = Callbacks(callbacks_to, secrets, clock)
    fleet = Fleet(Behaviours(default or Behaviour()), callbacks, clock)
    app = web.Application(client_max_size=LARGEST_BODY)
    app[FLEET] = fleet
    app.middlewares.append(explained)
    TillsApi(fleet, secrets, clock).open(app)
    app.cleanup_ctx.append(_outgoing)
    return app


async def _outgoing(app: web.Application) -> AsyncIterator[None]:
    await app[FLEET].callbacks.start()
    yield
    app[FLEET].forget()
    await app[FLEET].callbacks.close()


class TillsApi:
    def __init__(self, fleet: Fleet, secrets: dict[str, str], clock: Callable[[], float]) -> None:
        self._fleet = fleet
        self._books = fleet.books
        self._keys = {store: key_of(secret) for store, secret in secrets.items()}
        self._clock = clock

    def open(self, app: web.Application) -> None:
        app.router.add_post("/tills/{store_id}", self.receive)
        app.router.add_get("/_sim/books", self.books)
        app.router.add_get("/_sim/summary", self.summary)
        app.router.add_post("/_sim/behaviour", self.behaviour)
        app.router.add_post("/_sim/call_back", self.call_back)
        app.router.add_post("/_sim/reset", self.reset)

    async def receive(self, request: web.Request) -> web.Response:
        store = request.match_info["store_id"]
        behaviour = self._fleet.behaviours.of(store)
        body = await request.read()
        if behaviour.mode == "down":
            return self._down(request, behaviour)
        refusal = self._forged(store, request, body)
        if refusal is not None:
            return refusal
        webhook_id = request.headers["webhook-id"]
        answer = self._fleet.take(store, webhook_id, body, self._clock())
        if behaviour.mode == "slow":
            await asyncio.sleep(behaviour.seconds)
        elif behaviour.mode == "lost_answer" and self._still_lost(webhook_id, behaviour):
            self._books.counts["answers_lost"] += 1
            return hung_up(request)
        return web.Response(status=answer.status, body=answer.body, content_type="application/json")

    def _forged(self, store: str, request: web.Request, body: bytes) -> web.Response | None:
        """The refusal of a message that is not for a store of ours, not signed, or too old."""
        headers, key = request.headers, self._keys.get(store)
        if key is None:
            return self._refused("unknown_store", 404)
        timestamp = headers.get("webhook-timestamp", "")
        signatures = headers.get("webhook-signature", "")
        if not matches(key, headers.get("webhook-id", ""), timestamp, body, signatures):
            return self._refused("forged", 401)
        if not fresh(timestamp, self._clock()):
            return self._refused("stale", 401)
        return None

    def _refused(self, why: str, status: int) -> web.Response:
        self._books.counts[why] += 1
        return web.json_response({"reason": why}, status=status)

    def _down(self, request: web.Request, behaviour: Behaviour) -> web.Response:
        self._books.counts["down"] += 1
        if behaviour.down_by == "hang_up":
            return hung_up(request)
        return web.Response(status=503, headers={"Retry-After": "1"})

    def _still_lost(self, webhook_id: str, behaviour: Behaviour) -> bool:
        message = self._books.messages.get(webhook_id)
        return message is not None and message.attempts <= behaviour.times

    async def books(self, request: web.Request) -> web.Response:
        return web.json_response(self._books.as_json(request.query.get("store")))

    async def summary(self, _: web.Request) -> web.Response:
        return web.json_response(self._books.summary())

    async def behaviour(self, request: web.Request) -> web.Response:
        """`{"store": "S001" or "*", "mode": …, …}`."""
        changes = await asked(request)
        store = str(changes.pop("store", "*"))
        if store != "*" and store not in self._keys:
            raise LookupError(f"no store {store}")
        return web.json_response(self._fleet.behaviours.ask(store, changes).model_dump())

    async def call_back(self, request: web.Request) -> web.Response:
        """One attempt, now; answers with what the other side said."""
        wanted = await told(request, CallBack)
        data = wanted.model_dump(include={"reason", "pickup_code"}, exclude_none=True)
        spoken = fact(wanted.store, wanted.type, wanted.ticket_id, **data)
        if wanted.webhook_id is not None:
            spoken = spoken._replace(webhook_id=wanted.webhook_id)
        status, text = await self._fleet.callbacks.attempt(
            spoken,
            spoken.body(self._clock()),
            timestamp="" if wanted.timestamp is None else str(wanted.timestamp),
            key=None if wanted.secret is None else key_of(wanted.secret),
        )
        return web.json_response(as_answer(status, text))

    async def reset(self, _: web.Request) -> web.Response:
        self._fleet.forget()
        return web.json_response({"messages": 0})
