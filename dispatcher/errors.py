"""What can go wrong, sorted by what happens to the message.

PipelineError
├── Transient        try again later: the message is fine, the world is not
│   └── NotUnderstood    a newer process may have sent it: patience, not quarantine
└── Hopeless         no retry will help: quarantine, with the reason
"""

from enum import StrEnum


class Trouble(StrEnum):
    """What a failed transaction means for the messages in it."""

    RETRY = "retry"
    """It lost a race: the whole transaction again, at once."""
    HOLD = "hold"
    """The database is not there: keep the messages, wait, the whole transaction again."""
    BUG = "bug"
    """It is us, or one of the messages."""


class PipelineError(Exception):
    """Something in the pipeline failed."""


class Transient(PipelineError):
    """The message is fine; the world is not ready for it. Try again later."""


class NotUnderstood(Transient):
    """The message has a type, version or field that this process does not know yet."""


class Hopeless(PipelineError):
    """No retry will help; a person must look."""
