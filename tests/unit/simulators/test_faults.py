"""Faults strike exactly when they were asked to."""

import random

import pytest

from ops.simulators.faults import Faults, FaultWish

KINDS = {"429", "slow"}


def faults(*wishes: FaultWish) -> Faults:
    armed = Faults(random.Random(7))
    for wish in wishes:
        armed.arm(wish)
    return armed


def strikes(armed: Faults, path: str = "/x", times: int = 5) -> list[bool]:
    return [armed.draw(KINDS, path) is not None for _ in range(times)]


def test_a_counted_fault_strikes_the_next_calls_and_no_more() -> None:
    assert strikes(faults(FaultWish(kind="429", next=2))) == [True, True, False, False, False]


def test_a_fault_with_a_path_strikes_only_there() -> None:
    armed = faults(FaultWish(kind="429", next=1, path="order/confirm"))
    assert not any(strikes(armed, "/api/v1/order/cancel"))
    assert strikes(armed, "/api/v1/order/confirm")[0]


def test_a_rate_strikes_about_that_share() -> None:
    armed = faults(FaultWish(kind="slow", rate=0.3))
    struck = sum(strikes(armed, times=1000))
    assert 250 < struck < 350
    assert armed.fired["slow"] == struck


def test_a_fault_of_another_kind_waits_for_its_occasion() -> None:
    armed = faults(FaultWish(kind="duplicate", next=1))
    assert not any(strikes(armed))
    assert armed.draw({"duplicate"}) is not None


def test_neither_rate_nor_count_clears_that_kind() -> None:
    armed = faults(FaultWish(kind="429", rate=1.0), FaultWish(kind="slow", rate=1.0))
    armed.arm(FaultWish(kind="429"))
    fault = armed.draw(KINDS)
    assert fault is not None
    assert fault.kind == "slow"


@pytest.mark.parametrize("rate", [-0.1, 1.5])
def test_a_rate_outside_nought_to_one_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="rate"):
        FaultWish(kind="429", rate=rate)
