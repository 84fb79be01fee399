"""A Meituan order becomes ours: money, lines, people, and what is missing."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.messages import DetailsCompleted, OrderCancelled, OrderCompleted, OrderPlaced
from dispatcher.order import Order
from dispatcher.platform import DEGRADED
from dispatcher.strict_json import loads
from producers.platforms.meituan_order import Reading, read_order
from tests.unit.platforms.fakes import BOOKS

NOW = datetime(2024, 5, 6, tzinfo=UTC)

NOODLE = {
    "app_food_code": "NOODLE",
    "sku_id": "NOODLE-BIG",
    "food_name": "牛肉面",
    "quantity": 2,
    "price": 25.2,
    "original_price": 28,
    "box_num": 2,
    "box_price": 1,
    "food_property": "微辣,大份",
}
TEA = {"app_food_code": "TEA", "sku_id": "", "food_name": "冰茶", "quantity": 1, "price": 8.5}


def document(**changes: Any) -> dict[str, Any]:
    """Goods 64.50 before 5.60 off the noodles and 5.00 off the order; boxes 2.00, bag 0.50."""
    extras = [
        {"reduce_fee": 5.6, "mt_charge": 0, "poi_charge": 5.6, "type": 17},
        {"reduce_fee": 5, "mt_charge": 3, "poi_charge": 2, "type": 2},
        {},
    ]
    usual = {
        "order_id": 81234567890123456,
        "wm_order_id_view": 81234567890123456,
        "app_poi_code": "poi-1",
        "status": 2,
        "day_seq": 17,
        "recipient_name": "陈女士",
        "recipient_phone": "13800138000_123456",
        "recipient_address": "幸福路 8 号 3 单元@#某市幸福路 8 号",
        "caution": "不要香菜",
        "total": 61.9,
        "shipping_fee": 5.5,
        "package_bag_money": 50,
        "ctime": 1714950000,
        "utime": 1714950100,
        "delivery_time": 0,
        "pay_type": 2,
        "pick_type": 0,
        "detail": json.dumps([NOODLE, TEA]),
        "extras": json.dumps(extras),
        "poi_receive_detail": json.dumps({"wmPoiReceiveCent": 5800}),
        "incmp_code": 0,
    }
    changed = {**usual, **changes}
    return {name: value for name, value in changed.items() if value is not None}


def read(pushed: bool = False, again: bool = False, **changes: Any) -> Reading:
    """As the strict loader gives it to a pull, or with every value a text as in a push."""
    whole = document(**changes)
    if pushed:
        texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in whole.items()}
        return read_order(texts, b"", BOOKS, NOW, again=again)
    return read_order(loads(json.dumps(whole)), b"", BOOKS, NOW, again=again)


def order(**changes: Any) -> Order:
    event = read(**changes).raw.facts[0].event
    assert isinstance(event, OrderPlaced | DetailsCompleted)
    return event.order


def test_yuan_and_fen_stand_side_by_side() -> None:
    amounts = order().amounts
    assert amounts.model_dump() == {
        "goods_minor": 6450,
        "packing_minor": 250,
        "delivery_minor": 550,
        "platform_discount_minor": 300,
        "store_discount_minor": 760,
        "paid_minor": 6190,
    }
    assert amounts.add_up()
    assert order().flags == ()
    assert order().extension["store_receives_minor"] == 5800


def test_an_account_without_item_discounts_in_its_extras_adds_up_too() -> None:
    extras = [{"reduce_fee": 5, "mt_charge": 3, "poi_charge": 2, "type": 2}]
    amounts = order(extras=json.dumps(extras)).amounts
    assert (amounts.goods_minor, amounts.add_up()) == (5890, True)


def test_without_poi_charge_the_settlement_tells_the_store_s_part() -> None:
    settled = {"actOrderChargeByPoi": [{"moneyCent": 760}]}
    extras = json.dumps([{"reduce_fee": 5.6}, {"reduce_fee": 5}])
    amounts = order(extras=extras, poi_receive_detail=json.dumps(settled)).amounts
    assert (amounts.platform_discount_minor, amounts.store_discount_minor) == (300, 760)


def test_gifts_cost_the_store_but_take_nothing_off() -> None:
    extras = json.loads(document()["extras"])
    gift = {"reduce_fee": 0, "poi_charge": 12, "type": 23}
    assert order(extras=json.dumps([*extras, gift])).amounts == order().amounts


def test_the_platform_s_own_allocation_is_kept_where_it_adds_up() -> None:
    benefits = [
        {"app_food_code": "NOODLE", "sku_id": "NOODLE-BIG", "totalActivityPrice": 46.0},
        {"app_food_code": "TEA", "sku_id": "", "totalActivityPrice": 7.9},
    ]
    lines = order(sku_benefit_detail=json.dumps(benefits)).lines
    # 8.00 of delivery, boxes and bag are shared out on top: 4600:790 of 800.
    assert [line.paid_minor for line in lines] == [4600 + 683, 790 + 117]


@pytest.mark.parametrize("wrong", [{"totalActivityPrice": 46.01}, {"sku_id": "OTHER"}])
def test_an_allocation_that_does_not_fit_is_replaced_by_an_exact_one(wrong: Any) -> None:
    noodle = {"app_food_code": "NOODLE", "sku_id": "NOODLE-BIG", "totalActivityPrice": 46.0}
    tea = {"app_food_code": "TEA", "sku_id": "", "totalActivityPrice": 7.9}
    lines = order(sku_benefit_detail=json.dumps([{**noodle, **wrong}, tea])).lines
    assert lines == order().lines
    assert sum(line.paid_minor for line in lines) == 6190


@given(st.integers(0, 10**7), st.lists(st.integers(0, 10**6), min_size=1, max_size=8))
def test_whatever_the_prices_the_lines_give_exactly_what_was_paid(
    paid: int, prices: list[int]
) -> None:
    rows = [{**TEA, "price": price / 100} for price in prices]
    placed = order(total=paid / 100, detail=json.dumps(rows), extras="[]")
    assert sum(line.paid_minor for line in placed.lines) == placed.amounts.paid_minor == paid


def test_totals_that_do_not_add_up_are_cooked_and_flagged() -> None:
    assert order(total=60).flags == ("money_incomplete",)
    assert order(total=60).amounts.paid_minor == 6000
    assert order(total=None).flags == ("money_incomplete",)


def test_an_item_is_found_by_its_sku_or_by_its_food_code() -> None:
    noodle, tea = order().lines
    assert (noodle.sku, noodle.quantity, noodle.unit_price_minor) == ("NOODLE-BIG", 2, 2520)
    assert (tea.sku, noodle.options) == ("TEA", "微辣,大份")
    unknown = order(detail=json.dumps([{**TEA, "app_food_code": "x1", "food_name": "特饮"}]))
    assert (unknown.lines[0].sku, unknown.lines[0].name) == (None, "特饮")
    assert "unmapped" in unknown.flags


def test_people_are_read_as_one_dials_and_delivers() -> None:
    recipient = order().recipient
    assert recipient.phone == "13800138000,123456"
    assert recipient.address == "幸福路 8 号 3 单元"
    backup = order(recipient_phone="", backup_recipient_phone='["13900000000_1"]').recipient
    assert backup.phone == "13900000000,1"


def test_as_soon_as_possible_and_pickup() -> None:
    assert (order().wanted_at, order().kind, order().daily_number) == (None, "delivery", 17)
    later = order(delivery_time=1714960000, pick_type=1)
    assert (later.wanted_at, later.kind) == (datetime.fromtimestamp(1714960000, UTC), "pickup")


@pytest.mark.parametrize("changes", [{}, {"status": 9}, {"total": 12.345}, {"incmp_code": -1}])
def test_a_push_and_a_pull_of_the_same_order_tell_the_same(changes: Any) -> None:
    assert read(pushed=True, **changes).raw == read(**changes).raw


def test_what_may_change_between_two_looks_changes_no_fingerprint() -> None:
    changed = read(status=4, recipient_phone="13900000000_9", utime=1714960000, caution="")
    assert changed.raw[:2] == read().raw[:2]


@pytest.mark.parametrize("change", [{"total": 62}, {"detail": json.dumps([NOODLE])}])
def test_money_and_lines_do_change_the_fingerprint(change: Any) -> None:
    assert read(**change).raw.facts[0].fingerprint != read().raw.facts[0].fingerprint


def test_a_degraded_order_is_placed_and_later_completed_by_a_fact_of_its_own() -> None:
    first, then = read(incmp_code=-1, extras=""), read(again=True)
    assert first.degraded
    assert first.raw.facts[0].fingerprint == DEGRADED
    assert order(incmp_code=-1, extras="").flags == ("money_incomplete",)
    (fact,) = then.raw.facts
    assert isinstance(fact.event, DetailsCompleted)
    assert fact.key == "details:81234567890123456"
    assert read(incmp_code=-1, again=True).raw == read(incmp_code=-1).raw


@pytest.mark.parametrize("detail", ["", "[", None, "[{}]", "{}"])
def test_missing_or_unreadable_lines_count_as_degraded(detail: Any) -> None:
    reading = read(detail=detail)
    assert reading.degraded
    assert reading.raw.facts[0].fingerprint == DEGRADED


def test_the_end_of_an_order_is_told_with_it() -> None:
    cancelled, completed = read(status=9).raw.facts[1], read(status=8).raw.facts[1]
    assert isinstance(cancelled.event, OrderCancelled)
    assert isinstance(completed.event, OrderCompleted)
    assert cancelled.time == datetime.fromtimestamp(1714950100, UTC)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"app_poi_code": "poi-666"}, "poi-666"),
        ({"app_poi_code": None}, "none of ours"),
        ({"order_id": "12; DROP"}, "order_id"),
        ({"order_id": None}, "order_id"),
        ({"detail": json.dumps([{**TEA, "quantity": 0}])}, "line 1"),
        ({"detail": json.dumps([{**TEA, "quantity": 20_000}])}, "line 1"),
        ({"detail": json.dumps([{**TEA, "quantity": "many"}])}, "line 1"),
        (
            {"detail": json.dumps([{**TEA, "quantity": 10_000, "price": 9999999999}])},
            "out of range",
        ),
    ],
)
def test_what_cannot_be_an_order_is_a_problem_in_a_sentence(change: Any, why: str) -> None:
    raw = read(**change).raw
    assert raw.facts == ()
    assert raw.problem is not None
    assert why in raw.problem
    assert read(**change).raw[:2] == raw[:2]


foreign = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.decimals(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(sorted(document())), foreign))
def test_no_document_makes_the_reader_raise(changes: dict[str, Any]) -> None:
    read_order({**document(), **changes}, b"", BOOKS, NOW)
