"""Makes the golden vectors of strict Ed25519 and of signature inputs.

`accepted` and `refused` are (key, signature, message) as the strict rules judge them. Those with `lax: true` the
`cryptography` package (OpenSSL) accepts when it is asked alone, and so do browsers, but not all of them.
"""

from hashlib import sha512
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from noise.protocol.signing import SIGNATURE_LABELS, SMALL_ORDER_KEYS, Signer, signature_input, verify_raw
from tests.vectors.cast import OTHER_ORIGIN, filler, seed_of, signer_of
from tests.vectors.golden import readable, refusal_of, write

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
"""Of the group that the base point generates: L in RFC 8032."""

ONE = (1).to_bytes(32, "little")
"""The neutral element, encoded: as a key, and as R of a signature."""

RFC_8032 = [  # section 7.1: seed, public key, message, signature
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
            "d25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
            "387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
            "4a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
    (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        sha512(b"abc").hexdigest(),
        (
            "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e030"
            "3dca179c138ac17ad9bef1177331a704"
        ),
    ),
]


def is_lax_signature(key: bytes, signature: bytes, message: bytes) -> bool:
    """What the library says by itself."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def constant_signature(key: bytes) -> tuple[bytes, bytes] | None:
    """(signature, message) with S = 0 and R of small order that the library accepts under a key of small order."""
    for number in range(64):
        message = b"message %d" % number
        for r in sorted(SMALL_ORDER_KEYS):
            if is_lax_signature(key, r + bytes(32), message):
                return r + bytes(32), message
    return None


def sign_without_nonce(seed: bytes, key: bytes, r: bytes, message: bytes) -> bytes:
    """A signature whose R is the neutral element, in the encoding `r`: S = h * a, which gives the key away."""
    scalar = int.from_bytes(sha512(seed).digest()[:32], "little")
    scalar = scalar & ~7 & (1 << 254) - 1 | 1 << 254
    h = int.from_bytes(sha512(r + key + message).digest(), "little")
    return r + (h * scalar % ORDER).to_bytes(32, "little")


def refused_cases() -> list[tuple[str, bytes, bytes, bytes]]:
    signer = signer_of("alice")
    key, message = signer.public_key, b"message"
    signature = signer.sign_raw(message)
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    cases = []
    for small in sorted(SMALL_ORDER_KEYS):
        found = constant_signature(small)
        if found is None:
            raise ValueError(f"no attack on {small.hex()}")
        cases.append(("a key of small order", small, *found))
    for y in (2, 3, 18):
        for sign in (0, 1):
            encoded = (P + y | sign << 255).to_bytes(32, "little")
            cases.append(("a key that is not canonical", encoded, ONE + bytes(32), message))
    cases += [
        ("a key that is no point", (2).to_bytes(32, "little"), signature, message),
        ("a key of 31 bytes", key[:31], signature, message),
        ("a key of 33 bytes", key + b"\0", signature, message),
        ("no key", b"", signature, message),
        ("another key", signer_of("bob").public_key, signature, message),
        ("the key with another sign", key[:31] + bytes([key[31] ^ 0x80]), signature, message),
        ("a signature of 63 bytes", key, signature[:63], message),
        ("a signature of 65 bytes", key, signature + b"\0", message),
        ("no signature", key, b"", message),
        ("another message", key, signature, message + b"\0"),
        ("S + L", key, r + (s + ORDER).to_bytes(32, "little"), message),
        ("S - L", key, r + (s - ORDER + 2**256).to_bytes(32, "little"), message),
        ("-S", key, r + (ORDER - s).to_bytes(32, "little"), message),
        ("S with its top bit", key, r + (s | 1 << 255).to_bytes(32, "little"), message),
        ("S of zero", key, r + bytes(32), message),
        ("R with another sign", key, signature[:31] + bytes([signature[31] ^ 0x80]) + signature[32:], message),
    ]
    for encoded in ((P + 1).to_bytes(32, "little"), (1 | 1 << 255).to_bytes(32, "little")):
        forged = sign_without_nonce(seed_of("alice"), key, encoded, message)
        cases.append(("R that is not canonical", key, forged, message))
    forged = sign_without_nonce(seed_of("alice"), key, ONE, message)
    cases.append(("R of small order: only the owner of the key can make it", key, forged, message))
    return cases


def accepted_cases() -> list[dict[str, Any]]:
    key = signer_of("alice").public_key
    cases = [("an empty message", key, signer_of("alice").sign_raw(b""), b"")]
    for _, *case in cases:
        verify_raw(*case)
    return [dict(zip(("why", "public_key", "signature", "message"), case, strict=True)) for case in cases]


def signature_inputs() -> list[dict[str, Any]]:
    signer = signer_of("alice")
    made = []
    for label in sorted(SIGNATURE_LABELS):
        for origin, body in ((OTHER_ORIGIN, b""), (OTHER_ORIGIN, filler(label, 40))):
            made.append(
                {
                    "label": label,
                    "origin": origin,
                    "body": body,
                    "input": signature_input(label, origin, body),
                    "signature": signer.sign(label, origin, body).signature,
                }
            )
    return made


def vectors() -> dict[str, Any]:
    """File name to what the file holds."""
    rfc = [dict(zip(("seed", "public_key", "message", "signature"), case, strict=True)) for case in RFC_8032]
    for case in rfc:
        signer = Signer(bytes.fromhex(case["seed"]))
        message = bytes.fromhex(case["message"])
        if (signer.public_key.hex(), signer.sign_raw(message).hex()) != (case["public_key"], case["signature"]):
            raise ValueError("RFC 8032 disagrees")
    content = {
        "rfc_8032": rfc,
        "small_order_keys": sorted(SMALL_ORDER_KEYS),
        "seed": seed_of("alice"),
        "public_key": signer_of("alice").public_key,
        "inputs": signature_inputs(),
        "accepted": accepted_cases(),
        "refused": [
            {
                "why": why,
                "public_key": key,
                "signature": signature,
                "message": message,
                "code": refusal_of(verify_raw, key, signature, message),
                "lax": is_lax_signature(key, signature, message),
            }
            for why, key, signature, message in refused_cases()
        ],
    }
    return {"signing.json": readable(content)}


if __name__ == "__main__":
    write(vectors())
