"""The life of a takeaway order: paid on the platform, cooked by our store, delivered by theirs."""

from enum import StrEnum

from dispatcher.messages import (
    CancelRefused,
    CancelTicket,
    CancelUnknown,
    ConfirmOrder,
    ConfirmRefused,
    ConfirmUnknown,
    DeductStock,
    DetailsCompleted,
    MealReady,
    OperatorClosed,
    OrderCancelled,
    OrderCompleted,
    OrderConfirmed,
    OrderLapsed,
    OrderPlaced,
    OrderRejected,
    PushTicket,
    ReadyRefused,
    ReadyTold,
    ReadyUnknown,
    RejectOrder,
    RejectRefused,
    RejectUnknown,
    ReturnStock,
    StockDeducted,
    StockReturned,
    StockShort,
    StoreSilent,
    TellReady,
    TicketAccepted,
    TicketCancelled,
    TicketRefused,
    TicketTaken,
    TicketUnknown,
    UndoOverdue,
)
from dispatcher.workflow import Workflow, attended, deadline, late, settled, step


class S(StrEnum):
    UNBORN = "UNBORN"
    DEDUCTING = "DEDUCTING"  # stock is being taken
    TICKETING = "TICKETING"  # the ticket is on its way to the till
    TICKETED = "TICKETED"  # the till has it and decides
    CONFIRMING = "CONFIRMING"  # the store cooks; the platform is being told
    COOKING = "COOKING"
    TELLING = "TELLING"  # the meal is ready; the platform is being told
    READY = "READY"
    FINISHING = "FINISHING"  # over; the last answers come in
    DONE = "DONE"
    REJECTING = "REJECTING"  # we cannot: platform, stock and till are being told
    REJECTED = "REJECTED"
    CANCELLING = "CANCELLING"  # the customer does not want it: stock and till are being told
    CANCELLED = "CANCELLED"
    NEEDS_HELP = "NEEDS_HELP"  # something could not be undone: an operator must look
    CLEARING = "CLEARING"  # the operator has; the last answers come in
    CLOSED = "CLOSED"


COOKED = (S.CONFIRMING, S.COOKING, S.TELLING, S.READY, S.FINISHING)
UNDOING = (S.REJECTING, S.CANCELLING, S.NEEDS_HELP, S.CLEARING)
OVER = (S.DONE, S.REJECTED, S.CANCELLED, S.CLOSED)

