"""Orders, events and commands with sane defaults: a test names only what it is about."""

from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from dispatcher.envelope import Envelope
from dispatcher.identity import answer_id, command_id, fact_id, order_id, order_no
from dispatcher.messages import Command, Event, OrderPlaced
from dispatcher.order import Amounts, Line, Order, Recipient

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
CHANNEL = "meituan"

E = TypeVar("E", bound=Event)
C = TypeVar("C", bound=Command)


def a_line(**changes: Any) -> Line:
    """Two bowls of beef noodles."""
    plain: dict[str, Any] = {
        "line": 1,
        "sku": "NOODLE-BEEF",
        "name": "牛肉面",
        "quantity": 2,
        "unit_price_minor": 2800,
        "paid_minor": 5600,
    }
    return Line(**plain | changes)


def an_order(channel_order_id: str = "1001", **changes: Any) -> Order:
    """A paid order of two bowls for store S001; its ids follow from its channel's id."""
    channel = changes.get("channel", CHANNEL)
    about = order_id(channel, channel_order_id)
    plain: dict[str, Any] = {
        "order_id": about,
        "order_no": order_no(about),
        "channel": channel,
        "account": "mt-main",
        "channel_order_id": channel_order_id,
        "store_id": "S001",
        "placed_at": NOON,
        "remark": "no coriander",
        "currency": "CNY",
        "amounts": Amounts(goods_minor=5600, paid_minor=5600),
        "lines": (a_line(),),
        "recipient": Recipient(name="王小明", phone="13800000000", address="1 Noodle Road"),
    }
    return Order(**plain | changes)


def an_event(data: E, about: UUID | None = None, key: str = "", **attributes: Any) -> Envelope[E]:
    """A fact from outside about an order, the default one unless `about` says which."""
    subject = about or order_id(CHANNEL, "1001")
    name = type(data).__name__
    plain: dict[str, Any] = {
        "id": fact_id(f"test {subject}", f"{name} {key}"),
        "source": f"/{CHANNEL}/mt-main",
        "subject": subject,
        "instance": subject,
        "time": NOON,
        "fingerprint": f"{name} {key}",
    }
    return Envelope(data=data, **plain | attributes)


def a_birth(order: Order | None = None, **attributes: Any) -> Envelope[OrderPlaced]:
    """The event that brings the order."""
    order = order or an_order()
    return an_event(OrderPlaced(order=order), order.order_id, **attributes)


def a_command(data: C, cause: UUID | None = None, **attributes: Any) -> Envelope[C]:
    """A command as the dispatcher sends it."""
    cause = cause or fact_id("test", str(data.order_id))
    plain: dict[str, Any] = {
        "id": command_id(cause, 0),
        "source": "/system2/dispatcher",
        "subject": data.order_id,
        "instance": data.order_id,
        "time": NOON,
        "cause": cause,
    }
    return Envelope(data=data, **plain | attributes)


def an_answer(command: Envelope[Command], data: E, **attributes: Any) -> Envelope[E]:
    """A command's own answer: its id follows from the command's."""
    plain: dict[str, Any] = {
        "id": answer_id(command.id),
        "source": "/system2/test",
        "subject": command.subject,
        "instance": command.instance,
        "time": NOON,
        "cause": command.id,
    }
    return Envelope(data=data, **plain | attributes)
