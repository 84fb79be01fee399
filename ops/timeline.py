"""One order from its platform to the till and back: every hop with its milliseconds, where it
stands, and what is still to come. Personal data are masked.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Literal
from uuid import UUID

from consumers.queues import BY_COMMAND, QUEUES, Kind
from dispatcher.envelope import TYPE_PREFIX
from dispatcher.identity import bucket_of, store_bucket
from dispatcher.order import Amounts, Line, Order, Recipient
from storage.database import Database
from storage.orders import TicketStore
from storage.timeline import Called, Due, Happened, History, Left, Request, Standing, Worked

NOT_FOUND = 3
MASK = "*"

Step = Literal[
    "placed", "accepted", "published", "recorded", "taken", "called", "answered", "quarantined"
]
_ORDER: tuple[Step, ...] = (
    *("placed", "accepted", "published", "recorded", "taken", "called", "answered"),
    "quarantined",
)
_LOCAL = frozenset(row.name for row in QUEUES if row.kind is Kind.LOCAL)


class OrderNotFound(LookupError):
    """There is no such order."""

    exit_code = NOT_FOUND


@dataclass(frozen=True, slots=True)
class Hop:
    """One moment of an order's way. `placed`: the customer; `accepted`, `published`: our entrance;
    `recorded`: System2 has the event (`fate`, `sends`); `taken`, `called`, `answered`: a consumer
    with a command (a call counts when it ended).
    """

    at: datetime
    step: Step
    name: str
    where: str
    detail: str = ""
    fate: str = ""
    happened_at: datetime | None = None
    sends: tuple[str, ...] = ()
    since_previous_ms: float = 0.0
    since_placed_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Owed:
    """A command without an answer."""

    command: str
    command_id: UUID
    sent_at: datetime


@dataclass(frozen=True, slots=True)
class Timeline:
    """An order, where it stands, and its hops in order of time. `order` is None while only facts
    about it are there; its recipient is masked and its remark left out.
    """

    order_id: UUID
    order: Order | None
    aliases: tuple[str, ...]
    standing: Standing | None
    deadlines: tuple[Due, ...]
    owed: tuple[Owed, ...]
    hops: tuple[Hop, ...]

    @property
    def state(self) -> str:
        return self.standing.state if self.standing else "in quarantine"

    @property
    def amounts(self) -> Amounts | None:
        return self.order.amounts if self.order else None

    @property
    def lines(self) -> tuple[Line, ...]:
        return self.order.lines if self.order else ()

    def as_json(self) -> dict[str, Any]:
        order = self.order.model_dump(exclude={"extension", "aliases"}) if self.order else None
        return {
            "order_id": self.order_id,
            "state": self.state,
            "standing": self.standing._asdict() if self.standing else None,
            "order": order,
            "aliases": self.aliases,
            "deadlines": [deadline._asdict() for deadline in self.deadlines],
            "owed": [asdict(owed) for owed in self.owed],
            "timeline": [asdict(hop) for hop in self.hops],
        }


async def timeline(database: Database, order_id: UUID) -> Timeline:
    """Everything about one order. Raises OrderNotFound."""
    history = History(database, order_id)
    order = (await TicketStore(database).read([order_id])).get(order_id)
    standing = await history.standing()
    requests = await history.requests(_scopes(order))
    events, letters = await history.events(), await history.letters()
    if order is None and standing is None and not requests and not letters:
        raise OrderNotFound(f"there is no order {order_id}")
    sent = [command for event in events for command in event.commands]
    worked = await history.worked([_key(order_id, command) for command in sent])
    calls = await history.calls([UUID(command["id"]) for command in sent])
    names = {UUID(command["id"]): _bare(command["type"]) for command in sent}
    hops = [
        *_entered(order, requests),
        *map(_recorded, events),
        *_done(worked, calls, names),
        *map(_quarantined, letters),
    ]
    return Timeline(
        order_id=order_id,
        order=_masked(order) if order else None,
        aliases=tuple(await history.aliases()),
        standing=standing,
        deadlines=tuple(await history.deadlines()),
        owed=tuple(_owed(standing, sent)),
        hops=tuple(_timed(hops)),
    )


def masked_name(name: str) -> str:
    """Its first character."""
    return name[:1] + MASK * 2 if name else ""


def masked_phone(phone: str) -> str:
    """Its last four digits; an extension behind a comma goes with the rest."""
    number = phone.partition(",")[0]
    return MASK * max(len(number) - 4, 4) + (number[-4:] if len(number) > 4 else "")


def _masked(order: Order) -> Order:
    person = order.recipient
    hidden = Recipient(
        name=masked_name(person.name),
        phone=masked_phone(person.phone) if person.phone else "",
        address=MASK * 4 if person.address else "",
    )
    return order.model_copy(update={"recipient": hidden, "remark": ""})


def _scopes(order: Order | None) -> tuple[str, ...]:
    """Who calls in about it: its store's till, and its platform account."""
    return (order.store_id, f"{order.account}/") if order else ()


