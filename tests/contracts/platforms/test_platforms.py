"""What every platform adapter in the registry promises, tried before its simulated platform.

A new adapter joins by a line in `worlds.TRAITS`; without one the first test goes red.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from dispatcher.errors import PipelineError
from dispatcher.identity import order_id, order_no
from dispatcher.messages import OrderCancelled, OrderCompleted, OrderPlaced
from dispatcher.order import Order
from dispatcher.platform import Forged, NotDone, Raw, Request, Throttled, Unclear
from ops.simulators.books import OrderEntry
from producers.platforms.partner_http import Answer, PartnerHttp
from producers.platforms.registry import ADAPTERS
from tests.contracts.platforms.worlds import FORGOTTEN, TRAITS, World, facts, opened, tells

ACTS: tuple[Callable[[World], Awaitable[Any]], ...] = (
    World.pull,
    lambda world: world.platform.confirm("1"),
    lambda world: world.platform.reject("1", "late"),
    lambda world: world.platform.tell_ready("1", "A-17"),
)

in_every_world = pytest.mark.parametrize("name", sorted(ADAPTERS))


def placed_in(raws: list[Raw]) -> list[Order]:
    return [fact.event.order for fact in facts(raws) if isinstance(fact.event, OrderPlaced)]


def effects(entry: OrderEntry, fact: str) -> int:
    """How often the platform's books say that the order moved so."""
    return sum(1 for _, told in entry.history if told == fact)


def keys(raws: list[Raw]) -> set[tuple[str, str]]:
    return {(fact.key, fact.fingerprint) for fact in facts(raws)}


def test_every_adapter_has_a_world_to_be_tried_in() -> None:
    assert set(TRAITS) == set(ADAPTERS)


@in_every_world
async def test_a_placed_order_is_pulled_once_with_its_money_and_lines(name: str) -> None:
    async with opened(name) as world:
        entry = world.place()
        (order,) = placed_in(await world.pull())
        assert placed_in(await world.pull()) == []
        assert (order.channel, order.channel_order_id) == (name, entry.order_id)
        assert order.order_no == order_no(order_id(name, entry.order_id))
        assert (order.store_id, order.kind) == (entry.store, entry.kind)
        assert (order.currency, order.amounts.paid_minor) == (entry.currency, entry.total_minor)
        assert order.amounts.add_up()
        assert order.flags == ()
        lines = [{"sku": line.sku, "quantity": line.quantity} for line in order.lines]
        assert lines == entry.lines


@in_every_world
async def test_the_lines_share_out_exactly_what_was_paid(name: str) -> None:
    async with opened(name) as world:
        for _ in range(20):
            world.place()
        orders = placed_in(await world.pull())
        assert len(orders) == 20
        for order in orders:
            assert sum(line.paid_minor for line in order.lines) == order.amounts.paid_minor
            assert all(line.paid_minor >= 0 for line in order.lines)


@in_every_world
async def test_a_second_look_gives_the_same_keys_and_fingerprints(name: str) -> None:
    async with opened(name) as world:
        world.place()
        scope = world.platform.scopes()[0]
        first, second = [await world.platform.pull(scope, {}, world.now) for _ in range(2)]
        assert [raw[:2] for raw in first.raws] == [raw[:2] for raw in second.raws]
        assert keys(list(first.raws)) == keys(list(second.raws)) != set()


@in_every_world
async def test_a_cancelled_order_is_the_same_fact_by_push_and_by_pull(name: str) -> None:
    async with opened(name) as world:
        entry = world.place()
        await world.pull()
        world.sim.customer_cancels(entry)
        push = await world.push_about(tells("cancelled"))
        world.look_anew()
        pulled = [f for f in facts(await world.pull()) if isinstance(f.event, OrderCancelled)]
        assert [(f.key, f.fingerprint) for f in push.raw.facts] == [pulled[0][:1] + pulled[0][3:4]]


