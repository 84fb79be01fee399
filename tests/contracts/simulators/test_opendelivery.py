"""The simulated Open Delivery application over HTTP: events, acknowledgment, states, tokens."""

import json

import pytest

from ops.simulators.opendelivery.signature import signature
from tests.contracts.simulators.stage import Inbox, OpenStage, opendelivery, until

CONFIRM = {"createdAt": "2026-01-01T00:00:00Z", "orderExternalCode": "730184920174650283"}
REJECT = {"reason": "sold out", "code": "UNAVAILABLE_ITEM", "mode": "AUTO"}
DENY = {"reason": "cooked", "code": "DISH_ALREADY_DONE"}


async def placed(stage: OpenStage, **wish: object) -> str:
    return str((await stage.sim("orders", store="S001", **wish))["order_id"])


async def types(stage: OpenStage) -> list[str]:
    return [event["eventType"] for event in await stage.events()]


async def test_an_event_comes_back_until_it_is_acknowledged() -> None:
    async with opendelivery() as stage:
        order_id = await placed(stage)
        first, again = await stage.events(), await stage.events()
        assert first == again
        assert first[0]["orderURL"].endswith(f"/v1/orders/{order_id}")
        ack = [{"id": e["eventId"], "orderId": order_id, "eventType": "CREATED"} for e in first]
        assert (await stage.call("POST", "events/acknowledgment", ack))[0] == 202
        assert await stage.call("GET", "events:polling") == (204, None)


async def test_polling_is_limited_to_the_named_merchants() -> None:
    async with opendelivery() as stage:
        await placed(stage)
        named = {"x-polling-merchants": "merchant-002, merchant-003"}
        assert await stage.events(**named) == []
        assert len(await stage.events(**{"x-polling-merchants": "merchant-001"})) == 1


async def test_more_than_a_hundred_acknowledgments_at_once_are_refused() -> None:
    async with opendelivery() as stage:
        ack = [{"id": str(number)} for number in range(101)]
        assert (await stage.call("POST", "events/acknowledgment", ack))[0] == 400
        assert (await stage.call("POST", "events/acknowledgment", ack[:100]))[0] == 202


async def test_an_order_travels_to_its_conclusion() -> None:
    async with opendelivery() as stage:
        await stage.sim("settings", complete_seconds=0)
        order_id = await placed(stage)
        assert (await stage.call("POST", f"orders/{order_id}/confirm", CONFIRM))[0] == 202
        ready = {"pickupCode": "A012"}
        assert (await stage.call("POST", f"orders/{order_id}/readyForPickup", ready))[0] == 202

        async def concluded() -> bool:
            return (await types(stage))[1:] == ["CONFIRMED", "READY_FOR_PICKUP", "CONCLUDED"]

        await until(concluded)
        assert (await stage.entry(order_id))["ready"]["code"] == "A012"
        _, order = await stage.call("GET", f"orders/{order_id}")
        assert order["lastEvent"] == "CONCLUDED"


async def test_the_same_request_twice_is_422_and_counted() -> None:
    async with opendelivery() as stage:
        order_id = await placed(stage)
        for status in (202, 422):
            answer = await stage.call("POST", f"orders/{order_id}/confirm", CONFIRM)
            assert answer[0] == status
        assert (await stage.entry(order_id))["confirmed"]["count"] == 2


async def test_a_rejected_order_may_not_be_confirmed() -> None:
    async with opendelivery() as stage:
        order_id = await placed(stage)
        path = f"orders/{order_id}/requestCancellation"
        assert (await stage.call("POST", path, REJECT))[0] == 202
        assert (await stage.call("POST", f"orders/{order_id}/confirm", CONFIRM))[0] == 422
        assert await types(stage) == ["CREATED", "CANCELLATION_REQUESTED", "CANCELLED"]


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("confirm", {}),
        ("confirm", {"createdAt": "2026-01-01T00:00:00Z"}),
        ("requestCancellation", {**REJECT, "code": "BORED"}),
        ("requestCancellation", {**REJECT, "mode": "SOMEHOW"}),
        ("denyCancellation", {"reason": "no"}),
    ],
)
async def test_a_body_that_lacks_what_it_needs_is_400(action: str, body: object) -> None:
    async with opendelivery() as stage:
        order_id = await placed(stage)
        assert (await stage.call("POST", f"orders/{order_id}/{action}", body))[0] == 400


@pytest.mark.parametrize(
    ("answer", "body", "event"),
    [("acceptCancellation", {}, "CANCELLED"), ("denyCancellation", DENY, "CANCELLED_DENIED")],
)
async def test_a_customer_who_asks_is_answered_once(answer: str, body: object, event: str) -> None:
    async with opendelivery() as stage:
        order_id = await placed(stage)
        path = f"orders/{order_id}/{answer}"
        assert (await stage.call("POST", path, body))[0] == 422
        await stage.sim("cancel", order_id=order_id, asks=True)
        assert (await stage.call("POST", path, body))[0] == 204
        assert await types(stage) == ["CREATED", "ORDER_CANCELLATION_REQUEST", event]
        assert (await stage.call("POST", path, body))[0] == 422


async def test_a_customer_who_does_not_ask_just_cancels() -> None:
    async with opendelivery() as stage:
        order_id = await placed(stage)
        await stage.sim("cancel", order_id=order_id)
        assert await types(stage) == ["CREATED", "CANCELLED"]


async def test_a_duplicate_order_has_two_created_events() -> None:
    async with opendelivery() as stage:
        await placed(stage, duplicate=True)
        events = await stage.events()
        assert len({event["eventId"] for event in events}) == 2
        assert len({event["orderId"] for event in events}) == 1


async def test_a_token_expires() -> None:
    async with opendelivery() as stage:
        stage.clock.ahead = 3601
        assert (await stage.call("GET", "events:polling"))[0] == 401
        await stage.sign_in()
        assert (await stage.call("GET", "events:polling"))[0] == 204


async def test_wrong_credentials_get_no_token() -> None:
    async with opendelivery() as stage:
        form = {"grant_type": "client_credentials", "client_id": "x", "client_secret": "y"}
        async with stage.session.post(f"{stage.url}/oauth/token", data=form) as answer:
            assert answer.status == 401


async def test_an_unknown_order_is_404() -> None:
    async with opendelivery() as stage:
        assert (await stage.call("GET", "orders/nobody"))[0] == 404


async def test_too_many_calls_are_429_with_a_time_to_come_back() -> None:
    async with opendelivery() as stage:
        await stage.sim("faults", kind="429", next=1)
        async with stage.session.get(f"{stage.url}/v1/events:polling") as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (429, "1")


async def test_a_webhook_is_signed_and_repeated_until_200() -> None:
    inbox = Inbox(b"", (500, b""))
    async with opendelivery(inbox) as stage:
        await stage.sim("settings", push_first_wait_seconds=0.01)
        order_id = await placed(stage)
        await until(lambda: len(inbox.requests) == 2)
        path, headers, body = inbox.requests[1]
        assert path == "/v1/newEvent"
        assert json.loads(body)["orderId"] == order_id
        assert headers["x-app-merchantid"] == "merchant-001"
        assert headers["x-app-signature"] == signature(body, "example-client-secret-not-real")
