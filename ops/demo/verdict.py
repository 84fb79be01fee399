"""Compares the books, order by order and shelf by shelf, once all is over.

Nobody's book is believed: an order is all right when platform, database and till tell the same
story about it, and its portions are missing from the shelf exactly if it was delivered.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from dispatcher.workflows.takeaway import S
from ops.demo.books import TILL_OPEN, Level, PartnerBooks, Sold, Ticket, delays_ms, quantile
from storage.books import BookedOrder, Movement
from storage.books import Level as Shelf

# What the platform may say about an order that ended so with us. A customer may cancel while we
# are refusing, and a platform that gave up an order is believed.
STORIES: Mapping[str, frozenset[str]] = {
    S.DONE: frozenset({"completed"}),
    S.REJECTED: frozenset({"rejected", "cancelled"}),
    S.CANCELLED: frozenset({"cancelled", "rejected"}),
    S.CLOSED: frozenset({"completed", "rejected", "cancelled"}),
}


class OurBooks(NamedTuple):
    """The database's orders and stock movements, and the shelves."""

    orders: Sequence[BookedOrder]
    movements: Sequence[Movement]
    levels: Sequence[Shelf]


class Row(NamedTuple):
    """A line of the comparison: what each book says, None where a book knows nothing of it."""

    name: str
    platform: int | None = None
    database: int | None = None
    till: int | None = None
    stock: int | None = None

    @property
    def agrees(self) -> bool:
        return len({value for value in self[1:] if value is not None}) == 1


class Verdict(NamedTuple):
    """`faults` are sentences; the figures are those of `--json`."""

    rows: Sequence[Row]
    faults: Sequence[str]
    orders: int
    delivered: int
    refused: int
    closed: int
    lost: int
    duplicated: int
    p50_ms: int
    p99_ms: int

    @property
    def open(self) -> int:
        return self.orders - self.delivered - self.refused - self.closed

    @property
    def ok(self) -> bool:
        nothing_off = not (self.faults or self.open or self.lost or self.duplicated)
        return nothing_off and all(row.agrees for row in self.rows)

    def as_json(self) -> dict[str, int | bool]:
        names = ("orders", "delivered", "refused", "closed", "open", "lost", "duplicated")
        figures = {name: getattr(self, name) for name in (*names, "p50_ms", "p99_ms")}
        return {**figures, "ok": self.ok}


