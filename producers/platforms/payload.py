"""What all adapters make of a payload in the same way: facts under stable keys, or a problem."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Literal

from pydantic import ValidationError

from dispatcher.messages import DetailsCompleted, Event, OrderCancelled, OrderCompleted, OrderPlaced
from dispatcher.order import Flag, Line, Order, allot
from dispatcher.platform import Fact, Malformed, Raw, UnknownStore
from producers.platforms.foreign import digest, whole

_LARGEST_DAILY_NUMBER = 1_000_000


def placed(order: Order, fingerprint: str) -> Fact:
    event = OrderPlaced(order=order)
    named = order.channel_order_id
    return Fact(f"placed:{named}", named, event, fingerprint, order.placed_at)


def details_completed(order: Order, fingerprint: str) -> Fact:
    event = DetailsCompleted(order=order)
    named = order.channel_order_id
    return Fact(f"details:{named}", named, event, fingerprint, order.placed_at)


def ended(
    kind: Literal["cancelled", "completed"], named: str, when: datetime, why: str = ""
) -> Fact:
    """The end of an order: there is one fact of each kind in its life, whoever tells it."""
    reason = f"cancelled_on_platform {why}".strip()
    event: Event = OrderCancelled(reason=reason) if kind == "cancelled" else OrderCompleted()
    return Fact(f"{kind}:{named}", named, event, digest(kind, named), when)


def raw_of(body: bytes, facts: Sequence[Fact], mark: str = "") -> Raw:
    """A payload that was read; another look that tells the same has equal key and fingerprint."""
    key = "+".join(fact.key for fact in facts) + mark
    return Raw(key, digest([(fact.key, fact.fingerprint) for fact in facts]), body, tuple(facts))


def unread(named: str, body: bytes, problem: str) -> Raw:
    """A payload for quarantine. `named` is what it calls its order, "" when it does not say."""
    return Raw(f"problem:{named or digest(body.hex())}", digest(problem), body, (), problem)


def order_or_problem(read: Callable[[], Order]) -> Order | str:
    """The order, or the sentence that says why it cannot be one."""
    try:
        return read()
    except (Malformed, UnknownStore) as error:
        return str(error)
    except ValidationError as error:
        # Its own text would show values, and those may be personal.
        field = ".".join(map(str, error.errors()[0]["loc"]))
        return f"the order does not fit: {field} is out of range"


def flags_of(lines: Sequence[Line], *, complete: bool) -> tuple[Flag, ...]:
    unmapped: tuple[Flag, ...] = ("unmapped",) if any(ln.sku is None for ln in lines) else ()
    return unmapped if complete else (*unmapped, "money_incomplete")


def quantity_of(line: int, quantity: int | None) -> int:
    """Raises Malformed for what no kitchen could cook."""
    if quantity is None or not 1 <= quantity <= 10_000:
        raise Malformed(f"line {line} has a quantity that is no number from 1 to 10000")
    return quantity


def daily_number_of(value: object) -> int | None:
    number = whole(value)
    return number if number is not None and 0 < number <= _LARGEST_DAILY_NUMBER else None


def share_out(lines: Sequence[Line], paid_minor: int, weights: Sequence[int]) -> tuple[Line, ...]:
    """The lines, each with its exact share of what was paid; together they give the whole."""
    if not lines:
        return ()
    shares = allot(paid_minor, [max(0, weight) for weight in weights])
    pairs = zip(lines, shares, strict=True)
    return tuple(line.model_copy(update={"paid_minor": share}) for line, share in pairs)
