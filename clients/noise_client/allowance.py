"""How often each peer may have something done for it in a minute.

Knows nothing of what is done.
"""

from collections.abc import Callable

_PEERS_MAX = 1024


class Allowance:
    """`count_max`: for each peer. `time_ms`: the wall clock."""

    def __init__(self, count_max: int, time_ms: Callable[[], int]) -> None:
        self._count_max = count_max
        self._time_ms = time_ms
        self._counts: dict[bytes, int] = {}
        self._minute = 0

    def has_left(self, peer: bytes) -> bool:
        """Whether the next `take` is within what the peer may."""
        self._begin_minute()
        is_room = peer in self._counts or len(self._counts) < _PEERS_MAX
        return is_room and self._counts.get(peer, 0) < self._count_max

    def take(self, peer: bytes) -> bool:
        """Whether it is still within what the peer may; it counts."""
        has_left = self.has_left(peer)
        if has_left:
            self._counts[peer] = self._counts.get(peer, 0) + 1
        return has_left

    def _begin_minute(self) -> None:
        minute = self._time_ms() // 60_000
        if minute != self._minute:
            self._minute = minute
            self._counts.clear()
