"""The walk over daily numbers: new ones, holes, midnight, and what it costs."""

import asyncio
from contextlib import suppress
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.errors import PipelineError
from dispatcher.messages import DetailsCompleted, OrderPlaced
from dispatcher.platform import NotDone, Page, Throttled
from producers.platforms.meituan import MeituanOptions
from producers.platforms.meituan_walk import Walk
from producers.platforms.meituan_wire import Garbled, Rejected, UnknownOrder
from tests.unit.platforms.fakes import BOOKS

SHANGHAI = ZoneInfo("Asia/Shanghai")
DAY = date(2024, 5, 6)
NOON = datetime(2024, 5, 6, 12, tzinfo=SHANGHAI)
MIDNIGHT = datetime(2024, 5, 7, tzinfo=SHANGHAI)


class NumberedOrders:
    """A store's orders by day and number; `trouble` strikes at some numbers, once or for ever."""

    def __init__(self) -> None:
        self.days: dict[str, int] = {}
        self.today = DAY
        self.trouble: dict[int, PipelineError | dict[str, Any]] = {}
        self.asked: list[int] = []

    def place(self, count: int, day: date = DAY) -> None:
        name = day.strftime("%Y%m%d")
        self.days[name] = self.days.get(name, 0) + count

    async def read(self, resource: str, **params: str) -> tuple[Any, bytes]:
        if resource == "order/getOrderDaySeq":
            return {"day_seq": self.days.get(self.today.strftime("%Y%m%d"), 0)}, b""
        if resource == "order/getOrderIdByDaySeq":
            seq = int(params["day_seq"])
            self.asked.append(seq)
            if seq > self.days.get(params["date_time"], 0):
                raise UnknownOrder("806")
            return {"order_id": int(f"{params['date_time']}{seq:04d}")}, b""
        return self._order(params["order_id"]), b"{}"

    def _order(self, order_id: str) -> dict[str, Any]:
        seq = int(order_id[8:])
        row = {"app_food_code": "TEA", "quantity": 1, "price": 8, "food_name": "tea"}
        whole = {"order_id": order_id, "app_poi_code": "poi-1", "status": 2, "day_seq": seq}
        struck = self.trouble.get(seq, {})
        if isinstance(struck, PipelineError):
            raise struck
        return {**whole, "total": 8, "detail": [row], **struck}


class Puller:
    """Walks with a cursor, as the pull job does: on while there is more, as long as it lasts."""

    def __init__(self, store: NumberedOrders, **options: Any) -> None:
        pace = MeituanOptions.model_validate(options).pace()
        self.walk = Walk(store, BOOKS, pace, lambda _: SHANGHAI, 4, 2)
        self.cursor: dict[str, Any] = {}
        self.pages: list[Page] = []

    async def look(self, now: datetime) -> list[str]:
        """The keys of the facts and the problems that were new to this look."""
        told: list[str] = []
        page = Page((), {}, more=True)
        while page.more:
            page = await self.walk.page("poi-1", self.cursor, now)
            self.cursor = page.cursor
            self.pages.append(page)
            told += [raw.problem or "+".join(fact.key for fact in raw.facts) for raw in page.raws]
        return told

    @property
    def holes(self) -> list[int]:
        return [hole[0] for hole in self.cursor["holes"]]


def placed(*seqs: int, day: date = DAY) -> list[str]:
    return [f"placed:{day:%Y%m%d}{seq:04d}" for seq in seqs]


def later(seconds: float, since: datetime = NOON) -> datetime:
    return since + timedelta(seconds=seconds)


@pytest.fixture
def store() -> NumberedOrders:
    return NumberedOrders()


async def test_each_number_is_read_once(store: NumberedOrders) -> None:
    puller = Puller(store)
    store.place(3)
    assert await puller.look(NOON) == placed(1, 2, 3)
    assert await puller.look(NOON) == []
    store.place(1)
    assert await puller.look(NOON) == placed(4)
    assert store.asked == [1, 2, 3, 4]
    assert puller.cursor == {"date": "20240506", "last_seq": 4, "holes": []}


async def test_a_page_is_bounded_and_says_that_there_is_more(store: NumberedOrders) -> None:
    puller = Puller(store, page_numbers=50)
    store.place(120)
    assert await puller.look(NOON) == placed(*range(1, 121))
    assert [(len(page.raws), page.more) for page in puller.pages] == [
        (50, True),
        (50, True),
        (20, False),
    ]


