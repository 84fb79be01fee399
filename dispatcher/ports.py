"""What every loop of the pipeline asks of the outside: an observer to report to.

Ports that only one module needs stand beside that module.
"""

from typing import Protocol


class Observer(Protocol):
    """Where loops report. Names are those of the metrics table, without prefix."""

    def count(self, name: str, amount: float = 1, /, **labels: str) -> None:
        """Something happened `amount` times."""

    def time(self, name: str, seconds: float, /, **labels: str) -> None:
        """Something took, or weighed, this much (a histogram)."""

    def level(self, name: str, value: float, /, **labels: str) -> None:
        """Something stands at this value now (a gauge)."""

    def note(self, sentence: str, /, **facts: object) -> None:
        """One outcome, for the log: a constant sentence, and the facts of this one."""


class NullObserver:
    """Listens to nothing."""

    def count(self, name: str, amount: float = 1, /, **labels: str) -> None: ...

    def time(self, name: str, seconds: float, /, **labels: str) -> None: ...

    def level(self, name: str, value: float, /, **labels: str) -> None: ...

    def note(self, sentence: str, /, **facts: object) -> None: ...
