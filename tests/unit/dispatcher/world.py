"""A whole small world, led by one seed: customers, a platform, a till, stock, a broker that loses
nothing but repeats and reorders everything, and a dispatcher that dies at the worst moments.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import timedelta
from random import Random
from typing import Any
from uuid import UUID

from consumers.answers import answer_to
from consumers.queues import QUEUES
from dispatcher.engine import Instance, Workflows
from dispatcher.envelope import Envelope, decode, encode, split
from dispatcher.loop import Dispatcher, Owed, delay_of
from dispatcher.messages import (
    CancelTicket,
    DeductStock,
    DetailsCompleted,
    Event,
    MealReady,
    OperatorClosed,
    OrderCancelled,
    OrderCompleted,
    OrderPlaced,
    PushTicket,
    ReturnStock,
    StockDeducted,
    StockReturned,
    StockShort,
    TicketRefused,
)
from dispatcher.workflow import UNBORN
from tests.builders import an_event, an_order
from tests.fakes import Clock, CountingObserver, Crash, FakeStore, run

JOBS = {row.command.__name__: row for row in QUEUES}
ENOUGH = 3_000


class World:
    """Some orders and everything that can happen to them."""

    def __init__(
        self,
        seed: int,
        workflows: Workflows,
        dispatcher: type[Dispatcher] = Dispatcher,
        orders: int = 2,
    ) -> None:
        self.chance = Random(seed)
        self.clock = Clock()
        self.observer = CountingObserver()
        self.store = FakeStore()
        self.workflows = workflows
        self.dispatcher = dispatcher(self.store, workflows, self.observer, self.clock)
        self.orders = [an_order(f"{seed}-{number}") for number in range(orders)]
        self.to_come: list[Envelope[Event]] = []
        self.in_queue: list[Envelope[Event]] = []
        self.in_lattice: list[tuple[Any, Envelope[Any]]] = []
        self.to_do: list[Envelope[Any]] = []
        self.known: dict[UUID, Envelope[Any]] = {}
        self.inbox: dict[UUID, Envelope[Event]] = {}
        self.heard: defaultdict[UUID, set[type[Event]]] = defaultdict(set)
        self.held: Counter[UUID] = Counter()
        self.given_up: set[UUID] = set()
        self.pushed: set[UUID] = set()
        self.crashes: Counter[str] = Counter()
        self.pace = [self.chance.choice((0.3, 1, 3, 6)) for _ in range(5)]
        self.slowness = self.chance.choice((0, 0.8, 0.95))
        for order in self.orders:
            self._plan(order)

    def live(self) -> None:
        """A while of anything at any time, then everything that is under way comes to its end."""
        for _ in range(self.chance.randrange(20, 120)):
            self._something()
        self._come_to_rest()

    # -- what happens --------------------------------------------------------------------------

    def _plan(self, order: Any) -> None:
        """What customer and platform will do, in whatever order it arrives here."""
        about, chance = order.order_id, self.chance.random
        facts: list[Event] = []
        if chance() < 0.95:
            facts.append(OrderPlaced(order=order))
        if chance() < 0.2:
            facts.append(DetailsCompleted(order=order))
        if chance() < 0.3:
            facts.append(OrderCancelled(reason="changed my mind"))
        if chance() < 0.4:
            facts.append(OrderCompleted())
        if chance() < 0.03:
            facts.append(OperatorClosed(reason="tidy", operator="li"))
        self.to_come += [an_event(fact, about, time=self.clock()) for fact in facts]

    def _something(self) -> None:
        kinds = (self._fact_comes, self._deliver, self._work, self._time_passes, self._repeat)
        self.chance.choices(kinds, self.pace)[0]()

    def _fact_comes(self) -> None:
        """Births come first where customers are slow to change their mind."""
        if self.to_come:
            event = self._any_of(self.to_come)
            slow = event.type != "OrderPlaced" and self.chance.random() < self.slowness
            (self.to_come if slow else self.in_queue).append(event)

    def _repeat(self) -> None:
        """The broker, or who told us, says it twice."""
        for place in (self.in_queue, self.to_do):
            if place:
                place.append(self.chance.choice(place))

    def _time_passes(self, by: timedelta | None = None) -> None:
        self.clock.move(by or timedelta(seconds=self.chance.choice((0.2, 3, 40, 300, 2_000))))
        # A clock that steps lets a deadline out before its time.
        hasty = timedelta(seconds=30 if self.chance.random() < 0.1 else 0)
        out = [pair for pair in self.in_lattice if pair[0] <= self.clock() + hasty]
        self.in_lattice = [pair for pair in self.in_lattice if pair not in out]
        self.in_queue += [event for _, event in out]

    # -- System2 -------------------------------------------------------------------------------

    def _deliver(self, dying: bool = True) -> None:
        """One batch; whoever dies before the acknowledgement gets it again."""
        if not self.in_queue:
            return
        size = self.chance.randrange(1, 6)
        batch = [self._any_of(self.in_queue) for _ in range(min(size, len(self.in_queue)))]
        fates = ("well", "before commit", "before publish", "while publishing", "before ack")
        weights = (20, 1, 1, 1, 1) if dying else (1, 0, 0, 0, 0)
        how = self.chance.choices(fates, weights)[0]
        self.crashes[how] += 1
        self.store.crash_at_commit = how == "before commit"
        try:
            owed = run(self.dispatcher.dispatch(batch))
        except Crash:
            self.in_queue += batch
            return
        finally:
            self.store.crash_at_commit = False
        if how == "while publishing":
            half = len(owed.commands) // 2
            owed = Owed(owed.commands[half:], owed.deadlines[:1])
        if how != "before publish":
            self._publish(owed)
        if how != "well":
            self.in_queue += batch

    def _deliver_well(self) -> None:
        self._deliver(dying=False)

    def _publish(self, owed: Owed) -> None:
        for command in owed.commands:
            before = self.known.setdefault(command.id, command)
            assert before == command, f"{command.type} has changed since"
            self.to_do.append(over_the_wire(command))
        for event in owed.deadlines:
            at = self.clock() + delay_of(event, self.clock())
            self.in_lattice.append((at, over_the_wire(event)))

    # -- stock, till and platform --------------------------------------------------------------

    def _work(self) -> None:
        if not self.to_do:
            return
        command = self._any_of(self.to_do)
        if command.id not in self.inbox:
            if isinstance(command.data, PushTicket) and command.subject not in self.pushed:
                self._till_has_it(command.subject)
                if self.chance.random() < 0.5:
                    self.to_do.append(command)  # it calls back before our call has ended
                    return
            event = self._answer(command)
            self.heard[command.subject].add(type(event))
            self.inbox[command.id] = answer_to(command, event, "world", self.clock())
        self.in_queue.append(over_the_wire(self.inbox[command.id]))

    def _till_has_it(self, about: UUID) -> None:
        self.pushed.add(about)
        later = JOBS["PushTicket"].later
        for number in range(self.chance.choice((0, 1, 1, 2, 3))):
            kind = self.chance.choices(later, (2, 1, 2))[0]
            event = MealReady(pickup_code="17") if kind is MealReady else kind()
            self.to_come.append(an_event(event, about, str(number), time=self.clock()))
            self.heard[about].add(kind)

    def _answer(self, command: Envelope[Any]) -> Event:
        about = command.subject
        if isinstance(command.data, DeductStock):
            if about in self.given_up or self.chance.random() < 0.15:
                return StockShort(skus=("NOODLE-BEEF",))
            self.held[about] += 1
            return StockDeducted()
        if isinstance(command.data, ReturnStock):
            self.held[about] = 0
            self.given_up.add(about)
            return StockReturned()
        answers = JOBS[command.type].all_answers
        return self.chance.choices(answers, (4, 2, 1, 1)[: len(answers)])[0]()

    # -- the end -------------------------------------------------------------------------------

    def _come_to_rest(self) -> None:
        places = (
            (self.to_come, self._fact_comes),
            (self.in_queue, self._deliver_well),
            (self.to_do, self._work),
        )
        for _ in range(ENOUGH):
            if acts := [act for place, act in places if place]:
                self.chance.choice(acts)()
            elif self.in_lattice:
                self._time_passes(min(at for at, _ in self.in_lattice) - self.clock())
            elif not self._operator_closes():
                return
        raise AssertionError("the world does not come to rest")

    def _operator_closes(self) -> bool:
        waiting = [i for i in self.instances() if i.state == "NEEDS_HELP"]
        for instance in waiting:
            event = OperatorClosed(reason="looked after", operator="zhang")
            self.to_come.append(an_event(event, instance.instance_id, "by hand"))
        return bool(waiting)

    def instances(self) -> Sequence[Instance]:
        return list(self.store.instances.values())

    def _any_of(self, place: list[Any]) -> Any:
        return place.pop(self.chance.randrange(len(place)))

    def ended_unfulfilled(self, about: UUID) -> bool:
        return self.store.instances[about].state not in (UNBORN, "DONE")

    def left_at_the_till(self, about: UUID) -> bool:
        """Whether the till may cook a ticket that it neither refused nor was told to stop."""
        told = any(
            isinstance(c.data, CancelTicket) and c.subject == about for c in self.known.values()
        )
        return about in self.pushed and not told and TicketRefused not in self.heard[about]


def over_the_wire(message: Envelope[Any]) -> Envelope[Any]:
    """What the other side reads."""
    (event,) = split(encode(message))
    read = decode(event)
    assert read == message
    return read
