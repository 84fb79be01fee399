"""`system2 check`: whether all books agree."""

import asyncio
import json
from collections.abc import Sequence
from typing import Annotated

import typer

from ops import check as checking
from ops import settings
from ops.checks.books import Books
from ops.checks.finding import Finding
from ops.wiring import topology_of

AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable, on stdout.")]
BookUrls = Annotated[
    list[str] | None,
    typer.Option("--books", metavar="URL", help="A simulator's address; give it once for each."),
]
Wait = Annotated[
    float, typer.Option("--wait", metavar="SECONDS", min=0, help="Give the books time to meet.")
]
Sample = Annotated[
    int | None, typer.Option("--sample", metavar="N", min=1, help="Replay only N orders.")
]
Skip = Annotated[list[str] | None, typer.Option("--skip", metavar="CHECK", help="Leave one out.")]


def check(
    books: BookUrls = None,
    as_json: AsJson = False,
    wait: Wait = 0,
    sample: Sample = None,
    skip: Skip = None,
) -> None:
    """Compare our books with themselves, the broker, and with --books the tills and platforms.

    Exit 1 if anything is off.
    """
    chosen = settings.load()
    findings = asyncio.run(
        checking.run(
            chosen.database_url.get_secret_value(),
            chosen.amqp_url.get_secret_value(),
            Books(books) if books else None,
            topology=topology_of(chosen),
            wait_seconds=wait,
            sample=sample,
            skip=skip or (),
        )
    )
    typer.echo(_json(findings) if as_json else "\n".join(map(_lines, findings)))
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def _json(findings: Sequence[Finding]) -> str:
    return json.dumps([finding.as_json() for finding in findings], ensure_ascii=False)


def _lines(finding: Finding) -> str:
    note = f" ({finding.note})" if finding.note else ""
    if finding.ok:
        return f"ok     {finding.check:<24}{finding.claim}{note}"
    lines = [f"WRONG  {finding.check:<24}not so for {finding.total}: {finding.claim}{note}"]
    lines += [f"       {offender.subject}  {offender.why}" for offender in finding.offenders]
    if finding.total > len(finding.offenders):
        lines.append(f"       and {finding.total - len(finding.offenders)} more")
    return "\n".join(lines)
