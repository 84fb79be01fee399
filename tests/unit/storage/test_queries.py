"""Statements in files: found by name, parameters numbered, everything else left as it was."""

import re
from importlib.resources import files

import pytest

from storage.queries import load, read


def only(text: str) -> tuple[str, tuple[str, ...]]:
    (statement,) = read(f"-- name: it\n{text}", "test.sql").values()
    return statement.sql.removeprefix("-- name: it\n"), statement.parameters


def test_parameters_are_numbered_in_the_order_of_their_first_use() -> None:
    assert only("SELECT :b, :a, :b;") == ("SELECT $1, $2, $1", ("b", "a"))


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 'at 12:30 :no'",
        "SELECT E'it\\'s :no'",
        "SELECT 'it''s :no'",
        'SELECT ":no"',
        "SELECT $$:no$$",
        "SELECT $x$ $$ :no $x$",
        "SELECT 1 -- :no",
        "SELECT /* :no\n:no */ 1",
        "SELECT x::jsonb",
        "SELECT a[1:n]",
    ],
)
def test_what_only_looks_like_a_parameter_is_left_alone(text: str) -> None:
    assert only(text) == (text, ())


def test_a_parameter_may_be_cast_to_an_array() -> None:
    sql, parameters = only("SELECT * FROM unnest(:ids::uuid[], :states :: text[])")
    assert sql == "SELECT * FROM unnest($1::uuid[], $2 :: text[])"
    assert parameters == ("ids", "states")


def test_the_name_and_the_reason_stay_in_what_the_server_sees() -> None:
    text = "-- name: find_it\n-- Because: it was lost.\nSELECT :x;\n"
    assert read(text, "t.sql")["find_it"].sql == (
        "-- name: find_it\n-- Because: it was lost.\nSELECT $1"
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("-- name: a\nSELECT 1;\n-- name: a\nSELECT 2;", "a stands there twice"),
        ("SELECT 1;\n-- name: a\nSELECT 2;", "before the first"),
        ("SELECT 1;", "before the first"),
        ("-- name: a\n-- nothing\n", "a has no statement"),
    ],
)
def test_a_file_in_disorder_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        read(text, "test.sql")


def test_a_file_may_open_with_a_comment() -> None:
    assert list(read("-- All about orders.\n\n-- name: a\nSELECT 1;", "t.sql")) == ["a"]


def test_all_our_files_can_be_read_and_every_block_is_one_statement() -> None:
    names = [f.name for f in (files("storage") / "sql").iterdir() if f.name.endswith(".sql")]
    statements = [s for name in names for s in load(name.removesuffix(".sql")).values()]
    assert statements
    assert [s.name for s in statements if ";" in re.sub(r"--.*", "", s.sql)] == []
