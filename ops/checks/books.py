"""The books of the other side: what tills and platforms say that they have seen.

Read from `GET URL/_sim/books` of the simulators; whoever keeps such books of a real till or
platform can serve them in the same shape.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp
from pydantic import BaseModel, ConfigDict, ValidationError

READ_SECONDS = 120.0


class UnreadableBooks(Exception):
    """What this address serves are no books of tills or platforms."""


class _Foreign(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class TillMessage(_Foreign):
    """One message as a till has it. `bodies`: SHA-256 of every body that came under this key."""

    webhook_id: str
    type: str
    store: str
    ticket_id: str
    order_id: str
    bodies: tuple[str, ...]
    status: str
    doubled: bool = False


class Told(_Foreign):
    """When the platform was told a fact for the first time, in unix seconds."""

    first: float


class BookedOrder(_Foreign):
    """One order as its platform has it. `history` holds what was refused too."""

    order_id: str
    state: str
    seen: Told | None = None
    pushed: Told | None = None
    confirmed: Told | None = None
    ready: Told | None = None
    rejected: Told | None = None
    history: tuple[tuple[float, str], ...] = ()


class _Page(_Foreign):
    messages: tuple[TillMessage, ...] | None = None
    orders: tuple[BookedOrder, ...] | None = None


class Pages(NamedTuple):
    """All books at one moment. A platform's are known by the origin of its address."""

    tills: Sequence[TillMessage] | None
    platforms: Mapping[str, Sequence[BookedOrder]]


class Books:
    """Where the books are. They are read anew for each check."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = [url.rstrip("/") for url in urls]

    async def read(self) -> Pages:
        """Raises UnreadableBooks, and aiohttp.ClientError when nobody answers."""
        timeout = aiohttp.ClientTimeout(total=READ_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as http:
            return pages({url: await _fetched(http, url) for url in self._urls})


def pages(documents: Mapping[str, Any]) -> Pages:
    """The books in these documents, by address. Raises UnreadableBooks."""
    tills: list[TillMessage] | None = None
    platforms: dict[str, Sequence[BookedOrder]] = {}
    for url, document in documents.items():
        try:
            page = _Page.model_validate(document)
        except ValidationError as error:
            raise UnreadableBooks(f"{url}: {error.error_count()} entries do not fit") from None
        if page.messages is not None:
            tills = [*(tills or ()), *page.messages]
        elif page.orders is not None:
            platforms[origin(url)] = page.orders
        else:
            raise UnreadableBooks(f"{url} serves neither messages nor orders")
    return Pages(tills, platforms)


def origin(url: str) -> str:
    """`http://host:port` of an address."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"{parts.scheme}://{parts.hostname}:{port}"


async def _fetched(http: aiohttp.ClientSession, url: str) -> Any:
    async with http.get(f"{url}/_sim/books") as answer:
        if answer.status != 200:
            raise UnreadableBooks(f"{url}/_sim/books answers HTTP {answer.status}")
        return await answer.json(content_type=None)
