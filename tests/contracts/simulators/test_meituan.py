"""The simulated Meituan over HTTP: envelope and codes, the walk, pushes, misbehaviour."""

import json
from urllib.parse import unquote_plus

import pytest
from aiohttp import ServerDisconnectedError

from ops.simulators.meituan.signature import signature
from tests.contracts.simulators.stage import Inbox, MeituanStage, meituan, until

HEARD = b'{"data":"ok"}'


async def placed(stage: MeituanStage, **wish: object) -> str:
    order = await stage.sim("orders", store="S001", **wish)
    return str(order["order_id"])


def form_of(body: bytes) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in body.decode().split("&"))
    return {unquote_plus(key): unquote_plus(value) for key, _, value in pairs}


async def test_the_day_sequence_leads_to_the_order_and_its_detail() -> None:
    async with meituan() as stage:
        order_id = await placed(stage, remark="50% spicy & no +1")
        today = (await stage.read("summary"))["today"].replace("-", "")
        assert (await stage.call("order/getOrderDaySeq", app_poi_code="poi-001"))["day_seq"] == 1
        found = await stage.call(
            "order/getOrderIdByDaySeq", app_poi_code="poi-001", date_time=today, day_seq="1"
        )
        detail = await stage.call("order/getOrderDetail", order_id=str(found["order_id"]))
        assert str(detail["order_id"]) == order_id
        assert detail["status"] == 2
        assert "50% spicy & no +1" in detail["caution"]
        assert (await stage.entry(order_id))["seen"]["count"] == 1


@pytest.mark.parametrize(
    ("path", "params", "code"),
    [
        ("order/getOrderDetail", {"order_id": "1"}, 806),
        ("order/getOrderDetail", {}, 701),
        ("order/getOrderDaySeq", {"app_poi_code": "poi-999"}, 1001),
        ("order/getOrderDaySeq", {"app_poi_code": "poi-001", "timestamp": "yesterday"}, 705),
        ("order/getOrderDaySeq", {"app_poi_code": "poi-001", "app_id": "1"}, 702),
    ],
)
async def test_a_wrong_call_is_answered_with_its_code(
    path: str, params: dict[str, str], code: int
) -> None:
    async with meituan() as stage:
        assert await stage.call(path, **params) == code


async def test_a_forged_signature_is_code_703_in_the_envelope() -> None:
    async with meituan() as stage:
        answer = await stage.raw("order/viewstatus", order_id="1", secret="guessed")
        assert json.loads(answer)["error"]["code"] == 703


async def test_posted_parameters_are_part_of_the_signature() -> None:
    async with meituan() as stage:
        await placed(stage)
        url = f"{stage.url}/api/v1/order/batchPullPhoneNumber"
        system = {"app_id": "4711", "timestamp": str(int(stage.clock()))}
        form = {"app_poi_code": "poi-001", "offset": "0", "limit": "10"}
        sig = signature(url, {**system, **form}, "example-meituan-secret-not-real")
        query = {**system, "sig": sig}
        async with stage.session.post(url, params=query, data=form) as answer:
            numbers = (await answer.json())["data"]
        assert numbers[0]["real_phone_number"].startswith("138")
        async with stage.session.post(url, params=query, data={**form, "limit": "11"}) as answer:
            assert (await answer.json())["error"]["code"] == 703


async def test_an_order_is_confirmed_told_ready_with_its_code_and_completes() -> None:
    async with meituan() as stage:
        order_id = await placed(stage)
        for path in ("order/poi_received", "order/confirm"):
            assert await stage.call(path, order_id=order_id) == "ok"
        ready = {"order_id": order_id, "pickup_code": "A012"}
        for _ in range(2):
            assert await stage.call("order/preparationMealComplete", **ready) == "ok"
        told = (await stage.entry(order_id))["ready"]
        assert (told["code"], told["count"]) == ("A012", 2)


