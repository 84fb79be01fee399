"""Meituan Waimai, API v1: walks the daily numbers of each store, takes pushes, calls back.

A push is only faster than the walk; the walk needs none of them.
"""

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

import aiohttp
from pydantic import Field, model_validator

from dispatcher.platform import Catalogue, NotDone, Page, Push, Request, Unclear, Verdict
from producers.platforms.account import CallOptions, PlatformAccount
from producers.platforms.foreign import text, whole
from producers.platforms.meituan_days import Pace
from producers.platforms.meituan_order import CHANNEL, Books
from producers.platforms.meituan_push import PushReader
from producers.platforms.meituan_walk import Walk
from producers.platforms.meituan_wire import Garbled, MeituanClient, StateChanged
from producers.platforms.partner_http import PartnerHttp

_MOST_UNCLEAR = 10_000
_REASON_LENGTH = 100


class MeituanOptions(CallOptions):
    """`ready_code_param` names the parameter that carries the pickup code, "" sends none.

    `reject_reason_codes` maps our reasons to Meituan's (2008 too busy, 2009 sold out, 2011 closed).
    """

    callback_url: str = ""
    push_tolerance_seconds: Annotated[float, Field(gt=0)] = 300.0
    act_method: Literal["GET", "POST"] = "GET"
    ready_code_param: str = "pickup_code"
    reject_reason_codes: Mapping[str, int] = {"stock_short": 2009}
    reject_reason_default: int = 2008
    paid_from_status: int = 2
    page_numbers: Annotated[int, Field(ge=1)] = 50
    page_holes: Annotated[int, Field(ge=1)] = 20
    longest_hole_wait_seconds: Annotated[int, Field(ge=1)] = 60
    rollover_grace_seconds: Annotated[int, Field(ge=0)] = 600
    tail_misses: Annotated[int, Field(ge=1)] = 10
    days_back: Annotated[int, Field(ge=1)] = 3

    @model_validator(mode="after")
    def _tail_fits_a_page(self) -> "MeituanOptions":
        if self.page_holes <= self.tail_misses:
            raise ValueError("page_holes must be more than tail_misses, or a day never ends")
        return self

    def pace(self) -> Pace:
        return Pace(**{name: getattr(self, name) for name in Pace._fields})


class Act(NamedTuple):
    """One call of ours. `proves`: states of the order that tell how it went, whoever made them so.

    `refused_in`: what it means that the platform refused the call in that state.
    """

    resource: str
    proves: Mapping[int, Verdict]
    refused_in: Mapping[int, Verdict]


_DONE = Verdict(done=True)
_GONE = Verdict(done=False, reason="cancelled")
_NOT_CONFIRMED = Verdict(done=False, reason="not_confirmed")

CONFIRM = Act("order/confirm", {4: _DONE, 6: _DONE, 8: _DONE, 9: _GONE}, {})
REJECT = Act(
    "order/cancel",
    {8: Verdict(done=False, reason="completed"), 9: _DONE},
    {4: Verdict(done=False, reason="confirmed"), 6: Verdict(done=False, reason="delivering")},
)
# No state shows that a meal is ready; a refusal in a state that fits means it was told before.
TELL_READY = Act(
    "order/preparationMealComplete",
    {8: _DONE, 9: _GONE},
    {1: _NOT_CONFIRMED, 2: _NOT_CONFIRMED, 3: _NOT_CONFIRMED, 4: _DONE, 6: _DONE},
)


class Meituan:
    """One application at Meituan, with all its stores."""

    channel = CHANNEL
    mode: Literal["walk", "poll"] = "walk"

    def __init__(
        self,
        account: PlatformAccount,
        catalogue: Catalogue,
        http: aiohttp.ClientSession,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.account = account.account
        self._options = options = MeituanOptions.model_validate(dict(account.options))
        self._catalogue = catalogue
        secrets = [account.secret("secret")]
        if "previous_secret" in account.credentials:
            secrets.append(account.secret("previous_secret"))
        books = Books(account.account, account.currency, catalogue)
        partner = PartnerHttp(http, options)
        self._client = MeituanClient(partner, account, clock)
        self._pushes = PushReader(
            callback_url=options.callback_url,
            app_id=account.secret("app_id"),
            secrets=tuple(secrets),
            tolerance_seconds=options.push_tolerance_seconds,
            books=books,
        )
        self._walk = Walk(
            client=self._client,
            books=books,
            pace=options.pace(),
            zone=account.zone,
            parallel_reads=options.parallel_reads,
            paid_from_status=options.paid_from_status,
        )
        self._unclear: dict[str, None] = {}

    def scopes(self) -> tuple[str, ...]:
        """Each store has its own numbers."""
        return self._catalogue.codes(self.account)

    async def pull(self, scope: str, cursor: Mapping[str, Any], now: datetime) -> Page:
        """One bounded stretch of the walk at store `scope`."""
        return await self._walk.page(scope, cursor, now)

    async def acknowledge(self, page: Page) -> None:
        """A walk has nothing to acknowledge: the cursor is ours."""

    def receive(self, request: Request, now: datetime) -> Push:
        """Verify and read a push. Raises Forged or Malformed."""
        return self._pushes.receive(request, now)

    async def confirm(self, channel_order_id: str) -> Verdict:
        return await self._act(CONFIRM, channel_order_id, {})

    async def reject(self, channel_order_id: str, reason: str) -> Verdict:
        options = self._options
        code = options.reject_reason_codes.get(reason, options.reject_reason_default)
        told = {"reason_code": str(code), "reason": text(reason, _REASON_LENGTH) or "rejected"}
        return await self._act(REJECT, channel_order_id, told)

    async def tell_ready(self, channel_order_id: str, pickup_code: str) -> Verdict:
        param = self._options.ready_code_param
        told = {param: pickup_code} if param and pickup_code else {}
        return await self._act(TELL_READY, channel_order_id, told)

    async def _act(self, act: Act, channel_order_id: str, told: Mapping[str, str]) -> Verdict:
        """Once, however often it is repeated, and whichever process repeats it.

        A repeated call is refused for the order's state, and that state tells how the first went.
        After an unclear outcome this process asks before it repeats.
        """
        if channel_order_id in self._unclear:
            proven = act.proves.get(await self._status(channel_order_id))
            self._unclear.pop(channel_order_id, None)
            if proven is not None:
                return proven
        try:
            method = self._options.act_method
            await self._client.act(method, act.resource, order_id=channel_order_id, **told)
        except StateChanged as refusal:
            return await self._converged(act, channel_order_id, refusal)
        except Unclear:
            self._remember_unclear(channel_order_id)
            raise
        return _DONE

    async def _converged(self, act: Act, channel_order_id: str, refusal: StateChanged) -> Verdict:
        status = await self._status(channel_order_id)
        verdict = act.proves.get(status) or act.refused_in.get(status)
        if verdict is None:
            raise NotDone(f"{refusal}, yet the order is in status {status}")
        return verdict

    async def _status(self, channel_order_id: str) -> int:
        found, _ = await self._client.read("order/viewstatus", order_id=channel_order_id)
        status = whole(found.get("status") if isinstance(found, dict) else found)
        if status is None:
            raise Garbled("the answer names no status")
        return status

    def _remember_unclear(self, channel_order_id: str) -> None:
        self._unclear[channel_order_id] = None
        while len(self._unclear) > _MOST_UNCLEAR:
            del self._unclear[next(iter(self._unclear))]
