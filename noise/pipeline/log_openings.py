"""Shows committed records together with the checkpoint that has them.

Knows nothing of who asks, or why.
"""

from collections.abc import Sequence

from noise.pipeline.epoch_log import EpochLog
from noise.protocol.evidence.openings import LogOpening
from noise.protocol.merkle import inclusion_proof
from noise.store.base import Store, StoreCorrupt


async def open_records(store: Store, log: EpochLog, epochs: Sequence[int], size: int) -> list[LogOpening]:
    """The records of `epochs`, each in the log of `size` leaves, which is committed. Raises StoreCorrupt."""
    rows = [await store.epoch_row(epoch) for epoch in (size - 1, *epochs)]
    found = [row for row in rows if row is not None]
    if len(found) != len(rows):
        raise StoreCorrupt("the log lacks a record: run noise fsck")
    around = (*epochs, size - 1)
    while not all(log.has(index) for index in around):
        await log.prepare(store, *around)
    proofs = [
        inclusion_proof(log.node, epoch, size) for epoch in epochs
    ]  # at once: others may push out what was loaded
    last, *rest = found
    return [LogOpening(last.checkpoint, row.epoch, row.record, tuple(p)) for row, p in zip(rest, proofs, strict=True)]