@pytest.mark.parametrize(
    "trouble", [UnknownOrder("806"), Garbled("700"), Garbled("truncated"), NotDone("timeout")]
)
async def test_a_number_that_cannot_be_read_yet_is_a_hole_and_read_later(
    store: NumberedOrders, trouble: PipelineError
) -> None:
    puller = Puller(store)
    store.place(3)
    store.trouble[2] = trouble
    assert await puller.look(NOON) == placed(1, 3)
    assert puller.holes == [2]
    assert await puller.look(later(1)) == []
    store.trouble.clear()
    assert await puller.look(later(10)) == placed(2)
    assert puller.holes == []


async def test_a_hole_is_looked_at_ever_more_slowly(store: NumberedOrders) -> None:
    puller = Puller(store, longest_hole_wait_seconds=60)
    store.place(2)
    store.trouble[1] = UnknownOrder("806")
    for second in range(3600):
        await puller.look(later(second))
    assert 55 < store.asked.count(1) < 75


async def test_the_last_number_is_asked_for_again_until_it_is_known(store: NumberedOrders) -> None:
    puller = Puller(store)
    store.place(1)
    store.trouble[1] = UnknownOrder("806")
    assert await puller.look(NOON) == []
    assert puller.cursor["last_seq"] == 0
    store.trouble.clear()
    assert await puller.look(NOON) == placed(1)


async def test_a_whole_page_of_unknown_numbers_does_not_stop_the_walk(
    store: NumberedOrders,
) -> None:
    puller = Puller(store, page_numbers=5, page_holes=20)
    store.place(8)
    store.trouble = {seq: UnknownOrder("806") for seq in range(1, 6)}
    assert await puller.look(NOON) == placed(6, 7, 8)
    assert puller.holes == [1, 2, 3, 4, 5]


async def test_an_unpaid_order_waits_until_it_is_paid(store: NumberedOrders) -> None:
    puller = Puller(store)
    store.place(2)
    store.trouble[1] = {"status": 1}
    assert await puller.look(NOON) == placed(2)
    store.trouble.clear()
    assert await puller.look(later(2)) == placed(1)


async def test_a_degraded_order_is_placed_at_once_and_completed_later(
    store: NumberedOrders,
) -> None:
    puller = Puller(store)
    store.place(1)
    store.trouble[1] = {"incmp_code": -1, "detail": ""}
    assert await puller.look(NOON) == placed(1)
    assert isinstance(puller.pages[-1].raws[0].facts[0].event, OrderPlaced)
    store.trouble.clear()
    assert await puller.look(later(5)) == ["details:202405060001"]
    assert isinstance(puller.pages[-1].raws[0].facts[0].event, DetailsCompleted)
    assert await puller.look(later(60)) == []


async def test_when_nothing_can_be_read_the_caller_is_told(store: NumberedOrders) -> None:
    puller = Puller(store)
    store.place(3)
    for error in (Throttled("711", 2.0), NotDone("timeout"), Rejected("704")):
        store.trouble = dict.fromkeys((1, 2, 3), error)
        with pytest.raises(type(error)):
            await puller.look(NOON)
    store.trouble = dict.fromkeys((2, 3), Throttled("711", 2.0))
    assert await puller.look(NOON) == placed(1)
    store.trouble.clear()
    assert await puller.look(later(2)) == placed(2, 3)


async def test_midnight_is_the_store_s_own(store: NumberedOrders) -> None:
    puller = Puller(store)
    store.place(1)
    await puller.look(datetime(2024, 5, 6, 23, 59, 59, tzinfo=SHANGHAI))
    assert puller.cursor["date"] == "20240506"
    store.today = DAY + timedelta(days=1)
    await puller.look(MIDNIGHT)
    assert puller.cursor["date"] == "20240507"


async def test_after_midnight_yesterday_s_tail_and_holes_come_first(store: NumberedOrders) -> None:
    puller = Puller(store)
    store.place(3)
    store.trouble[2] = Garbled("700")
    await puller.look(later(-60, MIDNIGHT))
    store.trouble.clear()
    store.place(2)  # numbers 4 and 5 came in the last minute of the day
    tomorrow = DAY + timedelta(days=1)
    store.place(1, tomorrow)
    store.today = tomorrow
    assert await puller.look(later(1, MIDNIGHT)) == [
        *placed(2, 4, 5),
        *placed(1, day=tomorrow),
    ]
    assert puller.cursor["before"]["last_seq"] == 5


async def test_yesterday_stays_open_for_its_grace_and_is_then_closed(
    store: NumberedOrders,
) -> None:
    puller = Puller(store, rollover_grace_seconds=600)
    store.place(1)
    await puller.look(NOON)
    store.today = tomorrow = DAY + timedelta(days=1)
    await puller.look(later(1, MIDNIGHT))
    store.place(1)  # became visible only now
    assert await puller.look(later(300, MIDNIGHT)) == placed(2)
    store.place(1, tomorrow)
    assert await puller.look(later(601, MIDNIGHT)) == placed(1, day=tomorrow)
    assert "before" not in puller.cursor
    asked = len(store.asked)
    await puller.look(later(700, MIDNIGHT))
    assert len(store.asked) == asked


