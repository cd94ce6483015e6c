"""Openings: one value each that a provider signed for, with all that leads from its signature to the value.

Knows nothing of contradictions. Each opening is a structure and an `open_*` that checks it against rosters that are
verified, and returns plain values. An opening holds the one before it: log, head, state, record, leaf.

Every size comes from the signed bytes that carry the root. An honest provider signs what these functions return, and
nothing that contradicts it, whoever puts the pieces together. All of them raise DecodeError for what is not well
formed and NotProven, ProofError or SignatureError for the rest: see `verdict.nothing_else`.
"""

from typing import Annotated, NamedTuple, get_args

from noise.protocol.checkpoint import log_name_of, parse_checkpoint
from noise.protocol.delta import OTHER_LEAF, SIGNED_HEAD, OtherLeaf, SignedHead
from noise.protocol.encoding import (
    U16,
    U32,
    U64,
    Bytes16,
    Bytes32,
    Codec,
    Vec16,
    embedded,
    list_of,
    optional,
    struct_codec,
)
from noise.protocol.envelope import RECIPIENT_LEAF
from noise.protocol.errors import DecodeError
from noise.protocol.evidence.rosters import Rosters
from noise.protocol.evidence.verdict import NotProven
from noise.protocol.frames import SIGNED_MANIFEST, SignedManifest
from noise.protocol.history import (
    HISTORY_RECORD,
    MAILBOX_STATE,
    HistoryRecord,
    MailboxState,
    hash_state,
    map_key_of,
)
from noise.protocol.identifiers import Actor, Role, make_seq, parse_actor, parse_seq
from noise.protocol.limits import BUNDLE_MESSAGES_MAX
from noise.protocol.merkle import check_inclusion, leaf_hash, root_from_subset
from noise.protocol.placement import place_mailbox
from noise.protocol.signing import Signed, hasher
from noise.protocol.state_map import MapProof, root_from_proof
from noise.protocol.statements import (
    EPOCH_HEAD,
    EPOCH_RECORD,
    MANIFEST,
    MESSAGE_LEAF,
    NO_OVERRIDES,
    EpochHead,
    EpochRecord,
    MessageLeaf,
    Roster,
    hash_head,
    statement_leaf_hash,
    verify_statement,
)

PROOF_HASHES_MAX = 128
"""Hashes in one Merkle or state-map proof: a path in a state map may have 128, and no other has more."""

_HASH: Codec[bytes] = get_args(Bytes32)[1]
ProofHashes = Annotated[tuple[bytes, ...], list_of(_HASH, PROOF_HASHES_MAX)]
LeafHashes = Annotated[tuple[bytes, ...], list_of(_HASH, BUNDLE_MESSAGES_MAX)]

_hash_recipient = hasher("rcpt")


class LogOpening(NamedTuple):
    """`record`: leaf `place` of the log of a checkpoint note."""

    note: Vec16
    place: U64
    record: Annotated[bytes, embedded(EPOCH_RECORD)]
    proof: ProofHashes


LOG_OPENING = struct_codec(LogOpening)


class HeadOpening(NamedTuple):
    """`proof`: inclusion of the head among the statements of the epoch record."""

    log: Annotated[LogOpening, LOG_OPENING]
    head: Annotated[SignedHead, SIGNED_HEAD]
    proof: ProofHashes


HEAD_OPENING = struct_codec(HeadOpening)


class StateOpening(NamedTuple):
    """A mailbox's state in the map under a head. `state`: empty for none. `path`, `other`: as in a delta."""

    head: Annotated[HeadOpening, HEAD_OPENING]
    mailbox: Bytes32
    state: Annotated[bytes, embedded(MAILBOX_STATE)]
    path: ProofHashes
    other: Annotated[OtherLeaf | None, optional(OTHER_LEAF)]


STATE_OPENING = struct_codec(StateOpening)


class RecordOpening(NamedTuple):
    """`record`: leaf `place` of the history under a state."""

    state: Annotated[StateOpening, STATE_OPENING]
    place: U64
    record: Annotated[bytes, embedded(HISTORY_RECORD)]
    proof: ProofHashes


RECORD_OPENING = struct_codec(RecordOpening)


class PlacedLeaf(NamedTuple):
    """`leaf`: the message at `place` of a history record that is opened beside it."""

    place: U32
    leaf: Annotated[bytes, embedded(MESSAGE_LEAF)]
    proof: ProofHashes


PLACED_LEAF = struct_codec(PlacedLeaf)


class LeafOpening(NamedTuple):
    """`leaf`: the message at `place` of a history record: it was delivered to that mailbox."""

    record: Annotated[RecordOpening, RECORD_OPENING]
    place: U32
    leaf: Annotated[bytes, embedded(MESSAGE_LEAF)]
    proof: ProofHashes


LEAF_OPENING = struct_codec(LeafOpening)


