"""Callbacks of tills: a ticket is accepted or refused, a meal is ready.

The contract is docs/till.md. Each fact has a webhook-id of its own, for ever.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime
from hashlib import sha256
from typing import Annotated, Literal, Protocol
from uuid import UUID

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)

from dispatcher.entrance import Entering, fact_event
from dispatcher.messages import Event, MealReady, TicketAccepted, TicketRefused
from dispatcher.platform import Forged, Request, UnknownStore
from dispatcher.strict_json import BadJson, loads
from producers.ingress.door import Answer, Door
from producers.ingress.errors import NotOurs, WrongShape
from producers.ingress.signature import key_of, verified

SOURCE = "till"
LONGEST_BODY = 64 * 1024
LONGEST_REASON = 500
OK = Answer(b'{"status":"ok"}', "application/json")

# A store that is none of ours costs as much to refuse as a wrong signature does.
_NOBODYS_KEY = b"nobody signs with this key"


class Till(Protocol):
    @property
    def till_secret(self) -> str:
        """`whsec_…`; two of them, separated by a blank, while it is being changed."""


class _Foreign(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class _Ticket(_Foreign):
    ticket_id: Annotated[str, StringConstraints(max_length=40)]

    def fact(self) -> Event:
        return TicketAccepted()


class _Refused(_Ticket):
    reason: str | None = None

    def fact(self) -> Event:
        reason = (self.reason or "").strip()[:LONGEST_REASON]
        return TicketRefused(reason=reason) if reason else TicketRefused()


class _Ready(_Ticket):
    pickup_code: Annotated[str, StringConstraints(max_length=40)] | None = None

    def fact(self) -> Event:
        return MealReady(pickup_code=self.pickup_code or "")


class TicketAcceptedCall(_Foreign):
    type: Literal["ticket.accepted"]
    timestamp: AwareDatetime
    data: _Ticket


class TicketRefusedCall(_Foreign):
    type: Literal["ticket.refused"]
    timestamp: AwareDatetime
    data: _Refused


class MealReadyCall(_Foreign):
    type: Literal["meal.ready"]
    timestamp: AwareDatetime
    data: _Ready


Call = TicketAcceptedCall | TicketRefusedCall | MealReadyCall
_CALL: TypeAdapter[Call] = TypeAdapter(Annotated[Call, Field(discriminator="type")])


class TillRoute:
    """`find` raises UnknownStore; `order_of` gives order id and store id of an order number, None
    for one that we never gave out, and raises ValueError for a mistyped one.
    """

    template = "/tills/{store_id}/events"
    longest_body = LONGEST_BODY

    def __init__(
        self,
        find: Callable[[str], Awaitable[Till]],
        order_of: Callable[[str], Awaitable[tuple[UUID, str] | None]],
        door: Door,
        clock: Callable[[], datetime],
    ) -> None:
        self._find = find
        self._order_of = order_of
        self._door = door
        self._clock = clock

    def source(self, names: Mapping[str, str]) -> str:
        return SOURCE

    async def answer(self, names: Mapping[str, str], request: Request) -> Answer:
        """The row of the fact is there when this returns."""
        store_id, now = names["store_id"], self._clock()
        webhook_id = await self._sender(store_id, request, now)
        call = read(request.body)
        event = fact_event(
            await self._order(store_id, call.data.ticket_id),
            f"/tills/{store_id}",
            f"till/{store_id}",
            webhook_id,
            call.data.fact(),
            # A till's clock may go wrong; what it reports has happened by now.
            min(call.timestamp, now),
            _fingerprint(call),
        )
        payload = Entering(webhook_id, event.fingerprint or "", request.body, (event,))
        await self._door.take(SOURCE, store_id, payload)
        return OK

    async def _sender(self, store_id: str, request: Request, now: datetime) -> str:
        """The webhook-id, once we know that the store's till sent it."""
        try:
            till = await self._find(store_id)
        except UnknownStore:
            with suppress(Forged):
                verified([_NOBODYS_KEY], request.headers, request.body, now)
            raise NotOurs("there is no such store") from None
        keys = [key_of(secret) for secret in till.till_secret.split()]
        return verified(keys, request.headers, request.body, now)

    async def _order(self, store_id: str, ticket_id: str) -> UUID:
        try:
            found = await self._order_of(ticket_id)
        except ValueError as error:
            raise WrongShape(f"data.ticket_id: {error}") from None
        # Another store's order is as unknown as one that does not exist.
        if found is None or found[1] != store_id:
            raise NotOurs(f"store {store_id} has no ticket {ticket_id}")
        return found[0]


def _fingerprint(call: Call) -> str:
    """What must not change when a till repeats itself; the clock of its repeat may."""
    return sha256(call.model_dump_json(exclude={"timestamp"}).encode()).hexdigest()


def read(body: bytes) -> Call:
    """Raises WrongShape."""
    try:
        return _CALL.validate_python(loads(body, max_bytes=LONGEST_BODY))
    except BadJson as error:
        raise WrongShape(str(error)) from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise WrongShape(f"{where or 'the document'}: {first['msg']}") from None
