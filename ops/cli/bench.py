"""`system2 bench`: how fast the pipeline is, each time with every book compared in the end."""

import asyncio
import json
import sys
from typing import Annotated

import typer

from ops.bench.chain import Chain
from ops.bench.figures import lines
from ops.bench.idle import Idle
from ops.bench.latency import Latency
from ops.bench.perform import Bench, perform
from ops.bench.pickup import Pickup

TERMINATED = 143

AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable, on stdout.")]

app = typer.Typer(no_args_is_help=True)


@app.callback()
def bench() -> None:
    """Measure the pipeline, each process by itself, in a database and a vhost of its own.

    Servers are started unless their addresses are given. Figures are printed only if all books
    agree in the end.
    """


@app.command()
def chain(
    orders: Annotated[int, typer.Option(min=1, help="Handed over one by one.")] = Chain.orders,
    repeat: Annotated[int, typer.Option(min=1, help="Give medians of so many runs.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Orders per second from the publisher to recorded tickets, and the bare HTTP ceiling."""
    _show(Chain(orders=orders, repeat=repeat), as_json)


@app.command()
def latency(
    rate: Annotated[float, typer.Option(min=0.1, help="Orders a second.")] = Latency.rate,
    seconds: Annotated[float, typer.Option(min=0.1, help="For how long.")] = Latency.seconds,
    as_json: AsJson = False,
) -> None:
    """Milliseconds from the publisher to the till's 2xx at a calm rate, hop by hop."""
    _show(Latency(rate=rate, seconds=seconds), as_json)


@app.command()
def idle(
    waiting: Annotated[int, typer.Option(min=1, help="Orders that wait.")] = Idle.waiting,
    seconds: Annotated[float, typer.Option(min=0.1, help="Count for so long.")] = Idle.seconds,
    as_json: AsJson = False,
) -> None:
    """Statements that reach the database while many orders wait and nothing happens."""
    _show(Idle(waiting=waiting, seconds=seconds), as_json)


@app.command()
def pickup(
    waiting: Annotated[int, typer.Option(min=1, help="Placed orders in the way.")] = Pickup.waiting,
    count: Annotated[int, typer.Option(min=1, help="Pickup codes.")] = Pickup.count,
    rate: Annotated[float, typer.Option(min=0.1, help="Pickup codes a second.")] = Pickup.rate,
    as_json: AsJson = False,
) -> None:
    """Milliseconds of a pickup code from till to platform while a flood of orders waits."""
    _show(Pickup(waiting=waiting, count=count, rate=rate), as_json)


def _show(bench: Bench, as_json: bool) -> None:
    try:
        figures = perform(bench, _tell)
    except asyncio.CancelledError:
        raise typer.Exit(TERMINATED) from None
    typer.echo(json.dumps(figures) if as_json else "\n".join(lines(figures)))


def _tell(sentence: str) -> None:
    """Progress is for people who look."""
    if sys.stderr.isatty():
        typer.echo(sentence, err=True)
