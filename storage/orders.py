"""The unified orders: written at birth, read for tickets and look-ups."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from dispatcher.identity import bucket_of, bucket_of_number
from dispatcher.order import Amounts, Line, Order, Recipient
from storage.database import Database, Record, Transaction
from storage.queries import load

SQL = load("orders")


async def insert(tx: Transaction, orders: Sequence[Order], now: datetime) -> None:
    """Orders with their lines, recipients and aliases. A completed order replaces its amounts; one
    that is placed and completed at once comes twice, and the later word counts.
    """
    latest: dict[UUID, Order] = {}
    for order in orders:
        latest[order.order_id] = _completed(latest.get(order.order_id), order)
    orders = sorted(latest.values(), key=lambda o: (bucket_of(o.order_id), o.order_id))
    await _insert_orders(tx, orders, now)
    await _insert_lines(tx, orders)
    known = [order for order in orders if order.recipient != Recipient()]
    if known:
        await tx.execute(
            SQL["insert_recipients"],
            buckets=[bucket_of(order.order_id) for order in known],
            order_ids=[order.order_id for order in known],
            names=[order.recipient.name for order in known],
            phones=[order.recipient.phone for order in known],
            addresses=[order.recipient.address for order in known],
        )
    aliases = [(order.order_id, alias) for order in orders for alias in order.aliases]
    if aliases:
        await tx.execute(
            SQL["insert_aliases"],
            buckets=[bucket_of(order_id) for order_id, _ in aliases],
            order_ids=[order_id for order_id, _ in aliases],
            aliases=[alias for _, alias in aliases],
        )


def _completed(before: Order | None, after: Order) -> Order:
    """The later look; what it does not say of the customer, the earlier one may have said."""
    if before is None:
        return after
    kept: dict[str, object] = {}
    if after.recipient == Recipient():
        kept["recipient"] = before.recipient
    if not after.remark:
        kept["remark"] = before.remark
    return after.model_copy(update=kept) if kept else after


async def _insert_orders(tx: Transaction, orders: Sequence[Order], now: datetime) -> None:
    await tx.execute(
        SQL["insert_orders"],
        now=now,
        buckets=[bucket_of(order.order_id) for order in orders],
        order_ids=[order.order_id for order in orders],
        order_nos=[order.order_no for order in orders],
        channels=[order.channel for order in orders],
        accounts=[order.account for order in orders],
        channel_order_ids=[order.channel_order_id for order in orders],
        store_ids=[order.store_id for order in orders],
        daily_numbers=[order.daily_number for order in orders],
        kinds=[order.kind for order in orders],
        placed_at=[order.placed_at for order in orders],
        wanted_at=[order.wanted_at for order in orders],
        remarks=[order.remark for order in orders],
        currencies=[order.currency for order in orders],
        goods=[order.amounts.goods_minor for order in orders],
        packing=[order.amounts.packing_minor for order in orders],
        delivery=[order.amounts.delivery_minor for order in orders],
        platform_discounts=[order.amounts.platform_discount_minor for order in orders],
        store_discounts=[order.amounts.store_discount_minor for order in orders],
        paid=[order.amounts.paid_minor for order in orders],
        flags=[",".join(order.flags) for order in orders],
        extensions=[order.extension for order in orders],
    )


async def _insert_lines(tx: Transaction, orders: Sequence[Order]) -> None:
    lines = [(order.order_id, line) for order in orders for line in order.lines]
    if not lines:
        return
    await tx.execute(
        SQL["insert_lines"],
        buckets=[bucket_of(order_id) for order_id, _ in lines],
        order_ids=[order_id for order_id, _ in lines],
        lines=[line.line for _, line in lines],
        skus=[line.sku for _, line in lines],
        names=[line.name for _, line in lines],
        quantities=[line.quantity for _, line in lines],
        unit_prices=[line.unit_price_minor for _, line in lines],
        paid=[line.paid_minor for _, line in lines],
        options=[line.options for _, line in lines],
    )


class TicketStore:
    """Implements consumers.pos.Tickets: whole orders for a batch of tickets."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, order_ids: Iterable[UUID]) -> dict[UUID, Order]:
        """The orders, recipients included; what is not there is missing from the result."""
        keys = sorted((bucket_of(order_id), order_id) for order_id in order_ids)
        wanted = {
            "buckets": [bucket for bucket, _ in keys],
            "order_ids": [order_id for _, order_id in keys],
        }
        rows = await self._database.fetch(SQL["read_tickets"], **wanted)
        lines: dict[UUID, list[Line]] = {row["order_id"]: [] for row in rows}
        for row in await self._database.fetch(SQL["read_lines"], **wanted):
            order_id, *line = row
            lines[order_id].append(Line.model_construct(**dict(zip(_LINE, line, strict=True))))
        return {row["order_id"]: _order(row, tuple(lines[row["order_id"]])) for row in rows}

    async def of_number(self, number: str) -> tuple[UUID, str] | None:
        """(order id, store id) of an order number. Raises ValueError for a mistyped one."""
        row = await self._database.fetchrow(
            SQL["order_of_number"], bucket=bucket_of_number(number), order_no=number
        )
        return (row["order_id"], row["store_id"]) if row else None


_LINE = ("line", "sku", "name", "quantity", "unit_price_minor", "paid_minor", "options")


def _order(row: Record, lines: tuple[Line, ...]) -> Order:
    """What was checked on its way in need not be checked on its way out."""
    return Order.model_construct(
        order_id=row["order_id"],
        order_no=row["order_no"],
        channel=row["channel"],
        account=row["account"],
        channel_order_id=row["channel_order_id"],
        store_id=row["store_id"],
        daily_number=row["daily_number"],
        kind=row["kind"],
        placed_at=row["placed_at"],
        wanted_at=row["wanted_at"],
        remark=row["remark"],
        currency=row["currency"],
        amounts=Amounts.model_construct(
            goods_minor=row["goods_minor"],
            packing_minor=row["packing_minor"],
            delivery_minor=row["delivery_minor"],
            platform_discount_minor=row["platform_discount_minor"],
            store_discount_minor=row["store_discount_minor"],
            paid_minor=row["paid_minor"],
        ),
        lines=lines,
        recipient=Recipient.model_construct(
            name=row["name"] or "", phone=row["phone"] or "", address=row["address"] or ""
        ),
        flags=tuple(row["flags"]),
        extension={},
    )
