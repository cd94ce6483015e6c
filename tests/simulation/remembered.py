"""What is verified once in a world, and not again: a world checks the same few thousand signatures over and over.

Knows nothing of who asks. What is remembered are functions of their arguments, so it changes nothing but time; what
failed is never remembered.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from noise.protocol import signing
from noise.protocol.evidence import rosters


class _Remembering:
    """Stands where `Ed25519PublicKey` is looked up."""

    def __init__(self, verified: set[tuple[bytes, bytes, bytes]], key: bytes) -> None:
        self._verified = verified
        self._key = key

    def verify(self, signature: bytes, message: bytes) -> None:
        asked = (self._key, signature, message)
        if asked not in self._verified:
            Ed25519PublicKey.from_public_bytes(self._key).verify(signature, message)
            self._verified.add(asked)


@contextmanager
def replaced(holder: Any, name: str, value: object) -> Iterator[None]:
    """Within it, a name stands for something else."""
    before = getattr(holder, name)
    setattr(holder, name, value)
    try:
        yield
    finally:
        setattr(holder, name, before)


@contextmanager
def remembered() -> Iterator[None]:
    """Within it, each signature is verified once, and each roster opened once by whoever verifies proofs."""
    verified: set[tuple[bytes, bytes, bytes]] = set()

    class Keys:
        @staticmethod
        def from_public_bytes(key: bytes) -> _Remembering:
            return _Remembering(verified, key)

    with (
        replaced(signing, "Ed25519PublicKey", Keys),
        replaced(rosters, "open_roster", lru_cache(maxsize=256)(rosters.open_roster)),
    ):
        yield
