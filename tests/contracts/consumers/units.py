"""What every implementation of consumers.local.Unit and consumers.stock.Shelf must do; run over
the one in memory and the one in PostgreSQL.
"""

from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from consumers.local import Units
from consumers.stock import deduct_stock, return_stock
from dispatcher.inbox import Arrival
from dispatcher.messages import DeductStock, ReturnStock, StockLine
from tests.builders import NOON, a_command

QUEUE = "stock.deduct"


class Place(NamedTuple):
    """Where units are opened, and how a test fills a shelf and looks at it."""

    units: Units
    opens: Any
    on_hand: Any
    booked: Any


def an_arrival(body: bytes | None = None) -> Arrival:
    return Arrival(7, uuid4(), uuid4(), body)


def deduct(store: str, order: UUID | None = None, /, **quantities: int) -> Any:
    lines = tuple(StockLine(sku=sku, quantity=many) for sku, many in sorted(quantities.items()))
    data = DeductStock(order_id=order or uuid4(), store_id=store, lines=lines)
    return a_command(data, uuid4())


def give_back(command: Any) -> Any:
    data = ReturnStock(order_id=command.data.order_id, store_id=command.data.store_id)
    return a_command(data, uuid4())


async def deducted(place: Place, *commands: Any) -> list[str]:
    """One batch in one transaction; the answers by name, and the reason of a refusal."""
    async with place.units.transaction() as unit:
        answers = await deduct_stock(commands, unit.shelf(NOON))
    return [type(answer).__name__ for answer in answers]


async def returned(place: Place, *commands: Any) -> None:
    async with place.units.transaction() as unit:
        await return_stock(commands, unit.shelf(NOON))


class UnitContract:
    """Subclass and say where: every method is a test."""

    def place(self) -> AbstractAsyncContextManager[Place]:
        raise NotImplementedError

    # -- the inbox ---------------------------------------------------------------------------

    async def test_what_is_noted_first_is_new_and_what_comes_again_is_not(self) -> None:
        arrival = an_arrival(b"as rendered")
        async with self.place() as place:
            async with place.units.transaction() as unit:
                first = await unit.note(QUEUE, [arrival], NOON)
            async with place.units.transaction() as unit:
                again = await unit.note(QUEUE, [arrival._replace(body=b"edited since")], NOON)
        assert first[arrival.command_id] == (True, b"as rendered", None)
        assert again[arrival.command_id] == (False, b"as rendered", None)

    async def test_what_is_noted_in_a_broken_transaction_was_never_noted(self) -> None:
        arrival = an_arrival()
        async with self.place() as place:
            try:
                async with place.units.transaction() as unit:
                    await unit.note(QUEUE, [arrival], NOON)
                    raise ZeroDivisionError
            except ZeroDivisionError:
                pass
            async with place.units.transaction() as unit:
                noted = await unit.note(QUEUE, [arrival], NOON)
        assert noted[arrival.command_id].first_time

    async def test_one_command_may_be_noted_by_two_consumers(self) -> None:
        arrival = an_arrival()
        async with self.place() as place, place.units.transaction() as unit:
            await unit.note(QUEUE, [arrival], NOON)
            other = await unit.note("stock.return", [arrival], NOON)
        assert other[arrival.command_id].first_time

    async def test_the_first_answer_stands_whoever_answers_later(self) -> None:
        arrival = an_arrival()
        key = arrival.bucket, arrival.command_id
        async with self.place() as place:
            async with place.units.transaction() as unit:
                await unit.note(QUEUE, [arrival], NOON)
                first = await unit.answer(QUEUE, {key: {"said": "yes"}}, NOON)
            async with place.units.transaction() as unit:
                second = await unit.answer(QUEUE, {key: {"said": "no"}}, NOON)
                noted = await unit.note(QUEUE, [arrival], NOON)
        assert first == second == {arrival.command_id: {"said": "yes"}}
        assert noted[arrival.command_id].answer == {"said": "yes"}

    # -- the shelf ---------------------------------------------------------------------------

    async def test_an_order_gets_all_of_its_items_or_none(self) -> None:
        async with self.place() as place:
            store = await place.opens(beef=10, tea=1)
            answers = await deducted(place, deduct(store, beef=2, tea=2), deduct(store, beef=2))
            assert answers == ["StockShort", "StockDeducted"]
            assert await place.on_hand(store) == {"beef": 8, "tea": 1}

    async def test_in_one_batch_the_first_come_are_served(self) -> None:
        async with self.place() as place:
            store = await place.opens(beef=5)
            answers = await deducted(place, *(deduct(store, beef=many) for many in (2, 4, 3, 1)))
            assert answers == ["StockDeducted", "StockShort", "StockDeducted", "StockShort"]
            assert await place.on_hand(store) == {"beef": 0}

    async def test_an_item_of_which_a_store_keeps_no_stock_moves_nothing(self) -> None:
        async with self.place() as place:
            store = await place.opens(beef=5)
            order = deduct(store, beef=1, umbrella=3)
            assert await deducted(place, order, deduct(store)) == ["StockDeducted"] * 2
            await returned(place, give_back(order))
            assert await place.on_hand(store) == {"beef": 5}

    async def test_an_order_deducted_twice_is_deducted_once(self) -> None:
        async with self.place() as place:
            store = await place.opens(beef=5)
            order = deduct(store, beef=2)
            assert await deducted(place, order, order) == ["StockDeducted"] * 2
            await deducted(place, order)
            assert await place.on_hand(store) == {"beef": 3}

    async def test_what_was_deducted_is_put_back_once(self) -> None:
        async with self.place() as place:
            store = await place.opens(beef=5)
            order = deduct(store, beef=2)
            await deducted(place, order)
            await returned(place, give_back(order), give_back(order))
            await returned(place, give_back(order))
            assert await place.on_hand(store) == {"beef": 5}

    async def test_a_return_that_overtakes_its_deduction_is_respected_by_it(self) -> None:
        async with self.place() as place:
            store = await place.opens(beef=5)
            order = deduct(store, beef=2)
            await returned(place, give_back(order))
            assert await deducted(place, order) == ["StockShort"]
            assert await place.on_hand(store) == {"beef": 5}
            assert await place.booked(store) == ["given_up"]

    async def test_a_short_order_holds_nothing_and_its_return_puts_nothing_back(self) -> None:
        async with self.place() as place:
            store = await place.opens(beef=1)
            order = deduct(store, beef=2)
            assert await deducted(place, order) == ["StockShort"]
            await returned(place, give_back(order))
            assert await place.on_hand(store) == {"beef": 1}

    async def test_stores_share_a_batch_but_no_stock(self) -> None:
        async with self.place() as place:
            one, other = await place.opens(beef=1), await place.opens(beef=1)
            answers = await deducted(place, *(deduct(store, beef=1) for store in (one, other, one)))
            assert answers == ["StockDeducted", "StockDeducted", "StockShort"]
