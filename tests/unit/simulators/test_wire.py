"""What the simulated platforms put on the wire: their quirks, and sums that add up."""

import json
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.simulators.books import OrderEntry
from ops.simulators.chain import read_chain
from ops.simulators.customers import Basket, Customers, Wish, WishedLine, allotted
from ops.simulators.meituan.wire import MeituanOrder, as_form
from ops.simulators.meituan.wire import order_object as meituan_object
from ops.simulators.opendelivery.wire import OpenOrder, utc
from ops.simulators.opendelivery.wire import order_object as open_object

CHAIN = read_chain(Path(__file__).parents[3] / "examples" / "chain.toml", {})
SEEDS = range(40)


def basket(seed: int, **wish: Any) -> Basket:
    customers = Customers(CHAIN, CHAIN.account("meituan"), random.Random(seed))
    return customers.order(Wish(**wish))


def entry(chosen: Basket) -> OrderEntry:
    return OrderEntry(
        order_id="1767225600000001",
        store=chosen.store.store_id,
        store_code=chosen.store_code,
        kind=chosen.kind,
        currency="CNY",
        total_minor=chosen.total_minor,
        lines=[],
        placed_at=1767225600.25,
        daily_number=12,
    )


def meituan(chosen: Basket, degraded: tuple[int, ...] = (), looks: int = 0) -> dict[str, Any]:
    order = MeituanOrder(entry(chosen), chosen, 12, 0.0, 0, looks, degraded)
    return meituan_object(order, 1767225601.0)


def fen(value: Any) -> int:
    cents = Decimal(str(value)) * 100
    assert cents == int(cents)
    return int(cents)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_meituan_order_adds_up_in_yuan_and_in_fen(seed: int) -> None:
    order = meituan(basket(seed))
    lines, extras = json.loads(order["detail"]), json.loads(order["extras"])
    goods = sum(fen(line["original_price"]) * line["quantity"] for line in lines)
    boxes = sum(fen(line["box_price"]) * int(line["box_num"]) for line in lines)
    reduced = sum(fen(extra["reduce_fee"]) for extra in extras if extra)
    original = goods + boxes + order["package_bag_money"] + fen(order["shipping_fee"])
    assert fen(order["original_price"]) == original
    assert fen(order["total"]) == original - reduced
    assert json.loads(order["poi_receive_detail"])["onlinePayment"] == fen(order["total"])


@pytest.mark.parametrize("seed", SEEDS)
def test_the_benefits_of_the_lines_sum_to_what_was_taken_off(seed: int) -> None:
    order = meituan(basket(seed))
    benefits = json.loads(order["sku_benefit_detail"])
    reduced = sum(fen(extra["reduce_fee"]) for extra in json.loads(order["extras"]) if extra)
    assert sum(fen(benefit["totalReducePrice"]) for benefit in benefits) == reduced


@given(st.integers(0, 10_000), st.lists(st.integers(0, 5_000), min_size=1, max_size=8))
def test_shares_always_sum_to_the_amount(amount: int, weights: list[int]) -> None:
    if sum(weights):
        assert sum(allotted(amount, tuple(weights))) == amount


def test_a_meituan_order_has_the_known_quirks() -> None:
    order = meituan(basket(3, kind="delivery"))
    assert json.loads(order["extras"])[-1] == {}
    phone, extension = order["recipient_phone"].split("_")
    assert (len(phone), len(extension)) == (11, 6)
    assert "@#" in order["recipient_address"]
    assert isinstance(order["order_id"], int)
    assert isinstance(order["package_bag_money"], int)


def test_a_pickup_order_says_so_and_costs_no_delivery() -> None:
    order = meituan(basket(3, kind="pickup"))
    assert order["pick_type"] == 1
    assert order["caution"].startswith("到店自取")
    assert order["shipping_fee"] == 0


def test_a_degraded_order_leaves_whole_modules_out() -> None:
    order = meituan(basket(3), degraded=(0, 4), looks=1)
    assert order["incmp_code"] == -1
    assert order["incmp_modules"] == [0, 4]
    assert order["detail"] == order["poi_receive_detail"] == ""
    assert order["extras"] != ""


def test_a_push_carries_every_value_as_text() -> None:
    form = as_form(meituan(basket(3)))
    assert all(isinstance(value, str) for value in form.values())
    assert form["incmp_modules"] == "[]"
    assert form["is_pre_sale_order"] == "false"


def test_an_unknown_item_goes_out_under_the_platforms_own_name() -> None:
    soup = WishedLine(sku="SOUP-X", name="汤", price_minor=1234, quantity=2)
    order = meituan(basket(3, lines=(soup,)))
    line = json.loads(order["detail"])[0]
    assert (line["app_food_code"], line["food_name"], line["price"]) == ("SOUP-X", "汤", 12.34)


@pytest.mark.parametrize("seed", SEEDS)
def test_an_open_delivery_order_adds_up(seed: int) -> None:
    chosen = basket(seed)
    order = open_object(OpenOrder(entry(chosen), chosen, None))
    total = {name: fen(price["value"]) for name, price in order["total"].items()}
    assert total["itemsPrice"] == sum(fen(i["totalPrice"]["value"]) for i in order["items"])
    assert total["otherFees"] == sum(fen(fee["price"]["value"]) for fee in order["otherFees"])
    assert total["discount"] == sum(fen(d["amount"]["value"]) for d in order["discounts"])
    paid = total["itemsPrice"] + total["otherFees"] - total["discount"]
    assert total["orderAmount"] == paid == fen(order["payments"]["methods"][0]["value"])


def test_open_delivery_times_are_utc() -> None:
    assert utc(1767225600.25) == "2026-01-01T00:00:00.250Z"


def test_a_scheduled_open_delivery_order_names_its_time() -> None:
    chosen = basket(3, kind="delivery")
    order = open_object(OpenOrder(entry(chosen), chosen, 1767229200.0))
    assert order["orderTiming"] == "SCHEDULED"
    assert order["schedule"]["scheduledDateTimeStart"] == "2026-01-01T01:00:00.000Z"


def test_the_same_seed_brings_the_same_customers() -> None:
    assert [basket(seed) for seed in SEEDS] == [basket(seed) for seed in SEEDS]
    assert all(2 <= len(basket(seed).lines) <= 4 for seed in SEEDS)
