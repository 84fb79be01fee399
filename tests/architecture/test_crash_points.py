"""Every commit, publish, acknowledgement and partner call of the loops stands between two crash
points of one name, `….before` and `….after`: where we can be killed, a test can kill us.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
LOOPS = ("dispatcher", "consumers", "producers")
ELSEWHERE = (
    "dispatcher/rabbit/",  # publishes and acknowledges for the loops
    "dispatcher/crashpoints.py",
    "consumers/stock.py",  # works inside the transaction of a LOCAL consumer
    "producers/ingress/door.py",  # the journal that it wraps is called by the entrance
    "producers/platforms/opendelivery.py",  # calls through PartnerHttp
)
"""Below the loops: their callers have the points."""

EFFECTS = {
    "transaction": "a commit",
    "accept": "a commit",
    "published": "a commit",
    "put": "a commit",
    "move": "a commit",
    "seed": "a commit",
    "publish": "a publish",
    "ack": "an acknowledgement",
    "pull": "a partner call",
    "acknowledge": "a partner call",
    "_call": "a partner call",
    "_exchange": "a partner call",
}
"""Methods whose call cannot be taken back."""

OWN = {"desk", "_desk", "self"}
"""Receivers that pass their points by themselves, wherever they are called from."""


class Place(NamedTuple):
    """A `point(…)` in the code; what an f-string fills in matches anything."""

    file: str
    line: int
    name: str

    @property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(".+".join(map(re.escape, self.name.split("*"))))


class Step(NamedTuple):
    """In the order of the text: a point, or something that cannot be taken back."""

    line: int
    column: int
    point: str | None
    effect: str | None


def places() -> list[Place]:
    """Every point there is."""
    return [
        Place(file, step.line, step.point)
        for file in files()
        for function in functions((ROOT / file).read_text())
        for step in steps(function)
        if step.point is not None
    ]


def files() -> list[str]:
    found = [str(p.relative_to(ROOT)) for package in LOOPS for p in (ROOT / package).rglob("*.py")]
    return sorted(file for file in found if not file.startswith(ELSEWHERE))


Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(source: str) -> list[Function]:
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, Function)]


def steps(function: Function) -> list[Step]:
    """What the function does by itself; functions inside it are looked at by themselves."""
    return sorted(_steps(function.body))


def _steps(nodes: list[ast.stmt]) -> Iterator[Step]:
    waiting: list[ast.AST] = list(nodes)
    while waiting:
        node = waiting.pop()
        if isinstance(node, Function):
            continue
        if isinstance(node, ast.Call):
            yield from _step(node)
        if isinstance(node, ast.AsyncWith):
            yield from _commits(node)
            waiting += node.body
        else:
            waiting += ast.iter_child_nodes(node)


def _commits(block: ast.AsyncWith) -> Iterator[Step]:
    """A transaction commits where its block ends."""
    for item in block.items:
        call = item.context_expr
        if isinstance(call, ast.Call) and _called(call) == "transaction":
            yield Step(block.end_lineno or 0, 10_000, None, "a commit")


def _step(call: ast.Call) -> Iterator[Step]:
    if isinstance(call.func, ast.Name) and call.func.id == "point":
        yield Step(call.lineno, call.col_offset, _text(call.args[0]), None)
    elif _called(call) in EFFECTS and not _is_ours(call):
        yield Step(call.lineno, call.col_offset, None, EFFECTS[_called(call)])


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def _is_ours(call: ast.Call) -> bool:
    assert isinstance(call.func, ast.Attribute)
    receiver = call.func.value
    name = receiver.attr if isinstance(receiver, ast.Attribute) else getattr(receiver, "id", "")
    return name in OWN and call.func.attr not in ("_call", "_exchange")


def _text(name: ast.expr) -> str:
    if isinstance(name, ast.JoinedStr):
        parts = (str(p.value) if isinstance(p, ast.Constant) else "*" for p in name.values)
        return "".join(parts)
    assert isinstance(name, ast.Constant)
    return str(name.value)


def unguarded(file: str, source: str) -> Iterator[str]:
    """The effects that do not stand between the two points of one name."""
    for function in functions(source):
        before: str | None = None
        inside = steps(function)
        for position, step in enumerate(inside):
            if step.point is not None:
                before = step.point
                continue
            after = next((s.point for s in inside[position:] if s.point is not None), None)
            if not _are_pair(before, after):
                yield f"{file}:{step.line} {step.effect} in {function.name} between no two points"


def _are_pair(before: str | None, after: str | None) -> bool:
    return (
        before is not None
        and before.endswith(".before")
        and after == f"{before.removesuffix('.before')}.after"
    )


def test_every_effect_stands_between_two_points() -> None:
    found = [f for file in files() for f in unguarded(file, (ROOT / file).read_text())]
    assert found == []


def test_the_points_are_named_after_what_happens_and_when() -> None:
    assert len(places()) > 30
    assert [p for p in places() if not re.fullmatch(r"[a-z*.]+\.(before|after)", p.name)] == []


@pytest.mark.parametrize(
    "source",
    [
        "async def f(p):\n    await p.publish([])",
        "async def f(d):\n    point('a.ack.before')\n    await d.ack()",
        "async def f(d):\n    await d.ack()\n    point('a.ack.after')",
        "async def f(d):\n    point('a.ack.before')\n    await d.ack()\n    point('b.ack.after')",
        "async def f(s):\n    async with s.transaction() as t:\n        await t.write()",
        "async def f(s):\n    point('a.before')\n    async with s.transaction():\n"
        "        point('b.before')\n    point('a.after')",
    ],
)
def test_a_planted_effect_without_its_points_is_found(source: str) -> None:
    assert list(unguarded("planted.py", source))


@pytest.mark.parametrize(
    "source",
    [
        "async def f(d):\n    point('a.ack.before')\n    for one in d:\n        await one.ack()\n"
        "    point('a.ack.after')",
        "async def f(s):\n    async with s.transaction():\n        point(f'{s}.commit.before')\n"
        "    point(f'{s}.commit.after')",
    ],
)
def test_an_effect_between_its_points_is_fine(source: str) -> None:
    assert list(unguarded("planted.py", source)) == []
