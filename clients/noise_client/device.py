"""A device: the one key that makes a sender and a mailbox.

Knows nothing of where the key is kept.
"""

import secrets

from noise.protocol.encoding import Codec
from noise.protocol.frames import AUTH_PROOF, AuthProof, ChallengeFrame, SignedAuthProof
from noise.protocol.identifiers import device_id_of
from noise.protocol.signing import Signer

_AUTH_PROOF: Codec[AuthProof] = AUTH_PROOF


class Device:
    """A private key with what follows from it."""

    __slots__ = ("device_id", "private_key", "signer")

    def __init__(self, private_key: bytes) -> None:
        """`private_key`: a 32-byte Ed25519 seed (RFC 8032). Raises SignatureError."""
        self.private_key = private_key
        self.signer = Signer(private_key)
        self.device_id = device_id_of(self.signer.public_key)

    def answer(self, challenge: ChallengeFrame, audience: str, purpose: str) -> SignedAuthProof:
        """The proof that lets us in where a challenge came from. `audience`: our name for it in HTTP.

        Whether the challenge's origin is the one that we want to prove ourselves to, the caller checks.
        """
        until_ms = min(challenge.server_ms + challenge.life_ms, 2**64 - 1)
        origin, key = challenge.origin, self.signer.public_key
        proof = AuthProof(origin, self.device_id, key, challenge.nonce, audience, purpose, until_ms)
        return SignedAuthProof(*self.signer.sign("auth", origin, _AUTH_PROOF.encode(proof)))


def create_device() -> Device:
    """A device with a new random key."""
    return Device(secrets.token_bytes(32))
