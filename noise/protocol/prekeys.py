"""Prekeys: X25519 keys that a device signs in advance, so that others can seal for it while it is away.

Knows nothing of HPKE (`noise.protocol.sealing`), nor of where keys are kept or how they travel.

A *one-time* key is handed out once; its owner forgets the private half when it has opened what came for it. The
*fallback* is handed out to everybody whenever there is no other. Ids of one device, of both kinds together, rise as
bytes: `prekey_id_of(1)`, `prekey_id_of(2)` and so on. A provider keeps the last id of each device and stores nothing
at or below it, so that nobody can bring back a key that was used, or an older fallback, by uploading it again.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, NamedTuple

from noise.protocol.encoding import U8, U32, U64, Bytes8, Bytes32, Bytes64, embedded, list_of, optional, struct_codec
from noise.protocol.errors import DecodeError, SignatureError
from noise.protocol.identifiers import device_id_of
from noise.protocol.limits import PREKEYS_IN_UPLOAD_MAX
from noise.protocol.signing import Signer, verify_strict

ONE_TIME = 1
FALLBACK = 2

NO_PREKEY_ID = bytes(8)
"""In `PrekeyCount.last_id`: the device never uploaded any. Never a real id."""

_P = 2**255 - 19
_ORDER_8_U = (
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
)
SMALL_ORDER_PUBLICS = frozenset(u.to_bytes(32, "little") for u in (0, 1, _P - 1, *_ORDER_8_U))
"""Canonical X25519 keys with which every shared secret is zero: https://cr.yp.to/ecdh.html, "validate"."""


class Prekey(NamedTuple):
    """What a device signs, with its own `key` (Ed25519). `public`: X25519. `kind`: ONE_TIME or FALLBACK.

    After `not_after_ms` nobody hands it out or seals for it; its owner opens what came before.
    """

    origin: Bytes32
    device_id: Bytes32
    key: Bytes32
    prekey_id: Bytes8
    kind: U8
    public: Bytes32
    not_after_ms: U64


PREKEY = struct_codec(Prekey, record_type=24)


class SignedPrekey(NamedTuple):
    body: Annotated[bytes, embedded(PREKEY)]
    signature: Bytes64


SIGNED_PREKEY = struct_codec(SignedPrekey)


class PrekeyUpload(NamedTuple):
    """Keys of one device, ids rising, at most one of them a fallback."""

    prekeys: Annotated[tuple[SignedPrekey, ...], list_of(SIGNED_PREKEY, PREKEYS_IN_UPLOAD_MAX)]


PREKEY_UPLOAD = struct_codec(PrekeyUpload)


class PrekeyOffer(NamedTuple):
    """What a provider hands to whoever wants to seal for a device: the fallback, and one other key, only this once."""

    one_time: Annotated[SignedPrekey | None, optional(SIGNED_PREKEY)]
    fallback: Annotated[SignedPrekey | None, optional(SIGNED_PREKEY)]


PREKEY_OFFER = struct_codec(PrekeyOffer)


class PrekeyCount(NamedTuple):
    """What a provider holds of a device: unexpired one-time keys, and until when it has a fallback (0: it has none).

    `last_id`: the highest id that it was ever given; keys to come need higher ones.
    """

    one_time: U32
    fallback_not_after_ms: U64
    last_id: Bytes8


PREKEY_COUNT = struct_codec(PrekeyCount)


def prekey_id_of(number: int) -> bytes:
    """The id of a device's prekey `number` (u64, from 1): 8 bytes, big-endian. Raises DecodeError."""
    if not 1 <= number < 1 << 64:
        raise DecodeError("no such number of a prekey")
    return number.to_bytes(8, "big")


def number_of(prekey_id: bytes) -> int:
    """The exact inverse of `prekey_id_of`, and 0 for NO_PREKEY_ID. Raises DecodeError."""
    if len(prekey_id) != 8:
        raise DecodeError("a prekey id has 8 bytes")
    return int.from_bytes(prekey_id, "big")


def check_agreement_key(public: bytes) -> None:
    """Refuse an X25519 public key that is not 32 bytes, not canonical, or of small order. Raises SignatureError."""
    if len(public) != 32:
        raise SignatureError("an X25519 public key has 32 bytes", code="bad-key")
    if int.from_bytes(public, "little") >= _P:
        raise SignatureError("X25519 public key is not canonical", code="bad-key")
    if public in SMALL_ORDER_PUBLICS:
        raise SignatureError("X25519 public key of small order", code="bad-key")


def sign_prekey(
    signer: Signer, origin: bytes, prekey_id: bytes, kind: int, public: bytes, not_after_ms: int
) -> SignedPrekey:
    """A prekey of the device whose key `signer` has, for `origin`."""
    prekey = Prekey(origin, device_id_of(signer.public_key), signer.public_key, prekey_id, kind, public, not_after_ms)
    return SignedPrekey(*signer.sign("prekey", origin, PREKEY.encode(prekey)))


def open_prekey(signed: SignedPrekey, origin: bytes, device_id: bytes) -> Prekey:
    """Decode and verify a prekey that has to be `device_id`'s, for `origin`. Raises DecodeError, SignatureError.

    Whether it has expired is not looked at.
    """
    prekey = PREKEY.decode(signed.body)
    if prekey.kind not in (ONE_TIME, FALLBACK):
        raise DecodeError("a prekey is one-time or fallback")
    if prekey.prekey_id == NO_PREKEY_ID:
        raise DecodeError("ids of prekeys begin with 1")
    if prekey.origin != origin:
        raise SignatureError("the prekey is for another provider", code="wrong-origin")
    if prekey.device_id != device_id or device_id_of(prekey.key) != device_id:
        raise SignatureError("the prekey is another device's", code="wrong-key")
    check_agreement_key(prekey.public)
    verify_strict(prekey.key, signed.signature, "prekey", origin, signed.body)
    return prekey


def open_offer(offer: PrekeyOffer, origin: bytes, device_id: bytes, now_ms: int) -> tuple[Prekey | None, Prekey | None]:
    """(one-time, fallback) of `device_id`, both verified. One that has expired by `now_ms` is left out: None.

    Raises DecodeError, SignatureError: an honest provider hands out nothing that does so.
    """
    one_time = _open_as(ONE_TIME, offer.one_time, origin, device_id, now_ms)
    return one_time, _open_as(FALLBACK, offer.fallback, origin, device_id, now_ms)


def _open_as(kind: int, signed: SignedPrekey | None, origin: bytes, device_id: bytes, now_ms: int) -> Prekey | None:
    if signed is None:
        return None
    prekey = open_prekey(signed, origin, device_id)
    if prekey.kind != kind:
        raise DecodeError("a prekey stands in the place of the other kind")
    return prekey if prekey.not_after_ms >= now_ms else None


def check_upload(prekeys: Sequence[Prekey]) -> None:
    """Raises DecodeError unless these are keys of one device, ids rising, at most one of them a fallback."""
    if not prekeys:
        raise DecodeError("an upload without prekeys")
    for before, prekey in pairwise(prekeys):
        if prekey.device_id != before.device_id:
            raise DecodeError("an upload with prekeys of several devices")
        if prekey.prekey_id <= before.prekey_id:
            raise DecodeError("ids of prekeys must rise")
    if sum(prekey.kind == FALLBACK for prekey in prekeys) > 1:
        raise DecodeError("an upload with two fallbacks")
