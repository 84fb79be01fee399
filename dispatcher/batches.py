"""Take what is there, do it in one transaction, publish, acknowledge: the loop that System2 and
every LOCAL consumer run.

The work is a function from messages to what must be published. Database and broker troubles are
never a message's fault: reading stops, what is in hand is held, the work is tried again in place.
A batch that fails otherwise is tried one message at a time, so that no poison holds back its
neighbours.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from pydantic_core import to_json

from dispatcher.crashpoints import point
from dispatcher.envelope import Envelope, Unreadable, decode, split
from dispatcher.errors import Hopeless, NotUnderstood, Trouble
from dispatcher.letters import Letter, Letters, letter, traceback_of
from dispatcher.messages import Message
from dispatcher.ports import Observer
from dispatcher.rabbit.consume import Intake
from dispatcher.rabbit.delivery import Delivery
from dispatcher.rabbit.errors import Unroutable
from dispatcher.rabbit.publish import Outgoing, Publisher
from dispatcher.rabbit.routing import Router

TRIES_OF_A_BUG = 3
PATIENCE = timedelta(seconds=10)
PATIENT_ATTEMPTS = 30
HOLD_SECONDS_MOST = 5.0
GIVE_BACK_AFTER_SECONDS = 600.0

Work = Callable[[Sequence[Envelope[Any]]], Awaitable[Sequence[Outgoing]]]
"""Does all of it in one transaction and says what must be published."""


class Tray(Protocol):
    """Which queues a loop reads, and how it takes from them."""

    async def ready(self) -> None: ...

    def take(self) -> list[Delivery]: ...


class Found(NamedTuple):
    """What a delivery holds: messages understood, and what is to be said about the others."""

    envelopes: list[Envelope[Message]]
    outgoing: list[Outgoing]
    letters: list[Letter]


@dataclass(slots=True, kw_only=True)
class Desk:
    """What every loop works with."""

    name: str
    queues: tuple[str, ...]
    intake: Intake
    publisher: Publisher
    router: Router
    letters: Letters
    observer: Observer
    sort: Callable[[BaseException], Trouble]
    clock: Callable[[], datetime]

    async def persist(
        self, what: Callable[[], Awaitable[Any]], deliveries: Sequence[Delivery] = ()
    ) -> Any:
        """Do it until it is done. Raises only what is the message's own fault."""
        held_since: float | None = None
        pause = 0.01
        while True:
            try:
                done = await what()
            except Exception as error:
                trouble = self._sorted(error)
                if trouble is Trouble.BUG:
                    raise
                self.observer.count("retries_total", queue=self.name, reason=trouble)
                if trouble is Trouble.HOLD and held_since is None:
                    held_since = monotonic()
                    self.observer.note("holding", queue=self.name, error=repr(error))
                    await self._tell(self.intake.hold)
                if held_since and monotonic() - held_since > GIVE_BACK_AFTER_SECONDS:
                    await self._tell(self.intake.give_back_all)
                if deliveries and all(delivery.lost for delivery in deliveries):
                    done = None
                    break
                await asyncio.sleep(pause * random.uniform(0.5, 1))
                pause = min(pause * 2, HOLD_SECONDS_MOST)
            else:
                break
        if held_since is not None:
            self.observer.note("resuming", queue=self.name, held=monotonic() - held_since)
            await self._tell(self.intake.resume)
        return done

    async def _tell(self, intake: Callable[..., Awaitable[None]]) -> None:
        """A desk without queues has none to hold; to the intake, naming none would mean all."""
        if self.queues:
            await intake(*self.queues)

    def _sorted(self, error: Exception) -> Trouble:
        """A queue that is missing is the broker's trouble: `topology apply` ends it."""
        return Trouble.HOLD if isinstance(error, Unroutable) else self.sort(error)

    async def publish(
        self, outgoing: Sequence[Outgoing], deliveries: Sequence[Delivery] = ()
    ) -> None:
        """Until the broker has it all, or somebody else has got the deliveries."""
        if outgoing:
            point(f"{self.name}.publish.before")
            await self.persist(lambda: self.publisher.publish(outgoing), deliveries)
            point(f"{self.name}.publish.after")

    async def publish_singly(self, delivery: Delivery) -> None:
        """The events of a batch that must be tried alone, back behind their queue. One after the
        other: those published at once travel as one batch, and would come back as what they were.
        """
        queue = delivery.queue.removesuffix(".solo")
        for event in split(delivery.body):
            await self.publish([self.router.solo(queue, to_json(event))], [delivery])

    def read(self, delivery: Delivery) -> Found:
        """What it holds. Raises Unreadable when nothing in it can be told apart."""
        found = Found([], [], [])
        for event in split(delivery.body):
            try:
                found.envelopes.append(decode(event))
            except NotUnderstood as newer:
                self._be_patient(event, delivery.queue, newer, found)
            except Unreadable as error:
                found.letters.append(self._raw_letter(event, delivery.queue, "unreadable", error))
        return found

    def _be_patient(
        self, event: dict[str, Any], queue: str, newer: NotUnderstood, found: Found
    ) -> None:
        """During a rolling deploy the new message meets the old process: try again later."""
        said = event.get("attempt", 0)
        attempt = said + 1 if isinstance(said, int) else PATIENT_ATTEMPTS + 1
        if attempt > PATIENT_ATTEMPTS:
            found.letters.append(self._raw_letter(event, queue, "not_understood", newer))
            return
        self.observer.count("retries_total", queue=self.name, reason="not_understood")
        again = to_json({**event, "attempt": attempt})
        found.outgoing.append(self.router.raw_later(self._target(queue), again, PATIENCE))

    def _target(self, queue: str) -> str:
        prefix = f"{self.router.topology.namespace}."
        return queue.removeprefix(prefix).removesuffix(".solo")

    def _raw_letter(
        self, event: dict[str, Any], queue: str, reason: str, error: Exception
    ) -> Letter:
        kind = event.get("type")
        now = self.clock()
        about, itself = _uuid(event.get("subject")), _uuid(event.get("id"))
        return Letter(
            reason, queue, str(kind)[:100], about, itself, to_json(event), {}, str(error), now
        )

    async def quarantine(self, letters: Sequence[Letter]) -> None:
        if not letters:
            return
        point(f"{self.name}.quarantine.before")
        await self.persist(lambda: self.letters.put(letters))
        point(f"{self.name}.quarantine.after")
        for lost in letters:
            self.observer.count("quarantined_total", queue=lost.queue, reason=lost.reason)
            self.observer.note(
                "quarantined",
                queue=lost.queue,
                reason=lost.reason,
                type=lost.type,
                order_id=lost.order_id,
                error=lost.error[-300:],
            )

    def taken(self, queue: str, envelopes: Sequence[Envelope[Message]]) -> None:
        now = self.clock()
        self.observer.time("batch_size", len(envelopes), queue=queue)
        for envelope in envelopes:
            if not envelope.attempt:
                waited = (now - envelope.time).total_seconds()
                self.observer.time("message_wait_seconds", max(waited, 0), queue=queue)


