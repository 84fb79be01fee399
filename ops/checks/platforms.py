"""The platforms' books against ours: the same orders, the same facts, told in the right order."""

from collections.abc import Collection, Iterable, Iterator, Sequence

from dispatcher.identity import order_id
from ops.checks.books import BookedOrder, Pages, origin
from ops.checks.finding import Claim, Finding
from storage.audit import Audit, Offender, PlatformOrder
from storage.chain import Account

PULLED = Claim("platform_orders_known", "an order that a platform showed us is one of ours")
SEEN = Claim("platform_orders_seen", "every order that a platform has was shown to us")
REAL = Claim("platform_orders_real", "an order of ours is in its platform's books")
TOLD = Claim("platform_told", "the platform knows what we believe to have told it, and no more")
AGREED = Claim("platform_states", "an order that is over ended the same way on its platform")
IN_ORDER = Claim("platform_told_in_order", "ready was told after confirmed, and never before")
ADDRESSED = Claim("platform_accounts", "the books at an address belong to an account of ours")

_ENDED = frozenset({"rejected", "cancelled"})
# What we say we told -> what the platform must have: itself, or what makes it pointless.
_PROOF = {
    "OrderConfirmed": ("confirmed", frozenset({"completed"})),
    "OrderRejected": ("rejected", _ENDED),
    "ReadyTold": ("ready", frozenset({"completed"})),
}
_SENT_BY = {"confirmed": "ConfirmOrder", "rejected": "RejectOrder", "ready": "TellReady"}
_TOO_EARLY = frozenset({"refused ready while placed", "refused ready while received"})


async def compare(audit: Audit, pages: Pages) -> list[Finding]:
    """What the platforms' books say about ours, all platforms together."""
    accounts = await audit.accounts()
    refused = await audit.quarantined_orders()
    booked: list[tuple[BookedOrder, PlatformOrder | None]] = []
    known: list[Offender] = []
    seen: list[Offender] = []
    real: list[Offender] = []
    homeless: list[Offender] = []
    for address, orders in pages.platforms.items():
        owners = [account for account in accounts if origin(account.base_url) == address]
        if not owners:
            homeless.append(Offender(address, "no account has this address"))
            continue
        ours = await audit.platform_orders(account.account for account in owners)
        pairs = matched(orders, ours)
        booked += pairs
        known += unknown(pairs, owners, refused)
        seen += unseen(orders)
        real += imagined(orders, ours)
    both = [(order, mine) for order, mine in booked if mine is not None]
    note = f"{len(booked)} orders on platforms"
    return [
        ADDRESSED.broken_by(homeless),
        PULLED.broken_by(known, note),
        SEEN.broken_by(seen),
        REAL.broken_by(real),
        TOLD.broken_by(told_otherwise(both)),
        AGREED.broken_by(ended_otherwise(both)),
        IN_ORDER.broken_by(told_too_early(order for order, _ in booked)),
    ]


def matched(
    orders: Iterable[BookedOrder], ours: Iterable[PlatformOrder]
) -> list[tuple[BookedOrder, PlatformOrder | None]]:
    """Each order of the books with ours, under whichever of its ids."""
    named = {name: mine for mine in ours for name in (mine.channel_order_id, *mine.aliases)}
    return [(order, named.get(order.order_id)) for order in orders]


def unknown(
    pairs: Iterable[tuple[BookedOrder, PlatformOrder | None]],
    owners: Sequence[Account],
    refused: Collection[str],
) -> Iterator[Offender]:
    """Orders that we were shown and neither took nor put into quarantine."""
    for order, mine in pairs:
        names = {str(order_id(account.platform, order.order_id)) for account in owners}
        shown = order.seen or order.pushed
        if mine is None and shown and not (names | {order.order_id}) & set(refused):
            yield Offender(order.order_id, "shown to us, but no order of ours")


def unseen(orders: Iterable[BookedOrder]) -> Iterator[Offender]:
    for order in orders:
        if order.seen is None and order.pushed is None:
            yield Offender(order.order_id, f"{order.state}, and nobody has looked at it")


def imagined(orders: Iterable[BookedOrder], ours: Iterable[PlatformOrder]) -> Iterator[Offender]:
    there = {order.order_id for order in orders}
    for mine in ours:
        if not there & {mine.channel_order_id, *mine.aliases}:
            yield Offender(str(mine.order_id), f"{mine.account} has no {mine.channel_order_id}")


def told_otherwise(pairs: Iterable[tuple[BookedOrder, PlatformOrder]]) -> Iterator[Offender]:
    for order, mine in pairs:
        for answer, (fact, instead) in _PROOF.items():
            there = getattr(order, fact) is not None or order.state in instead
            if answer in mine.told and not there:
                yield Offender(str(mine.order_id), f"{answer}, yet the platform was not told")
        for fact, command in _SENT_BY.items():
            if getattr(order, fact) is not None and f"system2.{command}" not in mine.sent:
                yield Offender(str(mine.order_id), f"{fact} there, yet {command} was never sent")


def ended_otherwise(pairs: Iterable[tuple[BookedOrder, PlatformOrder]]) -> Iterator[Offender]:
    """DONE is not cancelled there; REJECTED and CANCELLED are not still open there."""
    for order, mine in pairs:
        over = order.state in _ENDED
        if (mine.state == "DONE" and over) or (
            mine.state in ("REJECTED", "CANCELLED") and not over
        ):
            yield Offender(str(mine.order_id), f"{mine.state}, on the platform {order.state}")


def told_too_early(orders: Iterable[BookedOrder]) -> Iterator[Offender]:
    for order in orders:
        if any(entry in _TOO_EARLY for _, entry in order.history):
            yield Offender(order.order_id, "told ready before it was confirmed")
        elif order.ready and (order.confirmed is None or order.ready.first < order.confirmed.first):
            yield Offender(order.order_id, "ready stands before confirmed")