@in_every_world
async def test_a_pushed_order_is_the_pulled_one_or_is_left_to_the_pull(name: str) -> None:
    async with opened(name) as world:
        world.place()
        if not world.traits.pushes_orders:
            await pushed(world)
            with pytest.raises(NotDone):
                world.platform.receive(world.pushed[0], world.now)
            return
        push = await world.push_about(tells("placed"))
        (pulled,) = await world.pull()
        assert push.raw[:2] == pulled[:2]
        assert push.raw.facts == pulled.facts


@in_every_world
async def test_the_end_of_an_order_is_told_once(name: str) -> None:
    async with opened(name) as world:
        entry = world.place()
        assert (await world.platform.confirm(entry.order_id)).done
        assert world.sim.moved(entry, "completed")
        told = await world.pull()
        told.append((await world.push_about(tells("completed"))).raw)
        ended = [fact for fact in facts(told) if isinstance(fact.event, OrderCompleted)]
        assert {fact.key for fact in ended} == {f"completed:{entry.order_id}"}


@in_every_world
async def test_an_order_for_a_store_that_is_not_ours_stops_no_neighbour(name: str) -> None:
    async with opened(name) as world:
        entries = [world.place(), world.place(FORGOTTEN), world.place()]
        raws = await world.pull()
        assert {o.channel_order_id for o in placed_in(raws)} == {
            entries[0].order_id,
            entries[2].order_id,
        }
        (problem,) = [raw.problem for raw in raws if raw.problem]
        assert f"code-{FORGOTTEN}" in problem


@in_every_world
async def test_an_item_that_is_not_ours_is_cooked_and_flagged(name: str) -> None:
    async with opened(name) as world:
        world.place(lines=({"sku": "NEW-DISH", "name": "新菜"}, {"sku": "TEA"}))
        (order,) = placed_in(await world.pull())
        assert [(line.sku, line.name) for line in order.lines] == [(None, "新菜"), ("TEA", "Tea")]
        assert order.flags == ("unmapped",)


@in_every_world
async def test_confirming_and_telling_ready_are_harmless_to_repeat(name: str) -> None:
    async with opened(name) as world:
        entry = world.place()
        for _ in range(2):
            assert (await world.platform.confirm(entry.order_id)).done
        for _ in range(2):
            assert (await world.platform.tell_ready(entry.order_id, "A-17")).done
        assert effects(entry, "confirmed") == 1
        assert entry.facts["ready"].details["code"] == "A-17"


@in_every_world
async def test_rejecting_is_harmless_to_repeat(name: str) -> None:
    async with opened(name) as world:
        entry = world.place()
        for _ in range(2):
            assert (await world.platform.reject(entry.order_id, "stock_short")).done
        assert effects(entry, "rejected") == 1
        assert entry.facts["rejected"].details["reason"] == "stock_short"


@in_every_world
async def test_a_cancelled_order_refuses_to_be_confirmed_or_ready(name: str) -> None:
    async with opened(name) as world:
        entry = world.place()
        world.sim.customer_cancels(entry)
        assert await world.platform.confirm(entry.order_id) == (False, "cancelled")
        assert await world.platform.tell_ready(entry.order_id, "A-17") == (False, "cancelled")
        assert (await world.platform.reject(entry.order_id, "stock_short")).done


@in_every_world
async def test_a_completed_order_refuses_to_be_rejected(name: str) -> None:
    async with opened(name) as world:
        entry = world.place()
        await world.platform.confirm(entry.order_id)
        world.sim.moved(entry, "completed")
        assert await world.platform.reject(entry.order_id, "late") == (False, "completed")


@in_every_world
@pytest.mark.parametrize("fault", ["lost_answer", "dropped", "500"])
async def test_after_an_unclear_outcome_the_repeat_has_no_second_effect(
    name: str, fault: str
) -> None:
    async with opened(name) as world:
        entry = world.place()
        world.fault(fault, 1, world.traits.act_path)
        with pytest.raises(Unclear):
            await world.platform.confirm(entry.order_id)
        assert (await world.platform.confirm(entry.order_id)).done
        assert effects(entry, "confirmed") == 1