class BatchLoop:
    """Runs `work` over what a tray brings, for ever; `stop` lets the batch in hand end."""

    def __init__(self, desk: Desk, tray: Tray, work: Work) -> None:
        self._desk = desk
        self._tray = tray
        self._work = work

    async def run(self, stopping: asyncio.Event) -> None:
        stop = asyncio.create_task(stopping.wait())
        while not stopping.is_set():
            ready = asyncio.create_task(self._tray.ready())
            await asyncio.wait({ready, stop}, return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                ready.result()
                await self.once()
            ready.cancel()
        await self._desk.intake.hold(*self._desk.queues)
        stop.cancel()

    async def once(self) -> None:
        """One batch, from taking to acknowledging."""
        deliveries = self._tray.take()
        if not deliveries:
            return
        started = monotonic()
        desk = self._desk
        found = await self._open(deliveries)
        desk.taken(desk.name, found.envelopes)
        outgoing = found.outgoing
        if found.envelopes:
            outgoing = [*outgoing, *await self._do(found.envelopes, deliveries)]
        await desk.quarantine(found.letters)
        await desk.publish(outgoing, deliveries)
        point(f"{desk.name}.ack.before")
        for delivery in deliveries:
            await delivery.ack()
        point(f"{desk.name}.ack.after")
        desk.observer.time("processing_seconds", monotonic() - started, queue=desk.name)

    async def _open(self, deliveries: Iterable[Delivery]) -> Found:
        """All that these hold together. What cannot be read at all goes on to be tried alone, and
        from there to the quarantine queue. A batch that must be tried alone is split first.
        """
        whole = Found([], [], [])
        for delivery in deliveries:
            try:
                if delivery.queue.endswith(".solo") and len(split(delivery.body)) > 1:
                    await self._desk.publish_singly(delivery)
                    continue
                found = self._desk.read(delivery)
            except Unreadable:
                await delivery.reject()
                continue
            for all_, these in zip(whole, found, strict=True):
                all_ += these  # type: ignore[operator]
        return whole

    async def _do(
        self, envelopes: Sequence[Envelope[Message]], deliveries: Sequence[Delivery], tries: int = 1
    ) -> list[Outgoing]:
        desk = self._desk
        try:
            done = await desk.persist(lambda: self._work(envelopes), deliveries)
            return list(done or ())
        except Exception as error:
            if len(envelopes) > 1:
                return [out for e in envelopes for out in await self._do([e], deliveries)]
            return await self._alone(envelopes[0], deliveries, tries, error)

    async def _alone(
        self,
        envelope: Envelope[Message],
        deliveries: Sequence[Delivery],
        tries: int,
        error: Exception,
    ) -> list[Outgoing]:
        """One message that fails by itself: patience, a few more tries, or quarantine."""
        desk = self._desk
        if isinstance(error, NotUnderstood) and envelope.attempt < PATIENT_ATTEMPTS:
            return [desk.router.later(envelope.again(), PATIENCE)]
        if tries < TRIES_OF_A_BUG and not isinstance(error, Hopeless):
            await asyncio.sleep(0.05 * tries)
            return await self._do([envelope], deliveries, tries + 1)
        reason = type(error).__name__
        about = letter(envelope, desk.name, reason, traceback_of(error), desk.clock())
        await desk.quarantine([about])
        return []


class OneQueue:
    """A queue, as many of its messages at a time as are there, up to a limit."""

    def __init__(self, intake: Intake, queue: str, most_events: int = 400) -> None:
        self._intake = intake
        self._queue = queue
        self._most = most_events

    async def ready(self) -> None:
        await self._intake.ready(self._queue)

    def take(self) -> list[Delivery]:
        return self._intake.take(self._queue, most_events=self._most)


class Alone:
    """Queues whose messages are tried one at a time, because together they failed."""

    def __init__(self, intake: Intake, queues: Sequence[str]) -> None:
        self._intake = intake
        self._queues = queues

    async def ready(self) -> None:
        await self._intake.ready(*self._queues)

    def take(self) -> list[Delivery]:
        for queue in self._queues:
            if taken := self._intake.take(queue, most_messages=1):
                return taken
        return []


class TwoLanes:
    """Facts first: a pickup code must not wait behind a noon flood of new orders. While facts wait,
    births get one place in four, so that they are never starved; and no more, because each birth
    brings further facts, behind which the code would wait as well.
    """

    def __init__(
        self, intake: Intake, facts: Sequence[str], births: Sequence[str], most_events: int = 400
    ) -> None:
        self._intake = intake
        self._facts = facts
        self._births = births
        self._most = most_events
        self._credit = most_events // 4

    async def ready(self) -> None:
        await self._intake.ready()

    def take(self) -> list[Delivery]:
        births_wait = any(self._intake.in_hand(queue) for queue in self._births)
        quarter = self._most // 4
        taken = self._take(self._facts, self._most - quarter if births_wait else self._most)
        facts = sum(delivery.events for delivery in taken)
        self._credit = min(self._credit + facts // 3, quarter) if facts else quarter
        births = self._take(self._births, self._credit) if self._credit > 0 else []
        self._credit -= sum(delivery.events for delivery in births)
        return taken + births

    def _take(self, queues: Sequence[str], most: int) -> list[Delivery]:
        taken: list[Delivery] = []
        for queue in queues:
            left = most - sum(delivery.events for delivery in taken)
            if left > 0:
                taken += self._intake.take(queue, most_events=left)
        return taken


def _uuid(said: object) -> UUID | None:
    """As much of a message that was not understood as can be told."""
    try:
        return UUID(str(said))
    except ValueError:
        return None
