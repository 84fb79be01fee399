"""A Meituan order, pulled or pushed, as our order and the facts it tells.

Yuan stand beside fen, JSON inside JSON strings, and a push carries every value as a text; the same
order gives the same fact keys and fingerprints whichever way it came.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from dispatcher.identity import order_id, order_no
from dispatcher.order import Amounts, Line, Order, Recipient
from dispatcher.platform import DEGRADED, Catalogue, Fact, Malformed, Raw, UnknownStore
from dispatcher.strict_json import BadJson, loads
from producers.platforms.foreign import digest, minor, moment, part, parts, text, whole
from producers.platforms.payload import (
    daily_number_of,
    details_completed,
    ended,
    flags_of,
    order_or_problem,
    placed,
    quantity_of,
    raw_of,
    share_out,
    unread,
)

CHANNEL = "meituan"
# The fingerprint of a degraded order: money and lines are missing, so there is nothing to compare.

_COMPLETED, _CANCELLED = 8, 9
_DEGRADED_CODE = -1
_PICKUP = 1
_NESTED = ("detail", "extras", "poi_receive_detail", "sku_benefit_detail", "backup_recipient_phone")
_CANCELLED_BY = {
    1: "customer",
    2: "merchant",
    3: "customer_service",
    4: "sales",
    5: "system",
    6: "open_platform",
}


class Books(NamedTuple):
    """What an account needs to turn its orders into ours."""

    account: str
    currency: str
    catalogue: Catalogue


class Reading(NamedTuple):
    """One order as it stood at one look."""

    raw: Raw
    degraded: bool
    status: int | None


def read_order(
    document: Mapping[str, Any], body: bytes, books: Books, now: datetime, *, again: bool = False
) -> Reading:
    """`again`: the order was placed from degraded data; once complete, that is a fact of its own.

    What cannot be read, or names no store of ours, is a Raw with its problem.
    """
    unfolded = _unfolded(document)
    degraded = _is_degraded(unfolded)
    status = whole(unfolded.get("status"))
    order = order_or_problem(lambda: _order(unfolded, books, now, degraded))
    if isinstance(order, str):
        return Reading(unread(text(unfolded.get("order_id")), body, order), degraded, status)
    if degraded:
        facts = [placed(order, DEGRADED)]
    else:
        tell = details_completed if again else placed
        facts = [tell(order, _fingerprint(order, unfolded))]
    if status == _CANCELLED:
        facts.append(cancelled(order.channel_order_id, unfolded, now))
    elif status == _COMPLETED:
        facts.append(completed(order.channel_order_id, unfolded, now))
    return Reading(raw_of(body, facts, "~degraded" if degraded else ""), degraded, status)


def cancelled(channel_order_id: str, document: Mapping[str, Any], now: datetime) -> Fact:
    """Says who cancelled, and the platform's reason code; its free text may name people."""
    actor = _CANCELLED_BY.get(whole(document.get("deal_op_type")) or 0, "")
    code = whole(document.get("reason_code"))
    why = f"{actor} {code or ''}".strip()
    return ended("cancelled", channel_order_id, _ended_at(document, now), text(why))


def completed(channel_order_id: str, document: Mapping[str, Any], now: datetime) -> Fact:
    return ended("completed", channel_order_id, _ended_at(document, now))


def _ended_at(document: Mapping[str, Any], now: datetime) -> datetime:
    return moment(document.get("utime")) or moment(document.get("timestamp")) or now


def _is_degraded(document: Mapping[str, Any]) -> bool:
    """The platform says so, or the lines are missing or cannot be read: they may come later."""
    return whole(document.get("incmp_code")) == _DEGRADED_CODE or not _rows(document)


def _fingerprint(order: Order, document: Mapping[str, Any]) -> str:
    """Money, lines and store in the platform's own terms, so that our mapping may be mended."""
    codes = [(text(row.get("app_food_code")), text(row.get("sku_id"))) for row in _rows(document)]
    lines = [(line.name, line.quantity, line.unit_price_minor) for line in order.lines]
    store = text(document.get("app_poi_code"))
    return digest(store, order.currency, order.amounts.paid_minor, codes, lines)


