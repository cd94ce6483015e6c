"""What a provider committed to, read from a delta that a follower refused.

Knows nothing of proofs. A follower refuses a message whose bundle is not signed, or that is out of its order; whether
the provider stands by it is another question, and the record's `delta_root` answers it. So nothing is checked here but
that: what leads to the signed root was said, whatever it is.
"""

from collections.abc import Callable
from typing import NamedTuple

from noise.protocol.delta import Delta, HistoryEntry, RecipientLists, Section
from noise.protocol.envelope import (
    BUNDLE_HEADER,
    CIPHERTEXT_LEAF,
    Recipients,
    envelope_leaf_hashes,
    hash_bundle,
    hash_ciphertext,
    hash_envelopes,
    split_commons,
)
from noise.protocol.errors import DecodeError, NoiseError, ProofError
from noise.protocol.history import HISTORY_RECORD
from noise.protocol.identifiers import device_id_of, make_seq, make_seqs, parse_seq
from noise.protocol.merkle import EMPTY_ROOT, leaf_hash, leaf_hashes, root_from_subset, tree_root
from noise.protocol.statements import MESSAGE_LEAF


class Committed(NamedTuple):
    """A leaf under a record's `delta_root`, and the recipient list that it names."""

    leaf: bytes
    recipients: Recipients


def committed_leaves(
    entry: HistoryEntry, origin: bytes, mailbox: bytes, find: Callable[[bytes], Recipients]
) -> list[Committed]:
    """The leaves that the record commits to, in its order. Raises NoiseError when what came does not lead there."""
    found = [one for section in entry.sections for one in _section_leaves(section, origin, mailbox, find)]
    if tree_root(leaf_hashes([one.leaf for one in found])) != HISTORY_RECORD.decode(entry.record).delta_root:
        raise ProofError("the record commits to other messages than those that came", code="bad-history")
    return found


def finder(delta: Delta, lists: RecipientLists) -> Callable[[bytes], Recipients]:
    """Recipient lists by root, among those that the delta brings and those that came before. It raises DecodeError."""
    brought: dict[bytes, Recipients] = {}
    for recipient_set in delta.sets:
        try:
            recipients = Recipients(recipient_set)
        except NoiseError:
            continue  # no tree that a signed root could be of, as far as anybody can tell
        brought[recipients.root] = recipients

    def find(root: bytes) -> Recipients:
        found = brought.get(root) or lists.get(root)
        if found is None:
            raise DecodeError("a recipient list that was never sent", code="unknown-recipients")
        return found

    return find


def _section_leaves(
    section: Section, origin: bytes, mailbox: bytes, find: Callable[[bytes], Recipients]
) -> list[Committed]:
    """As `open_section`, but nobody need have signed the bundle, or be among the recipients."""
    rows, chosen = section.rows, section.indexes or range(section.n_envelopes)
    if len(rows) != len(chosen) or any(row.set_index >= len(section.roots) for row in rows):
        raise DecodeError("section rows do not match its indexes")
    recipients = [find(root) for root in section.roots]
    sender = device_id_of(section.key)
    ctrs = [section.first_ctr + i for i in chosen]
    if max(ctrs, default=0) >= 1 << 64:
        raise DecodeError("no such counters")
    ct_roots = _ciphertexts_roots(section, mailbox, recipients)
    env_hashes, payload_hashes = hash_envelopes(
        sender, ctrs, rows, recipients, split_commons(rows, section.commons), ct_roots
    )
    bundle_root = root_from_subset(section.n_envelopes, chosen, envelope_leaf_hashes(env_hashes), section.proof)
    header = BUNDLE_HEADER.pack(origin, sender, section.key, section.first_ctr, section.n_envelopes, bundle_root)
    epoch, lane, first_pos = parse_seq(section.first_seq)
    make_seqs(epoch, lane, first_pos + section.n_envelopes, 0)  # all are in their lane; there may be 65,535 of them
    found = []
    for i, ctr, row, env_hash, payload_hash, ct_root in zip(
        chosen, ctrs, rows, env_hashes, payload_hashes, ct_roots, strict=True
    ):
        members = recipients[row.set_index]
        shape = (len(members.device_ids), members.root)
        seq = make_seq(epoch, lane, first_pos + i)
        leaf = MESSAGE_LEAF.pack(seq, sender, ctr, env_hash, hash_bundle(header), *shape, payload_hash, ct_root)
        found.append(Committed(leaf, members))
    return found


def _ciphertexts_roots(section: Section, mailbox: bytes, recipients: list[Recipients]) -> list[bytes]:
    roots, pos, proofs = [], 0, iter(section.ciphertext_proofs)
    for row in section.rows:
        size = row.ciphertext_len
        if not size:
            roots.append(EMPTY_ROOT)
            continue
        members = recipients[row.set_index]
        leaf = leaf_hash(CIPHERTEXT_LEAF + hash_ciphertext(section.ciphertexts[pos : pos + size]))
        pos += size
        roots.append(root_from_subset(len(members.device_ids), [members.index(mailbox)], [leaf], next(proofs, ())))
    return roots
