"""What one client can show of its provider's word about one message, and what two such words prove together.

Knows nothing of why anybody asks, and nothing of how testimonies travel. A testimony is all signed by the provider: its
word that it delivered a message to a mailbox, or that nothing stands there at that seq. Who brings it need not be
believed.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Annotated, NamedTuple

from noise.protocol.delta import SIGNED_ROSTER, SignedRoster
from noise.protocol.encoding import list_of, optional, struct_codec
from noise.protocol.errors import DecodeError, ProofError
from noise.protocol.evidence.absences import ABSENCE, Absence, open_absence
from noise.protocol.evidence.material import Attested, EvidenceUnavailable, Material, attested, open_device, place_leaf
from noise.protocol.evidence.messages import Conflict, Omission
from noise.protocol.evidence.openings import (
    LEAF_OPENING,
    RECIPIENT_OPENING,
    CommittedLeaf,
    LeafOpening,
    RecipientOpening,
    RecordOpening,
    open_leaf,
    open_recipient,
)
from noise.protocol.evidence.proof import Finding, make_proof
from noise.protocol.evidence.rosters import Rosters
from noise.protocol.evidence.verdict import NotProven, nothing_else
from noise.protocol.history import HISTORY_RECORD
from noise.protocol.identifiers import parse_seq
from noise.protocol.merkle import leaf_hashes, tree_root
from noise.protocol.statements import MESSAGE_LEAF

TESTIMONY_ROSTERS_MAX = 4


class Testimony(NamedTuple):
    """Either `delivered`, and that the peer who asks is among the message's recipients, or `absent`."""

    rosters: Annotated[tuple[SignedRoster, ...], list_of(SIGNED_ROSTER, TESTIMONY_ROSTERS_MAX)]
    delivered: Annotated[LeafOpening | None, optional(LEAF_OPENING)]
    recipient: Annotated[RecipientOpening | None, optional(RECIPIENT_OPENING)]
    absent: Annotated[Absence | None, optional(ABSENCE)]


def _check_testimony(value: Testimony) -> None:
    if (value.delivered is None) == (value.absent is None):
        raise DecodeError("a message was delivered, or it was not")
    if value.delivered is None and value.recipient is not None:
        raise DecodeError("a recipient of a message that was not delivered")


TESTIMONY = struct_codec(Testimony, check=_check_testimony)


def testify(material: Material, seq: bytes, peer: bytes) -> Testimony:
    """What the provider said about `seq` in this mailbox: that it delivered it, also for `peer`, or that it did not.

    Raises EvidenceUnavailable: `evidence-future` when the epoch, or what came in it, is not verified yet;
    `evidence-dropped` when too much of what it takes was forgotten; `evidence-private` when the message is not for
    `peer`, whose business it then is not. To ourselves (our mailbox as `peer`) we show that too; it must not leave
    before the peer has shown that it has a message there.
    """
    return testify_from(attested(material), seq, peer)


def testify_from(known: Attested, seq: bytes, peer: bytes) -> Testimony:
    """`testify`, from what is known of a history under a signed state, trusted or not."""
    epoch, state = parse_seq(seq)[0], known.state
    if epoch > known.epoch:
        raise EvidenceUnavailable(f"epoch {epoch} is not verified yet", code="evidence-future")
    if state is None or state.last_epoch < epoch:
        return Testimony(known.rosters, None, None, Absence(known.opening, None, None, None))
    at = bisect_left(known.records, epoch, key=lambda record: HISTORY_RECORD.decode(record).epoch)
    if at == len(known.records):
        if known.next_index == state.hist_size:
            raise EvidenceUnavailable(f"what came in epoch {epoch} was forgotten")
        raise EvidenceUnavailable(f"what came in epoch {epoch} is not verified yet", code="evidence-future")
    index, record = known.first_index + at, HISTORY_RECORD.decode(known.records[at])
    if record.epoch > epoch and index and record.prev_epoch >= epoch:
        raise EvidenceUnavailable(f"what came in epoch {epoch} was forgotten")
    try:
        opening = known.record(index)
    except ProofError as error:  # there are more records than have come
        raise EvidenceUnavailable("what came since is not verified yet", code="evidence-future") from error
    if record.epoch > epoch:
        return Testimony(known.rosters, None, None, Absence(None, opening, None, None))
    leaves = known.leaves_of(index)
    if tree_root(leaf_hashes(leaves)) != record.delta_root:
        raise EvidenceUnavailable(f"the messages of epoch {epoch} were forgotten")
    return _testify_inside(known, opening, leaves, seq, peer)