class SequencedLeaf(NamedTuple):
    """`leaf`: message `place` of a bundle that has the positions from `first_pos` on in an inbox's manifest.

    `leaf_hashes`: of the whole bundle, or of any run of neighbours. `proof`: subset proof of the run.
    """

    manifest: Annotated[SignedManifest, SIGNED_MANIFEST]
    roster_hash: Bytes32
    first_pos: U32
    leaf_hashes: LeafHashes
    place: U16
    leaf: Annotated[bytes, embedded(MESSAGE_LEAF)]
    proof: ProofHashes


SEQUENCED_LEAF = struct_codec(SequencedLeaf)


class CommittedLeaf(NamedTuple):
    """A message that the provider committed to: by an inbox's manifest, or by delivering it. Exactly one is there."""

    sequenced: Annotated[SequencedLeaf | None, optional(SEQUENCED_LEAF)]
    delivered: Annotated[LeafOpening | None, optional(LEAF_OPENING)]


COMMITTED_LEAF = struct_codec(CommittedLeaf)


class RecipientOpening(NamedTuple):
    """Recipient `place` of a message, by its leaf's `recipients_root`; `salt` is the recipient's own."""

    device_id: Bytes32
    salt: Bytes16
    place: U16
    proof: ProofHashes


RECIPIENT_OPENING = struct_codec(RecipientOpening)


class OpenedNote(NamedTuple):
    size: int
    root: bytes
    key: bytes


class OpenedLog(NamedTuple):
    """A committed epoch record, and the roster that it names."""

    note: OpenedNote
    record: EpochRecord
    roster: Roster

    @property
    def epoch(self) -> int:
        return self.record.epoch


class OpenedHead(NamedTuple):
    """A committed head. `signer`: (actor, key)."""

    log: OpenedLog
    head: EpochHead
    signer: tuple[Actor, bytes]

    @property
    def epoch(self) -> int:
        return self.log.record.epoch


class OpenedState(NamedTuple):
    """What a provider said of a mailbox as of an epoch. `state`: None for none."""

    head: OpenedHead
    mailbox: bytes
    state: MailboxState | None

    @property
    def epoch(self) -> int:
        """As of this epoch, its deliveries included."""
        return self.head.log.record.epoch

    @property
    def signer(self) -> tuple[Actor, bytes]:
        return self.head.signer


class OpenedRecord(NamedTuple):
    state: OpenedState
    record: HistoryRecord

    @property
    def signer(self) -> tuple[Actor, bytes]:
        return self.state.head.signer


class OpenedLeaf(NamedTuple):
    """A committed message. `mailbox`: to which it was delivered; None: it was sequenced. `signer`: (actor, key)."""

    encoded: bytes
    leaf: MessageLeaf
    epoch: int
    mailbox: bytes | None
    signer: tuple[Actor, bytes]


def open_note(rosters: Rosters, note: bytes) -> OpenedNote:
    """Size and root that a log key signed."""
    checkpoint = parse_checkpoint(note)[0]
    if checkpoint.log_name != log_name_of(rosters.origin):
        raise NotProven("the checkpoint is another log's")
    return OpenedNote(checkpoint.size, checkpoint.root, rosters.log_key(note))


def open_log_leaf(rosters: Rosters, opening: LogOpening) -> OpenedNote:
    """The note under which `opening.record`, whatever these bytes are, is leaf `opening.place`."""
    note = open_note(rosters, opening.note)
    check_inclusion(note.root, note.size, opening.place, leaf_hash(opening.record), opening.proof)
    return note


def open_log(rosters: Rosters, opening: LogOpening) -> OpenedLog:
    """The epoch record that stands at its own index, under a roster that may bind its epoch."""
    note = open_log_leaf(rosters, opening)
    record = EPOCH_RECORD.decode(opening.record)
    if record.epoch != opening.place:
        raise NotProven("the epoch record is not at its place in the log")
    return OpenedLog(note, record, rosters.find(record.roster_hash, record.epoch))


def open_head(rosters: Rosters, opening: HeadOpening) -> OpenedHead:
    """The head that an outbox signed for the epoch of a record, and that the record commits to."""
    log = open_log(rosters, opening.log)
    record, roster = log.record, log.roster
    signed = Signed(*opening.head)
    head = EPOCH_HEAD.decode(signed.body)
    actor = parse_actor(head.actor)
    if actor.role is not Role.OUTBOX:
        raise NotProven("not the head of an outbox")
    if (head.origin, head.epoch, head.roster_hash) != (rosters.origin, record.epoch, record.roster_hash):
        raise NotProven("the head of another origin, epoch or roster")
    verify_statement(signed, "head", roster, actor, head.incarnation)
    signers = roster.signers()
    if record.statements_count != len(signers):
        raise NotProven("the epoch has not one statement of every actor")
    leaf = statement_leaf_hash(head.actor, hash_head(signed.body))
    check_inclusion(record.statements_root, len(signers), signers.index(head.actor), leaf, opening.proof)
    return OpenedHead(log, head, (actor, roster.entry(actor).key))


