"""Meituan's pushes: whose they are, what they say, and the exact acknowledgement."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from dispatcher.messages import OrderCancelled, OrderCompleted
from dispatcher.platform import Forged, Malformed, Push, Request
from producers.platforms.meituan_push import PushReader
from producers.platforms.meituan_wire import signature
from tests.unit.platforms.fakes import BOOKS

URL = "https://orders.example.test/platforms/meituan/mt-main"
NOW = datetime(2024, 5, 6, 12, tzinfo=UTC)
READER = PushReader(URL, "4711", ("new", "old"), 300, BOOKS)


def request(kind: str, secret: str = "new", age: int = 0, **fields: str) -> Request:
    params = {"app_id": "4711", "timestamp": str(int(NOW.timestamp()) - age), **fields}
    params["sig"] = signature(f"{URL}/{kind}", params, secret)
    # Behind a proxy our own path may be another one than the registered one.
    return Request(f"/inside/{kind}", {}, {}, urlencode(params).encode())


def receive(kind: str, **fields: Any) -> Push:
    return READER.receive(request(kind, **fields), NOW)


def test_the_acknowledgement_is_exact() -> None:
    push = receive("cancelled", order_id="12")
    assert (push.answer, push.content_type) == (b'{"data":"ok"}', "application/json")


def test_signed_are_the_decoded_values_empty_ones_too() -> None:
    push = receive("cancelled", order_id="12", reason="a+b 100% 幸福 & 路", empty="")
    assert [fact.key for fact in push.raw.facts] == ["cancelled:12"]


def test_the_old_secret_is_good_during_a_rotation() -> None:
    assert receive("cancelled", order_id="12", secret="old").raw.facts
    with pytest.raises(Forged):
        receive("cancelled", order_id="12", secret="older")


@pytest.mark.parametrize("age", [301, -301])
def test_a_stale_push_is_refused(age: int) -> None:
    with pytest.raises(Forged):
        receive("cancelled", order_id="12", age=age)
    assert receive("cancelled", order_id="12", age=age - age // abs(age)).raw.facts


def test_a_push_signed_for_another_kind_or_account_is_refused() -> None:
    genuine = request("cancelled", order_id="12")
    with pytest.raises(Forged):
        READER.receive(genuine._replace(path="/inside/completed"), NOW)
    with pytest.raises(Forged):
        READER._replace(app_id="4712").receive(genuine, NOW)


@pytest.mark.parametrize(
    "body", [b"a=1&a=2", b"a=%00", b"a=%ff", b"\xff=1", b"&".join(b"a%d=1" % n for n in range(501))]
)
def test_a_form_of_the_wrong_shape_is_refused(body: bytes) -> None:
    with pytest.raises(Malformed):
        READER.receive(Request("/paid", {}, {}, body), NOW)


def test_parameters_in_the_query_count_too() -> None:
    whole = request("cancelled", order_id="12")
    fields = dict(pair.split("=") for pair in whole.body.decode().split("&"))
    assert READER.receive(Request("/x/cancelled", fields, {}, b""), NOW).raw.facts
    with pytest.raises(Malformed):
        READER.receive(whole._replace(query={"order_id": "13"}), NOW)


def test_who_cancelled_is_told_and_free_text_is_not() -> None:
    push = receive(
        "cancelled", order_id="12", reason_code="1101", reason="陈女士 138", deal_op_type="1"
    )
    (fact,) = push.raw.facts
    assert fact.event == OrderCancelled(reason="cancelled_on_platform customer 1101")


def test_completed_is_a_fact_and_other_kinds_are_only_acknowledged() -> None:
    assert isinstance(receive("completed", order_id="12").raw.facts[0].event, OrderCompleted)
    other = receive("refund", order_id="12", notify_type="apply")
    assert (other.raw.facts, other.raw.problem) == ((), None)
    again = READER.receive(request("refund", age=9, order_id="12", notify_type="apply"), NOW)
    assert other.raw[:2] == again.raw[:2]


def test_a_degraded_order_is_left_to_the_walk() -> None:
    push = receive("paid", order_id="12", app_poi_code="poi-1", incmp_code="-1", total="8")
    assert (push.raw.facts, push.raw.problem) == ((), None)


def test_a_signed_push_that_names_no_order_is_kept_with_its_problem() -> None:
    assert "order_id" in str(receive("cancelled").raw.problem)
    assert "poi-666" in str(receive("paid", order_id="12", app_poi_code="poi-666").raw.problem)


def test_a_push_a_minute_later_is_the_same_payload() -> None:
    first = receive("cancelled", order_id="12")
    again = READER.receive(request("cancelled", age=60, order_id="12"), NOW + timedelta(seconds=1))
    assert first.raw[:2] == again.raw[:2]
