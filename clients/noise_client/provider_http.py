"""What the SDK asks of a provider over HTTP: prekeys, pieces of the public log, our own past, and who lied.

Knows nothing of trust: every answer is checked by whoever asked for it. The only file that imports httpx.
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx
import trio

from noise.protocol.challenges import SIGNED_CHALLENGE_RECEIPT, SignedChallengeReceipt
from noise.protocol.complaints import (
    CHALLENGE_STATUS,
    COMPLAINT_ANSWER,
    CUSTODY_ANSWERS,
    ChallengeStatus,
    ComplaintAnswer,
)
from noise.protocol.delta import DELTA, Delta, SignedRoster
from noise.protocol.encoding import HASHES, Codec
from noise.protocol.errors import DecodeError, Rejected
from noise.protocol.evidence.proof import PROOF_BYTES_MAX
from noise.protocol.evidence.stage_views import CustodyAnswer
from noise.protocol.frames import CHALLENGE, SESSION, SIGNED_AUTH_PROOF, ChallengeFrame, Cursor, SignedAuthProof
from noise.protocol.identifiers import format_id
from noise.protocol.json_text import base64url, parse_json
from noise.protocol.limits import FRAME_BYTES_MAX
from noise.protocol.log_pages import EPOCH_STATEMENTS, INCLUSION, ROSTERS, EpochStatements, Inclusion
from noise.protocol.prekeys import PREKEY_COUNT, PREKEY_OFFER, PREKEY_UPLOAD, PrekeyCount, PrekeyOffer, PrekeyUpload
from noise_client.errors import LinkError
from noise_client.link import Address

T = TypeVar("T")

_BINARY = "application/octet-stream"
_ANSWER_BYTES_MAX = FRAME_BYTES_MAX
_CODE_CHARS_MAX = 64
_ANSWER_S = 30.0


class ProviderHttp:
    """Made by `open_http`. Every call raises LinkError when there is no usable answer, Rejected when it is a refusal,
    with the provider's stable code. `timeout_s`: for a whole answer, however steadily it trickles."""

    def __init__(self, http: httpx.AsyncClient, timeout_s: float = _ANSWER_S) -> None:
        self._http = http
        self._timeout_s = timeout_s

    async def post_prekeys(self, upload: PrekeyUpload) -> PrekeyCount:
        """Publish our prekeys; what the provider holds of us then."""
        body = PREKEY_UPLOAD.encode(upload)
        return await self._ask("POST", "/v1/devices/self/prekeys", PREKEY_COUNT, body)

    async def prekey_count(self, device_id: bytes) -> PrekeyCount:
        """What the provider holds of a device."""
        return await self._ask("GET", f"/v1/devices/{format_id(device_id)}/prekeys", PREKEY_COUNT)

    async def prekey(self, device_id: bytes) -> PrekeyOffer:
        """Keys to seal for a device with: the one-time one is ours alone."""
        return await self._ask("GET", f"/v1/devices/{format_id(device_id)}/prekey", PREKEY_OFFER)

    async def consistency(self, old_size: int, new_size: int) -> tuple[bytes, ...]:
        """What shows that the log of one size begins with that of another."""
        proof: tuple[bytes, ...] = await self._ask("GET", f"/v1/log/consistency?old={old_size}&new={new_size}", HASHES)
        return proof

    async def inclusion(self, epoch: int, size: int) -> Inclusion:
        """What shows that an epoch's record is in the log of a size."""
        return await self._ask("GET", f"/v1/log/inclusion?epoch={epoch}&size={size}", INCLUSION)

    async def statements(self, epoch: int) -> EpochStatements:
        """All that the actors signed in an epoch, its record and its checkpoint."""
        return await self._ask("GET", f"/v1/log/records/{epoch}", EPOCH_STATEMENTS)

    async def challenge(self) -> ChallengeFrame:
        """A nonce to sign."""
        return await self._ask("POST", "/v1/challenges", CHALLENGE, b"")

    async def session(self, proof: SignedAuthProof) -> bytes:
        """A token to read our own mailbox with."""
        session = await self._ask("POST", "/v1/sessions", SESSION, SIGNED_AUTH_PROOF.encode(proof))
        return bytes(session.token)

    async def page(self, token: bytes, cursor: Cursor) -> Delta:
        """What follows a cursor in our mailbox."""
        query = "&".join(f"{name}={number}" for name, number in cursor._asdict().items())
        authorization = {"Authorization": f"Bearer {base64url(token)}"}
        return await self._ask("GET", f"/v1/mailbox?{query}", DELTA, None, authorization)

    async def rosters(self) -> tuple[SignedRoster, ...]:
        """All that the provider ever had, in order, as it says."""
        return await self._ask("GET", "/v1/rosters", ROSTERS)

    async def complain(self, proof: bytes) -> ComplaintAnswer:
        """Show the provider what convicts it; what its actors may be asked then."""
        return await self._ask("POST", "/v1/complaints", COMPLAINT_ANSWER, proof, bytes_max=PROOF_BYTES_MAX)

    async def custody(self, complaint_id: bytes, actor: str) -> tuple[CustodyAnswer, ...]:
        """What an actor, by its name, shows of what a complaint is about."""
        path = f"/v1/custody/{format_id(complaint_id)}/{actor}"
        return await self._ask("GET", path, CUSTODY_ANSWERS, bytes_max=PROOF_BYTES_MAX)

    async def open_challenge(self, complaint_id: bytes, challenge: bytes) -> SignedChallengeReceipt:
        """Ask an actor in the log, by an encoded Challenge; the promise that the question is there."""
        path = f"/v1/complaints/{format_id(complaint_id)}/challenges"
        return await self._ask("POST", path, SIGNED_CHALLENGE_RECEIPT, challenge)

    async def challenge_status(self, complaint_id: bytes, challenge_hash: bytes) -> ChallengeStatus:
        """What the newest record says of a challenge, and what was answered if the complaint is about that."""
        path = f"/v1/complaints/{format_id(complaint_id)}/challenges/{format_id(challenge_hash)}"
        return await self._ask("GET", path, CHALLENGE_STATUS, bytes_max=PROOF_BYTES_MAX)

    async def _ask(
        self,
        method: str,
        path: str,
        codec: Codec[T],
        body: bytes | None = None,
        more: dict[str, str] | None = None,
        bytes_max: int = _ANSWER_BYTES_MAX,
    ) -> T:
        headers = {"Accept": _BINARY} | ({"Content-Type": _BINARY} if body is not None else {}) | (more or {})
        try:
            with trio.fail_after(self._timeout_s):  # httpx's own timeout is for each read
                async with self._http.stream(method, path, content=body, headers=headers) as response:
                    data = b""
                    async for chunk in response.aiter_raw():
                        data += chunk
                        if len(data) > bytes_max:
                            raise LinkError("the provider's answer has no end", code="bad-answer")
        except trio.TooSlowError:
            raise LinkError(f"no whole answer to {method} {path} in time", code="unreachable") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise LinkError(f"no answer to {method} {path}: {error}", code="unreachable") from error
        if not response.is_success:
            raise _refusal(response.status_code, data)
        try:
            return codec.decode(data)
        except DecodeError as error:
            raise LinkError(f"the answer to {method} {path} makes no sense: {error}", code="bad-answer") from None


def _refusal(status: int, body: bytes) -> Rejected | LinkError:
    """A problem (RFC 9457) as its code, anything else as no answer."""
    try:
        problem: Any = parse_json(body)
        code, detail = problem["code"], problem["detail"]
    except (DecodeError, TypeError, KeyError):
        code = detail = None
    if not isinstance(code, str) or not isinstance(detail, str) or len(code) > _CODE_CHARS_MAX:
        return LinkError(f"the provider answers with HTTP status {status}", code="bad-answer")
    return Rejected(detail, code=code)


@asynccontextmanager
async def open_http(
    address: Address, ssl_context: ssl.SSLContext | None, timeout_s: float
) -> AsyncIterator[ProviderHttp]:
    """A client that keeps its connections, until the block ends. `ssl_context`: as in `open_link`; `timeout_s`: for
    each whole answer."""
    async with httpx.AsyncClient(
        base_url=address.base_url,
        verify=ssl_context if ssl_context is not None else address.is_tls,
        timeout=timeout_s,
        follow_redirects=False,
        trust_env=False,
    ) as http:
        yield ProviderHttp(http, timeout_s)
