"""What clients tell each other about their provider: views, the frames of a dispute, and how a gossip link begins.

Knows nothing of what carries a frame: a link between two clients, a sealed message, or a file, which may lose, repeat
and reorder. So an answer says again what it answers, and whoever hears none asks again. Nothing here convicts anybody:
a peer's words are hints, and only what the provider signed counts.
"""

import base64
from collections.abc import Callable, Collection, Sequence
from enum import IntEnum
from typing import Annotated, Any, NamedTuple, TypeAlias

from noise.protocol.checkpoint import key_id, log_name_of, parse_checkpoint, verify_checkpoint
from noise.protocol.encoding import (
    U8,
    U32,
    U64,
    Bytes16,
    Bytes32,
    Bytes64,
    Vec32,
    embedded,
    list_of,
    optional,
    struct_codec,
)
from noise.protocol.errors import DecodeError, NoiseError, SignatureError
from noise.protocol.frame_family import FrameFamily
from noise.protocol.identifiers import device_id_of
from noise.protocol.pair_chain import CHAIN_ITEM, CUT, ChainItem, Comparison, Cut, KnownCuts
from noise.protocol.signing import Signer, verify_strict

GOSSIP_PATH = "/v1/gossip"
SUBPROTOCOL_GOSSIP = "noise-gossip.v1"

VIEW_CUTS_MAX = 3
"""Cuts in a view: say, the newest, one that the peer has surely reached, and one between."""

VIEW_BYTES_MAX = 300
"""An encoded view: it travels inside every per-recipient ciphertext."""

PAGE_ITEMS_MAX = 256
"""Chain items in a page of a section: 12 KiB."""

ANSWER_BYTES_MAX = 1 << 20
"""A testimony, a log opening or a proof, encoded: as much as a whole proof of misbehaviour."""

GOSSIP_FRAME_BYTES_MAX = ANSWER_BYTES_MAX + 64
"""A frame: the largest answer, and what it answers."""

ItemsReader: TypeAlias = Callable[[int, int], Sequence[ChainItem]]
"""`items(after_length, count)`: items of our own chain with a peer, from number `after_length` (the first is 0) on, at
most so many, all there are. Raises NoiseError when they are not kept any more."""


class CompactCheckpoint(NamedTuple):
    """A checkpoint without what its reader knows anyway: the log's name and key."""

    size: U64
    root: Bytes32
    signature: Bytes64


COMPACT_CHECKPOINT = struct_codec(CompactCheckpoint)


def compact(note: bytes) -> CompactCheckpoint:
    """The compact form of a signed note. Raises DecodeError."""
    checkpoint, _, _, signature = parse_checkpoint(note)
    return CompactCheckpoint(checkpoint.size, checkpoint.root, signature)


def expand(checkpoint: CompactCheckpoint, origin: bytes, key: bytes) -> bytes:
    """The note, byte for byte, that the log of `origin` signed with `key`. Raises DecodeError or SignatureError."""
    name = log_name_of(origin)
    text = f"{name}\n{checkpoint.size}\n{base64.b64encode(checkpoint.root).decode()}\n"
    line = base64.b64encode(key_id(name, key) + checkpoint.signature).decode()
    note = f"{text}\n\u2014 {name} {line}\n".encode()
    verify_checkpoint(note, name, key)
    return note


class View(NamedTuple):
    """What a client says of its provider to one peer, unasked: a checkpoint, and cuts of the pair's chain."""

    checkpoint: Annotated[CompactCheckpoint | None, optional(COMPACT_CHECKPOINT)]
    cuts: Annotated[tuple[Cut, ...], list_of(CUT, VIEW_CUTS_MAX)]


VIEW = struct_codec(View)


class Reason(IntEnum):
    """Why an answer is empty. A number, so that no peer puts words on somebody's screen."""

    NONE = 0  # it is not
    LATER = 1  # not verified that far
    FORGOTTEN = 2  # not kept any more
    UNWILLING = 3  # anything else; unknown numbers mean the same


class LinkChallenge(NamedTuple):
    """Both sides' first frame on a link: who I claim to be at which provider, and what you shall sign. Fresh nonce."""

    origin: Bytes32
    device_id: Bytes32
    nonce: Bytes32


class LinkProof(NamedTuple):
    """What a device signs to open a link: that it speaks with this peer, who gave it this nonce."""

    origin: Bytes32
    device_id: Bytes32
    key: Bytes32
    nonce: Bytes32
    peer_id: Bytes32


LINK_PROOF = struct_codec(LinkProof, record_type=25)


class LinkProofFrame(NamedTuple):
    body: Annotated[bytes, embedded(LINK_PROOF)]
    signature: Bytes64


class ViewFrame(NamedTuple):
    view: Annotated[View, VIEW]


class SectionRequest(NamedTuple):
    """For a page of the peer's chain as it stands at `epoch`, from item number `after_length` on."""

    request: U32
    epoch: U64
    after_length: U64


class SectionFrame(NamedTuple):
    """A page: PAGE_ITEMS_MAX items, or all that are left."""

    request: U32
    epoch: U64
    after_length: U64
    reason: U8
    items: Annotated[tuple[ChainItem, ...], list_of(CHAIN_ITEM, PAGE_ITEMS_MAX)]


class StatementRequest(NamedTuple):
    """For what the peer can show of the provider's word about one message: that it was delivered, or was not."""

    request: U32
    seq: Bytes16


class StatementFrame(NamedTuple):
    request: U32
    seq: Bytes16
    reason: U8
    testimony: Vec32


class LogRequest(NamedTuple):
    """For the record of one epoch, opened in a log whose checkpoint the peer has."""

    request: U32
    epoch: U64


