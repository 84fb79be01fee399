"""Meituan's pushes: form-encoded, signed over the registered callback URL, repeated until heard.

Heard means HTTP 200 and a body of exactly {"data":"ok"}. How often the real platform repeats is
not published; the waits here are settings.
"""

import asyncio
import random
from collections.abc import Callable, Mapping

from aiohttp import ClientError, ClientSession

from ops.simulators.faults import ON_PUSH, Faults
from ops.simulators.meituan.signature import signature
from ops.simulators.platform import Clock, PlatformSettings

HEARD = b'{"data":"ok"}'


class Pusher:
    def __init__(
        self, app_id: str, secret: str, callback_url: str, clock: Clock, faults: Faults
    ) -> None:
        self._app_id = app_id
        self._secret = secret
        self._callback_url = callback_url.rstrip("/")
        self._clock = clock
        self._faults = faults
        self._dice = random.Random(0)
        self.session: ClientSession | None = None

    async def push(
        self, kind: str, form: Callable[[], Mapping[str, str]], settings: PlatformSettings
    ) -> int:
        """Repeats until heard; returns how many attempts that took, 0 when never heard."""
        wait = settings.push_first_wait_seconds
        for attempt in range(1, settings.push_tries + 1):
            if self._faults.draw(ON_PUSH, kind) is None and await self._heard(kind, form()):
                return attempt
            await asyncio.sleep(wait * self._dice.uniform(0.8, 1.2))
            wait = min(2 * wait, settings.push_longest_wait_seconds)
        return 0

    async def _heard(self, kind: str, form: Mapping[str, str]) -> bool:
        url = f"{self._callback_url}/{kind}"
        if self.session is None:
            return False
        try:
            async with self.session.post(url, data=self.signed(url, form)) as answer:
                return answer.status == 200 and await answer.read() == HEARD
        except (ClientError, TimeoutError):
            return False

    def signed(self, url: str, form: Mapping[str, str]) -> dict[str, str]:
        params = {**form, "app_id": self._app_id, "timestamp": str(int(self._clock()))}
        return {**params, "sig": signature(url, params, self._secret)}