def _order(document: Mapping[str, Any], books: Books, now: datetime, degraded: bool) -> Order:
    channel_order_id = text(document.get("order_id"))
    if not (channel_order_id.isascii() and channel_order_id.isdigit()):
        raise Malformed("the order has no order_id of digits")
    identifier = order_id(CHANNEL, channel_order_id)
    lines = _lines(document, books.catalogue)
    amounts, adds_up = _amounts(document, lines)
    return Order(
        order_id=identifier,
        order_no=order_no(identifier),
        channel=CHANNEL,
        account=books.account,
        channel_order_id=channel_order_id,
        aliases=_aliases(document, channel_order_id),
        store_id=_store(document, books),
        daily_number=daily_number_of(document.get("day_seq")),
        kind="pickup" if whole(document.get("pick_type")) == _PICKUP else "delivery",
        placed_at=moment(document.get("ctime")) or now,
        wanted_at=moment(document.get("delivery_time")),
        remark=text(document.get("caution"), 1000),
        currency=books.currency,
        amounts=amounts,
        lines=_paid_lines(document, lines, amounts),
        recipient=_recipient(document),
        flags=flags_of(lines, complete=adds_up and not degraded),
        extension=_extension(document),
    )


def _aliases(document: Mapping[str, Any], channel_order_id: str) -> tuple[str, ...]:
    shown = text(document.get("wm_order_id_view"))
    return (shown,) if shown not in ("", "0", channel_order_id) else ()


def _store(document: Mapping[str, Any], books: Books) -> str:
    code = text(document.get("app_poi_code"))
    store_id = books.catalogue.store_of(books.account, code)
    if store_id is None:
        raise UnknownStore(f"store {code!r} of account {books.account} is none of ours")
    return store_id


def _lines(document: Mapping[str, Any], catalogue: Catalogue) -> list[Line]:
    return [_line(n, row, catalogue) for n, row in enumerate(_rows(document), start=1)]


def _line(number: int, row: Mapping[str, Any], catalogue: Catalogue) -> Line:
    codes = (text(row.get("sku_id")), text(row.get("app_food_code")))
    price = minor(row.get("price"))
    return Line(
        line=number,
        sku=_sku(codes, catalogue),
        name=text(row.get("food_name")) or next(filter(None, codes), f"item {number}"),
        quantity=quantity_of(number, whole(row.get("quantity"))),
        unit_price_minor=(minor(row.get("original_price")) or 0) if price is None else price,
        paid_minor=0,
        options=text(row.get("food_property"), 500),
    )


def _sku(codes: tuple[str, ...], catalogue: Catalogue) -> str | None:
    found = (catalogue.sku_of(code) for code in codes if code)
    return next((sku for sku in found if sku is not None), None)


def _amounts(document: Mapping[str, Any], lines: list[Line]) -> tuple[Amounts, bool]:
    """The amounts, and whether they are all there and give the paid total.

    Discounts on items stand in `extras` too, so the goods count at their original prices; some
    accounts leave them out there, and then it is the prices after the discount that add up.
    """
    paid = minor(document.get("total"))
    before = sum(_original_minor(row) for row in _rows(document))
    after = sum(line.unit_price_minor * line.quantity for line in lines)
    for goods in (before, after):
        amounts = _amounts_with(document, goods, paid)
        if paid is not None and lines and amounts.add_up():
            return amounts, True
    return _amounts_with(document, before, paid), False


def _amounts_with(document: Mapping[str, Any], goods: int, paid: int | None) -> Amounts:
    reduced, by_store = _discounts(document)
    packing = _boxes_minor(document) + (whole(document.get("package_bag_money")) or 0)
    delivery = minor(document.get("shipping_fee")) or 0
    return Amounts(
        goods_minor=goods,
        packing_minor=packing,
        delivery_minor=delivery,
        platform_discount_minor=reduced - by_store,
        store_discount_minor=by_store,
        paid_minor=goods + packing + delivery - reduced if paid is None else paid,
    )


