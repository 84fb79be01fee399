"""An Open Delivery order and its events on the wire: decimal prices, UTC times, UUIDs."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from ops.simulators.books import OrderEntry
from ops.simulators.customers import Basket, Discount, Line


@dataclass(slots=True)
class OpenOrder:
    entry: OrderEntry
    basket: Basket
    wanted_at: float | None
    last_event: str = "CREATED"
    cancel_asked: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    event_id: str
    event_type: str
    merchant: str
    order_id: str
    created_at: float

    def as_json(self, base_url: str) -> dict[str, str]:
        return {
            "eventId": self.event_id,
            "eventType": self.event_type,
            "orderId": self.order_id,
            "orderURL": f"{base_url}/v1/orders/{self.order_id}",
            "createdAt": utc(self.created_at),
        }


def utc(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def order_object(order: OpenOrder) -> dict[str, Any]:
    entry, basket = order.entry, order.basket
    document = {
        "id": entry.order_id,
        "type": "TAKEOUT" if basket.kind == "pickup" else "DELIVERY",
        "displayId": str(entry.daily_number),
        "createdAt": utc(entry.placed_at),
        "lastEvent": order.last_event,
        "orderTiming": "INSTANT" if order.wanted_at is None else "SCHEDULED",
        "preparationStartDateTime": utc(entry.placed_at),
        "merchant": {"id": entry.store_code, "name": basket.store.name},
        "extraInfo": basket.remark,
        "sendPreparing": basket.kind == "pickup",
    }
    return {**document, **_money(order), **_people(order), **_times(order)}


def _price(minor: int, currency: str) -> dict[str, Any]:
    return {"value": minor / 100, "currency": currency}


def _money(order: OpenOrder) -> dict[str, Any]:
    basket, currency = order.basket, order.entry.currency
    paid = basket.total_minor / 100
    method = {"value": paid, "currency": currency, "type": "PREPAID", "method": "PIX"}
    return {
        "items": [
            _item(order, position, line, currency) for position, line in enumerate(basket.lines)
        ],
        "otherFees": _fees(basket, currency),
        "discounts": [_discount(discount, currency) for discount in basket.discounts],
        "total": {
            "itemsPrice": _price(basket.goods_minor, currency),
            "otherFees": _price(basket.fees_minor, currency),
            "discount": _price(basket.discount_minor, currency),
            "orderAmount": _price(basket.total_minor, currency),
        },
        "payments": {"prepaid": paid, "pending": 0, "methods": [method]},
    }


def _item(order: OpenOrder, position: int, line: Line, currency: str) -> dict[str, Any]:
    return {
        "id": str(uuid5(NAMESPACE_URL, f"{order.entry.order_id}/items/{position}")),
        "index": position,
        "name": line.name,
        "externalCode": line.sku,
        "unit": "UN",
        "quantity": line.quantity,
        "unitPrice": _price(line.price_minor, currency),
        "originalPrice": _price(line.list_minor, currency),
        "optionsPrice": _price(0, currency),
        "totalPrice": _price(line.quantity * line.price_minor, currency),
        "specialInstructions": ", ".join(line.options),
        "options": [],
    }


def _fees(basket: Basket, currency: str) -> list[dict[str, Any]]:
    packing_minor = basket.boxes_minor + basket.bag_minor
    fees = (
        ("Delivery", "DELIVERY_FEE", "MARKETPLACE", basket.delivery_fee_minor),
        ("Packing", "SERVICE_FEE", "MERCHANT", packing_minor),
    )
    return [
        {"name": name, "type": kind, "receivedBy": receiver, "price": _price(minor, currency)}
        for name, kind, receiver, minor in fees
        if minor
    ]


def _discount(discount: Discount, currency: str) -> dict[str, Any]:
    sponsors = (("MARKETPLACE", discount.platform_minor), ("MERCHANT", discount.merchant_minor))
    return {
        "amount": _price(discount.amount_minor, currency),
        "target": "CART",
        "sponsorshipValues": [
            {"name": name, "amount": _price(minor, currency)} for name, minor in sponsors if minor
        ],
    }


def _people(order: OpenOrder) -> dict[str, Any]:
    customer = order.basket.customer
    person = {
        "id": str(uuid5(NAMESPACE_URL, customer.phone)),
        "name": customer.name,
        "phone": {"number": customer.phone, "extension": customer.privacy_extension},
        "ordersCountOnMerchant": 1,
    }
    if order.basket.kind == "pickup":
        return {"customer": person}
    return {"customer": person, "delivery": _delivery(order)}


def _delivery(order: OpenOrder) -> dict[str, Any]:
    street = order.basket.customer.address
    due = order.wanted_at or order.entry.placed_at + 2400
    return {
        "deliveredBy": "MARKETPLACE",
        "estimatedDeliveryDateTime": utc(due),
        "deliveryAddress": {
            "country": "BR",
            "state": "BR-SP",
            "city": "Example City",
            "district": "Centro",
            "street": street,
            "number": "100",
            "complement": "AP 31",
            "postalCode": "00000-000",
            "formattedAddress": f"{street}, 100, AP 31, Centro - Example City",
            "coordinates": {"latitude": -23.54, "longitude": -46.63},
        },
    }


def _times(order: OpenOrder) -> dict[str, Any]:
    times: dict[str, Any] = {}
    if order.wanted_at is not None:
        times["schedule"] = {
            "scheduledDateTimeStart": utc(order.wanted_at),
            "scheduledDateTimeEnd": utc(order.wanted_at + 900),
        }
    if order.basket.kind == "pickup":
        ready = order.wanted_at or order.entry.placed_at + 1200
        times["takeout"] = {"mode": "DEFAULT", "takeoutDateTime": utc(ready)}
    return times
