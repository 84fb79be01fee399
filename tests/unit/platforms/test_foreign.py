"""Reading money, numbers, texts and times out of foreign documents."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.platforms.foreign import digest, iso_moment, minor, moment, text, whole

fen_amounts = st.integers(-(10**12), 10**12)


@given(fen_amounts)
def test_yuan_written_with_two_decimals_give_the_same_fen(fen: int) -> None:
    sign, yuan = "-" if fen < 0 else "", abs(fen)
    written = f"{sign}{yuan // 100}.{yuan % 100:02d}"
    assert minor(written) == minor(Decimal(written)) == fen


@given(st.integers(0, 10**9))
def test_yuan_that_went_through_a_float_give_the_same_fen(fen: int) -> None:
    assert minor(Decimal(repr(fen / 100))) == fen


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=4))
def test_amounts_with_four_decimals_are_rounded_to_the_nearest(amount: Decimal) -> None:
    rounded = minor(amount)
    assert rounded is not None
    assert abs(Decimal(rounded) / 100 - amount) <= Decimal("0.005")


@given(st.one_of(st.text(), st.booleans(), st.none(), st.floats(), st.lists(st.integers())))
def test_what_is_no_amount_is_missing_and_never_an_exception(value: Any) -> None:
    assert minor(value) is None or isinstance(minor(value), int)
    assert whole(value) is None or isinstance(whole(value), int)
    assert isinstance(text(value), str)
    assert moment(value) is None or isinstance(moment(value), datetime)
    assert iso_moment(value) is None or isinstance(iso_moment(value), datetime)


@pytest.mark.parametrize(
    "value",
    [None, "", "NaN", "Infinity", "1e400", "1_000", "１２", True, 1.5, Decimal("NaN"), 10**15],
)
def test_odd_amounts_are_missing(value: Any) -> None:
    assert minor(value) is None


def test_currencies_have_their_own_minor_units() -> None:
    assert minor(Decimal("1200"), 0) == 1200
    assert minor(Decimal("1.234"), 3) == 1234


@pytest.mark.parametrize(
    ("value", "number"), [("2", 2), (Decimal("2.0"), 2), (2, 2), ("2.5", None)]
)
def test_whole_numbers_come_as_numbers_and_as_texts(value: Any, number: int | None) -> None:
    assert whole(value) == number


def test_long_texts_are_cut_and_numbers_are_texts_too() -> None:
    assert text("  " + "x" * 300) == "x" * 199 + "…"
    assert text(4711) == "4711"
    assert text({"a": 1}) == ""


def test_times_without_an_offset_are_utc() -> None:
    expected = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
    assert iso_moment("2024-05-06T07:08:09") == expected
    assert iso_moment("2024-05-06T04:08:09-03:00") == expected
    assert iso_moment("2024-05-06T07:08:09.000Z") == expected
    assert moment(0) is None  # "as soon as possible" on some platforms


def test_a_digest_depends_on_nothing_but_the_values() -> None:
    assert digest("a", 1, ["b"]) == digest("a", 1, ("b",))
    assert digest("a", 1) != digest("a", "1")