async def test_what_could_not_be_read_by_the_end_of_its_day_is_a_problem_for_a_person(
    store: NumberedOrders,
) -> None:
    puller = Puller(store)
    store.place(3)
    store.trouble = {1: UnknownOrder("806"), 2: Garbled("Meituan 700: system error")}
    await puller.look(NOON)
    store.today = DAY + timedelta(days=1)
    (problem,) = await puller.look(later(3600, MIDNIGHT))
    assert problem == (
        "number 2 of 2024-05-06 at store poi-1 could not be read: Meituan 700: system error"
    )
    assert "before" not in puller.cursor


async def test_a_number_without_any_answer_keeps_yesterday_open_a_while_longer(
    store: NumberedOrders,
) -> None:
    puller = Puller(store, rollover_grace_seconds=600)
    store.place(2)
    store.trouble[1] = NotDone("timeout")
    await puller.look(NOON)
    store.today = DAY + timedelta(days=1)
    assert await puller.look(later(700, MIDNIGHT)) == []
    assert "before" in puller.cursor
    (problem,) = await puller.look(later(1300, MIDNIGHT))
    assert problem.startswith("number 1 of 2024-05-06")


async def test_days_that_were_missed_are_walked_to_their_end(store: NumberedOrders) -> None:
    puller = Puller(store)
    store.place(2)
    await puller.look(NOON)
    store.place(30)
    days = [DAY + timedelta(days=n) for n in range(3)]
    store.place(25, days[1])
    store.place(1, days[2])
    store.today = days[2]
    told = await puller.look(NOON + timedelta(days=2))
    expected = [
        *placed(*range(3, 33)),
        *placed(*range(1, 26), day=days[1]),
        *placed(1, day=days[2]),
    ]
    assert sorted(told) == sorted(expected)
    assert puller.cursor == {"date": "20240508", "last_seq": 1, "holes": []}


async def test_only_so_many_days_are_made_up_for(store: NumberedOrders) -> None:
    puller = Puller(store, days_back=2)
    await puller.look(NOON)
    store.today = DAY + timedelta(days=400)
    await puller.look(NOON + timedelta(days=400))
    assert len(store.asked) < 50


async def test_a_clock_that_is_ahead_at_midnight_loses_no_order(store: NumberedOrders) -> None:
    """We think it is tomorrow; Meituan still tells today's highest number."""
    puller = Puller(store)
    store.place(3)
    await puller.look(later(-60, MIDNIGHT))
    assert await puller.look(later(1, MIDNIGHT)) == []
    store.today = tomorrow = DAY + timedelta(days=1)
    store.place(2, tomorrow)
    assert await puller.look(later(5, MIDNIGHT)) == placed(1, 2, day=tomorrow)


async def test_a_clock_that_is_behind_at_midnight_loses_no_order(store: NumberedOrders) -> None:
    """Meituan counts from 1 again while we still think it is today."""
    puller = Puller(store)
    store.place(5)
    await puller.look(later(-60, MIDNIGHT))
    store.place(1)
    store.today = tomorrow = DAY + timedelta(days=1)
    store.place(2, tomorrow)
    told = await puller.look(later(-1, MIDNIGHT))
    told += await puller.look(later(1, MIDNIGHT))
    assert set(told) >= {*placed(6), *placed(1, 2, day=tomorrow)}


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 4),  # orders placed
            st.integers(1, 7200),  # seconds until the next look
            st.dictionaries(
                st.integers(1, 12),
                st.sampled_from([Garbled("700"), NotDone("timeout")]),
                max_size=4,
            ),
        ),
        max_size=25,
    )
)
def test_whatever_happens_every_order_is_told_or_named_as_a_problem(
    steps: list[tuple[int, int, dict[int, PipelineError]]],
) -> None:
    asyncio.run(_walk_through(steps))


async def _walk_through(steps: list[tuple[int, int, dict[int, PipelineError]]]) -> None:
    store, now, told = NumberedOrders(), NOON, list[str]()
    puller = Puller(store)
    for count, seconds, trouble in [*steps, (0, 1, {}), (0, 3600, {}), (0, 90_000, {})]:
        store.today = now.date()
        store.place(count, now.date())
        store.trouble = dict(trouble)
        with suppress(PipelineError):
            told += await puller.look(now)
        now = later(seconds, now)
    for day, top in store.days.items():
        for seq in range(1, top + 1):
            problem = f"number {seq} of {date.fromisoformat(day)} "
            assert f"placed:{day}{seq:04d}" in told or any(t.startswith(problem) for t in told)
