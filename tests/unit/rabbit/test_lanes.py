"""What travels together."""

import asyncio

import pytest

from dispatcher.rabbit.lanes import MOST_BYTES, MOST_EVENTS, Call, Lane, Pending, body_of
from dispatcher.rabbit.topology import Address


def lane_of(call: Call, *events: bytes) -> Lane:
    lane = Lane(Address("events", "facts.0"))
    lane.pending.extend(Pending(event, call) for event in events)
    return lane


async def test_a_message_carries_as_many_events_as_fit() -> None:
    lane = lane_of(Call(450), *[b"{}"] * 450)
    assert [len(lane.take()) for _ in range(4)] == [MOST_EVENTS, MOST_EVENTS, 50, 0]


async def test_a_message_carries_as_many_bytes_as_fit_but_one_event_always() -> None:
    third = b"x" * (MOST_BYTES // 3)
    huge = b"x" * (2 * MOST_BYTES)
    lane = lane_of(Call(5), third, third, third, huge, third)
    assert [len(lane.take()) for _ in range(5)] == [2, 1, 1, 1, 0]


async def test_what_nobody_waits_for_is_left_out() -> None:
    gone, here = Call(1), Call(1)
    gone.fail(RuntimeError("gave up"))
    lane = lane_of(gone, b"1")
    lane.pending.append(Pending(b"2", here))
    assert body_of(lane.take()) == b"[2]"
    with pytest.raises(RuntimeError):
        await gone.wait()


async def test_a_call_is_over_when_all_its_events_are_confirmed() -> None:
    call = Call(2)
    call.confirm_one()
    assert not call.is_over
    call.confirm_one()
    async with asyncio.timeout(1):
        await call.wait()
