"""One order's life, told event by event, straight through the engine."""

from datetime import timedelta
from uuid import UUID

from dispatcher.engine import Instance, Recorded, Workflows, fold
from dispatcher.envelope import Envelope
from dispatcher.identity import deadline_id
from dispatcher.messages import Command, DeadlineEvent, Event
from dispatcher.order import Order
from dispatcher.workflow import Fate
from dispatcher.workflows import ALL, BORN_WITH
from tests.builders import a_birth, an_answer, an_event, an_order
from tests.fakes import Clock

LIVES = Workflows(ALL, BORN_WITH)


class Life:
    """An order that a test leads through its life in business words."""

    def __init__(self, order: Order | None = None, workflows: Workflows = LIVES) -> None:
        self.order = order or an_order()
        self.instance = Instance(self.order.order_id)
        self.records: list[Recorded] = []
        self.sent: dict[str, Envelope[Command]] = {}
        self.clock = Clock()
        self._workflows = workflows

    @property
    def about(self) -> UUID:
        return self.order.order_id

    @property
    def state(self) -> str:
        return self.instance.state

    @property
    def due(self) -> dict[str, timedelta]:
        """How long each standing deadline has to go."""
        return {n: armed.due - self.clock() for n, armed in self.instance.armed.items()}

    def record(self, *events: Envelope[Event]) -> list[Recorded]:
        """Fold these events in one batch."""
        self.instance, records = fold(self.instance, events, self._workflows, self.clock())
        self.records += records
        self.sent |= {command.type: command for r in records for command in r.commands}
        return records

    def is_placed(self) -> list[str]:
        """The names of the commands that follow."""
        return self._commands(self.record(a_birth(self.order)))

    def happens(self, fact: Event, key: str = "") -> list[str]:
        return self._commands(self.record(self.fact(fact, key)))

    def fact(self, fact: Event, key: str = "") -> Envelope[Event]:
        return an_event(fact, self.about, key or str(len(self.records)), time=self.clock())

    def answers(self, command: type[Command], answer: Event) -> list[str]:
        return self._commands(self.record(self.answer(command, answer)))

    def answer(self, command: type[Command], answer: Event) -> Envelope[Event]:
        return an_answer(self.sent[command.__name__], answer)

    def runs_out(self, deadline: type[DeadlineEvent]) -> list[str]:
        """The deadline that stands comes when it is due."""
        event = self.deadline(deadline)
        self.clock.now = max(self.clock.now, event.data.due)
        return self._commands(self.record(event))

    def deadline(self, kind: type[DeadlineEvent]) -> Envelope[DeadlineEvent]:
        standing = self.instance.armed[kind.__name__]
        data = kind(epoch=standing.epoch, due=standing.due)
        identifier = deadline_id(self.about, kind.__name__, standing.epoch)
        return an_event(data, self.about, id=identifier, fingerprint=None)

    def fate_of(self, event: Envelope[Event]) -> Fate:
        """The last word on an event, of when it came or was released."""
        fates = [r.fate for r in self.records if r.event.id == event.id]
        fates += [fate for r in self.records for e, fate in r.released if e.id == event.id]
        return fates[-1]

    def _commands(self, records: list[Recorded]) -> list[str]:
        return [command.type for record in records for command in record.commands]
