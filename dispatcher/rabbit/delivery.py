"""A message in our hands: what it says, and the three ways to let go of it."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from aiormq.abc import DeliveredMessage
from aiormq.channel import Channel
from aiormq.exceptions import AMQPError
from pamqp.commands import Basic


class Lane(NamedTuple):
    """One queue to read, and how many of its messages may be in hand unsettled."""

    queue: str
    prefetch: int


class Hand:
    """All unsettled messages of one lane on one channel, taken by the job or not yet."""

    def __init__(
        self, lane: Lane, channel: Channel, settle_seconds: float, arrived: Callable[[], None]
    ) -> None:
        self.lane = lane
        self.channel = channel
        self.consumer_tag: str | None = None
        self.waiting: deque[Delivery] = deque()
        self.unsettled: set[Delivery] = set()
        self._settle_seconds = settle_seconds
        self._arrived = arrived

    async def receive(self, message: DeliveredMessage) -> None:
        """Called by the client library, which cancels it when the connection goes: so no awaits."""
        delivery = Delivery(self, message)
        self.waiting.append(delivery)
        self.unsettled.add(delivery)
        self._arrived()

    def take(self, most_events: int | None, most_messages: int | None) -> list["Delivery"]:
        """The oldest, up to the limits; the first always. What was let go of is skipped."""
        taken: list[Delivery] = []
        events = 0
        while self.waiting and (most_messages is None or len(taken) < most_messages):
            events += self.waiting[0].events
            if taken and most_events is not None and events > most_events:
                break
            taken.append(self.waiting.popleft())
        return taken

    async def give_back_all(self) -> None:
        """Taken or not: somebody else may try."""
        self.waiting.clear()
        for delivery in list(self.unsettled):
            await delivery.give_back()

    def forget(self) -> None:
        """The connection is gone: the broker gives all of it to somebody else."""
        for delivery in self.unsettled:
            delivery.lost = True
        self.unsettled.clear()
        self.waiting.clear()

    async def settle(self, frame: Basic.Ack | Basic.Reject) -> bool:
        """Say one thing about one message; False if it can no longer be said."""
        assert frame.delivery_tag is not None
        try:
            async with asyncio.timeout(self._settle_seconds):
                if isinstance(frame, Basic.Ack):
                    await self.channel.basic_ack(frame.delivery_tag, wait=False)
                else:
                    await self.channel.basic_reject(
                        frame.delivery_tag, requeue=bool(frame.requeue), wait=False
                    )
        except (AMQPError, OSError, RuntimeError, TimeoutError):
            return False
        return True


class Delivery:
    """Let go of it exactly once. Once `lost`, whatever we say about it reaches nobody: the broker
    has given it to somebody else, and letting go does nothing.
    """

    __slots__ = ("_hand", "_tag", "body", "content_type", "headers", "lost", "queue", "redelivered")

    def __init__(self, hand: Hand, message: DeliveredMessage) -> None:
        frame, properties = message.delivery, message.header.properties
        assert isinstance(frame, Basic.Deliver)
        self._hand = hand
        self._tag = frame.delivery_tag or 0
        self.queue = hand.lane.queue
        self.body: bytes = message.body
        self.content_type: str | None = properties.content_type
        self.headers: dict[str, object] = dict(properties.headers or {})
        self.redelivered = bool(frame.redelivered)
        self.lost = False

    @property
    def delivery_count(self) -> int:
        """How often it was delivered before, as the queue counts it."""
        return _number(self.headers.get("x-delivery-count"), 0)

    @property
    def events(self) -> int:
        """How many events the sender says are in the body."""
        return _number(self.headers.get("events"), 1)

    async def ack(self) -> None:
        """Done with it. The message alone, never its neighbours."""
        await self._settle(Basic.Ack(self._tag))

    async def reject(self) -> None:
        """Cannot be handled here: the broker moves it to the queue's dead-letter target."""
        await self._settle(Basic.Reject(self._tag, requeue=False))

    async def give_back(self) -> None:
        """Somebody else may try. Counts towards the delivery limit: never do this in a loop."""
        await self._settle(Basic.Reject(self._tag, requeue=True))

    async def _settle(self, frame: Basic.Ack | Basic.Reject) -> None:
        if self.lost or self not in self._hand.unsettled:
            return
        self._hand.unsettled.discard(self)
        self.lost = not await self._hand.settle(frame)


def _number(value: object, otherwise: int) -> int:
    return value if isinstance(value, int) else otherwise
