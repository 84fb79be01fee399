"""The tills themselves: what each does with a ticket, a cancellation and a repeat of either."""

import asyncio
import json
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any, NamedTuple

from ops.simulators.tills.behaviour import Behaviour, Behaviours
from ops.simulators.tills.books import Callback, Message, Status, TillBooks
from ops.simulators.tills.callbacks import Callbacks, Fact, fact


class Answer(NamedTuple):
    status: int
    body: bytes


TAKEN = Answer(200, b'{"status":"taken"}')
ACCEPTED = Answer(200, b'{"status":"accepted"}')
CANCELLED = Answer(200, b'{"status":"cancelled"}')
CANCELLED_BEFORE = Answer(409, b'{"status":"cancelled"}')
HAD_BEFORE = Answer(409, b'{"status":"taken"}')
NOTHING_TO_SAY = Answer(200, b"")
BAD_SHAPE = Answer(422, b'{"reason":"this is not a ticket message"}')


class Fleet:
    def __init__(
        self,
        behaviours: Behaviours,
        callbacks: Callbacks,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.books = TillBooks()
        self.behaviours = behaviours
        self.callbacks = callbacks
        self._clock = clock
        self._timers: set[asyncio.TimerHandle] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._served = 0

    def take(self, store: str, webhook_id: str, body: bytes, now: float) -> Answer:
        """Enters a genuine message into the books and answers as this till behaves."""
        digest = sha256(body).digest()
        self.books.counts["attempts"] += 1
        known = self.books.messages.get(webhook_id)
        if known is not None:
            known.again(digest, now)
            self.books.counts["repeated"] += 1
            return self._repeated(known)
        return self._first_time(store, webhook_id, body, digest, now)

    def _first_time(
        self, store: str, webhook_id: str, body: bytes, digest: bytes, now: float
    ) -> Answer:
        names: tuple[Any, ...]
        try:
            document = json.loads(body)
            kind, data = document["type"], document["data"]
            names = (data["ticket_id"], data["order_id"], data.get("channel_order_id", ""))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            kind, data, names = "", {}, ()
        if not names or not all(isinstance(name, str) for name in names):
            self.books.counts["bad_shape"] += 1
            return BAD_SHAPE
        if kind not in ("ticket.placed", "ticket.cancelled"):
            self.books.counts["unknown_type"] += 1
            return NOTHING_TO_SAY
        message = Message(webhook_id, kind, store, *names, digest, now, now, "taken")
        self.books.enter(message)
        decide = self._placed if kind == "ticket.placed" else self._cancelled
        return decide(message, data, self.behaviours.of(store))

    def _repeated(self, known: Message) -> Answer:
        behaviour = self.behaviours.of(known.store)
        has_it = known.type == "ticket.placed" and known.status in ("taken", "accepted", "ready")
        if has_it and behaviour.repeat_by == "409":
            return HAD_BEFORE
        return _answer(known, behaviour)

    def _placed(self, message: Message, _: dict[str, Any], behaviour: Behaviour) -> Answer:
        key = (message.store, message.ticket_id)
        if key in self.books.tombstones:
            self._settle(message, "cancelled")
        elif behaviour.mode == "refuse":
            self._settle(message, "refused", behaviour.reason)
        elif behaviour.mode == "refuse_later":
            self._later(behaviour.accept_seconds, lambda: self._refuse(message))
        elif behaviour.talks:
            self._start_cooking(message, behaviour)
        return _answer(message, behaviour)

    def _cancelled(self, message: Message, data: dict[str, Any], behaviour: Behaviour) -> Answer:
        """A ticket never seen leaves a tombstone, so that it is refused when it comes later."""
        key = (message.store, message.ticket_id)
        ticket = self.books.tickets.get(key)
        too_late = behaviour.cancel == "never" or (
            behaviour.cancel == "until_ready" and ticket is not None and ticket.status == "ready"
        )
        if ticket is not None and too_late:
            self._settle(message, "kept", "the meal is ready")
        else:
            self.books.tombstones[key] = str(data.get("reason", ""))
            self._settle(message, "cancelled")
            if ticket is not None and ticket.status != "refused":
                self._settle(ticket, "cancelled")
        return _answer(message, behaviour)

    def _start_cooking(self, message: Message, behaviour: Behaviour) -> None:
        if behaviour.mode == "accept_now":
            self._settle(message, "accepted")
        else:
            self._later(behaviour.accept_seconds, lambda: self._accept(message))
        ready_in = behaviour.accept_seconds + behaviour.cook_seconds
        self._later(ready_in, lambda: self._serve(message))

    def _accept(self, message: Message) -> None:
        if message.status == "taken":
            self._settle(message, "accepted")
            self.say(message, fact(message.store, "ticket.accepted", message.ticket_id))

    def _refuse(self, message: Message) -> None:
        if message.status == "taken":
            reason = self.behaviours.of(message.store).reason
            self._settle(message, "refused", reason)
            spoken = fact(message.store, "ticket.refused", message.ticket_id, reason=reason)
            self.say(message, spoken)

    def _serve(self, message: Message) -> None:
        if message.status == "accepted":
            self._settle(message, "ready")
            self._served += 1
            message.pickup_code = f"{'ABCDEFGH'[self._served // 1000 % 8]}{self._served % 1000:03d}"
            code = message.pickup_code
            self.say(
                message, fact(message.store, "meal.ready", message.ticket_id, pickup_code=code)
            )

    def _settle(self, message: Message, status: Status, reason: str = "") -> None:
        message.status, message.reason = status, reason
        self.books.counts[f"now_{status}"] += 1

    def say(self, message: Message | None, spoken: Fact) -> None:
        """Starts delivering a fact, twice over where this till stutters."""
        now = self._clock()
        for _ in range(2 if self.behaviours.of(spoken.store).duplicate_callbacks else 1):
            record = Callback(spoken.webhook_id, spoken.type, now)
            if message is not None:
                message.callbacks.append(record)
            self.books.counts["callbacks"] += 1
            task = asyncio.get_running_loop().create_task(self._deliver(spoken, record))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _deliver(self, spoken: Fact, record: Callback) -> None:
        await self.callbacks.deliver(spoken, record)
        well = record.done_at is not None and record.status < 300
        self.books.counts["callbacks_taken" if well else "callbacks_failed"] += 1

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        def fire() -> None:
            self._timers.discard(handle)
            act()

        handle = asyncio.get_running_loop().call_later(seconds, fire)
        self._timers.add(handle)

    def forget(self) -> None:
        """Empties the books, restores behaviours, drops what was still to be said."""
        for handle in self._timers:
            handle.cancel()
        for task in self._tasks:
            task.cancel()
        self._timers.clear()
        self.books.clear()
        self.behaviours.forget()


def _answer(message: Message, behaviour: Behaviour) -> Answer:
    """What the till says about a message it has in its books."""
    if message.type == "ticket.cancelled":
        return CANCELLED if message.status == "cancelled" else _refusal(422, message.reason)
    if message.status == "cancelled":
        return CANCELLED_BEFORE
    if message.status == "refused":
        return _refusal(int(behaviour.refuse_by), message.reason)
    return TAKEN if message.status == "taken" else ACCEPTED


def _refusal(status: int, reason: str) -> Answer:
    return Answer(status, json.dumps({"status": "refused", "reason": reason}).encode())
