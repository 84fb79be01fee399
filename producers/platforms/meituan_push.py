"""Meituan's pushes: forms to the registered callback URL plus `/paid`, `/cancelled`, `/completed`.

Meituan repeats a push until it reads exactly {"data":"ok"}. A push of any other kind is verified
and acknowledged too, and tells no fact.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple
from urllib.parse import unquote_plus, urlencode

from dispatcher.platform import Forged, Malformed, Push, Raw, Request
from producers.platforms.foreign import digest, text, whole
from producers.platforms.meituan_order import Books, cancelled, completed, read_order
from producers.platforms.meituan_wire import signed_by
from producers.platforms.payload import raw_of

ACKNOWLEDGED = b'{"data":"ok"}'

_KIND = re.compile(r"[A-Za-z0-9_-]{1,40}")
_MOST_FIELDS = 500
_VARYING = frozenset({"sig", "timestamp"})


class PushReader(NamedTuple):
    """`secrets` holds two during a rotation; `callback_url` is the one registered at Meituan."""

    callback_url: str
    app_id: str
    secrets: tuple[str, ...]
    tolerance_seconds: float
    books: Books

    def receive(self, request: Request, now: datetime) -> Push:
        """Raises Forged or Malformed; once the signature is right, all problems are in the Raw."""
        kind = request.path.rstrip("/").rpartition("/")[2]
        if not self.callback_url or not _KIND.fullmatch(kind):
            raise Malformed("no callback URL is set for this account, or the path is none of it")
        params = _merged(request)
        self._check_sender(f"{self.callback_url.rstrip('/')}/{kind}", params, now)
        body = request.body or urlencode(dict(request.query)).encode()
        return Push(self._read(kind, params, body, now), ACKNOWLEDGED, "application/json")

    def _check_sender(self, url: str, params: Mapping[str, str], now: datetime) -> None:
        if not signed_by(params.get("sig", ""), url, params, self.secrets):
            raise Forged("the signature is missing or wrong")
        if params.get("app_id") != self.app_id:
            raise Forged("the push is for another app_id")
        sent = whole(params.get("timestamp"))
        if sent is None or abs(now.timestamp() - sent) > self.tolerance_seconds:
            raise Forged("the timestamp is missing or outside the tolerance")

    def _read(self, kind: str, params: Mapping[str, str], body: bytes, now: datetime) -> Raw:
        if kind == "paid":
            reading = read_order(params, body, self.books, now)
            if reading.degraded and reading.raw.problem is None:
                return _without_facts("paid~degraded", params, body)  # the walk will read it whole
            return reading.raw
        if kind not in ("cancelled", "completed"):
            return _without_facts(kind, params, body)
        channel_order_id = text(params.get("order_id"))
        if not (channel_order_id.isascii() and channel_order_id.isdigit()):
            return _without_facts(kind, params, body, "the push has no order_id of digits")
        tell = cancelled if kind == "cancelled" else completed
        return raw_of(body, [tell(channel_order_id, params, now)])


def _without_facts(
    kind: str, params: Mapping[str, str], body: bytes, problem: str | None = None
) -> Raw:
    lasting = sorted((name, value) for name, value in params.items() if name not in _VARYING)
    fingerprint = digest(lasting)
    named = text(params.get("order_id")) or "-"
    return Raw(f"{kind}:{named}:{fingerprint[:16]}", fingerprint, body, (), problem)


def _merged(request: Request) -> dict[str, str]:
    """All parameters, decoded; the signature covers those of the query and those of the form."""
    params = dict(request.query)
    for name, value in _form(request.body):
        if name in params:
            raise Malformed(f"the parameter {name[:40]!r} comes twice")
        params[name] = value
    if any("\0" in name or "\0" in value for name, value in params.items()):
        raise Malformed("a parameter holds a NUL character")
    return params


def _form(body: bytes) -> list[tuple[str, str]]:
    """`+` is a blank and `%XX` UTF-8; parameters without a value stay."""
    try:
        fields = [field for field in body.decode().split("&") if field]
        if len(fields) > _MOST_FIELDS:
            raise Malformed(f"more than {_MOST_FIELDS} parameters")
        pairs = (field.partition("=") for field in fields)
        return [
            (unquote_plus(name, errors="strict"), unquote_plus(value, errors="strict"))
            for name, _, value in pairs
        ]
    except UnicodeError:
        raise Malformed("the form is not UTF-8") from None
