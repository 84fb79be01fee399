"""Stand-ins for the outside: a catalogue, and answers that were written down."""

import json
from typing import Any

from pydantic import SecretStr

from dispatcher.platform import Throttled
from producers.platforms.account import PlatformAccount
from producers.platforms.meituan_order import Books
from producers.platforms.partner_http import Answer


class FakeCatalogue:
    """One store of ours, `poi-1`, and every item whose code is in capitals."""

    def store_of(self, account: str, code: str) -> str | None:
        return "S001" if code == "poi-1" else None

    def code_of(self, account: str, store_id: str) -> str | None:
        return "poi-1" if store_id == "S001" else None

    def codes(self, account: str) -> tuple[str, ...]:
        return ("poi-1",)

    def sku_of(self, code: str) -> str | None:
        return code if code.isupper() else None


class WrittenAnswers:
    """Stands where PartnerHttp would: gives the written answers in order, keeps the calls."""

    def __init__(self, *answers: Answer) -> None:
        self.calls: list[tuple[str, str, bytes | None]] = []
        self._answers = list(answers)

    async def call(self, method: str, url: str, **how: Any) -> Answer:
        self.calls.append((method, url, how.get("body")))
        return self._answers.pop(0)

    def slow_down(self, reason: str, wait_seconds: float | None) -> Throttled:
        return Throttled(reason, wait_seconds or 1.0)


def answered(document: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(document).encode())


BOOKS = Books("mt-main", "CNY", FakeCatalogue())


def meituan_account(**changes: Any) -> PlatformAccount:
    usual: dict[str, Any] = {
        "platform": "meituan",
        "account": "mt-main",
        "base_url": "https://waimaiopen.meituan.com/api/v1",
        "currency": "CNY",
        "credentials": {"app_id": SecretStr("0000"), "secret": SecretStr(SECRET)},
        "timezone": "Asia/Shanghai",
    }
    return PlatformAccount(**{**usual, **changes})


SECRET = "a00ba58f000001aa697ab000006d52d"  # the published example's, of no account
