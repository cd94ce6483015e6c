"""What a client makes of its provider: ok, stale, suspected or exposed, and why.

Knows nothing of how anything was found out. A suspicion is a hint: a peer's word, or something that an honest provider
has no reason for. Exposed is a proof, which strangers verify. Delivery goes on under every verdict, for as long as what
is delivered verifies.
"""

from enum import Enum
from typing import NamedTuple

REASONS_MAX = 16
"""Of each verdict: anybody can make up differences, and one is enough."""


class Verdict(Enum):
    OK = "ok"  # everything that was compared agrees
    STALE = "stale"  # nothing newer was verified for too long: the provider, or the way to it, is down or withholds
    SUSPECTED = "suspected"  # something does not fit, and nothing is proven
    EXPOSED = "exposed"  # a proof of misbehaviour is kept


class Reason(NamedTuple):
    """`code`: stable. `detail`: for a person.

    `accused`: "provider", or the one actor of it that the reason is about; empty: nobody is named.
    """

    code: str
    detail: str
    accused: str = ""


class Judgement(NamedTuple):
    """The verdict, and the reasons for it and for the lesser ones."""

    verdict: Verdict
    reasons: tuple[Reason, ...]


FINE = Judgement(Verdict.OK, ())


class Docket:
    """Reasons as they come and go. `judgement` is replaced, never changed."""

    def __init__(self) -> None:
        self.judgement = FINE
        self._reasons: dict[Verdict, dict[str, Reason]] = {
            Verdict.EXPOSED: {},
            Verdict.SUSPECTED: {},
            Verdict.STALE: {},
        }

    def add(self, verdict: Verdict, key: str, reason: Reason) -> None:
        """A reason under a known key replaces the other. Beyond REASONS_MAX of one verdict, new ones are not listed."""
        reasons = self._reasons[verdict]
        if key not in reasons and len(reasons) >= REASONS_MAX:
            return
        reasons[key] = reason
        self._renew()

    def remove(self, verdict: Verdict, key: str) -> None:
        """A reason that does not hold any more, if it was there."""
        if self._reasons[verdict].pop(key, None) is not None:
            self._renew()

    def _renew(self) -> None:
        found = [(verdict, reason) for verdict, reasons in self._reasons.items() for reason in reasons.values()]
        self.judgement = Judgement(found[0][0], tuple(reason for _, reason in found)) if found else FINE
