"""The envelope around every message: CloudEvents 1.0, structured JSON, alone or in a batch.

Ours are strict: an unknown type, version or field raises NotUnderstood, which is met with
patience, because during a rolling deploy the newer process may speak first.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Generic, NotRequired, Self, TypeVar
from uuid import UUID

from pydantic import AwareDatetime, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json
from typing_extensions import TypedDict

from dispatcher import messages
from dispatcher.errors import Hopeless, NotUnderstood
from dispatcher.identity import bucket_of

BATCH = "application/cloudevents-batch+json"
SINGLE = "application/cloudevents+json"
TYPE_PREFIX = "system2."

M = TypeVar("M", bound=messages.Message, covariant=True)


class Unreadable(Hopeless):
    """This is no CloudEvent of ours at all."""


def _vocabulary(base: type[messages.Message]) -> Iterator[type[messages.Message]]:
    for kind in base.__subclasses__():
        yield kind
        yield from _vocabulary(kind)


TYPES: dict[str, type[messages.Message]] = {
    kind.__name__: kind
    for base in (messages.Event, messages.Command, messages.PullOrders)
    for kind in (base, *_vocabulary(base))
    if not kind.__subclasses__()
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope(Generic[M]):
    """One message on its way. `subject` is the order id (its bucket follows from it); `instance`
    is the workflow instance; `cause` is the id of the event or command that led to this one.
    `attempt` counts from 0; past `expires` a command is answered without being tried; `doubt`: an
    earlier attempt may have done it.
    """

    id: UUID
    source: str
    subject: UUID
    instance: UUID
    time: datetime
    data: M
    cause: UUID | None = None
    attempt: int = 0
    doubt: bool = False
    expires: datetime | None = None
    fingerprint: str | None = None
    traceparent: str | None = None

    @property
    def type(self) -> str:
        return type(self.data).__name__

    @property
    def bucket(self) -> int:
        return bucket_of(self.instance)

    @property
    def key(self) -> tuple[int, UUID]:
        """What batches are sorted by: bucket, then instance."""
        return bucket_of(self.instance), self.instance

    def again(self, doubt: bool = False) -> Self:
        """The same message, to be tried once more."""
        return replace(self, attempt=self.attempt + 1, doubt=self.doubt or doubt)


def encode(envelope: Envelope[messages.Message]) -> bytes:
    """One CloudEvent as JSON."""
    return to_json(as_dict(envelope))


def as_dict(envelope: Envelope[messages.Message]) -> dict[str, Any]:
    """The CloudEvent's attributes, absent ones left out."""
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": envelope.id,
        "source": envelope.source,
        "type": TYPE_PREFIX + envelope.type,
        "dataschema": f"urn:system2:{envelope.type}:{envelope.data.version}",
        "subject": envelope.subject,
        "time": envelope.time,
        "data": envelope.data,
    }
    if envelope.instance != envelope.subject:
        event["instance"] = envelope.instance
    if envelope.cause is not None:
        event["causationid"] = envelope.cause
    if envelope.attempt:
        event["attempt"] = envelope.attempt
    if envelope.doubt:
        event["doubt"] = True
    if envelope.expires is not None:
        event["expires"] = envelope.expires
    if envelope.fingerprint is not None:
        event["fingerprint"] = envelope.fingerprint
    if envelope.traceparent is not None:
        event["traceparent"] = envelope.traceparent
    return event


def split(body: bytes) -> list[dict[str, Any]]:
    """The CloudEvents in a body, single or batch, not yet understood. Raises Unreadable."""
    try:
        found = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise Unreadable(f"the body is no JSON: {error}") from None
    events = found if isinstance(found, list) else [found]
    if not events or not all(isinstance(event, dict) for event in events):
        raise Unreadable("the body holds no CloudEvents")
    return events


class _Attributes(TypedDict):
    """The attributes of a CloudEvent that an envelope is made of; others are ignored."""

    __pydantic_config__ = ConfigDict(extra="ignore")  # type: ignore[misc]

    id: UUID
    source: str
    subject: UUID
    time: AwareDatetime
    instance: NotRequired[UUID]
    causationid: NotRequired[UUID]
    attempt: NotRequired[int]
    doubt: NotRequired[bool]
    expires: NotRequired[AwareDatetime]
    fingerprint: NotRequired[str]
    traceparent: NotRequired[str]


_ATTRIBUTES = TypeAdapter(_Attributes)


def decode(event: dict[str, Any]) -> Envelope[messages.Message]:
    """One CloudEvent understood. Raises NotUnderstood (newer than us) or Unreadable (not ours)."""
    kind = _kind(event)
    try:
        said = _ATTRIBUTES.validate_python(event)
        data = kind.model_validate(event.get("data"))
    except ValidationError as error:
        if any(problem["type"] == "extra_forbidden" for problem in error.errors()):
            raise NotUnderstood(f"{kind.__name__} has a field we do not know: {error}") from None
        raise Unreadable(f"{kind.__name__} {event.get('id')}: {error}") from None
    subject = said["subject"]
    return Envelope(
        id=said["id"],
        source=said["source"],
        subject=subject,
        instance=said.get("instance", subject),
        time=said["time"],
        data=data,
        cause=said.get("causationid"),
        attempt=said.get("attempt", 0),
        doubt=said.get("doubt", False),
        expires=said.get("expires"),
        fingerprint=said.get("fingerprint"),
        traceparent=said.get("traceparent"),
    )


def _kind(event: dict[str, Any]) -> type[messages.Message]:
    name = str(event.get("type", "")).removeprefix(TYPE_PREFIX)
    kind = TYPES.get(name)
    if event.get("specversion") != "1.0" or not name:
        raise Unreadable("this is no CloudEvent 1.0")
    if kind is None:
        raise NotUnderstood(f"nobody here knows the message type {name!r}")
    schema = f"urn:system2:{name}:{kind.version}"
    if event.get("dataschema", schema) != schema:
        raise NotUnderstood(f"{name} comes as {event['dataschema']}, we know {schema}")
    return kind
