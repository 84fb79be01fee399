"""A consistent world passes every check; each thing broken in it turns exactly its checks red."""

import asyncio
import copy
import json
from collections.abc import Awaitable, Callable
from typing import Any

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
from tests.integration.ops.world import PLATFORM, Shelf

Built = tuple[str, Shelf]

LAST = "(SELECT instance_id FROM instances WHERE state = 'DONE')"
OPEN = "(SELECT instance_id FROM instances WHERE state = 'TICKETED')"
REFUSED = "(SELECT order_id FROM stock_ledger WHERE phase = 2 ORDER BY moved_at DESC LIMIT 1)"


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


BROKEN_ROWS = {
    "a request that nobody confirmed": (
        "UPDATE accepted_requests SET published_at = NULL WHERE bucket IN"
        f" (SELECT bucket FROM instances WHERE instance_id = {OPEN})",
        {"requests_published"},
    ),
    "a fact that was published and then lost": (
        "DELETE FROM events WHERE type = 'OrderCompleted'",
        {"requests_recorded", "replay"},
    ),
    "a letter that vanished": (
        "DELETE FROM quarantine WHERE body <> 'odd'",
        {"requests_recorded", "orders_accepted"},
    ),
    "an unreadable payload that nobody kept": (
        "DELETE FROM quarantine WHERE body = 'odd'",
        {"unreadable_kept"},
    ),
    "an order that nobody sent": (
        f"DELETE FROM accepted_requests WHERE convert_from(events[1], 'UTF8') LIKE '%' || {LAST}"
        " || '%'",
        {"orders_accepted"},
    ),
    "an order without its row": (
        f"DELETE FROM orders WHERE order_id = {OPEN}",
        {"orders_whole", "stock_moves_once"},
    ),
    "an instance that vanished": (
        f"DELETE FROM instances WHERE instance_id = {OPEN}",
        {"orders_whole", "orders_accepted", "deadlines"},
    ),
    "stock that nobody moved": (
        "UPDATE stock_levels SET on_hand = on_hand - 1 WHERE sku = 'TEA'",
        {"stock_adds_up"},
    ),
    "an order deducted at a second store": (
        "INSERT INTO stock_ledger SELECT bucket, 'S002', order_id, phase, movement, '{}', moved_at"
        f" FROM stock_ledger WHERE order_id = {LAST}",
        {"stock_moves_once"},
    ),
    "a return of something else": (
        'UPDATE stock_ledger SET quantities = \'{"TEA": 2, "NOODLE": 1}\''
        f" WHERE phase = 2 AND order_id = {REFUSED}",
        {"stock_moves_once", "stock_adds_up"},
    ),
    "a refused order that still holds its stock": (
        f"DELETE FROM stock_ledger WHERE phase = 2 AND order_id = {REFUSED};"
        "UPDATE stock_levels SET on_hand = on_hand - 1",
        {"stock_returned"},
    ),
    "a meal whose stock was never deducted": (
        f"DELETE FROM stock_ledger WHERE order_id = {LAST};"
        "UPDATE stock_levels SET on_hand = on_hand + 1",
        {"stock_deducted"},
    ),
    "a meal of which only half was deducted": (
        f"UPDATE stock_ledger SET quantities = '{{\"TEA\": 1}}' WHERE order_id = {LAST};"
        "UPDATE stock_levels SET on_hand = on_hand + 1 WHERE sku = 'NOODLE'",
        {"stock_deducted"},
    ),
    "a cooked meal whose stock came back": (
        "INSERT INTO stock_ledger SELECT bucket, store_id, order_id, 2, 'returned', quantities,"
        f" moved_at FROM stock_ledger WHERE order_id = {LAST};"
        "UPDATE stock_levels SET on_hand = on_hand + 1",
        {"stock_deducted"},
    ),
    "a deadline without a row": (
        "DELETE FROM deadlines WHERE name = 'StoreSilent'",
        {"deadlines"},
    ),
    "a deadline that moved": ("UPDATE deadlines SET due = due + interval '1 s'", {"deadlines"}),
    "a letter that does not say why": ("UPDATE quarantine SET error = ''", {"quarantine_reasons"}),
    "an answer that vanished": (
        f"UPDATE inbox SET answer = NULL, answered_at = NULL WHERE order_id = {LAST}"
        " AND consumer = 'takeaway.ready'",
        {"commands_answered"},
    ),
    "a command that was answered twice": (
        "INSERT INTO inbox SELECT bucket, 'takeaway.again', command_id, order_id, body, answer,"
        f" received_at, answered_at FROM inbox WHERE order_id = {LAST}"
        " AND consumer = 'takeaway.ready'",
        {"commands_answered"},
    ),
    "a command that nobody sent": (
        "INSERT INTO inbox SELECT bucket, consumer, gen_random_uuid(), order_id, body, NULL,"
        f" received_at, NULL FROM inbox WHERE order_id = {LAST} AND consumer = 'takeaway.ready'",
        {"commands_known"},
    ),
    "another answer than the one recorded": (
        "UPDATE inbox SET answer = jsonb_set(answer, '{type}', '\"system2.ReadyRefused\"')"
        " WHERE consumer = 'takeaway.ready'",
        {"answers_recorded"},
    ),
    "an answer that nobody recorded": (
        "DELETE FROM events WHERE type = 'ReadyTold'",
        {"answers_recorded", "replay"},
    ),
    "an order that is over but owed something": (
        f"UPDATE instances SET owed = ARRAY[gen_random_uuid()] WHERE instance_id = {LAST}",
        {"closed_settled", "replay"},
    ),
    "a state that no event led to": (
        f"UPDATE instances SET state = 'COOKING' WHERE instance_id = {OPEN}",
        {"replay"},
    ),
    "a fate that the table does not give": (
        "UPDATE events SET fate = 'late' WHERE type = 'TicketTaken'",
        {"replay"},
    ),
    "a command with other content": (
        "UPDATE events SET caused = jsonb_set(caused, '{commands,0,data,pickup_code}', '\"B\"')"
        " WHERE type = 'OrderConfirmed'",
        {"replay"},
    ),
    "a memory that no event gave": (
        "UPDATE instances SET context = context || '{\"store_id\": \"S002\"}' WHERE state = 'DONE'",
        {"replay"},
    ),
    "early events that were forgotten": ("UPDATE instances SET early = 0", {"replay"}),
    "a workflow that nobody knows": (
        f"UPDATE instances SET version = 99 WHERE instance_id = {OPEN}",
        {"replay"},
    ),
    "an event that nobody can read": (
        "UPDATE events SET payload = '{\"new\": 1}' WHERE type = 'TicketTaken'",
        {"replay", "answers_recorded"},
    ),
}


