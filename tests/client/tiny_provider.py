"""An honest provider of one inbox and one outbox, in memory: commits bundles, gives receipts, makes deltas.

Must not know: sockets, or what a test does to the bytes afterwards.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from noise.protocol.checkpoint import Checkpoint, sign_checkpoint
from noise.protocol.delta import (
    SECTION,
    Delta,
    DeltaShared,
    HistoryEntry,
    OtherLeaf,
    RecipientLists,
    SignedHead,
    SignedRoster,
    encode_own_part,
    encode_section,
)
from noise.protocol.envelope import Bundle, Recipients, RecipientSet
from noise.protocol.frames import Cursor, Receipt, SignedManifest
from noise.protocol.history import (
    HISTORY_RECORD,
    MAILBOX_STATE,
    History,
    apply_record,
    hash_state,
    map_key_of,
    new_history,
    next_record,
    own_ciphertexts_root,
)
from noise.protocol.identifiers import Actor, Role, make_seq, make_seqs
from noise.protocol.merkle import EMPTY_RANGE, EMPTY_ROOT, Tree, leaf_hash, range_hashes, tree_root
from noise.protocol.state_map import StateMap
from noise.protocol.statements import (
    EPOCH_HEAD,
    EPOCH_OPEN,
    EPOCH_RECORD,
    MANIFEST,
    NO_OVERRIDES,
    NO_SHEET,
    EpochHead,
    EpochOpen,
    EpochRecord,
    Manifest,
    hash_head,
    hash_manifest,
    hash_open,
    hash_roster,
    message_leaves,
    statement_leaf_hash,
)
from tests.vectors.cast import CREATED_MS, LOG, LOG_NAME, ORIGIN, actor_key, make_roster, sign_roster

INBOX, OUTBOX = Actor(Role.INBOX, 0, 0), Actor(Role.OUTBOX, 0, 0)
SEQUENCER = Actor(Role.SEQUENCER, 0, 0)


class _Kept(NamedTuple):
    """One history entry of a mailbox, and the recipient lists that it needs."""

    entry: HistoryEntry
    recipients: list[Recipients]


class TinyProvider:
    def __init__(self) -> None:
        self.roster = sign_roster(make_roster())
        self._roster_hash = hash_roster(self.roster.body)
        self._log = EMPTY_RANGE
        self._log_leaves: list[bytes] = []
        self._states: StateMap[History] = StateMap.empty()
        self._kept: dict[bytes, list[_Kept]] = {}
        self._receipts: dict[bytes, Receipt] = {}
        self._shared: DeltaShared | None = None
        self._previous = {INBOX: bytes(32), OUTBOX: bytes(32)}
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
        epoch = self.epoch + 1
        manifest = self._seal(epoch, bundles)
        head = self._deliver(epoch, bundles)
        opened = EPOCH_OPEN.encode(
            EpochOpen(ORIGIN, SEQUENCER.encode(), 0, epoch, self._roster_hash, NO_OVERRIDES, 0, EMPTY_ROOT, 0)
        )
        statements = Tree(
            [
                statement_leaf_hash(INBOX.encode(), hash_manifest(manifest)),
                statement_leaf_hash(OUTBOX.encode(), hash_head(head.body)),
                statement_leaf_hash(SEQUENCER.encode(), hash_open(opened)),
            ]
        )
        record = EPOCH_RECORD.encode(
            EpochRecord(
                epoch,
                self._log.root(),
                CREATED_MS + epoch,
                self._roster_hash,
                NO_OVERRIDES,
                0,
                statements.root,
                statements.size,
                EMPTY_ROOT,
                0,
                sum(bundle.count for bundle in bundles),
            )
        )
        self._log_leaves.append(leaf_hash(record))
        self._log = self._log.append(leaf_hash(record))
        note = sign_checkpoint(LOG, Checkpoint(LOG_NAME, self._log.size, self._log.root()))
        self._shared = DeltaShared(note, record, head, tuple(statements.inclusion(1)))

    def _seal(self, epoch: int, bundles: Sequence[Bundle]) -> bytes:
        firsts, leaves = [], []
        for bundle in bundles:
            firsts.append(len(leaves))
            seqs = make_seqs(epoch, 0, len(leaves), bundle.count)
            leaves += [leaf_hash(leaf) for leaf in message_leaves(bundle, seqs)]
        tree = Tree(leaves)
        body = MANIFEST.encode(
            Manifest(ORIGIN, INBOX.encode(), 0, epoch, 0, tree.size, tree.root, self._previous[INBOX])
        )
        self._previous[INBOX] = hash_manifest(body)
        signed = actor_key(INBOX).sign("manifest", ORIGIN, body)
        for bundle, first in zip(bundles, firsts, strict=True):
            proof = tuple(tree.prove_subset(first, first + bundle.count))
            self._receipts[bundle.bundle_hash] = Receipt(SignedManifest(*signed), make_seq(epoch, 0, first), proof)
        return body

    def _deliver(self, epoch: int, bundles: Sequence[Bundle]) -> SignedHead:
        changes = []
        for mailbox in sorted({i for bundle in bundles for r in bundle.recipients for i in r.device_ids}):
            key = map_key_of(mailbox)
            history = self._states.get(key) or new_history(mailbox, epoch)
            kept, history = _make_entry(mailbox, epoch, bundles, history)
            self._kept.setdefault(mailbox, []).append(kept)
            changes.append((key, hash_state(MAILBOX_STATE.encode(history.state)), history))
        self._states = self._states.update(changes)
        body = EPOCH_HEAD.encode(
            EpochHead(
                ORIGIN,
                OUTBOX.encode(),
                0,
                epoch,
                NO_SHEET,
                self._states.root_hash,
                self._states.count,
                self._previous[OUTBOX],
                self._roster_hash,
            )
        )
        self._previous[OUTBOX] = hash_head(body)
        return SignedHead(*actor_key(OUTBOX).sign("head", ORIGIN, body))

    def delta(
        self, mailbox: bytes, cursor: Cursor, lists: RecipientLists, records_max: int = 2**32
    ) -> tuple[Delta, Cursor]:
        """What follows a cursor, at most so many history records, and where its reader stands then."""
        assert self._shared is not None
        key = map_key_of(mailbox)
        history, proof = self._states.get(key), self._states.prove(key)
        kept = self._kept.get(mailbox, [])
        chosen = kept[cursor.hist_next : cursor.hist_next + records_max]
        hist_next = cursor.hist_next + len(chosen)
        new = lists.unknown({r.root: r for one in chosen for r in one.recipients})
        lists.admit(new)
        node = _node_of([leaf_hash(one.entry.record) for one in kept])
        cut = max(hist_next, cursor.hist_size)
        log = _node_of(self._log_leaves)
        delta = Delta(
            self._shared,
            tuple(range_hashes(log, cursor.log_size, self.epoch)) if cursor.log_size <= self.epoch else (),
            () if cursor.roster_version else (SignedRoster(*self.roster),),
            tuple(RecipientSet(r.env_salt, r.device_ids) for r in new),
            MAILBOX_STATE.encode(history.state) if history else b"",
            proof.siblings,
            OtherLeaf(*proof.other) if proof.other else None,
            tuple(one.entry for one in chosen),
            (*range_hashes(node, hist_next, cut), *range_hashes(node, cut, len(kept))),
        )
        last_epoch = HISTORY_RECORD.decode(kept[hist_next - 1].entry.record).epoch if hist_next else cursor.last_epoch
        return delta, Cursor(self.epoch + 1, 1, len(kept), hist_next, last_epoch)


def _make_entry(mailbox: bytes, epoch: int, bundles: Sequence[Bundle], history: History) -> tuple[_Kept, History]:
    sections, leaves, own, recipients, first_pos, last_seq = [], [], [], [], 0, b""
    for bundle in bundles:
        chosen = tuple(i for i, row in enumerate(bundle.rows) if bundle.recipients[row[0]].index(mailbox) >= 0)
        if chosen:
            indexes = () if len(chosen) == bundle.count else chosen
            first_seq = make_seq(epoch, 0, first_pos)
            part, hashes = encode_own_part(bundle, indexes, mailbox)
            sections.append(SECTION.decode(encode_section(bundle, first_seq, indexes) + part))
            seqs = make_seqs(epoch, 0, first_pos, bundle.count)
            all_leaves = message_leaves(bundle, seqs)
            leaves += [leaf_hash(all_leaves[i]) for i in chosen]
            own += [(seqs[i], h) for i, h in hashes]
            recipients += [bundle.recipients[bundle.rows[i][0]] for i in chosen]
            last_seq = seqs[chosen[-1]]
        first_pos += bundle.count
    record = next_record(history, epoch, len(leaves), tree_root(leaves), own_ciphertexts_root(own))
    encoded = HISTORY_RECORD.encode(record)
    return _Kept(HistoryEntry(encoded, tuple(sections)), recipients), apply_record(history, record, encoded, last_seq)


def _node_of(leaves: Sequence[bytes]) -> Callable[[int, int], bytes]:
    return lambda level, index: tree_root(leaves[index << level : (index + 1) << level])
