"""The workflow tables keep every rule, each rule notices when it is broken, and what is released
stays as it was.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from consumers.queues import QUEUES
from dispatcher.messages import (
    Command,
    MealReady,
    OrderCompleted,
    ReadyTold,
    RejectOrder,
    ReturnStock,
    StoreSilent,
    TellReady,
)
from dispatcher.verify import RULES, Case, verify
from dispatcher.workflow import (
    Attended,
    Deadline,
    Late,
    Row,
    Settled,
    Step,
    Workflow,
    attended,
    deadline,
    late,
    step,
)
from dispatcher.workflows import ALL, BORN_WITH
from dispatcher.workflows.takeaway import TAKEAWAY_V1
from ops.promises import UNDOS, checks

RELEASED = Path(__file__).parent / "released"
TABLE = TAKEAWAY_V1.rows


@pytest.mark.parametrize("workflow", ALL, ids=lambda w: f"{w.name} {w.version}")
def test_every_workflow_keeps_every_rule(workflow: Workflow) -> None:
    assert [check for check in checks(workflow) if not check.ok] == []


# -- each rule can be broken ---------------------------------------------------------------------


def without(state: str, event: str) -> list[Row]:
    """The table without one of its steps."""
    return [row for row in TABLE if row != TAKEAWAY_V1.steps[state, event]]


def stepping(state: str, event: str, **changes: Any) -> list[Row]:
    """The table with one of its steps changed."""
    before = TAKEAWAY_V1.steps[state, event]
    return [*without(state, event), before._replace(**changes)]


def no_longer_late(event: str, state: str) -> list[Row]:
    """The table, but this event is not expected in this state any more."""
    assert (state, event) in TAKEAWAY_V1.late
    return [
        row._replace(states=tuple(s for s in row.states if s != state))
        if isinstance(row, Late) and row.event.__name__ == event
        else row
        for row in TABLE
    ]


def without_rows(gone: Row) -> list[Row]:
    assert gone in TABLE
    return [row for row in TABLE if row != gone]


SILENT, LAPSED, OVERDUE = TAKEAWAY_V1.deadlines


class SolveRiddle(Command):
    """No queue carries it, and nobody tells what it asks."""

    riddle: str


class ShoutOrder(Command):
    """What it needs is told, but not in this shape."""

    store_id: int


BROKEN: dict[str, list[tuple[list[Row], str]]] = {
    "every command has exactly one queue": [
        (stepping("READY", "OrderCompleted", commands=(SolveRiddle,)), "SolveRiddle is carried"),
    ],
    "every row names states of the table": [
        ([*TABLE, late(OrderCompleted, "NOWHERE")], "no step leads to NOWHERE"),
        ([*TABLE, attended("DONE")], "DONE is closed"),
        (without("NEEDS_HELP", "OperatorClosed"), "NEEDS_HELP is closed"),
    ],
    "every state can be reached": [
        ([*TABLE, step("ATTIC", OrderCompleted, "READY")], "nothing leads to ATTIC"),
    ],
    "every state can end": [
        (
            [*stepping("NEEDS_HELP", "OperatorClosed", target="ATTIC"),
             step("ATTIC", MealReady, "NEEDS_HELP")],
            "from ATTIC no closed state",
        ),
    ],
    "every step can be taken": [
        ([*TABLE, step("DEDUCTING", ReadyTold, "READY")], "ReadyTold cannot come"),
    ],
    "every command can be filled in": [
        (stepping("READY", "OrderCompleted", commands=(SolveRiddle,)), "nobody tells its riddle"),
        (stepping("COOKING", "OrderCompleted", commands=(TellReady,)), "tells its pickup_code"),
        (stepping("COOKING", "OrderCompleted", commands=(ShoutOrder,)), "store_id does not fit"),
    ],
    "what waits for the outside has a deadline or is attended": [
        (without_rows(SILENT), "TICKETING waits for PushTicket without a deadline"),
        (without_rows(LAPSED), "READY waits for the outside without a deadline"),
        (without_rows(OVERDUE), "REJECTING waits for CancelTicket without a deadline"),
        (without_rows(Attended("NEEDS_HELP")), "NEEDS_HELP waits for the outside"),
        (without("DEDUCTING", "StockShort"), "DEDUCTING waits for the outside"),
    ],
    "every deadline leads on wherever it stands": [
        (without("TICKETED", "StoreSilent"), "StoreSilent stands in TICKETED"),
        ([*without_rows(SILENT), deadline(StoreSilent, "COOKING", minutes=3)], "in COOKING"),
    ],
    "every answer of a job is awaited somewhere": [
        ([r for r in TABLE if getattr(r, "event", None) is not MealReady], "MealReady, which pos"),
    ],
    "every answer is awaited wherever the order has moved to meanwhile": [
        (no_longer_late("TicketTaken", "CONFIRMING"), "TicketTaken (an answer of PushTicket)"),
        (no_longer_late("StockDeducted", "CANCELLING"), "unexpected in CANCELLING"),
        (no_longer_late("StockShort", "CLEARING"), "unexpected in CLEARING"),
        (no_longer_late("TicketAccepted", "DONE"), "(told some time after PushTicket)"),
        (no_longer_late("MealReady", "CANCELLED"), "unexpected in CANCELLED"),
        (no_longer_late("OrderLapsed", "FINISHING"), "OrderLapsed (it waited from before)"),
        (without("CANCELLING", "UndoOverdue"), "UndoOverdue (a deadline)"),
    ],
    "an unknown outcome has a row in the state that asked": [
        (without("TICKETING", "TicketUnknown"), "has no step for TicketUnknown"),
        (without("CANCELLING", "CancelUnknown"), "CANCELLING asks for CancelTicket"),
        (without("TELLING", "ReadyUnknown"), "has no step for ReadyUnknown"),
    ],
    "an order closes with every command answered, and closing sends nothing": [
        (without_rows(Settled("FINISHING", "DONE")), "FINISHING is closed while PushTicket"),
        (stepping("TICKETED", "StoreSilent", target="REJECTED"), "sends RejectOrder on its way"),
        (stepping("READY", "OrderCompleted", target="DONE"), "DONE is closed while"),
    ],
    "what was done is taken back before an order ends unfulfilled": [
        (stepping("TICKETED", "StoreSilent", commands=(RejectOrder, ReturnStock)),
         "REJECTED comes without CancelTicket"),
        (stepping("TICKETING", "TicketUnknown", commands=(RejectOrder, ReturnStock)),
         "REJECTED comes without CancelTicket"),
        (stepping("COOKING", "TicketRefused", commands=(RejectOrder,)),
         "REJECTED comes without ReturnStock"),
        (stepping("DEDUCTING", "OrderCancelled", commands=()),
         "CANCELLED comes without ReturnStock"),
    ],
}  # fmt: skip

EACH = [(rule, rows, problem) for rule, tables in BROKEN.items() for rows, problem in tables]


@pytest.mark.parametrize(("rule", "rows", "problem"), EACH, ids=[problem for _, _, problem in EACH])
def test_a_broken_table_is_told_in_a_sentence(rule: str, rows: list[Row], problem: str) -> None:
    case = Case(Workflow("takeaway", 1, *rows), QUEUES, UNDOS["takeaway"])
    assert [said for said in RULES[rule](case) if problem in said]


def test_every_rule_has_a_table_that_breaks_it() -> None:
    assert list(RULES) == list(BROKEN)


def test_a_command_with_two_queues_is_told() -> None:
    found = verify(TAKEAWAY_V1, [*QUEUES, QUEUES[0]], UNDOS["takeaway"])
    assert found[0].problems == ("DeductStock is carried by stock.deduct and stock.deduct",)


# -- what is released stays ----------------------------------------------------------------------


def pinned(workflow: Workflow) -> str:
    """All that a table says, a line each, however its rows are arranged."""
    return "\n".join(sorted(_sentences(workflow))) + "\n"


def _sentences(workflow: Workflow) -> Iterator[str]:
    for row in workflow.rows:
        match row:
            case Step(state, event, target, commands):
                sent = ", ".join(command.__name__ for command in commands) or "nothing"
                yield f"{state}: {event.__name__} leads to {target} and sends {sent}"
            case Late(event, states):
                yield from (f"{state}: {event.__name__} is only recorded" for state in states)
            case Deadline(event, states, after):
                where = ", ".join(sorted(states))
                yield f"{event.__name__} after {after.total_seconds():g} s in {where}"
            case Settled(state, target):
                yield f"{state}: the last answer leads to {target}"
            case Attended(state):
                yield f"{state}: waits for an operator"


@pytest.mark.parametrize("workflow", ALL, ids=lambda w: f"{w.name} {w.version}")
def test_a_released_version_never_changes(workflow: Workflow) -> None:
    page = RELEASED / f"{workflow.name}-{workflow.version}.txt"
    advice = f"orders live by {workflow.name} version {workflow.version}: make a new version"
    assert page.exists(), f"{page.name} is missing: pin the new version's content there"
    assert pinned(workflow).splitlines() == page.read_text().splitlines(), advice


def test_no_released_version_is_dropped() -> None:
    """Orders that were born with it are still there."""
    released = {page.stem for page in RELEASED.glob("*.txt")}
    assert released == {f"{workflow.name}-{workflow.version}" for workflow in ALL}


@pytest.mark.parametrize(
    "rows",
    [
        without_rows(SILENT),
        no_longer_late("TicketTaken", "CONFIRMING"),
        stepping("COOKING", "TicketRefused", commands=(RejectOrder,)),
        [*without_rows(SILENT), SILENT._replace(after=SILENT.after * 2)],
    ],
)
def test_any_change_of_a_table_shows_in_what_is_pinned(rows: list[Row]) -> None:
    assert pinned(Workflow("takeaway", 1, *rows)) != pinned(TAKEAWAY_V1)


def test_rows_may_be_arranged_otherwise() -> None:
    assert pinned(Workflow("takeaway", 1, *reversed(TABLE))) == pinned(TAKEAWAY_V1)


def test_orders_are_born_with_one_version_of_each_workflow() -> None:
    assert set(BORN_WITH) <= set(ALL)
    births = [birth for workflow in BORN_WITH for birth in workflow.births]
    assert len(births) == len(set(births))
