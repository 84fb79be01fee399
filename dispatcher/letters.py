"""What goes into quarantine: the message as it came, and why nobody could handle it."""

import traceback
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple, Protocol
from uuid import UUID, uuid5

from dispatcher.envelope import Envelope, encode
from dispatcher.identity import NAMESPACE, bucket_of
from dispatcher.messages import Message

LONGEST_ERROR = 8_000


class Letter(NamedTuple):
    """One message in quarantine. `queue` is where it came from."""

    reason: str
    queue: str
    type: str | None
    order_id: UUID | None
    event_id: UUID | None
    body: bytes
    headers: Mapping[str, object]
    error: str
    recorded_at: datetime

    @property
    def quarantine_id(self) -> UUID:
        """The same for the same message that failed in the same place for the same reason."""
        digest = sha256(self.body).hexdigest()
        return uuid5(NAMESPACE, "\0".join((self.queue, self.reason, str(self.event_id), digest)))

    @property
    def bucket(self) -> int:
        """The order's bucket; a letter that names none lies anywhere."""
        return bucket_of(self.order_id or UUID(bytes=sha256(self.body).digest()[:16]))


class Letters(Protocol):
    """Where letters are kept; the same letter twice is kept once."""

    async def put(self, letters: Sequence[Letter]) -> None: ...


def letter(
    envelope: Envelope[Message], queue: str, reason: str, error: str, now: datetime
) -> Letter:
    """A letter about a message that was understood."""
    return Letter(
        reason=reason,
        queue=queue,
        type=envelope.type,
        order_id=envelope.subject,
        event_id=envelope.id,
        body=encode(envelope),
        headers={},
        error=error[:LONGEST_ERROR],
        recorded_at=now,
    )


def traceback_of(error: BaseException) -> str:
    """The end of the traceback, which says most."""
    return "".join(traceback.format_exception(error))[-LONGEST_ERROR:]
