"""`system2 orders find` and `orders show`: any order by any of its names."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import typer
from pydantic_core import to_json
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dispatcher.ports import NullObserver
from ops import settings
from ops.timeline import NOT_FOUND, Hop, OrderNotFound, Timeline, timeline
from producers.platforms.foreign import minor_digits
from storage import timeline as storage
from storage.chain import load_stores
from storage.database import Database
from storage.timeline import Found, Span

T = TypeVar("T")

AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable, on stdout.")]
Text = Annotated[
    str, typer.Argument(help="An order number, order id, platform's order id, or a store.")
]
Which = Annotated[str, typer.Argument(help="An order number, order id or platform's order id.")]
Day = Annotated[
    datetime | None,
    typer.Option("--day", formats=["%Y-%m-%d"], help="A store's orders of this day, its own time."),
]
Before = Annotated[
    str | None, typer.Option("--before", metavar="ORDER", help="Go on after this order of a store.")
]
Limit = Annotated[int, typer.Option("--limit", min=1, max=1000)]

app = typer.Typer(help="Look an order up.", no_args_is_help=True)

_FOUND = ("order number", "placed", "channel", "platform's order id", "store", "state")
_HOPS = ("ms", "since placed", "what", "message", "where", "")


class Ambiguous(Exception):
    """Several orders are called this."""


@app.command()
def find(
    text: Text, day: Day = None, before: Before = None, limit: Limit = 20, as_json: AsJson = False
) -> None:
    """List the orders that are called this, or those of a store, newest first. Exit 3 if none."""
    found = _with_database(lambda database: _find(database, text, day, before, limit))
    if as_json:
        typer.echo(to_json([order._asdict() for order in found]).decode())
    else:
        _print(_FOUND, [_found_row(order) for order in found])
        if len(found) == limit:
            typer.echo(f"there may be more: --before {found[-1].order_no}", err=True)
    if not found:
        raise typer.Exit(NOT_FOUND)


@app.command()
def show(order: Which, as_json: AsJson = False) -> None:
    """Show one order, where it stands, and every hop with its milliseconds. Exit 3 if not found."""
    shown = _with_database(lambda database: _show(database, order))
    if as_json:
        typer.echo(to_json(shown.as_json()).decode())
        return
    typer.echo("\n".join(_head(shown)))
    _print(_HOPS, [_hop_row(hop) for hop in shown.hops])


async def _find(
    database: Database, text: str, day: datetime | None, before: str | None, limit: int
) -> list[Found]:
    stores = {store.store_id: store for store in await load_stores(database)}
    if text not in stores:
        return (await storage.named(database, text))[:limit]
    since, until = _span(day, ZoneInfo(stores[text].timezone))
    last = await _one(database, before) if before else None
    span = Span(
        since, until, last.placed_at if last else until, last.order_id if last else UUID(int=0)
    )
    return await storage.of_store(database, text, span, limit)


def _span(day: datetime | None, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """A day at the store, or all days."""
    if day is None:
        return datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    following = day.date() + timedelta(days=1)
    return (
        datetime.combine(day.date(), time(), zone),
        datetime.combine(following, time(), zone),
    )


async def _one(database: Database, text: str) -> Found:
    """Raises OrderNotFound or Ambiguous."""
    found = await storage.named(database, text)
    if not found:
        raise OrderNotFound(f"no order is called {text}")
    if len(found) > 1:
        numbers = ", ".join(order.order_no for order in found)
        raise Ambiguous(f"several orders are called {text}: {numbers}")
    return found[0]


async def _show(database: Database, text: str) -> Timeline:
    """An id works even where there are only facts about an order, or it lies in quarantine."""
    try:
        return await timeline(database, (await _one(database, text)).order_id)
    except OrderNotFound:
        if not _is_uuid(text):
            raise
        return await timeline(database, UUID(text))


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _with_database(look: Callable[[Database], Awaitable[T]]) -> T:
    url = settings.load().database_url.get_secret_value()

    async def run() -> T:
        async with Database.open(url, observer=NullObserver(), name="orders") as database:
            return await look(database)

    return asyncio.run(run())


def _head(shown: Timeline) -> Iterator[str]:
    order = shown.order
    yield f"order {order.order_no if order else '-'}  {shown.state}  ({shown.order_id})"
    if order is not None:
        named = " = ".join((order.channel_order_id, *shown.aliases))
        yield f"{order.channel} {order.account} {named}, {order.kind} from {order.store_id}"
        yield f"placed {_moment(order.placed_at)}" + (
            f", wanted {_moment(order.wanted_at)}" if order.wanted_at else ""
        )
        person = order.recipient
        yield f"for {person.name or '-'} {person.phone} {person.address}".rstrip()
        for line in order.lines:
            sku = line.sku or "none of ours"
            money = _money(line.paid_minor, order.currency)
            yield f"  {line.quantity} x {line.name} ({sku}) {money}"
        yield f"paid {_money(order.amounts.paid_minor, order.currency)}" + (
            f", flags {', '.join(order.flags)}" if order.flags else ""
        )
    for deadline in shown.deadlines:
        yield f"{deadline.name} is due {_moment(deadline.due)}"
    for owed in shown.owed:
        yield f"{owed.command} is owed since {_moment(owed.sent_at)}"
    yield ""


def _money(minor: int, currency: str) -> str:
    digits = minor_digits(currency)
    return f"{minor / 10**digits:.{digits}f} {currency}"


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _found_row(order: Found) -> tuple[str, ...]:
    return (
        order.order_no,
        _moment(order.placed_at),
        order.channel,
        order.channel_order_id,
        order.store_id,
        order.state or "-",
    )


def _hop_row(hop: Hop) -> tuple[str, ...]:
    words = [hop.fate, hop.detail, f"-> {', '.join(hop.sends)}" if hop.sends else ""]
    return (
        f"{hop.since_previous_ms:+.1f}",
        f"{hop.since_placed_ms:.1f}",
        hop.step,
        hop.name,
        hop.where,
        "  ".join(filter(None, words)),
    )


def _print(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """A table for people, aligned columns for pipes."""
    if sys.stdout.isatty():
        table = Table(*headings, box=None, pad_edge=False)
        for row in rows:
            table.add_row(*map(escape, row))
        Console().print(table)
        return
    widths = [max(len(cell) for cell in column) for column in zip(headings, *rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())
