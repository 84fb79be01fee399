"""Pushes of platforms: each gets exactly the acknowledgement that it documents, also for a repeat
and for what we cannot use; the latter is in quarantine by then.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

from dispatcher.entrance import entering
from dispatcher.errors import Hopeless
from dispatcher.platform import Platform, Request
from producers.ingress.door import Answer, Door
from producers.ingress.errors import NotOurs

LONGEST_BODY = 1 << 20
STRANGER = "unknown"


class Platforms(Protocol):
    def of(self, account: str) -> Platform:
        """The client of one account. Raises Hopeless when there is none."""


class PlatformRoute:
    """The rest of the path, behind the account, belongs to the platform."""

    template = "/platforms/{platform}/{account}/{path:.*}"
    longest_body = LONGEST_BODY

    def __init__(self, platforms: Platforms, door: Door, clock: Callable[[], datetime]) -> None:
        self._platforms = platforms
        self._door = door
        self._clock = clock

    def source(self, names: Mapping[str, str]) -> str:
        """The channel, if the path names an account of ours: strangers make no labels."""
        try:
            return self._platform(names).channel
        except NotOurs:
            return STRANGER

    async def answer(self, names: Mapping[str, str], request: Request) -> Answer:
        """Raises Forged, Malformed or NotOurs, and NotDone for what should be pushed again."""
        platform = self._platform(names)
        push = platform.receive(request, self._clock())
        payload = entering(platform.channel, platform.account, push.raw)
        await self._door.take(platform.channel, f"{platform.account}/", payload)
        return Answer(push.answer, push.content_type)

    def _platform(self, names: Mapping[str, str]) -> Platform:
        try:
            platform = self._platforms.of(names["account"])
        except Hopeless:
            raise NotOurs("there is no such platform account") from None
        if platform.channel != names["platform"]:
            raise NotOurs("there is no such platform account")
        return platform
