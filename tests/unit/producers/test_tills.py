"""Callbacks of tills, from the signed request to the event."""

import json
from uuid import UUID

import pytest

from dispatcher.errors import PipelineError
from dispatcher.identity import bucket_of_number, fact_id
from dispatcher.messages import MealReady, TicketAccepted, TicketRefused
from producers.ingress.door import Door, OneBodyPerKey
from producers.ingress.errors import Contradiction, NotOurs, WrongShape, refusal
from producers.ingress.tills import OK, TillRoute
from tests.unit.producers.doubles import (
    NOW,
    ORDER,
    OTHER_SECRET,
    OTHER_TICKET,
    SECRET,
    TICKET,
    Books,
    MemoryBroker,
    MemoryJournal,
    Shelf,
    call,
    entrance,
    find,
    order_of,
    signed,
    told,
)


class Stage:
    def __init__(self) -> None:
        self.journal = MemoryJournal()
        self.broker = MemoryBroker()
        self.left_behind = 0
        way = entrance(OneBodyPerKey(self.journal), self.broker, Shelf())
        self.route = TillRoute(find, order_of, Door(way, Books(), self.leave), lambda: NOW)

    def leave(self) -> None:
        self.left_behind += 1

    async def send(
        self, body: str, webhook_id: str = "fact-1", store: str = "S001", secret: str = SECRET
    ) -> None:
        request = signed(body, webhook_id, secret)
        assert await self.route.answer({"store_id": store}, request) == OK

    async def refused(self, body: str, webhook_id: str = "fact-1", store: str = "S001") -> int:
        with pytest.raises(PipelineError) as refused:
            await self.send(body, webhook_id, store)
        return refusal(refused.value).status


async def test_the_three_facts_of_a_till_become_events() -> None:
    stage = Stage()
    await stage.send(call("ticket.accepted"), "1")
    await stage.send(call("ticket.refused", reason="sold out"), "2")
    await stage.send(call("meal.ready", pickup_code="A012"), "3")
    expected = [TicketAccepted(), TicketRefused(reason="sold out"), MealReady(pickup_code="A012")]
    assert told(stage.broker) == expected


async def test_a_fact_has_the_id_that_its_till_gave_it() -> None:
    stage = Stage()
    await stage.send(call())
    (event,) = [json.loads(body) for body in stage.broker.taken]
    assert event["id"] == str(fact_id("till/S001", "fact-1"))
    assert (event["subject"], event["source"]) == (str(ORDER), "/tills/S001")
    assert event["time"].startswith("2026-03-01T11:59:58")


async def test_a_fact_from_a_till_whose_clock_is_ahead_happened_now() -> None:
    stage = Stage()
    await stage.send(call().replace("2026-03-01", "2027-03-01"))
    assert json.loads(stage.broker.taken[0])["time"].startswith("2026-03-01T12:00:00")


async def test_a_repeat_is_taken_and_published_once() -> None:
    stage = Stage()
    for _ in range(3):
        await stage.send(call())
    assert len(stage.broker.taken) == len(stage.journal.rows) == 1


async def test_the_same_id_with_another_body_is_a_contradiction_and_never_published() -> None:
    stage = Stage()
    await stage.send(call("ticket.accepted"))
    for _ in range(2):
        assert await stage.refused(call("ticket.refused", reason="changed my mind")) == 409
    assert told(stage.broker) == [TicketAccepted()]
    assert len(stage.journal.rows) == len(stage.journal.done) == 1


async def test_one_id_is_good_for_one_order_although_orders_lie_in_different_buckets() -> None:
    stage = Stage()
    await stage.send(call(ticket=TICKET))
    assert bucket_of_number(TICKET) != bucket_of_number(OTHER_TICKET)
    assert await stage.refused(call(ticket=OTHER_TICKET)) == 409
    assert len(stage.broker.taken) == 1


async def test_a_contradiction_does_not_lose_what_came_first() -> None:
    stage = Stage()
    stage.broker.connected = False
    await stage.send(call("ticket.accepted"))
    for kind in ("meal.ready", "ticket.refused"):
        with pytest.raises(Contradiction):
            await stage.send(call(kind))
    waiting = [row for key, row in stage.journal.rows.items() if key not in stage.journal.done]
    assert [b"TicketAccepted" in row.events[0] for row in waiting] == [True]
    assert stage.left_behind == 3


