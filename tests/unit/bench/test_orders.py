"""The orders of a benchmark are as good as any, and go out when they should."""

import asyncio
from pathlib import Path

from ops import load
from ops.bench.feed import at_a_rate
from ops.bench.orders import Book, placed
from ops.chain_file import ChainFile

EXAMPLE = Path(__file__).parents[3] / "examples" / "chain.toml"


def _chain() -> ChainFile:
    return load.read(EXAMPLE.read_text("utf-8"), {})


def test_no_two_orders_are_alike_not_even_those_of_two_runs() -> None:
    chain = _chain()
    orders = [o for _ in range(2) for o in Book(chain, "meituan").orders(50)]
    assert len({order.order_id for order in orders}) == 100
    assert len({placed(order).id for order in orders}) == 100


def test_orders_are_spread_over_all_stores_and_add_up() -> None:
    chain = _chain()
    orders = Book(chain, "opendelivery").orders(40)
    assert {order.store_id for order in orders} == {store.store_id for store in chain.stores}
    assert all(order.amounts.add_up() for order in orders)
    assert {order.currency for order in orders} == {"BRL"}


async def test_a_slow_order_holds_up_none_that_come_after_it() -> None:
    begun: list[int] = []
    all_begun = asyncio.Event()

    async def wait_for_all(number: int) -> None:
        begun.append(number)
        if len(begun) == 5:
            all_begun.set()
        await all_begun.wait()

    await asyncio.wait_for(at_a_rate(range(5), 500, wait_for_all), 5)
    assert begun == [0, 1, 2, 3, 4]


async def test_orders_begin_at_their_own_times() -> None:
    loop = asyncio.get_running_loop()
    began: list[float] = []

    async def note(_: int) -> None:
        began.append(loop.time())

    start = loop.time()
    await at_a_rate(range(4), 50, note)
    assert all(moment - start >= n / 50 for n, moment in enumerate(began))
