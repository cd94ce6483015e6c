"""A device that reads its mailbox over HTTP alone, a page at a time, and what it refused.

Knows nothing of push connections, or of which lie is told.
"""

import http.client
from typing import Any

from noise.protocol.delta import DELTA, Delta, RecipientLists
from noise.protocol.encoding import Codec, struct_codec
from noise.protocol.errors import ProviderMisbehaved
from noise.protocol.follower import Follower
from noise.protocol.frames import (
    AUTH_PROOF,
    PURPOSE_SESSION,
    SIGNED_AUTH_PROOF,
    AuthProof,
    ChallengeFrame,
    SignedAuthProof,
)
from noise.protocol.identifiers import device_id_of
from noise.protocol.json_text import base64url
from noise.protocol.signing import Signer

_OCTETS = "application/octet-stream"
_CHALLENGE: Codec[ChallengeFrame] = struct_codec(ChallengeFrame)
_DELTA: Codec[Delta] = DELTA
_TOKEN_BYTES = 32


class PageReader:
    """Blocking: call it in a thread. `heard`: (seq, text) of all that was verified."""

    def __init__(self, url: str, origin: bytes, signer: Signer) -> None:
        self._host = url.removeprefix("http://")
        self._origin = origin
        self._signer = signer
        self._device_id = device_id_of(signer.public_key)
        counters: dict[bytes, int] = {}
        self._counters = counters
        self.follower = Follower(origin, self._device_id, last_counter=counters.get)
        self.heard: list[tuple[bytes, bytes]] = []
        self.refusal: str | None = None

    def read_all(self) -> None:
        """Every page from the cursor on, until one is refused or no more is there."""
        connection = http.client.HTTPConnection(self._host, timeout=10)
        try:
            token = self._log_in(connection)
            while self._read_page(connection, token):
                pass
        finally:
            connection.close()

    def _log_in(self, connection: http.client.HTTPConnection) -> str:
        _, body = _ask(connection, "POST", "/v1/challenges", b"", Accept=_OCTETS)
        challenge = _CHALLENGE.decode(body)
        proof = AuthProof(
            self._origin,
            self._device_id,
            self._signer.public_key,
            challenge.nonce,
            self._host,
            PURPOSE_SESSION,
            challenge.server_ms + challenge.life_ms,
        )
        signed = self._signer.sign("auth", self._origin, AUTH_PROOF.encode(proof))
        encoded = SIGNED_AUTH_PROOF.encode(SignedAuthProof(*signed))
        _, session = _ask(connection, "POST", "/v1/sessions", encoded, **{"Content-Type": _OCTETS})
        return "Bearer " + base64url(session[:_TOKEN_BYTES])

    def _read_page(self, connection: http.client.HTTPConnection, token: str) -> bool:
        query = "&".join(f"{name}={number}" for name, number in self.follower.cursor._asdict().items())
        more, body = _ask(connection, "GET", f"/v1/mailbox?{query}", b"", Authorization=token)
        try:
            step = self.follower.check_delta(_DELTA.decode(body), RecipientLists())
        except ProviderMisbehaved as error:
            self.refusal = error.code
            return False
        self.follower.adopt(step)
        self._counters.update(step.counters)
        self.heard += [(delivery.seq, delivery.common) for delivery in step.deliveries]
        return more


def _ask(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes, **headers: Any
) -> tuple[bool, bytes]:
    """(whether another page is there, the body of the answer)."""
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    if answer.status >= 300:
        raise AssertionError(content)
    return answer.headers.get("Noise-More") == "1", content
