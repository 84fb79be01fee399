"""Meituan's signature by its published example, its envelopes, and every error code."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from dispatcher.errors import Hopeless, PipelineError
from dispatcher.platform import NotDone, Throttled, Unclear
from producers.platforms.meituan_wire import (
    CODES,
    Garbled,
    MeituanClient,
    Rejected,
    Sort,
    StateChanged,
    UnknownOrder,
    signature,
    signed_by,
)
from producers.platforms.partner_http import Answer
from tests.unit.platforms.fakes import SECRET, WrittenAnswers, answered, meituan_account

PARAMS = {"app_id": "0000", "app_poi_code": "31号测试店", "timestamp": "1389751221"}
ACTING = {
    Sort.AGAIN: UnknownOrder,
    Sort.UNSURE: Unclear,
    Sort.SLOW_DOWN: Throttled,
    Sort.CONVERGE: StateChanged,
    Sort.HOPELESS: Rejected,
}


def client(*answers: Answer) -> tuple[MeituanClient, WrittenAnswers]:
    http = WrittenAnswers(*answers)
    return MeituanClient(http, meituan_account(), lambda: 1389751221.9), http  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        ("https", "488c2c2302262b62e3666a4aa4b48083"),
        ("http", "6e7f708637606e1a8c28f4034f9af55a"),
    ],
)
def test_the_signature_of_the_documentation_s_example(scheme: str, expected: str) -> None:
    url = f"{scheme}://waimaiopen.meituan.com/api/v1/order/getOrderDaySeq"
    assert signature(url, PARAMS, SECRET) == expected


def test_empty_values_are_signed_and_sig_is_not() -> None:
    url = "https://example.test/x"
    assert signature(url, {"a": "", "sig": "z"}, "s") == signature(url, {"a": ""}, "s")
    assert signature(url, {"a": ""}, "s") != signature(url, {}, "s")


def test_two_secrets_are_good_during_a_rotation() -> None:
    url, given = "https://example.test/x", signature("https://example.test/x", PARAMS, "old")
    assert signed_by(given.upper(), url, PARAMS, ("new", "old"))
    assert not signed_by(given, url, PARAMS, ("new",))
    assert not signed_by("é", url, PARAMS, ("new",))


async def test_a_read_sends_everything_in_the_query_with_the_documented_signature() -> None:
    calls, http = client(answered({"data": {"day_seq": 7}}))
    data, _ = await calls.read("order/getOrderDaySeq", app_poi_code="31号测试店")
    ((method, url, body),) = http.calls
    query = parse_qs(urlsplit(url).query)
    assert (data, method, body) == ({"day_seq": 7}, "GET", None)
    assert query["sig"] == ["488c2c2302262b62e3666a4aa4b48083"]
    assert query["app_poi_code"] == ["31号测试店"]


async def test_a_post_sends_business_parameters_in_the_form_and_signs_both() -> None:
    calls, http = client(answered({"data": "ok"}))
    await calls.act("POST", "order/cancel", order_id="12", reason="a b&c")
    ((_, url, body),) = http.calls
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert body == b"order_id=12&reason=a+b%26c"
    signed = {**query, "order_id": "12", "reason": "a b&c"}
    assert query["sig"] == signature(url.partition("?")[0], signed, SECRET)


@pytest.mark.parametrize("code", [*CODES, 805, 0, 99999])
async def test_every_error_code_is_sorted(code: int) -> None:
    refused = answered({"data": "ng", "error": {"code": code, "msg": "somebody's name"}})
    sort = CODES[code].sort if code in CODES else Sort.UNSURE
    calls, _ = client(refused, refused)
    with pytest.raises(ACTING[sort]) as acting:
        await calls.act("GET", "order/confirm", order_id="1")
    with pytest.raises(PipelineError) as reading:
        await calls.read("order/getOrderDetail", order_id="1")
    assert type(reading.value) is (Garbled if sort is Sort.UNSURE else ACTING[sort])
    assert str(code) in str(acting.value)
    assert "somebody" not in str(acting.value)


def test_the_codes_are_those_of_the_documentation() -> None:
    documented = {700, 701, 702, 703, 704, 705, 708, 711, 806, 808, *range(1001, 1007), 1022, 4001}
    assert set(CODES) == documented


@pytest.mark.parametrize(
    ("envelope", "error"),
    [
        ({"data": "ng"}, Unclear),
        ({"data": "ng", "error": {"code": "806"}}, UnknownOrder),
        ({"result_code": 4, "error_list": [{"code": 703}]}, Rejected),
        ({"result_code": 3, "error_list": []}, Unclear),
        ({"data": "ng", "error": {"code": "sql"}}, Unclear),
        ({}, Unclear),
        ([], Unclear),
    ],
)
async def test_odd_envelopes_are_no_success(envelope: Any, error: type[PipelineError]) -> None:
    calls, _ = client(answered(envelope))
    with pytest.raises(error):
        await calls.act("GET", "order/confirm", order_id="1")


@pytest.mark.parametrize(
    "envelope", [{"data": "ok"}, {"data": "ok", "error": {}}, {"result_code": 1, "data": []}]
)
async def test_all_forms_of_success_are_taken(envelope: Any) -> None:
    calls, _ = client(answered(envelope))
    await calls.act("GET", "order/confirm", order_id="1")


async def test_a_gateway_s_page_is_no_answer_of_the_platform() -> None:
    calls, _ = client(Answer(403, b"<html>"), Answer(200, b'{"data":"o'))
    with pytest.raises(NotDone):
        await calls.act("GET", "order/confirm", order_id="1")
    with pytest.raises(Unclear):
        await calls.act("GET", "order/confirm", order_id="1")
    assert issubclass(Rejected, Hopeless)
