"""Takes personal data and secrets out of whatever is about to be written to a log.

Facts are masked by their key; texts also by what stands in them, as errors of the database echo
rows and those of pydantic echo input. Our own ids (UUIDs, order numbers, trace ids, unix times)
stay readable.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from math import isfinite
from typing import Any, NamedTuple
from uuid import UUID

MASK = "***"
DEEPEST = 6

_PERSON = r"""(?: phone | mobile | telephone | e-?mail | address | addr (?![a-z]) | recipient
    | customer | remark | (?: buyer | user | contact | caller | full | first | last | nick )_?name
    | (?<! [a-z0-9_-] ) (?: name | tel ) (?! [a-z] ) )"""
_SECRET = r"""(?: secret | signature | passw(?:or)?d | passphrase | token | authorization
    | credential | cookie | api_?key | private_?key | (?<! [a-z] ) (?: sig | sign ) (?! [a-z] ) )"""

# A text that was cut off may end inside of its quotes.
_QUOTED = r"""(?: " (?: [^"\\] | \\. )* (?: " | \Z ) | ' (?: [^'\\] | \\. )* (?: ' | \Z )
    | \\+" .*? (?: \\+" | \Z ) | \\+' .*? (?: \\+' | \Z ) )"""
_WORD = r"""[^\s,;&(){}\[\]"'=\\]+"""
_WORDS = rf"{_WORD} (?: \  (?! [\w-]+ \s* [:=] ) {_WORD} )*"
_IS = r"""[\w-]* \\* ["']? \s* [:=] \s*"""

_START, _END = r"(?<! [0-9A-Za-z] ) (?<! \d\. )", r"(?: [_转] \d{1,6} )? (?! [0-9A-Za-z] )"
_PHONE = rf"""
    (?<! [0-9A-Za-z] ) \+ \d (?: [\d\ ()-]{{6,18}} \d | \d{{0,2}} (?: \.\d{{2,4}} ){{2,4}} ) {_END}
    | {_START} (?:
        # Chinese mobile numbers, and lines with an area code
        (?: (?:00)? 86 [ -]? )? 1[3-9]\d [ -]? \d{{4}} [ -]? \d{{4}}
        | 0\d{{2,3}} [ -] \d{{7,8}}
        # Brazilian ones: mobile numbers begin with 9, after two digits for the area
        | (?: 55 [ -]? )? (?: [1-9]{{2}} [ -]? )? 9\d{{4}} - \d{{4}}
        | (?: 55 [ -]? )? [1-9]{{2}} [ -]? 9\d{{4}} [ ]? \d{{4}}
        | [1-9]{{2}} [ -] \d{{4}} - \d{{4}}
    ) {_END}
    | \( [1-9]{{2}} \) [ ]? 9?\d{{4}} [ -]? \d{{4}} {_END}"""
"""Any of them may have the extension of a privacy number behind it."""

_FLAGS = re.VERBOSE | re.IGNORECASE | re.DOTALL
# Platforms write digits as they please.
_HALF_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}


class _Rule(NamedTuple):
    """`hints`: a text without any of these is not worth trying."""

    hints: tuple[str, ...]
    pattern: re.Pattern[str]
    replacement: str


def _rule(hints: tuple[str, ...], pattern: str, replacement: str = MASK) -> _Rule:
    return _Rule(hints, re.compile(pattern, _FLAGS), replacement)


_RULES = (
    _rule(("://",), r"(:// [^\s:/@]* :) [^\s/]* @", rf"\1{MASK}@"),
    _rule(("whsec_",), r"whsec_ [\w+/=-]+"),
    _rule(("v1,",), r"\b v1, [a-z0-9+/]{20,} =*"),
    _rule(("earer ", "EARER "), r"\b (bearer\s+) [\w.~+/=-]{8,}", rf"\1{MASK}"),
    # PostgreSQL's details: a whole row, or the values of a key of which a column is personal.
    _rule(
        ("ow contains",),
        r"(row\ contains\ \() (?: .*? \) (?= \.? \s* (?: \n | \Z ) ) | .* )",
        rf"\1{MASK})",
    ),
    _rule(
        (")=(",),
        rf"""(\( [^()]* (?: {_PERSON} | {_SECRET} ) [^()]* \)=\()
        (?: .*? \) (?= \ (?: already | is | conflicts ) | \.? \s* (?: \n | \Z ) ) | .* )""",
        rf"\1{MASK})",
    ),
    _rule(("input_value=",), r"(input_value=) .*? (,\ input_type= | \Z)", rf"\1{MASK}\2"),
    _rule(
        ("=", ":"),
        rf"({_SECRET} {_IS}) (?: {_QUOTED} | (?: basic | bearer ) \s+ \S+ | {_WORD} =* )",
        rf"\1{MASK}",
    ),
    _rule(("=", ":"), rf"({_PERSON} {_IS}) (?: {_QUOTED} | {_WORDS} )", rf"\1{MASK}"),
    _rule(("@",), r"(?<! [\w.+-] ) [\w.+-]+ @ [\w-]+ (?: \. [\w-]+ )+"),
)  # fmt: skip
# Most texts are words and ids: one look tells that there is nothing in them.
_SUSPICIOUS = re.compile(
    r"[=:@\uFF00-\uFF5E]|whsec_|v1,|earer |EARER |ow contains|[\d(][\d ().-]{7}|\+\d"
)
_PHONES = re.compile(_PHONE, _FLAGS)
_KEYS = re.compile(rf"{_PERSON} | {_SECRET}", _FLAGS)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def mask(text: str) -> str:
    """The text without personal data and secrets."""
    if not _SUSPICIOUS.search(text):
        return text
    if not text.isascii():
        text = text.translate(_HALF_WIDTH)
    for hints, pattern, replacement in _RULES:
        if any(hint in text for hint in hints):
            text = pattern.sub(replacement, text)
    return _PHONES.sub(MASK, text)


@lru_cache(maxsize=1024)
def is_sensitive(key: str) -> bool:
    """Whether a fact of this name is not for the log, whatever its value."""
    return _KEYS.search(_CAMEL.sub("_", key)) is not None


def masked(value: Any, depth: int = 0) -> Any:
    """What JSON can say of this value, without personal data and secrets."""
    write = _BY_TYPE.get(type(value))
    if write is not None:
        return write(value)
    if depth < DEEPEST:
        if isinstance(value, Mapping):
            return {mask(str(key)): of(str(key), one, depth + 1) for key, one in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [masked(one, depth + 1) for one in value]
    return mask(str(value))


def of(key: str, value: Any, depth: int = 0) -> Any:
    """What may be written for this fact."""
    if value and is_sensitive(key):
        return MASK
    return masked(value, depth)


def _itself(value: Any) -> Any:
    return value


def _number(value: int) -> int | str:
    return MASK if value >= 10**10 and _PHONES.fullmatch(str(value)) else value


_BY_TYPE: dict[type, Callable[[Any], Any]] = {
    str: mask,
    int: _number,
    bool: _itself,
    type(None): _itself,
    float: lambda number: number if isfinite(number) else str(number),
    UUID: str,
    datetime: datetime.isoformat,
    bytes: lambda content: mask(content.decode("utf-8", "replace")),
}
