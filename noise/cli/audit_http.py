"""What an auditor asks of a provider over HTTP.

Knows nothing of trust: every answer is checked by whoever asked for it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from noise.cli.asking import Asking, NoAnswer, decode_answer, open_asking
from noise.protocol.audit_page import AUDIT_PAGE, AuditPage
from noise.protocol.encoding import Codec
from noise.protocol.frames import (
    AUTH_PROOF,
    CHALLENGE,
    PURPOSE_AUDIT,
    SESSION,
    SIGNED_AUTH_PROOF,
    AuthProof,
    ChallengeFrame,
    Session,
    SignedAuthProof,
)
from noise.protocol.identifiers import device_id_of
from noise.protocol.json_text import base64url
from noise.protocol.log_pages import EPOCH_STATEMENTS, ROSTERS, EpochStatements
from noise.protocol.signing import Signed, Signer

_STATEMENTS: Codec[EpochStatements] = EPOCH_STATEMENTS
_PAGE: Codec[AuditPage] = AUDIT_PAGE
_CHALLENGE: Codec[ChallengeFrame] = CHALLENGE
_SESSION: Codec[Session] = SESSION


class AuditHttp:
    """Made by `open_audit_http`. Every call raises NoAnswer."""

    def __init__(self, asking: Asking, origin: bytes, signer: Signer) -> None:
        self._asking = asking
        self._origin = origin
        self._signer = signer
        self._token = b""

    async def checkpoint(self) -> bytes:
        """The newest signed note."""
        return await self._asking.ask("GET", "/v1/checkpoint", accept="text/plain")

    async def rosters(self) -> list[Signed]:
        """All of them, in order."""
        return [Signed(*roster) for roster in await self._asking.get(ROSTERS, "/v1/rosters")]

    async def statements(self, epoch: int) -> EpochStatements:
        """All that the actors signed in an epoch, its record and its checkpoint."""
        return await self._asking.get(_STATEMENTS, f"/v1/log/records/{epoch}")

    async def page(self, epoch: int) -> AuditPage:
        """Who was to receive what in an epoch. Proves our key when that is needed."""
        if self._token:
            try:
                return await self._page(epoch)
            except NoAnswer as error:
                if error.code != "token-unknown":
                    raise
        self._token = await self._log_in()
        return await self._page(epoch)

    async def _page(self, epoch: int) -> AuditPage:
        authorization = {"Authorization": f"Bearer {base64url(self._token)}"}
        return decode_answer(_PAGE, await self._asking.ask("GET", f"/v1/audit/{epoch}", more=authorization))

    async def _log_in(self) -> bytes:
        """A token. What is signed names our origin, whatever the challenge says."""
        challenge = await self._asking.post(_CHALLENGE, "/v1/challenges", b"")
        until_ms = min(challenge.server_ms + challenge.life_ms, 2**64 - 1)
        key, host = self._signer.public_key, self._asking.host
        proof = AuthProof(self._origin, device_id_of(key), key, challenge.nonce, host, PURPOSE_AUDIT, until_ms)
        signed = SignedAuthProof(*self._signer.sign("auth", self._origin, AUTH_PROOF.encode(proof)))
        session = await self._asking.post(_SESSION, "/v1/sessions", SIGNED_AUTH_PROOF.encode(signed))
        return session.token


@asynccontextmanager
async def open_audit_http(url: str, origin: bytes, signer: Signer) -> AsyncIterator[AuditHttp]:
    """An auditor's connections to the provider at `url`, until the block ends. Raises NoAnswer."""
    async with open_asking(url) as asking:
        yield AuditHttp(asking, origin, signer)