# fmt: off
TAKEAWAY_V1 = Workflow(
    "takeaway", 1,
    #    in state      on event         go to         and send
    step(S.UNBORN,     OrderPlaced,     S.DEDUCTING,  DeductStock),

    step(S.DEDUCTING,  StockDeducted,   S.TICKETING,  PushTicket),
    step(S.DEDUCTING,  StockShort,      S.REJECTING,  RejectOrder),
    step(S.DEDUCTING,  OrderCancelled,  S.CANCELLING, ReturnStock),

    step(S.TICKETING,  TicketTaken,     S.TICKETED),
    step(S.TICKETING,  TicketAccepted,  S.CONFIRMING, ConfirmOrder),
    step(S.TICKETING,  TicketRefused,   S.REJECTING,  RejectOrder, ReturnStock),
    step(S.TICKETING,  TicketUnknown,   S.REJECTING,  RejectOrder, ReturnStock, CancelTicket),
    step(S.TICKETING,  StoreSilent,     S.REJECTING,  RejectOrder, ReturnStock, CancelTicket),
    step(S.TICKETING,  OrderCancelled,  S.CANCELLING, ReturnStock, CancelTicket),

    step(S.TICKETED,   TicketAccepted,  S.CONFIRMING, ConfirmOrder),
    step(S.TICKETED,   TicketRefused,   S.REJECTING,  RejectOrder, ReturnStock),
    step(S.TICKETED,   StoreSilent,     S.REJECTING,  RejectOrder, ReturnStock, CancelTicket),
    step(S.TICKETED,   OrderCancelled,  S.CANCELLING, ReturnStock, CancelTicket),

    step(S.CONFIRMING, OrderConfirmed,  S.COOKING),
    step(S.CONFIRMING, ConfirmUnknown,  S.COOKING),       # if the platform gave up, it will say so
    step(S.CONFIRMING, ConfirmRefused,  S.CANCELLING, ReturnStock, CancelTicket),
    step(S.CONFIRMING, OrderCancelled,  S.CANCELLING, ReturnStock, CancelTicket),

    step(S.COOKING,    MealReady,       S.TELLING,    TellReady),
    step(S.COOKING,    TicketRefused,   S.REJECTING,  RejectOrder, ReturnStock),
    step(S.COOKING,    OrderCancelled,  S.CANCELLING, ReturnStock, CancelTicket),
    step(S.COOKING,    OrderCompleted,  S.FINISHING),
    step(S.COOKING,    OrderLapsed,     S.FINISHING),

    step(S.TELLING,    ReadyTold,       S.READY),
    step(S.TELLING,    ReadyRefused,    S.READY),         # in another state there: it says so
    step(S.TELLING,    ReadyUnknown,    S.READY),
    step(S.TELLING,    OrderCancelled,  S.CANCELLING, ReturnStock, CancelTicket),

    step(S.READY,      OrderCompleted,  S.FINISHING),
    step(S.READY,      OrderLapsed,     S.FINISHING),
    step(S.READY,      OrderCancelled,  S.CANCELLING, ReturnStock, CancelTicket),

    step(S.REJECTING,  RejectRefused,   S.NEEDS_HELP),
    step(S.REJECTING,  RejectUnknown,   S.NEEDS_HELP),
    step(S.REJECTING,  CancelUnknown,   S.NEEDS_HELP),
    step(S.REJECTING,  UndoOverdue,     S.NEEDS_HELP),
    step(S.CANCELLING, CancelUnknown,   S.NEEDS_HELP),
    step(S.CANCELLING, UndoOverdue,     S.NEEDS_HELP),
    step(S.NEEDS_HELP, OperatorClosed,  S.CLEARING),

    settled(S.FINISHING,  S.DONE),
    settled(S.REJECTING,  S.REJECTED),
    settled(S.CANCELLING, S.CANCELLED),
    settled(S.CLEARING,   S.CLOSED),

    deadline(StoreSilent, S.TICKETING, S.TICKETED, minutes=3),
    deadline(OrderLapsed, S.CONFIRMING, S.COOKING, S.TELLING, S.READY, hours=6),
    deadline(UndoOverdue, S.REJECTING, S.CANCELLING, minutes=30),
    attended(S.NEEDS_HELP),

    # May arrive after it stopped mattering: recorded, nothing moves.
    late(StockDeducted,    S.CANCELLING, S.NEEDS_HELP, S.CLEARING),
    late(StockShort,       S.CANCELLING, S.NEEDS_HELP, S.CLEARING),
    late(StockReturned,    *UNDOING),
    late(TicketTaken,      *COOKED, *UNDOING),
    late(TicketUnknown,    *COOKED, *UNDOING),
    late(TicketAccepted,   *COOKED, *UNDOING, *OVER),
    late(TicketRefused,    S.TELLING, S.READY, S.FINISHING, *UNDOING, *OVER),
    late(MealReady,        S.TELLING, S.READY, S.FINISHING, *UNDOING, *OVER),
    late(OrderConfirmed,   S.CANCELLING, S.NEEDS_HELP, S.CLEARING),
    late(ConfirmRefused,   S.CANCELLING, S.NEEDS_HELP, S.CLEARING),
    late(ConfirmUnknown,   S.CANCELLING, S.NEEDS_HELP, S.CLEARING),
    late(ReadyTold,        S.CANCELLING, S.NEEDS_HELP, S.CLEARING),
    late(ReadyRefused,     S.CANCELLING, S.NEEDS_HELP, S.CLEARING),
    late(ReadyUnknown,     S.CANCELLING, S.NEEDS_HELP, S.CLEARING),
    late(OrderRejected,    S.REJECTING, S.NEEDS_HELP, S.CLEARING),
    late(RejectRefused,    S.NEEDS_HELP, S.CLEARING),
    late(RejectUnknown,    S.NEEDS_HELP, S.CLEARING),
    late(TicketCancelled,  *UNDOING),
    late(CancelRefused,    *UNDOING),
    late(CancelUnknown,    S.NEEDS_HELP, S.CLEARING),
    late(OrderCancelled,   *UNDOING, S.REJECTED, S.CANCELLED, S.CLOSED),
    late(OrderCompleted,   S.FINISHING, S.DONE),
    late(OrderLapsed,      S.FINISHING, *UNDOING),
    late(DetailsCompleted, S.DEDUCTING, S.TICKETING, S.TICKETED, *COOKED, *UNDOING, *OVER),
)
# fmt: on