def _discounts(document: Mapping[str, Any]) -> tuple[int, int]:
    """All that was taken off, and the store's part of it.

    Gifts cost the store but take nothing off. `poi_charge` comes only to accounts that subscribed
    to it; the others read the store's part from the settlement.
    """
    rows = parts(document, "extras")
    reduced = sum(minor(row.get("reduce_fee")) or 0 for row in rows)
    if any("poi_charge" in row for row in rows):
        charges = [(minor(r.get("poi_charge")) or 0, minor(r.get("reduce_fee")) or 0) for r in rows]
        return reduced, sum(min(charge, fee) for charge, fee in charges)
    settled = parts(part(document, "poi_receive_detail"), "actOrderChargeByPoi")
    return reduced, min(reduced, sum(whole(row.get("moneyCent")) or 0 for row in settled))


def _original_minor(row: Mapping[str, Any]) -> int:
    price = minor(row.get("original_price"))
    if price is None:
        price = minor(row.get("price")) or 0
    return price * (whole(row.get("quantity")) or 0)


def _boxes_minor(document: Mapping[str, Any]) -> int:
    """`box_num` counts the boxes of the whole line."""
    rows = _rows(document)
    return sum((whole(r.get("box_num")) or 0) * (minor(r.get("box_price")) or 0) for r in rows)


def _paid_lines(
    document: Mapping[str, Any], lines: list[Line], amounts: Amounts
) -> tuple[Line, ...]:
    """Each line's share of the paid total: the platform's own allocation where it adds up.

    `sku_benefit_detail` knows nothing of delivery and packing; these are shared out on top of it.
    """
    allocated = _allocated(document, lines)
    rest = amounts.paid_minor - sum(allocated or ())
    if allocated is None or rest != amounts.delivery_minor + amounts.packing_minor:
        weights = [line.unit_price_minor * line.quantity for line in lines]
        return share_out(lines, amounts.paid_minor, weights)
    shared = share_out(lines, rest, allocated)
    pairs = zip(shared, allocated, strict=True)
    return tuple(ln.model_copy(update={"paid_minor": ln.paid_minor + own}) for ln, own in pairs)


def _allocated(document: Mapping[str, Any], lines: list[Line]) -> list[int] | None:
    """What was paid for each line after all discounts; None unless every line is there once."""
    rows = parts(document, "sku_benefit_detail")
    pairs = list(zip(rows, _rows(document), strict=False))
    amounts = [minor(row.get("totalActivityPrice")) for row in rows]
    same = all(
        text(benefit.get("sku_id")) == text(row.get("sku_id"))
        and text(benefit.get("app_food_code")) == text(row.get("app_food_code"))
        for benefit, row in pairs
    )
    known = [amount for amount in amounts if amount is not None and amount >= 0]
    return known if same and len(known) == len(rows) == len(lines) else None


def _recipient(document: Mapping[str, Any]) -> Recipient:
    """The address is `what the user typed@#what the map says`; the user knows better."""
    typed, _, mapped = text(document.get("recipient_address"), 500).partition("@#")
    backups = document.get("backup_recipient_phone")
    phones = [document.get("recipient_phone"), *(backups if isinstance(backups, list) else [])]
    return Recipient(
        name=text(document.get("recipient_name")),
        phone=next((dialled for phone in phones if (dialled := _dialled(text(phone)))), ""),
        address=typed.strip() or mapped.strip(),
    )


def _dialled(phone: str) -> str:
    """A privacy number `13812345678_123456` as one dials it: number, pause, extension."""
    return phone.replace("_", ",")


def _extension(document: Mapping[str, Any]) -> dict[str, Any]:
    """What only Meituan knows; its settlement is in fen already."""
    settled = part(document, "poi_receive_detail")
    kept = {
        "pay_type": whole(document.get("pay_type")),
        "logistics_code": text(document.get("logistics_code")) or None,
        "dinners_number": whole(document.get("dinners_number")),
        "store_receives_minor": whole(settled.get("wmPoiReceiveCent")),
        "commission_minor": whole(settled.get("foodShareFeeChargeByPoi")),
    }
    return {name: value for name, value in kept.items() if value is not None}


def _rows(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return parts(document, "detail")


def _unfolded(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The order with its JSON strings read; one that cannot be read counts as missing."""
    return {**document, **{name: _nested(document.get(name)) for name in _NESTED}}


def _nested(value: Any) -> Any:
    if not isinstance(value, str) or not value:
        return value
    try:
        return loads(value)
    except BadJson:
        return None
