"""The unified order: one shape for every channel, amounts in minor units, frozen at placing."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

Minor = Annotated[int, Field(ge=-(10**12), le=10**12)]
"""An amount of money in minor units (fen, cents) of the order's currency."""

Flag = Literal["unmapped", "money_incomplete"]
"""`unmapped`: a line names no item of ours. `money_incomplete`: totals are missing or unequal."""


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Line(Frozen):
    """One ordered item. `sku` is None when the item is none of ours (flag `unmapped`)."""

    line: Annotated[int, Field(ge=1)]
    sku: str | None
    name: str
    quantity: Annotated[int, Field(ge=1, le=10_000)]
    unit_price_minor: Minor
    paid_minor: Minor
    options: str = ""


class Amounts(Frozen):
    """What the customer pays and how it came about. Discounts are positive numbers."""

    goods_minor: Minor
    packing_minor: Minor = 0
    delivery_minor: Minor = 0
    platform_discount_minor: Minor = 0
    store_discount_minor: Minor = 0
    paid_minor: Minor

    def add_up(self) -> bool:
        """Whether the parts give the paid total."""
        charges = self.goods_minor + self.packing_minor + self.delivery_minor
        return charges - self.platform_discount_minor - self.store_discount_minor == self.paid_minor


class Recipient(Frozen):
    """Personal data: kept in a table of its own, masked on read, never in an event."""

    name: str = ""
    phone: str = ""
    address: str = ""


class Order(Frozen):
    """An order as the whole pipeline knows it, whatever channel it came from."""

    order_id: UUID
    order_no: str
    channel: str
    account: str
    channel_order_id: str
    aliases: tuple[str, ...] = ()
    store_id: str
    daily_number: int | None = None
    kind: Literal["delivery", "pickup"] = "delivery"
    placed_at: datetime
    wanted_at: datetime | None = None
    remark: str = ""
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    amounts: Amounts
    lines: tuple[Line, ...]
    recipient: Recipient = Recipient()
    flags: tuple[Flag, ...] = ()
    extension: dict[str, Any] = {}


def allot(total: int, weights: Sequence[int]) -> list[int]:
    """Split `total` over `weights` exactly, by largest remainder; earlier shares win ties.

    Weights must not be negative; when all are zero the first takes everything.
    """
    if any(weight < 0 for weight in weights):
        raise ValueError("weights must not be negative")
    if not weights:
        raise ValueError("there is nothing to allot to")
    whole = sum(weights)
    if whole == 0:
        return [total] + [0] * (len(weights) - 1)
    shares = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % whole), i))
    for index in by_remainder[: total - sum(shares)]:
        shares[index] += 1
    return shares
