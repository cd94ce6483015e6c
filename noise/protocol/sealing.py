"""End-to-end encryption of one message: content once, its key once for each recipient, by HPKE to that one's prekey.

Knows nothing of where keys are kept, of which prekey is chosen, or of what the content and the gossip say.

The context names the message: origin, sender, counter and recipients. Both layers are bound to it, so that nothing of
one message opens as part of another, nor for another recipient. HPKE is RFC 9180 in base mode: it does not say who
sealed. That is said by the sender's signature of its bundle, under which every ciphertext here is hashed.

AES-GCM does not commit to its key: for two keys there are ciphertexts that open under both, to different texts
(Dodis and others, "Fast Message Franking", 2018). So a commitment to the key stands in front of the content, and all
recipients that can open one common ciphertext read the same.
"""

from collections.abc import Mapping
from hmac import compare_digest
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from noise.protocol.encoding import Bytes16, Reader, Vec16, struct_codec
from noise.protocol.envelope import Recipients
from noise.protocol.errors import DecodeError, NoiseError, Rejected
from noise.protocol.limits import CIPHERTEXT_BYTES_MAX, MESSAGE_BYTES_MAX
from noise.protocol.signing import hasher, tag

CONTENT_KEY_BYTES = 16
PREKEY_ID_BYTES = 8

PAYLOAD_DATA = 1
"""The body is the application's."""
PAYLOAD_GOSSIP = 2
"""The body is for the SDK of the recipients, and no application sees it."""
_KINDS = (PAYLOAD_DATA, PAYLOAD_GOSSIP)

COMMITMENT_BYTES = 32
COMMON_OVERHEAD_BYTES = COMMITMENT_BYTES + 1 + 16
"""What a common ciphertext has more than its body: the commitment, the kind, the tag of AES-GCM."""

PAYLOAD_BODY_BYTES_MAX = MESSAGE_BYTES_MAX - COMMON_OVERHEAD_BYTES
"""A payload's body: its common ciphertext is then as long as may be."""

BOX_OVERHEAD_BYTES = PREKEY_ID_BYTES + 32 + 16 + CONTENT_KEY_BYTES + 2
"""What a per-recipient ciphertext has more than its gossip: prekey id, encapsulation, tag, key, length."""

GOSSIP_BYTES_MAX = CIPHERTEXT_BYTES_MAX - BOX_OVERHEAD_BYTES
"""A box's gossip: its ciphertext is then as long as may be."""

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM)
_NONCE = bytes(12)  # every content key seals one payload
_BOX_TAG = tag("seal/box")
_hash_context = hasher("seal")
_hash_commitment = hasher("commit")


class CannotOpen(NoiseError):
    """A ciphertext that was not sealed for this message, this recipient and this key, or not sealed at all."""

    default_code = "cannot-open"


class CannotSeal(NoiseError):
    """A caller's mistake: a key for somebody who is no recipient, or none for one who is, or one of no use."""

    default_code = "cannot-seal"


class Payload(NamedTuple):
    """What a common ciphertext holds. `kind`: PAYLOAD_DATA or PAYLOAD_GOSSIP."""

    kind: int
    body: bytes


class KeyBox(NamedTuple):
    """What a per-recipient ciphertext holds, before zeros that make those of one message equally long."""

    content_key: Bytes16
    gossip: Vec16


KEY_BOX = struct_codec(KeyBox)


class BoxFor(NamedTuple):
    """One recipient's prekey, by id (8 bytes) and X25519 public key (32 bytes), and the gossip that is for it alone."""

    prekey_id: bytes
    public: bytes
    gossip: bytes


def seal_context(origin: bytes, sender: bytes, ctr: int, recipients_root: bytes) -> bytes:
    """`H("seal", origin || sender || u64 ctr || recipients_root)`, 32 bytes: which message something is sealed for."""
    return _hash_context(b"".join((origin, sender, ctr.to_bytes(8, "big"), recipients_root)))


