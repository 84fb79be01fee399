"""One line per outcome: JSON on stdout, or colours on a terminal.

Our own lines and those of libraries take the same way: stamped, exceptions rendered, personal data
and secrets masked last, printed.
"""

import json
import logging
import sys
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any, BinaryIO, Literal, TypeAlias

import structlog
from pydantic_core import PydanticSerializationError, to_json

from ops.observability.masking import of

Facts: TypeAlias = MutableMapping[str, Any]

_OURS = frozenset({"timestamp", "level", "service"})


def configure(
    *,
    service: str,
    level: str = "info",
    format: Literal["json", "console"] | None = None,
    stream: BinaryIO | None = None,
) -> None:
    """Set up logging of this process, ours and that of libraries; once, at its start.

    Without a format, a terminal gets lines for people and everything else gets JSON.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    out = stream or sys.stdout.buffer
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper("iso", utc=True),
            structlog.processors.format_exc_info,
            _Arranged(service),
            _masked,
            _printed if (format or _fitting(out)) == "json" else _Coloured(out.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.BytesLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    _take_in_libraries(number)
    sys.excepthook = _last_words


def _fitting(out: BinaryIO) -> Literal["json", "console"]:
    return "console" if out.isatty() else "json"


class _Arranged:
    """What every line has comes first, so that people find it."""

    def __init__(self, service: str) -> None:
        self._service = service

    def __call__(self, _: Any, __: str, facts: Facts) -> Facts:
        return {
            "timestamp": facts.pop("timestamp"),
            "level": facts.pop("level"),
            "event": facts.pop("event"),
            "service": self._service,
            **facts,
        }


def _masked(_: Any, __: str, facts: Facts) -> Facts:
    return {key: value if key in _OURS else of(key, value) for key, value in facts.items()}


def _printed(_: Any, __: str, facts: Facts) -> bytes:
    try:
        return to_json(facts)
    except (PydanticSerializationError, UnicodeError):
        # Half a surrogate pair: what a platform sends need not be text.
        return json.dumps(facts).encode()


class _Coloured:
    """Lines for people."""

    def __init__(self, colours: bool) -> None:
        self._render = structlog.dev.ConsoleRenderer(colors=colours)

    def __call__(self, logger: Any, method: str, facts: Facts) -> bytes:
        return self._render(logger, method, facts).encode("utf-8", "replace")


class Libraries(logging.Handler):
    """Hands over what libraries log."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sentence = record.getMessage()
        except Exception:
            sentence = str(record.msg)
        level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
        log = structlog.get_logger()
        log.log(level, sentence, logger=record.name, **_trouble(record))


def _trouble(record: logging.LogRecord) -> dict[str, Any]:
    return {"exc_info": record.exc_info} if record.exc_info else {}


def _take_in_libraries(level: int) -> None:
    """Libraries are heard from warning on; at debug from info on, as below they print bodies."""
    root = logging.getLogger()
    for before in [handler for handler in root.handlers if isinstance(handler, Libraries)]:
        root.removeHandler(before)
    root.addHandler(Libraries())
    root.setLevel(logging.INFO if level < logging.INFO else max(level, logging.WARNING))
    logging.captureWarnings(True)


def _last_words(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    log = structlog.get_logger()
    log.critical("the process ends by an exception", exc_info=(kind, error, traceback))
