"""Strict Ed25519, beginning with the attacks that it stops; labels, origins and bodies that do not mix."""

from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from noise.protocol.errors import SignatureError
from noise.protocol.signing import (
    HASH_LABELS,
    SIGNATURE_LABELS,
    SIGNED,
    SMALL_ORDER_KEYS,
    Signed,
    Signer,
    check_public_key,
    hasher,
    signature_input,
    tag,
    verify_raw,
    verify_strict,
)
from tests.vectors import golden
from tests.vectors.cast import ORIGIN, OTHER_ORIGIN, seed_of, signer_of
from tests.vectors.make_signing import ONE, ORDER, RFC_8032, P, constant_signature, is_lax_signature, sign_without_nonce

ALICE = signer_of("alice")
KEY = ALICE.public_key
ORIGINS = (ORIGIN, OTHER_ORIGIN)


def test_there_are_fourteen_small_order_encodings() -> None:
    """Eight points; the neutral one and the four with x = 0 or y = 0 or 1 have several encodings."""
    assert len(SMALL_ORDER_KEYS) == 14
    assert sum(int.from_bytes(key, "little") & (1 << 255) - 1 >= P for key in SMALL_ORDER_KEYS) == 4
    assert ONE in SMALL_ORDER_KEYS
    assert bytes(32) in SMALL_ORDER_KEYS


def test_the_attack_one_signature_for_every_message() -> None:
    """What a sender with such a key could do: sign two contents at once, and deny either."""
    signature = ONE + bytes(32)
    fatal = []
    for key in sorted(SMALL_ORDER_KEYS):
        loaded = Ed25519PublicKey.from_public_bytes(key)  # the library does not mind
        if all(is_lax_signature(key, signature, b"message %d" % i) for i in range(50)):
            loaded.verify(signature, b"pay bob")
            loaded.verify(signature, b"pay mallory")
            fatal.append(key)
    assert len(fatal) == 4


@pytest.mark.parametrize("key", sorted(SMALL_ORDER_KEYS), ids=bytes.hex)
def test_keys_of_small_order_are_refused(key: bytes) -> None:
    attack = constant_signature(key)
    assert attack is not None, "the library refuses by itself: the attack shows nothing"
    signature, message = attack
    assert is_lax_signature(key, signature, message)
    for refuse in (lambda: check_public_key(key), lambda: verify_raw(key, signature, message)):
        with pytest.raises(SignatureError, match="small order") as refused:
            refuse()
        assert refused.value.code == "bad-key"


def test_r_of_small_order_is_refused() -> None:
    """The attack: a device signs its bundle so that the server takes it, and its recipients in a browser do not. They
    would call the server a liar."""
    forged = sign_without_nonce(seed_of("alice"), KEY, ONE, b"message")
    assert is_lax_signature(KEY, forged, b"message")
    with pytest.raises(SignatureError, match="small order") as refused:
        verify_raw(KEY, forged, b"message")
    assert refused.value.code == "bad-signature"


def test_keys_that_are_not_canonical_are_refused() -> None:
    """All that 255 bits can say beyond the field: 19 values of y, each with both signs of x."""
    for y in range(P, 2**255):
        for sign in (0, 1):
            with pytest.raises(SignatureError) as refused:
                check_public_key((y | sign << 255).to_bytes(32, "little"))
            assert refused.value.code == "bad-key"
    for y in (2, 3, P - 2, P - 3):
        check_public_key(y.to_bytes(32, "little"))


@pytest.mark.parametrize("key", [b"", KEY[:31], KEY + b"\0", KEY * 2, KEY.hex().encode()])
def test_keys_of_other_lengths_are_refused(key: bytes) -> None:
    with pytest.raises(SignatureError) as refused:
        check_public_key(key)
    assert refused.value.code == "bad-key"


@given(st.binary(max_size=70), st.binary(max_size=70), st.binary(max_size=40))
@settings(max_examples=50)
def test_verifying_is_total(key: bytes, signature: bytes, message: bytes) -> None:
    for k, s in ((key, signature), (key.ljust(32, b"\x55")[:32], signature.ljust(64, b"\0")[:64]), (KEY, signature)):
        with pytest.raises(SignatureError):
            verify_raw(k, s, message)


@pytest.mark.parametrize(("seed", "public_key", "message", "signature"), RFC_8032)
def test_rfc_8032(seed: str, public_key: str, message: str, signature: str) -> None:
    signer = Signer(bytes.fromhex(seed))
    assert signer.public_key.hex() == public_key
    assert signer.sign_raw(bytes.fromhex(message)).hex() == signature
    verify_raw(signer.public_key, bytes.fromhex(signature), bytes.fromhex(message))


@pytest.mark.parametrize("seed", [b"", bytes(31), bytes(33), bytes(64)])
def test_private_keys_have_32_bytes(seed: bytes) -> None:
    with pytest.raises(SignatureError) as refused:
        Signer(seed)
    assert refused.value.code == "bad-key"


