"""What a table means, on a table of a few rows."""

import pytest

from dispatcher.messages import (
    DeductStock,
    MealReady,
    OrderCancelled,
    OrderCompleted,
    OrderLapsed,
    OrderPlaced,
    ReturnStock,
    StockDeducted,
    StoreSilent,
)
from dispatcher.workflow import UNBORN, Fate, Workflow, attended, deadline, late, settled, step

TABLE = Workflow(
    "snack",
    1,
    step(UNBORN, OrderPlaced, "FRYING", DeductStock),
    step("FRYING", StockDeducted, "FRYING"),
    step("FRYING", MealReady, "HANDING"),
    step("FRYING", OrderCancelled, "TIDYING", ReturnStock),
    step("HANDING", OrderCompleted, "TIDYING"),
    step("TIDYING", StockDeducted, "TIDYING"),
    settled("TIDYING", "OVER"),
    step("OVER", OrderLapsed, "OVER"),
    late(OrderCancelled, "TIDYING", "OVER"),
    deadline(StoreSilent, "FRYING", hours=1, minutes=30),
    attended("HANDING"),
)


@pytest.mark.parametrize(
    ("state", "event", "fate"),
    [
        ("FRYING", "MealReady", Fate.APPLIED),
        ("TIDYING", "OrderCancelled", Fate.LATE),
        ("FRYING", "OrderCompleted", Fate.EARLY),
        ("HANDING", "StockDeducted", Fate.EARLY),
        ("HANDING", "MealReady", Fate.UNEXPECTED),
        ("OVER", "OrderCompleted", Fate.UNEXPECTED),
    ],
)
def test_the_fate_of_an_event_follows_from_the_table(state: str, event: str, fate: Fate) -> None:
    assert TABLE.fate(state, event) is fate


def test_states_come_in_the_order_the_table_first_names_them() -> None:
    assert TABLE.states == (UNBORN, "FRYING", "HANDING", "TIDYING", "OVER")


def test_a_state_is_closed_when_nothing_leaves_it_even_if_something_still_happens_there() -> None:
    assert TABLE.closed == {"OVER"}


def test_what_lies_ahead_of_a_state_does_not_hold_the_state_itself() -> None:
    assert TABLE.reachable("HANDING") == {"TIDYING", "OVER"}
    assert TABLE.reachable("OVER") == frozenset()


def test_an_instance_is_born_with_what_leads_out_of_unborn() -> None:
    assert TABLE.births == {"OrderPlaced"}


def test_a_deadline_goes_by_the_name_of_its_event() -> None:
    (row,) = TABLE.deadlines
    assert (row.name, row.after.total_seconds()) == ("StoreSilent", 5_400)


@pytest.mark.parametrize(
    "second",
    [
        step("FRYING", MealReady, "OVER"),
        late(MealReady, "OVER", "FRYING"),
        settled("TIDYING", "HANDING"),
        deadline(StoreSilent, "HANDING", minutes=1),
    ],
)
def test_two_rows_for_one_pair_are_refused(second: object) -> None:
    with pytest.raises(ValueError, match="snack: two rows for"):
        Workflow("snack", 1, *TABLE.rows, second)  # type: ignore[arg-type]
