"""Open Delivery: its signature, its prices, its events, and what its last event says."""

import hmac
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from dispatcher.errors import Hopeless
from dispatcher.messages import OrderCancelled, OrderPlaced
from dispatcher.order import Order
from dispatcher.platform import Forged, Malformed, NotDone, Page, Request, Verdict
from producers.platforms import opendelivery
from producers.platforms.account import PlatformAccount
from producers.platforms.opendelivery import OpenDelivery
from producers.platforms.partner_http import Answer
from tests.unit.platforms.fakes import FakeCatalogue, WrittenAnswers, answered

NOW = datetime(2024, 5, 6, 12, tzinfo=UTC)
TOKEN = answered({"access_token": "t", "token_type": "bearer", "expires_in": 3600})
NOTHING = Answer(204, b"")
ACCEPTED = Answer(202, b"")
REFUSED = answered({"title": "no", "status": 422}, 422)


def account(**changes: Any) -> PlatformAccount:
    secrets = {"client_id": "id", "client_secret": "test_secret"}
    usual: dict[str, Any] = {
        "platform": "opendelivery",
        "account": "od-main",
        "base_url": "https://od.example.test",
        "currency": "BRL",
        "credentials": {name: SecretStr(value) for name, value in secrets.items()},
    }
    return PlatformAccount(**{**usual, **changes})


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Any:
    def open_with(*answers: Answer, **changes: Any) -> tuple[OpenDelivery, WrittenAnswers]:
        http = WrittenAnswers(*answers)
        monkeypatch.setattr(opendelivery, "PartnerHttp", lambda *_: http)
        session: Any = object()
        clock = changes.pop("clock", lambda: 0.0)
        return OpenDelivery(account(**changes), FakeCatalogue(), session, clock=clock), http

    return open_with


def price(value: float, currency: str = "BRL") -> dict[str, Any]:
    return {"value": value, "currency": currency}


def document(**changes: Any) -> dict[str, Any]:
    """Two noodles with an extra egg, 0.5 kg of meat, delivery and service fee, one discount."""
    usual = {
        "id": "o-1",
        "type": "DELIVERY",
        "displayId": "1017",
        "createdAt": "2024-05-06T11:59:00.000Z",
        "orderTiming": "INSTANT",
        "merchant": {"id": "poi-1"},
        "items": [
            {
                "name": "Noodle",
                "externalCode": "NOODLE",
                "unit": "UN",
                "quantity": 2,
                "unitPrice": price(28.0),
                "optionsPrice": price(1.5),
                "totalPrice": price(59.0),
                "options": [{"name": "Egg", "quantity": 1}],
                "specialInstructions": "no coriander",
            },
            {
                "name": "Meat",
                "externalCode": "MEAT",
                "unit": "KG",
                "quantity": 0.5,
                "unitPrice": price(40.01),
                "totalPrice": price(20.005),
            },
        ],
        "otherFees": [
            {"type": "DELIVERY_FEE", "price": price(7.9)},
            {"type": "SERVICE_FEE", "price": price(1.0)},
        ],
        "discounts": [
            {
                "amount": price(10),
                "sponsorshipValues": [
                    {"name": "MARKETPLACE", "amount": price(6)},
                    {"name": "MERCHANT", "amount": price(4)},
                ],
            }
        ],
        "total": {
            "itemsPrice": price(79.01),
            "otherFees": price(8.9),
            "discount": price(10),
            "orderAmount": price(77.91),
        },
        "payments": {"prepaid": 77.91, "pending": 0},
        "customer": {"name": "Ana", "phone": {"number": "11999999999", "extension": "77"}},
        "delivery": {"deliveryAddress": {"formattedAddress": "Rua das Flores 12"}},
        "extraInfo": "ring twice",
    }
    return {**usual, **changes}


def event(kind: str, order: str = "o-1", name: str = "e-1", **more: Any) -> dict[str, Any]:
    created = {"createdAt": "2024-05-06T12:00:00Z", "orderURL": "https://evil.test/"}
    return {"eventId": name, "eventType": kind, "orderId": order, **created, **more}


async def read(opened: Any, **changes: Any) -> Page:
    platform, _ = opened(TOKEN, answered([event("CREATED")]), answered(document(**changes)))
    page: Page = await platform.pull("", {}, NOW)
    return page


async def order(opened: Any, **changes: Any) -> Order:
    told = (await read(opened, **changes)).raws[0].facts[0].event
    assert isinstance(told, OrderPlaced)
    return told.order


def webhook(body: bytes, signature: str, **headers: str) -> Request:
    return Request("/x/v1/newEvent", {}, {"x-app-signature": signature, **headers}, body)


def test_a_webhook_is_signed_as_documented(opened: Any) -> None:
    platform, _ = opened()
    right = "5efe0783aea0b5869ff34281a5bce6b97255d1faddcf66354f106f7241bfdac5"
    push = platform.receive(webhook(b'{"eventId":"1"}', right), NOW)
    assert push.answer == b""
    assert "orderId" in push.raw.problem  # genuine, and of no use
    for forged in ("", right[:-1] + "6", "é"):
        with pytest.raises(Forged):
            platform.receive(webhook(b'{"eventId":"1"}', forged), NOW)


