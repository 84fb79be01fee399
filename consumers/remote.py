"""REMOTE consumers: many calls to partners at once, their answers committed in groups.

A command is noted with its rendered body before the first call. Whatever calls have ended while
the last commit and publish were under way is committed and published together. A delivery is let
go of when each of its commands has an answer on its way or waits in the lattice; a call that takes
long is handed over to the lattice early, so that no slow partner keeps its neighbours' batch.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any
from uuid import UUID, uuid4

from consumers.answers import answer_to
from consumers.local import Units
from consumers.queues import Queue
from consumers.under_way import Ended, Job, Limits, Parcel
from dispatcher.batches import TRIES_OF_A_BUG, Desk, Tray
from dispatcher.crashpoints import point
from dispatcher.envelope import Envelope, Unreadable, as_dict, decode, split
from dispatcher.errors import Hopeless, Transient, Trouble
from dispatcher.inbox import Arrival, Attempt, Noted
from dispatcher.letters import letter, traceback_of
from dispatcher.messages import Command, Event
from dispatcher.platform import NotDone, Throttled
from dispatcher.rabbit.delivery import Delivery
from dispatcher.rabbit.publish import Outgoing

HAND_OVER_SECONDS = 1.0
CALL_SECONDS = timedelta(seconds=15)
DRAIN_SECONDS = 12.0

Call = Callable[[Envelope[Any], bytes], Awaitable[Event]]
Render = Callable[[Sequence[Envelope[Any]]], Awaitable[list[bytes]]]


class NotForThisQueue(Hopeless):
    """Another queue's message: no job here knows what to do with it."""


