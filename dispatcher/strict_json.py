"""One strict loader for every JSON text that comes from outside.

What it returns is plain (dict, list, str, int, Decimal, bool, None) and safe to store; whatever is
not is refused with a sentence that says why, and never with anything but `BadJson`.
"""

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any, Never

MAX_BYTES = 1 << 20
MAX_DEPTH = 64

_LONGEST_NUMBER = 40
_LARGEST_EXPONENT = 30
_LARGEST_INT = 2**63 - 1
_OUT_OF_RANGE = f"a number is beyond 1e{_LARGEST_EXPONENT} or finer than 1e-{_LARGEST_EXPONENT}"
# A whole string counts as one token, so that brackets inside strings do not. The last quote is
# optional: an unterminated string must not make the search start again inside it.
_STRING_OR_BRACKET = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)
_SUSPICIOUS_ESCAPE = re.compile(r"\\u(?:0000|[dD][89abAB])")


class BadJson(ValueError):
    """The text is not JSON, or it holds something that we would not store."""


def loads(text: bytes | str, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> Any:
    """The document in `text`, numbers with a point or an exponent as Decimal.

    Refused: more than `max_bytes` or `max_depth`, NaN and Infinity, numbers that are too large or
    too long, duplicate keys, NUL characters and lone surrogates. Raises BadJson.
    """
    decoded = _decoded(text, max_bytes)
    _check_depth(decoded, max_depth)
    try:
        document = _DECODER.decode(decoded)
    except json.JSONDecodeError as error:
        raise BadJson(f"not JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise BadJson("nested too deeply") from None
    if _SUSPICIOUS_ESCAPE.search(decoded):
        _check_strings(document)
    return document


def _decoded(text: bytes | str, max_bytes: int) -> str:
    try:
        raw = text.encode() if isinstance(text, str) else text
        if len(raw) > max_bytes:
            raise BadJson(f"{len(raw)} bytes long; at most {max_bytes} are read")
        return raw.decode()
    except UnicodeError:
        raise BadJson("not UTF-8") from None


def _check_depth(text: str, max_depth: int) -> None:
    if text.count("[") + text.count("{") <= max_depth:
        return
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        first = text[match.start()]
        if first in "[{":
            depth += 1
            if depth > max_depth:
                raise BadJson(f"nested more than {max_depth} levels deep")
        elif first in "]}":
            depth -= 1


def _check_strings(document: Any) -> None:
    if isinstance(document, str):
        _check_string(document)
    elif isinstance(document, list):
        for element in document:
            _check_strings(element)
    elif isinstance(document, dict):
        for key, value in document.items():
            _check_string(key)
            _check_strings(value)


def _check_string(text: str) -> None:
    if "\0" in text:
        raise BadJson("a string holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadJson("a string holds half of a surrogate pair") from None


def _integer(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER or abs(int(digits)) > _LARGEST_INT:
        raise BadJson("a whole number is larger than 64 bits hold")
    return int(digits)


def _decimal(digits: str) -> Decimal:
    if len(digits) > _LONGEST_NUMBER:
        raise BadJson(f"a number is longer than {_LONGEST_NUMBER} characters")
    try:
        number = Decimal(digits)
    except InvalidOperation:
        raise BadJson(_OUT_OF_RANGE) from None
    if abs(number.adjusted()) > _LARGEST_EXPONENT:
        raise BadJson(_OUT_OF_RANGE)
    return number


def _no_constant(name: str) -> Never:
    raise BadJson(f"{name} is no number in JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise BadJson("an object names the same key twice")
    return document


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_float=_decimal,
    parse_int=_integer,
    parse_constant=_no_constant,
)
