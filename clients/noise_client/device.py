"""A device: the one key that makes a sender and a mailbox.

Knows nothing of where the key is kept.
"""

import secrets

from noise.protocol.identifiers import device_id_of
from noise.protocol.signing import Signer


class Device:
    """A private key with what follows from it."""

    __slots__ = ("device_id", "private_key", "signer")

    def __init__(self, private_key: bytes) -> None:
        """`private_key`: a 32-byte Ed25519 seed (RFC 8032). Raises SignatureError."""
        self.private_key = private_key
        self.signer = Signer(private_key)
        self.device_id = device_id_of(self.signer.public_key)


def create_device() -> Device:
    """A device with a new random key."""
    return Device(secrets.token_bytes(32))
