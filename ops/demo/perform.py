"""From nothing to the last line: servers up, stage set, the play, the report, and all put away."""

import asyncio
import json
import signal
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from rich.console import Console

from ops.demo import report
from ops.demo.play import Options, Play, Played
from ops.demo.script import PLATFORMS
from ops.demo.show import Show
from ops.demo.stage import PROCESSES, SIMULATORS, Stage, set_up
from ops.demo.verdict import Verdict
from ops.settings import BAD_CONFIGURATION, given
from ops.stack import doctor, home, local
from ops.stack.local import Endpoints


class NoExample(Exception):
    """The demo plays with examples/chain.toml of a checkout, and that is not here."""

    exit_code = BAD_CONFIGURATION


class Wanted(NamedTuple):
    """What the command line asks for."""

    options: Options
    as_json: bool
    keep: bool


def perform(wanted: Wanted) -> Verdict:
    """Blocks until all is over. Raises KeyboardInterrupt or CancelledError when told to stop; then
    also the servers are stopped, if it was this demo that started them.
    """
    root = home.checkout()
    if not _example(root).exists():
        raise NoExample
    show = Show(Console(stderr=True, highlight=False))
    ours = all(server.state == "stopped" for server in doctor.status(root, given()))
    try:
        endpoints = local.up(root, tell=show.say, environ=given())
        return asyncio.run(Performance(wanted, endpoints, root, show).run())
    except (KeyboardInterrupt, asyncio.CancelledError):
        show.say("Interrupted: everything this demo started is stopped.")
        if ours:
            local.down(root, tell=show.say)
        raise


class Performance:
    """What happens once the servers are up."""

    def __init__(self, wanted: Wanted, endpoints: Endpoints, root: Path, show: Show) -> None:
        self._wanted = wanted
        self._endpoints = endpoints
        self._root = root
        self._home = home.directory(root) / "demo"
        self._show = show
        self._out = Console(stderr=wanted.as_json, highlight=False)

    async def run(self) -> Verdict:
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        home.prepare(self._root)
        began = monotonic()
        async with set_up(self._endpoints, _example(self._root), self._home) as stage:
            self._introduce(stage, monotonic() - began)
            played = await Play(stage, self._show, self._wanted.options).run()
            await self._report(stage, played)
            if self._wanted.keep:
                await self._keep(stage, task)
        return played.verdict

    def _introduce(self, stage: Stage, seconds: float) -> None:
        processes = ", ".join(PROCESSES)
        self._show.say(
            f"An empty database and vhost, {stage.place.name}; yours are not touched.\n"
            f"{len(SIMULATORS)} simulators and {len(PROCESSES)} processes ({processes}) "
            f"are ready after {seconds:.1f} s.\n"
            f"{len(stage.chain.platforms)} platforms, {len(stage.chain.stores)} stores: "
            f"{self._wanted.options.orders} orders in {self._wanted.options.seconds:.0f} s. "
            f"Time limits are a tenth of the usual ones.\n"
        )

    async def _report(self, stage: Stage, played: Played) -> None:
        environment = self._home / "env"
        report.write_environment(environment, stage.place)
        self._out.print()
        typical = report.typical(played)
        if typical is not None:
            way = await stage.timeline(typical.booked.instance_id)
            report.print_way(self._out, way, typical.placed_at)
        report.print_report(self._out, played)
        number = typical.booked.order_no if typical else None
        report.print_next(self._out, environment, self._home / "logs", number)
        if self._wanted.as_json:
            print(json.dumps(played.verdict.as_json()), flush=True)

    async def _keep(self, stage: Stage, task: "asyncio.Task[object]") -> None:
        """Until Ctrl-C, which is no accident here."""
        shop = stage.fleet.members[PLATFORMS[0]].url
        self._show.say(
            f"\nEverything stays up until Ctrl-C. Order something yourself:\n"
            f"  curl -d '{{}}' {shop}/_sim/orders"
        )
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            task.uncancel()
            self._show.say("Stopping.")


def _example(root: Path) -> Path:
    return root / "examples" / "chain.toml"
