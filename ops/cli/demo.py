"""`system2 demo`: everything at once, with accidents, and the books compared in the end."""

import asyncio
from typing import Annotated

import typer

from ops.demo.perform import Wanted, perform
from ops.demo.play import Options

TERMINATED = 143

AsJson = Annotated[bool, typer.Option("--json", help="The figures on stdout, all else on stderr.")]
Keep = Annotated[bool, typer.Option("--keep", help="Leave everything running until Ctrl-C.")]
Orders = Annotated[int, typer.Option(help="How many orders customers place.", min=1, max=5000)]
Seconds = Annotated[float, typer.Option(help="In how many seconds.", min=1, max=3600)]


def demo(
    orders: Orders = 500, seconds: Seconds = 30, as_json: AsJson = False, keep: Keep = False
) -> None:
    """Let customers order at two platforms and twenty stores while things go wrong.

    Works in a database and a vhost of its own. Exit 1 if any book differs from the others.
    """
    try:
        verdict = perform(Wanted(Options(orders, seconds), as_json, keep))
    except asyncio.CancelledError:
        raise typer.Exit(TERMINATED) from None
    raise typer.Exit(0 if verdict.ok else 1)
