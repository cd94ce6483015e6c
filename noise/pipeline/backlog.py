"""Where a mailbox's records are, remembered while somebody pages through them.

Knows nothing of messages. Rows are keyed by epoch and each names the one before it, so finding a backlog takes a walk
over all of it: once, and not again for every page. The same goes for the hashes that lead from a page to the signed
root. All of it can be forgotten at any time.
"""

from array import array
from collections import OrderedDict
from typing import Final

from noise.pipeline.outbox import check_record
from noise.protocol.errors import Rejected
from noise.protocol.frames import Cursor
from noise.protocol.history import HISTORY_RECORD, MailboxState
from noise.protocol.merkle import leaf_hash, subtree_spans, tree_root
from noise.store.base import Store, StoreCorrupt

BLOCK_LEVEL: Final = 8
_BLOCK_SIZE: Final = 1 << BLOCK_LEVEL

RECORDS_REMEMBERED_MAX: Final = 4_000_000
"""Records of all mailboxes together, 8 bytes each, and the one that is being paged through however long it is."""


class Backlog:
    """Records from `first_index` to `next_index` of one mailbox: their epochs, and the roots of blocks of 256."""

    __slots__ = ("_epochs", "_roots", "_store", "first_index", "mailbox")

    def __init__(self, store: Store, mailbox: bytes, first_index: int, epochs: "array[int]") -> None:
        self._store = store
        self.mailbox = mailbox
        self.first_index = first_index
        self._epochs = epochs
        self._roots: dict[int, bytes] = {}

    @property
    def next_index(self) -> int:
        return self.first_index + len(self._epochs)

    def epochs(self, first_index: int, next_index: int) -> "array[int]":
        """The epochs of some of its records."""
        return self._epochs[first_index - self.first_index : next_index - self.first_index]

    async def extend(self, state: MailboxState) -> None:
        """Up to the last record of a newer state. Raises StoreCorrupt."""
        while self.next_index < state.hist_size:
            known = self.next_index
            new = await self._store.history_epochs(self.mailbox, state.last_epoch, self._epochs[-1])
            if len(new) != state.hist_size - known:
                raise StoreCorrupt("a mailbox has another number of records than its state: run noise fsck")
            if self.next_index == known:  # else somebody extended it meanwhile, though perhaps not as far
                self._epochs.extend(new)

    async def hashes(self, first_index: int, next_index: int) -> list[bytes]:
        """What extends a compact range of the history from one size to another."""
        return [await self._hash(level, index) for level, index in subtree_spans(first_index, next_index)]

    async def _hash(self, level: int, index: int) -> bytes:
        first, count = index << level, 1 << level
        if level < BLOCK_LEVEL:
            return await self._read_root(first, count)
        blocks = range(first >> BLOCK_LEVEL, (first + count) >> BLOCK_LEVEL)
        for block in blocks:
            if block not in self._roots:
                self._roots[block] = await self._read_root(block << BLOCK_LEVEL, _BLOCK_SIZE)
        return tree_root([self._roots[block] for block in blocks])

    async def _read_root(self, first_index: int, count: int) -> bytes:
        rows = await self._store.history_rows(self.mailbox, self.epochs(first_index, first_index + count))
        if len(rows) != count:
            raise StoreCorrupt("a mailbox's records are not where its backlog has them: run noise fsck")
        for row in rows:
            check_record(row)
        return tree_root([leaf_hash(row.record) for row in rows])


class Backlogs:
    """Those that were used last."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: OrderedDict[bytes, Backlog] = OrderedDict()

    async def get(self, state: MailboxState, cursor: Cursor) -> Backlog:
        """The backlog of a committed state from a cursor on. Raises Rejected for a cursor that is not its mailbox's."""
        known = self._known.get(state.mailbox)
        if known is None or known.first_index > cursor.hist_next:
            after = cursor.last_epoch if cursor.hist_next else -1
            epochs = await self._store.history_epochs(state.mailbox, state.last_epoch, after)
            if len(epochs) != state.hist_size - cursor.hist_next:
                await self._check_end(state.mailbox, cursor)
                raise StoreCorrupt("a mailbox has another number of records than its state: run noise fsck")
            known = Backlog(self._store, state.mailbox, cursor.hist_next, epochs)
            self._known[state.mailbox] = known
        await known.extend(state)
        if state.mailbox in self._known:
            self._known.move_to_end(state.mailbox)
        self._forget()
        return known

    async def _check_end(self, mailbox: bytes, cursor: Cursor) -> None:
        """The last record of a cursor is where it says. Raises Rejected, StoreCorrupt."""
        if cursor.hist_next == 0:
            return
        try:
            [row] = await self._store.history_rows(mailbox, [cursor.last_epoch])
        except StoreCorrupt:
            row = None
        if row is not None:
            check_record(row)
        if row is None or HISTORY_RECORD.decode(row.record).k + 1 != cursor.hist_next:
            raise Rejected("the cursor is not one of this mailbox", code="bad-cursor")

    def _forget(self) -> None:
        remembered = sum(backlog.next_index - backlog.first_index for backlog in self._known.values())
        while remembered > RECORDS_REMEMBERED_MAX and len(self._known) > 1:
            _, oldest = self._known.popitem(last=False)
            remembered -= oldest.next_index - oldest.first_index
