"""Domain-separated hashes and strict Ed25519: one set of rules for server, client and offline verifier.

Knows nothing of what is hashed or signed, and nothing of where keys are kept.

`TAG(x) = SHA-256("noise-seq/1/" || x)`; `H(x, m) = SHA-256(TAG("h/" x) || m)`;
signature input = `TAG("sig/" type) || origin[32] || u32 len || body`, signed with pure Ed25519 (RFC 8032).
One key has one role. A signature is never an identifier; `H` of the body is.
"""

from collections.abc import Callable
from hashlib import sha256
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from noise.protocol.encoding import Bytes64, Vec16, struct_codec
from noise.protocol.errors import SignatureError

_HASH_NAMES = (
    "bundle challenge commit complaint ct device env head manifest mapkey merge open origin pair payload rcpt roster "
    "route rsalt seal state"
)
HASH_LABELS = frozenset(_HASH_NAMES.split(" "))
SIGNATURE_LABELS = frozenset(
    (
        *("ack", "admission", "auth", "bundle", "challenge", "gossip", "head", "manifest", "merge", "open", "prekey"),
        *("roster", "route", "view"),
    )
)

SUITE_ED25519 = 1

_P = 2**255 - 19
_ORDER_8_Y = 55188659117513257062467267217118295137698188065244968500265048394206261417927
_SMALL_ORDER_Y = (0, 1, _P - 1, _ORDER_8_Y, _P - _ORDER_8_Y)


def _small_order_encodings() -> frozenset[bytes]:
    """The 14 encodings of the 8 points of small order: five y, y + p where that fits, each with both sign bits.

    Sources: libsodium's `ge25519_has_small_order`; "Taming the many EdDSAs" (2020), table 1.
    """
    ys = [y + k * _P for y in _SMALL_ORDER_Y for k in (0, 1) if y + k * _P < 2**255]
    return frozenset((y | sign << 255).to_bytes(32, "little") for y in ys for sign in (0, 1))


SMALL_ORDER_KEYS = _small_order_encodings()


def tag(name: str) -> bytes:
    """`SHA-256("noise-seq/1/" || name)`."""
    return sha256(b"noise-seq/1/" + name.encode("ascii")).digest()


def hasher(label: str) -> Callable[[bytes], bytes]:
    """`m -> H(label, m)`, 32 bytes. The label is one of HASH_LABELS."""
    if label not in HASH_LABELS:
        raise KeyError(label)
    prefix = tag("h/" + label)
    return lambda message: sha256(prefix + message).digest()


_SIGNATURE_TAGS = {label: tag("sig/" + label) for label in SIGNATURE_LABELS}


def signature_input(label: str, origin: bytes, body: bytes) -> bytes:
    """The bytes that are signed for `body`, of the type `label` (one of SIGNATURE_LABELS), at `origin`.

    Raises SignatureError when the origin is not 32 bytes: bytes could move between it and the body.
    """
    if len(origin) != 32:
        raise SignatureError("an origin has 32 bytes", code="wrong-origin")
    return b"".join((_SIGNATURE_TAGS[label], origin, len(body).to_bytes(4, "big"), body))


def check_public_key(key: bytes) -> None:
    """Refuse an Ed25519 key that is not 32 bytes, not canonical, or of small order. Raises SignatureError.

    OpenSSL and browsers load small-order keys, and for some of them one constant signature verifies every message.
    """
    if len(key) != 32:
        raise SignatureError("a public key has 32 bytes", code="bad-key")
    if key in SMALL_ORDER_KEYS:
        raise SignatureError("public key of small order", code="bad-key")
    if int.from_bytes(key, "little") & (2**255 - 1) >= _P:
        raise SignatureError("public key is not canonical", code="bad-key")


def verify_raw(key: bytes, signature: bytes, message: bytes) -> None:
    """Strict Ed25519 over bare bytes (for C2SP notes, which bring their own domain separation).

    R of small order is refused, as WebCrypto demands and OpenSSL does not: else the owner of a key could make
    signatures that verify here and not in a browser.
    """
    check_public_key(key)
    if len(signature) != 64:
        raise SignatureError("a signature has 64 bytes")
    if signature[:32] in SMALL_ORDER_KEYS:
        raise SignatureError("a signature's R of small order")
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise SignatureError("signature does not verify") from None


def verify_strict(key: bytes, signature: bytes, label: str, origin: bytes, body: bytes) -> None:
    """Raises SignatureError unless `signature` is `key`'s strict signature of `body` as a `label` at `origin`."""
    verify_raw(key, signature, signature_input(label, origin, body))


class Signed(NamedTuple):
    """Signed bytes, stored and forwarded verbatim, never re-serialised."""

    body: Vec16
    signature: Bytes64


SIGNED = struct_codec(Signed)


class Signer:
    """A private key with the one role that it has."""

    __slots__ = ("_key", "public_key")

    def __init__(self, private_key: bytes) -> None:
        """`private_key`: the 32 byte seed of RFC 8032. Raises SignatureError."""
        if len(private_key) != 32:
            raise SignatureError("a private key has 32 bytes", code="bad-key")
        self._key = Ed25519PrivateKey.from_private_bytes(private_key)
        self.public_key = self._key.public_key().public_bytes_raw()

    def sign_raw(self, message: bytes) -> bytes:
        return self._key.sign(message)

    def sign(self, label: str, origin: bytes, body: bytes) -> Signed:
        return Signed(body, self._key.sign(signature_input(label, origin, body)))
