"""Pages of a mailbox's history for a client that was away, rebuilt from the store and checked before they leave.

Knows nothing of connections. A page is bounded in content and in records; whoever asks goes on from where it ended.
What the disk gives back must still lead to the signed roots: rot there must never look like a lie of ours.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import trio

from noise.pipeline.backlog import Backlogs
from noise.pipeline.batches import Part
from noise.pipeline.outbox import Pick, parse_picks
from noise.pipeline.stored import open_stored
from noise.protocol.delta import encode_entry, encode_own_part
from noise.protocol.envelope import Recipients
from noise.protocol.errors import NoiseError
from noise.protocol.frames import Cursor
from noise.protocol.history import HISTORY_RECORD, MailboxState
from noise.protocol.limits import PAGE_BYTES_MAX, PAGE_RECORDS_MAX
from noise.protocol.merkle import tree_root
from noise.store.base import BundleRow, HistoryRow, Store, StoreCorrupt

_BUNDLES_READ = 16  # a megabyte each at most
_PAGES_AT_ONCE = 4


class Page(NamedTuple):
    """History entries, encoded, and what goes with them. `hist_next`, `last_epoch`: where the next page starts."""

    entries: Sequence[bytes]
    recipients: dict[bytes, Recipients]
    tail_hashes: list[bytes]
    hist_next: int
    last_epoch: int


class Pages:
    """Makes pages, a few at a time, each in a worker thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._backlogs = Backlogs(store)
        self._limit = trio.Semaphore(_PAGES_AT_ONCE)

    async def load(self, state: MailboxState, cursor: Cursor) -> Page:
        """What follows a cursor in the history of a committed state. Raises Rejected or StoreCorrupt."""
        async with self._limit:
            backlog = await self._backlogs.get(state, cursor)
            next_index = min(cursor.hist_next + PAGE_RECORDS_MAX, state.hist_size)
            rows = await self._store.history_rows(state.mailbox, backlog.epochs(cursor.hist_next, next_index))
            entries: list[bytes] = []
            recipients: dict[bytes, Recipients] = {}
            content = 0
            while len(entries) < len(rows) and content < PAGE_BYTES_MAX:
                group = _next_group(rows, len(entries))
                ids = [pick.bundle_id for row in group for pick in parse_picks(row)[1]]
                bundles = await self._store.bundles_by_id(ids)
                build = partial(_build, group, bundles, cursor.hist_next + len(entries), PAGE_BYTES_MAX - content)
                made, brought, size = await trio.to_thread.run_sync(build)
                entries += made
                recipients.update(brought)
                content += size
            hist_next = cursor.hist_next + len(entries)
            cut = max(hist_next, cursor.hist_size)
            tail = await backlog.hashes(hist_next, cut) + await backlog.hashes(cut, state.hist_size)
            return Page(entries, recipients, tail, hist_next, rows[len(entries) - 1].epoch)


def _next_group(rows: Sequence[HistoryRow], first: int) -> Sequence[HistoryRow]:
    """Rows whose bundles are read together: a bounded number of bundles, one row at least."""
    n_bundles = 0
    for end in range(first, len(rows)):
        n_bundles += len(parse_picks(rows[end])[1])
        if n_bundles > _BUNDLES_READ and end > first:
            return rows[first:end]
    return rows[first:]


def _build(
    rows: Sequence[HistoryRow], bundles: dict[int, BundleRow], first_index: int, bytes_max: int
) -> tuple[list[bytes], dict[bytes, Recipients], int]:
    """(entries, their recipient lists, bytes of both), up to the entry that reaches `bytes_max`.

    All is checked that a client will check: the bundles' signatures and the records by their checksums, the messages by
    the records.
    """
    entries: list[bytes] = []
    recipients: dict[bytes, Recipients] = {}
    size = 0
    for index, row in enumerate(rows, first_index):
        if size >= bytes_max:
            break
        try:
            parts = [_part(bundles[pick.bundle_id], pick) for pick in parse_picks(row)[1]]
            record = HISTORY_RECORD.decode(row.record)
        except (KeyError, IndexError, NoiseError):
            raise StoreCorrupt(f"epoch {row.epoch} of a mailbox is damaged: run noise fsck") from None
        delta_root = tree_root([h for part in parts for h in part.leaf_hashes])
        if (record.mailbox, record.k, record.epoch, record.delta_root) != (row.mailbox, index, row.epoch, delta_root):
            raise StoreCorrupt(f"messages of epoch {row.epoch} are not what was signed: run noise fsck")
        sections = []
        for part in parts:
            own, _ = encode_own_part(part.bundle, part.indexes, row.mailbox)
            sections.append(part.section() + own)
            new = {r.root: r for r in part.recipients() if r.root not in recipients}
            recipients.update(new)
            size += sum(32 * len(r.device_ids) for r in new.values())
        entries.append(encode_entry(row.record, sections, len(sections)))
        size += len(entries[-1])
    return entries, recipients, size


def _part(row: BundleRow, pick: Pick) -> Part:
    part = Part(open_stored(row), pick.indexes)
    if part.signature_crc != pick.signature_crc:
        raise StoreCorrupt(f"the signature of bundle {row.bundle_id} is damaged: run noise fsck")
    return part
