"""Every released version of every workflow, and which of them orders are born with."""

from dispatcher.workflows.takeaway import TAKEAWAY_V1

ALL = (TAKEAWAY_V1,)
BORN_WITH = (TAKEAWAY_V1,)
