"""Reads what nobody else could: the quarantine queue and the lost-and-found, by a client that
decodes nothing it need not.

A lost message left the lattice for a target that is gone (fewer partitions than before, say): if
it can be understood, it goes where such messages go now. Everything else becomes a letter.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime

from dispatcher.batches import Desk
from dispatcher.crashpoints import point
from dispatcher.envelope import Envelope, decode, split
from dispatcher.errors import PipelineError
from dispatcher.letters import Letter
from dispatcher.messages import Message
from dispatcher.rabbit.errors import Unroutable
from dispatcher.rabbit.publish import Outgoing
from dispatcher.rabbit.raw import RawMessage, RawReader


class LastResort:
    """One queue of last resort, read for ever."""

    def __init__(
        self, desk: Desk, reader: RawReader, reason: str, clock: Callable[[], datetime]
    ) -> None:
        self._desk = desk
        self._reader = reader
        self._reason = reason
        self._clock = clock

    async def run(self, stopping: asyncio.Event) -> None:
        stop = asyncio.create_task(stopping.wait())
        while not stopping.is_set():
            arrival = asyncio.create_task(self._reader.get())
            await asyncio.wait({arrival, stop}, return_when=asyncio.FIRST_COMPLETED)
            if arrival.done():
                await self._keep(arrival.result())
            arrival.cancel()
        stop.cancel()

    async def _keep(self, message: RawMessage) -> None:
        outgoing = self._rerouted(message) if self._reason == "lost" else []
        if not (outgoing and await self._sent(outgoing)):
            await self._desk.quarantine([self._letter(message)])
        point(f"{self._desk.name}.ack.before")
        message.ack()
        point(f"{self._desk.name}.ack.after")

    async def _sent(self, outgoing: Sequence[Outgoing]) -> bool:
        """False when the broker has no place for it now either."""
        try:
            point(f"{self._desk.name}.publish.before")
            await self._desk.publisher.publish(outgoing)
            point(f"{self._desk.name}.publish.after")
        except Unroutable:
            return False
        self._desk.observer.note("found again", queue=self._desk.name, events=len(outgoing))
        return True

    def _rerouted(self, message: RawMessage) -> list[Outgoing]:
        try:
            return [self._desk.router.now(decode(event)) for event in split(message.body)]
        except (PipelineError, KeyError):
            return []

    def _letter(self, message: RawMessage) -> Letter:
        """As much of it as can be told."""
        properties = message.readable()
        first = _first(message.body)
        return Letter(
            reason=self._reason,
            queue=self._desk.name,
            type=first.type if first else None,
            order_id=first.subject if first else None,
            event_id=first.id if first else None,
            body=message.body,
            headers={"properties": properties.properties, "raw": message.properties.hex()},
            error=properties.problem or "nobody could handle it: its delivery limit was spent",
            recorded_at=self._clock(),
        )


def _first(body: bytes) -> Envelope[Message] | None:
    """The message inside, when there is just one and it can be understood."""
    try:
        events = split(body)
        return decode(events[0]) if len(events) == 1 else None
    except PipelineError:
        return None
