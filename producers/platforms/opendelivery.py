"""Open Delivery v1.7 (Abrasel): events to poll and acknowledge, orders to read, webhooks, calls.

An event is acknowledged only after it is safe with us; one whose order cannot be read yet is left
there and comes back.
"""

import asyncio
import hmac
import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import quote

import aiohttp
from pydantic import Field

from dispatcher.errors import Hopeless, PipelineError
from dispatcher.identity import order_id, order_no
from dispatcher.order import Amounts, Line, Order, Recipient
from dispatcher.platform import (
    Catalogue,
    Forged,
    Malformed,
    NotDone,
    Page,
    Push,
    Raw,
    Request,
    UnknownStore,
    Verdict,
)
from dispatcher.strict_json import BadJson, loads
from producers.platforms.account import CallOptions, PlatformAccount
from producers.platforms.foreign import (
    digest,
    iso_moment,
    minor,
    minor_digits,
    part,
    parts,
    text,
    whole,
)
from producers.platforms.oauth import ClientCredentials
from producers.platforms.partner_http import Answer, PartnerHttp
from producers.platforms.payload import (
    daily_number_of,
    ended,
    flags_of,
    order_or_problem,
    placed,
    quantity_of,
    raw_of,
    share_out,
    unread,
)

CHANNEL = "opendelivery"

_MERCHANTS_PER_POLL = 100
_EVENTS_PER_ACKNOWLEDGMENT = 100
_JSON = {"Content-Type": "application/json"}
_COMPLETED = frozenset({"CONCLUDED", "DELIVERED"})
# Open Delivery wants an answer that only a person can give.
_FOR_A_PERSON = {
    "ORDER_CANCELLATION_REQUEST": "the customer asks to cancel: accept or deny it there",
    "CANCELLATION_REQUEST_DENIED": "the platform did not let us cancel the order",
}


class OpenDeliveryOptions(CallOptions):
    """`state_fields`: where this server's orders show their last event, in order of trust.

    `ready_code_field` names the field that carries the pickup code, "" sends none. `webhook_url` is
    what was registered there; without it events come by polling alone.
    """

    webhook_url: str = ""
    token_path: str = "/oauth/token"
    token_margin_seconds: Annotated[float, Field(ge=0)] = 30.0
    state_fields: tuple[str, ...] = ("lastEvent", "status")
    acknowledged_id_field: str = "id"
    ready_code_field: str = "pickupCode"
    reject_codes: Mapping[str, str] = {"stock_short": "UNAVAILABLE_ITEM"}
    reject_code_default: str = "INTERNAL_DIFFICULTIES_OF_THE_RESTAURANT"
    page_events: Annotated[int, Field(ge=1)] = 200
    longest_event_wait_seconds: Annotated[int, Field(ge=1)] = 60


class Polled(NamedTuple):
    """One event as the platform tells it."""

    event_id: str
    kind: str
    channel_order_id: str
    document: Mapping[str, Any]


class Wait(NamedTuple):
    """How often an event's order could not be read, and when it is looked at again."""

    tries: int = 0
    due: int = 0


class Act(NamedTuple):
    """One call of ours. `proves`: last events of the order that tell how it went.

    `unseen` is the verdict on a refusal when the order does not show its last event.
    """

    name: str
    proves: Mapping[str, Verdict]
    unseen: Verdict


_DONE = Verdict(done=True)
_GONE = {"CANCELLED": Verdict(done=False, reason="cancelled")}
_OVER = dict.fromkeys(("DELIVERED", "CONCLUDED"), _DONE)
_OUT = dict.fromkeys(("DISPATCHED", "PICKUP_AREA_ASSIGNED", "PICKED_UP"), _DONE) | _OVER
_BEGUN = dict.fromkeys(
    ("CONFIRMED", "PREPARATION_REQUESTED", "PREPARING", "READY_FOR_PICKUP"), _DONE
)
# The contract says of 422: check whether the instruction was sent before. If it was refused for a
# cancellation instead, the event CANCELLED tells us.
CONFIRM = Act("confirm", _BEGUN | _OUT | _GONE, _DONE)
TELL_READY = Act(
    "readyForPickup",
    {"READY_FOR_PICKUP": _DONE, "CREATED": Verdict(done=False, reason="not_confirmed")}
    | _OUT
    | _GONE,
    _DONE,
)
REJECT = Act(
    "requestCancellation",
    {"CANCELLED": _DONE, "CANCELLATION_REQUESTED": _DONE}
    | dict.fromkeys(_COMPLETED, Verdict(done=False, reason="completed"))
    | {"CANCELLATION_REQUEST_DENIED": Verdict(done=False, reason="denied")},
    Verdict(done=False, reason="not_cancellable"),
)


