"""The pure parts of checks and timelines."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from dispatcher import workflows
from dispatcher.engine import Instance, Workflows, fold
from dispatcher.envelope import Envelope
from dispatcher.identity import order_id, order_no
from dispatcher.messages import Event, MealReady, OrderPlaced, StockDeducted, StockShort
from dispatcher.order import Amounts, Line, Order
from dispatcher.rabbit.topology import Topology
from dispatcher.workflow import Fate
from ops.check import closed_states, waiting
from ops.checks.books import UnreadableBooks, origin, pages
from ops.checks.finding import Claim
from ops.checks.replay import differences
from ops.timeline import masked_name, masked_phone
from storage.audit import Kept, Life, Offender

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ABOUT = order_id("meituan", "1")
ORDER = Order(
    order_id=ABOUT,
    order_no=order_no(ABOUT),
    channel="meituan",
    account="mt-main",
    channel_order_id="1",
    store_id="S001",
    placed_at=NOW,
    currency="CNY",
    amounts=Amounts(goods_minor=1, paid_minor=1),
    lines=(Line(line=1, sku="TEA", name="tea", quantity=1, unit_price_minor=1, paid_minor=1),),
)


def event(number: int, data: Event, cause: UUID | None = None) -> Envelope[Event]:
    return Envelope(
        id=UUID(int=number),
        source="/test",
        subject=ABOUT,
        instance=ABOUT,
        time=NOW,
        data=data,
        cause=cause,
    )


def lived(*events: Envelope[Event], scale: float = 1.0) -> Life:
    """What System2 stores of these events, one transaction each."""
    lives = Workflows(workflows.ALL, workflows.BORN_WITH, scale)
    instance, kept = Instance(ABOUT), []
    fates: dict[UUID, Fate] = {}
    for number, one in enumerate(events):
        now = NOW + timedelta(seconds=number)
        instance, (record,) = fold(instance, [one], lives, now)
        fates |= {one.id: record.fate, **{early.id: fate for early, fate in record.released}}
        armed = {name: deadline.epoch for name, deadline in record.armed.items()}
        kept.append(Kept(one, record.fate, record.revision, now, record.commands, armed))
    events_ = tuple(one._replace(fate=fates[one.event.id]) for one in kept)
    return Life(instance, len(instance.early), events_)


def deducting() -> list[Envelope[Event]]:
    placed = event(1, OrderPlaced(order=ORDER))
    command = lived(placed).events[0].commands[0]
    return [event(2, MealReady()), placed, event(3, StockDeducted(), command.id)]


def test_what_system2_stored_is_what_its_events_say() -> None:
    assert differences(lived(*deducting())) == []


def test_time_limits_of_other_settings_make_no_difference() -> None:
    assert differences(lived(*deducting(), scale=0.01)) == []


def test_each_difference_is_named() -> None:
    life = lived(*deducting())
    early, placed, deducted = life.events
    wrong = [
        life._replace(early=0),
        life._replace(events=(early, placed)),
        life._replace(events=(early, placed._replace(revision=7), deducted)),
        life._replace(events=(early, placed._replace(commands=()), deducted)),
        life._replace(events=(early._replace(armed={}), placed, deducted)),
        life._replace(events=(early, placed, deducted._replace(event=event(3, StockShort())))),
        life._replace(instance=Instance(ABOUT)),
    ]
    assert [len(differences(one)) > 0 for one in wrong] == [True] * len(wrong)


def test_a_version_that_this_release_does_not_know_is_named() -> None:
    stranger = Instance(ABOUT, workflow="takeaway", version=99, state="DONE")
    assert differences(Life(stranger, 0, ())) == ["nobody here knows takeaway version 99"]


def test_closed_states_are_those_that_nothing_leaves() -> None:
    closed = {
        row.state for row in closed_states() if (row.workflow, row.version) == ("takeaway", 1)
    }
    assert closed == {"DONE", "REJECTED", "CANCELLED", "CLOSED"}


def test_only_the_lattice_may_hold_messages() -> None:
    topology = Topology("s", 1, ("stock.deduct",))
    counted = {"s.delay.03": 5, "s.facts.0": 0, "s.stock.deduct.solo": 2, "s.lost": 1}
    found = waiting(counted, topology)
    assert [offender.subject for offender in found.first] == ["s.lost", "s.stock.deduct.solo"]


def test_a_claim_counts_all_and_names_the_first() -> None:
    claim = Claim("name", "sentence")
    assert claim.broken_by([]).ok
    finding = claim.broken_by(Offender(f"{n:02}", "") for n in range(25))
    assert (finding.ok, finding.total, len(finding.offenders)) == (False, 25, 10)


@pytest.mark.parametrize("document", [{}, {"orders": [{"state": "placed"}]}, [], {"messages": 1}])
def test_what_is_no_book_is_refused(document: object) -> None:
    with pytest.raises(UnreadableBooks):
        pages({"http://a": document})


def test_books_belong_to_the_account_with_the_same_origin() -> None:
    assert origin("http://127.0.0.1:7101/api/v1") == origin("http://127.0.0.1:7101")
    assert origin("https://platform.test/v1") == "https://platform.test:443"


@pytest.mark.parametrize(("name", "masked"), [("陈女士", "陈**"), ("A", "A**"), ("", "")])
def test_of_a_name_one_character_stays(name: str, masked: str) -> None:
    assert masked_name(name) == masked


@pytest.mark.parametrize(
    ("phone", "masked"),
    [("13800131234", "*******1234"), ("13800131234,123456", "*******1234"), ("110", "****")],
)
def test_of_a_phone_number_the_last_four_digits_stay(phone: str, masked: str) -> None:
    assert masked_phone(phone) == masked