async def test_a_completed_order_cannot_be_cancelled() -> None:
    async with meituan() as stage:
        await stage.sim("settings", complete_seconds=0)
        order_id = await placed(stage)
        await stage.call("order/confirm", order_id=order_id)
        await stage.call("order/preparationMealComplete", order_id=order_id)

        async def completed() -> bool:
            status = await stage.call("order/viewstatus", order_id=order_id)
            return bool(status["status"] == 8)

        await until(completed)
        cancel = {"order_id": order_id, "reason_code": "2008", "reason": "busy"}
        assert await stage.call("order/cancel", **cancel) == 1022


async def test_a_rejected_order_cannot_be_confirmed() -> None:
    async with meituan() as stage:
        order_id = await placed(stage)
        rejected = await stage.call(
            "order/cancel", order_id=order_id, reason_code="2009", reason="sold out"
        )
        assert rejected == "ok"
        assert await stage.call("order/confirm", order_id=order_id) == 808
        entry = await stage.entry(order_id)
        assert (entry["rejected"]["reason_code"], entry["confirmed"]) == (2009, None)


async def test_confirming_twice_is_808_and_counted() -> None:
    async with meituan() as stage:
        order_id = await placed(stage)
        assert await stage.call("order/confirm", order_id=order_id) == "ok"
        assert await stage.call("order/confirm", order_id=order_id) == 808
        assert (await stage.entry(order_id))["confirmed"]["count"] == 2


async def test_a_degraded_order_is_complete_at_a_later_look() -> None:
    async with meituan() as stage:
        order_id = await placed(stage, degraded=1)
        first = await stage.call("order/getOrderDetail", order_id=order_id)
        second = await stage.call("order/getOrderDetail", order_id=order_id)
        assert (first["incmp_code"], first["poi_receive_detail"]) == (-1, "")
        assert (second["incmp_code"], second["incmp_modules"]) == (0, [])


async def test_a_number_that_is_not_readable_yet_is_a_hole_for_a_while() -> None:
    async with meituan() as stage:
        await placed(stage, unreadable_for=60)
        today = (await stage.read("summary"))["today"].replace("-", "")
        look = {"app_poi_code": "poi-001", "date_time": today, "day_seq": "1"}
        assert await stage.call("order/getOrderIdByDaySeq", **look) == 806
        stage.clock.ahead = 61
        assert (await stage.call("order/getOrderIdByDaySeq", **look))["result"] == "ok"


async def test_a_new_day_counts_from_one_and_keeps_yesterdays_numbers() -> None:
    async with meituan() as stage:
        await stage.sim("day", date="2026-01-31")
        before = await placed(stage)
        await stage.sim("day", days=1)
        assert (await stage.call("order/getOrderDaySeq", app_poi_code="poi-001"))["day_seq"] == 0
        await placed(stage)
        look = {"app_poi_code": "poi-001", "day_seq": "1"}
        old = await stage.call("order/getOrderIdByDaySeq", date_time="20260131", **look)
        new = await stage.call("order/getOrderIdByDaySeq", date_time="20260201", **look)
        assert str(old["order_id"]) == before != str(new["order_id"])


async def test_a_duplicate_order_has_two_numbers_and_one_id() -> None:
    async with meituan() as stage:
        await stage.sim("faults", kind="duplicate", next=1)
        await placed(stage)
        assert (await stage.call("order/getOrderDaySeq", app_poi_code="poi-001"))["day_seq"] == 2
        assert (await stage.read("summary"))["orders"] == 1


