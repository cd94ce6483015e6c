"""Bundles as a dishonest device or provider makes them: rightly hashed and signed, and wrong all the same.

Knows nothing of the checks that it goes around.
"""

from collections.abc import Sequence
from typing import Any

from noise.protocol.envelope import (
    BUNDLE_WIRE,
    Bundle,
    BundleWire,
    EnvelopeRow,
    Recipients,
    RecipientSet,
    recipient_leaf_hashes,
)
from noise.protocol.merkle import tree_root
from tests.vectors.cast import CREATED_MS, ORIGIN, device_of, filler, signer_of


class AnyRecipients(Recipients):
    """A recipient set of which nothing is checked."""

    __slots__ = ()

    def __init__(self, recipient_set: RecipientSet) -> None:
        self.env_salt, self.device_ids = recipient_set
        self.root = tree_root(recipient_leaf_hashes(self.env_salt, self.device_ids))


def recipient_set(*names: str, salt: str = "salt") -> RecipientSet:
    """In the order given."""
    return RecipientSet(filler(salt, 16), tuple(device_of(name) for name in names))


def sorted_set(*names: str, salt: str = "salt") -> RecipientSet:
    return RecipientSet(filler(salt, 16), tuple(sorted(device_of(name) for name in names)))


def forge_bundle(
    sets: Sequence[RecipientSet],
    messages: Sequence[tuple[int, bytes]],
    *,
    ciphertext_len: int = 0,
    ciphertexts: bytes = b"",
    first_ctr: int = 1,
    sender: str = "alice",
    origin: bytes = ORIGIN,
) -> Bundle:
    """A signed bundle of (set index, common ciphertext) messages."""
    signer = signer_of(sender)
    rows = tuple(EnvelopeRow(place, CREATED_MS, len(common), ciphertext_len) for place, common in messages)
    recipients: list[Recipients] = [AnyRecipients(s) for s in sets]
    commons = [common for _, common in messages]
    bundle = Bundle(origin, signer.public_key, first_ctr, recipients, rows, commons, ciphertexts)
    bundle.signature = signer.sign("bundle", origin, bundle.body).signature
    return bundle


def forge(sets: Sequence[RecipientSet], messages: Sequence[tuple[int, bytes]], **how: Any) -> BundleWire:
    """As `forge_bundle`, on the wire."""
    return BUNDLE_WIRE.decode(forge_bundle(sets, messages, **how).encode())
