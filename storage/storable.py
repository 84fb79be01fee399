"""What PostgreSQL cannot keep, made harmless: no NUL and no half of a surrogate pair gets into
text or jsonb. Notes about a poisonous message must not be refused because of its poison.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

_INSTEAD = "\N{REPLACEMENT CHARACTER}"


def text(value: str) -> str:
    """The same text, what cannot be stored replaced."""
    whole = value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return whole.replace("\0", _INSTEAD)


def json(value: Any) -> Any:
    """The same value in terms of JSON; what JSON does not know becomes its text."""
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case str():
            return text(value)
        case bytes() | bytearray():
            return text(value.decode("utf-8", "replace"))
        case Mapping():
            return {text(str(key)): json(item) for key, item in value.items()}
        case Sequence():
            return [json(item) for item in value]
        case _:
            return text(str(value))
