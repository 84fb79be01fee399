"""The strict loader: what it takes, what it refuses, and that nothing else ever escapes it."""

import json
import time
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.strict_json import BadJson, loads


def test_numbers_with_a_point_are_exact() -> None:
    assert loads('{"yuan": 28.10, "fen": 2810}') == {"yuan": Decimal("28.10"), "fen": 2810}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("NaN", "NaN"),
        ("[-Infinity]", "Infinity"),
        ("1e400", "beyond"),
        ("1e999999999999999999999", "beyond"),
        ("1e-400", "finer"),
        ("1" * 5000, "64 bits"),
        ("9223372036854775808", "64 bits"),
        ("0." + "1" * 60, "longer"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "twice"),
        ('"\\u0000"', "NUL"),
        ('{"\\u0000": 1}', "NUL"),
        ('["\\ud800"]', "surrogate"),
        ('"\ud800"', "UTF-8"),
        (b"\xff", "UTF-8"),
        (b'{"a": "\x00"}', "control character"),
        ("[" * 100_000, "levels deep"),
        ('{"a":' * 65 + "1" + "}" * 65, "levels deep"),
        ('"' + '\\"' * 300_000, "not JSON"),
        ("[1", "not JSON"),
        ("", "not JSON"),
        ("\ufeff1", "not JSON"),
        ("[]" + " " * (1 << 20), "bytes long"),
    ],
)
def test_what_we_would_not_store_is_refused_with_a_reason(text: str | bytes, why: str) -> None:
    with pytest.raises(BadJson, match=why):
        loads(text)


@pytest.mark.parametrize(
    ("text", "document"),
    [
        ('"\\ud83d\\ude00"', "\U0001f600"),
        ('"\\\\u0000 \\\\ud800"', "\\u0000 \\ud800"),
        ('"[[[{{{"', "[[[{{{"),
        ('{"a":' * 64 + "1" + "}" * 64, None),
        ('["' + "[" * 1000 + '\\"]]]"]', ["[" * 1000 + '"]]]']),
    ],
)
def test_what_only_looks_dangerous_is_taken(text: str, document: object) -> None:
    loaded = loads(text)
    assert document is None or loaded == document


@given(st.text())
def test_no_text_makes_it_raise_anything_else(text: str) -> None:
    with suppress(BadJson):
        loads(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.text('ab"\\[{é'),
        lambda inner: st.lists(inner) | st.dictionaries(st.text("xyz"), inner),
        max_leaves=20,
    )
)
def test_every_plain_document_comes_back(document: object) -> None:
    assert loads(json.dumps(document)) == document


def test_a_page_of_300_kilobytes_takes_no_time_to_speak_of() -> None:
    row = {"eventId": "x" * 36, "price": 1.25, "nested": {"list": [1, 2, {"text": 'a "[" b'}]}}
    page = json.dumps([row] * 3000)
    assert len(page) > 300_000
    started = time.perf_counter()
    loads(page)
    assert time.perf_counter() - started < 0.5
