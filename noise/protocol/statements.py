"""What actors sign, once per epoch each, and the roster that says who they are.

Knows nothing of how statements come about or where they are kept. Every body starts with a u16 record type and is
hashed under a label of its own. Lists are committed to by a root that travels with its count. Each statement names the
hash of the one that it was made from: manifest, route sheet, merge sheet, head.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Annotated, NamedTuple

from noise.protocol.checkpoint import log_name_of
from noise.protocol.encoding import (
    U16,
    U32,
    U64,
    Bytes5,
    Bytes16,
    Bytes32,
    Hashes,
    Text,
    list_of,
    struct_codec,
)
from noise.protocol.envelope import Bundle
from noise.protocol.errors import DecodeError, SignatureError
from noise.protocol.identifiers import Actor, Role, origin_of, parse_actor
from noise.protocol.limits import LANES_MAX, OUTBOXES_MAX
from noise.protocol.merkle import leaf_hash, tree_root
from noise.protocol.signing import SUITE_ED25519, Signed, check_public_key, hasher, verify_strict

NO_OVERRIDES = tree_root([])
"""`placement_root` when every mailbox is where rendezvous hashing puts it."""

FIRST_INCARNATION = 1
"""Of an actor of the first roster."""

STATEMENT_LEAF = (19).to_bytes(2, "big")

hash_manifest = hasher("manifest")
hash_open = hasher("open")
hash_route = hasher("route")
hash_merge = hasher("merge")
hash_head = hasher("head")
hash_roster = hasher("roster")


class MessageLeaf(NamedTuple):
    """One sequenced message: a leaf of its lane's manifest and of every recipient's delta."""

    seq: Bytes16
    sender: Bytes32
    sender_ctr: U64
    env_hash: Bytes32
    bundle_hash: Bytes32
    n_recipients: U16
    recipients_root: Bytes32
    payload_hash: Bytes32
    ciphertexts_root: Bytes32


MESSAGE_LEAF = struct_codec(MessageLeaf, record_type=3)


class Manifest(NamedTuple):
    """An inbox's statement: `n_messages` of one lane in position order. `previous`: hash of its last manifest."""

    origin: Bytes32
    actor: Bytes5
    incarnation: U32
    epoch: U64
    lane: U16
    n_messages: U32
    root: Bytes32
    previous: Bytes32


MANIFEST = struct_codec(Manifest, record_type=4)


class SheetItem(NamedTuple):
    """What a sheet holds for one mailbox. `delta_root`: tree over its `n_messages` MessageLeaves, seq strictly
    increasing. In a merge sheet these are those of the mailbox's history record of the epoch."""

    mailbox: Bytes32
    n_messages: U32
    delta_root: Bytes32


SHEET_ITEM = struct_codec(SheetItem, record_type=21)


class RouteEntry(NamedTuple):
    """What a router holds for one outbox: a tree over its SheetItems, mailboxes strictly increasing."""

    outbox: Bytes5
    n_mailboxes: U32
    root: Bytes32


ROUTE_ENTRY = struct_codec(RouteEntry, record_type=22)


class RouteSheet(NamedTuple):
    """A router's statement: how it sorted the lane of its inbox. `root`: tree over a RouteEntry for each of the
    roster's `n_outboxes` outboxes, in order. `previous`: hash of its last sheet."""

    origin: Bytes32
    actor: Bytes5
    incarnation: U32
    epoch: U64
    roster_hash: Bytes32
    lane: U16
    manifest_hash: Bytes32
    n_outboxes: U16
    root: Bytes32
    previous: Bytes32


ROUTE_SHEET = struct_codec(RouteSheet, record_type=13)


class MergeSheet(NamedTuple):
    """A receiver's statement: what it merged for its outbox. `inputs`: hash of every lane's route sheet, lanes in
    order. `root`: tree over `n_mailboxes` SheetItems, mailboxes strictly increasing. `previous`: hash of its last."""

    origin: Bytes32
    actor: Bytes5
    incarnation: U32
    epoch: U64
    roster_hash: Bytes32
    inputs: Hashes
    n_mailboxes: U32
    root: Bytes32
    previous: Bytes32


MERGE_SHEET = struct_codec(MergeSheet, record_type=14)


class EpochHead(NamedTuple):
    """An outbox's statement: the state map of its mailboxes after an epoch. `previous`: hash of its last head."""

    origin: Bytes32
    actor: Bytes5
    incarnation: U32
    epoch: U64
    merge_sheet_hash: Bytes32
    map_root: Bytes32
    map_count: U64
    previous: Bytes32
    roster_hash: Bytes32


