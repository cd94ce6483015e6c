"""The HTTP face of a running provider over real sockets, and a client that asks it.

Must not know: what each test looks for.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from noise.protocol.delta import DELTA, RecipientLists
from noise.protocol.encoding import Codec
from noise.protocol.envelope import Bundle
from noise.protocol.follower import Follower, Step, new_lists
from noise.protocol.frames import (
    AUTH_PROOF,
    CHALLENGE,
    PURPOSE_SESSION,
    RECEIPT,
    SESSION,
    SIGNED_AUTH_PROOF,
    AuthProof,
    ChallengeFrame,
    Receipt,
    SignedAuthProof,
)
from noise.protocol.json_text import base64url
from noise.web.app import create_app
from noise.web.problems import STATUS_OF_CODE
from tests.provider import Device, Provider, running_provider
from tests.web.live_http import Answer, Live, serving

HOST = "noise.example"
OCTETS = "application/octet-stream"
JSON = "application/json"
_RECEIPT: Codec[Receipt] = RECEIPT


def request_bytes(method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> bytes:
    """One request, as it goes over the wire."""
    fields = {"Host": HOST, "Content-Length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body


def problem_code(answer: Answer) -> str:
    """The code of a refusal, which has to be whole and to agree with itself."""
    assert answer.headers[b"content-type"] == b"application/problem+json", answer
    problem: dict[str, Any] = json.loads(answer.body)
    assert problem.keys() == {"type", "title", "status", "code", "detail"}
    assert problem["type"] == "about:blank"
    assert problem["status"] == answer.status == STATUS_OF_CODE[problem["code"]]
    assert problem["title"] == HTTPStatus(answer.status).phrase
    assert problem["detail"]
    assert (answer.headers[b"cache-control"], answer.headers[b"x-content-type-options"]) == (b"no-store", b"nosniff")
    code: str = problem["code"]
    return code


@dataclass
class Face:
    """A provider that is served."""

    provider: Provider
    live: Live

    @property
    def origin(self) -> bytes:
        return self.provider.origin

    async def ask(self, method: str, target: str, body: bytes = b"", **headers: str) -> Answer:
        """The answer. Names of headers are written with underscores."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.live.ask(request_bytes(method, target, named, body))

    async def code(self, method: str, target: str, body: bytes = b"", **headers: str) -> str:
        """The code with which this is refused."""
        return problem_code(await self.ask(method, target, body, **headers))

    async def send(self, bundle: Bundle) -> Receipt:
        answer = await self.ask("POST", "/v1/bundles", bundle.encode(), Content_Type=OCTETS)
        assert answer.status == 201, answer
        return _RECEIPT.decode(answer.body)

    async def challenge(self) -> ChallengeFrame:
        answer = await self.ask("POST", "/v1/challenges", Accept=OCTETS)
        assert answer.status == 201, answer
        return CHALLENGE.decode(answer.body)

    async def proof(self, device: Device, **changes: Any) -> bytes:
        """A signed answer to a fresh challenge, with some of its fields changed before it was signed."""
        nonce = (await self.challenge()).nonce
        key, not_after_ms = device.signer.public_key, self.provider.clock.ms + 60_000
        proof = AuthProof(self.origin, device.device_id, key, nonce, HOST, PURPOSE_SESSION, not_after_ms)
        body = AUTH_PROOF.encode(proof._replace(**changes))
        signed = device.signer.sign("auth", self.origin, body)
        return SIGNED_AUTH_PROOF.encode(SignedAuthProof(*signed))

    async def log_in(self, device: Device) -> str:
        """A token, as `Authorization` takes it."""
        answer = await self.ask("POST", "/v1/sessions", await self.proof(device), Content_Type=OCTETS)
        assert answer.status == 201, answer
        return "Bearer " + base64url(SESSION.decode(answer.body).token)


@asynccontextmanager
async def open_face(data: Path, *, answer_s: float = 30, **options: Any) -> AsyncIterator[Face]:
    """Serve the provider in `data` for the length of a block. `options`: as for `running_provider`."""
    async with (
        running_provider(data / "provider", **options) as provider,
        serving(create_app(provider.gateway, answer_s=answer_s)) as live,
    ):
        yield Face(provider, live)


class Reader:
    """A device that follows its mailbox over HTTP and believes nothing unproven. `texts`: what it received."""

    def __init__(self, face: Face, device: Device) -> None:
        self.device = device
        self.texts: list[bytes] = []
        self._face = face
        self._counters: dict[bytes, int] = {}
        self.follower = Follower(face.origin, device.device_id, last_counter=self._counters.get)

    def query(self) -> str:
        """The cursor as a query string."""
        return "&".join(f"{name}={number}" for name, number in self.follower.cursor._asdict().items())

    async def read_page(self, token: str) -> bool:
        """Verify and adopt one page; whether another one is there already."""
        answer = await self._face.ask("GET", f"/v1/mailbox?{self.query()}", Authorization=token)
        assert (answer.status, answer.headers[b"content-type"]) == (200, OCTETS.encode()), answer
        self.adopt(answer.body)
        return answer.headers.get(b"noise-more") == b"1"

    def adopt(self, encoded: bytes) -> Step:
        delta = DELTA.decode(encoded)
        step = self.follower.check_delta(delta, RecipientLists())
        self.follower.adopt(step)
        new_lists(delta)
        self._counters.update(step.counters)
        self.texts += [delivery.common for delivery in step.deliveries]
        return step

    async def read_all(self, token: str) -> int:
        """Read to the end; how many pages that took."""
        pages = 1
        while await self.read_page(token):
            pages += 1
        return pages