def test_a_webhook_of_another_application_is_refused(opened: Any) -> None:
    right = "5efe0783aea0b5869ff34281a5bce6b97255d1faddcf66354f106f7241bfdac5"
    secrets = {"client_id": "id", "client_secret": "test_secret", "app_id": "ours"}
    kept = {name: SecretStr(value) for name, value in secrets.items()}
    platform, _ = opened(credentials=kept)
    with pytest.raises(Forged):
        platform.receive(webhook(b'{"eventId":"1"}', right, **{"x-app-id": "theirs"}), NOW)
    assert platform.receive(webhook(b'{"eventId":"1"}', right, **{"x-app-id": "ours"}), NOW)


async def test_money_is_exact_and_other_fees_count_as_packing(opened: Any) -> None:
    placed = await order(opened)
    assert placed.amounts.model_dump() == {
        "goods_minor": 7901,
        "packing_minor": 100,
        "delivery_minor": 790,
        "platform_discount_minor": 600,
        "store_discount_minor": 400,
        "paid_minor": 7791,
    }
    assert sum(line.paid_minor for line in placed.lines) == 7791
    assert placed.flags == ()


async def test_what_is_weighed_is_one_line_at_its_total_price(opened: Any) -> None:
    noodle, meat = (await order(opened)).lines
    assert (noodle.sku, noodle.quantity, noodle.unit_price_minor) == ("NOODLE", 2, 2950)
    assert noodle.options == "1 x Egg, no coriander"
    assert (meat.quantity, meat.unit_price_minor, meat.options) == (1, 2001, "0.5 KG")


async def test_people_times_and_numbers(opened: Any) -> None:
    placed = await order(opened)
    assert placed.recipient.phone == "11999999999,77"
    assert placed.recipient.address == "Rua das Flores 12"
    assert (placed.daily_number, placed.wanted_at) == (1017, None)
    schedule = {"scheduledDateTimeStart": "2024-05-06T15:00:00-03:00"}
    wanted = (await order(opened, type="TAKEOUT", schedule=schedule)).wanted_at
    assert wanted == datetime(2024, 5, 6, 18, tzinfo=UTC)


@pytest.mark.parametrize(
    "total",
    [
        {},
        {"itemsPrice": price(79.01), "orderAmount": price(77.91), "discount": price(0)},
        {
            "itemsPrice": price(79.01),
            "otherFees": price(8.9),
            "discount": price(10),
            "orderAmount": price(77.91, "USD"),
        },
    ],
)
async def test_money_that_does_not_fit_is_cooked_and_flagged(opened: Any, total: Any) -> None:
    assert "money_incomplete" in (await order(opened, total=total)).flags


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"merchant": {"id": "poi-666"}}, "poi-666"),
        ({"merchant": None}, "none of ours"),
        ({"id": "another"}, "event names"),
        ({"items": [{"quantity": -1}]}, "line 1"),
        ({"total": {"orderAmount": price(1e11)}}, None),
    ],
)
async def test_what_cannot_be_an_order_is_a_problem_and_acknowledged(
    opened: Any, change: Any, why: str | None
) -> None:
    page = await read(opened, **change)
    assert [entry.event_id for entry in page.receipt] == ["e-1"]
    assert why is None or why in str(page.raws[0].problem)


async def test_the_payload_is_kept_as_it_came(opened: Any) -> None:
    (raw,) = (await read(opened)).raws
    assert raw.body == answered(document()).body


async def test_an_event_whose_order_cannot_be_read_waits_and_is_not_acknowledged(
    opened: Any,
) -> None:
    events = answered([event("CREATED"), event("CANCELLED", "o-2", "e-2")])
    good = answered(document())
    platform, _ = opened(TOKEN, events, Answer(404, b""), events, events, good)
    page = await platform.pull("", {}, NOW)
    assert [entry.event_id for entry in page.receipt] == ["e-2"]
    assert page.cursor == {"waiting": {"e-1": [1, int(NOW.timestamp()) + 1]}}
    assert not page.more
    again = await platform.pull("", page.cursor, NOW)
    assert again.cursor == page.cursor
    later = await platform.pull("", page.cursor, datetime(2024, 5, 6, 13, tzinfo=UTC))
    assert [entry.event_id for entry in later.receipt] == ["e-1", "e-2"]
    assert later.cursor == {"waiting": {}}


async def test_unused_events_are_acknowledged_too_a_hundred_at_a_time(opened: Any) -> None:
    events = answered([event("CONFIRMED", name=f"e-{n}") for n in range(250)])
    platform, http = opened(
        TOKEN, events, *[ACCEPTED] * 3, options={"page_events": 250, "acknowledged_id_field": "id"}
    )
    page = await platform.pull("", {}, NOW)
    assert page.raws == ()
    await platform.acknowledge(page)
    sizes = [body.count(b"eventType") for _, url, body in http.calls if "acknowledgment" in url]
    assert sizes == [100, 100, 50]


