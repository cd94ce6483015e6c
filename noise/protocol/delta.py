"""Attested deltas: the bytes that carry an epoch to a mailbox, how a server joins them, how a recipient opens them.

Knows nothing of trust: `noise.protocol.follower` decides what to believe. A delta is a shared part, encoded once per
epoch and outbox, and an own part. Messages travel in sections, one per bundle, encoded once per group of recipients
that got the same messages; whatever follows from other fields is left out and reconstructed.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Annotated, NamedTuple

from noise.protocol.encoding import (
    HASHES,
    U16,
    U64,
    Bytes16,
    Bytes32,
    Bytes64,
    Hashes,
    Indexes,
    Vec16,
    Vec32,
    embedded,
    list_of,
    optional,
    struct_codec,
)
from noise.protocol.envelope import (
    BUNDLE_HEADER,
    CIPHERTEXT_LEAF,
    ENVELOPE_ROW,
    RECIPIENT_SET,
    Bundle,
    EnvelopeRow,
    Recipients,
    RecipientSet,
    check_limits,
    check_sender,
    envelope_leaf_hashes,
    hash_bundle,
    hash_ciphertext,
    hash_envelopes,
    split_commons,
)
from noise.protocol.errors import DecodeError, ProofError
from noise.protocol.history import HISTORY_RECORD, MAILBOX_STATE
from noise.protocol.identifiers import device_id_of, make_seqs, parse_seq
from noise.protocol.limits import (
    BUNDLE_MESSAGES_MAX,
    CONNECTION_RECIPIENT_IDS_MAX,
    EPOCH_MESSAGES_MAX,
    PAGE_RECORDS_MAX,
    ROSTERS_MAX,
)
from noise.protocol.merkle import EMPTY_ROOT, leaf_hash, prove_subset, root_from_subset
from noise.protocol.signing import verify_strict
from noise.protocol.statements import EPOCH_HEAD, EPOCH_RECORD, MESSAGE_LEAF, ROSTER


class SignedRoster(NamedTuple):
    body: Annotated[bytes, embedded(ROSTER)]
    signature: Bytes64


SIGNED_ROSTER = struct_codec(SignedRoster)


class SignedHead(NamedTuple):
    body: Annotated[bytes, embedded(EPOCH_HEAD)]
    signature: Bytes64


SIGNED_HEAD = struct_codec(SignedHead)


class Section(NamedTuple):
    """What one recipient gets of one bundle. `first_seq`: position of the bundle's envelope 0.

    `indexes`: which of the bundle's `n_envelopes`, strictly increasing; empty: all. `roots`: recipient roots that
    `rows` refer to. `proof`: subset proof of the envelopes in the bundle's tree. Then the recipient's own part:
    `ciphertexts` and, for each row that has one, `ciphertext_proofs` (its place in the envelope's tree).
    """

    first_seq: Bytes16
    key: Bytes32
    first_ctr: U64
    n_envelopes: U16
    signature: Bytes64
    indexes: Indexes
    roots: Hashes
    rows: Annotated[tuple[EnvelopeRow, ...], list_of(ENVELOPE_ROW, BUNDLE_MESSAGES_MAX)]
    commons: Vec32
    proof: Hashes
    ciphertexts: Vec32
    ciphertext_proofs: Annotated[tuple[tuple[bytes, ...], ...], list_of(HASHES, BUNDLE_MESSAGES_MAX)]


SECTION = struct_codec(Section)
NO_OWN_PART = bytes(8)
"""The encoding of no ciphertexts and no proofs of them."""


class HistoryEntry(NamedTuple):
    record: Annotated[bytes, embedded(HISTORY_RECORD)]
    sections: Annotated[tuple[Section, ...], list_of(SECTION, EPOCH_MESSAGES_MAX)]


HISTORY_ENTRY = struct_codec(HistoryEntry)


class OtherLeaf(NamedTuple):
    """A leaf of the state map that stands where the wanted key would be."""

    key: Bytes32
    value_hash: Bytes32


OTHER_LEAF = struct_codec(OtherLeaf)


class DeltaShared(NamedTuple):
    """The same for every mailbox of one outbox in one epoch. `head_proof`: inclusion of the head in the record."""

    note: Vec16
    record: Annotated[bytes, embedded(EPOCH_RECORD)]
    head: Annotated[SignedHead, SIGNED_HEAD]
    head_proof: Hashes


DELTA_SHARED = struct_codec(DeltaShared)


class Delta(NamedTuple):
    """What a mailbox received up to an epoch, attested. Without history entries: a heartbeat.

    `log_hashes` extend the recipient's compact range of the log to the record; `rosters`: those it has not seen.
    `sets`: recipient lists not yet sent on this connection. `state`: the mailbox's state, or empty when the map has
    none, with its path. `tail_hashes` extend the recipient's history beyond the entries to the state's root, cut at
    the size of the state it trusted before when the entries end before that.
    """

    shared: Annotated[DeltaShared, DELTA_SHARED]
    log_hashes: Hashes
    rosters: Annotated[tuple[SignedRoster, ...], list_of(SIGNED_ROSTER, ROSTERS_MAX)]
    sets: Annotated[tuple[RecipientSet, ...], list_of(RECIPIENT_SET)]
    state: Annotated[bytes, embedded(MAILBOX_STATE)]
    path: Hashes
    other: Annotated[OtherLeaf | None, optional(OTHER_LEAF)]
    history: Annotated[tuple[HistoryEntry, ...], list_of(HISTORY_ENTRY, PAGE_RECORDS_MAX)]
    tail_hashes: Hashes


DELTA = struct_codec(Delta)


def join_hashes(hashes: Sequence[bytes]) -> bytes:
    """The encoding of `Hashes`, from trusted 32-byte items."""
    return len(hashes).to_bytes(4, "big") + b"".join(hashes)


def encode_section(bundle: Bundle, first_seq: bytes, indexes: tuple[int, ...]) -> bytes:
    """The part of a section that all recipients of the same messages share. `indexes` empty: all of the bundle."""
    chosen = indexes or range(bundle.count)
    if indexes:
        places = list(dict.fromkeys([bundle.rows[i][0] for i in indexes]))
        where = {place: new for new, place in enumerate(places)}
        rows = tuple([EnvelopeRow(where[r[0]], *r[1:]) for r in [bundle.rows[i] for i in indexes]])
        roots = tuple([bundle.recipients[place].root for place in places])
        proof = tuple(prove_subset(bundle.tree(), indexes))
    else:
        rows, roots, proof = bundle.rows, tuple([r.root for r in bundle.recipients]), ()
    commons = b"".join([bundle.commons[i] for i in chosen])
    section = Section(
        first_seq,
        bundle.key,
        bundle.first_ctr,
        bundle.count,
        bundle.signature,
        indexes,
        roots,
        rows,
        commons,
        proof,
        b"",
        (),
    )
    return SECTION.encode(section)[: -len(NO_OWN_PART)]


def encode_own_part(bundle: Bundle, indexes: tuple[int, ...], mailbox: bytes) -> tuple[bytes, list[tuple[int, bytes]]]:
    """(the rest of a section, (index, hash) of each own ciphertext) for one recipient."""
    if not bundle.has_ciphertexts:
        return NO_OWN_PART, []
    own: list[bytes] = []
    proofs: list[tuple[bytes, ...]] = []
    hashes: list[tuple[int, bytes]] = []
    for i in indexes or range(bundle.count):
        row, column = bundle.rows[i], bundle.ciphertext_columns[i]
        if not column:
            continue
        size = row[3]
        place = bundle.recipients[row[0]].index(mailbox)
        ciphertext = column[place * size : (place + 1) * size]
        own.append(ciphertext)
        proofs.append(tuple(prove_subset(bundle.ciphertext_trees[i], [place])))
        hashes.append((i, hash_ciphertext(ciphertext)))
    joined = b"".join(own)
    encoded = [len(joined).to_bytes(4, "big"), joined, len(proofs).to_bytes(4, "big"), *map(join_hashes, proofs)]
    return b"".join(encoded), hashes


def encode_entry(record: bytes, sections: Sequence[bytes], n_sections: int) -> bytes:
    """The encoding of a HistoryEntry from encoded pieces; a section may come in several."""
    return b"".join((len(record).to_bytes(2, "big"), record, n_sections.to_bytes(4, "big"), *sections))


class Delivery(NamedTuple):
    """One verified message. `ciphertext`: the recipient's own, or empty."""

    seq: bytes
    sender: bytes
    sender_ctr: int
    created_ms: int
    common: bytes
    ciphertext: bytes
    recipients: Recipients
    leaf: bytes


class OpenedSection(NamedTuple):
    deliveries: list[Delivery]
    own_ciphertexts: list[tuple[bytes, bytes]]


def _chosen(section: Section) -> Sequence[int]:
    indexes = section.indexes
    if not indexes:
        return range(section.n_envelopes)
    increasing = all(a < b for a, b in pairwise(indexes))
    if not increasing or indexes[-1] >= section.n_envelopes or len(indexes) == section.n_envelopes:
        raise DecodeError("section indexes are not a proper part of the bundle")
    return indexes


def _open_ciphertexts(
    section: Section, mailbox: bytes, recipients: Sequence[Recipients]
) -> tuple[list[bytes], list[bytes]]:
    """(own ciphertext, ciphertexts_root) of each row."""
    own, roots = [], []
    pos = 0
    proofs = iter(section.ciphertext_proofs)
    for set_index, _, _, size in section.rows:
        ciphertext = section.ciphertexts[pos : pos + size]
        pos += size
        own.append(ciphertext)
        if size:
            members = recipients[set_index]
            leaf = leaf_hash(CIPHERTEXT_LEAF + hash_ciphertext(ciphertext))
            proof = next(proofs, ())
            roots.append(root_from_subset(len(members.device_ids), [members.index(mailbox)], [leaf], proof))
        else:
            roots.append(EMPTY_ROOT)
    if pos != len(section.ciphertexts) or next(proofs, None) is not None:
        raise DecodeError("own ciphertexts do not fill their column")
    return own, roots


def open_section(
    section: Section, origin: bytes, mailbox: bytes, epoch: int, recipients_of: Callable[[bytes], Recipients]
) -> OpenedSection:
    """Reconstruct a section's messages and verify what needs no provider: bundle, signature, membership.

    `recipients_of` finds a recipient list by its root. Raises DecodeError, ProofError, SignatureError, or Rejected for
    what no provider may accept.
    """
    chosen = _chosen(section)
    rows = section.rows
    if len(rows) != len(chosen):
        raise DecodeError("section rows do not match its indexes")
    check_limits(section.first_ctr, section.n_envelopes, rows)
    used = list(dict.fromkeys([row[0] for row in rows]))
    if used != list(range(len(section.roots))) or len(set(section.roots)) != len(used):
        raise DecodeError("recipient roots must stand in the order of their first use, each once")
    first_epoch, lane, first_pos = parse_seq(section.first_seq)
    if first_epoch != epoch:
        raise DecodeError("section positions are outside of its epoch")
    recipients = [recipients_of(root) for root in section.roots]
    if any(members.index(mailbox) < 0 for members in recipients):
        raise ProofError("a message for others in this mailbox", code="not-a-recipient")
    commons = split_commons(rows, section.commons)
    own, ciphertexts_roots = _open_ciphertexts(section, mailbox, recipients)
    sender = device_id_of(section.key)
    check_sender(sender, recipients)
    ctrs = [section.first_ctr + i for i in chosen]
    env_hashes, payload_hashes = hash_envelopes(sender, ctrs, rows, recipients, commons, ciphertexts_roots)
    bundle_root = root_from_subset(section.n_envelopes, chosen, envelope_leaf_hashes(env_hashes), section.proof)
    header = BUNDLE_HEADER.pack(origin, sender, section.key, section.first_ctr, section.n_envelopes, bundle_root)
    verify_strict(section.key, section.signature, "bundle", origin, header)
    bundle_hash = hash_bundle(header)
    seqs = make_seqs(epoch, lane, first_pos, section.n_envelopes)
    pack = MESSAGE_LEAF.pack
    deliveries = []
    for i, ctr, row, env_hash, payload_hash, ct_root, common, ciphertext in zip(
        chosen, ctrs, rows, env_hashes, payload_hashes, ciphertexts_roots, commons, own, strict=True
    ):
        members = recipients[row[0]]
        seq, n = seqs[i], len(members.device_ids)
        leaf = pack(seq, sender, ctr, env_hash, bundle_hash, n, members.root, payload_hash, ct_root)
        deliveries.append(Delivery(seq, sender, ctr, row[1], common, ciphertext, members, leaf))
    own_hashes = [(d.seq, hash_ciphertext(d.ciphertext)) for d in deliveries if d.ciphertext]
    return OpenedSection(deliveries, own_hashes)


class RecipientLists:
    """The recipient lists that both ends of one push connection remember, by root.

    Both ends run this same class, so they forget the same lists at the same time: a delta brings lists that are
    `unknown`, and after it they are admitted in order; beyond CONNECTION_RECIPIENT_IDS_MAX ids the oldest go.
    """

    __slots__ = ("_ids", "_lists")

    def __init__(self) -> None:
        self._lists: dict[bytes, Recipients] = {}
        self._ids = 0

    def get(self, root: bytes) -> Recipients | None:
        return self._lists.get(root)

    def unknown(self, wanted: Mapping[bytes, Recipients]) -> list[Recipients]:
        return [recipients for root, recipients in wanted.items() if root not in self._lists]

    def admit(self, new: Sequence[Recipients]) -> None:
        for recipients in new:
            if recipients.root not in self._lists:
                self._lists[recipients.root] = recipients
                self._ids += len(recipients.device_ids)
        while self._ids > CONNECTION_RECIPIENT_IDS_MAX:
            oldest = self._lists.pop(next(iter(self._lists)))
            self._ids -= len(oldest.device_ids)
