"""What may go wrong in a consistent world, and exactly which checks must say so."""

from collections.abc import Callable
from typing import Any

from tests.integration.ops.world import Shelf

LAST = "(SELECT instance_id FROM instances WHERE state = 'DONE')"
OPEN = "(SELECT instance_id FROM instances WHERE state = 'TICKETED')"
REFUSED = "(SELECT order_id FROM stock_ledger WHERE phase = 2 ORDER BY moved_at DESC LIMIT 1)"

BROKEN_ROWS: dict[str, tuple[str, set[str]]] = {
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
    "napkins that the store kept no stock of, until later": (
        "INSERT INTO stock_ledger SELECT bucket, store_id, gen_random_uuid(), 1, 'received',"
        f" '{{\"NAPKIN\": 5}}', now() + interval '99 y' FROM stock_ledger WHERE order_id = {LAST};"
        "INSERT INTO stock_levels SELECT bucket, store_id, 'NAPKIN', 5 FROM stock_levels"
        " WHERE sku = 'TEA'",
        set(),
    ),
    "napkins that were there and not deducted": (
        "INSERT INTO stock_ledger SELECT bucket, store_id, gen_random_uuid(), 1, 'received',"
        f" '{{\"NAPKIN\": 5}}', '2026-01-01' FROM stock_ledger WHERE order_id = {LAST};"
        "INSERT INTO stock_levels SELECT bucket, store_id, 'NAPKIN', 5 FROM stock_levels"
        " WHERE sku = 'TEA'",
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
