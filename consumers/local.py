"""LOCAL consumers: job, answers and inbox in one transaction with the rows that the job touches."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Protocol

from consumers.answers import answer_to
from consumers.queues import Queue
from consumers.stock import Shelf
from dispatcher.crashpoints import point
from dispatcher.envelope import Envelope, as_dict, decode
from dispatcher.identity import store_bucket
from dispatcher.inbox import Arrival, Inbox
from dispatcher.messages import Event
from dispatcher.ports import Observer
from dispatcher.rabbit.publish import Outgoing
from dispatcher.rabbit.routing import Router


class Unit(Inbox, Protocol):
    """One transaction: the inbox, and what LOCAL jobs work on."""

    def shelf(self, now: datetime) -> Shelf: ...


class Units(Protocol):
    def transaction(self) -> AbstractAsyncContextManager[Unit]:
        """Commits on leaving, rolls back on an exception."""


class LocalWork:
    """A queue's work for BatchLoop: commands in, answers to publish out."""

    def __init__(
        self,
        queue: Queue,
        units: Units,
        router: Router,
        observer: Observer,
        clock: Callable[[], datetime],
    ) -> None:
        self._queue = queue
        self._units = units
        self._router = router
        self._observer = observer
        self._clock = clock

    async def __call__(self, commands: Sequence[Envelope[Any]]) -> list[Outgoing]:
        now = self._clock()
        once = {command.id: command for command in commands}
        async with self._units.transaction() as unit:
            noted = await unit.note(
                self._queue.name, [self._arrival(command) for command in once.values()], now
            )
            new = [command for command in once.values() if noted[command.id].first_time]
            answers = await self._answer(new, unit, now) if new else []
            point(f"{self._queue.name}.commit.before")
        point(f"{self._queue.name}.commit.after")
        repeats = [decode(n.answer) for n in noted.values() if n.answer is not None]
        self._report(answers, len(repeats))
        return [self._router.now(answer) for answer in (*answers, *repeats)]

    async def _answer(
        self, commands: list[Envelope[Any]], unit: Unit, now: datetime
    ) -> list[Envelope[Event]]:
        events = await self._queue.job(commands, unit.shelf(now))
        answers = [
            answer_to(command, event, self._queue.consumer, now)
            for command, event in zip(commands, events, strict=True)
        ]
        rows = {
            (store_bucket(command.data.store_id), command.id): as_dict(answer)
            for command, answer in zip(commands, answers, strict=True)
        }
        await unit.answer(self._queue.name, rows, now)
        return answers

    def _arrival(self, command: Envelope[Any]) -> Arrival:
        return Arrival(store_bucket(command.data.store_id), command.id, command.subject)

    def _report(self, answers: Sequence[Envelope[Event]], repeated: int) -> None:
        kind = self._queue.command.__name__
        done = self._queue.answers[0]
        for answer in answers:
            result = "ok" if isinstance(answer.data, done) else "refused"
            self._observer.count("commands_total", type=kind, result=result)
            self._observer.note(
                answer.type,
                queue=self._queue.name,
                order_id=answer.subject,
                trace=answer.traceparent,
            )
        if repeated:
            self._observer.count("commands_total", repeated, type=kind, result="duplicate")
