"""An honest provider of one lane and one outbox, in memory: commits bundles, gives receipts, makes deltas.

Must not know: sockets, or what a test does to the bytes afterwards. What its actors sign is made elsewhere.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from noise.protocol.delta import Delta, HistoryEntry, OtherLeaf, RecipientLists, SignedRoster
from noise.protocol.envelope import Bundle, Recipients, RecipientSet
from noise.protocol.frames import Cursor, Receipt
from noise.protocol.history import HISTORY_RECORD, map_key_of
from noise.protocol.merkle import leaf_hash, range_hashes, tree_root
from tests.vectors.epochs import Epoch, Provider


class _Kept(NamedTuple):
    """One history entry of a mailbox, and the recipient lists that it needs."""

    entry: HistoryEntry
    recipients: list[Recipients]


class TinyProvider:
    def __init__(self) -> None:
        self._provider = Provider()
        self._log_leaves: list[bytes] = []
        self._kept: dict[bytes, list[_Kept]] = {}
        self._receipts: dict[bytes, Receipt] = {}
        self.commit([])

    @property
    def epoch(self) -> int:
        """The last one."""
        return len(self._log_leaves) - 1

    def submit(self, bundle: Bundle) -> Receipt:
        """An epoch of its own for a bundle; the same receipt for one that comes again."""
        if bundle.bundle_hash not in self._receipts:
            self.commit([bundle])
        return self._receipts[bundle.bundle_hash]

    def commit(self, bundles: Sequence[Bundle]) -> None:
        """One epoch."""
        epoch = self._provider.step(bundles)
        self._log_leaves.append(leaf_hash(epoch.record))
        for index, bundle in enumerate(bundles):
            self._receipts[bundle.bundle_hash] = self._provider.receipt(epoch.number, index)
        for mailbox, entry in epoch.entries.items():
            self._kept.setdefault(mailbox, []).append(_Kept(entry, _lists_of(epoch, mailbox)))

    def delta(
        self, mailbox: bytes, cursor: Cursor, lists: RecipientLists, records_max: int = 2**32
    ) -> tuple[Delta, Cursor]:
        """What follows a cursor, at most so many history records, and where its reader stands then."""
        key, epoch = map_key_of(mailbox), self._provider.epochs[-1]
        proof = epoch.states.prove(key)
        kept = self._kept.get(mailbox, [])
        chosen = kept[cursor.hist_next : cursor.hist_next + records_max]
        hist_next = cursor.hist_next + len(chosen)
        new = lists.unknown({r.root: r for one in chosen for r in one.recipients})
        lists.admit(new)
        node = _node_of([leaf_hash(one.entry.record) for one in kept])
        cut = max(hist_next, cursor.hist_size)
        log = _node_of(self._log_leaves)
        delta = Delta(
            epoch.shared(),
            tuple(range_hashes(log, cursor.log_size, self.epoch)) if cursor.log_size <= self.epoch else (),
            () if cursor.roster_version else (SignedRoster(*self._provider.signed_roster),),
            tuple(RecipientSet(r.env_salt, r.device_ids) for r in new),
            epoch.states.get(key) or b"",
            proof.siblings,
            OtherLeaf(*proof.other) if proof.other else None,
            tuple(one.entry for one in chosen),
            (*range_hashes(node, hist_next, cut), *range_hashes(node, cut, len(kept))),
        )
        last_epoch = HISTORY_RECORD.decode(kept[hist_next - 1].entry.record).epoch if hist_next else cursor.last_epoch
        return delta, Cursor(self.epoch + 1, 1, len(kept), hist_next, last_epoch)


def _lists_of(epoch: Epoch, mailbox: bytes) -> list[Recipients]:
    """The recipient lists of the messages that an epoch brings a mailbox, in their order."""
    rows = [(p.bundle, p.bundle.rows[i]) for p in epoch.placed for i in p.indexes_of(mailbox)]
    return [bundle.recipients[row.set_index] for bundle, row in rows]


def _node_of(leaves: Sequence[bytes]) -> Callable[[int, int], bytes]:
    return lambda level, index: tree_root(leaves[index << level : (index + 1) << level])
