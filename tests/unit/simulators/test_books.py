"""A platform's books: which move is legal when, and what they remember of the others."""

import pytest

from ops.simulators.books import Books, OrderEntry


def placed() -> OrderEntry:
    entry = OrderEntry(
        order_id="1",
        store="S001",
        store_code="poi-001",
        kind="delivery",
        currency="CNY",
        total_minor=2800,
        lines=[{"sku": "NOODLE-BEEF", "quantity": 1}],
        placed_at=10.5,
    )
    Books().open(entry)
    return entry


def test_an_order_goes_from_placed_to_completed_and_every_fact_has_its_time() -> None:
    entry = placed()
    steps = ("received", "confirmed", "ready", "completed")
    assert [entry.move(name, 11.0 + number) for number, name in enumerate(steps)] == [True] * 4
    assert [name for _, name in entry.history] == ["placed", *steps]
    assert entry.as_json()["ready"]["first"] == 13.0


@pytest.mark.parametrize("ended", ["rejected", "cancelled"])
@pytest.mark.parametrize("late", ["received", "confirmed", "ready", "completed", "rejected"])
def test_nothing_moves_an_order_that_has_ended(ended: str, late: str) -> None:
    entry = placed()
    entry.move(ended, 11.0)
    assert not entry.move(late, 12.0)
    assert entry.state == ended
    assert entry.refused_calls == 1
    assert entry.history[-1] == (12.0, f"refused {late} while {ended}")


def test_a_meal_is_not_ready_before_its_order_is_confirmed() -> None:
    assert not placed().move("ready", 11.0)


def test_what_is_told_twice_moves_once_and_is_counted_twice() -> None:
    entry = placed()
    assert entry.move("confirmed", 11.0)
    assert not entry.move("confirmed", 12.0)
    assert entry.as_json()["confirmed"] == {"first": 11.0, "last": 11.0, "count": 2}


def test_the_first_reason_given_stays_in_the_books() -> None:
    entry = placed()
    entry.move("rejected", 11.0, reason="sold out")
    entry.move("rejected", 12.0, reason="something else")
    assert entry.as_json()["rejected"]["reason"] == "sold out"


def test_the_summary_counts_states_and_facts() -> None:
    books = Books()
    entry = placed()
    books.open(entry)
    entry.move("confirmed", 11.0)
    assert books.summary()["states"] == {"confirmed": 1}
    assert books.summary()["facts"] == {"confirmed": 1}
