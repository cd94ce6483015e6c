"""What crosses a push connection, in both directions: one u8 type and one structure per frame, binary or JSON.

Knows nothing of WebSockets, and nothing of which frame may come when: that is `noise.protocol.push_session`.
The same bundle and receipt travel over HTTP.
"""

from collections.abc import Collection
from typing import Annotated, NamedTuple, TypeAlias

from noise.protocol.delta import DELTA, Delta
from noise.protocol.encoding import (
    U32,
    U64,
    Bytes16,
    Bytes32,
    Bytes64,
    Hashes,
    Text,
    embedded,
    struct_codec,
)
from noise.protocol.envelope import BUNDLE_WIRE
from noise.protocol.errors import DecodeError
from noise.protocol.frame_family import FrameFamily
from noise.protocol.identifiers import NO_EPOCH
from noise.protocol.json_text import Json, encode_json, parse_json
from noise.protocol.limits import FRAME_BYTES_MAX
from noise.protocol.statements import MANIFEST

PUSH_PATH = "/v1/push"
SUBPROTOCOL_BINARY = "noise.v1"
SUBPROTOCOL_JSON = "noise.v1+json"


class AuthProof(NamedTuple):
    """What a device signs to read: this nonce, at this origin and host (`audience`), for one purpose, for a while."""

    origin: Bytes32
    device_id: Bytes32
    key: Bytes32
    nonce: Bytes32
    audience: Text
    purpose: Text
    not_after_ms: U64


AUTH_PROOF = struct_codec(AuthProof, record_type=11)
PURPOSE_PUSH = "push"
PURPOSE_SESSION = "session"
PURPOSE_AUDIT = "audit"


class SignedAuthProof(NamedTuple):
    body: Annotated[bytes, embedded(AUTH_PROOF)]
    signature: Bytes64


SIGNED_AUTH_PROOF = struct_codec(SignedAuthProof)


class Cursor(NamedTuple):
    """Where a client stands: log size and roster version it verified, size of the history in the last state that it
    trusts, how many of those records it has verified and stored, and the epoch of the last of these."""

    log_size: U64
    roster_version: U32
    hist_size: U64
    hist_next: U64
    last_epoch: U64


CURSOR = struct_codec(Cursor)
START = Cursor(0, 0, 0, 0, NO_EPOCH)


class AckBody(NamedTuple):
    """A device's signed word that it has stored all its records before `hist_next`, attested at `epoch`."""

    origin: Bytes32
    device_id: Bytes32
    key: Bytes32
    epoch: U64
    hist_next: U64


ACK_BODY = struct_codec(AckBody, record_type=12)


class SignedManifest(NamedTuple):
    body: Annotated[bytes, embedded(MANIFEST)]
    signature: Bytes64


SIGNED_MANIFEST = struct_codec(SignedManifest)


class Receipt(NamedTuple):
    """The manifest that sequenced a bundle, and the proof (a subset proof) that the bundle's leaves are in it."""

    manifest: Annotated[SignedManifest, SIGNED_MANIFEST]
    first_seq: Bytes16
    proof: Hashes


RECEIPT = struct_codec(Receipt)


class ChallengeFrame(NamedTuple):
    """The server's first word. `nonce` lives for `life_ms` and serves once."""

    origin: Bytes32
    nonce: Bytes32
    life_ms: U32
    server_ms: U64


CHALLENGE = struct_codec(ChallengeFrame)
"""The same over HTTP, without a type."""


class Session(NamedTuple):
    """Over HTTP: what `Authorization: Bearer` takes, in unpadded base64url, and for how long."""

    token: Bytes32
    life_ms: U32


SESSION = struct_codec(Session)


class AuthFrame(NamedTuple):
    proof: Annotated[SignedAuthProof, SIGNED_AUTH_PROOF]
    cursor: Annotated[Cursor, CURSOR]


class DeltaFrame(NamedTuple):
    delta: Annotated[Delta, DELTA]


class BundleFrame(NamedTuple):
    """`request` comes back in the answer; the client chooses it."""

    request: U32
    bundle: Annotated[bytes, embedded(BUNDLE_WIRE, 4)]


class ReceiptFrame(NamedTuple):
    request: U32
    receipt: Annotated[Receipt, RECEIPT]


class RefusalFrame(NamedTuple):
    """A bundle that was not accepted. Nothing of it was kept; `code` is stable."""

    request: U32
    code: Text
    detail: Text


class AckFrame(NamedTuple):
    body: Annotated[bytes, embedded(ACK_BODY)]
    signature: Bytes64


class PingFrame(NamedTuple):
    token: Bytes16


class PongFrame(NamedTuple):
    token: Bytes16


Frame: TypeAlias = (
    ChallengeFrame
    | AuthFrame
    | DeltaFrame
    | BundleFrame
    | ReceiptFrame
    | RefusalFrame
    | AckFrame
    | PingFrame
    | PongFrame
)

FRAME_TYPES: dict[str, tuple[int, type[Frame]]] = {
    "challenge": (1, ChallengeFrame),
    "auth": (2, AuthFrame),
    "delta": (3, DeltaFrame),
    "bundle": (4, BundleFrame),
    "receipt": (5, ReceiptFrame),
    "refusal": (6, RefusalFrame),
    "ack": (7, AckFrame),
    "ping": (8, PingFrame),
    "pong": (9, PongFrame),
}
_FAMILY: FrameFamily[Frame] = FrameFamily(FRAME_TYPES, bytes_max=FRAME_BYTES_MAX, noun="frame")
_CODECS = _FAMILY.codecs
_BY_NAME = {name: cls for name, (_, cls) in FRAME_TYPES.items()}
_NAMES = {cls: name for name, (_, cls) in FRAME_TYPES.items()}

_EVERY_TYPE = frozenset(_CODECS)

DELTA_PREFIX = _FAMILY.prefixes[DeltaFrame]


def encode_frame(frame: Frame) -> bytes:
    """`u8 type || structure`."""
    return _FAMILY.encode(frame)


def parse_frame(data: bytes, may_come: Collection[type[Frame]] = _EVERY_TYPE) -> Frame:
    """The exact inverse of `encode_frame`. Raises DecodeError.

    Of a type that is not among `may_come` only the type is read: content out of turn costs nothing.
    """
    return _FAMILY.parse(data, may_come)


def encode_frame_json(frame: Frame) -> str:
    """`{"type": name, ...members}`."""
    shown: Json = {"type": _NAMES[type(frame)]} | _CODECS[type(frame)].to_json(frame)
    return encode_json(shown).decode("utf-8")


def parse_frame_json(text: str, may_come: Collection[type[Frame]] = _EVERY_TYPE) -> Frame:
    """The exact inverse of `encode_frame_json`. Raises DecodeError. `may_come`: as in `parse_frame`."""
    if len(text) > 2 * FRAME_BYTES_MAX:
        raise DecodeError("JSON frame too large", code="frame-too-large")
    try:
        value = parse_json(text.encode("utf-8"))
    except UnicodeEncodeError:
        raise DecodeError("JSON frame is not UTF-8") from None
    name = value.pop("type", None) if isinstance(value, dict) else None
    cls = _BY_NAME.get(name) if isinstance(name, str) else None
    return _FAMILY.codec_in_turn(cls, may_come).from_json(value)
