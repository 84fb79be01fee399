"""Statements kept as plain SQL in storage/sql/<table>.sql, each found by its name.

A block starts with `-- name: lock_instances`; a DBA can paste it into psql. Parameters are written
`:name` and become $1, $2, … in the order of their first use. The header stays in what is sent, so
that pg_stat_activity and the server's log name the statement too.
"""

import re
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import NamedTuple

_HEADER = re.compile(r"^-- name: *(\w+) *$", re.MULTILINE)
# What is no plain SQL: literals, quoted names, dollar quotes, comments.
OPAQUE = r"""
      [eE]'(?:[^'\\]|\\.|'')*'
    | '(?:[^']|'')*'
    | "(?:[^"]|"")*"
    | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$
    | --[^\n]*
    | /\*.*?\*/
"""
# A cast has two colons; a colon behind a word or a bracket is an array slice.
_TOKEN = re.compile(OPAQUE + r"| :: | (?<![\w\]]):(?P<parameter>[a-z_]\w*)", re.VERBOSE | re.DOTALL)
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)


# What lets a sharded database find the shards of a statement; see `without_pruning`.
_PRUNING = re.compile(r"\b\w+\.bucket = ANY\(\$\d+::smallint\[\]\)")
DISTINCT_BUCKETS = "distinct_buckets"


class Statement(NamedTuple):
    """One statement. `parameters` names its $1, $2, … in order."""

    name: str
    sql: str
    parameters: tuple[str, ...]


def load(table: str) -> dict[str, Statement]:
    """The statements of storage/sql/<table>.sql by name."""
    source = files("storage") / "sql" / f"{table}.sql"
    return read(source.read_text("utf-8"), source.name)


def read(text: str, source: str) -> dict[str, Statement]:
    """The statements in a text by name. Raises ValueError for what is no block or stands twice."""
    headers = list(_HEADER.finditer(text))
    starts = [header.start() for header in headers]
    if without_comments(text[: starts[0] if starts else None]):
        raise ValueError(f"{source}: a statement stands before the first `-- name:`")
    found: dict[str, Statement] = {}
    for header, (start, end) in zip(headers, pairwise([*starts, len(text)]), strict=True):
        name = header[1]
        if name in found:
            raise ValueError(f"{source}: {name} stands there twice")
        if not without_comments(text[start:end]):
            raise ValueError(f"{source}: {name} has no statement")
        found[name] = _statement(name, text[start:end])
    return found


def _statement(name: str, block: str) -> Statement:
    numbers: dict[str, int] = {}

    def numbered(token: re.Match[str]) -> str:
        parameter = token["parameter"]
        if parameter is None:
            return token[0]
        return f"${numbers.setdefault(parameter, len(numbers) + 1)}"

    sql = _TOKEN.sub(numbered, block).rstrip().removesuffix(";").rstrip()
    return Statement(name, sql, tuple(numbers))


def without_comments(text: str) -> str:
    """What is left of a text that is comments, or starts with them."""
    return _COMMENT.sub("", text).strip()


@cache
def without_pruning(statement: Statement) -> Statement:
    """The same for a database that is not sharded. There the list of buckets prunes nothing, and
    costs: the index sorts it anew for every key (3 ms a statement for batches of 300).
    """
    if DISTINCT_BUCKETS not in statement.parameters:
        return statement
    place = statement.parameters.index(DISTINCT_BUCKETS) + 1
    sql = _PRUNING.sub("true", statement.sql)
    if place != len(statement.parameters):
        sql = re.sub(r"\$(\d+)", lambda n: f"${int(n[1]) - (int(n[1]) > place)}", sql)
    rest = tuple(name for name in statement.parameters if name != DISTINCT_BUCKETS)
    return Statement(statement.name, sql, rest)
