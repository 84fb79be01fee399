"""How far everything is at one moment, taken from the books of platforms and tills."""

from typing import NamedTuple

from ops.demo.books import PartnerBooks, delays_ms, quantile

RATE_SECONDS = 5.0


class Scene(NamedTuple):
    """`wanted` is how many orders there will be; rates are per second, over the last few."""

    seconds: float
    wanted: int
    placed: int
    at_till: int
    confirmed: int
    ready: int
    delivered: int
    refused: int
    cancelled: int
    placed_rate: float
    till_rate: float
    p50_ms: float | None
    p99_ms: float | None

    @property
    def over(self) -> int:
        return self.delivered + self.refused + self.cancelled

    @property
    def all_over(self) -> bool:
        return self.placed >= self.wanted and self.over >= self.placed


def scene_of(books: PartnerBooks, wanted: int, seconds: float, now: float) -> Scene:
    """`seconds` since the first customer, `now` by the clock that the books go by."""
    states = [order.state for order in books.sold]
    delays = delays_ms(books)
    lately = now - min(RATE_SECONDS, max(seconds, 1.0))
    span = now - lately
    return Scene(
        seconds=seconds,
        wanted=wanted,
        placed=len(books.sold),
        at_till=len(books.tickets),
        confirmed=sum("confirmed" in order.facts for order in books.sold),
        ready=sum("ready" in order.facts for order in books.sold),
        delivered=states.count("completed"),
        refused=states.count("rejected"),
        cancelled=states.count("cancelled"),
        placed_rate=sum(order.placed_at > lately for order in books.sold) / span,
        till_rate=sum(ticket.first_seen > lately for ticket in books.tickets) / span,
        p50_ms=quantile(delays, 0.5),
        p99_ms=quantile(delays, 0.99),
    )
