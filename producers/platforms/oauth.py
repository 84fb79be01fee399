"""The OAuth client credentials grant (RFC 6749, 4.4): one token per account, renewed for all."""

import asyncio
from collections.abc import Callable, Mapping
from urllib.parse import urlencode

from dispatcher.platform import NotDone
from dispatcher.strict_json import BadJson
from producers.platforms.foreign import text, whole
from producers.platforms.partner_http import PartnerHttp

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_UNSTATED_LIFETIME_SECONDS = 300


class ClientCredentials:
    """`margin_seconds`: so long before its end a token counts as used up."""

    def __init__(
        self,
        http: PartnerHttp,
        url: str,
        form: Mapping[str, str],
        margin_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self._http = http
        self._url = url
        self._form = urlencode({"grant_type": "client_credentials", **form}).encode()
        self._margin_seconds = margin_seconds
        self._clock = clock
        self._token, self._until = "", 0.0
        self._renewal = asyncio.Lock()

    async def bearer(self, refused: str = "") -> str:
        """The token in use, never the `refused` one. Raises NotDone or Throttled.

        However many calls need a new token at the same time, it is asked for once.
        """
        async with self._renewal:
            if self._token in ("", refused) or self._clock() >= self._until:
                await self._renew()
            return self._token

    async def _renew(self) -> None:
        asked = self._clock()
        answer = await self._http.call(
            "POST", self._url, acting=False, headers=_FORM, body=self._form
        )
        if answer.status != 200:
            raise NotDone(f"no access token: HTTP {answer.status}")
        try:
            document = answer.document_object()
        except BadJson as error:
            raise NotDone(f"no access token: {error}") from None
        token = text(document.get("access_token"), 4096)
        if not token:
            raise NotDone("no access token in the answer")
        lifetime = whole(document.get("expires_in")) or _UNSTATED_LIFETIME_SECONDS
        self._token, self._until = token, asked + lifetime - self._margin_seconds
