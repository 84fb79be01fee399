"""Where a message goes: events to their partition, commands to their queue, now or later."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from math import ceil

from dispatcher.envelope import Envelope, decode, encode, split
from dispatcher.messages import Event, Message
from dispatcher.rabbit.publish import Outgoing
from dispatcher.rabbit.topology import Topology


@dataclass(frozen=True)
class Router:
    """`queues`: command type -> queue. `births`: event types that bring an order into being; they
    wait in a lane of their own, so that no fact about an existing order waits behind them.
    """

    topology: Topology
    queues: Mapping[str, str]
    births: frozenset[str]

    def target(self, envelope: Envelope[Message]) -> str:
        """The logical target: `facts.0`, `placed.0` or a command queue."""
        if not isinstance(envelope.data, Event):
            return self.queues[envelope.type]
        lane = "placed" if envelope.type in self.births else "facts"
        return f"{lane}.{envelope.bucket % self.topology.partitions}"

    def now(self, envelope: Envelope[Message]) -> Outgoing:
        return Outgoing(*self.topology.route(self.target(envelope)), encode(envelope))

    def raw_event(self, event: bytes) -> Outgoing:
        """The same for an encoded event of ours, from the journal."""
        return self.now(decode(split(event)[0]))

    def later(self, envelope: Envelope[Message], delay: timedelta) -> Outgoing:
        """Through the lattice, rounded up to whole seconds: never early."""
        if delay <= timedelta():
            return self.now(envelope)
        return self.raw_later(self.target(envelope), encode(envelope), delay)

    def raw_later(self, target: str, event: bytes, delay: timedelta) -> Outgoing:
        """The same for bytes that need not be understood."""
        seconds = max(1, ceil(delay.total_seconds()))
        return Outgoing(*self.topology.delay_route(seconds, target), event)

    def solo(self, queue: str, event: bytes) -> Outgoing:
        """One event by itself, behind the queue that it came from."""
        return Outgoing(self.topology.dead, self.topology.solo(queue), event)
