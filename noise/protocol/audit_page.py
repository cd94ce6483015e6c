"""What an auditor is shown of an epoch beside its signed statements: who was to receive which message, and no content.

Knows nothing of who may see it, and trusts nothing: `noise.protocol.auditor` checks it against what was signed. All
stages after the inboxes follow from this, so nothing that they made is in it.
"""

from collections.abc import Sequence
from typing import Annotated, NamedTuple

from noise.protocol.encoding import U16, U32, Hashes, list_of, struct_codec
from noise.protocol.envelope import RECIPIENT_SET, Bundle, RecipientSet, hash_ciphertext
from noise.protocol.identifiers import make_seqs
from noise.protocol.statements import MESSAGE_LEAF, MessageLeaf, message_leaves


class AuditMessage(NamedTuple):
    """A message of a lane. `set_index`: its recipients, among the lane's `sets`. `ciphertexts`: hashes of those that
    are for one recipient each, in the order of its recipients; empty if it has none."""

    leaf: Annotated[MessageLeaf, MESSAGE_LEAF]
    set_index: U32
    ciphertexts: Hashes


AUDIT_MESSAGE = struct_codec(AuditMessage)


class AuditLane(NamedTuple):
    """A lane's messages in position order. `sets`: the recipients of them, in the order of their first use."""

    lane: U16
    sets: Annotated[tuple[RecipientSet, ...], list_of(RECIPIENT_SET)]
    messages: Annotated[tuple[AuditMessage, ...], list_of(AUDIT_MESSAGE)]


AUDIT_LANE = struct_codec(AuditLane)


class AuditPage(NamedTuple):
    """One epoch: the lanes of its roster, in order."""

    lanes: Annotated[tuple[AuditLane, ...], list_of(AUDIT_LANE)]


AUDIT_PAGE = struct_codec(AuditPage)


def make_audit_lane(epoch: int, lane: int, bundles: Sequence[Bundle]) -> AuditLane:
    """What an auditor is shown of a lane: of all its bundles, in position order."""
    places: dict[bytes, int] = {}
    sets: list[RecipientSet] = []
    messages: list[AuditMessage] = []
    for bundle in bundles:
        for recipients in bundle.recipients:
            if recipients.root not in places:
                places[recipients.root] = len(sets)
                sets.append(RecipientSet(recipients.env_salt, recipients.device_ids))
        leaves = message_leaves(bundle, make_seqs(epoch, lane, len(messages), bundle.count))
        for row, column, leaf in zip(bundle.rows, bundle.ciphertext_columns, leaves, strict=True):
            size = row.ciphertext_len
            hashes = [hash_ciphertext(column[i : i + size]) for i in range(0, len(column), size)] if size else []
            place = places[bundle.recipients[row.set_index].root]
            messages.append(AuditMessage(MESSAGE_LEAF.decode(leaf), place, tuple(hashes)))
    return AuditLane(lane, tuple(sets), tuple(messages))
