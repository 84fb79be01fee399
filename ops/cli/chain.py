"""`system2 load FILE`: the chain's own data into the database."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from dispatcher.ports import NullObserver
from ops import load as loading
from ops import settings
from ops.chain_file import ChainFile
from storage.database import Database

AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable, on stdout.")]
File = Annotated[
    Path, typer.Argument(help="Such as examples/chain.toml.", exists=True, dir_okay=False)
]


def load(file: File, as_json: AsJson = False) -> None:
    """Load platform accounts, stores, items and opening stock.

    Loading again updates what changed. Opening stock is booked once for each store and SKU.
    """
    chain = loading.read(file.read_text("utf-8"), settings.environment())
    url = settings.load().database_url.get_secret_value()
    loaded = asyncio.run(_load(url, chain))
    if as_json:
        typer.echo(json.dumps(loaded._asdict()))
    else:
        typer.echo(_sentence(loaded))
        typer.echo("Restart takeaway, producer and http to see new accounts or codes.", err=True)


async def _load(url: str, chain: ChainFile) -> loading.Loaded:
    async with Database.open(url, observer=NullObserver(), name="load") as database:
        return await loading.load(database, chain, datetime.now(UTC))


def _sentence(loaded: loading.Loaded) -> str:
    before = loaded.levels - loaded.opened
    return (
        f"loaded {loaded.accounts} accounts, {loaded.stores} stores, {loaded.codes} store codes, "
        f"{loaded.items} items; opened {loaded.opened} stock levels"
        + (f", {before} were open before and stay as they are" if before else "")
    )
