"""Reads what an expression asks of Prometheus: enough of PromQL for our dashboards and rules."""

import re
from typing import NamedTuple

_WORDS = frozenset({"and", "or", "unless", "bool", "offset", "time"})
_GROUPING = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\(([^()]*)\)")
_SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\s*\{([^{}]*)\}")
_MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"')
_DURATION = re.compile(r"\[[^\[\]]*\]|\boffset\s+\S+")
_NAME = re.compile(r"(?<![\w$])([a-zA-Z_:][\w:]*)(?!\w|\s*\()")


class Matcher(NamedTuple):
    sample: str
    label: str
    value: str


class Asked(NamedTuple):
    """The samples an expression reads, the labels it groups by, and what it selects."""

    samples: frozenset[str]
    labels: frozenset[str]
    matchers: tuple[Matcher, ...]


def asked(expression: str) -> Asked:
    labels = {
        label.strip()
        for _, listed in _GROUPING.findall(expression)
        for label in listed.split(",")
        if label.strip()
    }
    rest = _DURATION.sub("", _GROUPING.sub(" ", expression))
    matchers = [
        Matcher(sample, label, value)
        for sample, inside in _SELECTOR.findall(rest)
        for label, value in _MATCHER.findall(inside)
    ]
    plain = _SELECTOR.sub(r"\1", rest)
    samples = {name for name in _NAME.findall(plain) if name not in _WORDS}
    return Asked(frozenset(samples), frozenset(labels), tuple(matchers))
