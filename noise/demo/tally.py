"""What the bots sent and verified, and how long that took.

Knows nothing of clients, or of how it is shown.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

_LAST_SHOWN = 8
_LATENCIES = 10_000


@dataclass
class _Way:
    """A message from the moment it was handed to its sender's client. `sent_at` is None before its receipt came."""

    sent_at: float | None = None
    n_left: int | None = None
    heard_at: list[float] = field(default_factory=list)


class Tally:
    """Counts of messages between `names`. Times are of one monotonic clock, in seconds."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.sent = 0
        self.receipts = 0
        self.verified = dict.fromkeys(names, 0)
        self.states = dict.fromkeys(names, "connecting")
        self.latencies: deque[float] = deque(maxlen=_LATENCIES)
        self.last: deque[str] = deque(maxlen=_LAST_SHOWN)
        self._ways: dict[bytes, _Way] = {}

    def note_receipt(self, seq: bytes, sent_at: float, n_recipients: int) -> None:
        """A message that was sent at `sent_at` stands at `seq`, for so many of us."""
        self.receipts += 1
        way = self._way(seq)
        way.sent_at, way.n_left = sent_at, n_recipients - len(way.heard_at)
        self.latencies.extend(at - sent_at for at in way.heard_at)
        if way.n_left <= 0:
            del self._ways[seq]

    def note_delivery(self, name: str, seq: bytes, heard_at: float, text: str) -> None:
        """One of us verified one of our messages, maybe before its receipt came."""
        self.verified[name] += 1
        self.last.append(f"{name}  <- {text}")
        way = self._way(seq)
        if way.sent_at is None or way.n_left is None:
            way.heard_at.append(heard_at)
            return
        self.latencies.append(heard_at - way.sent_at)
        way.n_left -= 1
        if way.n_left <= 0:
            del self._ways[seq]

    @property
    def is_settled(self) -> bool:
        """Whether all that has a receipt was verified by all for whom it is."""
        return all(way.sent_at is None for way in self._ways.values())

    def _way(self, seq: bytes) -> _Way:
        return self._ways.setdefault(seq, _Way())

    def percentile(self, share: float) -> str:
        ordered = sorted(self.latencies)
        return f"{1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]:.1f} ms" if ordered else "-"
