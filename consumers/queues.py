"""Who does each job: every command queue, what it may answer, and how patiently it is tried.

LOCAL jobs touch only our database: job, answer and inbox commit as one. REMOTE jobs call a
partner: the rendered body is stored first, and every attempt sends it under the same key.
Topology, metrics labels, CLI listing and the race test are derived from this table.
"""

from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from consumers.patience import Patience
from consumers.pos import cancel_ticket, push_ticket, render_cancellations, render_tickets
from consumers.stock import deduct_stock, return_stock
from consumers.takeaway import confirm_order, reject_order, render_nothing, tell_ready
from dispatcher.envelope import Envelope
from dispatcher.messages import (
    CancelRefused,
    CancelTicket,
    CancelUnknown,
    Command,
    ConfirmOrder,
    ConfirmRefused,
    ConfirmUnknown,
    DeductStock,
    Event,
    MealReady,
    OrderConfirmed,
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
    TellReady,
    TicketAccepted,
    TicketCancelled,
    TicketRefused,
    TicketTaken,
    TicketUnknown,
)

PULL = "takeaway.pull"
"""The pull tick's queue: its message is no command of the dispatcher's, and has no answer."""


class Kind(StrEnum):
    LOCAL = "local"
    REMOTE = "remote"


class Queue(NamedTuple):
    """One row. `needs` names what the job is given beside the commands; `answers` are those of the
    job itself, `not_done` and `unknown` those that the runtime gives when time is up (surely
    nothing was done; nobody can say), `later` may come by HTTP afterwards. `since` is the
    command's field that the time in `metric` counts from.
    """

    name: str
    command: type[Command]
    kind: Kind
    job: Callable[..., Awaitable[Any]]
    answers: tuple[type[Event], ...]
    needs: str
    not_done: type[Event] | None = None
    unknown: type[Event] | None = None
    later: tuple[type[Event], ...] = ()
    render: Callable[[Sequence[Envelope[Any]], Any], Awaitable[list[bytes]]] = render_nothing
    reads: str = ""
    at_once: int = 1
    patience: Patience = Patience()
    metric: str = ""
    since: str = ""

    @property
    def consumer(self) -> str:
        """The process that reads this queue: `stock` for stock.deduct."""
        return self.name.partition(".")[0]

    @property
    def all_answers(self) -> tuple[type[Event], ...]:
        """Whatever can be a command's own answer."""
        timed_out = (kind for kind in (self.not_done, self.unknown) if kind is not None)
        return tuple(dict.fromkeys((*self.answers, *timed_out)))


QUICK = Patience(first_seconds=1, most_seconds=20, budget_seconds=300)
STUBBORN = Patience(first_seconds=1, most_seconds=60, budget_seconds=1800)

QUEUES = (
    Queue(
        "stock.deduct", DeductStock, Kind.LOCAL, deduct_stock,
        answers=(StockDeducted, StockShort), needs="shelf",
    ),
    Queue(
        "stock.return", ReturnStock, Kind.LOCAL, return_stock,
        answers=(StockReturned,), needs="shelf",
    ),
    Queue(
        "pos.push", PushTicket, Kind.REMOTE, push_ticket,
        answers=(TicketTaken, TicketAccepted, TicketRefused), needs="tills",
        not_done=TicketRefused, unknown=TicketUnknown,
        later=(TicketAccepted, TicketRefused, MealReady),
        render=render_tickets, reads="tickets", at_once=128, patience=QUICK,
        metric="order_delivery_seconds", since="placed_at",
    ),
    Queue(
        "pos.cancel", CancelTicket, Kind.REMOTE, cancel_ticket,
        answers=(TicketCancelled, CancelRefused), needs="tills",
        not_done=CancelUnknown, unknown=CancelUnknown,
        render=render_cancellations, at_once=64, patience=STUBBORN,
    ),
    Queue(
        "takeaway.confirm", ConfirmOrder, Kind.REMOTE, confirm_order,
        answers=(OrderConfirmed, ConfirmRefused), needs="platforms",
        not_done=ConfirmUnknown, unknown=ConfirmUnknown, at_once=64, patience=QUICK,
    ),
    Queue(
        "takeaway.reject", RejectOrder, Kind.REMOTE, reject_order,
        answers=(OrderRejected, RejectRefused), needs="platforms",
        not_done=RejectUnknown, unknown=RejectUnknown, at_once=32, patience=STUBBORN,
    ),
    Queue(
        "takeaway.ready", TellReady, Kind.REMOTE, tell_ready,
        answers=(ReadyTold, ReadyRefused), needs="platforms",
        not_done=ReadyUnknown, unknown=ReadyUnknown, at_once=64, patience=STUBBORN,
        metric="pickup_code_seconds", since="happened_at",
    ),
)  # fmt: skip

NAMES = (*(row.name for row in QUEUES), PULL)
CONSUMERS = tuple(dict.fromkeys(row.consumer for row in QUEUES))
BY_COMMAND = {row.command.__name__: row.name for row in QUEUES} | {"PullOrders": PULL}
