"""Meituan's transport: signed calls, the envelope of answers, and what each error code means."""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Any, Literal, NamedTuple
from urllib.parse import urlencode

from dispatcher.errors import Hopeless, PipelineError
from dispatcher.platform import NotDone, Unclear
from dispatcher.strict_json import BadJson
from producers.platforms.account import PlatformAccount
from producers.platforms.foreign import whole
from producers.platforms.partner_http import Answer, PartnerHttp

_FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}


class Sort(Enum):
    """What happens to a call that was answered with an error code."""

    AGAIN = auto()  # surely nothing was done
    UNSURE = auto()  # something may have been done: ask, then again
    SLOW_DOWN = auto()
    CONVERGE = auto()  # the order is in another state: read it and go by that
    HOPELESS = auto()  # our configuration or our call is wrong


class Code(NamedTuple):
    sort: Sort
    meaning: str


CODES: Mapping[int, Code] = {
    700: Code(Sort.UNSURE, "system error"),
    701: Code(Sort.HOPELESS, "a parameter is missing"),
    702: Code(Sort.HOPELESS, "the app_id is not known"),
    703: Code(Sort.HOPELESS, "the signature is wrong"),
    704: Code(Sort.HOPELESS, "no permission"),
    705: Code(Sort.HOPELESS, "a parameter has the wrong format"),
    708: Code(Sort.HOPELESS, "no permission"),
    711: Code(Sort.SLOW_DOWN, "too many calls"),
    806: Code(Sort.AGAIN, "no such order, or not yet"),
    808: Code(Sort.CONVERGE, "the order's state has changed"),
    1001: Code(Sort.HOPELESS, "store or item error 1001"),
    1002: Code(Sort.HOPELESS, "store or item error 1002"),
    1003: Code(Sort.HOPELESS, "store or item error 1003"),
    1004: Code(Sort.HOPELESS, "store or item error 1004"),
    1005: Code(Sort.HOPELESS, "store or item error 1005"),
    1006: Code(Sort.HOPELESS, "store or item error 1006"),
    1022: Code(Sort.CONVERGE, "a completed order cannot be cancelled"),
    4001: Code(Sort.HOPELESS, "the access token has expired"),
}
# A code that nobody documented: a few more tries, which the budget of the job bounds.
UNDOCUMENTED = Code(Sort.UNSURE, "a code that is not documented")


class UnknownOrder(NotDone):
    """The platform knows no such order, or not yet."""


class Garbled(NotDone):
    """The platform did answer, but not with what was asked for."""


class StateChanged(NotDone):
    """The call does not fit the state the order is in."""


class Rejected(Hopeless):
    """The platform will never answer this call, as we are set up, with anything else."""


def signature(url: str, params: Mapping[str, str], secret: str) -> str:
    """MD5 over URL, raw parameters by name (empty ones too, `sig` left out) and secret.

    `url` has no query. The base URL is part of what is signed.
    """
    pairs = "&".join(f"{name}={params[name]}" for name in sorted(params) if name != "sig")
    return hashlib.md5(f"{url}?{pairs}{secret}".encode(), usedforsecurity=False).hexdigest()


def signed_by(given: str, url: str, params: Mapping[str, str], secrets: tuple[str, ...]) -> bool:
    """Whether one of our secrets (two during a rotation) gives this signature."""
    claimed = given.lower().encode()
    return any(
        hmac.compare_digest(claimed, signature(url, params, secret).encode()) for secret in secrets
    )


class MeituanClient:
    """Signed calls of one application."""

    def __init__(
        self,
        http: PartnerHttp,
        account: PlatformAccount,
        clock: Callable[[], float],
    ) -> None:
        self._http = http
        self._base_url = account.base_url
        self._secret = account.secret("secret")
        self._identity = {
            name: account.secret(name)
            for name in ("app_id", "access_token")
            if name == "app_id" or name in account.credentials
        }
        self._clock = clock

    async def read(self, resource: str, **params: str) -> tuple[Any, bytes]:
        """The `data` of the answer and its raw body. Raises NotDone, Throttled or Rejected."""
        answer = await self._send("GET", resource, params, acting=False)
        try:
            return self._data(answer), answer.body
        except Unclear as error:
            raise Garbled(str(error)) from error

    async def act(self, method: Literal["GET", "POST"], resource: str, **params: str) -> None:
        """Raises StateChanged, UnknownOrder, Throttled, Rejected, or Unclear: ask first then."""
        self._data(await self._send(method, resource, params, acting=True))

    async def _send(
        self, method: str, resource: str, params: Mapping[str, str], *, acting: bool
    ) -> Answer:
        """System parameters go into the query, the others too or, with POST, into the form."""
        url = f"{self._base_url}/{resource}"
        system = {**self._identity, "timestamp": str(int(self._clock()))}
        sig = signature(url, {**system, **params}, self._secret)
        query = {**system, "sig": sig}
        if method == "POST":
            form = urlencode(params).encode()
            target = f"{url}?{urlencode(query)}"
            return await self._http.call(method, target, acting=acting, headers=_FORM, body=form)
        return await self._http.call(
            method, f"{url}?{urlencode({**query, **params})}", acting=acting
        )

    def _data(self, answer: Answer) -> Any:
        try:
            envelope = answer.document_object()
        except BadJson as error:
            if answer.status != 200:
                raise NotDone(f"HTTP {answer.status}") from None
            raise Unclear(f"the answer cannot be read: {error}") from None
        code = _code_in(envelope)
        if code is not None:
            raise self._refusal(code)
        if answer.status != 200:
            raise NotDone(f"HTTP {answer.status}")
        if "data" not in envelope:
            raise Unclear("the answer has neither data nor an error")
        return envelope["data"]

    def _refusal(self, number: int) -> PipelineError:
        sort, meaning = CODES.get(number, UNDOCUMENTED)
        said = f"Meituan {number}: {meaning}"
        match sort:
            case Sort.AGAIN:
                return UnknownOrder(said)
            case Sort.UNSURE:
                return Unclear(said)
            case Sort.SLOW_DOWN:
                return self._http.slow_down(said, None)
            case Sort.CONVERGE:
                return StateChanged(said)
            case Sort.HOPELESS:
                return Rejected(said)


def _code_in(envelope: Mapping[str, Any]) -> int | None:
    """The error code of the old envelope or the new one (`result_code`), None for success."""
    error = envelope.get("error")
    if isinstance(error, dict) and error:
        return whole(error.get("code")) or 0
    if envelope.get("data") == "ng":
        return 0
    if whole(envelope.get("result_code")) in (3, 4):
        failed = envelope.get("error_list")
        first = failed[0] if isinstance(failed, list) and failed else None
        return (whole(first.get("code")) or 0) if isinstance(first, dict) else 0
    return None