def test_signatures_are_not_malleable() -> None:
    """Anybody could turn a signature into another one: if both verified, a signature would still name nothing."""
    message = b"message"
    signature = ALICE.sign_raw(message)
    verify_raw(KEY, signature, message)
    s = int.from_bytes(signature[32:], "little")
    for other in (s + ORDER, s + 2 * ORDER, s + 8 * ORDER, s - ORDER + 2**256, ORDER - s, s | 1 << 255):
        with pytest.raises(SignatureError):
            verify_raw(KEY, signature[:32] + other.to_bytes(32, "little"), message)
    for encoded in (P + 1, 1 | 1 << 255, P + 1 | 1 << 255):
        forged = sign_without_nonce(seed_of("alice"), KEY, encoded.to_bytes(32, "little"), message)
        with pytest.raises(SignatureError):
            verify_raw(KEY, forged, message)


def test_every_bit_of_a_signature_counts() -> None:
    signature = ALICE.sign("ack", ORIGIN, b"body").signature
    for bit in range(512):
        flipped = bytes(b ^ (1 << bit % 8 if i == bit // 8 else 0) for i, b in enumerate(signature))
        with pytest.raises(SignatureError):
            verify_strict(KEY, flipped, "ack", ORIGIN, b"body")
    for cut in (signature[:63], signature[1:], signature + b"\0", b"", signature * 2):
        with pytest.raises(SignatureError):
            verify_strict(KEY, cut, "ack", ORIGIN, b"body")


def test_labels_origins_and_bodies_do_not_mix() -> None:
    bodies = (b"", b"\0", b"body", b"body\0", bytes(4) + b"body")
    contexts = [(label, origin, body) for label in SIGNATURE_LABELS for origin in ORIGINS for body in bodies]
    inputs = {signature_input(*context) for context in contexts}
    assert len(inputs) == len(contexts)
    signature = ALICE.sign("ack", ORIGIN, b"body").signature
    for context in contexts:
        if context == ("ack", ORIGIN, b"body"):
            verify_strict(KEY, signature, *context)
        else:
            with pytest.raises(SignatureError):
                verify_strict(KEY, signature, *context)


def test_bytes_do_not_move_between_origin_and_body() -> None:
    """Without a fixed width, an origin that is longer by the length and the body would sign the same bytes."""
    body = b"x" * 40
    for origin in (b"", ORIGIN[:31], ORIGIN + b"\0", ORIGIN + (40).to_bytes(4, "big") + body):
        for call in (
            lambda o=origin: signature_input("ack", o, body),
            lambda o=origin: ALICE.sign("ack", o, body),
            lambda o=origin: verify_strict(KEY, bytes(64), "ack", o, body),
        ):
            with pytest.raises(SignatureError) as refused:
                call()
            assert refused.value.code == "wrong-origin"


def test_input_by_hand() -> None:
    label_tag = sha256(b"noise-seq/1/sig/manifest").digest()
    assert signature_input("manifest", ORIGIN, b"abc") == label_tag + ORIGIN + b"\0\0\0\x03" + b"abc"


def test_hashes_by_hand() -> None:
    for label in HASH_LABELS:
        prefix = sha256(b"noise-seq/1/h/" + label.encode()).digest()
        assert hasher(label)(b"abc") == sha256(prefix + b"abc").digest()
    tags = {tag("h/" + label) for label in HASH_LABELS} | {tag("sig/" + label) for label in SIGNATURE_LABELS}
    assert len(tags) == len(HASH_LABELS) + len(SIGNATURE_LABELS)


def test_only_labels_of_the_table_exist() -> None:
    for wrong in ("", "Ack", "h/env", "acks", "env"):
        with pytest.raises(KeyError):
            signature_input(wrong, ORIGIN, b"")
    for wrong in ("", "Env", "ack", "h/env"):
        with pytest.raises(KeyError):
            hasher(wrong)


def test_a_signed_value_holds_the_very_bytes() -> None:
    signed = ALICE.sign("ack", ORIGIN, b"body")
    assert signed == Signed(b"body", ALICE.sign_raw(signature_input("ack", ORIGIN, b"body")))
    assert SIGNED.decode(SIGNED.encode(signed)) == signed


def test_stored_refusals() -> None:
    stored = golden.read("signing.json")
    for case in stored["refused"]:
        key, signature, message = (bytes.fromhex(case[name]) for name in ("public_key", "signature", "message"))
        assert is_lax_signature(key, signature, message) is case["lax"], case["why"]
        with pytest.raises(SignatureError) as refused:
            verify_raw(key, signature, message)
        assert refused.value.code == case["code"], case["why"]
    assert sum(case["lax"] for case in stored["refused"]) == 15
