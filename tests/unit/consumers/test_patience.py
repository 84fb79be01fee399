"""How long a command is tried, and how long it waits between two attempts."""

from datetime import timedelta

import pytest

from consumers.patience import Patience
from consumers.queues import QUEUES
from dispatcher.messages import CancelTicket
from tests.builders import NOON, a_command, an_order

PATIENCE = Patience(first_seconds=1, most_seconds=60, budget_seconds=600)
COMMAND = CancelTicket(order_id=an_order().order_id, store_id="S001", reason="why not")


@pytest.mark.parametrize(
    ("attempt", "most"), [(0, 1), (1, 2), (3, 8), (6, 60), (50, 60), (10**30, 60)]
)
def test_waits_grow_up_to_a_most_with_full_jitter(attempt: int, most: float) -> None:
    shortest, longest = (PATIENCE.wait(attempt, draw=draw) for draw in (0, 1))
    assert (shortest, longest) == (timedelta(seconds=1), timedelta(seconds=most))


@pytest.mark.parametrize(
    ("told", "seconds"), [(None, 1), (0, 1), (30, 30), (1e9, 600), (1e300, 600)]
)
def test_a_partners_own_word_is_the_least_within_reason(told: float | None, seconds: int) -> None:
    assert PATIENCE.wait(0, told, draw=0) == timedelta(seconds=seconds)


def test_a_command_is_tried_until_it_expires_or_its_budget_is_spent() -> None:
    soon = NOON + timedelta(seconds=100)
    assert PATIENCE.until(a_command(COMMAND, expires=soon)) == soon
    assert PATIENCE.until(a_command(COMMAND)) == NOON + timedelta(seconds=600)
    never = NOON + timedelta(days=1)
    assert PATIENCE.until(a_command(COMMAND, expires=never)) == NOON + timedelta(seconds=600)


def test_every_remote_job_says_what_it_answers_when_its_time_is_up() -> None:
    remote = [row for row in QUEUES if row.kind == "remote"]
    assert remote
    assert all(row.not_done and row.unknown for row in remote)
