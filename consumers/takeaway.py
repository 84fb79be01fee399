"""Tells the platform what became of its order: the store cooks, cannot, or has the meal ready.

Safe to repeat: the adapters read the order's state when a platform says that it has changed, and
converge instead of insisting.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from dispatcher.envelope import Envelope
from dispatcher.errors import Hopeless
from dispatcher.messages import (
    ConfirmOrder,
    ConfirmRefused,
    OrderConfirmed,
    OrderRejected,
    PlatformCommand,
    ReadyRefused,
    ReadyTold,
    RejectOrder,
    RejectRefused,
    TellReady,
)
from dispatcher.platform import Platform


class UnknownAccount(Hopeless):
    """No platform account of this name is loaded; `system2 load` brings it."""


class Platforms(Protocol):
    def of(self, account: str) -> Platform:
        """The client of one account. Raises UnknownAccount."""


async def render_nothing(commands: Sequence[Envelope[Any]], _: object) -> list[bytes]:
    """A platform call is made from the command itself."""
    return [b"" for _ in commands]


async def confirm_order(
    command: Envelope[ConfirmOrder], _body: bytes, platforms: Platforms
) -> OrderConfirmed | ConfirmRefused:
    order = command.data
    verdict = await platforms.of(order.account).confirm(order.channel_order_id)
    return OrderConfirmed() if verdict.done else ConfirmRefused(reason=verdict.reason)


async def reject_order(
    command: Envelope[RejectOrder], _body: bytes, platforms: Platforms
) -> OrderRejected | RejectRefused:
    order = command.data
    verdict = await platforms.of(order.account).reject(order.channel_order_id, order.reason)
    return OrderRejected() if verdict.done else RejectRefused(reason=verdict.reason)


async def tell_ready(
    command: Envelope[TellReady], _body: bytes, platforms: Platforms
) -> ReadyTold | ReadyRefused:
    order = command.data
    verdict = await platforms.of(order.account).tell_ready(
        order.channel_order_id, order.pickup_code
    )
    return ReadyTold() if verdict.done else ReadyRefused(reason=verdict.reason)


def account_of(command: Envelope[PlatformCommand]) -> str:
    """The destination whose troubles are its own."""
    return command.data.account
