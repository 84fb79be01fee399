"""The one answer of a command: its id follows from the command's."""

from datetime import datetime

from dispatcher.envelope import Envelope
from dispatcher.identity import answer_id
from dispatcher.messages import Command, Event


def answer_to(
    command: Envelope[Command], event: Event, consumer: str, now: datetime
) -> Envelope[Event]:
    """What goes back to the dispatcher. The cause of an answer is its command."""
    return Envelope(
        id=answer_id(command.id),
        source=f"/system2/{consumer}",
        subject=command.subject,
        instance=command.instance,
        time=now,
        data=event,
        cause=command.id,
        traceparent=command.traceparent,
    )
