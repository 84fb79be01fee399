"""The ingress journal, as producers and consumers see it: everything that enters is first a row,
then a confirmed publish, and only then acknowledged to its sender.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol


class Entry(NamedTuple):
    """One request as it came, and the CloudEvents it became. A repeat has bucket, source, scope,
    key and fingerprint equal; `problem` says why it became none.
    """

    bucket: int
    source: str
    scope: str
    key: str
    fingerprint: str
    body: bytes
    events: tuple[bytes, ...]
    problem: str | None = None


class Accepted(NamedTuple):
    """`to_publish`: new, or a repeat whose publish nobody confirmed. `contradicts`: the same key
    was accepted before with another fingerprint.
    """

    entry: Entry
    to_publish: bool
    first_time: bool
    contradicts: bool


class Journal(Protocol):
    async def accept(self, entries: Sequence[Entry], now: datetime) -> list[Accepted]:
        """Write down, one statement for all; each distinct entry once in the result."""

    async def published(self, entries: Sequence[Entry], now: datetime) -> None:
        """The broker has confirmed all their events."""
