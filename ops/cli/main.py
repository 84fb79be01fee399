"""The entry point of `system2`: finds the command in a table and loads only that one.

A new command is a line in COMMANDS and a function or a typer app in `ops/cli/<noun>.py`.
"""

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

import typer


class Command(NamedTuple):
    """Where a command is, and its line in `system2 --help`."""

    place: str  # module:attribute, a function or a typer app with sub-commands
    help: str


COMMANDS = {
    "up": Command("ops.cli.stack:up", "Start a private PostgreSQL and RabbitMQ under .stack/."),
    "down": Command("ops.cli.stack:down", "Stop them; their data stay unless --wipe."),
    "status": Command("ops.cli.stack:status", "Say whether both servers answer."),
    "doctor": Command(
        "ops.cli.stack:doctor", "Check everything System2 needs, and say what to do."
    ),
    "demo": Command(
        "ops.cli.demo:demo", "Watch orders travel from platform to till and back, with accidents."
    ),
    "db": Command("ops.cli.db:app", "Bring the schema of the database up to date."),
    "topology": Command("ops.cli.topology:app", "Exchanges, queues and bindings of the broker."),
    "run": Command("ops.cli.run:run", "Run one process of the pipeline."),
    "workflow": Command("ops.cli.workflow:app", "The tables that orders live by."),
    "load": Command("ops.cli.chain:load", "Load accounts, stores, items and opening stock."),
    "orders": Command("ops.cli.orders:app", "Look an order up: where it stands, every hop."),
    "check": Command("ops.cli.check:check", "Compare all books; exit 1 if anything is off."),
    "platform": Command("ops.cli.platform:app", "Where the pullers stand; pause, resume."),
    "docs": Command("ops.cli.docs:app", "Print the generated pages of the documentation."),
    "bench": Command("ops.cli.bench:app", "Measure throughput, latency and what idleness costs."),
}

FAILURE, INTERRUPTED, UNAVAILABLE = 1, 130, 69


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; errors become one sentence on stderr and an exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        application(words)(args=words, prog_name="system2")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        if os.environ.get("SYSTEM2_DEBUG"):
            raise
        print(f"system2: {_sentence(error)}", file=sys.stderr)
        sys.exit(_exit_code(error))


def application(words: Sequence[str]) -> typer.Typer:
    """All commands by name; only the one that `words` ask for is imported."""
    wanted = next((word for word in words if not word.startswith("-")), None)
    app = typer.Typer(
        help="The order pipeline of a restaurant chain: from platform to till and back.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    app.callback()(_nothing)
    for name, command in COMMANDS.items():
        _register(app, name, command, load=name == wanted)
    return app


def _nothing() -> None:
    """Keeps `system2` a group, however few commands it has."""


def _register(app: typer.Typer, name: str, command: Command, *, load: bool) -> None:
    target = _load(command.place) if load else _nothing
    if isinstance(target, typer.Typer):
        app.add_typer(target, name=name, help=command.help)
    else:
        app.command(name, help=command.help)(target)


def _load(place: str) -> typer.Typer | Callable[..., None]:
    module, _, attribute = place.partition(":")
    found: typer.Typer | Callable[..., None] = getattr(importlib.import_module(module), attribute)
    return found


def _sentence(error: Exception) -> str:
    from ops.observability.masking import mask

    return mask(str(error) or (type(error).__doc__ or type(error).__name__).strip())


def _exit_code(error: Exception) -> int:
    """What the error says of itself; a server that cannot be reached is 69, all else 1."""
    unreachable = isinstance(error, ConnectionError | TimeoutError)
    return int(getattr(error, "exit_code", UNAVAILABLE if unreachable else FAILURE))
