"""A workflow as people and programs read it: rows, text, and a diagram for the README."""

import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from dispatcher.workflow import UNBORN, Settled, Step, Workflow

AT_WORK = "AT_WORK"


class NoMarkers(Exception):
    """The page has no place for the diagram."""


def as_rows(workflow: Workflow) -> list[dict[str, Any]]:
    """Per state: what leads where, what is sent, by when, and what no longer matters there."""
    return [_row(workflow, state) for state in in_order(workflow)]


def in_order(workflow: Workflow) -> list[str]:
    """The states as the table tells them: where something happens, then where it ends."""
    told = [row.state for row in workflow.rows if isinstance(row, Step | Settled)]
    return list(dict.fromkeys([*told, *workflow.states]))


def _row(workflow: Workflow, state: str) -> dict[str, Any]:
    return {
        "state": state,
        "closed": state in workflow.closed,
        "attended": state in workflow.attended,
        "steps": [
            {"on": s.event.__name__, "to": s.target, "send": [c.__name__ for c in s.commands]}
            for s in workflow.steps.values()
            if s.state == state
        ],
        "settles_to": workflow.settles.get(state),
        "deadlines": {
            d.name: d.after.total_seconds() for d in workflow.deadlines if state in d.states
        },
        "late": sorted(event for at, event in workflow.late if at == state),
    }


def as_text(workflow: Workflow) -> str:
    """The table state by state, for a terminal."""
    return "\n".join(line for row in as_rows(workflow) for line in _lines(row))


def _lines(row: dict[str, Any]) -> Iterator[str]:
    yield row["state"] + (" (closed)" if row["closed"] else "")
    for step in row["steps"]:
        yield f"  {step['on']:<16} {step['to']:<11} {', '.join(step['send'])}".rstrip()
    if row["settles_to"]:
        yield f"  {'(all answered)':<16} {row['settles_to']}"
    for name, seconds in row["deadlines"].items():
        yield f"  within {_span(seconds)}, else {name}"
    if row["attended"]:
        yield "  waits for an operator"
    if row["late"]:
        late = f"only recorded: {', '.join(row['late'])}"
        yield textwrap.fill(late, 96, initial_indent="  ", subsequent_indent="    ")
    yield ""


def as_diagram(workflow: Workflow) -> str:
    """A mermaid state diagram: the main path first, late rows left out. What can happen in most
    states alike is drawn once, around all of them.
    """
    shared = _shared(workflow)
    inside = {step.state for step in shared}
    lines = ["stateDiagram-v2"]
    edges = [(s, t, steps) for s, t, steps in _edges(workflow) if not set(steps) & set(shared)]
    lines += [_edge("[*]", *edge[1:]) for edge in edges if edge[0] == UNBORN]
    lines += _group(e for e in edges if e[0] in inside and e[1] in inside) if inside else []
    for source, target, steps in edges:
        if source != UNBORN and not {source, target} <= inside:
            lines.append(_edge(source, target, steps))
    if shared:
        lines.append(_edge(AT_WORK, shared[0].target, shared))
    lines += [f"    {s} --> {t} : all answered" for s, t in workflow.settles.items()]
    lines += [f"    {state} --> [*]" for state in workflow.states if state in workflow.closed]
    return "\n".join(lines)


def _group(edges: Iterable[tuple[str, str, list[Step]]]) -> list[str]:
    drawn = [f"    {_edge(*edge)}" for edge in edges]
    return [f'    state "at work" as {AT_WORK} {{', *drawn, "    }"]


def _shared(workflow: Workflow) -> list[Step]:
    """The steps of the event that leads from the most states, three at least, to one state."""
    alike: dict[tuple[str, str], list[Step]] = {}
    for step in workflow.steps.values():
        alike.setdefault((step.event.__name__, step.target), []).append(step)
    most = max(alike.values(), key=len)
    return most if len(most) >= 3 else []


def _edges(workflow: Workflow) -> list[tuple[str, str, list[Step]]]:
    """Steps between the same two states are one edge, in the order of the table."""
    edges: dict[tuple[str, str], list[Step]] = {}
    for step in workflow.steps.values():
        edges.setdefault((step.state, step.target), []).append(step)
    shared = _shared(workflow)
    for pair, steps in list(edges.items()):
        rest = [step for step in steps if step not in shared]
        if rest and len(rest) < len(steps):
            edges[pair] = rest
    return [(source, target, steps) for (source, target), steps in edges.items()]


def _edge(source: str, target: str, steps: list[Step]) -> str:
    """`event / commands`; a command in brackets follows from some of the events only."""
    events = " or ".join(dict.fromkeys(step.event.__name__ for step in steps))
    sent = dict.fromkeys(command for step in steps for command in step.commands)
    always = set.intersection(*(set(step.commands) for step in steps))
    names = [c.__name__ if c in always else f"({c.__name__})" for c in sent]
    label = f"{events} / {', '.join(names)}" if names else events
    return f"    {source} --> {target} : {label}"


def embed(page: str, workflow: Workflow) -> str:
    """The page with this workflow's diagram between its markers. Raises NoMarkers."""
    begin, end = f"<!-- diagram:{workflow.name} -->", "<!-- /diagram -->"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise NoMarkers(f"the page needs a line {begin} and after it a line {end}")
    return f"{before}{begin}\n```mermaid\n{as_diagram(workflow)}\n```\n{end}{after}"


def _span(seconds: float) -> str:
    minutes = seconds / 60
    return f"{minutes / 60:g} h" if minutes >= 60 else f"{minutes:g} min"
