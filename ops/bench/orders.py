"""The orders that benchmarks place: two items each, spread over all stores of the chain."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from time import time_ns
from typing import NamedTuple

from dispatcher.envelope import Envelope
from dispatcher.identity import fact_id, order_id, order_no
from dispatcher.messages import OrderPlaced
from dispatcher.order import Amounts, Line, Order, Recipient
from ops.chain_file import ChainFile

SOURCE = "/bench"
LINES = 2


class Channel(NamedTuple):
    """Where the orders seem to come from."""

    platform: str
    account: str
    currency: str


class Book:
    """Writes orders, no two of them alike; channel order ids of different runs differ too."""

    def __init__(self, chain: ChainFile, platform: str) -> None:
        table = next(table for table in chain.platforms if table.platform == platform)
        self._channel = Channel(table.platform, table.account, table.currency)
        self._stores = [store for store in chain.stores if table.account in store.accounts]
        self._items = chain.items
        self._run = time_ns()
        self._numbers = count(1)

    def orders(self, how_many: int) -> list[Order]:
        return [self._order(next(self._numbers)) for _ in range(how_many)]

    def _order(self, number: int) -> Order:
        channel, store = self._channel, self._stores[number % len(self._stores)]
        channel_order_id = f"bench-{self._run}-{number}"
        identifier = order_id(channel.platform, channel_order_id)
        lines = tuple(self._lines(number))
        goods = sum(line.paid_minor for line in lines)
        return Order(
            order_id=identifier,
            order_no=order_no(identifier),
            channel=channel.platform,
            account=channel.account,
            channel_order_id=channel_order_id,
            store_id=store.store_id,
            placed_at=datetime.now(UTC),
            remark="no coriander",
            currency=channel.currency,
            amounts=Amounts(goods_minor=goods, paid_minor=goods),
            lines=lines,
            recipient=Recipient(name="王小明", phone="13800000000", address="1 Noodle Road"),
        )

    def _lines(self, number: int) -> Iterator[Line]:
        for line in range(LINES):
            item = self._items[(number + line) % len(self._items)]
            yield Line(
                line=line + 1,
                sku=item.sku,
                name=item.name,
                quantity=1,
                unit_price_minor=item.price_minor,
                paid_minor=item.price_minor,
            )


def placed(order: Order) -> Envelope[OrderPlaced]:
    """The event that brings the order. Its time is now: the moment of handing it over."""
    return Envelope(
        id=fact_id(SOURCE, order.channel_order_id),
        source=SOURCE,
        subject=order.order_id,
        instance=order.order_id,
        time=datetime.now(UTC),
        data=OrderPlaced(order=order),
    )
