"""Poison in a message does not stop its quarantine."""

import json as standard
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from storage import storable


@given(st.text(st.characters()))
def test_any_text_becomes_one_that_postgresql_keeps(value: str) -> None:
    kept = storable.text(value)
    assert "\0" not in kept
    assert kept.encode("utf-8").decode("utf-8") == kept


def test_sound_text_stays_as_it_is() -> None:
    assert storable.text("面 🍜 soup") == "面 🍜 soup"


def test_headers_of_any_kind_become_json() -> None:
    headers = {
        "count": 3,
        "wrong": float("nan"),
        "raw": b"\xff\x00",
        "when": datetime(2026, 1, 2, tzinfo=UTC),
        "nested": {1: ["a\0b", None, True]},
    }
    kept = storable.json(headers)
    assert standard.loads(standard.dumps(kept, allow_nan=False)) == {
        "count": 3,
        "wrong": "nan",
        "raw": "\ufffd\ufffd",
        "when": "2026-01-02 00:00:00+00:00",
        "nested": {"1": ["a\ufffdb", None, True]},
    }
