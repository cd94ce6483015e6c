"""Challenges and tokens: what proves a device serves once, for one host and purpose, and for a while."""

import json
from pathlib import Path

import pytest
import trio

from noise.protocol.encoding import Codec
from noise.protocol.errors import SignatureError
from noise.protocol.frames import AUTH_PROOF, PURPOSE_PUSH, SIGNED_AUTH_PROOF, AuthProof, SignedAuthProof
from noise.protocol.identifiers import device_id_of
from noise.protocol.json_text import base64url, encode_json, parse_base64url
from noise.protocol.limits import CHALLENGE_MS
from noise.protocol.signing import SMALL_ORDER_KEYS
from noise.web.tokens import TOKEN_MS, Challenges, Tokens
from tests.provider import Device
from tests.web.face import HOST, JSON, OCTETS, Face, open_face

_SIGNED: Codec[SignedAuthProof] = SIGNED_AUTH_PROOF
_PROOF: Codec[AuthProof] = AUTH_PROOF


async def refusal(face: Face, proof: bytes, **headers: str) -> str:
    """The code with which a proof is refused, and then no token is made."""
    return await face.code("POST", "/v1/sessions", proof, **({"Content_Type": OCTETS} | headers))


async def test_session_can_be_had_in_json_alone(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_face(tmp_path) as face:
            device = Device("alice")
            answer = await face.ask("POST", "/v1/challenges")
            assert (answer.status, answer.headers[b"content-type"]) == (201, b"application/json")
            challenge = json.loads(answer.body)
            assert challenge == {
                "origin": base64url(face.origin),
                "nonce": challenge["nonce"],
                "life_ms": CHALLENGE_MS,
                "server_ms": str(face.provider.clock.ms),
            }
            nonce = parse_base64url(challenge["nonce"])
            proof = AuthProof(face.origin, device.device_id, device.signer.public_key, nonce, HOST, "session", 2**63)
            signed = device.signer.sign("auth", face.origin, _PROOF.encode(proof))
            body = {"body": {"value": _PROOF.to_json(proof)}, "signature": base64url(signed.signature)}
            answer = await face.ask("POST", "/v1/sessions", encode_json(body), Content_Type=JSON)
            assert (answer.status, answer.headers[b"content-type"]) == (201, b"application/json")
            session = json.loads(answer.body)
            assert session["life_ms"] == TOKEN_MS
            assert len(parse_base64url(session["token"])) == 32
            answer = await face.ask("GET", "/v1/mailbox", Authorization=f"Bearer {session['token']}")
            assert answer.status == 200


async def test_challenge_serves_once(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_face(tmp_path) as face:
            proof = await face.proof(Device("alice"))
            assert (await face.ask("POST", "/v1/sessions", proof, Content_Type=OCTETS)).status == 201
            assert await refusal(face, proof) == "unknown-challenge"


async def test_challenge_serves_once_even_for_a_proof_that_fails(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_face(tmp_path) as face:
            proof = await face.proof(Device("alice"))
            broken = proof[:-1] + bytes([proof[-1] ^ 1])
            assert await refusal(face, broken) == "bad-signature"
            assert await refusal(face, proof) == "unknown-challenge"


async def test_challenge_expires(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_face(tmp_path) as face:
            alice, clock = Device("alice"), face.provider.clock
            in_time, late = [await face.proof(alice, not_after_ms=2**63) for _ in range(2)]
            clock.ms += CHALLENGE_MS
            assert (await face.ask("POST", "/v1/sessions", in_time, Content_Type=OCTETS)).status == 201
            clock.ms += 1
            assert await refusal(face, late) == "unknown-challenge"


async def test_every_field_of_a_proof_counts(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_face(tmp_path) as face:
            alice, bob = Device("alice"), Device("bob")
            for code, changes in (
                ("wrong-origin", {"origin": bytes(32)}),
                ("unknown-challenge", {"nonce": bytes(32)}),
                ("wrong-audience", {"audience": "other.example"}),
                ("wrong-audience", {"audience": HOST.upper()}),
                ("wrong-audience", {"audience": ""}),
                ("wrong-audience", {"purpose": PURPOSE_PUSH}),
                ("proof-expired", {"not_after_ms": face.provider.clock.ms - 1}),
                ("wrong-key", {"device_id": bob.device_id}),  # somebody else's mailbox, with one's own key
                ("wrong-key", {"key": bob.signer.public_key}),
                ("bad-signature", {"device_id": bob.device_id, "key": bob.signer.public_key}),
            ):
                assert await refusal(face, await face.proof(alice, **changes)) == code, changes
            assert await refusal(face, await face.proof(alice), Host="other.example") == "wrong-audience"


async def test_weak_keys_open_nothing(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_face(tmp_path) as face:
            for key in SMALL_ORDER_KEYS:
                proof = await face.proof(Device("weak"), key=key, device_id=device_id_of(key))
                assert await refusal(face, proof) == "bad-key"


async def test_what_is_no_proof_is_refused(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_face(tmp_path) as face:
            proof = await face.proof(Device("alice"))
            for body in (b"", proof[:-1], proof + b"\0", bytes(len(proof)), proof[2:], b"\x00\x00" + bytes(64)):
                assert await refusal(face, body) == "malformed"
            for body in (b"", b"{}", b"[]", b'{"body":{},"signature":""}', proof, b"1", b"\xff", b"[" * 9_000):
                assert await refusal(face, body, Content_Type=JSON) == "malformed"
            assert await refusal(face, proof, Content_Type="text/plain") == "unsupported-media-type"
            assert await refusal(face, proof, Content_Encoding="gzip") == "unsupported-media-type"
            assert await refusal(face, bytes(20_000)) == "body-too-large"
            assert await face.code("POST", "/v1/sessions?x=1", proof, Content_Type=OCTETS) == "bad-query"
            assert await face.code("POST", "/v1/challenges?x=1") == "bad-query"
            answer = await face.ask("POST", "/v1/sessions", proof, Content_Type=OCTETS)  # nothing of that spent it
            assert answer.status == 201


async def test_token_expires(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_face(tmp_path) as face:
            token = await face.log_in(Device("alice"))
            face.provider.clock.ms += TOKEN_MS
            assert (await face.ask("GET", "/v1/mailbox", Authorization=token)).status == 200
            face.provider.clock.ms += 1
            assert await face.code("GET", "/v1/mailbox", Authorization=token) == "token-unknown"


async def test_token_says_nothing_about_its_device_and_lives_in_memory_only(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_face(tmp_path) as face:
            alice = Device("alice")
            first, second = await face.log_in(alice), await face.log_in(alice)
            assert first != second
        async with open_face(tmp_path) as face:
            assert await face.code("GET", "/v1/mailbox", Authorization=first) == "token-unknown"


def test_tables_keep_the_newest() -> None:
    challenges = Challenges(count_max=2)
    oldest, newer, newest = [challenges.issue(0) for _ in range(3)]
    with pytest.raises(SignatureError):
        challenges.spend(oldest, 0)
    challenges.spend(newer, 0)
    challenges.spend(newest, 0)
    tokens = Tokens(count_max=2)
    issued = [tokens.issue(bytes([n]) * 32, 0) for n in range(3)]
    with pytest.raises(SignatureError):
        tokens.device_of(issued[0], 0)
    assert [tokens.device_of(token, 0)[0] for token in issued[1:]] == [1, 2]


def test_tables_forget_what_expired_and_keep_hashes_only() -> None:
    tokens = Tokens()
    token = tokens.issue(bytes(32), 0)
    assert token not in tokens._devices._items
    tokens.issue(bytes(32), TOKEN_MS)
    assert len(tokens._devices._items) == 2
    tokens.issue(bytes(32), TOKEN_MS + 1)
    assert len(tokens._devices._items) == 2
