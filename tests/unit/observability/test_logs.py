"""One JSON object per line, ours and those of libraries; nothing personal in it."""

import json
import logging
import re
import sys
import warnings
from datetime import UTC, datetime
from io import BytesIO
from uuid import UUID

import pytest
import structlog

from ops.observability.logs import Libraries
from ops.observability.metrics import PrometheusObserver
from tests.unit.observability.conftest import Log

ORDER = UUID("8d0f2c9e-5b1a-8c3d-a4e7-0c9f1b2d3e4f")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CANARIES = ("13987654321", "Zhang Sanfeng", "7 Hidden Lane", "whsec_Y2FuYXJ5", "hunter2")


class RowRefused(Exception):
    """An error that quotes what it was given, as those of databases and validators do."""


def refuse() -> None:
    phone, name, address, secret, password = CANARIES
    raise RowRefused(
        f"DETAIL:  Key (bucket, phone)=(12, {phone}) already exists.\n"
        f"recipient=Recipient(name='{name}', phone='{phone}', address='{address}')\n"
        f'{{"customer": {{"name": "{name}", "address": "{address}"}}}}\n'
        f"signed with {secret} at postgresql://system2:{password}@db.example.com/system2"
    )


def test_a_note_is_one_line_that_says_when_what_and_about_which_order(log: Log) -> None:
    PrometheusObserver().note(
        "TicketTaken", queue="pos.push", order_id=ORDER, trace=f"00-{TRACE}-00f067aa0ba902b7-01"
    )
    (line,) = log.lines
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line.pop("timestamp"))
    assert line == {
        "level": "info",
        "event": "TicketTaken",
        "service": "pos",
        "queue": "pos.push",
        "order_id": str(ORDER),
        "trace_id": TRACE,
    }
    assert log.text.startswith('{"timestamp":')


def test_facts_of_any_kind_are_printed(log: Log) -> None:
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    PrometheusObserver().note(
        "odd", at=moment, body=b"\xff\x00", held=float("inf"), text="\ud800", some={2: {ORDER}}
    )
    (line,) = log.lines
    assert line["at"] == "2026-03-01T00:00:00+00:00"
    assert line["body"] == "\N{REPLACEMENT CHARACTER}\0"
    assert line["held"] == "inf"
    assert line["text"] == "\ud800"
    assert line["some"] == {"2": [str(ORDER)]}


def test_a_structure_that_holds_itself_is_printed(log: Log) -> None:
    endless: dict[str, object] = {}
    endless["again"] = endless
    PrometheusObserver().note("odd", what=endless)
    assert len(log.lines) == 1


def test_the_personal_and_the_secret_is_gone_from_exception_texts(log: Log) -> None:
    try:
        refuse()
    except RowRefused:
        structlog.get_logger().exception("refused", account="mt-main")
    (line,) = log.lines
    assert "RowRefused" in line["exception"]
    assert "postgresql://system2:***@db.example.com/system2" in line["exception"]
    assert [canary for canary in CANARIES if canary in log.text] == []


def test_a_library_s_line_takes_the_same_way(log: Log) -> None:
    try:
        refuse()
    except RowRefused:
        logging.getLogger("asyncio").exception("task %s failed", "13987654321")
    (line,) = log.lines
    assert (line["logger"], line["level"], line["event"]) == ("asyncio", "error", "task *** failed")
    assert [canary for canary in CANARIES if canary in log.text] == []


def test_a_library_s_broken_line_is_printed_as_it_is(log: Log) -> None:
    Libraries().emit(
        logging.LogRecord("aiormq", logging.WARNING, "", 0, "%d frames", ("many",), None)
    )
    assert log.lines[0]["event"] == "%d frames"


def test_a_warning_is_a_line(log: Log) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert log.lines[0]["logger"] == "py.warnings"


def test_the_last_words_of_a_process_are_masked_too(log: Log) -> None:
    try:
        refuse()
    except RowRefused:
        kind, error, traceback = sys.exc_info()
        assert kind and error
        sys.excepthook(kind, error, traceback)
    assert log.lines[0]["level"] == "critical"
    assert [canary for canary in CANARIES if canary in log.text] == []


def test_libraries_are_heard_from_warning_on(log: Log) -> None:
    logging.getLogger("aiohttp.access").info("GET /metrics")
    assert log.text == ""


def test_above_info_a_note_is_silent_unless_it_says_how_grave_it_is(log: Log) -> None:
    log.configure(level="error")
    observer = PrometheusObserver()
    observer.note("TicketTaken", order_id=ORDER)
    observer.note("a loop ended by itself", level="error")
    assert [(line["level"], line["event"]) for line in log.lines] == [
        ("error", "a loop ended by itself")
    ]


def test_configuring_again_prints_each_line_once(log: Log) -> None:
    log.configure()
    logging.getLogger("asyncio").error("once")
    assert len(log.lines) == 1


def test_what_is_no_terminal_gets_json(log: Log) -> None:
    log.configure(format=None)
    structlog.get_logger().info("started")
    assert json.loads(log.text)["event"] == "started"


def test_a_terminal_gets_lines_for_people_masked_all_the_same(log: Log) -> None:
    class Terminal(BytesIO):
        def isatty(self) -> bool:
            return True

    log.out = Terminal()
    log.configure(format=None)
    structlog.get_logger().info("started", phone="13987654321")
    assert "started" in log.text
    assert "13987654321" not in log.text
    with pytest.raises(json.JSONDecodeError):
        json.loads(log.text)
