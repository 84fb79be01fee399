"""The simulated tills over HTTP: each behaviour, the books by idempotency key, the callbacks."""

import asyncio
import json
from typing import Any

import pytest
from aiohttp import ClientError
from standardwebhooks import Webhook

from tests.contracts.simulators.stage import Inbox, TillStage, secret_of, tills, until

OK = b'{"status":"ok"}'


def ticket(ticket_id: str = "101", kind: str = "ticket.placed") -> bytes:
    data = {"ticket_id": ticket_id, "order_id": f"order-{ticket_id}", "store_id": "S001"}
    return json.dumps({"type": kind, "timestamp": "2026-01-01T00:00:00Z", "data": data}).encode()


def cancellation(ticket_id: str = "101") -> bytes:
    return ticket(ticket_id, "ticket.cancelled")


async def messages(stage: TillStage) -> list[Any]:
    return list((await stage.read("books"))["messages"])


async def test_an_accepting_till_takes_then_accepts_then_has_the_meal_ready() -> None:
    inbox = Inbox(OK)
    async with tills(inbox) as stage:
        assert await stage.push(ticket(), "key-1") == (200, {"status": "taken"})
        await until(lambda: len(inbox.requests) == 2)
        accepted, ready = inbox.documents
        assert (accepted["type"], ready["type"]) == ("ticket.accepted", "meal.ready")
        assert ready["data"]["pickup_code"] == "A001"
        message = (await messages(stage))[0]
        assert (message["status"], message["pickup_code"]) == ("ready", "A001")


async def test_a_callback_is_signed_as_the_reference_library_expects() -> None:
    inbox = Inbox(OK)
    async with tills(inbox) as stage:
        await stage.push(ticket(), "key-1")
        await until(lambda: len(inbox.requests) == 2)
        for path, headers, body in inbox.requests:
            assert path == "/tills/S001/events"
            Webhook(secret_of("S001")).verify(body, headers)


async def test_a_callback_is_repeated_under_its_id_until_it_is_taken() -> None:
    inbox = Inbox(OK, (503, b""), (500, b""))
    async with tills(inbox, cook_seconds=60) as stage:
        await stage.push(ticket(), "key-1")
        await until(lambda: len(inbox.requests) == 3)
        assert len({headers["webhook-id"] for _, headers, _ in inbox.requests}) == 1
        assert len({body for _, _, body in inbox.requests}) == 1


async def test_a_callback_that_is_refused_for_good_is_not_repeated() -> None:
    inbox = Inbox(OK, (422, b""))
    async with tills(inbox) as stage:
        await stage.push(ticket(), "key-1")
        await until(lambda: len(inbox.requests) == 2)
        statuses = [one["status"] for one in (await messages(stage))[0]["callbacks"]]
        assert statuses == [422, 200]


@pytest.mark.parametrize(
    ("behaviour", "answer"),
    [
        ({"mode": "accept_now"}, (200, {"status": "accepted"})),
        ({"mode": "quiet"}, (200, {"status": "taken"})),
        ({"mode": "silent"}, (200, {"status": "taken"})),
        ({"mode": "refuse_later"}, (200, {"status": "taken"})),
        ({"mode": "refuse", "reason": "full"}, (200, {"status": "refused", "reason": "full"})),
        (
            {"mode": "refuse", "refuse_by": "422", "reason": "full"},
            (422, {"status": "refused", "reason": "full"}),
        ),
        ({"mode": "down"}, (503, None)),
    ],
)
async def test_a_till_answers_as_it_was_asked_to_behave(
    behaviour: dict[str, Any], answer: tuple[int, Any]
) -> None:
    async with tills(Inbox(OK)) as stage:
        await stage.sim("behaviour", store="S001", **behaviour)
        assert await stage.push(ticket(), "key-1") == answer


async def test_a_till_that_refuses_later_says_why() -> None:
    inbox = Inbox(OK)
    async with tills(inbox, mode="refuse_later", reason="oven broken") as stage:
        await stage.push(ticket(), "key-1")
        await until(lambda: len(inbox.requests) == 1)
        assert inbox.documents[0]["data"] == {"ticket_id": "101", "reason": "oven broken"}


async def test_a_slow_till_may_call_back_before_it_answers() -> None:
    inbox = Inbox(OK)
    async with tills(inbox, mode="slow", seconds=30) as stage:
        pushed = asyncio.ensure_future(stage.push(ticket(), "key-1"))
        await until(lambda: len(inbox.requests) == 2)
        assert not pushed.done()
        pushed.cancel()


async def test_a_till_loses_its_first_answers_but_has_the_ticket_once() -> None:
    inbox = Inbox(OK)
    async with tills(inbox, mode="lost_answer", times=2) as stage:
        for _ in range(2):
            with pytest.raises(ClientError):
                await stage.push(ticket(), "key-1")
        assert (await stage.push(ticket(), "key-1"))[0] == 200
        message = (await messages(stage))[0]
        assert (message["attempts"], len(message["bodies"])) == (3, 1)
        await until(lambda: len(inbox.requests) == 2)


