"""What can be wrong with a request, and what its sender is told: a status and a sentence.

PipelineError
├── Transient            503, come again
└── Hopeless
    ├── Forged           401
    │   └── Stale        401
    ├── Malformed        400
    ├── WrongShape       422
    ├── TooLarge         413
    ├── TooSlow          408
    ├── Contradiction    409
    └── NotOurs          404
"""

from typing import NamedTuple

from dispatcher.errors import Hopeless, PipelineError, Transient
from dispatcher.platform import Forged, Malformed, UnknownStore


class Stale(Forged):
    """The signature is right, but its timestamp is not of now: this may be a replay."""


class WrongShape(Hopeless):
    """The document is signed by its sender, but says nothing that we understand."""


class TooLarge(Hopeless):
    """The body is longer than this route reads."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__(f"the body is longer than {most_bytes} bytes")


class TooSlow(Hopeless):
    """The body did not arrive in time."""


class Contradiction(Hopeless):
    """Another body came under this id before."""


class NotOurs(Hopeless):
    """No such store, account or ticket."""


class Refusal(NamedTuple):
    """`reason` counts in ingress_rejected_total; None: a fault of the moment."""

    status: int
    reason: str | None


_REFUSALS: dict[type[PipelineError], Refusal] = {
    Stale: Refusal(401, "replay"),
    Forged: Refusal(401, "signature"),
    Malformed: Refusal(400, "schema"),
    WrongShape: Refusal(422, "schema"),
    TooLarge: Refusal(413, "oversize"),
    TooSlow: Refusal(408, None),
    Contradiction: Refusal(409, "replay"),
    NotOurs: Refusal(404, "unknown"),
    UnknownStore: Refusal(404, "unknown"),
    Hopeless: Refusal(422, "schema"),
    Transient: Refusal(503, None),
}


def refusal(error: PipelineError) -> Refusal:
    """By the nearest class that has a row."""
    for kind in type(error).__mro__:
        if kind in _REFUSALS:
            return _REFUSALS[kind]
    return Refusal(500, None)