@pytest.mark.parametrize("what", BROKEN_ROWS)
async def test_broken_rows_turn_exactly_their_checks_red(copied_url: str, what: str) -> None:
    statement, expected = BROKEN_ROWS[what]
    await asyncio.to_thread(postgres.query, copied_url, statement)
    found = await findings(copied_url)
    assert wrong(found) == expected, {n: f.offenders for n, f in found.items() if not f.ok}


def _message(books: Shelf, named: str) -> dict[str, Any]:
    """The ticket of one order, in the till's books."""
    return next(
        message
        for message in books.messages.values()
        if message["type"] == "ticket.placed" and message["status"] == named
    )


def _doubled(books: Shelf) -> None:
    books.messages["other"] = {**_message(books, "taken"), "webhook_id": "other"}


def _other_store(books: Shelf) -> None:
    _message(books, "refused")["store"] = "S002"


def _unknown(books: Shelf) -> None:
    strange = {"webhook_id": "x", "order_id": "nobody's", "ticket_id": "1"}
    books.messages["x"] = {**_message(books, "taken"), **strange}


def _unseen_ticket(books: Shelf) -> None:
    books.messages = {k: m for k, m in books.messages.items() if m["status"] == "refused"}


BROKEN_BOOKS: dict[str, tuple[Callable[[Shelf], object], set[str]]] = {
    "a ticket under two keys": (_doubled, {"tickets_once", "tickets_known"}),
    "a ticket with two bodies": (
        lambda books: _message(books, "taken")["bodies"].append("00"),
        {"tickets_byte_equal"},
    ),
    "a ticket with other bytes than ours": (
        lambda books: _message(books, "taken").update(bodies=["00"]),
        {"tickets_byte_equal"},
    ),
    "a ticket at another store": (_other_store, {"tickets_known"}),
    "a ticket for nobody's order": (_unknown, {"tickets_known"}),
    "a ticket that the till has lost": (_unseen_ticket, {"tickets_there"}),
    "a till that cooks for a refused order": (
        lambda books: _message(books, "refused").update(status="accepted"),
        {"tickets_stopped"},
    ),
    "an order of ours that the platform does not know": (
        lambda books: books.orders.pop("waiting"),
        {"platform_orders_real"},
    ),
    "an order that we were shown and lost": (
        lambda books: books.orders.update(
            lost={**books.orders["waiting"], "order_id": "lost", "seen": {"first": 1}}
        ),
        {"platform_orders_known"},
    ),
    "an order that nobody looked at": (
        lambda books: books.orders["poison"].update(seen=None),
        {"platform_orders_seen"},
    ),
    "a confirmation that never arrived": (
        lambda books: books.orders["done"].update(confirmed=None, ready=None, state="placed"),
        {"platform_told"},
    ),
    "a rejection that we never sent": (
        lambda books: books.orders["waiting"].update(rejected={"first": 1}),
        {"platform_told"},
    ),
    "a rejected order that is still open there": (
        lambda books: books.orders["refused"].update(state="received"),
        {"platform_states"},
    ),
    "a meal that was cancelled there": (
        lambda books: books.orders["done"].update(state="cancelled"),
        {"platform_states"},
    ),
    "ready before confirmed": (
        lambda books: books.orders["done"]["ready"].update(first=1),
        {"platform_told_in_order"},
    ),
    "ready refused because nothing was confirmed": (
        lambda books: books.orders["done"].update(history=[[1, "refused ready while placed"]]),
        {"platform_told_in_order"},
    ),
}


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
    import aio_pika

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
