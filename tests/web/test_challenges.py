"""Challenges over HTTP: what is logged, what everybody sees of it, and what every answer proves."""

from pathlib import Path

import pytest
import trio

from noise.protocol.challenges import (
    CHALLENGE,
    CHALLENGE_RECEIPT,
    CHALLENGE_STATE,
    SignedChallengeReceipt,
    hash_challenge,
    hash_complaint,
)
from noise.protocol.complaints import ChallengeStatus
from noise.protocol.evidence.challenges import SuppressedChallenge
from noise.protocol.evidence.openings import open_log
from noise.protocol.evidence.proof import NotProven, make_proof, verify_proof
from noise.protocol.evidence.rosters import Rosters
from noise.protocol.evidence.stage_views import CUSTODY_ANSWER
from noise.protocol.identifiers import Actor, Role, format_id, make_seq
from noise.protocol.signing import verify_strict
from noise.protocol.state_map import MapProof, root_from_proof
from noise.protocol.statements import EPOCH_RECORD, ROSTER
from tests.provider import Device
from tests.web.complaining import INBOX, RECEIVER, ROUTER, WAY, scene
from tests.web.face import OCTETS, problem_code


def root_of(status: ChallengeStatus, key: bytes) -> bytes:
    """Where the path of a status leads."""
    other = (status.other.key, status.other.value_hash) if status.other else None
    return root_from_proof(key, hash_challenge(status.state) if status.state else None, MapProof(status.path, other))


