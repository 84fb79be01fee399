"""`system2 workflow list`, `show`, `diagram`, `verify`: the tables that orders live by."""

import json
from pathlib import Path
from typing import Annotated

import typer

from dispatcher.workflow import Workflow
from dispatcher.workflows import ALL, BORN_WITH
from ops.promises import checks
from ops.workflow_views import as_diagram, as_rows, as_text, embed

AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable, on stdout.")]
Name = Annotated[str, typer.Argument(help="A workflow, such as takeaway.")]
Version = Annotated[int | None, typer.Option(help="The newest unless given.")]
Readme = Annotated[
    Path | None, typer.Option(help="Refresh the diagram between this page's markers instead.")
]

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_workflows(as_json: AsJson = False) -> None:
    """List every version that a process of this release knows."""
    rows = [
        {
            "name": workflow.name,
            "version": workflow.version,
            "born_with": workflow in BORN_WITH,
            "states": len(workflow.states),
            "steps": len(workflow.steps),
        }
        for workflow in ALL
    ]
    if as_json:
        typer.echo(json.dumps(rows))
        return
    for row in rows:
        birth = "orders are born with it" if row["born_with"] else "older orders live by it"
        size = f"{row['states']} states, {row['steps']} steps"
        typer.echo(f"{row['name']:<12} version {row['version']}  {size}, {birth}")


@app.command()
def show(name: Name, version: Version = None, as_json: AsJson = False) -> None:
    """Print what happens in each state, and what is sent."""
    workflow = _find(name, version)
    if as_json:
        whole = {"name": name, "version": workflow.version, "states": as_rows(workflow)}
        typer.echo(json.dumps(whole))
    else:
        typer.echo(as_text(workflow))


@app.command()
def diagram(name: Name, version: Version = None, readme: Readme = None) -> None:
    """Print a mermaid diagram, or refresh the one in a page."""
    workflow = _find(name, version)
    if readme is None:
        typer.echo(as_diagram(workflow))
    else:
        readme.write_text(embed(readme.read_text(), workflow))


@app.command()
def verify(name: Name, version: Version = None, as_json: AsJson = False) -> None:
    """Hold the table against every rule. Exit 1 if one is broken."""
    found = checks(_find(name, version))
    if as_json:
        typer.echo(json.dumps([check._asdict() | {"ok": check.ok} for check in found]))
    else:
        for check in found:
            typer.echo(f"{'ok' if check.ok else '--'}  {check.rule}")
            for problem in check.problems:
                typer.echo(f"      {problem}")
    if not all(check.ok for check in found):
        raise typer.Exit(1)


def _find(name: str, version: int | None) -> Workflow:
    versions = {workflow.version: workflow for workflow in ALL if workflow.name == name}
    if not versions:
        known = ", ".join(sorted({workflow.name for workflow in ALL}))
        raise typer.BadParameter(f"no workflow is called {name}; there is {known}")
    wanted = max(versions) if version is None else version
    if wanted not in versions:
        raise typer.BadParameter(f"{name} has no version {wanted}")
    return versions[wanted]
