"""The one way adapters call a platform: bounded in time, size and rate, never redirected.

What went wrong is sorted here by what the platform may have done: `Throttled` and `NotDone` mean
surely nothing, `Unclear` means that the caller must ask before it repeats.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import aiohttp
from aiolimiter import AsyncLimiter
from yarl import URL

from dispatcher.crashpoints import point
from dispatcher.platform import NotDone, Throttled, Unclear
from dispatcher.strict_json import loads
from producers.platforms.account import CallOptions

_TOO_MANY_REQUESTS = 429
_UNAVAILABLE = 503
_CHUNK_BYTES = 64 * 1024


class Answer(NamedTuple):
    """Any answer below 500 that is neither a redirect nor "too many requests"."""

    status: int
    body: bytes

    def document(self) -> Any:
        """The body as JSON. Raises BadJson. Its length was bounded when it was read."""
        return loads(self.body, max_bytes=len(self.body))

    def document_object(self) -> dict[str, Any]:
        """The body as a JSON object, empty when it is anything else. Raises BadJson."""
        document = self.document()
        return document if isinstance(document, dict) else {}


class PartnerHttp:
    """Calls of one account. Once told to wait, no call leaves until the time is over."""

    def __init__(self, session: aiohttp.ClientSession, options: CallOptions) -> None:
        if session.trust_env:
            raise ValueError("the HTTP session must not take proxies from the environment")
        self._session = session
        self._options = options
        self._timeout = aiohttp.ClientTimeout(total=options.timeout_seconds)
        burst = max(1.0, options.requests_per_second)
        self._limiter = AsyncLimiter(burst, burst / options.requests_per_second)
        self._closed_until = 0.0

    async def call(
        self,
        method: str,
        url: str,
        *,
        acting: bool,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """`url` is encoded already. An `acting` call may change something at the platform.

        Raises Throttled, NotDone, or Unclear (acting calls only).
        """
        await self._turn()
        lost = Unclear if acting else NotDone
        point("platform.call.before")
        try:
            response, content = await self._exchange(
                method, url, headers or {}, body, (_once(),) if acting else ()
            )
        except aiohttp.ClientConnectorError as error:
            raise NotDone(f"no connection: {type(error).__name__}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise lost(f"the answer was lost: {type(error).__name__}") from error
        point("platform.call.after")
        self._check_throttled(response)
        if response.status >= 500 or content is None:
            what = "is too long" if content is None else f"is HTTP {response.status}"
            raise lost(f"the answer {what}")
        if 300 <= response.status < 400:
            raise NotDone(f"HTTP {response.status}: redirects are not followed")
        return Answer(response.status, content)

    def slow_down(self, reason: str, wait_seconds: float | None) -> Throttled:
        """Remember that the platform asked for a pause, and say so."""
        told = self._options.pause_seconds if wait_seconds is None else wait_seconds
        pause = min(max(told, 0.0), self._options.longest_pause_seconds)
        now = asyncio.get_running_loop().time()
        self._closed_until = max(self._closed_until, now + pause)
        return Throttled(reason, pause)

    async def _turn(self) -> None:
        """Waits for the account's turn, at most one timeout long. Raises Throttled."""
        pause = self._closed_until - asyncio.get_running_loop().time()
        if pause > 0:
            raise Throttled("the platform asked for a pause", pause)
        try:
            await asyncio.wait_for(self._limiter.acquire(), self._options.timeout_seconds)
        except TimeoutError:
            raise Throttled("our own rate limit for this account", 1.0) from None

    async def _exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        middlewares: Sequence[aiohttp.ClientMiddlewareType],
    ) -> tuple[aiohttp.ClientResponse, bytes | None]:
        """The response and its whole body, None instead of one that is too long."""
        async with self._session.request(
            method,
            URL(url, encoded=True),
            headers={"Accept-Encoding": "identity", **headers},
            data=body,
            allow_redirects=False,
            middlewares=middlewares,
            timeout=self._timeout,
        ) as response:
            content = bytearray()
            async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                content += chunk
                if len(content) > self._options.longest_answer_bytes:
                    response.close()
                    return response, None
            return response, bytes(content)

    def _check_throttled(self, response: aiohttp.ClientResponse) -> None:
        told = response.headers.get("Retry-After")
        # A 503 without Retry-After may come from a gateway behind which the call went through.
        if response.status == _TOO_MANY_REQUESTS or (response.status == _UNAVAILABLE and told):
            wait = _retry_after(told, response.headers.get("Date"))
            raise self.slow_down(f"HTTP {response.status}", wait)


def _once() -> aiohttp.ClientMiddlewareType:
    """aiohttp repeats a GET whose connection is lost by itself; a call that acts must not."""
    sent = False

    async def send(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        nonlocal sent
        if sent:
            raise aiohttp.ClientError("the connection was lost after the call had left")
        sent = True
        return await handler(request)

    return send


def _retry_after(told: str | None, sent: str | None) -> float | None:
    """Seconds, or a date that is read against the sender's own clock (RFC 9110, 10.2.3)."""
    if told is None:
        return None
    if told.strip().isascii() and told.strip().isdigit():
        return float(told.strip()[:9])
    until, since = _http_date(told), _http_date(sent or "")
    if until is None or since is None:
        return None
    return max(0.0, (until - since).total_seconds())


def _http_date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return date if date.tzinfo else None
