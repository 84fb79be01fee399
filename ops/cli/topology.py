"""`system2 topology`: the broker's exchanges, queues and bindings, declared once, at deploy."""

import asyncio
import json
from typing import Annotated

import typer

from dispatcher.rabbit.declare import show as describe
from dispatcher.rabbit.deploy import deploy, differences
from ops import settings
from ops.wiring import topology_of

app = typer.Typer(help="The broker's exchanges, queues and bindings.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="machine-readable")]


@app.command()
def apply() -> None:
    """Declare what is missing and set the marker; changes nothing that is there."""
    chosen = settings.load()
    topology = topology_of(chosen)
    asyncio.run(deploy(chosen.amqp_url.get_secret_value(), topology))
    queues = sum(1 for _ in topology.all_queues())
    typer.echo(f"{queues} queues of {topology.namespace} are declared.", err=True)


@app.command()
def diff(as_json: Json = False) -> None:
    """Say in sentences how the broker differs; exit 1 when it does."""
    chosen = settings.load()
    found = asyncio.run(differences(chosen.amqp_url.get_secret_value(), topology_of(chosen)))
    typer.echo(json.dumps(found) if as_json else "\n".join(found or ["no difference"]))
    raise typer.Exit(1 if found else 0)


@app.command()
def show(as_json: Json = False) -> None:
    """List everything that `apply` declares."""
    lines = list(describe(topology_of(settings.load())))
    typer.echo(json.dumps(lines) if as_json else "\n".join(lines))
