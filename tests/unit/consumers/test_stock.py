"""Whatever happens to an order in whatever order: the ledger adds up to the levels."""

from uuid import UUID, uuid4

from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.stock import deduct_stock, return_stock
from tests.contracts.consumers.units import deduct, give_back
from tests.fakes import run
from tests.unit.consumers.fakes import Books, FakeShelf

OPENED = {("S001", "beef"): 7, ("S001", "tea"): 4}

# A batch: which of six orders, and what each wants.
WANTED = st.tuples(st.integers(0, 5), st.integers(1, 4), st.integers(0, 3))
STEPS = st.lists(st.tuples(st.booleans(), st.lists(WANTED, max_size=6)), max_size=12)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_nothing_is_oversold_lost_or_held_for_ever(
    steps: list[tuple[bool, list[tuple[int, int, int]]]],
) -> None:
    books, orders = Books(levels=dict(OPENED)), dict[int, UUID]()
    shelf = FakeShelf(books)
    for returning, batch in steps:
        commands = [
            deduct(
                "S001", orders.setdefault(who, uuid4()), beef=beef, **({"tea": tea} if tea else {})
            )
            for who, beef, tea in batch
        ]
        if returning:
            run(return_stock(list(map(give_back, commands)), shelf))
        else:
            answers = run(deduct_stock(commands, shelf))
            assert len(answers) == len(commands)
        assert books.levels == _after_the_ledger(books)
    run(return_stock([give_back(deduct("S001", order)) for order in orders.values()], shelf))
    assert books.levels == OPENED


def _after_the_ledger(books: Books) -> dict[tuple[str, str], int]:
    levels = dict(OPENED)
    for ((store, _), _), (movement, quantities) in books.ledger.items():
        for sku, many in quantities.items():
            levels[store, sku] += many if movement == "returned" else -many
    return levels
