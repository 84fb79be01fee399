"""Customers: what they order, drawn from a seeded generator over the chain's stores and items.

A basket knows no platform; amounts are in minor units and always add up:
total = lines after item discounts + boxes + bag + delivery fee - order discounts.
"""

import random
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from ops.simulators.chain import Chain, Item, PlatformAccount, Store

Kind = Literal["delivery", "pickup"]

_NAMES = ("陈女士", "王先生", "Li Wei", "João", "Zoë", "赵同学", "Ana", "孙先生")
_STREETS = ("幸福路 8 号", "Rua das Flores 12", "人民大道 100 号", "Harbour St 5")
_REMARKS = ("", "", "", "不要香菜", "less salt & no onion", "放门口, 谢谢 + 1双筷子", "100% 热")
_OPTIONS = ("微辣", "少冰", "大份", "no coriander")


class WishedLine(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    sku: str
    quantity: int = Field(default=1, ge=1)
    name: str | None = None
    price_minor: int | None = Field(default=None, ge=0)
    options: tuple[str, ...] = ()


class Wish(BaseModel):
    """One order as the caller of `POST /_sim/orders` wants it; what is left open is drawn.

    `store_code` names a store the chain does not have. `degraded` is the number of looks that show
    incomplete data, `unreadable_for` the seconds before the order's daily number can be read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: str | None = None
    store_code: str | None = None
    lines: tuple[WishedLine, ...] | None = Field(default=None, min_length=1)
    kind: Kind | None = None
    remark: str | None = None
    wanted_in: float | None = None
    cancel_after: float | None = None
    cancel_asks: bool = False
    degraded: int = 0
    degraded_modules: tuple[int, ...] = (1, 4, 5)
    duplicate: bool = False
    unreadable_for: float = 0.0


class Line(NamedTuple):
    sku: str
    name: str
    quantity: int
    list_minor: int
    price_minor: int
    box_minor: int
    options: tuple[str, ...]


class Discount(NamedTuple):
    remark: str
    platform_minor: int
    merchant_minor: int

    @property
    def amount_minor(self) -> int:
        return self.platform_minor + self.merchant_minor


class Customer(NamedTuple):
    name: str
    phone: str
    privacy_extension: str
    address: str


class Basket(NamedTuple):
    store: Store
    store_code: str
    kind: Kind
    lines: tuple[Line, ...]
    bag_minor: int
    delivery_fee_minor: int
    discounts: tuple[Discount, ...]
    remark: str
    customer: Customer

    @property
    def goods_minor(self) -> int:
        return sum(line.quantity * line.price_minor for line in self.lines)

    @property
    def item_discount_minor(self) -> int:
        return sum(line.quantity * (line.list_minor - line.price_minor) for line in self.lines)

    @property
    def boxes_minor(self) -> int:
        return sum(line.quantity * line.box_minor for line in self.lines)

    @property
    def discount_minor(self) -> int:
        return sum(discount.amount_minor for discount in self.discounts)

    @property
    def fees_minor(self) -> int:
        return self.boxes_minor + self.bag_minor + self.delivery_fee_minor

    @property
    def original_minor(self) -> int:
        return self.goods_minor + self.item_discount_minor + self.fees_minor

    @property
    def total_minor(self) -> int:
        return self.goods_minor + self.fees_minor - self.discount_minor


class Customers:
    def __init__(self, chain: Chain, account: PlatformAccount, dice: random.Random) -> None:
        self._stores = chain.stores_on(account.account)
        self._items = {item.sku: item for item in chain.items}
        self._account = account.account
        self.dice = dice

    def order(self, wish: Wish) -> Basket:
        store = self._store(wish.store)
        kind: Kind = wish.kind or ("pickup" if self.dice.random() < 0.2 else "delivery")
        lines = self._lines(wish.lines)
        goods_minor = sum(line.quantity * line.price_minor for line in lines)
        return Basket(
            store=store,
            store_code=wish.store_code or store.accounts[self._account],
            kind=kind,
            lines=lines,
            bag_minor=self.dice.choice((0, 0, 50, 100)),
            delivery_fee_minor=0 if kind == "pickup" else self.dice.choice((300, 450, 600)),
            discounts=self._discounts(goods_minor),
            remark=self.dice.choice(_REMARKS) if wish.remark is None else wish.remark,
            customer=self._customer(),
        )

    def _store(self, store_id: str | None) -> Store:
        if store_id is None:
            return self.dice.choice(self._stores)
        for store in self._stores:
            if store.store_id == store_id:
                return store
        raise LookupError(f"no store {store_id} on account {self._account}")

    def _lines(self, wished: tuple[WishedLine, ...] | None) -> tuple[Line, ...]:
        if wished is not None:
            return tuple(self._wished_line(line) for line in wished)
        items = self.dice.sample(tuple(self._items.values()), k=self.dice.randint(2, 4))
        return tuple(self._drawn_line(item) for item in items)

    def _wished_line(self, line: WishedLine) -> Line:
        item = self._items.get(line.sku, Item(line.sku, line.sku, 1000))
        price_minor = item.price_minor if line.price_minor is None else line.price_minor
        name = line.name or item.name
        return Line(line.sku, name, line.quantity, price_minor, price_minor, 100, line.options)

    def _drawn_line(self, item: Item) -> Line:
        off_minor = item.price_minor // 10 if self.dice.random() < 0.25 else 0
        return Line(
            sku=item.sku,
            name=item.name,
            quantity=self.dice.choice((1, 1, 1, 2)),
            list_minor=item.price_minor,
            price_minor=item.price_minor - off_minor,
            box_minor=self.dice.choice((0, 100)),
            options=tuple(self.dice.sample(_OPTIONS, k=self.dice.randint(0, 2))),
        )

    def _discounts(self, goods_minor: int) -> tuple[Discount, ...]:
        if goods_minor < 2000 or self.dice.random() < 0.5:
            return ()
        amount = self.dice.choice((300, 500, 801))
        by_platform = self.dice.randint(0, amount)
        return (Discount("满20.0元减", by_platform, amount - by_platform),)

    def _customer(self) -> Customer:
        return Customer(
            name=self.dice.choice(_NAMES),
            phone=f"1380013{self.dice.randint(0, 9999):04d}",
            privacy_extension=f"{self.dice.randint(0, 999999):06d}",
            address=self.dice.choice(_STREETS),
        )


def allotted(amount: int, weights: tuple[int, ...]) -> tuple[int, ...]:
    """The amount shared out in proportion to the weights; the shares always sum to it."""
    whole, shares, used, given = sum(weights) or 1, [], 0, 0
    for weight in weights:
        used += weight
        shares.append(amount * used // whole - given)
        given += shares[-1]
    return tuple(shares)
