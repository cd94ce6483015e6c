"""Who is asking: a device proves its key over a challenge, once, for one purpose, origin and host.

Knows nothing of routes. An AuthProof lets its device read its own mailbox and nothing else; whatever is durable is
signed by the device itself.
"""

from collections.abc import Container

from quart import request

from noise.protocol.encoding import Codec
from noise.protocol.errors import DecodeError, SignatureError
from noise.protocol.frames import AUTH_PROOF, AuthProof, SignedAuthProof
from noise.protocol.identifiers import device_id_of
from noise.protocol.json_text import parse_base64url
from noise.protocol.signing import verify_strict

_PROOF: Codec[AuthProof] = AUTH_PROOF


def check_auth(
    signed: SignedAuthProof, *, origin: bytes, nonce: bytes, audiences: Container[str], purpose: str, now_ms: int
) -> bytes:
    """The id of the device that signed. Raises DecodeError or SignatureError, each with a code of its own.

    `nonce`: the challenge that this very proof must answer; the caller lets it serve once. `audiences`: the hosts that
    we are. `now_ms`: wall clock.
    """
    proof = _PROOF.decode(signed.body)
    if proof.origin != origin:
        raise SignatureError("the proof is for another provider", code="wrong-origin")
    if proof.nonce != nonce:
        raise SignatureError("the proof answers another challenge", code="wrong-nonce")
    if proof.audience not in audiences or proof.purpose != purpose:
        raise SignatureError("the proof is for another host or purpose", code="wrong-audience")
    if proof.not_after_ms < now_ms:
        raise SignatureError("the proof has expired", code="proof-expired")
    if device_id_of(proof.key) != proof.device_id:
        raise SignatureError("the proof names another device's key", code="wrong-key")
    verify_strict(proof.key, signed.signature, "auth", origin, signed.body)
    return proof.device_id


def read_bearer() -> bytes:
    """The token in the request's Authorization header, whatever it opens. Raises SignatureError."""
    headers = request.headers.getlist("Authorization")
    scheme, _, text = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
    if scheme.lower() != "bearer":
        raise SignatureError("send the token as Authorization: Bearer", code="token-missing")
    try:
        return parse_base64url(text)
    except DecodeError:
        return b""
