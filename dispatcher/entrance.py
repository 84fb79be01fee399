"""The one way in: whatever enters, pulled or pushed, is written down, then published with a
confirm, and only then may its sender be told.

A repeat of what was never confirmed is published again; a repeat of what was is not.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from dispatcher.crashpoints import point
from dispatcher.envelope import Envelope, encode
from dispatcher.identity import bucket_of, fact_id, order_id, store_bucket
from dispatcher.journal import Accepted, Entry, Journal
from dispatcher.letters import Letter, Letters
from dispatcher.messages import Event
from dispatcher.platform import Fact, Raw
from dispatcher.ports import Observer
from dispatcher.rabbit.publish import Publisher
from dispatcher.rabbit.routing import Router
from dispatcher.tracing import new_traceparent


class Entering(NamedTuple):
    """One payload and the events it became. `problem`: why it became none."""

    key: str
    fingerprint: str
    body: bytes
    events: tuple[Envelope[Event], ...]
    problem: str | None = None


class Entrance:
    """Writes down, publishes, and marks what is confirmed."""

    def __init__(
        self,
        name: str,
        journal: Journal,
        publisher: Publisher,
        router: Router,
        letters: Letters,
        observer: Observer,
        clock: Callable[[], datetime],
    ) -> None:
        self._name = name
        self._journal = journal
        self._publisher = publisher
        self._router = router
        self._letters = letters
        self._observer = observer
        self._clock = clock

    async def admit(
        self,
        source: str,
        scope: str,
        entering: Sequence[Entering],
        give_up_after: float | None = None,
    ) -> list[Accepted]:
        """Everything is safe with us when this returns. Raises BrokerUnavailable after
        `give_up_after` seconds: then the rows are there, and will be published later.
        """
        if not entering:
            return []
        entries = [_entry(source, scope, one) for one in entering]
        await self._quarantine(source, entering)
        point(f"{self._name}.accept.before")
        accepted = await self._journal.accept(entries, self._clock())
        point(f"{self._name}.accept.after")
        await self.publish([a.entry for a in accepted if a.to_publish], give_up_after)
        self._report(source, entering, accepted)
        return accepted

    async def publish(self, entries: Sequence[Entry], give_up_after: float | None = None) -> None:
        """Publish these rows' events and note that the broker has them."""
        if not entries:
            return
        outgoing = [self._router.raw_event(event) for entry in entries for event in entry.events]
        point(f"{self._name}.publish.before")
        await self._publisher.publish(outgoing, give_up_after)
        point(f"{self._name}.publish.after")
        point(f"{self._name}.marked.before")
        await self._journal.published(entries, self._clock())
        point(f"{self._name}.marked.after")

    async def _quarantine(self, source: str, entering: Sequence[Entering]) -> None:
        letters = [
            Letter("unreadable", source, None, None, None, one.body, {}, one.problem, self._clock())
            for one in entering
            if one.problem is not None
        ]
        if letters:
            point(f"{self._name}.quarantine.before")
            await self._letters.put(letters)
            point(f"{self._name}.quarantine.after")
            self._observer.count(
                "quarantined_total", len(letters), queue=self._name, reason="unreadable"
            )

    def _report(
        self, source: str, entering: Sequence[Entering], accepted: Sequence[Accepted]
    ) -> None:
        first = {(a.entry.key, a.entry.fingerprint) for a in accepted if a.first_time}
        for one in entering:
            if (one.key, one.fingerprint) in first:
                for event in one.events:
                    self._observer.note(
                        "accepted",
                        source=source,
                        type=event.type,
                        order_id=event.subject,
                        trace=event.traceparent,
                    )


def entering(channel: str, account: str, raw: Raw) -> Entering:
    """A platform's payload, its facts as events."""
    events = tuple(event_of(channel, account, fact) for fact in raw.facts)
    return Entering(raw.key, raw.fingerprint, raw.body, events, raw.problem)


def event_of(channel: str, account: str, fact: Fact) -> Envelope[Event]:
    """A platform's fact: the same id whether it was pulled or pushed."""
    about = order_id(channel, fact.channel_order_id)
    return fact_event(about, f"/{channel}/{account}", channel, fact.key, fact.event, fact.time,
                      fact.fingerprint)  # fmt: skip


def fact_event(
    about: UUID,
    source: str,
    namespace: str,
    key: str,
    event: Event,
    time: datetime,
    fingerprint: str | None,
) -> Envelope[Event]:
    """A fact from outside begins a trace."""
    return Envelope(
        id=fact_id(namespace, key),
        source=source,
        subject=about,
        instance=about,
        time=time,
        data=event,
        fingerprint=fingerprint,
        traceparent=new_traceparent(),
    )


def _entry(source: str, scope: str, one: Entering) -> Entry:
    bucket = bucket_of(one.events[0].subject) if one.events else store_bucket(one.key)
    events = tuple(encode(event) for event in one.events)
    return Entry(bucket, source, scope, one.key, one.fingerprint, one.body, events, one.problem)
