"""LOCAL consumers: a command met again is answered as before, and nothing is done twice."""

from typing import Any

import pytest

from consumers.local import LocalWork
from consumers.queues import QUEUES
from dispatcher.batches import BatchLoop, OneQueue
from dispatcher.envelope import Envelope
from dispatcher.messages import OrderCancelled
from tests.builders import an_event
from tests.contracts.consumers.units import deduct
from tests.unit.consumers.fakes import ROUTER, DatabaseGone, FakeDelivery, Surroundings

(DEDUCT,) = (row for row in QUEUES if row.name == "stock.deduct")
QUEUE = "test.stock.deduct"


class Bench:
    """A stock consumer over a shelf with five bowls of beef noodles."""

    def __init__(self) -> None:
        self.around = Surroundings(queues=(QUEUE,), name="stock.deduct")
        self.around.units.books.levels["S001", "beef"] = 5
        around = self.around
        work = LocalWork(DEDUCT, around.units, ROUTER, around.observer, around.clock)
        tray: Any = OneQueue(around.intake, QUEUE)  # type: ignore[arg-type]
        self.loop = BatchLoop(around.desk, tray, work)

    async def takes(self, *commands: Envelope[Any]) -> FakeDelivery:
        delivery = FakeDelivery(QUEUE, *commands)
        self.around.intake.put(delivery)
        await self.loop.once()
        return delivery

    @property
    def on_hand(self) -> int:
        return self.around.units.books.levels["S001", "beef"]

    @property
    def answers(self) -> list[str]:
        return [answer.type for answer in self.around.publisher.now()]


async def test_a_command_met_again_gets_the_answer_that_is_stored() -> None:
    bench, order = Bench(), deduct("S001", beef=5)
    await bench.takes(order)
    await bench.takes(order, deduct("S001", beef=1))
    first, repeated, short = sorted(bench.around.publisher.now(), key=lambda a: a.type)
    assert first == repeated
    assert (short.type, bench.on_hand) == ("StockShort", 0)


async def test_copies_in_one_batch_are_one_command() -> None:
    bench, order = Bench(), deduct("S001", beef=2)
    await bench.takes(order, order, order)
    assert (bench.answers, bench.on_hand) == (["StockDeducted"], 3)


async def test_who_dies_between_commit_and_publish_answers_the_same_when_it_comes_again() -> None:
    bench, orders = Bench(), [deduct("S001", beef=3), deduct("S001", beef=3)]
    bench.around.publisher.failing = [RuntimeError("killed")]
    with pytest.raises(RuntimeError):
        await bench.takes(*orders)
    assert (bench.on_hand, bench.answers) == (2, [])
    await bench.takes(*orders)
    assert (bench.on_hand, bench.answers) == (2, ["StockDeducted", "StockShort"])


async def test_what_was_rolled_back_was_never_done() -> None:
    bench = Bench()
    bench.around.units.failing = [DatabaseGone()]
    delivery = await bench.takes(deduct("S001", beef=2))
    assert (delivery.end, bench.on_hand, bench.answers) == ("ack", 3, ["StockDeducted"])


async def test_a_message_that_is_no_deduction_is_put_aside_and_its_neighbours_are_done() -> None:
    bench = Bench()
    delivery = await bench.takes(deduct("S001", beef=1), an_event(OrderCancelled()))
    assert (delivery.end, bench.answers) == ("ack", ["StockDeducted"])
    assert len(bench.around.letters.letters) == 1


async def test_two_commands_for_one_order_are_answered_each() -> None:
    """It never happens; if it does, neither may be left without its answer."""
    bench, order = Bench(), deduct("S001", beef=2)
    other = deduct("S001", order.data.order_id, beef=2)
    await bench.takes(order, other)
    assert (bench.answers, bench.on_hand) == (["StockDeducted"] * 2, 3)


async def test_a_batch_is_one_transaction_and_one_publish_however_large() -> None:
    for many in (1, 200):
        bench = Bench()
        await bench.takes(*(deduct("S001", beef=1) for _ in range(many)))
        assert (bench.around.units.commits, bench.around.publisher.publishes) == (1, 1)
        assert bench.on_hand == max(0, 5 - many)
