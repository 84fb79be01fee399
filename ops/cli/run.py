"""`system2 run ROLE`: one process of the pipeline, in the foreground."""

from typing import Annotated

import typer

from ops import settings


def run(
    role: Annotated[str, typer.Argument(help="dispatcher, consumer, producer, http or all")],
    names: Annotated[
        list[str] | None, typer.Argument(help="for a consumer: stock, pos, takeaway")
    ] = None,
) -> None:
    """Run one process until it is told to stop; any number of each may run."""
    from consumers.queues import CONSUMERS
    from ops.run import ROLES, main

    chosen = tuple(names or ())
    if role not in ROLES:
        raise typer.BadParameter(f"{role!r} is no role; there are {', '.join(ROLES)}")
    if role == "consumer" and (not chosen or set(chosen) - set(CONSUMERS)):
        raise typer.BadParameter(f"name one or more of {', '.join(CONSUMERS)}")
    main(settings.load(), role, chosen)
