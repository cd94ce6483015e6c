"""From what a client has to a proof that convicts: one function for each thing that it may have.

Knows nothing of what counts as a contradiction. It proposes findings, and `make_proof` judges: whatever leaves here was
verified as a stranger would verify it. None: nothing can be proven from this alone, which does not acquit.
"""

from collections.abc import Iterator, Sequence

from noise.protocol.delta import Delta, RecipientLists, SignedRoster
from noise.protocol.envelope import ENVELOPE, Bundle, Recipients, RecipientSet
from noise.protocol.errors import NoiseError
from noise.protocol.evidence.material import EvidenceUnavailable, Material, open_device
from noise.protocol.evidence.messages import AlteredMessage, Conflict, Omission
from noise.protocol.evidence.openings import CommittedLeaf, LogOpening, SequencedLeaf
from noise.protocol.evidence.proof import Finding, make_proof
from noise.protocol.evidence.refusals import kept_alone, kept_before, open_refusal
from noise.protocol.evidence.slots import ManifestEquivocation, StageEquivocation
from noise.protocol.evidence.suspicions import log_findings, refusal_findings
from noise.protocol.evidence.testimony import Testimony, check_testimony, testify, testify_from
from noise.protocol.frames import Receipt, SignedManifest
from noise.protocol.identifiers import make_seqs, parse_seq
from noise.protocol.merkle import leaf_hashes, prove_subset
from noise.protocol.signing import Signed
from noise.protocol.statements import MESSAGE_LEAF, ROSTER, hash_roster, message_leaves
from noise.protocol.trust import Trusted


def first_proof(origin: bytes, rosters: Sequence[SignedRoster], findings: Iterator[Finding]) -> bytes | None:
    """The proof of the first of these findings that proves anything."""
    for finding in findings:
        try:
            return make_proof(origin, rosters, finding)
        except NoiseError:
            continue
    return None


def accuse_logs(
    origin: bytes, rosters: Sequence[SignedRoster], ours: LogOpening | bytes, theirs: LogOpening | bytes
) -> bytes | None:
    """LogFork, or InvalidRecord, from two views of the log, each a checkpoint note or an epoch record under one.

    `rosters`: at least those that name the log keys and that the records name.
    """
    return first_proof(origin, rosters, log_findings(ours, theirs))


def accuse_manifests(origin: bytes, rosters: Sequence[SignedRoster], one: Signed, other: Signed) -> bytes | None:
    """ManifestEquivocation, from two signed manifests."""
    finding = ManifestEquivocation(SignedManifest(*one), SignedManifest(*other))
    return first_proof(origin, rosters, iter([finding]))


def accuse_heads(origin: bytes, rosters: Sequence[SignedRoster], one: Signed, other: Signed) -> bytes | None:
    """StageEquivocation, from two signed heads."""
    return first_proof(origin, rosters, iter([StageEquivocation(one, other)]))


def accuse_bundle(origin: bytes, theirs: Testimony, bundle: Bundle) -> bytes | None:
    """AlteredMessage, from a message that was delivered to somebody, and a bundle from which it claims to be."""
    if theirs.delivered is None:
        return None
    message = CommittedLeaf(None, theirs.delivered)
    return first_proof(origin, theirs.rosters, _bundle_findings(message, theirs.delivered.leaf, bundle))


def _bundle_findings(message: CommittedLeaf, encoded: bytes, bundle: Bundle) -> Iterator[Finding]:
    leaf = MESSAGE_LEAF.decode(encoded)
    if leaf.env_hash in bundle.env_hashes:
        envelope = envelope_of(bundle, bundle.env_hashes.index(leaf.env_hash))
        yield AlteredMessage(message, envelope, b"", (), (), ())
    if leaf.bundle_hash == bundle.bundle_hash:
        yield AlteredMessage(message, b"", bundle.body, (), (), ())
        place = leaf.sender_ctr - bundle.first_ctr
        if 0 <= place < bundle.count:
            proof = tuple(prove_subset(bundle.tree(), [place]))
            yield AlteredMessage(message, b"", bundle.body, (place,), (bundle.env_hashes[place],), proof)


