"""Any order is found by any of its names, and shown hop by hop without personal data."""

import json
from typing import Any
from uuid import UUID

import pytest

from dispatcher.identity import order_id, order_no
from ops.cli.main import main
from ops.stack import postgres
from ops.timeline import OrderNotFound, timeline
from tests.integration.ops.world import CHANNEL, Shelf, opened

Built = tuple[str, Shelf]

DONE, WAITING = order_id(CHANNEL, "done"), order_id(CHANNEL, "waiting")


@pytest.fixture(autouse=True)
def settings(world: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYSTEM2_DATABASE_URL", world[0])
    monkeypatch.setenv("SYSTEM2_AMQP_URL", "amqp://nobody")


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Any:
    """What a command prints; its exit code must be as expected."""

    def run(*words: str, code: int = 0) -> str:
        with pytest.raises(SystemExit) as ending:
            main(words)
        assert int(ending.value.code or 0) == code
        return capsys.readouterr().out

    return run


def channel_ids(listed: str) -> list[str]:
    return [order["channel_order_id"] for order in json.loads(listed)]


@pytest.mark.parametrize("name", ["done", "alias-done", str(DONE), order_no(DONE)])
def test_an_order_is_found_by_each_of_its_names(said: Any, name: str) -> None:
    assert channel_ids(said("orders", "find", name, "--json")) == ["done"]
    assert f"order {order_no(DONE)}  DONE" in said("orders", "show", name)


def test_a_stores_orders_come_newest_first_and_page_by_page(said: Any) -> None:
    whole = channel_ids(said("orders", "find", "S001", "--json"))
    assert whole == ["waiting", "refused", "cancelled", "short", "done"]
    first = channel_ids(said("orders", "find", "S001", "--limit", "2", "--json"))
    rest = channel_ids(said("orders", "find", "S001", "--before", first[-1], "--json"))
    assert first + rest == whole


def test_a_day_is_the_stores_own(said: Any, world: Built) -> None:
    """Placed at 12:00 UTC: the first of March in Shanghai, wherever the operator is."""
    assert len(channel_ids(said("orders", "find", "S001", "--day", "2026-03-01", "--json"))) == 5
    said("orders", "find", "S001", "--day", "2026-03-02", code=3)


def test_what_nobody_knows_is_exit_code_3(said: Any) -> None:
    for words in (("find", "nix"), ("show", "nix"), ("show", str(UUID(int=8)))):
        said("orders", *words, code=3)


def test_a_name_that_several_orders_have_is_refused(said: Any, world: Built) -> None:
    twice = (
        "INSERT INTO order_aliases SELECT bucket, order_id, 'both' FROM orders"
        f" WHERE order_id IN ('{DONE}', '{WAITING}')"
    )
    postgres.query(world[0], twice)
    assert len(channel_ids(said("orders", "find", "both", "--json"))) == 2
    said("orders", "show", "both", code=1)
    postgres.query(world[0], "DELETE FROM order_aliases WHERE alias = 'both'")


async def test_the_timeline_goes_from_the_platform_to_the_till_and_back(world: Built) -> None:
    async with opened(world[0]) as database:
        shown = await timeline(database, DONE)
    way = [(hop.step, hop.name, hop.detail) for hop in shown.hops]
    entered = [step for step, _, _ in way[:5]]
    assert entered == ["placed", "accepted", "accepted", "published", "published"]
    assert [(step, name) for step, name, _ in way[5:13]] == [
        ("recorded", "OrderPlaced"),
        ("taken", "DeductStock"),
        ("answered", "DeductStock"),
        ("recorded", "StockDeducted"),
        ("taken", "PushTicket"),
        ("called", "PushTicket"),
        ("answered", "PushTicket"),
        ("recorded", "TicketTaken"),
    ]
    assert way[13][0] == "accepted"
    assert ("called", "PushTicket", "attempt 1 answered in 0.5 ms") in way
    assert ("recorded", "MealReady", "pickup_code A123") in way
    assert way[-1][1] == "OrderCompleted"
    placed = next(hop for hop in shown.hops if hop.name == "OrderPlaced")
    assert (placed.fate, placed.sends) == ("applied", ("DeductStock",))
    assert shown.hops[0].since_placed_ms == 0
    passed = sum(hop.since_previous_ms for hop in shown.hops)
    assert passed == pytest.approx(shown.hops[-1].since_placed_ms)


async def test_an_open_order_shows_what_is_still_to_come(world: Built) -> None:
    async with opened(world[0]) as database:
        shown = await timeline(database, WAITING)
    assert (shown.state, [deadline.name for deadline in shown.deadlines]) == (
        "TICKETED",
        ["StoreSilent"],
    )
    assert shown.owed == ()


async def test_a_command_without_an_answer_is_shown_as_owed(copied_url: str) -> None:
    sent = "(SELECT (caused->'commands'->0->>'id')::uuid FROM events WHERE type = 'OrderConfirmed')"
    postgres.query(
        copied_url, f"UPDATE instances SET owed = ARRAY[{sent}] WHERE instance_id = '{DONE}'"
    )
    async with opened(copied_url) as database:
        shown = await timeline(database, DONE)
    assert [owed.command for owed in shown.owed] == ["TellReady"]


def test_facts_without_an_order_and_letters_are_shown_by_id(said: Any) -> None:
    unborn, poison = order_id(CHANNEL, "unborn"), order_id(CHANNEL, "poison")
    early = said("orders", "show", str(unborn))
    assert "UNBORN" in early
    assert "NeverBorn is due" in early
    assert "quarantined" in said("orders", "show", str(poison))


def test_no_personal_data_are_shown(said: Any) -> None:
    for shown in (said("orders", "show", "done"), said("orders", "show", "done", "--json")):
        assert "*1234" in shown
        for personal in ("陈女士", "13800131234", "123456", "Road 1", "ring twice"):
            assert personal not in shown


async def test_an_order_that_does_not_exist_is_not_found(world: Built) -> None:
    async with opened(world[0]) as database:
        with pytest.raises(OrderNotFound):
            await timeline(database, order_id(CHANNEL, "nobody's"))
