"""What lives and dies with one consuming connection: a channel per queue, who is subscribed, and
the watch over both.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Never

from aiormq.abc import AbstractConnection
from aiormq.channel import Channel
from pamqp.commands import Basic

from dispatcher.rabbit.connection import Link, broker_trouble, ended, heed_cancellation
from dispatcher.rabbit.delivery import Hand, Lane
from dispatcher.rabbit.errors import BrokerLost


class Session:
    """Any trouble with one part ends the whole: the next session starts with a check of all."""

    def __init__(
        self, link: Link, connection: AbstractConnection, arrived: Callable[[], None]
    ) -> None:
        self._link = link
        self._connection = connection
        self._arrived = arrived
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.hands: dict[str, Hand] = {}

    @property
    def subscribed(self) -> list[str]:
        return [queue for queue, hand in self.hands.items() if hand.consumer_tag]

    async def open(self, lanes: Iterable[Lane]) -> None:
        """Check every queue, then open a channel for each. Raises QueueMissing."""
        lanes = list(lanes)
        async with self._link.channel(self._connection) as channel:
            for lane in lanes:
                await self._link.consumers_of(channel, lane.queue)
        for lane in lanes:
            with broker_trouble():
                channel = await self._connection.channel(
                    publisher_confirms=False, timeout=self._link.rpc_seconds
                )
            assert isinstance(channel, Channel)
            channel.on_consumer_cancel_callbacks.add(self._cancelled_by_broker)
            self.hands[lane.queue] = Hand(lane, channel, self._link.rpc_seconds, self._arrived)

    def forget(self) -> None:
        """Everything in hand is lost: the broker gives it to somebody else."""
        for hand in self.hands.values():
            hand.forget()

    async def subscribe(self, queue: str, prefetch: int) -> None:
        hand = self.hands[queue]
        if hand.consumer_tag is not None:
            return
        with self._fatal():
            await hand.channel.basic_qos(prefetch_count=prefetch, timeout=self._link.rpc_seconds)
            consuming = await hand.channel.basic_consume(
                queue, hand.receive, timeout=self._link.rpc_seconds
            )
            hand.consumer_tag = consuming.consumer_tag

    async def unsubscribe(self, queue: str) -> None:
        hand = self.hands[queue]
        tag, hand.consumer_tag = hand.consumer_tag, None
        if tag is not None:
            with self._fatal():
                await hand.channel.basic_cancel(tag, timeout=self._link.rpc_seconds)

    async def watch(self, every_seconds: float) -> Never:
        """Raises BrokerLost, or QueueMissing, as soon as anything is not as it should be."""
        closings = [self._connection.closing, *(hand.channel.closing for hand in self._all())]
        try:
            while True:
                heed_cancellation()
                lost = await ended(*closings, self._failed, within=every_seconds)
                if lost is not None:
                    raise lost
                await self._count_consumers()
        finally:
            for closing in closings:
                closing.cancel()

    async def settled(self, seconds: float) -> None:
        """Return if nothing goes wrong for so long. Raises BrokerLost."""
        closing = self._connection.closing
        try:
            lost = await ended(closing, self._failed, within=seconds)
        finally:
            closing.cancel()
        if lost is not None:
            raise lost

    async def _count_consumers(self) -> None:
        async with self._link.channel(self._connection) as channel:
            for queue in self.subscribed:
                seen = await self._link.consumers_of(channel, queue)
                if not seen and self.hands[queue].consumer_tag:
                    raise BrokerLost(f"the broker sees no consumer at {queue}, but we are one")

    def _cancelled_by_broker(self, frame: Basic.Cancel) -> None:
        self._fail(BrokerLost("the broker cancelled a consumer: its queue was deleted or moved"))

    @contextmanager
    def _fatal(self) -> Iterator[None]:
        try:
            with broker_trouble():
                yield
        except BrokerLost as lost:
            self._fail(lost)
            raise

    def _fail(self, lost: BrokerLost) -> None:
        if not self._failed.done():
            self._failed.set_exception(lost)
            # Read it once: the session may end for another reason before anybody looks.
            self._failed.exception()

    def _all(self) -> Iterable[Hand]:
        return self.hands.values()
