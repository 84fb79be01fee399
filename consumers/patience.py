"""How long a command is tried, and how long it waits between two attempts."""

import random
from datetime import datetime, timedelta
from typing import NamedTuple

from dispatcher.envelope import Envelope
from dispatcher.messages import Command


class Patience(NamedTuple):
    """Exponential waits with full jitter, from one second on; `budget` counts from the command."""

    first_seconds: float = 1
    most_seconds: float = 60
    budget_seconds: float = 600

    def wait(
        self, attempt: int, retry_after: float | None = None, draw: float | None = None
    ) -> timedelta:
        """How long to wait after this attempt (counted from 0) failed; a partner's own word
        (`retry_after`) is the least. `draw` in [0, 1) replaces chance in tests.
        """
        most = min(self.first_seconds * 2 ** min(attempt, 20), self.most_seconds)
        seconds = most * (random.random() if draw is None else draw)
        told = min(retry_after or 0, self.budget_seconds)
        return timedelta(seconds=max(self.first_seconds, seconds, told))

    def until(self, command: Envelope[Command]) -> datetime:
        """When the command must have its answer."""
        spent = command.time + timedelta(seconds=self.budget_seconds)
        return min(spent, command.expires) if command.expires else spent
