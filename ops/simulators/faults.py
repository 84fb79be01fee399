"""Misbehaviour on request: what goes wrong, how often, and on which path.

A fault fires on the next `next` occasions, or on a share `rate` of all of them until it is cleared.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from pydantic import BaseModel, ConfigDict, Field

Refusal = Callable[[str], web.Response]

ON_TRANSPORT = frozenset({"slow", "truncated", "dropped", "lost_answer"})
ON_PLACING = frozenset({"duplicate", "degraded"})
ON_PUSH = frozenset({"push_lost"})


class FaultWish(BaseModel):
    """The body of `POST /_sim/faults`; `path` limits it to addresses that end so."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    rate: float = Field(default=0.0, ge=0.0, le=1.0)
    next: int = Field(default=0, ge=0)
    seconds: float = Field(default=1.0, ge=0.0)
    path: str = ""


@dataclass(slots=True)
class Fault:
    kind: str
    rate: float
    left: int
    seconds: float
    path: str


class Faults:
    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._armed: list[Fault] = []
        self.fired: Counter[str] = Counter()

    def arm(self, wish: FaultWish) -> None:
        """A rate and a count of nought clear all faults of this kind."""
        if wish.rate == 0 and wish.next == 0:
            self._armed = [fault for fault in self._armed if fault.kind != wish.kind]
            return
        self._armed.append(Fault(wish.kind, wish.rate, wish.next, wish.seconds, wish.path))

    def clear(self) -> None:
        self._armed.clear()
        self.fired.clear()

    def draw(self, kinds: Collection[str], path: str = "") -> Fault | None:
        """The fault that strikes here and now, if any; counted ones are used up."""
        for fault in self._armed:
            if fault.kind in kinds and path.endswith(fault.path) and self._strikes(fault):
                self.fired[fault.kind] += 1
                return fault
        return None

    def _strikes(self, fault: Fault) -> bool:
        if fault.left > 0:
            fault.left -= 1
            if fault.left == 0 and fault.rate == 0:
                self._armed.remove(fault)
            return True
        return self._dice.random() < fault.rate


def misbehaving(faults: Faults, kinds: Collection[str], refuse: Refusal) -> Middleware:
    """A middleware that lets faults strike partner calls, never the `/_sim` desk."""
    on_request = ON_TRANSPORT.union(kinds)

    @web.middleware
    async def strike(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/_sim/"):
            return await handler(request)
        fault = faults.draw(on_request, request.path)
        if fault is None:
            return await handler(request)
        if fault.kind in ON_TRANSPORT:
            return await _on_transport(fault, request, handler)
        return refuse(fault.kind)

    return strike


async def _on_transport(fault: Fault, request: web.Request, handler: Handler) -> web.StreamResponse:
    if fault.kind == "dropped":
        return hung_up(request)
    if fault.kind == "slow":
        await asyncio.sleep(fault.seconds)
    response = await handler(request)
    if fault.kind == "lost_answer":
        return hung_up(request)
    if fault.kind == "truncated" and isinstance(response, web.Response):
        return _cut(response)
    return response


def hung_up(request: web.Request) -> web.Response:
    """Cuts the connection; the caller learns nothing about what was done."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


def _cut(response: web.Response) -> web.Response:
    body = response.body if isinstance(response.body, bytes) else b""
    return web.Response(
        status=response.status, body=body[: len(body) // 2], content_type="application/json"
    )
