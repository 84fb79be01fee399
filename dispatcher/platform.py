"""What a takeaway platform is to the pipeline: the words that adapters, pull job and ingress share.

An adapter (producers/platforms/) turns one platform's wire format into these; nothing foreign
passes beyond it.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol

from dispatcher.errors import Hopeless, Transient
from dispatcher.messages import Event

DEGRADED = "degraded"
"""The fingerprint of an order whose money or lines the platform could not give yet."""


class Throttled(Transient):
    """The partner asked us to slow down; it did nothing. `retry_after` is in seconds."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class NotDone(Transient):
    """The partner surely did nothing (no connection, busy); try again later."""


class Unclear(Transient):
    """The partner may or may not have done it (timeout, lost answer): ask before repeating."""


class Forged(Hopeless):
    """A signature is missing, wrong or too old."""


class Malformed(Hopeless):
    """A body has not the shape its sender documents."""


class UnknownStore(Hopeless):
    """The order names no store of ours."""


class Fact(NamedTuple):
    """One fact read from a platform.

    `key` is what the platform calls this fact by (it becomes the event's id); `fingerprint` is a
    digest of what must never change between two looks at it (money, lines, store).
    """

    key: str
    channel_order_id: str
    event: Event
    fingerprint: str
    time: datetime


class Raw(NamedTuple):
    """One payload as it came, and what it says. `problem` names why it could not be read.

    `key` and `fingerprint` identify the payload in the ingress journal: a repeat has both equal.
    """

    key: str
    fingerprint: str
    body: bytes
    facts: tuple[Fact, ...]
    problem: str | None = None


class Page(NamedTuple):
    """What one look brought. `cursor` is where to look next; `receipt` goes to `acknowledge`."""

    raws: tuple[Raw, ...]
    cursor: dict[str, Any]
    receipt: Any = None
    more: bool = False


class Push(NamedTuple):
    """A platform's own call to us: the payload and the exact acknowledgement it waits for."""

    raw: Raw
    answer: bytes
    content_type: str


class Verdict(NamedTuple):
    """The platform's definite answer to one of our calls."""

    done: bool
    reason: str = ""


class Request(NamedTuple):
    """An HTTP request as an adapter needs it: header names in lower case, body raw."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


class Catalogue(Protocol):
    """Our own stores and items, as one platform account names them."""

    def store_of(self, account: str, code: str) -> str | None:
        """Our store id for the account's store code."""

    def code_of(self, account: str, store_id: str) -> str | None:
        """The account's code for our store."""

    def codes(self, account: str) -> tuple[str, ...]:
        """All store codes of the account, sorted."""

    def sku_of(self, code: str) -> str | None:
        """Our SKU for an item code on a platform, None when it is none of ours."""


class Platform(Protocol):
    """One account at one platform. Methods raise Throttled, NotDone, Unclear or Hopeless."""

    channel: str
    account: str
    mode: Literal["walk", "poll"]

    def scopes(self) -> tuple[str, ...]:
        """What is pulled separately: store codes, or ("",) for the whole account."""

    async def pull(self, scope: str, cursor: Mapping[str, Any], now: datetime) -> Page:
        """One look. An empty cursor means: never looked before."""

    async def acknowledge(self, page: Page) -> None:
        """Tell the platform that the page is safe with us (poll-and-ack platforms only)."""

    def receive(self, request: Request, now: datetime) -> Push:
        """Verify and read a push. Raises Forged or Malformed."""

    async def confirm(self, channel_order_id: str) -> Verdict:
        """The store will cook."""

    async def reject(self, channel_order_id: str, reason: str) -> Verdict:
        """We cannot fulfil it."""

    async def tell_ready(self, channel_order_id: str, pickup_code: str) -> Verdict:
        """The meal is ready."""
