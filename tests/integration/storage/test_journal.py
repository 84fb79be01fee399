"""The ingress journal: nothing that entered is forgotten, nothing is new twice."""

import asyncio
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from dispatcher.identity import BUCKETS
from dispatcher.journal import Accepted, Entry
from dispatcher.ports import NullObserver
from storage.database import Database
from storage.journal import accept, published, unpublished

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def opened(url: str) -> AbstractAsyncContextManager[Database]:
    return Database.open(url, observer=NullObserver(), name="test")


def fresh_key() -> str:
    return uuid4().hex


def entry(key: str, fingerprint: str = "f", events: tuple[bytes, ...] = (b"{}",)) -> Entry:
    bucket = sum(key.encode()) % BUCKETS
    body = b"body of " + key.encode()
    return Entry(bucket, "/platforms/mt", "poi-1", key, fingerprint, body, events)


def standings(accepted: list[Accepted]) -> list[str]:
    return [standing(one) for one in accepted]


def standing(one: Accepted) -> str:
    if one.first_time:
        return "new"
    return "unpublished" if one.to_publish else "published"


async def test_a_request_is_new_once_then_a_repeat_until_it_is_published(migrated_url: str) -> None:
    request = entry(fresh_key())
    async with opened(migrated_url) as database:
        first = await accept(database, [request], NOW)
        second = await accept(database, [request], NOW)
        await published(database, [request], NOW)
        third = await accept(database, [request], NOW)
    assert standings(first + second + third) == ["new", "unpublished", "published"]
    assert not any(one.contradicts for one in first + second + third)


async def test_one_key_with_another_body_is_new_and_contradicts_the_first(
    migrated_url: str,
) -> None:
    key = fresh_key()
    async with opened(migrated_url) as database:
        await accept(database, [entry(key, "one price")], NOW)
        (other,) = await accept(database, [entry(key, "another price")], NOW)
        (again,) = await accept(database, [entry(key, "one price")], NOW)
    assert (standing(other), other.contradicts) == ("new", True)
    assert (standing(again), again.contradicts) == ("unpublished", True)


async def test_of_two_bodies_under_one_key_of_a_till_at_the_same_moment_one_stands(
    migrated_url: str,
) -> None:
    async with opened(migrated_url) as one, opened(migrated_url) as other:
        for _ in range(20):
            first = entry(fresh_key(), "accepted")._replace(source="till")
            second = first._replace(fingerprint="refused")
            (mine,), (theirs,) = await asyncio.gather(
                accept(one, [first], NOW), accept(other, [second], NOW)
            )
            winner, loser = (mine, theirs) if mine.first_time else (theirs, mine)
            assert (winner.first_time, winner.contradicts) == (True, False)
            assert (loser.first_time, loser.to_publish, loser.contradicts) == (False, False, True)


async def test_copies_within_one_call_count_once(migrated_url: str) -> None:
    one, other = entry(fresh_key()), entry(fresh_key())
    async with opened(migrated_url) as database:
        accepted = await accept(database, [one, other, one], NOW)
    assert [each.entry for each in accepted] == [one, other]
    assert standings(accepted) == ["new", "new"]


async def test_nothing_to_accept_asks_the_database_nothing(migrated_url: str) -> None:
    async with opened(migrated_url) as database:
        pass
    assert await accept(database, [], NOW) == []
    await published(database, [], NOW)


async def test_two_pullers_with_one_page_in_different_order_share_it_without_deadlock(
    migrated_url: str,
) -> None:
    async with opened(migrated_url) as one, opened(migrated_url) as other:
        for _ in range(10):
            page = [entry(fresh_key()) for _ in range(200)]
            mine, theirs = await asyncio.gather(
                accept(one, page, NOW), accept(other, page[::-1], NOW)
            )
            new = [a.entry.key for a in mine + theirs if a.first_time]
            assert sorted(new) == sorted(e.key for e in page)
            await asyncio.gather(
                published(one, page, NOW),
                published(other, page[::-1], NOW),
            )


async def test_the_backlog_comes_back_byte_for_byte_and_is_empty_once_published(
    database_url: str, migrated_url: str
) -> None:
    requests = [
        entry(fresh_key(), events=()),
        entry(fresh_key(), events=(b'{"quote": "\\" {,}"}', b"\x00\xff")),
    ]
    async with opened(migrated_url) as database:
        await drain(database)
        await accept(database, requests, NOW)
        async with database.transaction() as tx:
            backlog = await unpublished(tx, 100)
            assert {e.key: e.events for e in backlog} == {e.key: e.events for e in requests}
            await published(tx, backlog, NOW)
        async with database.transaction() as tx:
            assert await unpublished(tx, 100) == []


async def test_two_producers_share_a_backlog_oldest_first_without_waiting(
    migrated_url: str,
) -> None:
    requests = [entry(fresh_key()) for _ in range(4)]
    async with opened(migrated_url) as database:
        await drain(database)
        for age, request in enumerate(requests):
            await accept(database, [request], NOW - timedelta(minutes=age))
        async with database.transaction() as one, database.transaction() as other:
            first, second = await unpublished(one, 2), await unpublished(other, 100)
    assert [b.key for b in first] == [requests[3].key, requests[2].key]
    assert [b.key for b in second] == [requests[1].key, requests[0].key]


async def test_a_backlog_can_be_taken_for_some_buckets(migrated_url: str) -> None:
    request = entry(fresh_key())
    async with opened(migrated_url) as database:
        await drain(database)
        await accept(database, [request], NOW)
        async with database.transaction() as tx:
            assert await unpublished(tx, 9, [(request.bucket + 1) % BUCKETS]) == []
            assert len(await unpublished(tx, 9, [request.bucket])) == 1


@pytest.mark.parametrize("problem", ["not JSON: \0 \ud800", None])
async def test_what_could_not_be_read_is_written_down_all_the_same(
    migrated_url: str, problem: str | None
) -> None:
    request = entry(fresh_key(), events=())._replace(problem=problem, body=b"\x00\xff")
    async with opened(migrated_url) as database:
        assert standings(await accept(database, [request], NOW)) == ["new"]


async def drain(database: Database) -> None:
    async with database.transaction() as tx:
        await published(tx, await unpublished(tx, 100_000), NOW)
