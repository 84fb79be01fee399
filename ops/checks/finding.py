"""What a check says: a claim that should hold, and who breaks it."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from storage.audit import MOST_OFFENDERS, Offender, Offenders


class Finding(NamedTuple):
    """One claim about the system, by name. `total` counts all that break it, `offenders` are the
    first of them; `note` gives the figures behind it.
    """

    check: str
    claim: str
    offenders: tuple[Offender, ...] = ()
    total: int = 0
    note: str = ""

    @property
    def ok(self) -> bool:
        return self.total == 0

    def as_json(self) -> dict[str, Any]:
        return {
            "check": self.check,
            "ok": self.ok,
            "claim": self.claim,
            "note": self.note,
            "total": self.total,
            "offenders": [offender._asdict() for offender in self.offenders],
        }


class Claim(NamedTuple):
    """A name, and the sentence that should be true."""

    check: str
    claim: str

    def found(self, offenders: Offenders, note: str = "") -> Finding:
        return Finding(self.check, self.claim, offenders.first, offenders.total, note)

    def broken_by(self, offenders: Iterable[Offender], note: str = "") -> Finding:
        """The same for what was compared here."""
        broken = sorted(set(offenders))
        return self.found(Offenders(tuple(broken[:MOST_OFFENDERS]), len(broken)), note)
