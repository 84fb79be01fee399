"""The pull tick as a message: producers seed it, and the pull job sends the next one."""

from datetime import datetime
from uuid import uuid4

from dispatcher.engine import SOURCE
from dispatcher.envelope import Envelope
from dispatcher.identity import NAMESPACE
from dispatcher.messages import PullOrders


def tick(
    channel: str, account: str, scope: str, generation: int, now: datetime
) -> Envelope[PullOrders]:
    """A tick of this generation. Its id is new each time: a copy is not the tick that moved."""
    return Envelope(
        id=uuid4(),
        source=SOURCE,
        subject=NAMESPACE,
        instance=NAMESPACE,
        time=now,
        data=PullOrders(channel=channel, account=account, scope=scope, generation=generation),
    )