async def test_ids_of_two_stores_do_not_meet() -> None:
    stage = Stage()
    await stage.send(call())
    stage.route = TillRoute(find, _both, stage.route._door, lambda: NOW)
    await stage.send(call(), store="S002", secret=OTHER_SECRET)
    assert len(stage.broker.taken) == 2


async def _both(number: str) -> tuple[UUID, str]:
    return ORDER, "S002"


async def test_with_the_broker_down_the_row_is_enough() -> None:
    stage = Stage()
    stage.broker.connected = False
    await stage.send(call())
    assert (len(stage.journal.rows), stage.journal.done, stage.left_behind) == (1, set(), 1)
    stage.broker.connected = True
    await stage.send(call())
    assert len(stage.broker.taken) == len(stage.journal.done) == 1


async def test_during_a_change_of_secret_both_are_good() -> None:
    stage = Stage()
    stage.route = TillRoute(find, _changing, stage.route._door, lambda: NOW)
    await stage.send(call(), "1", store="S003", secret=SECRET)
    await stage.send(call(), "2", store="S003", secret=OTHER_SECRET)
    assert len(stage.broker.taken) == 2


async def _changing(number: str) -> tuple[UUID, str]:
    return ORDER, "S003"


@pytest.mark.parametrize("store", ["S002", "S404"])
async def test_only_its_own_till_speaks_for_a_store(store: str) -> None:
    stage = Stage()
    status = await stage.refused(call(), store=store)
    assert status == (404 if store == "S404" else 401)
    assert stage.journal.rows == {}


@pytest.mark.parametrize("secret", [SECRET, OTHER_SECRET])
async def test_a_store_that_is_none_of_ours_is_unknown_however_it_signs(secret: str) -> None:
    with pytest.raises(NotOurs):
        await Stage().send(call(), store="S404", secret=secret)


async def test_a_ticket_of_another_store_is_as_unknown_as_one_that_is_not_there() -> None:
    stage = Stage()
    theirs = signed(call(), secret=OTHER_SECRET)
    nobodys = signed(call(ticket="1" * 20), secret=OTHER_SECRET)
    for request in (theirs, nobodys):
        with pytest.raises(NotOurs, match="store S002 has no ticket"):
            await stage.route.answer({"store_id": "S002"}, request)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("", "not JSON"),
        ("[]", "dictionary"),
        ("null", "dictionary"),
        ('{"type": NaN}', "NaN"),
        ('{"a": 1e999}', "1e30"),
        ("[" * 100_000, "bytes long|nested"),
        ("[" * 60_000, "nested"),
        ('{"type": "\\u0000"}', "NUL"),
        ('{"a": 1, "a": 2}', "twice"),
        ("{}", "type"),
        (call("ticket.eaten"), "ticket.accepted"),
        ('{"type": "meal.ready", "data": {}}', "timestamp"),
        (call().replace("+00:00", ""), "timezone"),
        (call(ticket="12"), "ticket_id"),
        (call(ticket="9" * 5_000), "ticket_id"),
        (call().replace(f'"{TICKET}"', TICKET), "ticket_id|64 bits"),
        (call("meal.ready", pickup_code=12), "pickup_code"),
        (call("meal.ready", pickup_code="A" * 41), "pickup_code"),
    ],
)
async def test_a_wrong_shape_is_refused_with_a_sentence(body: str, sentence: str) -> None:
    stage = Stage()
    with pytest.raises(WrongShape, match=sentence):
        await stage.send(body)
    assert stage.journal.rows == {}


async def test_fields_may_be_added_and_reasons_may_be_long_or_missing() -> None:
    stage = Stage()
    await stage.send(call("ticket.refused", reason="x" * 900, cook="Li"), "1")
    await stage.send(call("ticket.refused", reason=None), "2")
    await stage.send(call("meal.ready", pickup_code=None), "3")
    long, missing, ready = told(stage.broker)
    assert isinstance(long, TicketRefused) and len(long.reason) == 500
    assert (missing, ready) == (TicketRefused(), MealReady())