def envelope_of(bundle: Bundle, index: int) -> bytes:
    """The encoded envelope of a bundle's message, which never travels."""
    row = bundle.rows[index]
    recipients = bundle.recipients[row.set_index]
    n_recipients = len(recipients.device_ids)
    return ENVELOPE.pack(
        bundle.sender,
        bundle.first_ctr + index,
        recipients.root,
        n_recipients,
        row.common_len,
        bundle.payload_hashes[index],
        n_recipients if row.ciphertext_len else 0,
        bundle.ciphertexts_roots[index],
        row.created_ms,
    )


def accuse_receipt(material: Material, receipt: Receipt, bundle: Bundle) -> bytes | None:
    """Omission or Conflict, from a receipt for our own bundle that our own mailbox contradicts. None: it was honoured.

    Raises EvidenceUnavailable when nothing is proven and the mailbox, or the rosters that are kept, do not cover all of
    the bundle's messages: `evidence-future` while its epoch is not verified.
    """
    epoch, lane, first_pos = parse_seq(receipt.first_seq)
    signed = _roster_in_force(material.trusted, epoch)
    unavailable: EvidenceUnavailable | None = None
    leaves = message_leaves(bundle, make_seqs(epoch, lane, first_pos, bundle.count))
    hashes = tuple(leaf_hashes(leaves))
    roster_hash = hash_roster(signed.body)
    for index, leaf in enumerate(leaves):
        sequenced = SequencedLeaf(receipt.manifest, roster_hash, first_pos, hashes, index, leaf, receipt.proof)
        recipients = bundle.recipients[bundle.rows[index].set_index]
        try:
            ours = testify(material, MESSAGE_LEAF.decode(leaf).seq, material.mailbox)
        except EvidenceUnavailable as error:
            unavailable = unavailable or error
            continue
        findings = _receipt_findings(CommittedLeaf(sequenced, None), recipients, ours, material.mailbox)
        proof = first_proof(material.origin, (*ours.rosters, signed), findings)
        if proof is not None:
            return proof
    if unavailable is not None:
        raise unavailable
    return None


def _receipt_findings(
    sequenced: CommittedLeaf, recipients: Recipients, ours: Testimony, mailbox: bytes
) -> Iterator[Finding]:
    if ours.delivered is not None:
        yield Conflict(sequenced, CommittedLeaf(None, ours.delivered))
    place = recipients.index(mailbox)
    if ours.absent is not None and place >= 0:
        members = RecipientSet(recipients.env_salt, recipients.device_ids)
        yield Omission(sequenced, open_device(members, place), ours.absent)


def _roster_in_force(trusted: Trusted, epoch: int) -> SignedRoster:
    for signed in reversed(trusted.rosters):
        if ROSTER.decode(signed.body).valid_from_epoch <= epoch:
            return SignedRoster(*signed)
    raise EvidenceUnavailable(f"the roster of epoch {epoch} is not kept")


def accuse_refusal(
    trusted: Trusted,
    delta: Delta,
    origin: bytes,
    mailbox: bytes,
    lists: RecipientLists,
    kept: Material | None = None,
) -> bytes | None:
    """Whatever a delta that the follower refused proves, with what was trusted before it.

    `lists`: what the connection had brought before. `kept`: what else is there of the mailbox, in which an earlier
    message may contradict a new one. A delta damaged on its way proves nothing: only what is signed counts.
    """
    refusal = open_refusal(kept_before(trusted, kept or kept_alone(trusted, origin, mailbox)), delta, lists)
    return first_proof(origin, refusal.rosters, refusal_findings(refusal, trusted.shared, delta.shared))


def testify_refused(
    trusted: Trusted,
    delta: Delta,
    lists: RecipientLists,
    seq: bytes,
    peer: bytes,
    kept: Material,
) -> Testimony:
    """`testify` from a delta that the follower refused: what the provider stands by there, for a peer to contradict it.

    Raises EvidenceUnavailable as `testify` does, and `evidence-unsigned` when no signature leads to it.
    """
    theirs = open_refusal(kept_before(trusted, kept), delta, lists).theirs
    if theirs is None:
        raise EvidenceUnavailable("nothing in this delta is signed", code="evidence-unsigned")
    testimony = testify_from(theirs, seq, peer)
    try:
        check_testimony(testimony, kept.origin, kept.mailbox, seq)
    except NoiseError as error:
        raise EvidenceUnavailable("no signature leads to it", code="evidence-unsigned") from error
    return testimony