class RemoteLoop:
    """Runs one REMOTE queue. `render` and `call` are the row's functions with what they need."""

    def __init__(
        self,
        desk: Desk,
        queue: Queue,
        units: Units,
        tray: Tray,
        *,
        render: Render,
        call: Call,
        destination: Callable[[Envelope[Any]], str],
        limits: Limits | None = None,
    ) -> None:
        self._desk = desk
        self._queue = queue
        self._units = units
        self._tray = tray
        self._render = render
        self._call = call
        self._destination = destination
        self._limits = limits or Limits(queue.at_once)
        self._calls: set[asyncio.Task[None]] = set()
        self._ended: list[Ended] = []
        self._something_ended = asyncio.Event()
        self._settling = asyncio.Lock()
        self._room = asyncio.Event()
        self._unclear: set[UUID] = set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Until told to stop; then what is under way may end."""
        stop = asyncio.create_task(stopping.wait())
        settler = asyncio.create_task(self._settle_for_ever())
        while not stopping.is_set():
            ready = asyncio.create_task(self._ready())
            await asyncio.wait({ready, stop, settler}, return_when=asyncio.FIRST_COMPLETED)
            if settler.done():
                settler.result()
            if ready.done():
                ready.result()
                await self._receive(self._tray.take())
            ready.cancel()
        stop.cancel()
        await self._desk.intake.hold(*self._desk.queues)
        await self._drain(settler)

    async def _drain(self, settler: asyncio.Task[None]) -> None:
        if self._calls:
            await asyncio.wait(self._calls, timeout=DRAIN_SECONDS)
        async with self._settling:
            settler.cancel()
        await asyncio.gather(settler, return_exceptions=True)
        await self._settle()
        for call in self._calls:
            call.cancel()

    async def _ready(self) -> None:
        await self._tray.ready()
        while self._limits.open >= self._limits.most_open:
            self._room.clear()
            await self._room.wait()

    async def _receive(self, deliveries: Sequence[Delivery]) -> None:
        """One transaction for all of them; each is let go of by itself."""
        held = [(delivery, await self._commands_of(delivery)) for delivery in deliveries]
        commands = {command.id: command for _, those in held for command in those}
        self._desk.taken(self._queue.name, list(commands.values()))
        noted = await self._note(list(commands.values()), deliveries) if commands else {}
        for delivery, those in held:
            mine = [command for command in those if command.id in noted]
            parcel = Parcel(delivery, len(mine))
            for command in mine:
                self._open(command, noted[command.id], parcel)
            if not mine:
                await self._let_go(delivery)

    async def _commands_of(self, delivery: Delivery) -> list[Envelope[Any]]:
        """What is to be done for it, each command once; everything else in it is seen to."""
        desk = self._desk
        try:
            if delivery.queue.endswith(".solo") and len(split(delivery.body)) > 1:
                await desk.publish_singly(delivery)
                return []
            found = desk.read(delivery)
        except Unreadable:
            await delivery.reject()
            return []
        await desk.quarantine(found.letters)
        await desk.publish(found.outgoing, [delivery])
        return await self._ours({c.id: c for c in found.envelopes}.values())

    async def _let_go(self, delivery: Delivery) -> None:
        point(f"{self._queue.name}.ack.before")
        await delivery.ack()
        point(f"{self._queue.name}.ack.after")

    async def _ours(self, envelopes: Iterable[Envelope[Any]]) -> list[Envelope[Any]]:
        """The queue's own commands; whatever else lost its way here is put aside."""
        ours = []
        for envelope in envelopes:
            if isinstance(envelope.data, self._queue.command):
                ours.append(envelope)
            else:
                await self._give_up(envelope, NotForThisQueue(f"{envelope.type} has no job here"))
        return ours

    async def _note(
        self, commands: Sequence[Envelope[Any]], deliveries: Sequence[Delivery]
    ) -> dict[Any, Noted]:
        """Rows before calls. A command that cannot be rendered must not stop its neighbours; it
        comes back when its time is up, for its answer.
        """
        try:
            noted = await self._desk.persist(lambda: self._note_all(commands), deliveries)
            return noted or {}
        except Exception as error:
            if len(commands) > 1:
                alone = [await self._note([command], deliveries) for command in commands]
                return {key: value for each in alone for key, value in each.items()}
            await self._give_up(commands[0], error)
            await self._desk.publish([self._at_the_end(commands[0])], deliveries)
            return {}

    async def _note_all(self, commands: Sequence[Envelope[Any]]) -> dict[Any, Noted]:
        in_time = [command for command in commands if not self._is_over(command)]
        rendered = await self._render(in_time) if in_time else []
        bodies = {c.id: body for c, body in zip(in_time, rendered, strict=True)}
        arrivals = [
            Arrival(command.bucket, command.id, command.subject, bodies.get(command.id))
            for command in commands
        ]
        name = self._queue.name
        over = [(command.bucket, command.id) for command in commands if self._is_over(command)]
        async with self._units.transaction() as unit:
            noted = await unit.note(name, arrivals, self._desk.clock())
            self._unclear |= await unit.unclear(over) if over else set()
            point(f"{name}.note.commit.before")
        point(f"{name}.note.commit.after")
        return noted

    def _open(self, command: Envelope[Any], noted: Noted, parcel: Parcel) -> None:
        called = command.id in self._unclear
        self._unclear.discard(command.id)
        doubt = (
            command.doubt
            or called
            or (not noted.first_time and _came_again(command, parcel.delivery))
        )
        job = Job(command, noted.body or b"", parcel, self._destination(command), doubt)
        if noted.answer is not None:
            self._end(Ended(job, repeat=decode(noted.answer)))
        elif self._is_over(command):
            self._end(Ended(job, answer=self._out_of_time(job)))
        elif self._limits.enter(job.destination):
            self._start(job)
        else:
            again = self._desk.router.later(command.again(doubt), self._wait(command))
            self._end(Ended(job, again=again))

    def _is_over(self, command: Envelope[Any]) -> bool:
        return self._desk.clock() >= self._queue.patience.until(command)

    def _rest(self, command: Envelope[Any]) -> timedelta:
        """How long it may still be tried."""
        return self._queue.patience.until(command) - self._desk.clock()

    def _wait(self, command: Envelope[Any], retry_after: float | None = None) -> timedelta:
        """How long until the next attempt; it comes back in time to be answered for."""
        wait = self._queue.patience.wait(command.attempt, retry_after)
        return min(wait, self._rest(command))

    def _at_the_end(self, command: Envelope[Any], doubt: bool = False) -> Outgoing:
        """Back when its time is up: for its one answer."""
        return self._desk.router.later(command.again(doubt), self._rest(command))

    def _out_of_time(self, job: Job) -> Event:
        kind = self._queue.unknown if job.doubt else self._queue.not_done
        assert kind is not None
        return kind()

    def _start(self, job: Job) -> None:
        loop = asyncio.get_running_loop()
        job.timer = loop.call_later(HAND_OVER_SECONDS, self._hand_over, job)
        call = loop.create_task(self._attempt(job))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    def _hand_over(self, job: Job) -> None:
        """It takes long: a copy in the lattice goes on for it if we die, and its batch can go."""
        job.handed_over = True
        copy = job.command.again(doubt=True)
        again = self._desk.router.later(copy, CALL_SECONDS)
        self._end(Ended(job, again=again, handing_over=True))

    async def _attempt(self, job: Job) -> None:
        limits = self._limits
        try:
            async with limits.slot(job.destination), limits.total:
                ended = await self._called(job)
        finally:
            limits.leave(job.destination)
            self._room.set()
        if job.timer is not None:
            job.timer.cancel()
        self._end(ended)

    async def _called(self, job: Job) -> Ended:
        name, command = self._queue.name, job.command
        if self._is_over(command):
            # It waited for its turn too long.
            return Ended(job, answer=self._out_of_time(job))
        started, clock = datetime.now(UTC), perf_counter()
        point(f"{name}.call.before")
        try:
            answer = await self._call(command, job.body)
        except Exception as error:
            seconds = perf_counter() - clock
            if self._is_worth_another_try(command, error):
                return self._again(job, error, started, seconds)
            return await self._failed(job, error, started, seconds)
        point(f"{name}.call.after")
        attempt = self._log(job, "answered", None, started, perf_counter() - clock)
        return Ended(job, answer=answer, attempt=attempt)

    def _is_worth_another_try(self, command: Envelope[Any], error: Exception) -> bool:
        """The world is not ready; or our database is in trouble; or it is a bug, a few times."""
        if isinstance(error, Hopeless):
            return False
        is_bug = not isinstance(error, Transient) and self._desk.sort(error) is Trouble.BUG
        return not is_bug or command.attempt + 1 < TRIES_OF_A_BUG

    def _again(self, job: Job, error: Exception, started: datetime, seconds: float) -> Ended:
        """Wait in the lattice. What is not surely undone stays in doubt from here on."""
        unclear = not isinstance(error, Throttled | NotDone)
        reason = type(error).__name__
        self._desk.observer.count("retries_total", queue=self._queue.name, reason=reason)
        attempt = self._log(job, "unclear" if unclear else "not_done", error, started, seconds)
        retry_after = error.retry_after if isinstance(error, Throttled) else None
        command = job.command.again(doubt=job.doubt or unclear)
        again = self._desk.router.later(command, self._wait(job.command, retry_after))
        return Ended(job, again=again, attempt=attempt)

    async def _failed(self, job: Job, error: Exception, started: datetime, seconds: float) -> Ended:
        """No retry helps, or it is a bug of ours: a person must look. The command still goes round
        to its time limit, so that it gets its one answer.
        """
        attempt = self._log(job, "failed", error, started, seconds)
        await self._give_up(job.command, error)
        return Ended(job, again=self._at_the_end(job.command, doubt=True), attempt=attempt)

    async def _give_up(self, command: Envelope[Command], error: Exception) -> None:
        reason = type(error).__name__
        why = str(error) if isinstance(error, Hopeless) else traceback_of(error)
        about = letter(command, self._queue.name, reason, why, self._desk.clock())
        await self._desk.quarantine([about])
        kind = self._queue.command.__name__
        self._desk.observer.count("commands_total", type=kind, result="quarantined")

    def _log(
        self, job: Job, outcome: str, error: Exception | None, started: datetime, seconds: float
    ) -> Attempt:
        command = job.command
        return Attempt(
            bucket=command.bucket,
            command_id=command.id,
            attempt_id=uuid4(),
            order_id=command.subject,
            destination=job.destination,
            attempt=command.attempt,
            outcome=outcome,
            status=None,
            error=None if error is None else str(error)[:500],
            started_at=started,
            seconds=seconds,
        )

    def _end(self, ended: Ended) -> None:
        self._ended.append(ended)
        self._something_ended.set()

    async def _settle_for_ever(self) -> None:
        while True:
            await self._something_ended.wait()
            async with self._settling:
                self._something_ended.clear()
                await self._settle()

    async def _settle(self) -> None:
        """Commit, publish and let go of everything that has ended by now."""
        ended, self._ended = self._ended, []
        if not ended:
            return
        await self._desk.publish(await self._written(ended))
        for parcel in self._closed(ended):
            await self._let_go(parcel.delivery)
        self._report(ended)

    async def _written(self, ended: Sequence[Ended]) -> list[Outgoing]:
        """An answer that cannot be stored must not stop its neighbours'."""
        try:
            outgoing: list[Outgoing] = await self._desk.persist(lambda: self._write(ended))
            return outgoing
        except Exception as error:
            if len(ended) > 1:
                return [out for e in ended for out in await self._written([e])]
            command = ended[0].job.command
            await self._give_up(command, error)
            return [self._at_the_end(command, doubt=True)]

    async def _write(self, ended: Sequence[Ended]) -> list[Outgoing]:
        name, now = self._queue.name, self._desk.clock()
        answers = {
            (e.job.command.bucket, e.job.command.id): answer_to(
                e.job.command, e.answer, self._queue.consumer, now
            )
            for e in ended
            if e.answer is not None
        }
        attempts = [e.attempt for e in ended if e.attempt is not None]
        standing: dict[Any, Any] = {}
        if answers or attempts:
            async with self._units.transaction() as unit:
                if answers:
                    rows = {key: as_dict(answer) for key, answer in answers.items()}
                    standing = await unit.answer(name, rows, now)
                if attempts:
                    await unit.log(name, attempts)
                point(f"{name}.answer.commit.before")
            point(f"{name}.answer.commit.after")
        mine = {answer.cause: answer for answer in answers.values()}
        events = [_standing(mine.get(key), value) for key, value in standing.items()]
        events += [e.repeat for e in ended if e.repeat is not None]
        again = [e.again for e in ended if e.again and _leaves(e)]
        return [*map(self._desk.router.now, events), *again]

    def _closed(self, ended: Iterable[Ended]) -> Iterable[Parcel]:
        """The deliveries whose last command this was. What was handed over had left already."""
        for e in ended:
            if _leaves(e):
                e.job.parcel.open_commands -= 1
                if not e.job.parcel.open_commands:
                    yield e.job.parcel

    def _report(self, ended: Sequence[Ended]) -> None:
        observer, kind = self._desk.observer, self._queue.command.__name__
        for e in ended:
            if e.repeat is not None:
                observer.count("commands_total", type=kind, result="duplicate")
            elif e.answer is None:
                observer.count("commands_total", type=kind, result="retried")
            else:
                done = isinstance(e.answer, self._queue.answers[:-1])
                observer.count("commands_total", type=kind, result="ok" if done else "refused")
                if done and self._queue.metric:
                    self._measure(e.job.command)
                observer.note(
                    type(e.answer).__name__,
                    queue=self._queue.name,
                    order_id=e.job.command.subject,
                    attempt=e.job.command.attempt,
                    trace=e.job.command.traceparent,
                )

    def _measure(self, command: Envelope[Any]) -> None:
        since: datetime = getattr(command.data, self._queue.since)
        seconds = (self._desk.clock() - since).total_seconds()
        self._desk.observer.time(self._queue.metric, seconds, channel=command.data.channel)


def _came_again(command: Envelope[Any], delivery: Delivery) -> bool:
    """Whether somebody may have called for a command that is known: the broker delivers again what
    a dead process had in hand, and a second copy may be under way elsewhere.
    """
    return delivery.redelivered or delivery.queue.endswith(".solo") or command.attempt == 0


def _leaves(ended: Ended) -> bool:
    """Whether its delivery waits for this; what was handed over has left already."""
    return ended.handing_over or not ended.job.handed_over


def _standing(mine: Envelope[Event] | None, value: dict[str, Any]) -> Envelope[Any]:
    """My answer, unless another one was there first."""
    first = value.get("data")
    return mine if mine is not None and first is mine.data else decode(value)
