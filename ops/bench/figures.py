"""Numbers as people and scripts get them: percentiles, medians of repeated runs, a plain table."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import mean, median, quantiles
from typing import Any

Figures = dict[str, Any]
"""What a benchmark found, by name; what cannot be known here is None."""


def spread_ms(seconds: Sequence[float]) -> Figures:
    """Mean, median, 99th percentile and the longest of at least one duration, in milliseconds."""
    ranks = quantiles(seconds, n=100, method="inclusive") if len(seconds) > 1 else [*seconds] * 99
    found = {"mean": mean(seconds), "p50": ranks[49], "p99": ranks[98], "max": max(seconds)}
    return {f"{name}_ms": round(value * 1000, 2) for name, value in found.items()}


def hops_ms(names: Sequence[str], journeys: Sequence[Sequence[float]]) -> dict[str, Figures]:
    """The spread of each hop. A journey is one moment more than there are hops, in seconds; the
    hops' means add up to the mean of the whole.
    """
    return {
        name: spread_ms([moments[hop + 1] - moments[hop] for moments in journeys])
        for hop, name in enumerate(names)
    }


def medians(runs: Sequence[Figures]) -> Figures:
    """For each figure the median over the runs; of figures by group, those of each group."""
    return {name: _median([run[name] for run in runs]) for name in runs[0]}


def _median(values: Sequence[Any]) -> Any:
    if isinstance(values[0], Mapping):
        return medians(values)
    known = [value for value in values if value is not None]
    return round(median(known), 3) if known else None


def lines(figures: Figures, indent: str = "") -> Iterator[str]:
    """One figure a line, groups indented, for people."""
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield f"{indent}{name}"
            yield from lines(dict(value), indent + "  ")
        elif isinstance(value, list):
            yield f"{indent}{name}"
            for each in value:
                yield f"{indent}  {_text(each)}"
        else:
            yield f"{indent}{name:<{34 - len(indent)}}{_text(value)}"


def _text(value: Any) -> str:
    if value is None:
        return "not known here"
    if isinstance(value, Mapping):
        return "  ".join(map(_text, value.values()))
    return f"{value:,}" if isinstance(value, int | float) else str(value)
