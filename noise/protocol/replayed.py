"""What the stages make of sequenced messages, once more, by one who sees their recipients and not their content.

Knows nothing of statements, signatures or the log. The pipeline has its own code for the same, over bundles: what both
of them make is the same, or one of them is wrong.
"""

from collections.abc import Sequence
from typing import NamedTuple

from noise.protocol.audit_page import AuditLane, AuditMessage
from noise.protocol.envelope import CIPHERTEXT_LEAF, Recipients
from noise.protocol.errors import ProofError
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
from noise.protocol.merkle import EMPTY_ROOT, leaf_hashes, tree_root
from noise.protocol.state_map import StateMap


class ReplayedMessage(NamedTuple):
    """A sequenced message, and what its recipients' histories take of it. `ciphertexts`: hash of each one's own."""

    seq: bytes
    leaf_hash: bytes
    recipients: Recipients
    ciphertexts: Sequence[bytes]


Delivered = dict[bytes, list[ReplayedMessage]]
"""The messages of each mailbox, seq rising."""


def open_messages(shown: AuditLane, hashes: Sequence[bytes]) -> list[ReplayedMessage]:
    """A lane's messages with their recipients, which are those that the leaves commit to. Raises NoiseError."""
    sets = [Recipients(one) for one in shown.sets]
    return [_open_message(one, sets, leaf) for one, leaf in zip(shown.messages, hashes, strict=True)]


def _open_message(shown: AuditMessage, sets: Sequence[Recipients], hashed: bytes) -> ReplayedMessage:
    leaf, place, ciphertexts = shown
    recipients = sets[place] if place < len(sets) else None
    if recipients is None or (len(recipients.device_ids), recipients.root) != (leaf.n_recipients, leaf.recipients_root):
        raise ProofError("shows other recipients than the message has")
    root = tree_root(leaf_hashes([CIPHERTEXT_LEAF + one for one in ciphertexts])) if ciphertexts else EMPTY_ROOT
    if root != leaf.ciphertexts_root or len(ciphertexts) not in {0, leaf.n_recipients}:
        raise ProofError("shows other ciphertexts than the message has")
    return ReplayedMessage(leaf.seq, hashed, recipients, ciphertexts)


def deliver(messages: Sequence[ReplayedMessage]) -> Delivered:
    """One lane's messages by recipient."""
    delivered: Delivered = {}
    for message in messages:
        for mailbox in message.recipients.device_ids:
            delivered.setdefault(mailbox, []).append(message)
    return delivered


def merge(lanes: Sequence[Delivered]) -> Delivered:
    """All lanes in order: of one epoch, that is the order of seqs."""
    merged: Delivered = {}
    for delivered in lanes:
        for mailbox, messages in delivered.items():
            merged.setdefault(mailbox, []).extend(messages)
    return merged


def make_items(delivered: Delivered) -> dict[bytes, tuple[int, bytes]]:
    """(n_messages, delta_root) of each mailbox, mailboxes rising."""
    roots: dict[tuple[int, ...], bytes] = {}  # the members of a group receive the same messages
    items = {}
    for mailbox in sorted(delivered):
        messages = delivered[mailbox]
        together = tuple(map(id, messages))
        if together not in roots:
            roots[together] = tree_root([message.leaf_hash for message in messages])
        items[mailbox] = len(messages), roots[together]
    return items


def advance(
    states: StateMap[History], epoch: int, mailbox: bytes, item: tuple[int, bytes], messages: Sequence[ReplayedMessage]
) -> tuple[bytes, bytes, History]:
    """What an epoch does to a mailbox: key, value hash and history for the state map."""
    key = map_key_of(mailbox)
    before = states.get(key) or new_history(mailbox, epoch)
    own = [(m.seq, m.ciphertexts[m.recipients.index(mailbox)]) for m in messages if m.ciphertexts]
    record = next_record(before, epoch, *item, own_ciphertexts_root(own))
    after = apply_record(before, record, HISTORY_RECORD.encode(record), messages[-1].seq)
    return key, hash_state(MAILBOX_STATE.encode(after.state)), after
