"""A Meituan order on the wire, with its quirks.

Yuan as floats beside fen as integers, JSON inside JSON strings, `extras` with empty trailing
elements, privacy numbers, and degraded looks that leave whole modules out.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ops.simulators.books import OrderEntry
from ops.simulators.customers import Basket, Discount, Line, allotted

STATUS = {
    "placed": 2,
    "received": 3,
    "confirmed": 4,
    "preparing": 4,
    "ready": 4,
    "completed": 8,
    "rejected": 9,
    "cancelled": 9,
}

# incmp_modules: 0 lines, 1 order discounts, 2 line discounts, 4 settlement, 5 settlement in yuan,
# 6 recipient's address.
_FIELDS_OF_MODULE = {
    0: ("detail",),
    1: ("extras",),
    2: ("sku_benefit_detail",),
    4: ("poi_receive_detail",),
    5: ("poi_receive_detail_yuan",),
    6: ("recipient_address",),
}

_ITEM_DISCOUNT = 17
_ORDER_DISCOUNT = 2


@dataclass(slots=True)
class MeituanOrder:
    entry: OrderEntry
    basket: Basket
    day_seq: int
    readable_at: float
    wanted_at: int
    degraded_looks: int
    degraded_modules: tuple[int, ...]


def order_object(order: MeituanOrder, now: float) -> dict[str, Any]:
    """The order as `getOrderDetail` shows it; degraded for as long as looks are left."""
    document = {**_identity(order, now), **_recipient(order), **_money(order.basket)}
    return _degraded(document, order.degraded_modules) if order.degraded_looks else document


def as_form(document: dict[str, Any]) -> dict[str, str]:
    """The same object as a push carries it: every value a string."""
    return {key: _text(value) for key, value in document.items()}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def yuan(minor: int) -> float:
    return minor / 100


def _degraded(document: dict[str, Any], modules: Iterable[int]) -> dict[str, Any]:
    gone = {name for module in modules for name in _FIELDS_OF_MODULE.get(module, ())}
    kept = {key: "" if key in gone else value for key, value in document.items()}
    return {**kept, "incmp_code": -1, "incmp_modules": list(modules)}


def _identity(order: MeituanOrder, now: float) -> dict[str, Any]:
    entry, store = order.entry, order.basket.store
    return {
        "order_id": int(entry.order_id),
        "wm_order_id_view": int(entry.order_id),
        "app_poi_code": entry.store_code,
        "wm_poi_name": store.name,
        "wm_poi_address": f"{store.name}, 1 Example Road",
        "wm_poi_phone": "4000000000",
        "status": STATUS[entry.state],
        "day_seq": order.day_seq,
        "ctime": int(entry.placed_at),
        "utime": int(now),
        "delivery_time": order.wanted_at,
        "estimate_arrival_time": int(entry.placed_at) + 1800,
        "pay_type": 2,
        "pick_type": 1 if entry.kind == "pickup" else 0,
        "is_pre_sale_order": False,
        "dinners_number": 0,
        "logistics_code": "0000",
        "is_third_shipping": 0,
        "has_invoiced": 0,
        "invoice_title": "",
        "taxpayer_id": "",
        "incmp_code": 0,
        "incmp_modules": [],
    }


def _recipient(order: MeituanOrder) -> dict[str, Any]:
    customer, basket = order.basket.customer, order.basket
    privacy_number = f"{customer.phone}_{customer.privacy_extension}"
    return {
        "recipient_name": customer.name,
        "recipient_phone": privacy_number,
        "backup_recipient_phone": _json([f"1390000{customer.phone[-4:]}_000001"]),
        "recipient_address": f"{customer.address}@#Example City {customer.address}",
        "latitude": 31.23,
        "longitude": 121.47,
        "caution": f"{'到店自取 ' if basket.kind == 'pickup' else ''}{basket.remark}",
    }


def _money(basket: Basket) -> dict[str, Any]:
    return {
        "total": yuan(basket.total_minor),
        "original_price": yuan(basket.original_minor),
        "shipping_fee": yuan(basket.delivery_fee_minor),
        "package_bag_money": basket.bag_minor,
        "total_weight": 500 * sum(line.quantity for line in basket.lines),
        "detail": _json([_line(cart, line) for cart, line in enumerate(basket.lines)]),
        "extras": _json([*_extras(basket), {}]),
        "poi_receive_detail": _json(_settlement(basket)),
        "poi_receive_detail_yuan": _json(_settlement_yuan(basket)),
        "sku_benefit_detail": _json(_benefits(basket)),
    }


def _line(cart: int, line: Line) -> dict[str, Any]:
    return {
        "app_food_code": line.sku,
        "food_name": line.name,
        "sku_id": line.sku,
        "upc": "",
        "quantity": line.quantity,
        "price": yuan(line.price_minor),
        "original_price": yuan(line.list_minor),
        "box_num": float(line.quantity if line.box_minor else 0),
        "box_price": yuan(line.box_minor),
        "unit": "份",
        "food_discount": 1.0,
        "food_property": ",".join(line.options),
        "cart_id": cart,
        "weight": 500,
    }


def _extras(basket: Basket) -> list[dict[str, Any]]:
    extras = [_extra(discount, _ORDER_DISCOUNT) for discount in basket.discounts]
    if basket.item_discount_minor:
        extras.append(_extra(Discount("折扣商品", 0, basket.item_discount_minor), _ITEM_DISCOUNT))
    return extras


def _extra(discount: Discount, kind: int) -> dict[str, Any]:
    return {
        "act_detail_id": 1000 + kind,
        "reduce_fee": yuan(discount.amount_minor),
        "mt_charge": yuan(discount.platform_minor),
        "poi_charge": yuan(discount.merchant_minor),
        "remark": discount.remark,
        "type": kind,
    }


def _settlement(basket: Basket) -> dict[str, Any]:
    by_platform = sum(discount.platform_minor for discount in basket.discounts)
    commission = basket.goods_minor // 20
    return {
        "actOrderChargeByMt": [_charge(by_platform)] if by_platform else [],
        "actOrderChargeByPoi": [_charge(discount.merchant_minor) for discount in basket.discounts],
        "foodShareFeeChargeByPoi": commission,
        "logisticsFee": basket.delivery_fee_minor,
        "onlinePayment": basket.total_minor,
        "wmPoiReceiveCent": basket.total_minor + by_platform - commission,
    }


def _charge(amount_minor: int) -> dict[str, Any]:
    return {
        "comment": "活动款",
        "feeTypeDesc": "活动款",
        "feeTypeId": 10019,
        "moneyCent": amount_minor,
    }


def _settlement_yuan(basket: Basket) -> dict[str, Any]:
    fen = _settlement(basket)
    return {
        "onlinePayment": f"{yuan(fen['onlinePayment']):.2f}",
        "logisticsFee": f"{yuan(fen['logisticsFee']):.2f}",
        "poiReceive": f"{yuan(fen['wmPoiReceiveCent']):.2f}",
    }


def _benefits(basket: Basket) -> list[dict[str, Any]]:
    """Each line's share of all discounts; the shares sum to what was taken off the order."""
    paid = tuple(line.quantity * line.price_minor for line in basket.lines)
    shares = allotted(basket.discount_minor, paid)
    return [_benefit(line, share) for line, share in zip(basket.lines, shares, strict=True)]


def _benefit(line: Line, share_minor: int) -> dict[str, Any]:
    origin = line.quantity * line.list_minor
    activity = line.quantity * line.price_minor - share_minor
    return {
        "app_food_code": line.sku,
        "name": line.name,
        "sku_id": line.sku,
        "count": line.quantity,
        "totalOriginPrice": yuan(origin),
        "originPrice": yuan(line.list_minor),
        "totalReducePrice": yuan(origin - activity),
        "totalActivityPrice": yuan(activity),
        "activityPrice": round(yuan(activity) / line.quantity, 2),
        "totalBoxPrice": yuan(line.quantity * line.box_minor),
        "wmAppOrderActDetails": [],
    }
