"""What the shop promises about taking back, and the verification of workflows against it."""

from collections.abc import Mapping, Sequence

from consumers.queues import QUEUES
from dispatcher.messages import (
    CancelTicket,
    DeductStock,
    PushTicket,
    ReturnStock,
    StockShort,
    TicketRefused,
)
from dispatcher.verify import Check, Undo, verify
from dispatcher.workflow import Workflow

UNDOS: Mapping[str, Sequence[Undo]] = {
    "takeaway": (
        Undo(DeductStock, by=ReturnStock, void=(StockShort,), kept=("DONE",)),
        Undo(PushTicket, by=CancelTicket, void=(TicketRefused,), kept=("DONE",)),
    ),
}
"""By workflow: every kind of order says what it takes back, and where it need not."""


def checks(workflow: Workflow) -> list[Check]:
    """Every rule, held against the queue table and the promises."""
    return verify(workflow, QUEUES, UNDOS[workflow.name])
