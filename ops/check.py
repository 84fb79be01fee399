"""Whether the books agree: ours with themselves, with the broker, and with tills and platforms.

A check only reads, in one snapshot of the database. While orders are under way books may differ
for a moment: `wait_seconds` gives them time to meet.
"""

import asyncio
import random
from collections.abc import Collection
from time import monotonic
from typing import Protocol

from consumers.queues import NAMES
from dispatcher import workflows
from dispatcher.identity import BUCKETS
from dispatcher.ports import NullObserver
from dispatcher.rabbit.deploy import depths
from dispatcher.rabbit.topology import Topology
from dispatcher.workflows.takeaway import S
from ops.checks import platforms, replay, tills
from ops.checks.books import Pages
from ops.checks.finding import Claim, Finding
from ops.settings import Settings
from storage.audit import MOST_OFFENDERS, SESSION, Audit, Closed, Offender, Offenders
from storage.database import Database

LOOK_AGAIN_SECONDS = 1.0
COMMAND_SECONDS = 1800.0

NO_MEAL = (S.REJECTED, S.CANCELLED, S.CLOSED)
HOLDING = (
    *(S.TICKETING, S.TICKETED, S.CONFIRMING, S.COOKING, S.TELLING, S.READY),
    *(S.FINISHING, S.DONE),
)
"""The states in which the order's items are in the kitchen, or eaten."""

# statement of audit.sql -> what holds when it finds nothing
CLAIMS = {
    "unpublished_requests": Claim("requests_published", "whatever was accepted is published"),
    "lost_requests": Claim(
        "requests_recorded", "every event of a published request is recorded or in quarantine"
    ),
    "vanished_payloads": Claim(
        "unreadable_kept", "every payload that could not be read is in quarantine"
    ),
    "widows": Claim("orders_whole", "every order has an instance, every instance its order"),
    "stock_differences": Claim(
        "stock_adds_up", "received - deducted + returned = on hand, and never negative"
    ),
    "stray_movements": Claim(
        "stock_moves_once", "an order moves stock at its own store, and returns what it took"
    ),
    "deadline_differences": Claim("deadlines", "the deadlines' rows are what instances have armed"),
    "letters_without_reason": Claim("quarantine_reasons", "every letter in quarantine says why"),
    "commands_unanswered": Claim(
        "commands_answered", "every command has exactly one answer, or is still owed"
    ),
    "commands_from_nowhere": Claim("commands_known", "consumers did only what an event caused"),
    "answers_unrecorded": Claim(
        "answers_recorded", "the answers in the inbox are the events that were recorded"
    ),
}
ACCEPTED = Claim("orders_accepted", "accepted = finished + open + quarantined, and nothing else")
NOTHING_HELD = Claim("stock_returned", "nothing is held for an order that ended without a meal")
DEDUCTED = Claim("stock_deducted", "whatever is cooked was deducted, once and whole")
SETTLED = Claim("closed_settled", "nothing is expected of an order that is over")
REPLAYED = Claim("replay", "the stored events, folded again, give the stored orders")
QUEUES = Claim("queues_empty", "all queues but the lattice are empty")


class OtherBooks(Protocol):
    """The books of tills and platforms, wherever they are kept."""

    async def read(self) -> Pages:
        """As they are now."""


async def run(
    database_url: str,
    amqp_url: str | None,
    books: OtherBooks | None = None,
    *,
    topology: Topology | None = None,
    wait_seconds: float = 0,
    sample: int | None = None,
    skip: Collection[str] = (),
) -> list[Finding]:
    """One finding for each check, in the same order each time; all is well when all are `ok`.

    `sample`: replay only so many orders, beginning anywhere. `skip` names checks to leave out
    (`orders_accepted` where orders were published by hand). Without `amqp_url` queues are not
    counted.
    """
    until = monotonic() + wait_seconds
    async with Database.open(
        database_url,
        observer=NullObserver(),
        name="check",
        max_size=1,
        command_seconds=COMMAND_SECONDS,
        settings=SESSION,
    ) as database:
        while True:
            found = await _once(database, amqp_url, books, topology or _topology(), sample)
            findings = [finding for finding in found if finding.check not in skip]
            if all(finding.ok for finding in findings) or monotonic() >= until:
                return findings
            await asyncio.sleep(min(LOOK_AGAIN_SECONDS, max(0.0, until - monotonic())))


async def _once(
    database: Database,
    amqp_url: str | None,
    books: OtherBooks | None,
    topology: Topology,
    sample: int | None,
) -> list[Finding]:
    findings = []
    if amqp_url is not None:
        findings.append(QUEUES.found(waiting(await depths(amqp_url, topology), topology)))
    pages = await books.read() if books else None
    async with Audit.open(database) as audit:
        findings += await _ours(audit)
        findings.append(await _replayed(audit, sample))
        if pages is not None and pages.tills is not None:
            findings += await tills.compare(audit, pages.tills)
        if pages is not None and pages.platforms:
            findings += await platforms.compare(audit, pages)
    return findings


async def _ours(audit: Audit) -> list[Finding]:
    findings = [
        claim.found(await audit.offenders(statement)) for statement, claim in CLAIMS.items()
    ]
    held = await audit.offenders("stock_still_held", empty_handed=[str(s) for s in NO_MEAL])
    deducted = await audit.offenders("stock_not_deducted", holding=[str(s) for s in HOLDING])
    return [
        await _accepted(audit),
        *findings,
        NOTHING_HELD.found(held),
        DEDUCTED.found(deducted),
        SETTLED.found(await audit.unsettled(closed_states())),
    ]


async def _accepted(audit: Audit) -> Finding:
    nowhere = await audit.offenders("orders_from_nowhere")
    balances = await audit.balance(closed_states())
    unequal = [
        Offender(b.channel, f"{b.accepted - b.finished - b.open - b.quarantined} are missing")
        for b in balances
        if b.accepted != b.finished + b.open + b.quarantined
    ]
    note = "; ".join(
        f"{b.channel}: {b.accepted} = {b.finished} + {b.open} + {b.quarantined}" for b in balances
    )
    both = Offenders((*unequal, *nowhere.first), nowhere.total + len(unequal))
    return ACCEPTED.found(both, note)


async def _replayed(audit: Audit, sample: int | None) -> Finding:
    start = 0 if sample is None else random.randrange(BUCKETS)
    wrong: list[Offender] = []
    replayed = 0
    async for page in audit.lives(start, sample):
        wrong += replay.offenders(page)
        replayed += len(page)
    return REPLAYED.broken_by(wrong, f"{replayed} orders replayed")


def waiting(counted: dict[str, int], topology: Topology) -> Offenders:
    """The queues that are not empty; the lattice may hold whatever waits for its time."""
    lattice = {topology.level(level) for level in range(topology.levels)}
    full = [
        Offender(queue, f"{messages} messages")
        for queue, messages in sorted(counted.items())
        if messages and queue not in lattice
    ]
    return Offenders(tuple(full[:MOST_OFFENDERS]), len(full))


def closed_states() -> list[Closed]:
    """The states of every released workflow that nothing leaves."""
    return [
        Closed(life.name, life.version, state)
        for life in workflows.ALL
        for state in sorted(life.closed)
    ]


def _topology() -> Topology:
    """That of a system whose settings were left alone."""
    fields = Settings.model_fields
    return Topology(fields["namespace"].default, fields["partitions"].default, NAMES)
