"""The end of the demo on one screen: one order's way, the books side by side, and what to try."""

import os
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dispatcher.workflows.takeaway import S
from ops.demo.books import quantile
from ops.demo.play import Played
from ops.demo.show import milliseconds
from ops.demo.verdict import Row, Verdict
from ops.place import Place
from ops.timeline import Hop, Timeline
from storage.books import BookedOrder

MOST_FAULTS = 10
MILLISECOND = timedelta(milliseconds=1)
SHOWN_STEPS = frozenset({"placed", "recorded", "called"})
BOOKS = ("platform", "database", "till", "stock")


def print_way(console: Console, way: Timeline, placed_at: float) -> None:
    """One order's hops. Its platform's book says to the millisecond when it was placed; what the
    platform tells us may say so to the second only.
    """
    began = datetime.fromtimestamp(placed_at, UTC)
    number = way.order.order_no if way.order else way.order_id
    console.print(Text("one order, there and back", style="bold"), f" {number}")
    table = Table.grid(padding=(0, 2))
    for justify in ("right", "right", "left", "left"):
        table.add_column(justify=justify)
    previous = began
    for hop in way.hops:
        if hop.step not in SHOWN_STEPS:
            continue
        at = began if hop.step == "placed" else hop.at
        passed, step = at - began, at - previous
        since = "" if hop.step == "placed" else f"+{step / MILLISECOND:.0f}"
        table.add_row(f"{passed / MILLISECOND:.0f} ms", Text(since, style="dim"), *_words(hop))
        previous = at
    console.print(table, "")


def _words(hop: Hop) -> tuple[str, Text]:
    """What happened, and what it led to."""
    if hop.step == "placed":
        return "placed", Text(f"on {hop.where}, where it is {hop.name}", style="dim")
    if hop.step == "called":
        return hop.name, Text(f"{hop.where}: {hop.detail}", style="dim")
    led_to = Text(f"→ {', '.join(hop.sends)}" if hop.sends else "", style="cyan")
    return hop.name, Text(f"{hop.detail}  " if hop.detail else "", style="dim") + led_to


def print_report(console: Console, played: Played) -> None:
    """The books, and what follows from them."""
    verdict = played.verdict
    console.print(_books(verdict.rows), "")
    for fault in verdict.faults[:MOST_FAULTS]:
        console.print(Text(f"  off: {fault}", style="red"), soft_wrap=True)
    if len(verdict.faults) > MOST_FAULTS:
        console.print(Text(f"  and {len(verdict.faults) - MOST_FAULTS} more", style="red"))
    console.print(_conclusion(verdict), soft_wrap=True)
    console.print(
        f"From platform to till: p50 {milliseconds(verdict.p50_ms)}, "
        f"p99 {milliseconds(verdict.p99_ms)}. All in {played.seconds:.0f} s.",
        soft_wrap=True,
    )


def _books(rows: Sequence[Row]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("the books", header_style="bold")
    for name in BOOKS:
        table.add_column(name, justify="right", header_style="dim")
    table.add_column()
    for row in rows:
        values = ("·" if value is None else f"{value:,}" for value in row[1:])
        mark = Text("agree", style="green") if row.agrees else Text("DIFFER", style="bold red")
        table.add_row(row.name, *values, mark)
    return table


def _conclusion(verdict: Verdict) -> Text:
    sum_ = (
        f"{verdict.orders} orders = {verdict.delivered} delivered + {verdict.refused} refused "
        f"+ {verdict.closed} closed + {verdict.open} open; "
        f"{verdict.lost} lost, {verdict.duplicated} doubled."
    )
    if verdict.ok:
        return Text("ok  ", style="bold green") + Text(sum_, style="default")
    return Text("OFF  ", style="bold red") + Text(sum_, style="default")


class Typical(NamedTuple):
    """An order as good as any, and when its platform says it was placed."""

    booked: BookedOrder
    placed_at: float


def typical(played: Played) -> Typical | None:
    """A delivered order that took about as long to its till as half of them."""
    placed = {order.number: order.placed_at for order in played.books.sold}
    delays = {t.number: t.first_seen - placed[t.number] for t in played.books.tickets}
    middle = quantile(delays.values(), 0.5) or 0.0
    delivered = {
        order.channel_order_id: order
        for order in played.orders
        if order.state == S.DONE and order.channel_order_id in delays
    }
    nearest = min(delivered, key=lambda number: abs(delays[number] - middle), default=None)
    return None if nearest is None else Typical(delivered[nearest], placed[nearest])


def write_environment(path: Path, place: Place) -> None:
    """Variables that lead `system2` to the demo's database and vhost; passwords are in there."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    values = place.environment().items()
    path.write_text("".join(f"export {name}='{value}'\n" for name, value in values))


def print_next(console: Console, environment: Path, logs: Path, order_no: str | None) -> None:
    """Three commands that work as they are printed, from the directory one is in."""
    system2 = _command()
    console.print()
    console.print(Text("Try next", style="bold") + Text(f"   . {_near(environment)}", style="dim"))
    for command, meaning in (
        (f"orders show {order_no}", "this order again; any other by its number"),
        ("check --skip queues_empty", "the invariants (timers wait in queues: nobody runs)"),
        ("demo --keep", "once more, and everything stays up until Ctrl-C"),
    ):
        console.print(f"  {system2} {command:<34}", Text(meaning, style="dim"), soft_wrap=True)
    console.print(
        Text(
            f"Logs are in {_near(logs)}. The servers stay up for these; "
            f"`{system2} down` stops them.",
            style="dim",
        ),
        soft_wrap=True,
    )


def _command() -> str:
    return "system2" if shutil.which("system2") else _near(Path(sys.executable).parent / "system2")


def _near(path: Path) -> str:
    """The path from here, if that is shorter."""
    return min(os.path.relpath(path), str(path), key=len)
