"""Standard Webhooks 1.0, the receiving side: who sent this body, and when."""

import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime

from dispatcher.platform import Forged
from producers.ingress.errors import Stale

TOLERANCE_SECONDS = 300

_MOST_SIGNATURES = 8
_ID = re.compile(r"[!-~]{1,200}")
_SECONDS = re.compile(r"[0-9]{1,12}")


def key_of(secret: str) -> bytes:
    """The bytes behind `whsec_` + base64. Raises ValueError."""
    return b64decode(secret.removeprefix("whsec_"), validate=True)


def verified(keys: Sequence[bytes], headers: Mapping[str, str], body: bytes, now: datetime) -> str:
    """The webhook-id of a body that one of the keys signed lately. Raises Forged or Stale.

    A sender may list several signatures, and we may know two keys, while a secret is changed.
    """
    webhook_id = headers.get("webhook-id", "")
    timestamp = headers.get("webhook-timestamp", "")
    if not _ID.fullmatch(webhook_id) or not _SECONDS.fullmatch(timestamp):
        raise Forged("webhook-id or webhook-timestamp is missing or has not its form")
    content = b"%b.%b.%b" % (webhook_id.encode(), timestamp.encode(), body)
    given = headers.get("webhook-signature", "").encode().split()[:_MOST_SIGNATURES]
    expected = [b"v1," + b64encode(hmac.digest(key, content, "sha256")) for key in keys]
    if not any(hmac.compare_digest(one, other) for one in given for other in expected):
        raise Forged("no webhook-signature is right for this body, id and timestamp")
    if abs(now.timestamp() - int(timestamp)) > TOLERANCE_SECONDS:
        raise Stale(f"webhook-timestamp is more than {TOLERANCE_SECONDS} s off our clock")
    return webhook_id
