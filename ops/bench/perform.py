"""Runs one benchmark from nothing to its figures; without agreeing books there are none."""

import asyncio
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import uvloop

from ops import check
from ops.bench.counts import SQL
from ops.bench.figures import Figures
from ops.bench.scenery import Scene, set_up
from ops.bench.stage import Stage, Tell
from ops.checks.finding import Finding
from ops.settings import BAD_CONFIGURATION, given
from ops.stack import home, local
from ops.stack.local import Endpoints

SETTLE_SECONDS = 30.0
BY_HAND = ("orders_accepted",)
"""Checks that cannot hold here: the orders did not enter through the ingress."""


class NoExample(Exception):
    """Benchmarks run with examples/chain.toml of a checkout, and that is not here."""

    exit_code = BAD_CONFIGURATION


class BooksDisagree(Exception):
    """The work was not done right, so its figures mean nothing."""


class Bench(Protocol):
    """One benchmark, with what it is to measure."""

    @property
    def scene(self) -> Scene: ...

    async def run(self, stage: Stage) -> Figures: ...


def perform(bench: Bench, tell: Tell) -> Figures:
    """Blocks until all is over, the processes included. The servers stay up."""
    root = home.checkout()
    if not (root / "examples" / "chain.toml").exists():
        raise NoExample
    endpoints = local.up(root, tell=tell, environ=given())
    logs = home.directory(root) / "bench"
    home.prepare(root)
    shutil.rmtree(logs, ignore_errors=True)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_until_told(bench, endpoints, logs, tell))


async def _until_told(bench: Bench, endpoints: Endpoints, logs: Path, tell: Tell) -> Figures:
    """SIGTERM and SIGHUP end it as Ctrl-C does: no process is left behind."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await measured(bench, endpoints, logs, tell)


async def measured(bench: Bench, endpoints: Endpoints, logs: Path, tell: Tell) -> Figures:
    """The figures, and what they were found under. Raises BooksDisagree."""
    example = home.checkout() / "examples" / "chain.toml"
    async with set_up(endpoints, example, logs, bench.scene, tell) as stage:
        figures = await bench.run(stage)
        tell("comparing the books")
        await stage.database.execute(SQL["bench_analyze"])
        findings = await check.run(
            stage.place.database_url,
            stage.place.amqp_url,
            stage.books,
            topology=stage.topology,
            wait_seconds=SETTLE_SECONDS,
            skip=BY_HAND,
        )
        _agree(findings)
        return {**figures, "conditions": {**stage.conditions, "checks": len(findings)}}


def _agree(findings: Sequence[Finding]) -> None:
    wrong = [finding for finding in findings if not finding.ok]
    if wrong:
        faults = "; ".join(f"{f.check}: not so for {f.total}: {f.claim}" for f in wrong)
        raise BooksDisagree(f"no figures, because the books do not agree: {faults}")
