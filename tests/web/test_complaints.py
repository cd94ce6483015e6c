"""Complaints over HTTP: who gets to see custody, what it proves, and who admits what."""

import json
from pathlib import Path

import pytest
import trio

from noise.protocol.challenges import (
    CHALLENGE,
    CHALLENGE_RECEIPT,
    SIGNED_CHALLENGE_RECEIPT,
    hash_challenge,
    hash_complaint,
)
from noise.protocol.complaints import (
    CHALLENGE_STATUS,
    COMPLAINT_ANSWER,
    CUSTODY_ANSWERS,
    ComplaintAnswer,
)
from noise.protocol.evidence.blame import assign_blame
from noise.protocol.evidence.challenges import Admission
from noise.protocol.evidence.proof import PROOF, PROOF_BYTES_MAX, make_proof, verify_proof
from noise.protocol.evidence.slots import ManifestEquivocation
from noise.protocol.frames import SignedManifest
from noise.protocol.identifiers import format_id
from noise.protocol.log_pages import EPOCH_STATEMENTS
from noise.protocol.statements import MANIFEST
from noise.web import complaints
from noise.web.bodies import BODY_BYTES_MAX, body_bytes_max
from tests.web.complaining import INBOX, ROUTER, WAY, scene
from tests.web.face import JSON, OCTETS