async def test_pushes_are_signed_over_the_callback_url_and_repeated_until_heard() -> None:
    inbox = Inbox(HEARD, (500, b""), (200, b'{"data": "ok"}'))
    async with meituan(inbox) as stage:
        await stage.sim("settings", push_first_wait_seconds=0.01)
        order_id = await placed(stage, remark="不要香菜 + 50%")
        await until(lambda: len(inbox.requests) == 3)
        path, _, body = inbox.requests[2]
        form = form_of(body)
        base = (await stage.entry(order_id))["order_id"]
        assert path == "/platforms/meituan/mt-main/paid"
        assert form["order_id"] == base
        assert json.loads(form["extras"])[-1] == {}
        host = inbox.requests[2][1]["host"]
        signed = signature(f"http://{host}{path}", form, "example-meituan-secret-not-real")
        assert form["sig"] == signed


async def test_the_customers_cancellation_is_pushed_with_who_and_why() -> None:
    inbox = Inbox(HEARD)
    async with meituan(inbox) as stage:
        order_id = await placed(stage, cancel_after=0)
        await until(lambda: any(path.endswith("/cancelled") for path, _, _ in inbox.requests))
        body = next(body for path, _, body in inbox.requests if path.endswith("/cancelled"))
        form = form_of(body)
        assert (form["order_id"], form["deal_op_type"]) == (order_id, "1")
        assert (await stage.entry(order_id))["cancelled"]["by"] == "customer"


async def test_a_completed_order_is_pushed_with_status_8() -> None:
    inbox = Inbox(HEARD)
    async with meituan(inbox) as stage:
        await stage.sim("settings", complete_seconds=0)
        order_id = await placed(stage)
        await stage.call("order/confirm", order_id=order_id)
        await stage.call("order/preparationMealComplete", order_id=order_id)
        await until(lambda: any(path.endswith("/completed") for path, _, _ in inbox.requests))
        _, _, body = inbox.requests[-1]
        assert form_of(body)["status"] == "8"


async def test_faults_fire_as_asked() -> None:
    async with meituan() as stage:
        await placed(stage)
        look = {"app_poi_code": "poi-001"}
        for kind in ("429", "4001"):
            await stage.sim("faults", kind=kind, next=1)
        assert await stage.call("order/getOrderDaySeq", **look) == 711
        assert await stage.call("order/getOrderDaySeq", **look) == 4001
        await stage.sim("faults", kind="truncated", next=1)
        with pytest.raises(json.JSONDecodeError):
            await stage.call("order/getOrderDaySeq", **look)
        await stage.sim("faults", kind="500", next=1)
        assert (await stage.raw("order/getOrderDaySeq", **look)).startswith(b"<html>")
        assert (await stage.call("order/getOrderDaySeq", **look))["day_seq"] == 1


async def test_a_lost_answer_has_taken_effect() -> None:
    async with meituan() as stage:
        order_id = await placed(stage)
        # Two, because aiohttp repeats a GET whose connection broke once, without a word.
        await stage.sim("faults", kind="lost_answer", next=2, path="order/confirm")
        with pytest.raises(ServerDisconnectedError):
            await stage.call("order/confirm", order_id=order_id)
        assert (await stage.call("order/viewstatus", order_id=order_id))["status"] == 4


async def test_a_fault_that_does_not_exist_is_refused_with_a_sentence() -> None:
    async with meituan() as stage:
        answer = await stage.sim("faults", kind="earthquake", next=1)
        assert "earthquake" in answer["error"]


async def test_a_rush_places_every_order_whether_or_not_anyone_looks() -> None:
    async with meituan() as stage:
        await stage.sim("orders", count=30, per_second=3000)

        async def all_placed() -> bool:
            return bool((await stage.read("summary"))["orders"] == 30)

        await until(all_placed)
        summary = await stage.read("summary")
        assert (summary["orders"], summary["planned"]) == (30, 0)
        orders = (await stage.read("books"))["orders"]
        assert len({order["order_id"] for order in orders}) == 30
        assert len({order["store"] for order in orders}) > 5


async def test_a_reset_empties_the_books() -> None:
    async with meituan() as stage:
        await placed(stage)
        await stage.sim("reset")
        assert (await stage.read("books")) == {"orders": []}
