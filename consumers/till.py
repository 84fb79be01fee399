"""The HTTP client for tills: Standard Webhooks signatures, no redirects, and no way into our own
network.

Where a connection may go is checked where the socket is made, so that names, literal addresses
and rebinding are all seen. Stores with different allow-lists never share a connection.
"""

import base64
import hmac
import socket
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from time import time
from typing import Any, Protocol

import aiohttp
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random

from consumers.pos import TillAnswer
from dispatcher.platform import NotDone, Unclear

LONGEST_ANSWER = 64 * 1024
Network = IPv4Network | IPv6Network
_TRANSLATED = (ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"), ip_network("2002::/16"))


class Blocked(OSError):
    """The address is none that this store's till may have."""


class Till(Protocol):
    """Where a store's till is, and what is signed with."""

    @property
    def till_url(self) -> str: ...

    @property
    def till_secret(self) -> str: ...

    @property
    def till_networks(self) -> tuple[str, ...]: ...


class HttpTills:
    """Implements consumers.pos.Tills. Use as an async context manager."""

    def __init__(
        self,
        find: Callable[[str], Awaitable[Till]],
        *,
        total_seconds: float = 10,
        connect_seconds: float = 3,
        connections: int = 256,
    ) -> None:
        self._find = find
        self._timeout = aiohttp.ClientTimeout(total=total_seconds, sock_connect=connect_seconds)
        self._connections = connections
        self._sessions: dict[tuple[str, ...], aiohttp.ClientSession] = {}
        self._keys: dict[str, list[bytes]] = {}

    async def __aenter__(self) -> "HttpTills":
        return self

    async def __aexit__(self, *_: object) -> None:
        for session in self._sessions.values():
            await session.close()

    async def post(
        self, store_id: str, webhook_id: str, body: bytes, traceparent: str | None
    ) -> TillAnswer:
        """One signed call; a connection that cannot be made is tried twice more at once."""
        till = await self._find(store_id)
        try:
            return await self._post(till, webhook_id, body, traceparent)
        except NotDone:
            return await _at_once_again(self._post, till, webhook_id, body, traceparent)

    async def _post(
        self, till: Till, webhook_id: str, body: bytes, traceparent: str | None
    ) -> TillAnswer:
        headers = self._signed(till.till_secret, webhook_id, body)
        if traceparent:
            headers["traceparent"] = traceparent
        session = self._session(till.till_networks)
        try:
            async with session.post(
                till.till_url, data=body, headers=headers, allow_redirects=False
            ) as response:
                return TillAnswer(response.status, await _read(response), _retry_after(response))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotDone(f"no connection to the till: {error}") from None
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError, ValueError) as error:
            raise NotDone(f"the till's address is not right: {error}") from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unclear(f"no answer from the till: {error!r}") from None

    def _signed(self, secret: str, webhook_id: str, body: bytes) -> dict[str, str]:
        keys = self._keys.get(secret)
        if keys is None:
            # Two secrets, separated by a blank, while one replaces the other.
            keys = [base64.b64decode(one.removeprefix("whsec_")) for one in secret.split()]
            self._keys[secret] = keys
        return sign(keys, webhook_id, int(time()), body)

    def _session(self, networks: tuple[str, ...]) -> aiohttp.ClientSession:
        session = self._sessions.get(networks)
        if session is None:
            connector = aiohttp.TCPConnector(
                limit=self._connections, socket_factory=_guard(networks), ttl_dns_cache=60
            )
            session = aiohttp.ClientSession(
                connector=connector,
                timeout=self._timeout,
                trust_env=False,
                auto_decompress=False,
                skip_auto_headers=("Accept-Encoding",),
                headers={"user-agent": "system2", "content-type": "application/json"},
                cookie_jar=aiohttp.DummyCookieJar(),
            )
            self._sessions[networks] = session
        return session


_at_once_again = AsyncRetrying(
    retry=retry_if_exception_type(NotDone),
    stop=stop_after_attempt(2),
    wait=wait_random(0.02, 0.1),
    reraise=True,
)
"""For troubles below a second; longer ones wait in the lattice."""


def sign(keys: Sequence[bytes], webhook_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of Standard Webhooks 1.0: HMAC-SHA256 over `id.timestamp.body`, a signature for
    each key.
    """
    signed = b"%b.%d.%b" % (webhook_id.encode(), timestamp, body)
    digests = (base64.b64encode(hmac.digest(key, signed, sha256)).decode() for key in keys)
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{digest}" for digest in digests),
    }


def is_allowed(address: str, networks: tuple[Network, ...]) -> bool:
    """Public unicast addresses, and what the store's own list names."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if any(ip.version == network.version and ip in network for network in networks):
        return True
    # A translated address leads to an IPv4 one that nobody has looked at.
    translated = any(ip.version == net.version and ip in net for net in _TRANSLATED)
    local = isinstance(ip, IPv6Address) and ip.is_site_local
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or local or translated)


def _guard(networks: tuple[str, ...]) -> Callable[[Any], socket.socket]:
    allowed = tuple(ip_network(network) for network in networks)

    def make(info: Any) -> socket.socket:
        family, kind, protocol, _, address = info
        if not is_allowed(address[0], allowed):
            raise Blocked(f"{address[0]} is not public and not on the store's list")
        return socket.socket(family, kind, protocol)

    return make


async def _read(response: aiohttp.ClientResponse) -> bytes:
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > LONGEST_ANSWER:
            response.close()
            break
    return b"".join(chunks)[:LONGEST_ANSWER]


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    said = response.headers.get("retry-after", "")
    return float(said) if said.isascii() and said.isdigit() else None
