"""The attack that the commitment is there for: one AES-GCM ciphertext that is another message under another key.

Knows nothing of boxes. Sources: Dodis, Grubbs, Ristenpart, Woodage, "Fast Message Franking: From Invisible Salamanders
to Encryptment" (2018); NIST SP 800-38D.
"""

from itertools import count

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from noise.protocol.sealing import (
    PAYLOAD_DATA,
    PAYLOAD_GOSSIP,
    CannotOpen,
    _hash_commitment,
    open_common,
    seal_context,
)
from tests.vectors.cast import ORIGIN, device_of, filler

CONTEXT = seal_context(ORIGIN, device_of("alice"), 1, bytes(32))
KINDS = (PAYLOAD_DATA, PAYLOAD_GOSSIP)
NONCE = bytes(12)


def multiply(x: int, y: int) -> int:
    """In the field of GCM, section 6.3: the highest bit is the coefficient of 1."""
    product = 0
    for bit in range(127, -1, -1):
        if x >> bit & 1:
            product ^= y
        y = y >> 1 ^ (0xE1 << 120 if y & 1 else 0)
    return product


def invert(x: int) -> int:
    """x ** (2 ** 128 - 2)."""
    result, power = 1 << 127, x
    for _ in range(127):
        power = multiply(power, power)
        result = multiply(result, power)
    return result


def number(data: bytes) -> int:
    return int.from_bytes(data, "big")


def encrypt_block(key: bytes, data: bytes) -> bytes:
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(data)


def counter_block(key: bytes, counter: int) -> bytes:
    return encrypt_block(key, NONCE + counter.to_bytes(4, "big"))


def digest(key: bytes, blocks: list[int]) -> int:
    """GHASH over the context, the blocks of a ciphertext, and their lengths in bits; then the mask: the tag."""
    h = number(encrypt_block(key, bytes(16)))
    lengths = (len(CONTEXT) * 8 << 64) | len(blocks) * 128
    result = 0
    for block in (number(CONTEXT[:16]), number(CONTEXT[16:]), *blocks, lengths):
        result = multiply(result ^ block, h)
    return result ^ number(counter_block(key, 1))


def two_faced_content() -> tuple[bytes, list[bytes]]:
    """A ciphertext of two blocks with its tag, and two keys: under each it is a sound payload."""
    for salt in count():
        keys = [filler(f"{side} {salt}", 16) for side in ("one", "other")]
        masks = [counter_block(key, 2)[0] for key in keys]
        if masks[0] ^ masks[1] in (0, PAYLOAD_DATA ^ PAYLOAD_GOSSIP):
            break
    first = number(bytes([masks[0] ^ PAYLOAD_DATA]) + filler("the rest of the first block", 15))
    # A tag is linear in the second block, with the square of H as its factor: solve for equal tags.
    squares = [multiply(h, h) for h in [number(encrypt_block(key, bytes(16))) for key in keys]]
    difference = digest(keys[0], [first, 0]) ^ digest(keys[1], [first, 0])
    second = multiply(difference, invert(squares[0] ^ squares[1]))
    blocks = (first, second, digest(keys[0], [first, second]))
    return b"".join(block.to_bytes(16, "big") for block in blocks), keys


def test_one_ciphertext_is_one_message() -> None:
    content, keys = two_faced_content()
    texts = [AESGCM(key).decrypt(NONCE, content, CONTEXT) for key in keys]
    assert texts[0] != texts[1]
    assert {text[0] for text in texts} <= set(KINDS)  # so AES-GCM alone would show two recipients two messages
    for key, text in zip(keys, texts, strict=True):
        common = _hash_commitment(key + CONTEXT) + content
        assert open_common(CONTEXT, common, key) == (text[0], text[1:])
        (other,) = set(keys) - {key}
        with pytest.raises(CannotOpen):
            open_common(CONTEXT, common, other)