def open_state(rosters: Rosters, opening: StateOpening) -> OpenedState:
    """The state of a mailbox, or that it has none, by the word of the outbox that keeps it in that epoch.

    Of generation 0 only: what a mailbox that moved brings with it may speak of another provider's epochs.
    """
    head = open_head(rosters, opening.head)
    record = head.log.record
    if (record.placement_root, record.placement_count) != (NO_OVERRIDES, 0):
        raise NotProven("mailboxes may be elsewhere than hashing says")
    if place_mailbox(head.log.roster, opening.mailbox) != head.signer[0]:
        raise NotProven("another outbox keeps this mailbox")
    value_hash = hash_state(opening.state) if opening.state else None
    other = opening.other
    proof = MapProof(opening.path, (other.key, other.value_hash) if other else None)
    if root_from_proof(map_key_of(opening.mailbox), value_hash, proof) != head.head.map_root:
        raise NotProven("the path does not lead to the root of the state map")
    state = MAILBOX_STATE.decode(opening.state) if opening.state else None
    if state is not None and (state.mailbox, state.gen) != (opening.mailbox, 0):
        raise NotProven("the state of another mailbox, or of one that was elsewhere before")
    return OpenedState(head, opening.mailbox, state)


def open_record_leaf(rosters: Rosters, opening: RecordOpening) -> tuple[OpenedState, MailboxState]:
    """The state under which `opening.record`, whatever these bytes are, is leaf `opening.place` of the history."""
    opened = open_state(rosters, opening.state)
    if opened.state is None:
        raise NotProven("a mailbox without a state has no records")
    state = opened.state
    check_inclusion(state.hist_root, state.hist_size, opening.place, leaf_hash(opening.record), opening.proof)
    return opened, state


def open_record(rosters: Rosters, opening: RecordOpening) -> OpenedRecord:
    """A mailbox's own record, at its own place in its history."""
    state, _ = open_record_leaf(rosters, opening)
    record = HISTORY_RECORD.decode(opening.record)
    if (record.mailbox, record.k) != (opening.state.mailbox, opening.place):
        raise NotProven("the record of another mailbox, or of another place")
    return OpenedRecord(state, record)


def check_placed(record: HistoryRecord, placed: PlacedLeaf) -> None:
    """`placed.leaf`, whatever these bytes are, is leaf `placed.place` of what a record delivered. Raises ProofError."""
    check_inclusion(record.delta_root, record.n_messages, placed.place, leaf_hash(placed.leaf), placed.proof)


def open_leaf(rosters: Rosters, opening: LeafOpening) -> OpenedLeaf:
    """A message that was delivered to a mailbox, in the epoch that its seq names."""
    opened = open_record(rosters, opening.record)
    check_placed(opened.record, PlacedLeaf(opening.place, opening.leaf, opening.proof))
    leaf = MESSAGE_LEAF.decode(opening.leaf)
    epoch = parse_seq(leaf.seq)[0]
    if epoch != opened.record.epoch or epoch > opened.state.epoch:
        raise NotProven("the message of another epoch")
    return OpenedLeaf(opening.leaf, leaf, epoch, opened.record.mailbox, opened.signer)


def open_sequenced(rosters: Rosters, opening: SequencedLeaf) -> OpenedLeaf:
    """A message that an inbox sequenced, at the position that its seq names."""
    signed = Signed(*opening.manifest)
    manifest = MANIFEST.decode(signed.body)
    roster = rosters.find(opening.roster_hash, manifest.epoch)
    inbox = {entry.lane: entry.inbox for entry in roster.lanes}.get(manifest.lane)
    if (manifest.origin, manifest.actor) != (rosters.origin, inbox):
        raise NotProven("the manifest of another origin, or of another lane's inbox")
    actor = parse_actor(manifest.actor)
    verify_statement(signed, "manifest", roster, actor, manifest.incarnation)
    hashes, first_pos, index = opening.leaf_hashes, opening.first_pos, opening.place
    if index >= len(hashes) or hashes[index] != leaf_hash(opening.leaf):
        raise NotProven("the message is not in its bundle")
    positions = range(first_pos, first_pos + len(hashes))
    if root_from_subset(manifest.n_messages, positions, hashes, opening.proof) != manifest.root:
        raise NotProven("the bundle is not in the manifest")
    leaf = MESSAGE_LEAF.decode(opening.leaf)
    if leaf.seq != make_seq(manifest.epoch, manifest.lane, first_pos + index):
        raise NotProven("the message names another position")
    return OpenedLeaf(opening.leaf, leaf, manifest.epoch, None, (actor, roster.entry(actor).key))


def open_committed(rosters: Rosters, opening: CommittedLeaf) -> OpenedLeaf:
    """A message that the provider committed to, one way or the other."""
    if opening.delivered is not None and opening.sequenced is None:
        return open_leaf(rosters, opening.delivered)
    if opening.sequenced is not None and opening.delivered is None:
        return open_sequenced(rosters, opening.sequenced)
    raise DecodeError("a committed message is either sequenced or delivered")


def open_recipient(leaf: MessageLeaf, opening: RecipientOpening) -> bytes:
    """The device id of recipient `opening.place` of a message. Raises ProofError."""
    recipient = leaf_hash(RECIPIENT_LEAF + _hash_recipient(opening.salt + opening.device_id))
    check_inclusion(leaf.recipients_root, leaf.n_recipients, opening.place, recipient, opening.proof)
    return opening.device_id
