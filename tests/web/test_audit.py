"""Auditors over real sockets: who is let in, what is shown, and that it is enough to replay every stage."""

import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from noise.cli.asking import NoAnswer
from noise.cli.audit import audit_server
from noise.cli.audit_http import open_audit_http
from noise.keys import KeyRing
from noise.protocol.audit_page import AUDIT_PAGE
from noise.protocol.auditor import AuditCounts, AuditFailed
from noise.protocol.envelope import Draft
from noise.protocol.frames import PURPOSE_AUDIT, PURPOSE_PUSH, SESSION
from noise.protocol.identifiers import device_id_of, format_id
from noise.protocol.json_text import base64url
from noise.web.app import create_app
from noise.web.tokens import TOKEN_MS
from tests.e2e.provider_process import client_environment
from tests.pipeline.lying_store import LyingStore, signed_otherwise
from tests.provider import Device, Provider, recipients_of, running_provider
from tests.web.face import JSON, OCTETS, Face
from tests.web.live_http import serving

AUDITOR = Device("auditor")


@asynccontextmanager
async def audited_face(
    data: Path, auditors: Sequence[bytes] = (AUDITOR.device_id,), store: Any = None, **options: Any
) -> AsyncIterator[Face]:
    async with running_provider(data / "provider", **options) as provider:
        gateway = provider.gateway._replace(auditors=frozenset(auditors))
        app = create_app(gateway._replace(store=store(provider)) if store else gateway)
        async with serving(app) as live:
            yield Face(provider, live)


async def converse(provider: Provider) -> None:
    alice, bob = Device("alice"), Device("bob")
    both = recipients_of(alice.device_id, bob.device_id)
    await provider.submit(alice.bundle(provider.origin, [Draft(both, b"a word", (b"c" * 40, b"d" * 40), 1)]))
    await provider.submit(bob.write(provider.origin, [b"another", b"and one more"], [alice]))


async def audit_token(face: Face, device: Device = AUDITOR) -> str:
    proof = await face.proof(device, purpose=PURPOSE_AUDIT)
    answer = await face.ask("POST", "/v1/sessions", proof, Content_Type=OCTETS)
    assert answer.status == 201, answer
    return "Bearer " + base64url(SESSION.decode(answer.body).token)


def url_of(face: Face) -> str:
    host, port = face.live.address
    return f"http://{host}:{port}"


async def audit(face: Face, next_epoch: int | None = None) -> AuditCounts:
    return await audit_server(url_of(face), face.origin, AUDITOR.signer, next_epoch, lambda *_: None)


async def test_an_auditor_replays_a_provider(tmp_path: Path) -> None:
    with trio.fail_after(20):
        for inboxes, outboxes in ((2, 2), (1, 3)):
            async with audited_face(tmp_path, inboxes=inboxes, outboxes=outboxes) as face:
                if inboxes == 2:
                    await converse(face.provider)
                await face.provider.grow_log(face.provider.log_size + 1)
                counts = await audit(face)
                assert (counts.epochs, counts.messages, counts.deliveries) == (face.provider.log_size, 3, 6)
                assert (await audit(face, 1)).epochs == 1


