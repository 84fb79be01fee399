"""Meituan's calls back: what each state of the order makes of a refusal, and asking first."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from dispatcher.platform import NotDone, Unclear, Verdict
from producers.platforms import meituan
from producers.platforms.meituan import Meituan, MeituanOptions
from producers.platforms.partner_http import Answer
from tests.unit.platforms.fakes import FakeCatalogue, WrittenAnswers, answered, meituan_account

OK = answered({"data": "ok"})
CHANGED = answered({"data": "ng", "error": {"code": 808}})
SYSTEM_ERROR = answered({"data": "ng", "error": {"code": 700}})


def state(status: int) -> Answer:
    return answered({"data": {"status": status}})


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Any:
    def open_with(*answers: Answer, **options: Any) -> tuple[Meituan, WrittenAnswers]:
        http = WrittenAnswers(*answers)
        monkeypatch.setattr(meituan, "PartnerHttp", lambda *_: http)
        account = meituan_account(options=options)
        session: aiohttp.ClientSession = object()  # type: ignore[assignment]
        return Meituan(account, FakeCatalogue(), session, clock=lambda: 0.0), http

    return open_with


def asked(http: WrittenAnswers) -> list[str]:
    return [urlsplit(url).path.rpartition("/")[2] for _, url, _ in http.calls]


DONE = Verdict(done=True)
CONFIRMED = {4: DONE, 6: DONE, 8: DONE, 9: Verdict(done=False, reason="cancelled")}
REJECTED = {
    4: Verdict(done=False, reason="confirmed"),
    6: Verdict(done=False, reason="delivering"),
    8: Verdict(done=False, reason="completed"),
    9: DONE,
}
NOT_CONFIRMED = Verdict(done=False, reason="not_confirmed")
READY = {**dict.fromkeys((1, 2, 3), NOT_CONFIRMED), **CONFIRMED}


@pytest.mark.parametrize("status", [1, 2, 3, 4, 6, 8, 9])
@pytest.mark.parametrize(
    ("act", "verdicts"), [("confirm", CONFIRMED), ("reject", REJECTED), ("tell_ready", READY)]
)
async def test_a_refusal_converges_on_the_order_s_state(
    opened: Any, act: str, verdicts: dict[int, Verdict], status: int
) -> None:
    platform, _ = opened(CHANGED, state(status))
    call = getattr(platform, act)("12", *([] if act == "confirm" else ["x"]))
    if status in verdicts:
        assert await call == verdicts[status]
        return
    with pytest.raises(NotDone):
        await call


async def test_after_an_unclear_outcome_it_asks_before_it_repeats(opened: Any) -> None:
    platform, http = opened(SYSTEM_ERROR, state(4), OK)
    with pytest.raises(Unclear):
        await platform.confirm("12")
    assert await platform.confirm("12") == DONE
    assert asked(http) == ["confirm", "viewstatus"]
    assert await platform.confirm("12") == DONE
    assert asked(http)[-1] == "confirm"


async def test_what_turns_out_not_done_is_done_again(opened: Any) -> None:
    platform, http = opened(SYSTEM_ERROR, state(2), OK)
    with pytest.raises(Unclear):
        await platform.confirm("12")
    assert await platform.confirm("12") == DONE
    assert asked(http) == ["confirm", "viewstatus", "confirm"]


async def test_while_it_cannot_ask_it_does_not_repeat(opened: Any) -> None:
    platform, http = opened(SYSTEM_ERROR, SYSTEM_ERROR, state(4))
    with pytest.raises(Unclear):
        await platform.confirm("12")
    with pytest.raises(NotDone):
        await platform.confirm("12")
    assert await platform.confirm("12") == DONE
    assert asked(http) == ["confirm", "viewstatus", "viewstatus"]


async def test_the_pickup_code_goes_under_the_name_that_is_set(opened: Any) -> None:
    for name, expected in (("pickup_code", ["A-17"]), ("take_no", ["A-17"]), ("", None)):
        platform, http = opened(OK, ready_code_param=name)
        await platform.tell_ready("12", "A-17")
        assert parse_qs(urlsplit(http.calls[0][1]).query).get(name or "pickup_code") == expected


async def test_our_reasons_have_codes_of_theirs(opened: Any) -> None:
    platform, http = opened(OK, OK, OK, reject_reason_codes={"stock_short": 2009, "closed": 2011})
    for reason in ("stock_short", "closed", "anything else"):
        await platform.reject("12", reason)
    queries = [parse_qs(urlsplit(url).query) for _, url, _ in http.calls]
    assert [query["reason_code"] for query in queries] == [["2009"], ["2011"], ["2008"]]


async def test_calls_go_by_form_where_that_is_set(opened: Any) -> None:
    platform, http = opened(OK, act_method="POST")
    await platform.confirm("12")
    assert http.calls[0][0] == "POST"
    assert http.calls[0][2] == b"order_id=12"


def test_settings_that_would_never_end_a_day_are_refused() -> None:
    with pytest.raises(ValueError, match="never ends"):
        MeituanOptions(page_holes=10, tail_misses=10)
