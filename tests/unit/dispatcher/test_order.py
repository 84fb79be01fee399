"""Money is split exactly."""

from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dispatcher.order import Amounts, allot
from tests.builders import an_order

TOTALS = st.integers(0, 10**12)
WEIGHTS = st.lists(st.integers(0, 10**9), min_size=1, max_size=30)


@given(TOTALS | st.integers(-(10**12), -1), WEIGHTS)
def test_the_shares_are_exactly_the_total(total: int, weights: list[int]) -> None:
    assert sum(allot(total, weights)) == total


@given(TOTALS, WEIGHTS)
def test_no_share_of_something_is_negative(total: int, weights: list[int]) -> None:
    assert min(allot(total, weights)) >= 0


@given(TOTALS, WEIGHTS)
def test_a_share_is_less_than_one_unit_off_its_exact_part(total: int, weights: list[int]) -> None:
    whole = sum(weights)
    assume(whole > 0)
    for share, weight in zip(allot(total, weights), weights, strict=True):
        assert abs(share * whole - total * weight) < whole


@given(TOTALS, WEIGHTS)
def test_who_weighs_more_never_gets_less(total: int, weights: list[int]) -> None:
    assume(sum(weights) > 0)
    shares = allot(total, weights)
    pairs = sorted(zip(weights, shares, strict=True))
    assert all(less[1] <= more[1] for less, more in pairwise(pairs) if less[0] < more[0])


@given(st.integers(0, 10**12), st.integers(2, 30))
def test_equal_weights_differ_by_one_unit_at_most_and_the_first_win(total: int, n: int) -> None:
    shares = allot(total, [7] * n)
    assert shares == sorted(shares, reverse=True)
    assert shares[0] - shares[-1] <= 1


@pytest.mark.parametrize(
    ("total", "weights", "shares"),
    [
        (100, [1, 1, 1], [34, 33, 33]),
        (-100, [1, 1, 1], [-33, -33, -34]),
        (5, [0, 0], [5, 0]),
        (1, [1, 2], [0, 1]),
        (0, [3, 4], [0, 0]),
    ],
)
def test_known_splits(total: int, weights: list[int], shares: list[int]) -> None:
    assert allot(total, weights) == shares


@pytest.mark.parametrize("weights", [[], [1, -1]])
def test_nonsense_is_refused(weights: list[int]) -> None:
    with pytest.raises(ValueError):
        allot(100, weights)


def test_amounts_say_whether_they_add_up() -> None:
    whole = Amounts(
        goods_minor=5600,
        packing_minor=100,
        delivery_minor=500,
        platform_discount_minor=300,
        store_discount_minor=200,
        paid_minor=5700,
    )
    assert whole.add_up()
    assert not whole.model_copy(update={"paid_minor": 5701}).add_up()


def test_an_order_cannot_be_changed() -> None:
    with pytest.raises(ValueError):
        an_order().store_id = "S002"