def seal(
    origin: bytes,
    sender: bytes,
    ctr: int,
    recipients: Recipients,
    payload: Payload,
    content_key: bytes,
    boxes: Mapping[bytes, BoxFor],
) -> tuple[bytes, list[bytes]]:
    """(common ciphertext, per-recipient ciphertexts in the set's order, equally long).

    `content_key`: 16 random bytes, fresh for every call: one key under two payloads gives both away, and lets anybody
    forge. `boxes`: for each device id of the set, the sender's own included, and for no other. HPKE draws its own
    randomness from the system. Takes 0.1 ms a recipient.

    Raises CannotSeal; Rejected with the codes of acceptance (`message-too-large`, `ciphertext-too-large`).
    """
    if len(content_key) != CONTENT_KEY_BYTES:
        raise CannotSeal(f"a content key has {CONTENT_KEY_BYTES} bytes")
    if payload.kind not in _KINDS:
        raise CannotSeal(f"no payload is of kind {payload.kind}")
    if boxes.keys() != set(recipients.device_ids):
        raise CannotSeal("needs a prekey for each recipient and for nobody else")
    if len(payload.body) > PAYLOAD_BODY_BYTES_MAX:
        raise Rejected(
            f"a message has at most {PAYLOAD_BODY_BYTES_MAX} bytes before it is sealed", code="message-too-large"
        )
    gossip_bytes = max(len(box.gossip) for box in boxes.values())
    if gossip_bytes > GOSSIP_BYTES_MAX:
        raise Rejected(f"gossip has at most {GOSSIP_BYTES_MAX} bytes a recipient", code="ciphertext-too-large")
    context = seal_context(origin, sender, ctr, recipients.root)
    sealed = AESGCM(content_key).encrypt(_NONCE, bytes((payload.kind,)) + payload.body, context)
    common = _hash_commitment(content_key + context) + sealed
    ciphertexts = [
        _seal_box(context, device_id, content_key, boxes[device_id], gossip_bytes)
        for device_id in recipients.device_ids
    ]
    return common, ciphertexts


def _seal_box(context: bytes, device_id: bytes, content_key: bytes, box: BoxFor, gossip_bytes: int) -> bytes:
    if len(box.prekey_id) != PREKEY_ID_BYTES:
        raise CannotSeal(f"a prekey id has {PREKEY_ID_BYTES} bytes")
    plain = KEY_BOX.encode(KeyBox(content_key, box.gossip)) + bytes(gossip_bytes - len(box.gossip))
    try:
        public = X25519PublicKey.from_public_bytes(box.public)
        sealed = _SUITE.encrypt(plain, public, _info(context, device_id, box.prekey_id))
    except ValueError:  # of another length, or of small order
        raise CannotSeal(f"the prekey of device {device_id.hex()} is no usable X25519 key") from None
    return box.prekey_id + sealed


def _info(context: bytes, device_id: bytes, prekey_id: bytes) -> bytes:
    return b"".join((_BOX_TAG, context, device_id, prekey_id))


def sealed_for(ciphertext: bytes) -> bytes:
    """The id (8 bytes) of the prekey that a per-recipient ciphertext is for. Raises CannotOpen."""
    if len(ciphertext) < BOX_OVERHEAD_BYTES:
        raise CannotOpen("too short for a per-recipient ciphertext")
    return ciphertext[:PREKEY_ID_BYTES]


def open_box(context: bytes, device_id: bytes, ciphertext: bytes, private_key: bytes) -> KeyBox:
    """What was sealed for `device_id`. `private_key`: the 32 bytes behind the prekey that `sealed_for` names.

    `context` is that of `seal_context`, from the verified envelope. Raises CannotOpen. Takes 0.05 ms.
    """
    prekey_id = sealed_for(ciphertext)
    try:
        key = X25519PrivateKey.from_private_bytes(private_key)
        plain = _SUITE.decrypt(ciphertext[PREKEY_ID_BYTES:], key, _info(context, device_id, prekey_id))
    except (InvalidTag, ValueError):
        raise CannotOpen("not sealed for this message, this device and this prekey") from None
    reader = Reader(plain)
    try:
        box = KEY_BOX.read(reader)
    except DecodeError as error:
        raise CannotOpen(f"sealed for this device, but no key box: {error.detail}") from None
    if any(plain[reader.pos :]):
        raise CannotOpen("sealed for this device, but padded with other than zeros")
    return box


def open_common(context: bytes, common: bytes, content_key: bytes) -> Payload:
    """The one payload that a common ciphertext can hold. Raises CannotOpen."""
    if len(common) < COMMON_OVERHEAD_BYTES:
        raise CannotOpen("too short for a common ciphertext")
    if len(content_key) != CONTENT_KEY_BYTES:
        raise CannotOpen(f"a content key has {CONTENT_KEY_BYTES} bytes")
    if not compare_digest(common[:COMMITMENT_BYTES], _hash_commitment(content_key + context)):
        raise CannotOpen("the content is committed to another key or message")
    try:
        plain = AESGCM(content_key).decrypt(_NONCE, common[COMMITMENT_BYTES:], context)
    except InvalidTag:
        raise CannotOpen("the content was not sealed under its key") from None
    if plain[0] not in _KINDS:
        raise CannotOpen(f"no payload is of kind {plain[0]}")
    return Payload(plain[0], plain[1:])
