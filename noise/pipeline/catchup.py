"""Pages of a mailbox's history for a client that was away, rebuilt from the store and checked before they leave.

Knows nothing of connections. A page is bounded in content and in records; whoever asks goes on from where it ended.
What the disk gives back must still lead to the signed roots: rot there must never look like a lie of ours.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import trio

from noise.pipeline.batches import Part
from noise.pipeline.outbox import parse_picks
from noise.pipeline.reissue import stored_bundle, stored_leaf_hashes
from noise.protocol.delta import encode_entry, encode_own_part
from noise.protocol.envelope import Recipients
from noise.protocol.errors import NoiseError, Rejected
from noise.protocol.frames import Cursor
from noise.protocol.history import HISTORY_RECORD, MailboxState
from noise.protocol.identifiers import make_seq
from noise.protocol.limits import PAGE_BYTES_MAX, PAGE_RECORDS_MAX
from noise.protocol.merkle import leaf_hash, range_hashes, tree_root
from noise.store.base import LANE_BITS, BundleRow, HistoryRow, Store, StoreCorrupt

_BUNDLES_READ = 16  # a megabyte each at most
_ROWS_READ = 1024
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
        self._limit = trio.Semaphore(_PAGES_AT_ONCE)

    async def load(self, state: MailboxState, cursor: Cursor) -> Page:
        """What follows a cursor in the history of a committed state. Raises Rejected or StoreCorrupt."""
        async with self._limit:
            epochs = await self._epochs(state, cursor)
            rows = await self._store.history_rows(state.mailbox, epochs[:PAGE_RECORDS_MAX])
            entries: list[bytes] = []
            recipients: dict[bytes, Recipients] = {}
            content = 0
            while len(entries) < len(rows) and content < PAGE_BYTES_MAX:
                group = _next_group(rows, len(entries))
                ids = [bundle_id for row in group for bundle_id, _ in parse_picks(row.picks)[1]]
                bundles = await self._store.bundles_by_id(ids)
                build = partial(_build, group, bundles, PAGE_BYTES_MAX - content)
                made, brought, size = await trio.to_thread.run_sync(build)
                entries += made
                recipients.update(brought)
                content += size
            hist_next = cursor.hist_next + len(entries)
            tail = await self._tail(state, cursor, epochs[len(entries) :], hist_next)
            return Page(entries, recipients, tail, hist_next, rows[len(entries) - 1].epoch)

    async def _epochs(self, state: MailboxState, cursor: Cursor) -> Sequence[int]:
        after = cursor.last_epoch if cursor.hist_next else -1
        epochs = await self._store.history_epochs(state.mailbox, state.last_epoch, after)
        if len(epochs) != state.hist_size - cursor.hist_next:
            raise Rejected("the cursor is not one of this mailbox", code="bad-cursor")
        return epochs

    async def _tail(self, state: MailboxState, cursor: Cursor, epochs: Sequence[int], first_index: int) -> list[bytes]:
        """Hashes that lead from the end of a page over the client's trusted state to the state's root."""
        leaves: list[bytes] = []
        for first in range(0, len(epochs), _ROWS_READ):
            rows = await self._store.history_rows(state.mailbox, epochs[first : first + _ROWS_READ])
            leaves += [leaf_hash(row.record) for row in rows]

        def node(level: int, index: int) -> bytes:
            start = (index << level) - first_index
            return tree_root(leaves[start : start + (1 << level)])

        cut = max(first_index, cursor.hist_size)
        return range_hashes(node, first_index, cut) + range_hashes(node, cut, state.hist_size)


def _next_group(rows: Sequence[HistoryRow], first: int) -> Sequence[HistoryRow]:
    """Rows whose bundles are read together: a bounded number of bundles, one row at least."""
    n_bundles = 0
    for end in range(first, len(rows)):
        n_bundles += len(parse_picks(rows[end].picks)[1])
        if n_bundles > _BUNDLES_READ and end > first:
            return rows[first:end]
    return rows[first:]


def _build(
    rows: Sequence[HistoryRow], bundles: dict[int, BundleRow], bytes_max: int
) -> tuple[list[bytes], dict[bytes, Recipients], int]:
    """(entries, their recipient lists, bytes of both), up to the entry that reaches `bytes_max`."""
    entries: list[bytes] = []
    recipients: dict[bytes, Recipients] = {}
    size = 0
    for row in rows:
        if size >= bytes_max:
            break
        try:
            parts = [_part(bundles[bundle_id], indexes) for bundle_id, indexes in parse_picks(row.picks)[1]]
            record = HISTORY_RECORD.decode(row.record)
        except (KeyError, IndexError, NoiseError):
            raise StoreCorrupt(f"epoch {row.epoch} of a mailbox is damaged: run noise fsck") from None
        if tree_root([h for part in parts for h in part.leaf_hashes]) != record.delta_root:
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


def _part(row: BundleRow, indexes: tuple[int, ...]) -> Part:
    bundle = stored_bundle(row)
    hashes = stored_leaf_hashes(row, bundle)
    lane = row.bundle_id & ((1 << LANE_BITS) - 1)
    chosen = [hashes[i] for i in indexes] if indexes else hashes
    return Part(bundle, row.bundle_id, make_seq(row.epoch, lane, row.first_pos), indexes, chosen)
