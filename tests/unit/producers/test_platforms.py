"""Pushes of platforms: the platform's own words in, its own acknowledgement out."""

from datetime import datetime

import pytest

from dispatcher.errors import Hopeless, PipelineError
from dispatcher.messages import OrderCancelled
from dispatcher.platform import Fact, Forged, Malformed, NotDone, Platform, Push, Raw, Request
from producers.ingress.door import Answer, Door
from producers.ingress.errors import refusal
from producers.ingress.platforms import PlatformRoute
from tests.unit.producers.doubles import (
    NOW,
    Books,
    MemoryBroker,
    MemoryJournal,
    Shelf,
    entrance,
    told,
)

NAMES = {"platform": "meituan", "account": "mt-main", "path": "cancelled"}
REQUEST = Request("/platforms/meituan/mt-main/cancelled", {}, {}, b"order_id=7")
FACT = Fact("cancelled:7", "7", OrderCancelled(), "f", NOW)
GOOD = Raw("cancelled:7", "f", b"order_id=7", (FACT,))


class Meituan:
    """A platform that reads every push as it is told to."""

    channel = "meituan"
    account = "mt-main"

    def __init__(self) -> None:
        self.reads: Raw | PipelineError = GOOD

    def receive(self, request: Request, now: datetime) -> Push:
        if isinstance(self.reads, PipelineError):
            raise self.reads
        return Push(self.reads, b'{"data":"ok"}', "application/json")


class Stage:
    def __init__(self) -> None:
        self.platform = Meituan()
        self.journal, self.broker, self.shelf = MemoryJournal(), MemoryBroker(), Shelf()
        self.books = Books()
        way = entrance(self.journal, self.broker, self.shelf)
        self.route = PlatformRoute(self, Door(way, self.books, lambda: None), lambda: NOW)

    def of(self, account: str) -> Platform:
        if account != "mt-main":
            raise Hopeless("no such account")
        return self.platform  # type: ignore[return-value]


async def test_a_push_gets_exactly_the_acknowledgement_of_its_platform() -> None:
    stage = Stage()
    answer = await stage.route.answer(NAMES, REQUEST)
    assert answer == Answer(b'{"data":"ok"}', "application/json")
    assert told(stage.broker) == [OrderCancelled()]


async def test_a_repeat_is_acknowledged_and_published_once() -> None:
    stage = Stage()
    for _ in range(3):
        assert (await stage.route.answer(NAMES, REQUEST)).body == b'{"data":"ok"}'
    assert len(stage.broker.taken) == 1


async def test_what_we_cannot_use_is_in_quarantine_and_acknowledged() -> None:
    stage = Stage()
    stage.platform.reads = Raw("paid:7", "f", b"?", (), "the store is none of ours")
    assert (await stage.route.answer(NAMES, REQUEST)).body == b'{"data":"ok"}'
    assert [letter.error for letter in stage.shelf.letters] == ["the store is none of ours"]


async def test_a_known_key_with_new_content_is_acknowledged_and_noticed() -> None:
    stage = Stage()
    await stage.route.answer(NAMES, REQUEST)
    stage.platform.reads = GOOD._replace(fingerprint="other")
    assert (await stage.route.answer(NAMES, REQUEST)).body == b'{"data":"ok"}'
    assert stage.books.notes == ["known key, new content"]


@pytest.mark.parametrize(
    ("trouble", "status", "reason"),
    [
        (Forged("the signature is wrong"), 401, "signature"),
        (Malformed("not UTF-8"), 400, "schema"),
        (NotDone("the next poll brings it"), 503, None),
    ],
)
async def test_what_the_adapter_refuses_is_not_acknowledged(
    trouble: PipelineError, status: int, reason: str | None
) -> None:
    stage = Stage()
    stage.platform.reads = trouble
    with pytest.raises(type(trouble)) as refused:
        await stage.route.answer(NAMES, REQUEST)
    assert refusal(refused.value) == (status, reason)
    assert stage.journal.rows == {}


@pytest.mark.parametrize("change", [{"account": "mt-other"}, {"platform": "opendelivery"}])
async def test_an_account_that_is_none_of_ours_is_unknown(change: dict[str, str]) -> None:
    stage = Stage()
    with pytest.raises(Hopeless) as refused:
        await stage.route.answer({**NAMES, **change}, REQUEST)
    assert refusal(refused.value).status == 404
    assert stage.route.source({**NAMES, **change}) == "unknown"