def _entered(order: Order | None, requests: Iterable[Request]) -> Iterator[Hop]:
    if order is not None:
        yield Hop(order.placed_at, "placed", order.channel_order_id, order.channel)
    for request in requests:
        yield Hop(request.accepted_at, "accepted", request.key, request.source)
        if request.published_at is not None:
            yield Hop(request.published_at, "published", request.key, request.source)


def _recorded(event: Happened) -> Hop:
    told = {name: event.payload.get(name) for name in ("reason", "pickup_code")}
    return Hop(
        event.recorded_at,
        "recorded",
        event.type,
        event.source,
        detail=", ".join(f"{name} {value}" for name, value in told.items() if value),
        fate=event.fate,
        happened_at=event.happened_at,
        sends=tuple(_bare(command["type"]) for command in event.commands),
    )


def _done(
    worked: Iterable[Worked], calls: Iterable[Called], names: Mapping[UUID, str]
) -> Iterator[Hop]:
    for work in worked:
        name = names[work.command_id]
        yield Hop(work.received_at, "taken", name, work.consumer)
        if work.answered_at is not None:
            answer = _bare(work.answer or "")
            yield Hop(work.answered_at, "answered", name, work.consumer, detail=answer)
    for call in calls:
        ended = call.started_at + timedelta(seconds=call.seconds)
        said = [f"attempt {call.attempt + 1} {call.outcome} in {call.seconds * 1000:.1f} ms"]
        said += [f"HTTP {call.status}"] if call.status else []
        said += [call.error] if call.error else []
        detail = ", ".join(said)
        yield Hop(ended, "called", names[call.command_id], call.destination, detail=detail)


def _quarantined(letter: Left) -> Hop:
    name = letter.type or "message"
    return Hop(letter.recorded_at, "quarantined", name, letter.queue, detail=letter.reason)


def _timed(hops: Iterable[Hop]) -> Iterator[Hop]:
    """In order of time; what has the same time in the order of its way."""
    ordered = sorted(hops, key=lambda hop: (hop.at, _ORDER.index(hop.step)))
    for previous, hop in pairwise([*ordered[:1], *ordered]):
        yield replace(
            hop,
            since_previous_ms=_milliseconds(hop.at - previous.at),
            since_placed_ms=_milliseconds(hop.at - ordered[0].at),
        )


def _owed(standing: Standing | None, sent: Sequence[Mapping[str, Any]]) -> Iterator[Owed]:
    for command in sent:
        if standing is not None and UUID(command["id"]) in standing.owed:
            moment = datetime.fromisoformat(command["time"])
            yield Owed(_bare(command["type"]), UUID(command["id"]), moment)


def _key(order_id: UUID, command: Mapping[str, Any]) -> tuple[int, str, UUID]:
    """Where its inbox row is: LOCAL consumers keep theirs with the store."""
    queue = BY_COMMAND[_bare(command["type"])]
    local = queue in _LOCAL
    bucket = store_bucket(command["data"]["store_id"]) if local else bucket_of(order_id)
    return bucket, queue, UUID(command["id"])


def _bare(type_: str) -> str:
    return type_.removeprefix(TYPE_PREFIX)


def _milliseconds(passed: timedelta) -> float:
    return round(passed / timedelta(milliseconds=1), 3)