def _testify_inside(
    known: Attested, opening: RecordOpening, leaves: Sequence[bytes], seq: bytes, peer: bytes
) -> Testimony:
    """From the record of the very epoch."""
    at = bisect_left(leaves, seq, key=lambda leaf: MESSAGE_LEAF.decode(leaf).seq)
    if at == len(leaves) or MESSAGE_LEAF.decode(leaves[at]).seq != seq:
        before = place_leaf(leaves, at - 1) if at else None
        after = place_leaf(leaves, at) if at < len(leaves) else None
        return Testimony(known.rosters, None, None, Absence(None, opening, before, after))
    recipients = known.recipients_of(MESSAGE_LEAF.decode(leaves[at]).recipients_root)
    if recipients is None:
        raise EvidenceUnavailable("the recipient list of the message was forgotten")
    recipient = None
    if peer in recipients.device_ids:
        recipient = open_device(recipients, recipients.device_ids.index(peer))
    elif peer != known.mailbox:
        raise EvidenceUnavailable("the message is not for the peer", code="evidence-private")
    return Testimony(known.rosters, LeafOpening(opening, *place_leaf(leaves, at)), recipient, None)


def check_testimony(testimony: Testimony, origin: bytes, mailbox: bytes, seq: bytes) -> bytes | None:
    """The leaf, encoded, that the provider delivered to `mailbox` at `seq`; None: by its word there is none.

    Raises DecodeError or NotProven, and then it is nobody's word. `testimony.recipient` is a recipient of that message,
    whoever that is.
    """
    parse_seq(seq)
    with nothing_else():
        rosters = Rosters(origin, testimony.rosters)
        if testimony.absent is not None:
            if open_absence(rosters, testimony.absent, seq).mailbox != mailbox:
                raise NotProven("it is about another mailbox")
            return None
        if testimony.delivered is None:
            raise DecodeError("a message was delivered, or it was not")
        opened = open_leaf(rosters, testimony.delivered)
        if (opened.mailbox, opened.leaf.seq) != (mailbox, seq):
            raise NotProven("it is about another mailbox, or another message")
        if testimony.recipient is not None:
            open_recipient(opened.leaf, testimony.recipient)
        return opened.encoded


def accuse_message(
    origin: bytes, ours: Testimony, our_id: bytes, theirs: Testimony, their_id: bytes, seq: bytes
) -> bytes:
    """The proof that two testimonies about one seq make together: Conflict or Omission.

    For an Omission, whoever has the message must have testified for the other. Raises DecodeError or NotProven, when a
    testimony is nobody's word, or when the provider says the same to both.
    """
    check_testimony(ours, origin, our_id, seq)
    check_testimony(theirs, origin, their_id, seq)
    finding: Finding
    if ours.delivered is not None and theirs.delivered is not None:
        finding = Conflict(CommittedLeaf(None, ours.delivered), CommittedLeaf(None, theirs.delivered))
    elif ours.delivered is not None:
        finding = _omission(ours, theirs)
    else:
        finding = _omission(theirs, ours)
    return make_proof(origin, (*ours.rosters, *theirs.rosters), finding)


def _omission(has: Testimony, lacks: Testimony) -> Omission:
    if has.delivered is None or lacks.absent is None:
        raise NotProven("neither has a message there")
    if has.recipient is None:
        raise NotProven("it is not shown that the message was for both")
    return Omission(CommittedLeaf(None, has.delivered), has.recipient, lacks.absent)
