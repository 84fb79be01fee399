"""The quarantine keeps every letter once, however poisonous it is."""

from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from dispatcher.identity import bucket_of, order_id
from dispatcher.letters import Letter
from dispatcher.ports import NullObserver
from storage import quarantine
from storage.database import Database
from storage.quarantine import Heap

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def opened(url: str) -> AbstractAsyncContextManager[Database]:
    return Database.open(url, observer=NullObserver(), name="test")


def letter(queue: str) -> Letter:
    return Letter(
        reason="unreadable",
        queue=queue,
        type=None,
        order_id=None,
        event_id=None,
        body=b"\x00\xff",
        headers={"x": "a\0b", "n": 1},
        error="broken \0 \ud800",
        recorded_at=NOW,
    )


def harmless(kept: Letter) -> Letter:
    error = "broken \ufffd \ufffd\ufffd\ufffd"
    return kept._replace(headers={"x": "a\ufffdb", "n": 1}, error=error)


async def test_a_letter_that_comes_again_is_kept_once(migrated_url: str) -> None:
    one, other = letter(uuid4().hex), letter(uuid4().hex)
    later = one._replace(recorded_at=NOW + timedelta(hours=1))
    async with opened(migrated_url) as database:
        assert await quarantine.insert(database, [one, other, one]) == 2
        assert await quarantine.insert(database, [later, one]) == 0
        assert await quarantine.insert(database, []) == 0


async def test_letters_are_read_back_newest_first_with_their_poison_replaced(
    migrated_url: str,
) -> None:
    old = letter(uuid4().hex)
    subject = order_id("meituan", "1")
    new = old._replace(
        order_id=subject, event_id=uuid4(), type="OrderPlaced", recorded_at=NOW + timedelta(1)
    )
    async with opened(migrated_url) as database:
        await quarantine.insert(database, [old, new])
        found = await quarantine.newest(database, queue=old.queue)
        everywhere = await quarantine.newest(database, limit=1000)
    assert [one.letter for one in found] == [harmless(new), harmless(old)]
    assert [one.quarantine_id for one in found] == [new.quarantine_id, old.quarantine_id]
    assert {one.quarantine_id for one in found} <= {one.quarantine_id for one in everywhere}
    assert new.bucket == bucket_of(subject)


async def test_heaps_tell_how_much_lies_there_and_since_when(migrated_url: str) -> None:
    one = letter(uuid4().hex)
    newer = one._replace(body=b"another", recorded_at=NOW + timedelta(hours=1))
    async with opened(migrated_url) as database:
        await quarantine.insert(database, [newer, one])
        heaps = [heap for heap in await quarantine.heaps(database) if heap.queue == one.queue]
    assert heaps == [Heap(one.queue, "unreadable", 2, NOW)]
