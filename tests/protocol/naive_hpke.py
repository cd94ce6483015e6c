"""HPKE (RFC 9180) as its text says it, for one suite and mode: X25519, HKDF-SHA256, AES-128-GCM, base.

Knows nothing of `noise`. The ephemeral key is an argument, so that the same bytes come out every time; whoever seals
for real must not choose it. Sections are those of the RFC.
"""

import hmac
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEM_SUITE = b"KEM" + (0x0020).to_bytes(2, "big")
HPKE_SUITE = b"HPKE" + b"".join(number.to_bytes(2, "big") for number in (0x0020, 0x0001, 0x0001))
MODE_BASE = b"\x00"

A_1_1 = {  # appendix A.1.1, and the first message of A.1.1.1
    "info": "4f6465206f6e2061204772656369616e2055726e",
    "sk_e": "52c4a758a802cd8b936eceea314432798d5baf2d7e9235dc084ab1b9cfa2f736",
    "enc": "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431",
    "sk_r": "4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8",
    "pk_r": "3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d",
    "shared_secret": "fe0e18c9f024ce43799ae393c7e8fe8fce9d218875e8227b0187c04e7d2ea1fc",
    "key": "4531685d41d65f03dc48f6b8302c05b0",
    "base_nonce": "56d890e5accaaf011cff4b7d",
    "pt": "4265617574792069732074727574682c20747275746820626561757479",
    "aad": "436f756e742d30",
    "ct": "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a",
}


def public_of(private_key: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()


def dh(private_key: bytes, public_key: bytes) -> bytes:
    public = X25519PublicKey.from_public_bytes(public_key)
    return X25519PrivateKey.from_private_bytes(private_key).exchange(public)


def labeled_extract(suite: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
    """Section 4."""
    return hmac.digest(salt, b"HPKE-v1" + suite + label + ikm, sha256)


def labeled_expand(suite: bytes, prk: bytes, label: bytes, info: bytes, size: int) -> bytes:
    """Section 4, for at most 32 bytes: one block of RFC 5869."""
    labeled = size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return hmac.digest(prk, labeled + b"\x01", sha256)[:size]


def shared_secret(dh_result: bytes, enc: bytes, public_key: bytes) -> bytes:
    """Section 4.1, ExtractAndExpand."""
    eae_prk = labeled_extract(KEM_SUITE, b"", b"eae_prk", dh_result)
    return labeled_expand(KEM_SUITE, eae_prk, b"shared_secret", enc + public_key, 32)


def key_schedule(secret: bytes, info: bytes) -> tuple[bytes, bytes]:
    """Section 5.1: (key, base nonce)."""
    psk_id_hash = labeled_extract(HPKE_SUITE, b"", b"psk_id_hash", b"")
    info_hash = labeled_extract(HPKE_SUITE, b"", b"info_hash", info)
    context = MODE_BASE + psk_id_hash + info_hash
    prk = labeled_extract(HPKE_SUITE, secret, b"secret", b"")
    key = labeled_expand(HPKE_SUITE, prk, b"key", context, 16)
    return key, labeled_expand(HPKE_SUITE, prk, b"base_nonce", context, 12)


def seal(plaintext: bytes, public_key: bytes, info: bytes, ephemeral: bytes, aad: bytes = b"") -> bytes:
    """Section 6.1: enc || ciphertext of the first message."""
    enc = public_of(ephemeral)
    key, nonce = key_schedule(shared_secret(dh(ephemeral, public_key), enc, public_key), info)
    return enc + AESGCM(key).encrypt(nonce, plaintext, aad)


def open_sealed(sealed: bytes, private_key: bytes, info: bytes, aad: bytes = b"") -> bytes:
    enc, ciphertext = sealed[:32], sealed[32:]
    key, nonce = key_schedule(shared_secret(dh(private_key, enc), enc, public_of(private_key)), info)
    return AESGCM(key).decrypt(nonce, ciphertext, aad)