async def test_the_page_in_json_says_the_same_and_no_content(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with audited_face(tmp_path) as face:
            await converse(face.provider)
            token = await audit_token(face)
            pages = []
            for epoch in range(face.provider.log_size):
                target = f"/v1/audit/{epoch}"
                answer = await face.ask("GET", target, Authorization=token)
                assert (answer.status, answer.headers[b"content-type"]) == (200, OCTETS.encode())
                assert answer.headers[b"cache-control"] == b"no-store"
                pages.append(AUDIT_PAGE.decode(answer.body))
                assert b"a word" not in answer.body
                assert b"c" * 40 not in answer.body
                answer = await face.ask("GET", target, Authorization=token, Accept=JSON)
                assert AUDIT_PAGE.from_json(json.loads(answer.body)) == pages[-1]
            shown = [message for page in pages for lane in page.lanes for message in lane.messages]
            assert [len(message.ciphertexts) for message in shown] == [2, 0, 0]


async def test_only_auditors_are_let_in(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with audited_face(tmp_path) as face:
            await face.provider.grow_log(1)
            assert await face.code("GET", "/v1/audit/0") == "token-missing"
            mallory = Device("mallory")
            proof = await face.proof(mallory, purpose=PURPOSE_AUDIT)
            assert await face.code("POST", "/v1/sessions", proof, Content_Type=OCTETS) == "not-an-auditor"
            assert await face.code("POST", "/v1/sessions", proof, Content_Type=OCTETS) == "unknown-challenge"
            for device in (mallory, AUDITOR):  # an auditor's mailbox token is no auditor's token
                token = await face.log_in(device)
                assert await face.code("GET", "/v1/audit/0", Authorization=token) == "token-unknown"
            token = await audit_token(face)
            assert await face.code("GET", "/v1/mailbox", Authorization=token) == "token-unknown"
            assert (await face.ask("GET", "/v1/audit/0", Authorization=token)).status == 200


@pytest.mark.parametrize("purpose", [PURPOSE_PUSH, "", "audits"])
async def test_no_other_purpose_makes_a_token(tmp_path: Path, purpose: str) -> None:
    with trio.fail_after(20):
        async with audited_face(tmp_path) as face:
            proof = await face.proof(AUDITOR, purpose=purpose)
            assert await face.code("POST", "/v1/sessions", proof, Content_Type=OCTETS) == "wrong-audience"


async def test_a_stranger_cannot_sign_for_an_auditor(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with audited_face(tmp_path) as face:
            proof = await face.proof(Device("mallory"), purpose=PURPOSE_AUDIT, device_id=AUDITOR.device_id)
            assert await face.code("POST", "/v1/sessions", proof, Content_Type=OCTETS) == "wrong-key"
            key = AUDITOR.signer.public_key
            proof = await face.proof(Device("mallory"), purpose=PURPOSE_AUDIT, device_id=AUDITOR.device_id, key=key)
            assert await face.code("POST", "/v1/sessions", proof, Content_Type=OCTETS) == "bad-signature"


async def test_nothing_is_shown_before_it_is_committed(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with audited_face(tmp_path) as face:
            await face.provider.grow_log(2)
            token = await audit_token(face)
            assert await face.code("GET", "/v1/audit/2", Authorization=token) == "not-committed"
            assert await face.code("GET", "/v1/audit/01", Authorization=token) == "malformed"
            assert await face.code("GET", f"/v1/audit/{2**64}", Authorization=token) in {"malformed", "not-committed"}
            assert await face.code("GET", "/v1/audit/0?x=1", Authorization=token) == "bad-query"


async def test_an_auditor_proves_itself_again_when_its_token_expires(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with audited_face(tmp_path) as face:
            await face.provider.grow_log(2)
            async with open_audit_http(url_of(face), face.origin, AUDITOR.signer) as http:
                first = await http.page(0)
                face.provider.clock.ms += TOKEN_MS + 1
                assert await http.page(0) == first


async def test_what_the_auditor_cannot_have_is_no_lie(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with audited_face(tmp_path, auditors=()) as face:
            await face.provider.grow_log(1)
            with pytest.raises(NoAnswer) as caught:
                await audit(face)
            assert caught.value.code == "not-an-auditor"
        with pytest.raises(NoAnswer) as caught:
            await audit(face)
        assert caught.value.code == "unreachable"


async def test_the_command_names_the_actor_that_lied(tmp_path: Path) -> None:
    """Over the network, by its exit status and its words."""
    key = KeyRing(tmp_path).create("auditor")
    auditor = device_id_of(key.public_key)
    keys = tmp_path / "provider" / "keys"

    def make_liar(provider: Provider) -> Any:
        change = signed_otherwise(keys, provider.origin, "router-0-1", 1, root=bytes(32))
        return LyingStore(provider.gateway.store, statement=change)

    with trio.fail_after(30):
        async with audited_face(tmp_path, [auditor], make_liar, inboxes=2, outboxes=2) as face:
            await converse(face.provider)
            with pytest.raises(AuditFailed) as caught:
                await audit_server(url_of(face), face.origin, key, None, lambda *_: None)
            assert (caught.value.actor, caught.value.epoch) == ("router-0-1", 1)
            command = [sys.executable, "-m", "noise", "audit", "--server", url_of(face), "--key"]
            command += [str(tmp_path / "auditor.pem"), f"--origin={format_id(face.origin)}"]
            done = await trio.run_process(
                command, capture_stdout=True, capture_stderr=True, check=False, env=client_environment()
            )
            assert (done.returncode, done.stdout) == (1, b"")
            assert (
                b"NOT CLEAN: epoch 1, router-0-1: its RouteSheet is not what its input makes, in: root" in done.stderr
            )
