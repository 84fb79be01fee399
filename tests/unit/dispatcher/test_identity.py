"""The same thing always has the same id, and an order number survives human hands."""

from collections import Counter
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.identity import (
    BUCKETS,
    answer_id,
    bucket_of,
    bucket_of_number,
    command_id,
    deadline_id,
    fact_id,
    order_id,
    order_no,
    store_bucket,
)

CHANNEL_IDS = st.text(min_size=1, max_size=40)


def test_ids_never_change_from_release_to_release() -> None:
    """Pinned: a changed id is a second order, a second ticket, a second deadline."""
    about = order_id("meituan", "4815162342")
    assert str(about) == "cdbf3a24-ab58-8413-b525-61d4e682eaad"
    assert order_no(about) == "74128162137474418227"
    fact = fact_id("meituan", "paid 4815162342")
    assert str(fact) == "3e99a3d4-a3f7-560c-bd9a-37eb7b0f7f31"
    command = command_id(fact, 0)
    assert str(command) == "7478d1aa-5e89-5826-b3fb-52f4c86a9ecf"
    assert str(command_id(fact, 1)) == "5eab3612-ce04-5e31-b0d0-5d184f136bd4"
    assert str(answer_id(command)) == "47f7615f-f9f9-5ac5-a556-7c669ffe9e22"
    assert str(deadline_id(about, "StoreSilent", 2)) == "13d0d491-8ed6-5d6d-9bec-01dec7305b16"
    assert store_bucket("S001") == 791


def test_an_order_id_is_a_uuid_of_version_8() -> None:
    about = order_id("meituan", "1")
    assert (about.version, about.variant) == (8, "specified in RFC 4122")


@given(CHANNEL_IDS, CHANNEL_IDS)
def test_two_orders_of_a_channel_or_of_two_channels_are_never_one(one: str, other: str) -> None:
    assert order_id("a", one) != order_id("b", one)
    assert (order_id("a", one) == order_id("a", other)) == (one == other)


def test_channel_and_number_do_not_run_into_each_other() -> None:
    assert order_id("ab", "c") != order_id("a", "bc")


@given(st.uuids())
def test_the_bucket_is_inside_the_order_number(about: UUID) -> None:
    number = order_no(about)
    assert len(number) == 20
    assert bucket_of_number(number) == bucket_of(about) < BUCKETS


@given(st.uuids(), st.integers(0, 19), st.integers(1, 9))
def test_every_wrong_digit_is_noticed(about: UUID, place: int, by: int) -> None:
    number = order_no(about)
    digit = (int(number[place]) + by) % 10
    with pytest.raises(ValueError, match="check digit"):
        bucket_of_number(f"{number[:place]}{digit}{number[place + 1 :]}")


@given(st.uuids(), st.integers(0, 18))
def test_every_swap_of_neighbours_is_noticed(about: UUID, place: int) -> None:
    number = order_no(about)
    swapped = number[:place] + number[place + 1] + number[place] + number[place + 2 :]
    if swapped != number:
        with pytest.raises(ValueError, match="check digit"):
            bucket_of_number(swapped)


@pytest.mark.parametrize("number", ["", "123", "x" * 20, "٣" * 20, "1" * 21])
def test_what_is_no_number_is_refused(number: str) -> None:
    with pytest.raises(ValueError, match="20 digits"):
        bucket_of_number(number)


def test_consecutive_orders_show_no_sequence() -> None:
    """A competitor who orders twice a day must not learn how many orders lay between."""
    numbers = [int(order_no(order_id("meituan", str(1000 + n)))) for n in range(2_000)]
    assert len(set(numbers)) == len(numbers)
    rising = sum(one < two for one, two in pairwise(numbers))
    assert 900 < rising < 1_100
    gaps = Counter(abs(one - two) // 10**17 for one, two in pairwise(numbers))
    assert gaps.most_common(1)[0][1] < 100


def test_orders_and_stores_spread_over_the_buckets() -> None:
    buckets = Counter(bucket_of(order_id("meituan", str(n))) for n in range(20_480))
    assert len(buckets) == BUCKETS
    assert max(buckets.values()) < 60
    assert len({store_bucket(f"S{n:03}") for n in range(500)}) > 300


@given(st.uuids(), st.integers(0, 50), st.integers(0, 50))
def test_commands_deadlines_and_answers_have_ids_of_their_own(
    cause: UUID, one: int, other: int
) -> None:
    ids = {command_id(cause, one), answer_id(cause), deadline_id(cause, "StoreSilent", one)}
    assert len(ids) == 3
    assert (command_id(cause, one) == command_id(cause, other)) == (one == other)
