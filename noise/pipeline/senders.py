"""What an inbox remembers of its senders: the next counter, and the last bundle, from which older ones are found.

Knows nothing of verification. Only sealed bundles count here; what is accepted but not sealed yet is the inbox's.
"""

import struct
from collections.abc import Iterable
from typing import NamedTuple

from noise.pipeline.writeback import Writeback
from noise.store.base import BundleRow, CacheRow, StoreCorrupt

_ROW = struct.Struct(">Qq")


class Sender(NamedTuple):
    """`next_ctr`: the smallest counter that is still free. `last_id`: bundle_id of the last bundle, or -1."""

    next_ctr: int
    last_id: int


NEW_SENDER = Sender(0, -1)


class SenderTable:
    """The senders of one lane."""

    __slots__ = ("_senders", "_writeback")

    def __init__(self) -> None:
        self._senders: dict[bytes, Sender] = {}
        self._writeback = Writeback()

    def get(self, sender: bytes) -> Sender:
        return self._senders.get(sender, NEW_SENDER)

    def load(self, rows: Iterable[CacheRow]) -> None:
        """Start from the store's copy. Raises StoreCorrupt."""
        try:
            self._senders.update((key, Sender(*_ROW.unpack(value))) for key, value in rows)
        except struct.error:
            raise StoreCorrupt(
                "a sender's row is damaged: restore the store from a backup and run noise fsck"
            ) from None

    def sealed(self, row: BundleRow) -> None:
        """A bundle became part of a manifest, now or (in a replay) once."""
        next_ctr = row.first_ctr + row.n_messages
        if next_ctr > self.get(row.sender).next_ctr:
            self._senders[row.sender] = Sender(next_ctr, row.bundle_id)
            self._writeback.changed(row.sender, row.epoch)

    def take_rows(self, next_epoch: int) -> tuple[list[CacheRow], int]:
        """(rows to write with this epoch, the epoch from which a replay must start then)."""
        rows = [CacheRow(key, _ROW.pack(*self._senders[key])) for key in self._writeback.take()]
        return rows, self._writeback.replay_epoch(next_epoch)

    def items(self) -> Iterable[tuple[bytes, Sender]]:
        return self._senders.items()
