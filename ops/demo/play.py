"""The demo itself: customers order, things go wrong, everything is waited for and compared."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any, NamedTuple

from ops.demo.books import PartnerBooks
from ops.demo.scene import scene_of
from ops.demo.script import CUES, PLATFORMS, Cue, wishes
from ops.demo.show import Show
from ops.demo.stage import Stage
from ops.demo.together import together
from ops.demo.verdict import STORIES, Comparison, Verdict
from storage.books import BookedOrder

LOOK_SECONDS = 1.0
SETTLE_SECONDS = 0.2
PATIENCE_SECONDS = 90.0
"""How long the last orders may take after the last customer: a silent store alone takes 18."""


class Options(NamedTuple):
    orders: int
    seconds: float


class Played(NamedTuple):
    """What came of it."""

    verdict: Verdict
    books: PartnerBooks
    orders: Sequence[BookedOrder]
    seconds: float


class Play:
    """One performance on a stage that is set."""

    def __init__(self, stage: Stage, show: Show, options: Options) -> None:
        self._stage = stage
        self._show = show
        self._options = options
        self._began = monotonic()
        self._incomplete: set[str] = set()

    async def run(self) -> Played:
        """Until all is over, or takes too long."""
        self._began = monotonic()
        with self._show.playing():
            await together(self._customers(), self._watch(), *map(self._cue, CUES))
        await self._settled()
        found = await self._stage.check()
        books, ours = await self._stage.partner_books(), await self._stage.our_books()
        items = {item.sku for item in self._stage.chain.items}
        verdict = Comparison(books, ours, items, self._incomplete).verdict(found)
        return Played(verdict, books, ours.orders, self._seconds())

    def _seconds(self) -> float:
        return monotonic() - self._began

    async def _customers(self) -> None:
        """Open loop: customers do not wait for anybody."""
        orders, seconds = self._options
        half = orders // 2
        singles = []
        for platform, count in zip(PLATFORMS, (orders - half, half), strict=True):
            wanted = wishes(count, seconds)
            for rush in wanted.rushes:
                await self._stage.tell(platform, "orders", rush)
            singles += [self._single(platform, at * seconds, wish) for at, wish in wanted.singles]
        await together(*singles)

    async def _single(self, platform: str, moment: float, wish: Mapping[str, Any]) -> None:
        await asyncio.sleep(max(0.0, moment - self._seconds()))
        entry = await self._stage.tell(platform, "orders", wish)
        if "degraded" in wish:
            self._incomplete.add(entry["order_id"])

    async def _cue(self, cue: Cue) -> None:
        await asyncio.sleep(max(0.0, cue.at * self._options.seconds - self._seconds()))
        self._show.happened(self._seconds(), cue.says)
        if afterwards := await cue.act(self._stage):
            self._show.happened(self._seconds(), afterwards)

    async def _watch(self) -> None:
        """Show what the books say, until no platform and no till waits for anything."""
        until = self._options.seconds + PATIENCE_SECONDS
        while self._seconds() < until:
            books = await self._stage.partner_books()
            scene = scene_of(books, self._options.orders, self._seconds(), time.time())
            self._show.scene(scene)
            if scene.all_over:
                return
            await asyncio.sleep(LOOK_SECONDS)

    async def _settled(self) -> None:
        """The platforms know how it ended; wait until everybody has said so."""
        until = self._options.seconds + PATIENCE_SECONDS
        while self._seconds() < until:
            states = await self._stage.states()
            if states.keys() <= STORIES.keys():
                return
            await asyncio.sleep(SETTLE_SECONDS)
