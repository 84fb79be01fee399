"""A log to write to, and the logging of the test run put back afterwards."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any, Literal

import pytest
import structlog

from ops.observability.logs import configure


class Log:
    """What a process would print."""

    def __init__(self) -> None:
        self.out = io.BytesIO()

    def configure(
        self, level: str = "info", format: Literal["json", "console"] | None = "json"
    ) -> None:
        configure(service="pos", level=level, format=format, stream=self.out)

    @property
    def text(self) -> str:
        return self.out.getvalue().decode()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture
def log() -> Iterator[Log]:
    root, hook = logging.getLogger(), sys.excepthook
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    kept = Log()
    kept.configure()
    yield kept
    structlog.reset_defaults()
    logging.captureWarnings(False)
    root.handlers[:], sys.excepthook = handlers, hook
    root.setLevel(level)