EPOCH_HEAD = struct_codec(EpochHead, record_type=5)


class EpochOpen(NamedTuple):
    """The sequencer's statement: under which roster and placement an epoch runs, and which handoffs it holds."""

    origin: Bytes32
    actor: Bytes5
    incarnation: U32
    epoch: U64
    roster_hash: Bytes32
    placement_root: Bytes32
    placement_count: U32
    handoffs_root: Bytes32
    handoffs_count: U32


EPOCH_OPEN = struct_codec(EpochOpen, record_type=6)


class EpochRecord(NamedTuple):
    """Leaf `epoch` of the log. `prev_root`: the log's root before this leaf, so that a fork contradicts itself here."""

    epoch: U64
    prev_root: Bytes32
    time_ms: U64
    roster_hash: Bytes32
    placement_root: Bytes32
    placement_count: U32
    statements_root: Bytes32
    statements_count: U32
    challenges_root: Bytes32
    challenges_count: U32
    n_messages: U32


EPOCH_RECORD = struct_codec(EpochRecord, record_type=7)


class RosterEntry(NamedTuple):
    actor: Bytes5
    incarnation: U32
    suite: U16
    key: Bytes32


ROSTER_ENTRY = struct_codec(RosterEntry)


class Lane(NamedTuple):
    """Which inbox numbers the positions of a lane."""

    lane: U16
    inbox: Bytes5


LANE = struct_codec(Lane)


class Parameters(NamedTuple):
    """What the operator chose. In milliseconds: the shortest and the idle interval of epochs, and the heartbeat.

    In epochs: for how long every actor keeps what it was given and what it made of it, and how long it may take to
    answer a challenge.
    """

    epoch_ms: U32
    idle_ms: U32
    heartbeat_ms: U32
    custody_epochs: U32
    challenge_epochs: U32


PARAMETERS = struct_codec(Parameters)


class Roster(NamedTuple):
    """Who signs for a provider, from an epoch on. Signed by the root key. `actors` and `lanes` strictly increase."""

    origin: Bytes32
    version: U32
    previous: Bytes32
    valid_from_epoch: U64
    root_key: Bytes32
    log_name: Text
    actors: Annotated[tuple[RosterEntry, ...], list_of(ROSTER_ENTRY)]
    lanes: Annotated[tuple[Lane, ...], list_of(LANE)]
    parameters: Annotated[Parameters, PARAMETERS]

    def entry(self, actor: Actor) -> RosterEntry:
        """Raises SignatureError when the roster does not name the actor."""
        wanted = actor.encode()
        for entry in self.actors:
            if entry.actor == wanted:
                return entry
        raise SignatureError(f"the roster names no {actor}", code="unknown-actor")

    def count_of(self, role: Role) -> int:
        return sum(entry.actor[0] == role for entry in self.actors)

    def signers(self) -> list[bytes]:
        """The actors whose statements an epoch's `statements_root` holds, in its order: all but the log."""
        return [e.actor for e in self.actors if e.actor[0] != Role.LOG]

    def lane_of(self, inbox: bytes) -> int:
        """The lane of an inbox. Raises SignatureError when the roster does not name it."""
        for one in self.lanes:
            if one.inbox == inbox:
                return one.lane
        raise SignatureError("the roster names no such inbox", code="unknown-actor")

    def numbers(self, role: Role) -> list[int]:
        """Of the actors of a role, in order."""
        return [parse_actor(e.actor).number for e in self.actors if e.actor[0] == role]


class RosterInForce(NamedTuple):
    """A roster, and the hash by which statements made under it name it."""

    roster: Roster
    roster_hash: bytes


