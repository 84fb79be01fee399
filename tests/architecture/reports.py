"""Reads from the source what the pipeline reports to its observer."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from consumers.queues import QUEUES

ROOT = Path(__file__).parents[2]
PACKAGES = ("dispatcher", "consumers", "producers", "storage", "ops")
METHODS = ("count", "time", "level", "note")


class Report(NamedTuple):
    """One call of an observer. A note has facts for labels, and no name."""

    place: str
    method: str
    names: frozenset[str]
    labels: frozenset[str]


def reports() -> list[Report]:
    """All of them. Raises ValueError for one whose name or labels cannot be read."""
    sources = (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))
    return [report for path in sources for report in _of(path)]


def _of(path: Path) -> Iterator[Report]:
    tree = ast.parse(path.read_text("utf-8"))
    for call in _calls(tree):
        if not _is_report(call):
            continue
        place = f"{path.relative_to(ROOT)}:{call.lineno}"
        assert isinstance(call.func, ast.Attribute)
        labels = frozenset(keyword.arg or "**" for keyword in call.keywords)
        if "**" in labels or not call.args:
            raise ValueError(f"{place}: write each label by its name")
        method = call.func.attr
        names = frozenset() if method == "note" else _names(call.args[0], tree)
        if not names and method != "note":
            raise ValueError(f"{place}: nobody can tell which metric this is")
        yield Report(place, method, names, labels)


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _is_report(call: ast.Call) -> bool:
    if not isinstance(call.func, ast.Attribute) or call.func.attr not in METHODS:
        return False
    return ast.unparse(call.func.value).endswith("observer")


def _names(name: ast.expr, tree: ast.Module) -> frozenset[str]:
    """A literal, a row's `metric`, or the literals that the enclosing function is called with."""
    match name:
        case ast.Constant(value=str(literal)):
            return frozenset({literal})
        case ast.Attribute(attr="metric"):
            return frozenset(row.metric for row in QUEUES if row.metric)
        case ast.Name(id=parameter):
            return frozenset(_passed(parameter, name, tree))
    return frozenset()


def _passed(parameter: str, use: ast.Name, tree: ast.Module) -> Iterator[str]:
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    around = next(function for function in functions if use in ast.walk(function))
    order = [argument.arg for argument in around.args.args if argument.arg != "self"]
    for call in _calls(tree):
        if ast.unparse(call.func).split(".")[-1] == around.name:
            passed = call.args[order.index(parameter)]
            if isinstance(passed, ast.Constant) and isinstance(passed.value, str):
                yield passed.value
