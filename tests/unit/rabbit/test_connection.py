"""Waiting longer each time, and understanding what the client library raises."""

import asyncio
import random

import pytest
from aiormq.exceptions import AMQPConnectionError

from dispatcher.rabbit.connection import Backoff, broker_trouble, end
from dispatcher.rabbit.errors import BrokerLost


def test_waits_grow_to_a_ceiling_with_full_jitter() -> None:
    backoff = Backoff(first_seconds=1, most_seconds=8, rng=random.Random(1))
    waits = [backoff.next() for _ in range(2000)]
    assert all(wait <= ceiling for wait, ceiling in zip(waits, (1, 2, 4, 8), strict=False))
    assert max(waits) <= 8
    assert min(waits[10:]) < 0.1
    backoff.reset()
    assert backoff.next() <= 1


@pytest.mark.parametrize(
    "raised",
    [AMQPConnectionError("gone"), ConnectionResetError(), TimeoutError(), asyncio.CancelledError()],
)
async def test_whatever_a_lost_connection_raises_is_one_kind_of_trouble(
    raised: BaseException,
) -> None:
    with pytest.raises(BrokerLost), broker_trouble():
        raise raised


async def test_a_cancellation_asked_for_passes_even_if_the_library_turned_it_into_an_error() -> (
    None
):
    async def wait() -> None:
        with broker_trouble():
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise AMQPConnectionError("closed meanwhile") from None

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    await end(waiting)
    assert waiting.cancelled()
