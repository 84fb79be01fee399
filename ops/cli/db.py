"""`system2 db migrate`, `db status`: the schema of the database."""

import asyncio
import json
from typing import Annotated

import typer

from ops.settings import load
from storage import migrate as migrations

AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable, on stdout.")]

app = typer.Typer(no_args_is_help=True)


@app.command()
def migrate(as_json: AsJson = False) -> None:
    """Apply what is not applied yet. Several may do so at once; what is applied stays."""
    applied = asyncio.run(migrations.migrate(_url()))
    if as_json:
        typer.echo(json.dumps([migration.label for migration in applied]))
        return
    for migration in applied:
        typer.echo(f"applied {migration.label}")
    typer.echo("the schema is up to date", err=True)


@app.command()
def status(as_json: AsJson = False) -> None:
    """List the migrations of this release. Exit 1 while some are not applied."""
    standings = asyncio.run(migrations.status(_url()))
    if as_json:
        typer.echo(json.dumps([standing._asdict() for standing in standings], default=str))
    else:
        for standing in standings:
            since = (
                f"{standing.applied_at:%Y-%m-%d %H:%M:%S %Z}" if standing.applied_at else "pending"
            )
            typer.echo(f"{standing.version}_{standing.name:<30} {since}")
    if any(standing.applied_at is None for standing in standings):
        raise typer.Exit(1)


def _url() -> str:
    return load().database_url.get_secret_value()
