"""`system2 up`, `down`, `status`, `doctor`: the local servers."""

import json
from typing import Annotated

import typer

from ops.settings import given
from ops.stack import doctor as examination
from ops.stack import home, local

UNAVAILABLE = 69

AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable, on stdout.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Wipe = Annotated[bool, typer.Option("--wipe", help="Delete the servers' data too.")]


def up(as_json: AsJson = False) -> None:
    """Start what does not run; servers given by SYSTEM2_DATABASE_URL and SYSTEM2_AMQP_URL stay.

    With --json the addresses, passwords included, are printed for scripts.
    """
    endpoints = local.up(home.checkout(), environ=given())
    if as_json:
        typer.echo(json.dumps(endpoints._asdict()))


def down(wipe: Wipe = False, yes: Yes = False) -> None:
    """Stop the private servers."""
    if wipe and not yes:
        typer.confirm("Delete all data of the local PostgreSQL and RabbitMQ?", abort=True, err=True)
    local.down(home.checkout(), wipe=wipe)


def status(as_json: AsJson = False) -> None:
    """Exit 69 unless both servers answer."""
    servers = examination.status(home.checkout(), given())
    if as_json:
        typer.echo(json.dumps([server._asdict() for server in servers]))
    else:
        for server in servers:
            typer.echo(f"{server.name:<12}{server.state:<13}{server.detail}")
    if not all(server.answers for server in servers):
        raise typer.Exit(UNAVAILABLE)


def doctor(as_json: AsJson = False) -> None:
    """Exit 69 if anything is missing."""
    checks = examination.checks(home.checkout(), given())
    if as_json:
        typer.echo(json.dumps([check._asdict() for check in checks]))
    else:
        for check in checks:
            typer.echo(_line(check))
    if not all(check.ok for check in checks):
        raise typer.Exit(UNAVAILABLE)


def _line(check: examination.Check) -> str:
    if check.ok:
        return f"ok  {check.name:<20}{check.found}"
    return f"--  {check.name:<20}{check.found}\n    {'':<20}-> {check.remedy}"
