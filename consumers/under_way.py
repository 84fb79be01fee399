"""What is under way in a REMOTE consumer: deliveries, commands, how they ended, and how many calls
there may be.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Any

from dispatcher.envelope import Envelope
from dispatcher.inbox import Attempt
from dispatcher.messages import Event
from dispatcher.rabbit.delivery import Delivery
from dispatcher.rabbit.publish import Outgoing


class Parcel:
    """A delivery and how many of its commands are still open."""

    def __init__(self, delivery: Delivery, open_commands: int) -> None:
        self.delivery = delivery
        self.open_commands = open_commands


@dataclass(slots=True)
class Job:
    """One command on its way through this process. `doubt`: somebody may have done it before."""

    command: Envelope[Any]
    body: bytes
    parcel: Parcel
    destination: str
    doubt: bool = False
    handed_over: bool = False
    timer: asyncio.TimerHandle | None = None


@dataclass(slots=True)
class Ended:
    """What is to be written and published about a command: an answer, or when to try again."""

    job: Job
    answer: Event | None = None
    again: Outgoing | None = None
    attempt: Attempt | None = None
    repeat: Envelope[Any] | None = None
    handing_over: bool = False


class Limits:
    """How much may be open at once: in all, and for one destination (running, and in all)."""

    def __init__(self, at_once: int, running: int = 16, share: int = 64) -> None:
        self.total = asyncio.Semaphore(at_once)
        self.most_open = at_once * 8
        self._running = running
        self._share = share
        self._open: Counter[str] = Counter()
        self._slots: dict[str, asyncio.Semaphore] = {}

    def enter(self, destination: str) -> bool:
        """False when the destination has its share already."""
        if self._open[destination] >= self._share:
            return False
        self._open[destination] += 1
        return True

    def slot(self, destination: str) -> asyncio.Semaphore:
        return self._slots.setdefault(destination, asyncio.Semaphore(self._running))

    def leave(self, destination: str) -> None:
        self._open[destination] -= 1
        if not self._open[destination]:
            del self._open[destination]
            self._slots.pop(destination, None)

    @property
    def open(self) -> int:
        return self._open.total()
