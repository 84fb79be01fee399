"""Every exchange, queue and binding, as data derived from a namespace, the number of partitions
and the names of the command queues.

Behind every work queue Q stand Q.solo and then the quarantine; delays pass through a lattice of
queues with fixed waiting times. Only what RabbitMQ 3.10 to 4.x have in common is used.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal, NamedTuple

Arguments = dict[str, str | int]

LAST_RESORT_LIMIT = 1_000_000


class Exchange(NamedTuple):
    name: str
    kind: Literal["direct", "topic", "fanout"]
    arguments: Arguments


class Queue(NamedTuple):
    name: str
    arguments: Arguments


class Binding(NamedTuple):
    exchange: str
    routing_key: str
    destination: str
    to: Literal["queue", "exchange"] = "queue"


class Address(NamedTuple):
    exchange: str
    routing_key: str


@dataclass(frozen=True)
class Topology:
    """`queues` are the command queues (`stock.deduct`), without namespace. `levels` of the lattice
    reach 2**levels - 1 seconds. A limit of N means N + 1 deliveries.
    """

    namespace: str
    partitions: int
    queues: Sequence[str]
    levels: int = 20
    delivery_limit: int = 10
    solo_delivery_limit: int = 10

    @property
    def events(self) -> str:
        return f"{self.namespace}.events"

    @property
    def commands(self) -> str:
        return f"{self.namespace}.commands"

    @property
    def dead(self) -> str:
        return f"{self.namespace}.dead"

    @property
    def delivery(self) -> str:
        """Where the lattice lets go: the exchange that knows the logical targets."""
        return f"{self.namespace}.delay.delivery"

    @property
    def unrouted(self) -> str:
        return f"{self.namespace}.unrouted"

    @property
    def quarantine(self) -> str:
        return f"{self.namespace}.quarantine"

    @property
    def lost(self) -> str:
        """Lost and found: what left the lattice for a target that no longer exists."""
        return f"{self.namespace}.lost"

    @property
    def marker(self) -> str:
        """The queue whose presence says: this is the broker that was set up."""
        return f"{self.namespace}.marker"

    def queue(self, target: str) -> str:
        """The queue behind a logical target: `facts.0`, `placed.0` or a command queue's name."""
        return f"{self.namespace}.{target}"

    @staticmethod
    def solo(queue: str) -> str:
        """Where a queue's messages go to be tried one at a time."""
        return f"{queue}.solo"

    def level(self, level: int) -> str:
        """The exchange, and the queue of the same name, of one level of the lattice."""
        return f"{self.namespace}.delay.{level:02}"

    @property
    def event_targets(self) -> list[str]:
        kinds = ("placed", "facts")
        return [f"{kind}.{n}" for n in range(self.partitions) for kind in kinds]

    @property
    def targets(self) -> list[str]:
        return [*self.event_targets, *self.queues]

    def route(self, target: str) -> Address:
        """Where to publish what should reach this target now."""
        exchange = self.commands if target in self.queues else self.events
        return Address(exchange, target)

    def delay_route(self, seconds: int, target: str) -> Address:
        """Where to publish what should reach this target after so many seconds (at least 1).

        A longer wait than the lattice offers becomes its longest; who receives it looks at its
        due time and sends it round again.
        """
        wait = min(max(seconds, 1), 2**self.levels - 1)
        bits = f"{wait:0{self.levels}b}"
        return Address(self.level(wait.bit_length() - 1), ".".join([*bits, target]))

    def exchanges(self) -> Iterator[Exchange]:
        yield Exchange(self.events, "direct", {})
        yield Exchange(self.commands, "direct", {})
        yield Exchange(self.dead, "direct", {})
        yield Exchange(self.unrouted, "fanout", {})
        # Some forty unroutable messages would jam the lattice for everyone; here they find a home.
        # No other exchange has an alternate: it would hide from a publisher that nobody listens.
        yield Exchange(self.delivery, "topic", {"alternate-exchange": self.unrouted})
        for level in range(self.levels):
            yield Exchange(self.level(level), "topic", {})

    def all_queues(self) -> Iterator[Queue]:
        for target in self.targets:
            queue = self.queue(target)
            yield self._letters(queue, self.solo(queue), self.delivery_limit)
            yield self._letters(self.solo(queue), self.quarantine, self.solo_delivery_limit)
        yield self._letters(self.quarantine, self.lost, LAST_RESORT_LIMIT)
        yield self._letters(self.lost, self.quarantine, LAST_RESORT_LIMIT)
        for level in range(self.levels):
            yield self._waiting_room(level)

    def marker_queue(self) -> Queue:
        """Declared last, by whoever may say that this broker is complete."""
        return self._letters(self.marker, self.quarantine, self.delivery_limit)

    def bindings(self) -> Iterator[Binding]:
        for target in self.targets:
            queue = self.queue(target)
            yield Binding(*self.route(target), queue)
            yield Binding(self.delivery, "*." * self.levels + target, queue)
            yield Binding(self.dead, self.solo(queue), self.solo(queue))
        yield Binding(self.dead, self.quarantine, self.quarantine)
        yield Binding(self.dead, self.lost, self.lost)
        yield Binding(self.unrouted, "", self.lost)
        yield from chain.from_iterable(self._passages(n) for n in range(self.levels))

    def _letters(self, name: str, dead_letters_to: str, delivery_limit: int) -> Queue:
        return Queue(
            name,
            {
                "x-queue-type": "quorum",
                "x-delivery-limit": delivery_limit,
                "x-dead-letter-exchange": self.dead,
                "x-dead-letter-routing-key": dead_letters_to,
                # Without reject-publish the broker falls back to at-most-once silently.
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
            },
        )

    def _waiting_room(self, level: int) -> Queue:
        return Queue(
            self.level(level),
            {
                "x-queue-type": "quorum",
                "x-delivery-limit": LAST_RESORT_LIMIT,
                "x-message-ttl": 2**level * 1000,
                "x-dead-letter-exchange": self.level(level - 1) if level else self.delivery,
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
            },
        )

    def _passages(self, level: int) -> Iterator[Binding]:
        """A message waits at this level if its bit is set, and passes on if it is not."""
        higher_bits = "*." * (self.levels - 1 - level)
        below = self.level(level - 1) if level else self.delivery
        yield Binding(self.level(level), f"{higher_bits}1.#", self.level(level))
        yield Binding(self.level(level), f"{higher_bits}0.#", below, "exchange")
