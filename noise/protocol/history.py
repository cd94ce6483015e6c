"""A mailbox's history: one record per epoch in which something arrived, and the state that commits to all of them.

Knows nothing of who delivers. The same `next_record` runs in the outbox that makes a record, in the client that
expects it, and in recovery.
"""

from collections.abc import Sequence
from typing import NamedTuple

from noise.protocol.encoding import U8, U32, U64, Bytes16, Bytes32, struct_codec
from noise.protocol.errors import DecodeError
from noise.protocol.identifiers import NO_EPOCH, NO_SEQ
from noise.protocol.merkle import EMPTY_RANGE, EMPTY_ROOT, CompactRange, leaf_hash, tree_root
from noise.protocol.signing import hasher

KIND_DEVICE = 1
STATUS_ACTIVE = 1

OWN_CIPHERTEXT_LEAF = (20).to_bytes(2, "big")

hash_state = hasher("state")
map_key_of = hasher("mapkey")
"""Where a mailbox's state lives in the map: `H("mapkey", mailbox)`, so that nobody can choose ids that deepen it."""


class HistoryRecord(NamedTuple):
    """Record `k` of a mailbox: what arrived in `epoch`. `prev_root`: history root at size k.

    `delta_root`: tree over the `n_messages` MessageLeaves, seq strictly increasing. `own_ciphertexts_root`: tree over
    seq and hash of the mailbox's own ciphertexts, for those of the messages that carry any.
    """

    mailbox: Bytes32
    k: U64
    epoch: U64
    prev_epoch: U64
    prev_root: Bytes32
    n_messages: U32
    delta_root: Bytes32
    own_ciphertexts_count: U32
    own_ciphertexts_root: Bytes32


HISTORY_RECORD = struct_codec(HistoryRecord, record_type=9)


class MailboxState(NamedTuple):
    """The value of a mailbox in the state map. Unchanged since `last_epoch`: nothing arrived."""

    mailbox: Bytes32
    gen: U32
    since_epoch: U64
    kind: U8
    status: U8
    until_epoch: U64
    target: Bytes32
    hist_size: U64
    hist_root: Bytes32
    last_epoch: U64
    last_seq: Bytes16
    total: U64


def _check_state(state: MailboxState) -> None:
    """Only active device mailboxes exist so far: they have no end and no target."""
    if (state.kind, state.status) != (KIND_DEVICE, STATUS_ACTIVE):
        raise DecodeError("unknown kind or status of a mailbox")
    if state.until_epoch != NO_EPOCH or state.target != bytes(32):
        raise DecodeError("an active mailbox has no end and no target")


MAILBOX_STATE = struct_codec(MailboxState, record_type=10, check=_check_state)


class History(NamedTuple):
    """A mailbox's state, and the compact range from which its history root follows."""

    state: MailboxState
    records: CompactRange


def new_history(mailbox: bytes, epoch: int) -> History:
    """A mailbox that comes into being with its first delivery, in `epoch`."""
    state = MailboxState(
        mailbox, 0, epoch, KIND_DEVICE, STATUS_ACTIVE, NO_EPOCH, bytes(32), 0, EMPTY_ROOT, NO_EPOCH, NO_SEQ, 0
    )
    return History(state, EMPTY_RANGE)


def next_record(
    history: History, epoch: int, n_messages: int, delta_root: bytes, own_ciphertexts: tuple[int, bytes]
) -> HistoryRecord:
    """The only record that may follow. `own_ciphertexts`: (count, root)."""
    state = history.state
    return HistoryRecord(
        state.mailbox,
        state.hist_size,
        epoch,
        state.last_epoch,
        state.hist_root,
        n_messages,
        delta_root,
        *own_ciphertexts,
    )


def apply_record(history: History, record: HistoryRecord, encoded: bytes, last_seq: bytes) -> History:
    """The history after `record`, whose encoding is `encoded`. Pure."""
    s = history.state
    records = history.records.append(leaf_hash(encoded))
    state = MailboxState(
        s.mailbox,
        s.gen,
        s.since_epoch,
        s.kind,
        s.status,
        s.until_epoch,
        s.target,
        s.hist_size + 1,
        records.root(),
        record.epoch,
        last_seq,
        s.total + record.n_messages,
    )
    return History(state, records)


def own_ciphertexts_root(items: Sequence[tuple[bytes, bytes]]) -> tuple[int, bytes]:
    """(count, root) over (seq, ciphertext hash) pairs."""
    if not items:
        return 0, EMPTY_ROOT
    return len(items), tree_root([leaf_hash(OWN_CIPHERTEXT_LEAF + seq + h) for seq, h in items])
