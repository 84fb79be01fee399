"""The vocabulary: every command and every event, in the order an order lives them.

A command is one job for one consumer (verb + noun). An event is a fact (noun + participle); it
always goes to the dispatcher. Messages carry references and decisions; personal data travels only
in `OrderPlaced` and `DetailsCompleted`, which bring the order itself.

Evolution: optional fields only; a changed meaning is a new type.
"""

from datetime import datetime
from typing import Annotated, Any, ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from dispatcher.order import Order

Reason = Annotated[str, Field(max_length=500)]


class Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    version: ClassVar[int] = 1


class Event(Message):
    """A fact in the past tense."""

    def tells(self) -> dict[str, Any]:
        """What the commands that follow from this event are filled in from, by field name."""
        return dict(self)

    def stored(self) -> bytes:
        """What the event log keeps of it, as JSON: no personal data."""
        return self.__pydantic_serializer__.to_json(self)


class Command(Message):
    """One job for one consumer, about one order."""

    order_id: UUID


class DeadlineEvent(Event):
    """Time ran out. `epoch` fences off deadlines that were disarmed or armed anew since."""

    epoch: int
    due: datetime


# -- the order is placed ---------------------------------------------------------------------


class StockLine(Message):
    sku: str
    quantity: Annotated[int, Field(ge=1)]


_PERSONAL = {"order": {"recipient", "remark"}}


class OrderEvent(Event):
    """An event that brings the order itself."""

    order: Order

    def tells(self) -> dict[str, Any]:
        """The stock it needs, by SKU; items that are none of ours move no stock."""
        wanted: dict[str, int] = {}
        for line in self.order.lines:
            if line.sku is not None:
                wanted[line.sku] = wanted.get(line.sku, 0) + line.quantity
        lines = tuple(StockLine(sku=sku, quantity=wanted[sku]) for sku in sorted(wanted))
        return {"lines": lines}

    def stored(self) -> bytes:
        return self.__pydantic_serializer__.to_json(self, exclude=_PERSONAL)


class OrderPlaced(OrderEvent):
    """A paid order is there, pulled or pushed."""

    def context(self) -> dict[str, Any]:
        """What the order's workflow remembers, to fill in commands from."""
        order = self.order
        return {
            "store_id": order.store_id,
            "channel": order.channel,
            "account": order.account,
            "channel_order_id": order.channel_order_id,
            "placed_at": order.placed_at.isoformat(),
        }


class DetailsCompleted(OrderEvent):
    """What a degraded order lacked has been read; totals and lines are whole now."""


class NeverBorn(DeadlineEvent):
    """Facts about an order came, but hours later the order itself still has not."""


# -- stock -----------------------------------------------------------------------------------


class DeductStock(Command):
    """Take the order's items from the store's stock: all of them, or none."""

    store_id: str
    lines: tuple[StockLine, ...]


class StockDeducted(Event):
    """The items are taken."""


class StockShort(Event):
    """Not enough of at least one item (or the order was given up before): nothing was taken."""

    reason: Reason = "stock_short"
    skus: tuple[str, ...] = ()


class ReturnStock(Command):
    """Put back what was taken for the order; if it was not taken yet, it never will be."""

    store_id: str


class StockReturned(Event):
    """Nothing is held for the order, now and for ever."""


# -- the store's till ------------------------------------------------------------------------


class PushTicket(Command):
    """Give the order to the store's till."""

    store_id: str
    channel: str
    placed_at: datetime


class TicketTaken(Event):
    """The till has the ticket and will decide later."""


class TicketAccepted(Event):
    """The store will cook."""


class TicketRefused(Event):
    """The store will not cook, or its till surely never got the ticket."""

    reason: Reason = "store_refused"


class TicketUnknown(Event):
    """Time is up and nobody can say whether the till has the ticket."""

    reason: Reason = "till_unreachable"


class StoreSilent(DeadlineEvent):
    """The store neither accepted nor refused in time."""

    reason: Reason = "store_silent"


class CancelTicket(Command):
    """Tell the till to stop; it also refuses the ticket should it come later."""

    store_id: str
    reason: Reason


class TicketCancelled(Event):
    """The till will not cook it."""


class CancelRefused(Event):
    """Too late, says the till: it keeps the ticket."""

    reason: Reason = "till_kept_the_ticket"


class CancelUnknown(Event):
    """Time is up and nobody can say whether the till has stopped."""

    reason: Reason = "till_unreachable"


class MealReady(Event):
    """The meal can be fetched under this code."""

    pickup_code: Annotated[str, Field(max_length=40)] = ""


# -- back to the platform --------------------------------------------------------------------


class PlatformCommand(Command):
    """A job at the platform the order came from."""

    channel: str
    account: str
    channel_order_id: str
    store_id: str


class ConfirmOrder(PlatformCommand):
    """Tell the platform that the store will cook."""


class OrderConfirmed(Event):
    """The platform knows that the store will cook."""


class ConfirmRefused(Event):
    """The platform does not want it any more."""

    reason: Reason = "platform_refused"


class ConfirmUnknown(Event):
    """Time is up and the platform may or may not know."""

    reason: Reason = "platform_unreachable"


class TellReady(PlatformCommand):
    """Tell the platform that the meal is ready, and the pickup code. `happened_at`: when it was."""

    pickup_code: str
    happened_at: datetime


class ReadyTold(Event):
    """The platform knows the meal is ready."""


class ReadyRefused(Event):
    """The platform did not take it: the order is in another state there."""

    reason: Reason = "platform_refused"


class ReadyUnknown(Event):
    """Time is up and the platform may or may not know."""

    reason: Reason = "platform_unreachable"


class RejectOrder(PlatformCommand):
    """Tell the platform that we cannot fulfil the order, and why."""

    reason: Reason


class OrderRejected(Event):
    """The platform has closed the order at our word."""


class RejectRefused(Event):
    """The platform did not let us reject it."""

    reason: Reason = "platform_refused"


class RejectUnknown(Event):
    """Time is up and the platform may or may not know."""

    reason: Reason = "platform_unreachable"


# -- how it ends -----------------------------------------------------------------------------


class OrderCancelled(Event):
    """The platform has cancelled the order: the customer, its service or its clock did."""

    reason: Reason = "cancelled_on_platform"


class OrderCompleted(Event):
    """The platform says that the customer has the meal."""


class OrderLapsed(DeadlineEvent):
    """Nobody said that the order is over, but it must be by now."""


class UndoOverdue(DeadlineEvent):
    """What had to be undone is not answered for in time."""

    reason: Reason = "undo_overdue"


class OperatorClosed(Event):
    """An operator has looked after the order and closes it."""

    reason: Reason
    operator: str


# -- the pull tick: the one command that does not come from the dispatcher ---------------------


class PullOrders(Message):
    """Look for new orders at one account (or one of its stores); goes round through the lattice.

    `generation` is the cursor's when the tick was published: extra ticks die by it.
    """

    channel: str
    account: str
    scope: str = ""
    generation: Annotated[int, Field(ge=0)]
