"""Brings a broker into the shape of a topology, or says in sentences where it differs.

Only an operator's command comes here; no running process ever declares anything.
"""

import re
from collections.abc import Collection, Iterator

from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed

from dispatcher.rabbit.errors import WrongArguments
from dispatcher.rabbit.topology import Binding, Exchange, Queue, Topology

RPC_SECONDS = 30.0

_INEQUIVALENT = re.compile(
    r"inequivalent arg '(?P<argument>[^']+)' for (?P<kind>\w+) '(?P<name>[^']+)' in vhost .*: "
    r"received (?P<wanted>.+?) but current is (?P<present>.+)"
)


async def apply(connection: AbstractConnection, topology: Topology) -> None:
    """Declare all that is missing. Harmless to repeat. Raises WrongArguments, in a sentence."""
    try:
        async with connection.channel() as channel:
            for exchange in topology.exchanges():
                await _declare_exchange(channel, exchange)
            for queue in topology.all_queues():
                await _declare_queue(channel, queue)
            for binding in topology.bindings():
                await _bind(channel, binding)
    except ChannelPreconditionFailed as refusal:
        raise WrongArguments(_explained(refusal)) from None


async def diff(
    connection: AbstractConnection,
    topology: Topology,
    bindings: Collection[Binding] | None = None,
) -> list[str]:
    """One sentence for everything that is missing or has other arguments; changes nothing.

    AMQP cannot list bindings; who has them from the management API passes them in.
    """
    sentences = []
    for exchange in topology.exchanges():
        sentences += await _compared(connection, f"exchange {exchange.name}", exchange)
    for queue in topology.all_queues():
        sentences += await _compared(connection, f"queue {queue.name}", queue)
    if not await marker_present(connection, topology):
        sentences.append(
            f"queue {topology.marker}, the marker of a broker that is set up, is missing"
        )
    if bindings is not None:
        sentences += [_unbound(wanted) for wanted in topology.bindings() if wanted not in bindings]
    return sentences


def show(topology: Topology) -> Iterator[str]:
    """The whole topology, one line per object."""
    for exchange in topology.exchanges():
        yield f"exchange {exchange.name} ({exchange.kind}){_listed(exchange.arguments)}"
    for queue in (*topology.all_queues(), topology.marker_queue()):
        yield f"queue {queue.name}{_listed(queue.arguments)}"
    for binding in topology.bindings():
        yield (
            f"binding {binding.exchange} --{binding.routing_key}--> "
            f"{binding.to} {binding.destination}"
        )


async def set_marker(connection: AbstractConnection, topology: Topology) -> None:
    """Say that this broker is complete: from now on processes work with it."""
    async with connection.channel() as channel:
        await _declare_queue(channel, topology.marker_queue())


async def drop_marker(connection: AbstractConnection, topology: Topology) -> None:
    """Say that this broker is not to be trusted until `set_marker`."""
    async with connection.channel() as channel:
        await channel.queue_delete(topology.marker, timeout=RPC_SECONDS)


async def marker_present(connection: AbstractConnection, topology: Topology) -> bool:
    """Whether this is the broker that was set up."""
    return await _exists(connection, Queue(topology.marker, {}))


async def _compared(
    connection: AbstractConnection, what: str, wanted: Exchange | Queue
) -> list[str]:
    if not await _exists(connection, wanted):
        return [f"{what} is missing"]
    # Each question on a channel of its own: a refusal closes it.
    try:
        async with connection.channel() as channel:
            await _declare(channel, wanted)
    except ChannelPreconditionFailed as refusal:
        return [_explained(refusal)]
    return []


async def _exists(connection: AbstractConnection, wanted: Exchange | Queue) -> bool:
    try:
        async with connection.channel() as channel:
            if isinstance(wanted, Queue):
                await channel.declare_queue(wanted.name, passive=True, timeout=RPC_SECONDS)
            else:
                await channel.declare_exchange(wanted.name, passive=True, timeout=RPC_SECONDS)
    except ChannelNotFoundEntity:
        return False
    return True


async def _declare(channel: AbstractChannel, wanted: Exchange | Queue) -> None:
    if isinstance(wanted, Queue):
        await _declare_queue(channel, wanted)
    else:
        await _declare_exchange(channel, wanted)


async def _declare_exchange(channel: AbstractChannel, exchange: Exchange) -> None:
    await channel.declare_exchange(
        exchange.name,
        exchange.kind,
        durable=True,
        arguments=dict(exchange.arguments),
        timeout=RPC_SECONDS,
    )


async def _declare_queue(channel: AbstractChannel, queue: Queue) -> None:
    await channel.declare_queue(
        queue.name, durable=True, arguments=dict(queue.arguments), timeout=RPC_SECONDS
    )


async def _bind(channel: AbstractChannel, binding: Binding) -> None:
    raw = await channel.get_underlay_channel()
    if binding.to == "queue":
        await raw.queue_bind(
            binding.destination, binding.exchange, binding.routing_key, timeout=RPC_SECONDS
        )
    else:
        await raw.exchange_bind(
            destination=binding.destination,
            source=binding.exchange,
            routing_key=binding.routing_key,
            timeout=RPC_SECONDS,
        )


def _explained(refusal: ChannelPreconditionFailed) -> str:
    """The broker's 406 as a sentence an operator can act on."""
    found = _INEQUIVALENT.search(str(refusal))
    if found is None:
        return str(refusal)
    present, wanted = _plain(found["present"]), _plain(found["wanted"])
    return (
        f"{found['kind']} {found['name']} exists with {found['argument']} = {present}"
        f" where we want {wanted}; arguments cannot be changed: drain it, delete it and apply again"
    )


def _plain(value: str) -> str:
    """`the value '5' of type 'signedint'` as `5`."""
    quoted = re.search(r"'([^']*)'", value)
    return quoted[1] if quoted else value


def _unbound(binding: Binding) -> str:
    return (
        f"exchange {binding.exchange} does not lead to {binding.to} {binding.destination}"
        f" by {binding.routing_key or 'any key'}"
    )


def _listed(arguments: dict[str, str | int]) -> str:
    return "".join(f" {name}={value}" for name, value in arguments.items())
