"""What one sees while it plays: on a terminal a few lines that move, elsewhere one line every few
seconds. What happens stays on the screen above them.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ops.demo.scene import Scene

BAR_WIDTH = 32
PLAIN_EVERY_SECONDS = 5.0


class Show:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._next_line = 0.0

    def say(self, line: str) -> None:
        """Something about the stage."""
        self._console.print(Text(line), soft_wrap=True)

    def happened(self, seconds: float, what: str) -> None:
        """Something in the plot."""
        moment = Text(f"{seconds:5.1f} s  ", style="dim")
        self._console.print(moment + Text(what, style="default"), soft_wrap=True)

    @contextmanager
    def playing(self) -> Iterator[None]:
        """While orders travel."""
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, refresh_per_second=4, redirect_stderr=False) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    def scene(self, scene: Scene) -> None:
        if self._live is not None:
            self._live.update(_picture(scene))
        elif scene.seconds >= self._next_line or scene.all_over:
            self._next_line = scene.seconds + PLAIN_EVERY_SECONDS
            self.say(_line(scene))


def milliseconds(value: float | None) -> str:
    """A duration as one reads it: 412 ms, 1.8 s, or nothing yet."""
    if value is None:
        return "–"
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.1f} s"


def _line(scene: Scene) -> str:
    return (
        f"{scene.seconds:5.1f} s  {scene.placed}/{scene.wanted} placed, {scene.at_till} at a till, "
        f"{scene.ready} ready, {scene.over} over; {scene.till_rate:.1f}/s, "
        f"p50 {milliseconds(scene.p50_ms)}, p99 {milliseconds(scene.p99_ms)}"
    )


def _picture(scene: Scene) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(justify="right")
    table.add_column(width=BAR_WIDTH)
    table.add_column()
    notes = {
        "placed": f"{scene.placed_rate:4.1f}/s",
        "at a till": (
            f"{scene.till_rate:4.1f}/s   p50 {milliseconds(scene.p50_ms)}"
            f"   p99 {milliseconds(scene.p99_ms)}"
        ),
        "over": f"{scene.delivered} delivered, {scene.refused} refused, "
        f"{scene.cancelled} cancelled",
    }
    stages = (
        ("placed", scene.placed),
        ("at a till", scene.at_till),
        ("confirmed", scene.confirmed),
        ("ready", scene.ready),
        ("over", scene.over),
    )
    for name, count in stages:
        bar = ProgressBar(
            total=scene.wanted, completed=count, complete_style="cyan", finished_style="green"
        )
        table.add_row(name, str(count), bar, notes.get(name, ""))
    return Group(Text(), table)