async def test_a_till_that_hangs_up_knows_of_no_ticket() -> None:
    async with tills(mode="down", down_by="hang_up") as stage:
        with pytest.raises(ClientError):
            await stage.push(ticket(), "key-1")
        assert await messages(stage) == []
        assert (await stage.read("summary"))["down"] == 1


async def test_a_stuttering_till_says_everything_twice_under_one_id() -> None:
    inbox = Inbox(OK)
    async with tills(inbox, duplicate_callbacks=True) as stage:
        await stage.push(ticket(), "key-1")
        await until(lambda: len(inbox.requests) == 4)
        assert len({headers["webhook-id"] for _, headers, _ in inbox.requests}) == 2


async def test_a_repeat_is_one_ticket_and_other_bytes_are_noticed() -> None:
    async with tills(mode="quiet") as stage:
        await stage.push(ticket(), "key-1")
        await stage.push(ticket(), "key-1")
        await stage.push(ticket() + b" ", "key-1")
        (message,) = await messages(stage)
        assert (message["attempts"], len(message["bodies"])) == (3, 2)


async def test_a_till_may_answer_a_repeat_with_409() -> None:
    async with tills(mode="quiet", repeat_by="409") as stage:
        assert (await stage.push(ticket(), "key-1"))[0] == 200
        assert await stage.push(ticket(), "key-1") == (409, {"status": "taken"})


async def test_a_ticket_under_a_second_key_is_recorded_as_doubled() -> None:
    async with tills(mode="quiet") as stage:
        await stage.push(ticket(), "key-1")
        await stage.push(ticket(), "key-2")
        assert [one["doubled"] for one in await messages(stage)] == [False, True]
        assert (await stage.read("summary"))["doubled"] == 1


async def test_a_cancelled_ticket_is_not_cooked() -> None:
    inbox = Inbox(OK)
    async with tills(inbox, accept_seconds=60) as stage:
        await stage.push(ticket(), "key-1")
        assert await stage.push(cancellation(), "key-2") == (200, {"status": "cancelled"})
        assert [one["status"] for one in await messages(stage)] == ["cancelled", "cancelled"]


async def test_a_cancellation_that_came_first_leaves_a_tombstone() -> None:
    async with tills() as stage:
        assert (await stage.push(cancellation(), "key-2"))[0] == 200
        for _ in range(2):
            answer = await stage.push(ticket(), "key-1")
            assert answer == (409, {"status": "cancelled"})
        assert (await stage.read("books"))["tombstones"][0]["ticket_id"] == "101"


async def test_a_meal_that_is_ready_is_kept() -> None:
    inbox = Inbox(OK)
    async with tills(inbox) as stage:
        await stage.push(ticket(), "key-1")
        await until(lambda: len(inbox.requests) == 2)
        status, body = await stage.push(cancellation(), "key-2")
        assert (status, body["reason"]) == (422, "the meal is ready")


async def test_forged_and_stale_messages_are_refused_and_counted() -> None:
    async with tills() as stage:
        assert (await stage.push(ticket(), "key-1", secret=secret_of("S002")))[0] == 401
        assert (await stage.push(ticket(), "key-1", age=301))[0] == 401
        summary = await stage.read("summary")
        assert (summary["forged"], summary["stale"], summary["messages"]) == (1, 1, 0)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"type":"ticket.placed","data":{}}'])
async def test_what_is_no_ticket_is_refused_with_a_reason(body: bytes) -> None:
    async with tills() as stage:
        status, answer = await stage.push(body, "key-1")
        assert (status, answer["reason"]) == (422, "this is not a ticket message")


async def test_a_tester_can_send_any_callback_now_even_a_forged_one() -> None:
    inbox = Inbox(OK)
    async with tills(inbox) as stage:
        spoken = {"store": "S002", "ticket_id": "7", "type": "meal.ready", "pickup_code": "B1"}
        said = await stage.sim("call_back", **spoken, webhook_id="mine")
        assert said == {"status": 200, "body": '{"status":"ok"}'}
        await stage.sim("call_back", **spoken, secret=secret_of("S001"))
        Webhook(secret_of("S002")).verify(inbox.requests[0][2], inbox.requests[0][1])
        Webhook(secret_of("S001")).verify(inbox.requests[1][2], inbox.requests[1][1])
        assert inbox.requests[0][1]["webhook-id"] == "mine"


async def test_a_mode_that_does_not_exist_is_refused_with_a_sentence() -> None:
    async with tills() as stage:
        assert "mode" in (await stage.sim("behaviour", store="S001", mode="angry"))["error"]
        assert "S999" in (await stage.sim("behaviour", store="S999", mode="accept"))["error"]


async def test_a_reset_restores_books_and_behaviours() -> None:
    async with tills(mode="quiet") as stage:
        await stage.sim("behaviour", store="*", mode="down")
        await stage.sim("reset")
        assert (await stage.push(ticket(), "key-1"))[0] == 200