@in_every_world
async def test_a_truncated_answer_is_no_reason_to_act_twice(name: str) -> None:
    async with opened(name) as world:
        entry = world.place()
        world.fault("truncated", 1, world.traits.act_path)
        with suppress(Unclear):  # where the answer has no body, nothing can be cut off it
            await world.platform.confirm(entry.order_id)
        assert (await world.platform.confirm(entry.order_id)).done
        assert effects(entry, "confirmed") == 1


@in_every_world
async def test_another_process_may_repeat_what_was_left_unclear(name: str) -> None:
    async with opened(name) as world:
        entry = world.place()
        assert world.sim.moved(entry, "confirmed")
        assert (await world.platform.confirm(entry.order_id)).done


@in_every_world
async def test_throttling_says_how_long_to_wait(name: str) -> None:
    async with opened(name) as world:
        world.place()
        world.fault(world.traits.throttled)
        with pytest.raises(Throttled) as told:
            await world.pull()
        assert told.value.retry_after is not None


@in_every_world
@pytest.mark.parametrize("fault", ["truncated", "500", "dropped", "lost_answer"])
async def test_what_cannot_be_read_now_is_read_later(name: str, fault: str) -> None:
    async with opened(name) as world:
        entries = [world.place() for _ in range(3)]
        world.fault(fault, times=2)
        raws = await world.pull_until(lambda seen: len(placed_in(seen)) >= 3)
        assert {order.channel_order_id for order in placed_in(raws)} == {
            entry.order_id for entry in entries
        }


@in_every_world
async def test_one_unreadable_order_stops_no_neighbour(name: str) -> None:
    async with opened(name) as world:
        entries = [world.place() for _ in range(3)]
        world.fault("truncated", 1, world.traits.detail_path or entries[1].order_id)
        assert len(placed_in(await world.pull())) == 2
        raws = await world.pull_until(lambda seen: len(placed_in(seen)) >= 1)
        assert len(placed_in(raws)) == 1


@in_every_world
async def test_a_forged_push_is_refused(name: str) -> None:
    async with opened(name) as world:
        request = await pushed(world)
        forged = (
            request._replace(body=request.body.replace(b"o", b"0", 1)),
            request._replace(body=request.body + b"&x=1", headers=request.headers),
            request._replace(headers={}, body=b"", query={}),
        )
        for attempt in forged:
            with pytest.raises(Forged):
                world.platform.receive(attempt, world.now)


@in_every_world
async def test_a_stale_push_is_refused_where_pushes_carry_their_time(name: str) -> None:
    async with opened(name) as world:
        request = await pushed(world)
        if not world.traits.stamps_pushes:
            # This platform signs no time: a repeat must tell the same fact again, no other.
            first, again = [world.platform.receive(request, world.now) for _ in range(2)]
            assert first.raw == again.raw
            return
        for hours in (1, -1):
            with pytest.raises(Forged):
                world.platform.receive(request, world.now + timedelta(hours=hours))


@in_every_world
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"data":NaN}',
        b'{"data":{"a":1,"a":2}}',
        b'{"data":"\\ud800"}',
        b"null",
        b'"data"',
        b'[{"eventId":[],"eventType":{},"orderId":1e30}]',
        b'{"data":{"order_id":"x","detail":"[[[","day_seq":-1}}',
        b"x" * (2 << 20),
    ],
)
async def test_hostile_answers_raise_nothing_but_our_own_errors(
    name: str, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(name) as world:
        await world.pull()

        async def hostile(*_: Any, **__: Any) -> Any:
            return Answer(200, body)

        monkeypatch.setattr(PartnerHttp, "call", hostile)
        for act in ACTS:
            with suppress(PipelineError):
                await act(world)


async def pushed(world: World) -> Request:
    """Any genuine push of this platform about an order that was cancelled."""
    entry = world.place()
    world.sim.customer_cancels(entry)
    await world.push_about(tells("cancelled"))
    return world.pushed[-1]
