"""The queue table says of every job what is true: who asks, what it may answer, and how long."""

import re
import typing
from collections.abc import Iterator
from datetime import datetime
from types import UnionType
from typing import Any

import pytest

from consumers.queues import CONSUMERS, PULL, QUEUES, Kind, Queue
from dispatcher import messages
from dispatcher.messages import Command, DeadlineEvent, Event, Message
from dispatcher.workflows import ALL

EACH = pytest.mark.parametrize("row", QUEUES, ids=lambda row: row.name)
BY_RUNTIME = {"NeverBorn"}
"""Judged by the engine itself, whatever the workflow."""


def concrete(base: type[Message]) -> Iterator[type[Any]]:
    """The messages of a kind: those that no other message is a kind of."""
    for kind in base.__subclasses__():
        if kind.__module__ == messages.__name__:
            yield from concrete(kind) if kind.__subclasses__() else (kind,)


def answers_of(row: Queue) -> set[type[Any]]:
    """What the job says that it returns."""
    said = typing.get_type_hints(row.job)["return"]
    if typing.get_origin(said) is list:
        (said,) = typing.get_args(said)
    return set(typing.get_args(said)) if isinstance(said, UnionType) else {said}


def test_every_command_of_the_vocabulary_has_one_queue_and_is_sent_by_some_workflow() -> None:
    commands = sorted(kind.__name__ for kind in concrete(Command))
    sent = {c.__name__ for w in ALL for row in w.steps.values() for c in row.commands}
    assert sorted(row.command.__name__ for row in QUEUES) == commands
    assert sorted(sent) == commands


def test_every_event_of_the_vocabulary_is_awaited_by_some_workflow() -> None:
    awaited = {event for w in ALL for _, event in (*w.steps, *w.late)}
    assert {kind.__name__ for kind in concrete(Event)} - awaited == BY_RUNTIME


def test_every_deadline_of_the_vocabulary_is_armed_by_some_workflow() -> None:
    armed = {row.name for workflow in ALL for row in workflow.deadlines}
    assert {kind.__name__ for kind in concrete(DeadlineEvent)} - armed == BY_RUNTIME


def test_queues_are_named_noun_and_verb_and_no_two_alike() -> None:
    names = [row.name for row in QUEUES] + [PULL]
    assert len(set(names)) == len(names)
    assert [name for name in names if not re.fullmatch(r"[a-z]+\.[a-z]+", name)] == []
    assert set(CONSUMERS) == {name.partition(".")[0] for name in names}


@EACH
def test_a_job_answers_what_its_row_says(row: Queue) -> None:
    assert answers_of(row) == set(row.answers)


@EACH
def test_a_job_at_a_partner_may_run_out_of_time_and_one_of_our_own_may_not(row: Queue) -> None:
    out_of_time = (row.not_done is not None, row.unknown is not None)
    assert out_of_time == ((True, True) if row.kind is Kind.REMOTE else (False, False))


@EACH
def test_an_answer_that_time_is_up_can_be_given_without_knowing_more(row: Queue) -> None:
    for kind in (row.not_done, row.unknown):
        assert kind is None or isinstance(kind(), Event)


@EACH
def test_only_a_partner_tells_more_later(row: Queue) -> None:
    assert not row.later or row.kind is Kind.REMOTE


@EACH
def test_what_a_metric_counts_from_is_a_time_in_the_command(row: Queue) -> None:
    assert bool(row.metric) == bool(row.since)
    if row.since:
        assert row.command.model_fields[row.since].annotation is datetime


@EACH
def test_a_job_is_given_something_and_may_take_its_time(row: Queue) -> None:
    assert row.needs
    assert row.at_once >= 1
    assert 0 < row.patience.first_seconds <= row.patience.most_seconds
    assert row.patience.most_seconds <= row.patience.budget_seconds


@EACH
def test_stock_is_found_by_its_store(row: Queue) -> None:
    """LOCAL jobs are routed by the store's bucket."""
    assert row.kind is Kind.REMOTE or "store_id" in row.command.model_fields
