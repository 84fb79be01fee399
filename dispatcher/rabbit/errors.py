"""What can go wrong between us and the broker.

Transient
├── BrokerLost          the connection, a channel or an answer did not come; outcome unknown
├── BrokerUnavailable   the caller did not want to wait any longer
├── PublisherClosed     this process is stopping
├── Unroutable          no such exchange, or no queue behind it
├── QueueMissing        a queue is not there: the broker is not the one that was set up
└── MarkerMissing       the marker is not there: this broker has lost its data, or never had any
Hopeless
└── WrongArguments      something of the same name exists with other arguments
"""

from dispatcher.errors import Hopeless, Transient


class BrokerLost(Transient):
    """The broker went away; what was under way has an unknown outcome."""


class BrokerUnavailable(Transient):
    """The broker did not confirm in time; the events may or may not be there."""

    def __init__(self, waited_seconds: float, trouble: str | None) -> None:
        super().__init__(
            f"not confirmed after {waited_seconds:g} s: {trouble or 'the broker is slow'}"
        )


class PublisherClosed(Transient):
    """The publisher was closed before these events were confirmed."""


class Unroutable(Transient):
    """The broker has no place for messages with this address; `topology apply` mends it."""

    def __init__(self, exchange: str, routing_key: str, reason: str) -> None:
        super().__init__(f"exchange {exchange} cannot route {routing_key}: {reason}")
        self.exchange = exchange
        self.routing_key = routing_key


class QueueMissing(Transient):
    """A queue is not on this broker; `topology apply` declares it."""

    def __init__(self, queue: str, reason: str = "it does not exist") -> None:
        super().__init__(f"queue {queue} cannot be used: {reason}; run `system2 topology apply`")
        self.queue = queue


class MarkerMissing(Transient):
    """This broker was never set up, or has lost its data; `system2 recover` is the way back."""

    def __init__(self, marker: str) -> None:
        super().__init__(
            f"the marker queue {marker} is missing: this broker was never set up or has lost its "
            "data; run `system2 recover`"
        )


class WrongArguments(Hopeless):
    """A queue or exchange of this name exists with other arguments; only deleting it helps."""