async def test_a_challenge_is_logged_and_answered(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with scene(tmp_path, mute=[ROUTER]) as told:
            await told.complain()
            assert await told.custody(ROUTER) == ()
            receipt = await told.ask(ROUTER)
            body = CHALLENGE_RECEIPT.decode(receipt.body)
            log = ROSTER.decode(told.rosters[-1].body).entry(Actor(Role.LOG, 0, 0))
            verify_strict(log.key, receipt.signature, "challenge", told.face.origin, receipt.body)
            key = hash_challenge(told.challenge(ROUTER))
            assert (body.challenge_hash, body.actor) == (key, log.actor)
            rosters = Rosters(told.face.origin, told.rosters)
            status = await told.status(key)
            assert status.challenge == told.challenge(ROUTER)
            assert root_of(status, key) == open_log(rosters, status.log).record.challenges_root
            assert status.asked is not None
            assert open_log(rosters, status.asked).epoch == told.epoch
            state = CHALLENGE_STATE.decode(status.state)
            assert state.is_open and status.answer == b""
            told.kept.mute.clear()
            status = await told.answered(key)  # it is looked for after every epoch
            answered = CHALLENGE_STATE.decode(status.state)
            assert answered[:2] == state[:2]
            assert answered.answered_epoch <= answered.deadline_epoch
            assert hash_challenge(status.answer) == answered.answer_hash
            assert (CUSTODY_ANSWER.decode(status.answer),) == await told.custody(ROUTER)
            assert root_of(status, key) == open_log(rosters, status.log).record.challenges_root


async def test_strangers_find_challenges_and_see_no_answer(tmp_path: Path) -> None:
    """A proof that there is no such challenge leads to one that there is. Its answer says who received what."""
    with trio.fail_after(20):
        async with scene(tmp_path) as told:
            await told.complain()
            await told.ask(ROUTER)
            key = hash_challenge(told.challenge(ROUTER))
            answer = (await told.answered(key)).answer
            other = (await told.public_status(bytes(32))).other
            assert other is not None and other.key == key
            status = await told.public_status(key)
            assert (status.challenge, status.answer) == (told.challenge(ROUTER), b"")
            assert CHALLENGE_STATE.decode(status.state).answer_hash == hash_challenge(answer)


async def test_the_answer_is_for_whoever_complains_about_that_message(tmp_path: Path) -> None:
    """And after a restart complains again."""
    with trio.fail_after(20):
        async with scene(tmp_path) as told:
            await told.complain()
            await told.ask(ROUTER)
            key = hash_challenge(told.challenge(ROUTER))
            await told.answered(key)
            first, target = told.proof, f"{told.challenges_path}/{format_id(key)}"
            await told.lie()
            other = f"{told.challenges_path}/{format_id(key)}"
            assert await told.face.code("GET", other) == "unknown-complaint"
            await told.complain()
            assert await told.face.code("GET", other) == "not-asked"
            missing = await told.status(bytes(32))
            assert (missing.challenge, missing.answer) == (b"", b"")
            assert await told.face.code("GET", target + "?x") == "bad-query"
            assert await told.face.code("GET", target[:-1]) == "malformed"
        async with scene(tmp_path) as told:
            assert await told.face.code("GET", target) == "unknown-complaint"
            await told.complain(first)
            assert (await told.face.ask("GET", target)).status == 200


async def test_no_crowd_at_its_desk_makes_an_actor_late(tmp_path: Path) -> None:
    """Whoever holds a proof may ask on and on: few wait, and a challenge waits behind one of them."""
    with trio.fail_after(20):
        async with scene(tmp_path) as told:
            await told.complain()
            kept, n_busy = told.kept, 0
            desk = told.face.provider.gateway.custody_desk
            kept.asked.clear()
            kept.let_go = trio.Event()
            target = f"/v1/custody/{format_id(hash_complaint(told.proof))}/{INBOX}"

            async def ask() -> None:
                nonlocal n_busy
                answer = await told.face.ask("GET", target)
                n_busy += answer.status != 200 and problem_code(answer) == "busy"

            async with trio.open_nursery() as nursery:
                for _ in range(12):
                    nursery.start_soon(ask)
                while n_busy < 8 or not kept.asked:
                    await trio.lowlevel.checkpoint()
                await told.ask(ROUTER)
                while desk._turn.statistics().tasks_waiting == 0:
                    await trio.lowlevel.checkpoint()
                kept.let_go.set()
            assert (n_busy, kept.asked) == (8, [INBOX, ROUTER, INBOX, INBOX, INBOX])
            await told.answered(hash_challenge(told.challenge(ROUTER)))
            assert len(await told.custody(INBOX)) == 1  # who is done makes room


async def test_an_actor_whose_disk_fails_is_silent_and_the_others_go_on(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with scene(tmp_path) as told:
            told.kept.broken = {ROUTER}
            await told.complain()
            assert await told.custody(ROUTER) == ()
            await told.ask(ROUTER)
            await told.ask(RECEIVER)
            await told.answered(hash_challenge(told.challenge(RECEIVER)))
            key = hash_challenge(told.challenge(ROUTER))
            assert CHALLENGE_STATE.decode((await told.status(key)).state).is_open


async def test_silence_is_shown_to_everybody(tmp_path: Path) -> None:
    with trio.fail_after(30):
        async with scene(tmp_path, mute=[ROUTER]) as told:
            await told.complain()
            await told.ask(ROUTER)
            key = hash_challenge(told.challenge(ROUTER))
            while True:
                finding = (await told.public_status(key)).unanswered()
                assert finding is not None
                state = CHALLENGE_STATE.decode(finding.state)
                if told.face.provider.log_size > state.deadline_epoch:
                    break
                with pytest.raises(NotProven):
                    make_proof(told.face.origin, told.rosters, finding)
                await told.grow(1)
            proof = make_proof(told.face.origin, told.rosters, finding)
            verdict = verify_proof(proof, {told.face.origin})
            assert (verdict.accused, verdict.is_suspicion, verdict.epoch) == (str(ROUTER), True, told.epoch)


async def test_a_challenge_that_was_never_opened_is_shown_to_be_absent(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with scene(tmp_path, mute=WAY) as told:
            await told.complain()
            await told.ask(ROUTER)
            await told.ask(INBOX)
            missing = hash_challenge(told.challenge(RECEIVER))
            status = await told.public_status(missing)
            assert (status.challenge, status.state, status.asked, status.unanswered()) == (b"", b"", None, None)
            record = open_log(Rosters(told.face.origin, told.rosters), status.log).record
            assert root_of(status, missing) == record.challenges_root
            promised = CHALLENGE_RECEIPT.decode((await told.ask(ROUTER)).body)._replace(
                challenge_hash=missing, by_epoch=record.epoch
            )
            log = Actor(Role.LOG, 0, 0)
            receipt = SignedChallengeReceipt(*told.sign(log, "challenge", CHALLENGE_RECEIPT.encode(promised)))
            finding = SuppressedChallenge(receipt, status.log, status.path, status.other)
            proof = make_proof(told.face.origin, told.rosters, finding)
            assert verify_proof(proof, {told.face.origin}).accused == str(log)


async def test_the_same_challenge_twice_is_one(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with scene(tmp_path, mute=[ROUTER]) as told:
            await told.complain()
            receipts = []

            async def ask() -> None:
                receipts.append(CHALLENGE_RECEIPT.decode((await told.ask(ROUTER)).body))

            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(ask)
            await ask()
            assert {receipt.challenge_hash for receipt in receipts} == {hash_challenge(told.challenge(ROUTER))}
            status = await told.status(receipts[0].challenge_hash)
            assert EPOCH_RECORD.decode(status.log.record).challenges_count == 1


async def test_challenges_are_about_the_complaint(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with scene(tmp_path, mute=WAY) as told:
            await told.complain()
            face, true = told.face, CHALLENGE.decode(told.challenge(ROUTER))
            for challenge, code in (
                (true._replace(mailbox=Device("bob").device_id), "not-asked"),
                (true._replace(seq=make_seq(told.epoch, 0, 1)), "not-asked"),
                (true._replace(epoch=told.epoch + 1), "malformed"),
                (true._replace(epoch=0, seq=make_seq(0, 0, 0)), "not-asked"),
                (true._replace(origin=bytes(32)), "wrong-origin"),
                (true._replace(incarnation=7), "not-asked"),
                (true._replace(actor=Actor(Role.SEQUENCER, 0, 0).encode()), "not-asked"),
                (true._replace(actor=Actor(Role.ROUTER, 0, 1).encode()), "not-asked"),
                (true._replace(actor=bytes(5)), "not-asked"),
            ):
                body = CHALLENGE.encode(challenge)
                assert await face.code("POST", told.challenges_path, body, Content_Type=OCTETS) == code, challenge
            assert await face.code("POST", told.challenges_path, b"x", Content_Type=OCTETS) == "malformed"
            assert await face.code("POST", told.challenges_path, b"x") == "unsupported-media-type"
            await told.grow(1)
            status = await told.status(bytes(32))
            assert EPOCH_RECORD.decode(status.log.record).challenges_count == 0


async def test_a_challenge_that_is_not_logged_in_time_may_be_sent_again(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with scene(tmp_path, mute=[ROUTER], answer_s=0) as told:
            await told.complain()
            path, body = told.challenges_path, told.challenge(ROUTER)
            assert await told.face.code("POST", path, body, Content_Type=OCTETS) == "unavailable"
            await told.grow(2)
            assert (await told.face.ask("POST", path, body, Content_Type=OCTETS)).status == 201


async def test_what_is_asked_of_the_past_outlives_a_restart(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with scene(tmp_path, mute=WAY) as told:
            await told.complain()
            await told.ask(ROUTER)
            key, proof = hash_challenge(told.challenge(ROUTER)), told.proof
        async with scene(tmp_path, mute=WAY) as told:
            status = await told.public_status(key)
            assert CHALLENGE_STATE.decode(status.state).is_open
            assert (await told.complain(proof)).complaint_id == hash_complaint(proof)


async def test_hashes_are_read_strictly(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with scene(tmp_path) as told:
            good = format_id(bytes(32))
            for target, code in (
                (f"/v1/challenges/{good}?x", "bad-query"),
                (f"/v1/challenges/{good[:-1]}", "malformed"),
                (f"/v1/challenges/{good[:-1]}B", "malformed"),
                (f"/v1/challenges/{good}A", "malformed"),
                (f"/v1/challenges/{good}=", "malformed"),
                ("/v1/challenges/", "not-found"),
            ):
                assert await told.face.code("GET", target) == code, target
            assert await told.face.code("GET", "/v1/challenges") == "method-not-allowed"
