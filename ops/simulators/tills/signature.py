"""Standard Webhooks 1.0 signatures, both ways: HMAC-SHA256 over `id.timestamp.body`."""

import hmac
from base64 import b64decode, b64encode

TOLERANCE_SECONDS = 300


def key_of(secret: str) -> bytes:
    """The bytes behind `whsec_` + base64."""
    return b64decode(secret.removeprefix("whsec_"), validate=True)


def signature(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    signed = b"%b.%b.%b" % (message_id.encode(), timestamp.encode(), body)
    return "v1," + b64encode(hmac.digest(key, signed, "sha256")).decode()


def matches(key: bytes, message_id: str, timestamp: str, body: bytes, given: str) -> bool:
    """`given` may list several signatures, as while a secret is being changed."""
    expected = signature(key, message_id, timestamp, body)
    return any(hmac.compare_digest(expected, one) for one in given.split(" ") if one.isascii())


def fresh(timestamp: str, now: float) -> bool:
    return timestamp.isdecimal() and abs(int(timestamp) - now) <= TOLERANCE_SECONDS