async def test_a_page_is_bounded(opened: Any) -> None:
    events = answered([event("CONCLUDED", f"o-{n}", f"e-{n}") for n in range(7)])
    platform, _ = opened(TOKEN, events, options={"page_events": 5})
    page = await platform.pull("", {}, NOW)
    assert (len(page.raws), len(page.receipt), page.more) == (5, 5, True)


async def test_a_customer_who_asks_to_cancel_is_brought_before_a_person(opened: Any) -> None:
    platform, _ = opened(TOKEN, answered([event("ORDER_CANCELLATION_REQUEST")]))
    page = await platform.pull("", {}, NOW)
    assert "o-1" in page.raws[0].problem
    assert [entry.event_id for entry in page.receipt] == ["e-1"]


async def test_a_cancellation_tells_its_code_and_not_its_text(opened: Any) -> None:
    told = event("CANCELLED", metadata={"code": "DELIVERY_PROBLEM", "reason": "Ana, Rua 12"})
    platform, _ = opened(TOKEN, answered([told]))
    (fact,) = (await platform.pull("", {}, NOW)).raws[0].facts
    assert fact.event == OrderCancelled(reason="cancelled_on_platform DELIVERY_PROBLEM")


async def test_a_token_is_asked_for_once_and_renewed_before_its_end(opened: Any) -> None:
    time = [0.0]
    platform, http = opened(TOKEN, NOTHING, NOTHING, TOKEN, NOTHING, clock=lambda: time[0])
    for time[0] in (0.0, 3000.0, 3590.0):
        await platform.pull("", {}, NOW)
    assert sum("oauth" in url for _, url, _ in http.calls) == 2


async def test_a_refused_token_is_renewed_once(opened: Any) -> None:
    denied = Answer(401, b"")
    platform, _ = opened(TOKEN, denied, TOKEN, NOTHING)
    await platform.pull("", {}, NOW)
    platform, _ = opened(TOKEN, denied, TOKEN, denied)
    with pytest.raises(NotDone):
        await platform.pull("", {}, NOW)


DONE = Verdict(done=True)
CANCELLED = Verdict(done=False, reason="cancelled")


@pytest.mark.parametrize(
    ("act", "last", "verdict"),
    [
        ("tell_ready", "READY_FOR_PICKUP", DONE),
        ("tell_ready", "DISPATCHED", DONE),
        ("tell_ready", "CANCELLED", CANCELLED),
        ("tell_ready", "CREATED", Verdict(done=False, reason="not_confirmed")),
        ("tell_ready", "", DONE),
        ("reject", "CANCELLED", DONE),
        ("reject", "CANCELLATION_REQUESTED", DONE),
        ("reject", "CONCLUDED", Verdict(done=False, reason="completed")),
        ("reject", "CANCELLATION_REQUEST_DENIED", Verdict(done=False, reason="denied")),
        ("reject", "", Verdict(done=False, reason="not_cancellable")),
        ("reject", "SOMETHING_NEW", Verdict(done=False, reason="last event there: SOMETHING_NEW")),
    ],
)
async def test_a_refusal_converges_on_the_last_event(
    opened: Any, act: str, last: str, verdict: Verdict
) -> None:
    platform, _ = opened(TOKEN, REFUSED, answered(document(lastEvent=last)))
    assert await getattr(platform, act)("o-1", "x") == verdict


@pytest.mark.parametrize(
    ("last", "verdict"), [("CONFIRMED", DONE), ("CONCLUDED", DONE), ("CANCELLED", CANCELLED)]
)
async def test_confirming_reads_the_order_first(opened: Any, last: str, verdict: Verdict) -> None:
    platform, http = opened(TOKEN, answered(document(status=last)))
    assert await platform.confirm("o-1") == verdict
    assert not any(url.endswith("/confirm") for _, url, _ in http.calls)


async def test_a_confirmation_repeats_the_order_s_time_and_gives_it_our_number(
    opened: Any,
) -> None:
    platform, http = opened(TOKEN, answered(document(lastEvent="CREATED")), ACCEPTED)
    assert await platform.confirm("o-1") == DONE
    body = http.calls[-1][2]
    assert b'"createdAt": "2024-05-06T11:59:00.000Z"' in body
    assert b'"orderExternalCode": "' in body
    platform, _ = opened(TOKEN, answered(document(lastEvent="CREATED")), REFUSED, answered({}))
    assert await platform.confirm("o-1") == DONE


@pytest.mark.parametrize("status", [400, 403, 404, 409])
async def test_other_refusals_are_not_done(opened: Any, status: int) -> None:
    platform, _ = opened(TOKEN, Answer(status, b""))
    with pytest.raises(Hopeless if status == 400 else NotDone):
        await platform.tell_ready("o-1", "x")


def test_a_webhook_that_is_no_json_is_refused(opened: Any) -> None:

    platform, _ = opened()
    for body in (b"", b"{", b'{"a":1,"a":2}'):
        right = hmac.digest(b"test_secret", body, "sha256").hex()
        with pytest.raises(Malformed):
            platform.receive(webhook(body, right), NOW)
