"""Reading single values out of foreign documents, where a number may come as a text.

What cannot be read is None (or ""), never an exception: the reader of the whole decides.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

# ISO 4217: currencies whose minor unit is not a hundredth.
_MINOR_DIGITS = dict.fromkeys(
    ("CLP", "ISK", "JPY", "KRW", "PYG", "UGX", "VND", "XAF", "XOF", "XPF"), 0
) | dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3)
_LARGEST_MINOR = 10**12
_PLAIN_NUMBER = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,20})?")
_EARLIEST, _LATEST = 946_684_800, 4_102_444_800  # the years 2000 and 2100


def minor_digits(currency: str) -> int:
    return _MINOR_DIGITS.get(currency, 2)


def minor(value: Any, digits: int = 2) -> int | None:
    """An amount in major units (yuan, reais) as minor units, rounded half up."""
    number = _number(value)
    if number is None or abs(number) > _LARGEST_MINOR:
        return None
    amount = int((number * 10**digits).to_integral_value(ROUND_HALF_UP))
    return amount if abs(amount) <= _LARGEST_MINOR else None


def whole(value: Any) -> int | None:
    """A whole number, also one written as `2.0` or `"2"`."""
    number = _number(value)
    if number is None or number != number.to_integral_value():
        return None
    return int(number)


def text(value: Any, longest: int = 200) -> str:
    """A text without surrounding blanks, cut where it is too long."""
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return ""
    stripped = value.strip()
    return stripped if len(stripped) <= longest else stripped[: longest - 1] + "…"


def moment(value: Any) -> datetime | None:
    """A time given in Unix seconds."""
    seconds = whole(value)
    if seconds is None or not _EARLIEST <= seconds <= _LATEST:
        return None
    return datetime.fromtimestamp(seconds, UTC)


def iso_moment(value: Any) -> datetime | None:
    """A time given after ISO 8601; without an offset it is UTC."""
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        read = datetime.fromisoformat(value)
    except ValueError:
        return None
    aware = read if read.tzinfo else read.replace(tzinfo=UTC)
    return aware.astimezone(UTC) if 2000 <= aware.year < 2100 else None


def part(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The object under this name, empty when there is none."""
    found = document.get(name)
    return found if isinstance(found, dict) else {}


def parts(document: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """The objects in the list under this name, without empty ones and what is no object."""
    found = document.get(name)
    if not isinstance(found, list):
        return []
    return [row for row in found if isinstance(row, dict) and row]


def digest(*values: Any) -> str:
    """A fingerprint of plain values, the same on every machine and in every process."""
    canonical = json.dumps(values, ensure_ascii=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _number(value: Any) -> Decimal | None:
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    if isinstance(value, str) and _PLAIN_NUMBER.fullmatch(value.strip()):
        return Decimal(value.strip())
    return None