class OpenDelivery:
    """One client of one ordering application, with all its merchants."""

    channel = CHANNEL
    mode: Literal["walk", "poll"] = "poll"

    def __init__(
        self,
        account: PlatformAccount,
        catalogue: Catalogue,
        http: aiohttp.ClientSession,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.account = account.account
        self._setup = account
        self._options = OpenDeliveryOptions.model_validate(dict(account.options))
        self._catalogue = catalogue
        self._http = PartnerHttp(http, self._options)
        self._clock = clock
        names = ("client_secret", "previous_client_secret")
        kept = [name for name in names if name == names[0] or name in account.credentials]
        self._secrets = tuple(account.secret(name).encode() for name in kept)
        self._tokens = ClientCredentials(
            self._http,
            f"{account.base_url}{self._options.token_path}",
            {name: account.secret(name) for name in ("client_id", "client_secret")},
            self._options.token_margin_seconds,
            clock,
        )

    def scopes(self) -> tuple[str, ...]:
        """One poll names all merchants."""
        return ("",)

    async def pull(self, scope: str, cursor: Mapping[str, Any], now: datetime) -> Page:
        """The cursor keeps events whose order could not be read: how often, and when again."""
        waiting = {name: Wait(*entry) for name, entry in cursor.get("waiting", {}).items()}
        events = await self._poll()
        due = [e for e in events if waiting.get(e.event_id, Wait()).due <= now.timestamp()]
        page = due[: self._options.page_events]
        gate = asyncio.Semaphore(self._options.parallel_reads)
        looks = await asyncio.gather(*(self._look(event, now, gate) for event in page))
        seen = list(zip(page, looks, strict=True))
        safe = [event for event, raws in seen if raws is not None and event.event_id]
        unread_ones = [event.event_id for event, raws in seen if raws is None]
        return Page(
            raws=tuple(raw for raws in looks if raws is not None for raw in raws),
            cursor={"waiting": self._postponed(waiting, unread_ones, events, now)},
            receipt=tuple(safe),
            more=len(due) > len(page) and bool(safe),
        )

    def _postponed(
        self,
        waiting: Mapping[str, Wait],
        unread_ones: Sequence[str],
        events: Sequence[Polled],
        now: datetime,
    ) -> dict[str, list[int]]:
        """Who waits from now on: those just looked at in vain, ever longer, and those not due."""
        longest = self._options.longest_event_wait_seconds
        still = {name: wait for name, wait in waiting.items() if wait.due > now.timestamp()}
        for name in unread_ones:
            tries = waiting.get(name, Wait()).tries
            seconds = min(2 ** min(tries, 20), longest)
            still[name] = Wait(tries + 1, int(now.timestamp()) + seconds)
        there = {event.event_id for event in events}
        return {name: list(wait) for name, wait in still.items() if name in there}

    async def acknowledge(self, page: Page) -> None:
        """Events of unused kinds too, or they come back with every poll."""
        events: Sequence[Polled] = page.receipt or ()
        field = self._options.acknowledged_id_field
        for start in range(0, len(events), _EVENTS_PER_ACKNOWLEDGMENT):
            body = [
                {field: event.event_id, "orderId": event.channel_order_id, "eventType": event.kind}
                for event in events[start : start + _EVENTS_PER_ACKNOWLEDGMENT]
            ]
            _document(await self._call("POST", "/v1/events/acknowledgment", body, acting=False))

    def receive(self, request: Request, now: datetime) -> Push:
        """A webhook. It carries no time of its own: a repeated one tells the same fact again.

        Raises Forged, Malformed, and NotDone for a new order: its event carries no order, so the
        poll brings it and the webhook is to be repeated.
        """
        self._check_sender(request)
        try:
            event = _polled(loads(request.body))
        except BadJson as error:
            raise Malformed(str(error)) from None
        if event.kind == "CREATED":
            raise NotDone("a new order is read by the next poll, not from its webhook")
        told = _told(event, now)
        raw = told[0] if told else Raw(f"event:{event.event_id}", digest(event[:3]), b"", ())
        return Push(raw._replace(body=request.body), b"", "text/plain")

    async def confirm(self, channel_order_id: str) -> Verdict:
        """Reads the order first: the call must repeat its createdAt."""
        order, _ = await self._order(channel_order_id)
        proven = CONFIRM.proves.get(self._last_event(order))
        if proven is not None:
            return proven
        created = text(order.get("createdAt")) or _utc(self._clock())
        ours = order_no(order_id(CHANNEL, channel_order_id))
        body = {"createdAt": created, "orderExternalCode": ours}
        return await self._act(CONFIRM, channel_order_id, body)

    async def reject(self, channel_order_id: str, reason: str) -> Verdict:
        options = self._options
        code = options.reject_codes.get(reason, options.reject_code_default)
        body = {"reason": text(reason) or "rejected", "code": code, "mode": "AUTO"}
        return await self._act(REJECT, channel_order_id, body)

    async def tell_ready(self, channel_order_id: str, pickup_code: str) -> Verdict:
        field = self._options.ready_code_field
        body = {field: pickup_code} if field and pickup_code else {}
        return await self._act(TELL_READY, channel_order_id, body)

    async def _act(self, act: Act, channel_order_id: str, body: Mapping[str, str]) -> Verdict:
        """A repeated call is a 422, and the order's last event tells how the first one went."""
        path = f"/v1/orders/{quote(channel_order_id, safe='')}/{act.name}"
        answer = await self._call("POST", path, body, acting=True)
        if answer.status < 300:
            return _DONE
        if answer.status != 422:
            raise _refusal(answer)
        last = _cancellation_status(answer)
        if not last:
            order, _ = await self._order(channel_order_id)
            last = self._last_event(order)
        if not last:
            return act.unseen
        verdict = act.proves.get(last)
        if verdict is None and act is CONFIRM:
            raise NotDone(f"refused with 422, yet the order's last event is {last}")
        return verdict or Verdict(done=False, reason=f"last event there: {text(last, 60)}")

    def _last_event(self, order: Mapping[str, Any]) -> str:
        told = (text(order.get(name)) for name in self._options.state_fields)
        return next(filter(None, told), "")

    async def _poll(self) -> list[Polled]:
        codes = self._catalogue.codes(self.account)
        events: list[Polled] = []
        for start in range(0, len(codes), _MERCHANTS_PER_POLL):
            named = {"x-polling-merchants": ",".join(codes[start : start + _MERCHANTS_PER_POLL])}
            answer = await self._call("GET", "/v1/events:polling", acting=False, headers=named)
            if answer.status != 204:
                events += _events(_document(answer))
        return events

    async def _look(
        self, event: Polled, now: datetime, gate: asyncio.Semaphore
    ) -> tuple[Raw, ...] | None:
        """What the event tells; None when its order cannot be read yet."""
        if event.kind != "CREATED" or not (event.event_id and event.channel_order_id):
            return _told(event, now)
        async with gate:
            try:
                order, body = await self._order(event.channel_order_id)
            except PipelineError:
                return None
        named = event.channel_order_id
        return (_placed(order, body, named, self._setup, self._catalogue, now),)

    async def _order(self, channel_order_id: str) -> tuple[Mapping[str, Any], bytes]:
        path = f"/v1/orders/{quote(channel_order_id, safe='')}"
        answer = await self._call("GET", path, acting=False)
        document = _document(answer)
        if not isinstance(document, dict):
            raise NotDone("the answer holds no order")
        return document, answer.body

    async def _call(
        self,
        method: str,
        path: str,
        document: Any = None,
        *,
        acting: bool,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """With a bearer token; one that is refused is renewed once."""
        body = None if document is None else json.dumps(document).encode()
        token = ""
        for _ in range(2):
            token = await self._tokens.bearer(refused=token)
            answer = await self._http.call(
                method,
                f"{self._setup.base_url}{path}",
                acting=acting,
                headers={**_JSON, **(headers or {}), "Authorization": f"Bearer {token}"},
                body=body,
            )
            if answer.status != 401:
                return answer
        raise NotDone("HTTP 401 with a fresh token")

    def _check_sender(self, request: Request) -> None:
        given = request.headers.get("x-app-signature", "").lower().encode()
        right = (hmac.digest(secret, request.body, "sha256").hex() for secret in self._secrets)
        if not any(hmac.compare_digest(given, expected.encode()) for expected in right):
            raise Forged("the signature is missing or wrong")
        if "app_id" in self._setup.credentials:
            claimed = request.headers.get("x-app-id", "").encode()
            if not hmac.compare_digest(claimed, self._setup.secret("app_id").encode()):
                raise Forged("the webhook comes from another application")


def _utc(instant: float) -> str:
    return datetime.fromtimestamp(instant, UTC).isoformat(timespec="milliseconds")


def _refusal(answer: Answer) -> PipelineError:
    if answer.status in (400, 405, 415):
        return Hopeless(f"the platform does not understand our call: HTTP {answer.status}")
    return NotDone(f"HTTP {answer.status}")


def _document(answer: Answer) -> Any:
    """The document of a good answer. Raises NotDone or Hopeless for any other."""
    if answer.status >= 300:
        raise _refusal(answer)
    if not answer.body:
        return None
    try:
        return answer.document()
    except BadJson as error:
        raise NotDone(f"the answer cannot be read: {error}") from None


def _events(document: Any) -> list[Polled]:
    if not isinstance(document, list):
        raise NotDone("the poll was answered with something that is no list of events")
    return [_polled(row) for row in document]


def _cancellation_status(answer: Answer) -> str:
    try:
        return text(answer.document_object().get("cancellationStatus"))
    except BadJson:
        return ""


def _polled(row: Any) -> Polled:
    document = row if isinstance(row, dict) else {}
    event_id, kind, named = (text(document.get(k)) for k in ("eventId", "eventType", "orderId"))
    return Polled(event_id, kind, named, document)


def _told(event: Polled, now: datetime) -> tuple[Raw, ...]:
    """The payload to keep, if the event tells a fact or needs a person."""
    body = json.dumps(event.document, ensure_ascii=False, default=str).encode()
    if not (event.event_id and event.channel_order_id):
        return (unread("", body, "the event lacks its eventId or orderId"),)
    if event.kind in _FOR_A_PERSON:
        problem = f"order {event.channel_order_id}: {_FOR_A_PERSON[event.kind]}"
        return (unread(event.event_id, body, problem),)
    when = iso_moment(event.document.get("createdAt")) or now
    if event.kind == "CANCELLED":
        code = text(part(event.document, "metadata").get("code"), 60)
        return (raw_of(body, [ended("cancelled", event.channel_order_id, when, code)]),)
    if event.kind in _COMPLETED:
        return (raw_of(body, [ended("completed", event.channel_order_id, when)]),)
    return ()


def _placed(
    document: Mapping[str, Any],
    body: bytes,
    named: str,
    account: PlatformAccount,
    catalogue: Catalogue,
    now: datetime,
) -> Raw:
    order = order_or_problem(lambda: _order(document, named, account, catalogue, now))
    if isinstance(order, str):
        return unread(named, body, order)
    return raw_of(body, [placed(order, _fingerprint(document, order))])


def _fingerprint(document: Mapping[str, Any], order: Order) -> str:
    """Money, lines and store in the platform's own terms, so that our mapping may be mended."""
    codes = [text(row.get("externalCode")) for row in parts(document, "items")]
    lines = [(line.name, line.quantity, line.unit_price_minor) for line in order.lines]
    return digest(_merchant(document), order.currency, order.amounts.paid_minor, codes, lines)


def _merchant(document: Mapping[str, Any]) -> str:
    return text(part(document, "merchant").get("id"))


def _order(
    document: Mapping[str, Any],
    channel_order_id: str,
    account: PlatformAccount,
    catalogue: Catalogue,
    now: datetime,
) -> Order:
    if text(document.get("id")) != channel_order_id:
        raise Malformed("the order has not the id that its event names")
    store_id = catalogue.store_of(account.account, _merchant(document))
    if store_id is None:
        raise UnknownStore(
            f"store {_merchant(document)!r} of account {account.account} is none of ours"
        )
    identifier = order_id(CHANNEL, channel_order_id)
    money = Money(document, _currency(document, account.currency))
    rows = parts(document, "items")
    lines = [_line(n, row, money, catalogue) for n, row in enumerate(rows, start=1)]
    amounts = money.amounts()
    complete = bool(lines) and money.complete(amounts) and money.currency == account.currency
    return Order(
        order_id=identifier,
        order_no=order_no(identifier),
        channel=CHANNEL,
        account=account.account,
        channel_order_id=channel_order_id,
        store_id=store_id,
        daily_number=daily_number_of(document.get("displayId")),
        kind="delivery" if document.get("type") == "DELIVERY" else "pickup",
        placed_at=iso_moment(document.get("createdAt")) or now,
        wanted_at=iso_moment(part(document, "schedule").get("scheduledDateTimeStart")),
        remark=text(document.get("extraInfo"), 1000),
        currency=money.currency,
        amounts=amounts,
        lines=share_out(lines, amounts.paid_minor, [money.of(row, "totalPrice") for row in rows]),
        recipient=_recipient(document),
        flags=flags_of(lines, complete=complete),
        extension=_extension(document, money),
    )


def _currency(document: Mapping[str, Any], expected: str) -> str:
    """What the order says it is in, if it says so in three capital letters."""
    told = text(part(part(document, "total"), "orderAmount").get("currency"))
    return (
        told
        if len(told) == 3 and told.isascii() and told.isalpha() and told.isupper()
        else expected
    )


class Money(NamedTuple):
    """The amounts of one order; a price is `{value, currency}`, with at most four decimals."""

    document: Mapping[str, Any]
    currency: str

    def of(self, holder: Mapping[str, Any], name: str) -> int:
        return self.value(part(holder, name).get("value")) or 0

    def value(self, value: Any) -> int | None:
        return minor(value, minor_digits(self.currency))

    def amounts(self) -> Amounts:
        """Fees that are not for delivery count as packing: the order has no other place."""
        total = part(self.document, "total")
        fees = parts(self.document, "otherFees")
        delivery = sum(self.of(f, "price") for f in fees if f.get("type") == "DELIVERY_FEE")
        by_store = sum(
            self.of(sponsor, "amount")
            for discount in parts(self.document, "discounts")
            for sponsor in parts(discount, "sponsorshipValues")
            if sponsor.get("name") in ("MERCHANT", "CHAIN")
        )
        return Amounts(
            goods_minor=self.of(total, "itemsPrice"),
            packing_minor=sum(self.of(fee, "price") for fee in fees) - delivery,
            delivery_minor=delivery,
            platform_discount_minor=self.of(total, "discount") - by_store,
            store_discount_minor=by_store,
            paid_minor=self.of(total, "orderAmount"),
        )

    def complete(self, amounts: Amounts) -> bool:
        """Whether the paid total is there, the parts give it, and the items give the goods."""
        paid = part(part(self.document, "total"), "orderAmount").get("value")
        items = sum(self.of(row, "totalPrice") for row in parts(self.document, "items"))
        return self.value(paid) is not None and amounts.add_up() and items == amounts.goods_minor


def _line(number: int, row: Mapping[str, Any], money: Money, catalogue: Catalogue) -> Line:
    code = text(row.get("externalCode"))
    told = row.get("quantity")
    quantity, price = whole(told), money.of(row, "unitPrice") + money.of(row, "optionsPrice")
    weighed = ""
    if quantity is None and minor(told, 4):
        # Half a kilogram is one line of "0.5 KG" at its total price.
        quantity, price = 1, money.of(row, "totalPrice")
        weighed = f"{text(told)} {text(row.get('unit'))}".strip()
    chosen = [
        f"{text(option.get('quantity'))} x {text(option.get('name'))}"
        for option in parts(row, "options")
    ]
    wishes = [weighed, *chosen, text(row.get("specialInstructions"))]
    return Line(
        line=number,
        sku=catalogue.sku_of(code) if code else None,
        name=text(row.get("name")) or code or f"item {number}",
        quantity=quantity_of(number, quantity),
        unit_price_minor=price,
        paid_minor=0,
        options=text(", ".join(filter(None, wishes)), 500),
    )


def _recipient(document: Mapping[str, Any]) -> Recipient:
    customer = part(document, "customer")
    phone = part(customer, "phone")
    dialled = ",".join(filter(None, (text(phone.get("number")), text(phone.get("extension")))))
    address = part(part(document, "delivery"), "deliveryAddress")
    spelled = (text(address.get(name)) for name in ("street", "number", "complement", "district"))
    return Recipient(
        name=text(customer.get("name")),
        phone=dialled,
        address=text(address.get("formattedAddress"), 500) or ", ".join(filter(None, spelled)),
    )


def _extension(document: Mapping[str, Any], money: Money) -> dict[str, Any]:
    """What only Open Delivery knows."""
    payments = part(document, "payments")
    kept = {
        "type": text(document.get("type")) or None,
        "timing": text(document.get("orderTiming")) or None,
        "prepaid_minor": money.value(payments.get("prepaid")),
        "pending_minor": money.value(payments.get("pending")),
    }
    return {name: value for name, value in kept.items() if value is not None}