def _check_roster(roster: Roster) -> None:
    actors = [entry.actor for entry in roster.actors]
    if any(a >= b for a, b in pairwise(actors)):
        raise DecodeError("roster actors must strictly increase")
    for entry in roster.actors:
        parse_actor(entry.actor)
        if entry.suite != SUITE_ED25519:
            raise DecodeError("unknown signature suite in roster")
    lanes = [lane.lane for lane in roster.lanes]
    if any(a >= b for a, b in pairwise(lanes)):
        raise DecodeError("roster lanes must strictly increase")
    if any(lane.inbox not in actors or lane.inbox[0] != Role.INBOX for lane in roster.lanes):
        raise DecodeError("a lane needs an inbox of the roster")
    counts = {role: roster.count_of(role) for role in Role}
    if counts[Role.SEQUENCER] != 1 or counts[Role.LOG] != 1 or not counts[Role.INBOX] or not counts[Role.OUTBOX]:
        raise DecodeError("a roster needs one sequencer, one log, inboxes and outboxes")
    if counts[Role.INBOX] > LANES_MAX or counts[Role.OUTBOX] > OUTBOXES_MAX:
        raise DecodeError("more inboxes or outboxes than a provider may have")
    for role in (Role.INBOX, Role.OUTBOX):
        if roster.numbers(role) != list(range(counts[role])):
            raise DecodeError("inboxes and outboxes are numbered from 0 on")
    if not roster.parameters.custody_epochs or not roster.parameters.challenge_epochs:
        raise DecodeError("actors answer for some epochs, and have some time to")
    if roster.numbers(Role.ROUTER) != roster.numbers(Role.INBOX):
        raise DecodeError("a roster needs one router for each inbox, of its number")
    if roster.numbers(Role.RECEIVER) != roster.numbers(Role.OUTBOX):
        raise DecodeError("a roster needs one receiver for each outbox, of its number")
    if sorted(lane.inbox for lane in roster.lanes) != [a for a in actors if a[0] == Role.INBOX]:
        raise DecodeError("every inbox has one lane")


ROSTER = struct_codec(Roster, record_type=8, check=_check_roster)


def open_roster(signed: Signed, origin: bytes) -> Roster:
    """Decode and verify a roster against a pinned origin. Raises DecodeError or SignatureError."""
    roster = ROSTER.decode(signed.body)
    if roster.origin != origin or origin_of(roster.root_key) != origin or roster.log_name != log_name_of(origin):
        raise SignatureError("the roster is another provider's", code="wrong-origin")
    verify_strict(roster.root_key, signed.signature, "roster", origin, signed.body)
    keys = [roster.root_key, *(entry.key for entry in roster.actors)]
    for key in keys:
        check_public_key(key)
    if len(set(keys)) != len(keys):
        raise SignatureError("one key has two roles", code="bad-key")
    return roster


def check_successor(previous: Signed, roster: Roster) -> None:
    """A roster follows the one before it by version and hash. Raises DecodeError."""
    before = ROSTER.decode(previous.body)
    if (roster.version, roster.previous) != (before.version + 1, hash_roster(previous.body)):
        raise DecodeError("roster does not follow the one before it")
    if roster.valid_from_epoch < before.valid_from_epoch:
        raise DecodeError("roster binds epochs that the one before it ended")


STATEMENTS: dict[Role, tuple[str, Callable[[bytes], bytes]]] = {
    Role.INBOX: ("manifest", hash_manifest),
    Role.ROUTER: ("route", hash_route),
    Role.RECEIVER: ("merge", hash_merge),
    Role.OUTBOX: ("head", hash_head),
    Role.SEQUENCER: ("open", hash_open),
}
"""What each role signs, once per epoch: signature label, and hash of the body."""


def hash_statement(actor: bytes, body: bytes) -> bytes:
    """The hash of what an actor signed, by which others name it."""
    return STATEMENTS[Role(actor[0])][1](body)


def statement_leaf_hash(actor: bytes, body_hash: bytes) -> bytes:
    """A leaf of `EpochRecord.statements_root`; leaves stand in the order of `Roster.signers`."""
    return leaf_hash(STATEMENT_LEAF + actor + body_hash)


def verify_statement(signed: Signed, label: str, roster: Roster, actor: Actor, incarnation: int) -> None:
    """Raises SignatureError unless the roster's `actor` signed, in this incarnation."""
    entry = roster.entry(actor)
    if entry.incarnation != incarnation:
        raise SignatureError(f"{actor} signs as an incarnation that the roster does not name", code="wrong-incarnation")
    verify_strict(entry.key, signed.signature, label, roster.origin, signed.body)


def message_leaves(bundle: Bundle, seqs: Sequence[bytes]) -> list[bytes]:
    """The encoded leaves of a whole bundle whose messages stand at `seqs`. Raises DecodeError."""
    if not {16}.issuperset(map(len, seqs)):
        raise DecodeError("a seq has 16 bytes")
    pack = MESSAGE_LEAF.pack
    sender, bundle_hash = bundle.sender, bundle.bundle_hash
    shapes = [(len(r.device_ids), r.root) for r in bundle.recipients]
    ctrs = range(bundle.first_ctr, bundle.first_ctr + bundle.count)
    columns = (bundle.rows, bundle.env_hashes, bundle.payload_hashes, bundle.ciphertexts_roots)
    return [
        pack(seq, sender, ctr, env_hash, bundle_hash, *shapes[row[0]], payload_hash, ct_root)
        for seq, ctr, row, env_hash, payload_hash, ct_root in zip(seqs, ctrs, *columns, strict=True)
    ]
