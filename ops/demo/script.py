"""What customers order and what goes wrong meanwhile: the demo's plot, as tables.

Moments are shares of the time in which customers order, so that a longer demo has the same plot.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

PLATFORMS = ("meituan", "opendelivery")
SCARCE_STORE, SCARCE_ITEM, SCARCE_QUANTITY = "S010", "DUMPLING-VEG", 6
FOREIGN_ITEM = "SEASONAL-SOUP"

Body = Mapping[str, Any]


class Cast(Protocol):
    """Who can be told what to do."""

    async def tell(self, member: str, path: str, body: Body) -> Any:
        """Something for the `/_sim` desk of a simulator."""

    async def kill_and_restart(self, member: str) -> float:
        """SIGKILL, and a new start at once; how many seconds until it was ready."""


Act = Callable[[Cast], Awaitable[str | None]]
"""What is done; it may give a sentence for when it is."""


class Cue(NamedTuple):
    """At this moment, this is said and done."""

    at: float
    says: str
    act: Act


def till(store: str, mode: str, **how: Any) -> Act:
    """How a store's till behaves from now on."""

    async def ask(cast: Cast) -> None:
        await cast.tell("tills", "behaviour", {"store": store, "mode": mode, **how})

    return ask


def killed(member: str) -> Act:
    async def kill(cast: Cast) -> str:
        seconds = await cast.kill_and_restart(member)
        return f"{member} is back after {seconds:.1f} s"

    return kill


def unreliable(rate: float) -> Act:
    """This share of all answers of both platforms goes wrong in each way, from now on."""
    return _faults(*({"kind": kind, "rate": rate} for kind in WAYS))


def overloaded(calls: int) -> Act:
    """Both platforms turn away so many calls."""
    return _faults({"kind": "429", "next": calls})


def _faults(*faults: Body) -> Act:
    async def arm(cast: Cast) -> None:
        for platform in PLATFORMS:
            for fault in faults:
                await cast.tell(platform, "faults", fault)

    return arm


WAYS = ("500", "truncated", "lost_answer", "slow")

# fmt: off
CUES = (
    Cue(0.00, "Both platforms have a bad day: 4 % of their answers fail, are cut, lost or late",
        unreliable(0.01)),
    Cue(0.03, "S019's till stutters: every callback comes twice",
        till("S019", "accept", duplicate_callbacks=True)),
    Cue(0.08, "S004 refuses: the kitchen is closing", till("S004", "refuse")),
    Cue(0.12, "S013 falls silent: takes tickets, says nothing", till("S013", "silent")),
    Cue(0.18, "S015 loses its answers: has the ticket, hangs up", till("S015", "lost_answer")),
    Cue(0.24, "S017 is slow: 2 s to answer", till("S017", "slow", seconds=2.0)),
    Cue(0.28, "Both platforms have too many calls, and turn some away (429)", overloaded(2)),
    Cue(0.35, "dispatcher-1 is killed (SIGKILL)", killed("dispatcher-1")),
    Cue(0.45, "S008 is down", till("S008", "down")),
    Cue(0.48, "S013 speaks again", till("S013", "accept")),
    Cue(0.52, "S004 is open again", till("S004", "accept")),
    Cue(0.60, "S008 is back", till("S008", "accept")),
    Cue(0.65, "pos, which pushes all tickets, is killed (SIGKILL)", killed("pos")),
    Cue(0.75, "S011 thinks it over, then refuses", till("S011", "refuse_later")),
    Cue(0.90, "S011 is itself again", till("S011", "accept")),
)
# fmt: on


class Wishes(NamedTuple):
    """What one platform's customers do: rushes, which the platform places by itself, and single
    orders, each with the moment it is placed.
    """

    rushes: tuple[Body, ...]
    singles: tuple[tuple[float, Body], ...]


def wishes(orders: int, seconds: float) -> Wishes:
    """This many orders in this time. Some customers change their mind, early or late."""
    singles = tuple(_singles(orders))
    rest = orders - len(singles)
    early = rest // 2
    rushes = [
        {"count": count, "per_second": count / seconds, "cancel_after": after, **HABITS}
        for count, after in ((early, 0.7), (rest - early, 3.0))
        if count
    ]
    return Wishes(tuple(rushes), singles)


HABITS: Body = {"cancel_rate": 0.03, "duplicate_rate": 0.02}


def _singles(orders: int) -> Iterator[tuple[float, Body]]:
    """Orders that must not be missing from any demo."""
    scarce = {"sku": SCARCE_ITEM, "quantity": SCARCE_QUANTITY // 2}
    unusual: tuple[tuple[float, Body], ...] = (
        (0.20, {"lines": [{"sku": FOREIGN_ITEM}, {"sku": "NOODLE-BEEF"}]}),
        (0.30, {"store": SCARCE_STORE, "lines": [scarce]}),
        (0.40, {"degraded": 1}),
        (0.50, {"store": SCARCE_STORE, "lines": [scarce]}),
        (0.55, {"degraded": 2}),
        (0.70, {"store": SCARCE_STORE, "lines": [scarce]}),
    )
    yield from unusual[:orders]


def chain_text(example: str) -> str:
    """The example's chain, but one store has next to nothing left of one item."""
    return (
        f'{example}\n[[stock]]\nstore = "{SCARCE_STORE}"\nsku = "{SCARCE_ITEM}"\n'
        f"quantity = {SCARCE_QUANTITY}\n"
    )
