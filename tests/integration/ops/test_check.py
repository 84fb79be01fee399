"""A consistent world passes every check; each thing broken in it turns exactly its checks red."""

import asyncio
import copy
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aio_pika
import aiohttp
import pytest
from aiohttp import web

from consumers.queues import NAMES
from dispatcher.rabbit.deploy import deploy
from dispatcher.rabbit.topology import Topology
from ops import check
from ops.checks.books import Books, UnreadableBooks
from ops.checks.finding import Finding
from ops.cli.main import main
from ops.stack import postgres
from tests.integration.ops.breakages import BROKEN_BOOKS, BROKEN_ROWS
from tests.integration.ops.world import PLATFORM, Shelf

Built = tuple[str, Shelf]


async def findings(url: str, books: check.OtherBooks | None = None) -> dict[str, Finding]:
    return {finding.check: finding for finding in await check.run(url, None, books)}


def wrong(found: dict[str, Finding]) -> set[str]:
    return {name for name, finding in found.items() if not finding.ok}


async def test_a_consistent_world_passes_every_check(world: Built) -> None:
    url, books = world
    found = await findings(url, books)
    assert {name: f.offenders for name, f in found.items() if not f.ok} == {}
    assert len(found) == 28
    assert found["orders_accepted"].note == "meituan: 6 = 4 + 1 + 1"
    assert found["replay"].note == "6 orders replayed"


@pytest.mark.parametrize("what", BROKEN_ROWS)
async def test_broken_rows_turn_exactly_their_checks_red(copied_url: str, what: str) -> None:
    statement, expected = BROKEN_ROWS[what]
    await asyncio.to_thread(postgres.query, copied_url, statement)
    found = await findings(copied_url)
    assert wrong(found) == expected, {n: f.offenders for n, f in found.items() if not f.ok}


@pytest.mark.parametrize("what", BROKEN_BOOKS)
async def test_broken_books_turn_exactly_their_checks_red(world: Built, what: str) -> None:
    spoil, expected = BROKEN_BOOKS[what]
    url, books = world[0], copy.deepcopy(world[1])
    spoil(books)
    found = await findings(url, books)
    assert wrong(found) == expected, {n: f.offenders for n, f in found.items() if not f.ok}


async def test_books_of_a_platform_that_is_none_of_ours_are_named(copied_url: str) -> None:
    move = "UPDATE platform_accounts SET base_url = 'http://elsewhere.test'"
    await asyncio.to_thread(postgres.query, copied_url, move)
    found = await findings(copied_url, Shelf())
    assert found["platform_accounts"].offenders[0].subject == PLATFORM


async def test_a_sample_replays_only_so_many_orders_wherever_it_begins(world: Built) -> None:
    for _ in range(5):
        found = await check.run(world[0], None, sample=4)
        assert [f.note for f in found if f.check == "replay"] == ["4 orders replayed"]
    everything = await check.run(world[0], None, sample=1000)
    assert [f.note for f in everything if f.check == "replay"] == ["6 orders replayed"]


async def test_the_offenders_are_cut_off_but_counted(copied_url: str) -> None:
    many = (
        "INSERT INTO accepted_requests (bucket, source, scope, key, fingerprint, body, events,"
        " accepted_at)"
        " SELECT 1, 's', '', n::text, '', '', '{}', now() FROM generate_series(1, 25) n"
    )
    await asyncio.to_thread(postgres.query, copied_url, many)
    found = (await findings(copied_url))["requests_published"]
    assert (found.total, len(found.offenders)) == (25, 10)


async def test_waiting_ends_as_soon_as_the_books_agree(copied_url: str) -> None:
    """What is off at the first look may be on its way."""
    publish = "UPDATE accepted_requests SET published_at = now()"

    class Mending:
        async def read(self) -> Any:
            await asyncio.to_thread(postgres.query, copied_url, publish)
            return await Shelf().read()

    await asyncio.to_thread(
        postgres.query, copied_url, "UPDATE accepted_requests SET published_at = NULL"
    )
    assert not await _published(copied_url, None, 0)
    assert await _published(copied_url, Mending(), 20)


async def _published(url: str, books: check.OtherBooks | None, seconds: float) -> bool:
    skip = ("tickets_there", "platform_orders_real")
    found = await check.run(url, None, books, wait_seconds=seconds, skip=skip)
    return all(finding.ok for finding in found)


async def test_a_message_left_in_a_queue_is_found_and_one_in_the_lattice_is_not(
    world: Built, amqp_url: str
) -> None:
    topology = Topology("checked", 1, NAMES)
    await deploy(amqp_url, topology)
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        for address in (topology.delay_route(600, "facts.0"), topology.route("facts.0")):
            exchange = await channel.get_exchange(address.exchange)
            await exchange.publish(aio_pika.Message(b"x"), address.routing_key)
    found = await check.run(world[0], amqp_url, topology=topology, wait_seconds=5)
    assert [f.offenders for f in found if f.check == "queues_empty"] == [
        (("checked.facts.0", "1 messages"),)
    ]


async def test_books_are_read_over_http(world: Built) -> None:
    messages = {"messages": list(world[1].messages.values())}
    app = web.Application()
    app.router.add_get("/_sim/books", _serving(messages))
    app.router.add_get("/else/_sim/books", _serving({"nothing": 1}))
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        assert wrong(await findings(world[0], Books([url]))) == set()
        for nobody in (f"{url}/missing", f"{url}/else"):
            with pytest.raises(UnreadableBooks):
                await Books([nobody]).read()
    finally:
        await runner.cleanup()
    with pytest.raises(aiohttp.ClientError):
        await Books([url]).read()


def _serving(document: Any) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def serve(_: web.Request) -> web.Response:
        return web.json_response(document)

    return serve


def test_the_command_says_what_is_wrong_and_exits_with_1(
    copied_url: str,
    amqp_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SYSTEM2_DATABASE_URL", copied_url)
    monkeypatch.setenv("SYSTEM2_AMQP_URL", amqp_url)
    asyncio.run(deploy(amqp_url, Topology("system2", 1, NAMES)))
    assert _exit_code("check", "--json") == 0
    assert all(finding["ok"] for finding in json.loads(capsys.readouterr().out))
    postgres.query(copied_url, "UPDATE stock_levels SET on_hand = on_hand - 1 WHERE sku = 'TEA'")
    assert _exit_code("check") == 1
    said = capsys.readouterr().out
    assert "WRONG  stock_adds_up" in said
    assert "S001 TEA  7 on hand, 8 by the ledger" in said
    assert _exit_code("check", "--skip", "stock_adds_up") == 0


def _exit_code(*words: str) -> int:
    with pytest.raises(SystemExit) as ending:
        main(words)
    return int(ending.value.code or 0)
