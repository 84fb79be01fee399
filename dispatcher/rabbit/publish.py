"""Publishes events and returns when the broker has confirmed them all.

Events for one address travel together, like a group commit: while a message is being confirmed
the next one fills up. Nothing waits when the system is idle, and whatever is not confirmed is
published again, because unconfirmed means unknown.
"""

import asyncio
from collections.abc import Iterable, Sequence
from time import perf_counter
from types import TracebackType
from typing import NamedTuple, Self
from uuid import uuid4

from aiormq.channel import Channel
from aiormq.exceptions import (
    ChannelAccessRefused,
    ChannelNotFoundEntity,
    DeliveryError,
    PublishError,
)
from pamqp.commands import Basic

from dispatcher.ports import Observer
from dispatcher.rabbit.connection import Backoff, Link, broker_trouble, end
from dispatcher.rabbit.errors import BrokerLost, BrokerUnavailable, PublisherClosed, Unroutable
from dispatcher.rabbit.lanes import Call, Lane, Pending, body_of, fail
from dispatcher.rabbit.outlet import Outlet
from dispatcher.rabbit.topology import Address

BATCH = "application/cloudevents-batch+json"
TRIES_UNROUTABLE = 3
PERSISTENT = 2


class Outgoing(NamedTuple):
    """One encoded CloudEvent and where it goes."""

    exchange: str
    routing_key: str
    event: bytes


class _Outcome(NamedTuple):
    result: str  # confirmed, returned, nacked or unknown
    reason: str = ""


class Publisher:
    """Use as an async context manager. `in_flight` messages per address may be unconfirmed at a
    time; with 1 the events of one address keep their order, but for repeats. `marker` is the queue
    that says that this broker was set up (None: publish to any).
    """

    def __init__(
        self,
        url: str,
        observer: Observer,
        name: str,
        marker: str | None,
        *,
        in_flight: int = 1,
        confirm_seconds: float = 10.0,
    ) -> None:
        self._outlet = Outlet(Link(url, f"{name}.publish", observer, marker), confirm_seconds)
        self._observer = observer
        self._name = name
        self._in_flight = in_flight
        self._lanes: dict[Address, Lane] = {}
        self._senders: set[asyncio.Task[None]] = set()
        self._keeper: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether the broker takes messages at the moment."""
        return self._outlet.is_open

    @property
    def trouble(self) -> str | None:
        """Why it does not, in a sentence."""
        return self._outlet.trouble

    async def __aenter__(self) -> Self:
        self._keeper = asyncio.create_task(self._outlet.keep())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop; whoever still waits for a confirm gets PublisherClosed."""
        tasks = [*self._senders, *([self._keeper] if self._keeper else [])]
        self._keeper = None
        await end(*tasks)
        for lane in self._lanes.values():
            fail(lane.pending, PublisherClosed("the publisher was closed"))
        self._lanes.clear()

    async def publish(self, items: Sequence[Outgoing], give_up_after: float | None = None) -> None:
        """Return when every item is confirmed; waits for the broker as long as it takes.

        Raises Unroutable, BrokerUnavailable after `give_up_after` seconds, or PublisherClosed.
        After any of them, and after cancellation, some items may have been published.
        """
        if not items:
            return
        if self._keeper is None:
            raise PublisherClosed("the publisher is not running")
        call = Call(len(items))
        self._enqueue(items, call)
        try:
            async with asyncio.timeout(give_up_after):
                await call.wait()
        except TimeoutError:
            raise BrokerUnavailable(give_up_after or 0, self.trouble) from None

    def _enqueue(self, items: Iterable[Outgoing], call: Call) -> None:
        for exchange, routing_key, event in items:
            address = Address(exchange, routing_key)
            lane = self._lanes.get(address)
            if lane is None:
                lane = self._lanes[address] = Lane(address)
            lane.pending.append(Pending(event, call))
            if lane.senders < min(self._in_flight, len(lane.pending)):
                self._start_sender(lane)

    def _start_sender(self, lane: Lane) -> None:
        lane.senders += 1
        # It first runs when the caller has queued all its events, and other callers theirs.
        sender = asyncio.create_task(self._send_all(lane))
        self._senders.add(sender)
        sender.add_done_callback(self._senders.discard)

    async def _send_all(self, lane: Lane) -> None:
        try:
            while batch := lane.take():
                await self._send_safely(lane.address, batch)
        finally:
            lane.senders -= 1
            if not lane.senders and not lane.pending:
                self._lanes.pop(lane.address, None)

    async def _send_safely(self, address: Address, batch: list[Pending]) -> None:
        """Whatever happens, those who wait for this batch hear of it."""
        try:
            await self._send(address, batch)
        except asyncio.CancelledError:
            fail(batch, PublisherClosed("the publisher was closed"))
            raise
        except Exception as error:
            fail(batch, error)

    async def _send(self, address: Address, batch: list[Pending]) -> None:
        """Publish until confirmed, the same bytes each time, fewer when callers went away."""
        backoff, returned = Backoff(), 0
        while True:
            outcome = await self._attempt(address, batch)
            if not batch:
                return
            self._observer.count(
                "published_total", exchange=address.exchange, result=outcome.result
            )
            if outcome.result == "confirmed":
                for item in batch:
                    item.call.confirm_one()
                return
            returned += outcome.result == "returned"
            if returned == TRIES_UNROUTABLE:
                raise Unroutable(*address, outcome.reason)
            await asyncio.sleep(backoff.next())

    async def _attempt(self, address: Address, batch: list[Pending]) -> _Outcome:
        """Publish once what somebody still waits for; the rest is taken out of the batch."""
        try:
            with broker_trouble():
                channel = await self._outlet.channel(address.exchange)
                batch[:] = [item for item in batch if not item.call.is_over]
                return await self._publish_once(channel, address, batch)
        except BrokerLost as lost:
            # The exchange is not there, or not ours to write to: as unroutable as a return.
            refused = isinstance(lost.__cause__, ChannelNotFoundEntity | ChannelAccessRefused)
            return _Outcome("returned" if refused else "unknown", str(lost))

    async def _publish_once(
        self, channel: Channel, address: Address, batch: list[Pending]
    ) -> _Outcome:
        if not batch:
            return _Outcome("unknown")
        started = perf_counter()
        try:
            async with self._outlet.patience():
                answer = await channel.basic_publish(
                    body_of(batch),
                    exchange=address.exchange,
                    routing_key=address.routing_key,
                    properties=self._properties(len(batch)),
                    mandatory=True,
                    # The confirm is all that counts; waiting for the socket as well only costs.
                    wait=False,
                )
        except PublishError as returned:
            return _Outcome("returned", str(returned))
        except DeliveryError as nacked:
            return _Outcome("nacked", str(nacked))
        if not isinstance(answer, Basic.Ack):
            return _Outcome("unknown", repr(answer))
        waited = perf_counter() - started
        self._observer.time("publish_confirm_seconds", waited, exchange=address.exchange)
        return _Outcome("confirmed")

    def _properties(self, events: int) -> Basic.Properties:
        """All that we say beside the body; nothing is ever copied from a message that came in."""
        return Basic.Properties(
            content_type=BATCH,
            headers={"events": events},
            delivery_mode=PERSISTENT,
            # Fresh for each attempt: the client library tells returned from confirmed by it.
            message_id=uuid4().hex,
            app_id=self._name,
        )
