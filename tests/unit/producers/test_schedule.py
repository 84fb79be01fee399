"""Setting ticks going: one per scope, of the generation at which its cursor stands."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from producers.schedule import Cursor, Schedule, Scope
from tests.unit.producers.doubles import NOW, ROUTER, Books, MemoryBroker


class Standing(NamedTuple):
    channel: str
    account: str
    scope: str
    generation: int
    paused: bool = False


class Cursors:
    def __init__(self, **generations: int) -> None:
        self.rows = {Scope("mt", "a", scope): n for scope, n in generations.items()}
        self.seeded: list[Scope] = []
        self.paused: set[str] = set()

    async def all(self) -> Sequence[Cursor]:
        return [
            Standing(*scope, generation, scope.scope in self.paused)
            for scope, generation in self.rows.items()
        ]

    async def seed(self, channel: str, account: str, scope: str, now: datetime) -> None:
        self.seeded.append(Scope(channel, account, scope))
        self.rows.setdefault(self.seeded[-1], 0)


class Account(NamedTuple):
    channel: str
    account: str
    codes: tuple[str, ...]

    def scopes(self) -> tuple[str, ...]:
        return self.codes


async def ticks(cursors: Cursors) -> list[tuple[str, int]]:
    broker = MemoryBroker()
    accounts = [Account("mt", "a", ("poi1", "poi2"))]
    schedule = Schedule(cursors, lambda: accounts, broker, ROUTER, Books(), lambda: NOW)
    await schedule.set_going()
    sent = [json.loads(event)["data"] for event in broker.taken]
    return [(tick["scope"], tick["generation"]) for tick in sent]


async def test_a_new_scope_is_seeded_and_its_first_tick_sent() -> None:
    cursors = Cursors()
    assert await ticks(cursors) == [("poi1", 0), ("poi2", 0)]
    assert cursors.seeded == [Scope("mt", "a", "poi1"), Scope("mt", "a", "poi2")]


async def test_a_scope_goes_on_where_its_cursor_stands() -> None:
    cursors = Cursors(poi1=7, poi2=9, closed=3)
    assert await ticks(cursors) == [("poi1", 7), ("poi2", 9)]
    assert cursors.seeded == []


async def test_a_paused_scope_gets_no_tick() -> None:
    cursors = Cursors(poi1=3, poi2=5)
    cursors.paused = {"poi1"}
    assert await ticks(cursors) == [("poi2", 5)]


async def test_who_is_second_to_seed_sends_the_generation_that_stands() -> None:
    class Raced(Cursors):
        async def seed(self, channel: str, account: str, scope: str, now: datetime) -> None:
            self.rows[Scope(channel, account, scope)] = 4

    assert await ticks(Raced(poi1=1)) == [("poi1", 1), ("poi2", 4)]
