"""The shape of the broker, as data: what leads where, and which arguments every queue has."""

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.rabbit.topology import Topology

TOPOLOGY = Topology("system2", partitions=2, queues=("stock.deduct", "pos.push"))
QUEUES = {queue.name: queue.arguments for queue in TOPOLOGY.all_queues()}


def test_every_queue_survives_what_a_broker_does_by_default() -> None:
    for name, arguments in QUEUES.items():
        assert arguments["x-queue-type"] == "quorum", name
        assert int(arguments["x-delivery-limit"]) > 0, name
        assert arguments["x-dead-letter-strategy"] == "at-least-once", name
        assert arguments["x-overflow"] == "reject-publish", name
        assert "x-dead-letter-exchange" in arguments, name
        assert not {"x-max-length", "x-max-length-bytes", "x-queue-mode"} & set(arguments), name


def test_behind_every_work_queue_stand_solo_and_quarantine() -> None:
    for target in TOPOLOGY.targets:
        queue = TOPOLOGY.queue(target)
        assert QUEUES[queue]["x-dead-letter-routing-key"] == f"{queue}.solo"
        assert QUEUES[f"{queue}.solo"]["x-dead-letter-routing-key"] == "system2.quarantine"


def test_every_dead_letter_has_a_queue_to_go_to() -> None:
    bound = {(b.exchange, b.routing_key): b.destination for b in TOPOLOGY.bindings()}
    for arguments in QUEUES.values():
        if key := arguments.get("x-dead-letter-routing-key"):
            assert bound[str(arguments["x-dead-letter-exchange"]), str(key)] == key


def test_only_the_lattice_hides_what_is_unroutable() -> None:
    hiding = [e.name for e in TOPOLOGY.exchanges() if "alternate-exchange" in e.arguments]
    assert hiding == [TOPOLOGY.delivery]


def test_names_are_unique() -> None:
    names = [queue.name for queue in TOPOLOGY.all_queues()]
    assert len(names) == len(set(names))


@given(st.integers(1, 2**20 - 1), st.sampled_from(TOPOLOGY.targets))
def test_a_delay_waits_exactly_its_seconds_and_arrives_at_its_target(
    seconds: int, target: str
) -> None:
    exchange, routing_key = TOPOLOGY.delay_route(seconds, target)
    waits, destinations = zip(*_hops(exchange, routing_key), strict=True)
    assert sum(waits) == seconds * 1000
    assert destinations[-1] == TOPOLOGY.queue(target)


@given(st.integers(max_value=0) | st.integers(min_value=2**20))
def test_a_delay_out_of_range_becomes_the_nearest_there_is(seconds: int) -> None:
    nearest = 1 if seconds < 1 else 2**20 - 1
    assert TOPOLOGY.delay_route(seconds, "facts.1") == TOPOLOGY.delay_route(nearest, "facts.1")


def test_the_longest_routing_key_fits_into_amqp() -> None:
    assert max(len(TOPOLOGY.delay_route(1, t).routing_key) for t in TOPOLOGY.targets) < 255


def _hops(exchange: str, routing_key: str) -> Iterator[tuple[int, str]]:
    """Follow a message by the bindings: milliseconds waited, and where it is then."""
    while True:
        (binding,) = [
            binding
            for binding in TOPOLOGY.bindings()
            if binding.exchange == exchange and _matches(binding.routing_key, routing_key)
        ]
        if binding.to == "exchange":
            exchange = binding.destination
            continue
        waiting_room = QUEUES[binding.destination]
        if "x-message-ttl" not in waiting_room:
            yield 0, binding.destination
            return
        yield int(waiting_room["x-message-ttl"]), binding.destination
        exchange = str(waiting_room["x-dead-letter-exchange"])


def _matches(pattern: str, routing_key: str) -> bool:
    """A topic pattern as AMQP reads it; ours have `#` at the end only."""
    words = routing_key.split(".")
    wanted = pattern.split(".")
    if wanted[-1] == "#":
        wanted = wanted[:-1]
        words = words[: len(wanted)]
    return len(words) == len(wanted) and all(
        want in ("*", word) for want, word in zip(wanted, words, strict=True)
    )