async def test_a_complaint_that_convicts_gets_answers_that_name_the_liar(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with scene(tmp_path) as told:
            assert verify_proof(told.proof, {told.face.origin}).accused == "provider"
            known = await told.complain()
            assert known[:2] == (hash_complaint(told.proof), (told.question,))
            answers = []
            for actor in WAY:
                (answer,) = await told.custody(actor)
                assert [one.actor for one in answer.stages] == [actor.encode()]
                assert answer.question == told.question
                answers.append(answer)
            blame = assign_blame(told.proof, answers, told.face.origin)
            assert (blame.actor, blame.is_proven, blame.epoch) == (str(INBOX), True, told.epoch)
            assert verify_proof(blame.proof, {told.face.origin}).accused == str(INBOX)


async def test_whoever_finds_the_fault_with_itself_admits_it(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with scene(tmp_path) as told:
            (admission,) = (await told.complain()).admissions
            proof = make_proof(told.face.origin, told.rosters, Admission(told.proof, admission))
            verdict = verify_proof(proof, {told.face.origin})
            assert (verdict.kind, verdict.accused, verdict.epoch) == ("Admission", str(INBOX), told.epoch)
            assert (await told.complain()).admissions == (admission,)


async def test_nobody_admits_what_it_knows_nothing_of(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with scene(tmp_path, mute=WAY) as told:
            assert await told.complain() == ComplaintAnswer(hash_complaint(told.proof), (told.question,), ())


async def test_custody_is_shown_for_convictions_alone(tmp_path: Path) -> None:
    """What was sequenced and delivered is nobody's business, but who can prove a lie."""
    with trio.fail_after(20):
        async with scene(tmp_path) as told:
            face, known = told.face, format_id(hash_complaint(told.proof))
            assert await face.code("GET", f"/v1/custody/{known}/{INBOX}") == "unknown-complaint"
            code = await face.code("POST", told.challenges_path, told.challenge(INBOX), Content_Type=OCTETS)
            assert code == "unknown-complaint"
            proof = PROOF.decode(told.proof)
            for data, refusal in (
                (b"", "malformed"),
                (b"x", "malformed"),
                (told.proof[:-1], "malformed"),
                (told.proof + b"\0", "malformed"),
                (PROOF.encode(proof._replace(kind="Slander")), "malformed"),
                (PROOF.encode(proof._replace(origin=bytes(32))), "not-proven"),
                (PROOF.encode(proof._replace(rosters=())), "not-proven"),
                (bytes(1 << 20), "malformed"),
                (bytes((1 << 20) + 1), "body-too-large"),
            ):
                assert await face.code("POST", "/v1/complaints", data, Content_Type=OCTETS) == refusal
            await told.complain()
            other = format_id(bytes(32))
            for target, refusal in (
                (f"/v1/custody/{other}/{INBOX}", "unknown-complaint"),
                (f"/v1/custody/{known[:-1]}/{INBOX}", "malformed"),
                (f"/v1/custody/{known}/router-0-1", "not-found"),
                (f"/v1/custody/{known}/ROUTER-0-0", "not-found"),
                (f"/v1/custody/{known}/", "not-found"),
                (f"/v1/custody/{known}/{INBOX}?x", "bad-query"),
            ):
                assert await face.code("GET", target) == refusal, target
            for bystander in ("sequencer-0-0", "log-0-0"):
                assert CUSTODY_ANSWERS.decode((await face.ask("GET", f"/v1/custody/{known}/{bystander}")).body) == ()


async def test_complaints_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is forgotten; whoever needs it complains again. Too many at once have to wait."""
    with trio.fail_after(20):
        async with scene(tmp_path) as told:
            monkeypatch.setattr(complaints, "_COMPLAINTS_MAX", 2)
            proofs = [told.proof]
            for _ in range(2):
                await told.lie()
                proofs.append(told.proof)
            assert len({hash_complaint(proof) for proof in proofs}) == 3

            async def is_known(proof: bytes) -> bool:
                target = f"/v1/custody/{format_id(hash_complaint(proof))}/{INBOX}"
                return (await told.face.ask("GET", target)).status == 200

            await told.complain(proofs[0])
            await told.complain(proofs[1])
            assert await is_known(proofs[0])
            await told.complain(proofs[2])
            assert [await is_known(proof) for proof in proofs] == [True, False, True]
            monkeypatch.setattr(complaints, "_WAITING_MAX", 0)
            code = await told.face.code("POST", "/v1/complaints", proofs[1], Content_Type=OCTETS)
            assert code == "busy"


async def test_a_proof_that_names_somebody_asks_nothing(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with scene(tmp_path) as told:
            shown = EPOCH_STATEMENTS.decode(
                (await told.face.ask("GET", f"/v1/log/records/{told.epoch}", Accept=OCTETS)).body
            )
            (true,) = shown.manifests
            lie = MANIFEST.encode(MANIFEST.decode(true.body)._replace(n_messages=7))
            finding = ManifestEquivocation(true, SignedManifest(*told.sign(INBOX, "manifest", lie)))
            told.proof = make_proof(told.face.origin, told.rosters, finding)
            assert (await told.complain()).questions == ()
            assert await told.custody(INBOX) == ()


async def test_both_faces_of_every_structure(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with scene(tmp_path, mute=[ROUTER]) as told:
            face = told.face
            answer = await face.ask("POST", "/v1/complaints", told.proof, Content_Type=OCTETS, Accept=JSON)
            assert COMPLAINT_ANSWER.from_json(json.loads(answer.body)).complaint_id == hash_complaint(told.proof)
            target = f"/v1/custody/{format_id(hash_complaint(told.proof))}/{INBOX}"
            answer = await face.ask("GET", target, Accept=JSON)
            assert CUSTODY_ANSWERS.from_json(json.loads(answer.body)) == await told.custody(INBOX)
            body = json.dumps(CHALLENGE.to_json(CHALLENGE.decode(told.challenge(ROUTER)))).encode()
            answer = await face.ask("POST", told.challenges_path, body, Content_Type=JSON)
            assert answer.status == 201
            assert CHALLENGE_RECEIPT.decode(SIGNED_CHALLENGE_RECEIPT.from_json(json.loads(answer.body)).body)
            key = hash_challenge(told.challenge(ROUTER))
            answer = await face.ask("GET", f"/v1/challenges/{format_id(key)}")
            assert CHALLENGE_STATUS.from_json(json.loads(answer.body)) == await told.public_status(key)
            answer = await face.ask("GET", f"{told.challenges_path}/{format_id(key)}", Accept=JSON)
            assert CHALLENGE_STATUS.from_json(json.loads(answer.body)) == await told.status(key)


async def test_a_proof_is_octets(tmp_path: Path) -> None:
    """A megabyte of JSON takes fifty of memory while it is read. None is taken in before it is refused."""
    with trio.fail_after(20):
        async with scene(tmp_path) as told:
            proof = json.dumps(PROOF.to_json(PROOF.decode(told.proof))).encode()
            for media_type in (JSON, "text/plain", "application/octet-streams"):
                code = await told.face.code("POST", "/v1/complaints", proof, Content_Type=media_type)
                assert code == "unsupported-media-type"
                assert body_bytes_max("/v1/complaints", media_type) == BODY_BYTES_MAX
            assert await told.face.code("POST", "/v1/complaints", told.proof) == "unsupported-media-type"
            assert body_bytes_max("/v1/complaints", OCTETS) == PROOF_BYTES_MAX
