"""`system2 platform`: where the pullers stand at each account, and stopping or starting them."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import typer

from dispatcher.ports import NullObserver
from dispatcher.ticks import tick
from ops import settings, wiring
from ops.wiring import Parts
from storage import cursors

app = typer.Typer(help="Where the pullers stand; pause and resume them.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="machine-readable")]
Account = Annotated[str, typer.Argument(help="as the chain file names it")]
CONFIRM_SECONDS = 10.0


class NoSuchAccount(Exception):
    """No cursor of this account is there: is it loaded, and has a producer run?"""

    exit_code = 3


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List every cursor: scope, generation, interval, and whether it is paused."""
    rows = asyncio.run(_with_parts(lambda these: cursors.all_cursors(these.database)))
    if as_json:
        typer.echo(json.dumps([row._asdict() for row in rows], default=str))
        return
    for row in rows:
        standing = "paused" if row.paused else f"every {row.interval_seconds:.1f} s"
        scope = row.scope or "(whole account)"
        typer.echo(f"{row.account:12} {scope:18} generation {row.generation:<6} {standing}")


@app.command()
def pause(account: Account) -> None:
    """Look for orders there no more; an idle pull costs nothing."""
    scopes = asyncio.run(_with_parts(lambda these: _set(these, account, paused=True)))
    typer.echo(f"{account}: {len(scopes)} scopes are paused", err=True)


@app.command()
def resume(account: Account) -> None:
    """Look for orders again, where the cursors stand."""
    scopes = asyncio.run(_with_parts(lambda these: _set(these, account, paused=False)))
    typer.echo(f"{account}: {len(scopes)} scopes are pulled again", err=True)


async def _set(these: Parts, account: str, *, paused: bool) -> list[str]:
    mine = [c for c in await cursors.all_cursors(these.database) if c.account == account]
    if not mine:
        raise NoSuchAccount(f"no cursor of account {account}: {NoSuchAccount.__doc__}")
    turn = cursors.pause if paused else cursors.resume
    scopes = await turn(these.database, mine[0].channel, account)
    if not paused:
        # The ticks died while it was paused; should one still be under way, one of the two dies.
        at = wiring.now()
        ticks = [tick(c.channel, c.account, c.scope, c.generation, at) for c in mine]
        await these.publisher.publish([these.router.now(t) for t in ticks], CONFIRM_SECONDS)
    return scopes


async def _with_parts(act: Callable[[Parts], Awaitable[Any]]) -> Any:
    async with wiring.parts(settings.load(), "platform", NullObserver()) as these:
        return await act(these)
