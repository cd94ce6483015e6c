"""Which rows of a table in memory its cached copy in the store still lacks, oldest change first.

Knows nothing of the rows. States change far more often than they need to be written: history and bundles are durable
already, and replaying them makes the states again. So a few rows go along with each epoch, in the order in which they
first changed, and `replay_epoch` says from where a replay must start.
"""

from typing import Final

_ROWS_MIN: Final = 16
_SHARE: Final = 8


class Writeback:
    """A queue of changed keys."""

    __slots__ = ("_first_changed",)

    def __init__(self) -> None:
        self._first_changed: dict[bytes, int] = {}

    def changed(self, key: bytes, epoch: int) -> None:
        self._first_changed.setdefault(key, epoch)

    def take(self) -> list[bytes]:
        """The keys to write now: an eighth of those that wait, and 16 at least, so that the queue stays bounded."""
        keys = list(self._first_changed)[: _ROWS_MIN + len(self._first_changed) // _SHARE]
        for key in keys:
            del self._first_changed[key]
        return keys

    def replay_epoch(self, next_epoch: int) -> int:
        """Every change before this epoch is written; `next_epoch` if nothing waits."""
        return next(iter(self._first_changed.values()), next_epoch)
