"""Deterministic ids: the same fact, command, answer or deadline always has the same id.

An order id is a UUIDv8 (RFC 9562) whose first ten bits are its bucket; the order number is what
people, warehouses and couriers read, and tells nobody how many orders there were.
"""

from hashlib import sha256
from uuid import UUID, uuid5

BUCKETS = 1024
NAMESPACE = UUID("5b0a7b52-6b0e-5d0c-9c35-2f5a5e0e2a10")

_NUMBER_BITS = 63
_NUMBER_DIGITS = 19
# The quasigroup of H. M. Damm (2004): finds every wrong digit and every swap of neighbours.
_DAMM = (
    "0317598642",
    "7092154863",
    "4206871359",
    "1750983426",
    "6123045978",
    "3674209581",
    "5869720134",
    "8945362017",
    "9438617205",
    "2581436790",
)


def order_id(channel: str, channel_order_id: str) -> UUID:
    """The id of a takeaway order: the same for push, pull and every later look."""
    digest = sha256(f"{channel}\0{channel_order_id}".encode()).digest()
    value = int.from_bytes(digest[:16], "big")
    value = value & ~(0xF << 76) | (8 << 76)
    value = value & ~(0x3 << 62) | (2 << 62)
    return UUID(int=value)


def bucket_of(identifier: UUID) -> int:
    """The bucket (0…1023) that leads every key of this order."""
    return identifier.int >> 118


def store_bucket(store_id: str) -> int:
    """The bucket of a store's stock."""
    return int.from_bytes(sha256(store_id.encode()).digest()[:2], "big") >> 6


def order_no(identifier: UUID) -> str:
    """Twenty decimal digits: 63 bits of the order id, its bucket first, and a check digit."""
    value = identifier.int
    around_version = value >> 80 << 12 | value >> 64 & 0xFFF
    digits = f"{around_version << 3 | value >> 59 & 0x7:0{_NUMBER_DIGITS}d}"
    return digits + _check_digit(digits)


def bucket_of_number(number: str) -> int:
    """The bucket inside an order number. Raises ValueError for a mistyped one."""
    if len(number) != _NUMBER_DIGITS + 1 or not number.isascii() or not number.isdigit():
        raise ValueError(f"{number!r} is no order number: it has {_NUMBER_DIGITS + 1} digits")
    if _check_digit(number[:-1]) != number[-1]:
        raise ValueError(f"{number} is no order number: its check digit is wrong")
    return int(number[:-1]) >> (_NUMBER_BITS - 10)


def fact_id(source: str, key: str) -> UUID:
    """The id of a fact from outside: `key` is what its source calls it by."""
    return uuid5(NAMESPACE, f"{source}\0{key}")


def command_id(cause: UUID, position: int) -> UUID:
    """The id of the `position`-th command that the event `cause` leads to."""
    return uuid5(cause, str(position))


def answer_id(command: UUID) -> UUID:
    """The id of the one answer that a command gets."""
    return uuid5(command, "answer")


def deadline_id(instance: UUID, name: str, epoch: int) -> UUID:
    """The id of a deadline; epoch = the instance's revision when it was armed."""
    return uuid5(instance, f"{name}\0{epoch}")


def _check_digit(digits: str) -> str:
    interim = 0
    for digit in digits:
        interim = int(_DAMM[interim][int(digit)])
    return str(interim)
