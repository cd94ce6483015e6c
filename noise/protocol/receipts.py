"""What a receipt proves: that an inbox signed for the places of a bundle's messages in its lane.

Knows nothing of trust: the caller says which rosters it has verified.
"""

from collections.abc import Sequence

from noise.protocol.envelope import Bundle
from noise.protocol.errors import DecodeError, ProofError
from noise.protocol.frames import Receipt
from noise.protocol.identifiers import make_seqs, parse_actor, parse_seq
from noise.protocol.merkle import leaf_hashes, root_from_subset
from noise.protocol.signing import Signed
from noise.protocol.statements import MANIFEST, Roster, message_leaves, verify_statement


def open_receipt(receipt: Receipt, bundle: Bundle, origin: bytes, rosters: Sequence[Roster]) -> list[bytes]:
    """The positions (seq) of a bundle's messages, which a signed manifest commits to. `rosters`: verified, in order.

    Raises DecodeError, ProofError or SignatureError.
    """
    signed = Signed(*receipt.manifest)
    manifest = MANIFEST.decode(signed.body)
    epoch, lane, first_pos = parse_seq(receipt.first_seq)
    roster = next((r for r in reversed(rosters) if r.valid_from_epoch <= epoch), None)
    if roster is None:
        raise DecodeError("no roster is known for the epoch of the receipt", code="no-roster")
    inbox = {entry.lane: entry.inbox for entry in roster.lanes}.get(lane)
    if (manifest.origin, manifest.epoch, manifest.lane, manifest.actor) != (origin, epoch, lane, inbox):
        raise ProofError("the manifest of another lane, origin or epoch", code="wrong-manifest")
    verify_statement(signed, "manifest", roster, parse_actor(manifest.actor), manifest.incarnation)
    if first_pos + bundle.count > manifest.n_messages:
        raise ProofError("positions beyond the manifest", code="wrong-manifest")
    seqs = make_seqs(epoch, lane, first_pos, bundle.count)
    hashes = leaf_hashes(message_leaves(bundle, seqs))
    positions = range(first_pos, first_pos + bundle.count)
    if root_from_subset(manifest.n_messages, positions, hashes, receipt.proof) != manifest.root:
        raise ProofError("the bundle is not in the manifest", code="bad-receipt")
    return seqs