class LogFrame(NamedTuple):
    request: U32
    epoch: U64
    reason: U8
    opening: Vec32


class ProofFrame(NamedTuple):
    """A proof of misbehaviour, whole."""

    proof: Vec32


GossipFrame: TypeAlias = (
    LinkChallenge
    | LinkProofFrame
    | ViewFrame
    | SectionRequest
    | SectionFrame
    | StatementRequest
    | StatementFrame
    | LogRequest
    | LogFrame
    | ProofFrame
)

GOSSIP_TYPES: dict[str, tuple[int, type[GossipFrame]]] = {
    "challenge": (1, LinkChallenge),
    "link-proof": (2, LinkProofFrame),
    "view": (3, ViewFrame),
    "section-request": (4, SectionRequest),
    "section": (5, SectionFrame),
    "statement-request": (6, StatementRequest),
    "statement": (7, StatementFrame),
    "log-request": (8, LogRequest),
    "log": (9, LogFrame),
    "proof": (10, ProofFrame),
}
LINK_FRAMES: frozenset[type[GossipFrame]] = frozenset({LinkChallenge, LinkProofFrame})
"""What only a link carries, before anything else and never again."""

CONTENT_FRAMES: frozenset[type[GossipFrame]] = frozenset(cls for _, cls in GOSSIP_TYPES.values()) - LINK_FRAMES
"""What every carrier carries, in any order."""

_FAMILY: FrameFamily[GossipFrame] = FrameFamily(GOSSIP_TYPES, bytes_max=GOSSIP_FRAME_BYTES_MAX, noun="gossip frame")
_CODECS = _FAMILY.codecs


def encode_gossip(frame: GossipFrame) -> bytes:
    """`u8 type || structure`. Raises DecodeError for what no reader would accept."""
    encoded = _FAMILY.encode(frame)
    parse_gossip(encoded)
    return encoded


def parse_gossip(data: bytes, may_come: Collection[type[GossipFrame]] = CONTENT_FRAMES | LINK_FRAMES) -> GossipFrame:
    """The exact inverse of `encode_gossip`. Raises DecodeError. Of a type that may not come only the type is read."""
    return _FAMILY.parse(data, may_come)


def answer_challenge(signer: Signer, origin: bytes, challenge: LinkChallenge) -> LinkProofFrame:
    """What a device signs for a peer's challenge. Raises DecodeError when it is another provider's, or our own."""
    device_id = device_id_of(signer.public_key)
    if challenge.origin != origin:
        raise DecodeError("the peer follows another provider", code="wrong-origin")
    if challenge.device_id == device_id:
        raise DecodeError("a link to ourselves", code="wrong-peer")
    proof = LinkProof(origin, device_id, signer.public_key, challenge.nonce, challenge.device_id)
    return LinkProofFrame(*signer.sign("gossip", origin, LINK_PROOF.encode(proof)))


def verify_link(frame: LinkProofFrame, ours: LinkChallenge, theirs: LinkChallenge) -> None:
    """That the peer is who its challenge claims, and signs for ours. Raises DecodeError or SignatureError."""
    proof = LINK_PROOF.decode(frame.body)
    if proof.origin != ours.origin:
        raise DecodeError("the peer follows another provider", code="wrong-origin")
    if proof.nonce != ours.nonce or proof.peer_id != ours.device_id:
        raise DecodeError("a proof for another link", code="wrong-nonce")
    if proof.device_id != theirs.device_id or proof.device_id == ours.device_id:
        raise DecodeError("the proof of another device", code="wrong-peer")
    if device_id_of(proof.key) != proof.device_id:
        raise SignatureError("the key is not that of the device", code="wrong-key")
    verify_strict(proof.key, frame.signature, "gossip", ours.origin, frame.body)


def answer_section(request: SectionRequest, own: KnownCuts, items: ItemsReader) -> SectionFrame:
    """The page of our chain with this peer that was asked for; what is not there is answered, too."""
    cut = own.at(request.epoch)
    reason, page = Reason.NONE, tuple[ChainItem, ...]()
    if isinstance(cut, Comparison):
        reason = Reason.LATER if cut is Comparison.LATER else Reason.FORGOTTEN
    else:
        count = min(PAGE_ITEMS_MAX, max(0, cut.length - request.after_length))
        try:
            page = tuple(items(request.after_length, count)) if count else ()
        except NoiseError:
            page = ()
        if len(page) != count:
            reason, page = Reason.FORGOTTEN, ()
    return SectionFrame(request.request, request.epoch, request.after_length, reason, page)


def answer_statement(request: StatementRequest, testify: Callable[[bytes], bytes]) -> StatementFrame:
    """Our testimony about a message. `testify(seq)` returns it encoded, or raises NoiseError."""
    reason, testimony = _answer(testify, request.seq)
    return StatementFrame(request.request, request.seq, reason, testimony)


def answer_log(request: LogRequest, opening: Callable[[int], bytes]) -> LogFrame:
    """Our opening of an epoch's record. `opening(epoch)` returns it encoded, or raises NoiseError."""
    reason, encoded = _answer(opening, request.epoch)
    return LogFrame(request.request, request.epoch, reason, encoded)


def _answer(show: Callable[[Any], bytes], subject: bytes | int) -> tuple[Reason, bytes]:
    try:
        shown = show(subject)
    except NoiseError as error:
        return _REASONS.get(error.code, Reason.UNWILLING), b""
    return (Reason.NONE, shown) if 0 < len(shown) <= ANSWER_BYTES_MAX else (Reason.UNWILLING, b"")


_REASONS = {"evidence-future": Reason.LATER, "evidence-dropped": Reason.FORGOTTEN}
