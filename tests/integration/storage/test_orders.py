"""The unified orders as rows: written at birth, completed later, read back whole."""

from collections.abc import Sequence

from dispatcher.order import Amounts, Order, Recipient
from dispatcher.ports import NullObserver
from storage import orders
from storage.database import Database
from storage.orders import TicketStore
from tests.builders import NOON, an_order

SOMEBODY = Recipient(name="Li", phone="13812345678", address="1 Main Street")


async def written(url: str, *batches: Sequence[Order]) -> Order:
    """The first order, read back after all batches are written."""
    async with Database.open(url, observer=NullObserver(), name="test") as database:
        for batch in batches:
            async with database.transaction() as tx:
                await orders.insert(tx, batch, NOON)
        order_id = batches[0][0].order_id
        return (await TicketStore(database).read([order_id]))[order_id]


def completed(order: Order) -> Order:
    whole = Amounts(goods_minor=5_600, paid_minor=5_600)
    return order.model_copy(update={"amounts": whole, "recipient": Recipient(), "remark": ""})


async def test_an_order_comes_back_as_it_was_written(migrated_url: str) -> None:
    order = an_order("as-written", recipient=SOMEBODY, remark="no onions")
    found = await written(migrated_url, [order])
    assert found.model_copy(update={"extension": order.extension}) == order


async def test_an_order_that_is_placed_and_completed_in_one_batch_is_written_once(
    migrated_url: str,
) -> None:
    order = an_order("both-at-once", recipient=SOMEBODY, remark="no onions")
    found = await written(migrated_url, [order, completed(order)])
    assert found.amounts.paid_minor == 5_600
    assert (found.recipient, found.remark) == (SOMEBODY, "no onions")


async def test_a_completed_order_keeps_what_only_the_first_look_said(migrated_url: str) -> None:
    order = an_order("completed-later", recipient=SOMEBODY, remark="no onions")
    found = await written(migrated_url, [order], [completed(order)])
    assert found.amounts.paid_minor == 5_600
    assert (found.recipient, found.remark) == (SOMEBODY, "no onions")