class Comparison:
    """`items` are the SKUs that stock is kept of. For `incomplete` orders, placed with lines that
    could not be read at first, the ledger itself says whether stock moved.
    """

    def __init__(
        self,
        partners: PartnerBooks,
        ours: OurBooks,
        items: Collection[str],
        incomplete: Collection[str],
    ) -> None:
        self._partners = partners
        self._ours = ours
        self._items = items
        self._incomplete = incomplete
        self._booked = {(o.channel, o.channel_order_id): o for o in ours.orders}
        self._tickets = {ticket.ticket_id: ticket for ticket in partners.tickets}
        self._ledger = _ledger(ours.movements)

    def verdict(self, found: Sequence[str] = ()) -> Verdict:
        """`found`: faults that were seen elsewhere."""
        delays = delays_ms(self._partners)
        states = Counter(booked.state for booked in self._booked_of_sold())
        strangers = len(self._ours.orders) - sum(states.values())
        faults = [*self._faults(), *found]
        if strangers:
            faults.append(f"the database has {strangers} orders that no platform knows")
        return Verdict(
            rows=self._rows(states),
            faults=faults,
            orders=len(self._partners.sold),
            delivered=states[S.DONE],
            refused=states[S.REJECTED],
            closed=states[S.CANCELLED] + states[S.CLOSED],
            lost=sum(self._lost(order) for order in self._partners.sold),
            duplicated=sum(ticket.keys - 1 for ticket in self._partners.tickets),
            p50_ms=round(quantile(delays, 0.5) or 0),
            p99_ms=round(quantile(delays, 0.99) or 0),
        )

    def _booked_of_sold(self) -> list[BookedOrder]:
        found = (self._booked.get((o.channel, o.number)) for o in self._partners.sold)
        return [booked for booked in found if booked is not None]

    def _lost(self, order: Sold) -> bool:
        booked = self._booked.get((order.channel, order.number))
        return booked is None or order.state not in STORIES.get(booked.state, frozenset())

    def _ticketed(self, booked: BookedOrder) -> bool:
        """Where nobody answered, not even later, the till's book says whether it has it."""
        return booked.arrived or (booked.pushed and booked.order_no in self._tickets)

    # -- order by order ----------------------------------------------------------------------

    def _faults(self) -> Iterator[str]:
        for order in self._partners.sold:
            if fault := self._fault(order):
                yield f"{order.channel} {order.number}: {fault}"
        yield from self._shelf_faults()

    def _fault(self, order: Sold) -> str | None:
        """The first thing about an order that the books do not agree on."""
        booked = self._booked.get((order.channel, order.number))
        if booked is None:
            return "paid on the platform, but not in the database"
        if self._lost(order):
            return f"{order.state} on the platform, {booked.state} in the database"
        ticket = self._tickets.get(booked.order_no or "")
        if ticket is None:
            return "the database has a ticket that its till never saw" if booked.arrived else None
        return self._ticket_fault(order, booked, ticket)

    def _ticket_fault(self, order: Sold, booked: BookedOrder, ticket: Ticket) -> str | None:
        if not booked.pushed:
            return "its till has a ticket that was never pushed"
        if ticket.keys > 1 or ticket.bodies > 1:
            return f"its till saw {ticket.keys} keys and {ticket.bodies} different tickets"
        if ticket.status in TILL_OPEN and booked.state != S.CLOSED:
            return f"over everywhere, but {ticket.status} at its till"
        if booked.state == S.DONE and ticket.code != order.code:
            return f"pickup code {ticket.code} at the till, {order.code} on the platform"
        return None

    # -- shelf by shelf ----------------------------------------------------------------------

    def _shelf_faults(self) -> Iterator[str]:
        sold, booked = self._sold_portions(), self._booked_portions()
        gone = {(s.store_id, s.sku): s.received - s.on_hand for s in self._ours.levels}
        for level in sorted(sold.keys() | booked.keys() | gone.keys()):
            amounts = sold[level], booked[level], gone.get(level, 0)
            if len(set(amounts)) > 1:
                told, ledger, shelf = amounts
                yield (
                    f"{level[0]} {level[1]}: {told} sold, {ledger} in the ledger, "
                    f"{shelf} gone from the shelf"
                )

    def _sold_portions(self) -> Counter[Level]:
        """What delivered orders hold, by the platforms' books."""
        portions: Counter[Level] = Counter()
        for order in self._partners.sold:
            if order.state != "completed":
                continue
            booked = self._booked.get((order.channel, order.number))
            believed = order.portions
            if order.number in self._incomplete and booked is not None:
                believed = self._ledger.get(booked.instance_id, Counter())
            for sku, quantity in believed.items():
                if sku in self._items:
                    portions[order.store_id, sku] += quantity
        return portions

    def _booked_portions(self) -> Counter[Level]:
        portions: Counter[Level] = Counter()
        for movement in self._ours.movements:
            for sku, quantity in movement.quantities.items():
                portions[movement.store_id, sku] += _sign(movement) * quantity
        return portions

    # -- the table ---------------------------------------------------------------------------

    def _rows(self, states: Mapping[str, int]) -> list[Row]:
        sold, tickets = self._partners.sold, self._partners.tickets
        booked = self._booked_of_sold()
        platform = Counter(order.state for order in sold)
        over = states.get(S.DONE, 0), sum(states.get(s, 0) for s in STORIES if s != S.DONE)
        served = sum(ticket.status == "ready" and not ticket.kept for ticket in tickets)
        shelves = sum(shelf.received - shelf.on_hand for shelf in self._ours.levels)
        return [
            Row("orders placed", len(sold), len(booked)),
            Row("tickets at a till", None, sum(map(self._ticketed, booked)), len(tickets)),
            Row("delivered", platform["completed"], over[0], served),
            Row("refused or cancelled", platform["rejected"] + platform["cancelled"], over[1]),
            Row(
                "still open",
                sum(order.open for order in sold),
                len(booked) - sum(over),
                sum(ticket.status in TILL_OPEN for ticket in tickets),
            ),
            Row(
                "portions sold",
                self._sold_portions().total(),
                self._booked_portions().total(),
                None,
                shelves,
            ),
        ]


def _ledger(movements: Sequence[Movement]) -> dict[UUID, Counter[str]]:
    """What each order took and did not bring back."""
    held: dict[UUID, Counter[str]] = {}
    for movement in movements:
        order = held.setdefault(movement.order_id, Counter())
        for sku, quantity in movement.quantities.items():
            order[sku] += _sign(movement) * quantity
    return held


def _sign(movement: Movement) -> int:
    return -1 if movement.movement == "returned" else 1
