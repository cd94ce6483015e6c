"""What a client keeps of its provider's word about one mailbox, and how that is opened again.

Knows nothing of where it is kept, nor of when something may be forgotten, nor of who asks.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from noise.protocol.delta import DeltaShared, OtherLeaf, SignedRoster
from noise.protocol.envelope import RecipientSet, recipient_leaf_hashes
from noise.protocol.errors import NoiseError, ProofError
from noise.protocol.evidence.openings import (
    HeadOpening,
    LeafOpening,
    LogOpening,
    PlacedLeaf,
    RecipientOpening,
    RecordOpening,
    StateOpening,
)
from noise.protocol.evidence.patchwork import patchwork
from noise.protocol.history import MAILBOX_STATE, MailboxState
from noise.protocol.merkle import (
    CompactRange,
    NodeSource,
    Tree,
    inclusion_proof,
    leaf_hashes,
)
from noise.protocol.signing import Signed, hasher
from noise.protocol.statements import EPOCH_RECORD, hash_roster
from noise.protocol.trust import Trusted

_hash_salt = hasher("rsalt")


class EvidenceUnavailable(NoiseError):
    """What is kept does not suffice. It says nothing about the provider; the code says why."""

    default_code = "evidence-dropped"


class Material(NamedTuple):
    """What a client keeps about one mailbox.

    `trusted`: the latest. `base`: the history records that are not kept any more. `records`: the encoded HistoryRecords
    from `base.size` on, up to `trusted.delivered`. `leaves_of(k)`: the encoded MessageLeaves of record k, in order.
    `recipients_of(recipients_root)`: a recipient list. For what was forgotten these two give nothing, and None.
    """

    origin: bytes
    mailbox: bytes
    trusted: Trusted
    base: CompactRange
    records: Sequence[bytes]
    leaves_of: Callable[[int], Sequence[bytes]]
    recipients_of: Callable[[bytes], RecipientSet | None]


class Attested(NamedTuple):
    """A mailbox's history up to a signed state, as far as it is known, with the rosters that verify it.

    `opening` opens `state` (None: there is none). `records[i]` is record `first_index + i`; `nodes`: of their tree.
    `leaves_of`, `recipients_of`: as in Material.
    """

    rosters: tuple[SignedRoster, ...]
    opening: StateOpening
    state: MailboxState | None
    first_index: int
    records: Sequence[bytes]
    nodes: NodeSource
    leaves_of: Callable[[int], Sequence[bytes]]
    recipients_of: Callable[[bytes], RecipientSet | None]

    @property
    def mailbox(self) -> bytes:
        return self.opening.mailbox

    @property
    def epoch(self) -> int:
        """As of this epoch."""
        return self.opening.head.log.place

    @property
    def next_index(self) -> int:
        """Of the first record that is not known."""
        return self.first_index + len(self.records)

    def record(self, index: int) -> RecordOpening:
        """Raises ProofError when the record, or a part of the tree that its proof needs, is not known."""
        at = index - self.first_index
        if self.state is None or not 0 <= at < len(self.records):
            raise ProofError(f"record {index} is not known", code="unknown-node")
        proof = inclusion_proof(self.nodes, index, self.state.hist_size)
        return RecordOpening(self.opening, index, self.records[at], tuple(proof))

    def leaf(self, index: int, place: int) -> LeafOpening:
        """Leaf `place` of record `index`. Raises ProofError as `record` does."""
        return LeafOpening(self.record(index), *place_leaf(self.leaves_of(index), place))


def roster_of(record: bytes, rosters: Sequence[Signed]) -> tuple[SignedRoster, ...]:
    """The one that an encoded epoch record names, if it is among them."""
    wanted = EPOCH_RECORD.decode(record).roster_hash
    return tuple(SignedRoster(*signed) for signed in rosters if hash_roster(signed.body) == wanted)[:1]


def open_shared(
    shared: DeltaShared,
    log_proof: Sequence[bytes],
    mailbox: bytes,
    state: bytes,
    path: Sequence[bytes],
    other: OtherLeaf | None,
) -> StateOpening:
    """The state of a mailbox, encoded or empty, with all that leads to it from the checkpoint."""
    place = EPOCH_RECORD.decode(shared.record).epoch
    log = LogOpening(shared.note, place, shared.record, tuple(log_proof))
    return StateOpening(HeadOpening(log, shared.head, shared.head_proof), mailbox, state, tuple(path), other)


def attested(material: Material) -> Attested:
    """What a client has trusted. Raises EvidenceUnavailable when that is nothing yet."""
    mailbox, trusted, base, records = material.mailbox, material.trusted, material.base, material.records
    if trusted.shared is None:
        raise EvidenceUnavailable("no epoch was verified yet", code="evidence-future")
    state = MAILBOX_STATE.encode(trusted.state) if trusted.state else b""
    return Attested(
        roster_of(trusted.shared.record, trusted.rosters),
        open_shared(trusted.shared, trusted.log_proof, mailbox, state, trusted.path, trusted.other),
        trusted.state,
        base.size,
        records,
        patchwork(base, leaf_hashes(records)),
        material.leaves_of,
        material.recipients_of,
    )


def place_leaf(leaves: Sequence[bytes], index: int) -> PlacedLeaf:
    """Leaf `index` of all those of a record."""
    return PlacedLeaf(index, leaves[index], tuple(Tree(leaf_hashes(leaves)).inclusion(index)))


def open_device(recipients: RecipientSet, index: int) -> RecipientOpening:
    """Recipient `index` of a list: nothing is said about the others."""
    device_id = recipients.device_ids[index]
    salt = _hash_salt(recipients.env_salt + device_id)[:16]
    return RecipientOpening(device_id, salt, index, tuple(Tree(recipient_leaf_hashes(*recipients)).inclusion(index)))
