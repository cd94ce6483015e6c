"""UnansweredChallenge, SuppressedChallenge and Admission: what they prove, and that honest logs prove none of it."""

from typing import Any

import pytest

from noise.protocol.challenges import (
    ADMISSION_BODY,
    CHALLENGE,
    CHALLENGE_STATE,
    NO_CHALLENGES,
    AdmissionBody,
    SignedAdmission,
    hash_challenge,
    hash_complaint,
)
from noise.protocol.delta import OtherLeaf
from noise.protocol.errors import DecodeError
from noise.protocol.evidence.challenges import (
    Admission,
    SuppressedChallenge,
    UnansweredChallenge,
    find_fewer_challenges,
    verify_admission,
    verify_suppressed_challenge,
    verify_unanswered_challenge,
)
from noise.protocol.evidence.verdict import PROVIDER, NotProven, Verdict, nothing_else
from noise.protocol.identifiers import Actor, Role
from noise.protocol.statements import EPOCH_RECORD
from tests.protocol.challenged import (
    BOB,
    CUSTODY,
    PATIENCE,
    Ledger,
    ask,
    opened_in,
    roster_of,
    sign_receipt,
    way_of,
)
from tests.vectors.cast import ORIGIN, OTHER_ORIGIN, actor_key, device_of, signer_of

ROSTER = roster_of()
WAY = way_of(ROSTER, 0, BOB)
ROUTER = WAY[1]
ASKED, OPENED = 3, 6
DUE = OPENED + PATIENCE
CHALLENGED = ask(ROUTER, ASKED)


def ledger(n: int = DUE + 3, changes: dict[int, dict[bytes, Any]] | None = None, **options: Any) -> Ledger:
    """The challenge, open for ever unless it is changed in some epoch; `options`: of the roster."""
    made = Ledger(roster_of(**options))
    for epoch in range(n):
        states = {ask(WAY[3], ASKED): opened_in(OPENED), CHALLENGED: opened_in(OPENED)} if epoch == OPENED else {}
        made.commit(states | (changes or {}).get(epoch, {}))
    return made


def judge_unanswered(log: Ledger, finding: UnansweredChallenge) -> Verdict:
    with nothing_else():
        return verify_unanswered_challenge(log.verified(), finding)


def judge_suppressed(log: Ledger, finding: SuppressedChallenge) -> Verdict:
    with nothing_else():
        return verify_suppressed_challenge(log.verified(), finding)


# UnansweredChallenge


def test_silence_until_the_deadline_is_a_suspicion() -> None:
    log = ledger()
    for epoch in range(len(log.records)):
        finding = log.unanswered(CHALLENGED, epoch, ASKED, opened_in(OPENED))
        if epoch < OPENED:
            with pytest.raises(NotProven, match="does not lead"):
                judge_unanswered(log, finding)
        elif epoch < DUE:
            with pytest.raises(NotProven, match="still time"):
                judge_unanswered(log, finding)
        else:
            verdict = judge_unanswered(log, finding)
            assert verdict[:4] == ("UnansweredChallenge", str(ROUTER), ORIGIN, ASKED)
            assert verdict.is_suspicion
            assert "unresponsive" in verdict.detail and "proves no lie" in verdict.detail


@pytest.mark.parametrize("actor", WAY, ids=str)
def test_every_stage_can_be_asked(actor: Actor) -> None:
    challenge = ask(actor, ASKED)
    log = ledger(changes={OPENED: {challenge: opened_in(OPENED)}})
    verdict = judge_unanswered(log, log.unanswered(challenge, DUE, ASKED, opened_in(OPENED)))
    assert verdict.accused == str(actor)


@pytest.mark.parametrize("answered", [OPENED + 1, DUE - 1, DUE])
def test_whoever_answers_is_not_suspected(answered: int) -> None:
    """Neither with the state of after nor with that of before, in any record of the deadline or later."""
    done = opened_in(OPENED, answered_epoch=answered, answer_hash=bytes([1]) * 32)
    log = ledger(changes={answered: {CHALLENGED: done}})
    for epoch in range(OPENED, len(log.records)):
        for state in (done, opened_in(OPENED)):
            with pytest.raises(NotProven):
                judge_unanswered(log, log.unanswered(CHALLENGED, epoch, ASKED, state))


def test_a_late_answer_ends_the_silence_and_does_not_undo_it() -> None:
    done = opened_in(OPENED, answered_epoch=DUE + 1, answer_hash=bytes([1]) * 32)
    log = ledger(changes={DUE + 1: {CHALLENGED: done}})
    judge_unanswered(log, log.unanswered(CHALLENGED, DUE, ASKED, opened_in(OPENED)))
    for state in (done, opened_in(OPENED)):
        with pytest.raises(NotProven):
            judge_unanswered(log, log.unanswered(CHALLENGED, DUE + 1, ASKED, state))


def framed(challenge: bytes, words: str, opened: int = OPENED, *, patience: int = PATIENCE, **options: Any) -> None:
    """A sequencer that would frame an actor logs a challenge that nobody need answer."""
    state = opened_in(opened, deadline_epoch=opened + patience)
    log = ledger(opened + patience + 1, {opened: {challenge: state}}, **options)
    asked = CHALLENGE.decode(challenge).epoch
    with pytest.raises(NotProven, match=words):
        judge_unanswered(log, log.unanswered(challenge, opened + patience, min(asked, len(log.records) - 1), state))


def test_nobody_need_answer_for_others() -> None:
    bystanders = [Actor(role, 0, 1 - one.number) for one, role in zip(WAY, Role, strict=False)]
    for actor in (*bystanders, Actor(Role.SEQUENCER, 0, 0), Actor(Role.LOG, 0, 0), Actor(Role.ROUTER, 0, 7)):
        framed(ask(actor, ASKED), "nothing to do with")
    framed(ask(ROUTER, ASKED, 1), "nothing to do with")
    framed(ask(ROUTER, ASKED, 77), "nothing to do with")
    framed(ask(ROUTER, ASKED, incarnation=1), "nothing to do with")
    framed(ask(ROUTER, ASKED, origin=OTHER_ORIGIN), "another provider")


def test_nobody_need_answer_for_the_future() -> None:
    framed(ask(ROUTER, OPENED), "before there was anything")
    framed(ask(ROUTER, OPENED + 1), "before there was anything")


def test_nobody_need_answer_at_once() -> None:
    for patience in range(PATIENCE):
        framed(CHALLENGED, "too little time", patience=patience)


def test_nobody_need_keep_anything_for_ever() -> None:
    last = ASKED + CUSTODY - PATIENCE
    log = ledger(last + PATIENCE + 1, {last: {CHALLENGED: opened_in(last)}})
    judge_unanswered(log, log.unanswered(CHALLENGED, last + PATIENCE, ASKED, opened_in(last)))
    framed(CHALLENGED, "need not have kept", last + 1)
    framed(CHALLENGED, "need not have kept", custody=DUE - ASKED - 1)


def test_a_roster_that_lets_actors_forget_earlier() -> None:
    """What a roster of today lets them drop, they need not show for a challenge of today."""
    log = ledger(OPENED)
    log.change_roster(roster_of(2, custody=DUE - ASKED - 1, valid_from=OPENED))
    log.commit({CHALLENGED: opened_in(OPENED)})
    for _ in range(OPENED + 1, DUE + 1):
        log.commit()
    with pytest.raises(NotProven, match="need not have kept"):
        judge_unanswered(log, log.unanswered(CHALLENGED, DUE, ASKED, opened_in(OPENED)))


def test_the_roster_of_the_epoch_says_who_was_on_the_way() -> None:
    """Lanes of today are not those of then."""
    log = Ledger(roster_of(first_lane=3))
    for _ in range(OPENED):
        log.commit()
    log.change_roster(roster_of(2, valid_from=OPENED))
    log.commit({CHALLENGED: opened_in(OPENED), ask(ROUTER, ASKED, 3): opened_in(OPENED)})
    for _ in range(OPENED + 1, DUE + 1):
        log.commit()
    judge_unanswered(log, log.unanswered(ask(ROUTER, ASKED, 3), DUE, ASKED, opened_in(OPENED)))
    with pytest.raises(NotProven, match="nothing to do with"):
        judge_unanswered(log, log.unanswered(CHALLENGED, DUE, ASKED, opened_in(OPENED)))
    with pytest.raises(NotProven, match="another epoch"):
        judge_unanswered(log, log.unanswered(CHALLENGED, DUE, OPENED, opened_in(OPENED)))


def test_a_log_that_nobody_signed() -> None:
    log = ledger()
    finding = log.unanswered(CHALLENGED, DUE, ASKED, opened_in(OPENED))
    for forged in (
        finding._replace(log=log.opening(DUE, signer=signer_of("mallory"))),
        finding._replace(asked=log.opening(ASKED, signer=signer_of("root"))),
    ):
        with pytest.raises(NotProven, match="no log key"):
            judge_unanswered(log, forged)
    other = CHALLENGE_STATE.encode(opened_in(OPENED, deadline_epoch=DUE + 1))
    with pytest.raises(NotProven, match="does not lead"):
        judge_unanswered(log, finding._replace(state=other))
    with pytest.raises(NotProven, match="does not lead"):
        judge_unanswered(log, finding._replace(challenge=ask(WAY[0], ASKED)))


# SuppressedChallenge


def test_a_record_that_lacks_what_was_promised() -> None:
    log = ledger()
    hidden = ask(ROUTER, ASKED, 0, device_of("carol"))
    receipt = sign_receipt(hidden, 8)
    for epoch in range(len(log.records)):
        finding = log.suppressed(receipt, epoch)
        if epoch < 8:
            with pytest.raises(NotProven, match="promised by epoch 8"):
                judge_suppressed(log, finding)
        else:
            verdict = judge_suppressed(log, finding)
            assert verdict[:4] == ("SuppressedChallenge", "log-0-0", ORIGIN, epoch)
            assert not verdict.is_suspicion


def test_an_empty_book_lacks_everything() -> None:
    log = Ledger()
    log.commit()
    assert judge_suppressed(log, log.suppressed(sign_receipt(CHALLENGED, 0), 0)).epoch == 0


def test_kept_promises_suppress_nothing() -> None:
    log = ledger()
    for by_epoch in range(OPENED, DUE + 3):
        receipt = sign_receipt(CHALLENGED, by_epoch)
        for epoch in range(len(log.records)):
            with pytest.raises(NotProven):
                judge_suppressed(log, log.suppressed(receipt, epoch))


def test_receipts_that_the_log_did_not_sign() -> None:
    log = ledger()
    hidden = ask(ROUTER, ASKED, 0, device_of("carol"))
    sequencer = Actor(Role.SEQUENCER, 0, 0)
    for receipt, words in (
        (sign_receipt(hidden, 8, actor_key(sequencer)), "no key of log"),
        (sign_receipt(hidden, 8, actor_key(sequencer), actor=sequencer.encode()), "not of the log"),
        (sign_receipt(hidden, 8, origin=OTHER_ORIGIN), "another origin"),
        (sign_receipt(hidden, 8, incarnation=1), "no key of log"),
        (sign_receipt(hidden, 8, None, "admission"), "no key of log"),
    ):
        with pytest.raises(NotProven, match=words):
            judge_suppressed(log, log.suppressed(receipt, 9))


def test_a_thief_with_the_log_key_frames_nobody_but_the_log() -> None:
    """The promise was kept, and the thief makes a log that lacks it: the sequencer's hands are clean."""
    log, challenge = Ledger(), CHALLENGED
    log.commit()
    log.commit({challenge: opened_in(1)})
    receipt = sign_receipt(challenge, 2)
    honest = log.commit()
    with pytest.raises(NotProven):
        judge_suppressed(log, log.suppressed(receipt, honest))
    log.records[honest] = EPOCH_RECORD.encode(
        EPOCH_RECORD.decode(log.records[honest])._replace(challenges_root=NO_CHALLENGES, challenges_count=0)
    )
    finding = SuppressedChallenge(receipt, log.opening(honest), (), None)
    assert judge_suppressed(log, finding).accused == "log-0-0"


def test_a_log_that_was_given_a_new_key_in_between() -> None:
    """Two keys have signed, and one of them may have been stolen."""
    log, hidden = Ledger(), ask(ROUTER, 0)
    log.commit()
    changed = log.rosters[0]._replace(version=2, valid_from_epoch=1)
    again = signer_of("the next log")
    actors = [entry._replace(incarnation=1, key=again.public_key) for entry in changed.actors[-1:]]
    log.change_roster(changed._replace(actors=(*changed.actors[:-1], *actors)))
    log.commit()
    finding = log.suppressed(sign_receipt(hidden, 1), 1)._replace(log=log.opening(1, signer=again))
    assert judge_suppressed(log, finding).accused == PROVIDER
    finding = finding._replace(receipt=sign_receipt(hidden, 1, again, incarnation=1))
    assert judge_suppressed(log, finding).accused == "log-0-0"


def test_proofs_of_absence_are_of_that_challenge() -> None:
    log = ledger()
    hidden, logged = ask(ROUTER, ASKED, 0, device_of("carol")), CHALLENGED
    finding = log.suppressed(sign_receipt(hidden, 8), 9)
    for changed in (
        finding._replace(receipt=sign_receipt(logged, 8)),
        finding._replace(log=log.opening(OPENED - 1)),
        finding._replace(path=()),
        finding._replace(other=OtherLeaf(hash_challenge(hidden), bytes(32))),
        finding._replace(log=log.opening(9, signer=signer_of("mallory"))),
    ):
        with pytest.raises(NotProven):
            judge_suppressed(log, changed)


# Admission

PROOF = b"what somebody proved"
OMITTED = Verdict("Omission", PROVIDER, ORIGIN, 7, "a message is missing")


def admit(actor: Actor = ROUTER, label: str = "admission", /, signer: Actor | None = None, **changes: Any) -> Admission:
    body = AdmissionBody(ORIGIN, actor.encode(), 0, 7, hash_complaint(PROOF))._replace(**changes)
    signed = actor_key(signer or actor).sign(label, ORIGIN, ADMISSION_BODY.encode(body))
    return Admission(PROOF, SignedAdmission(*signed))


def judge_admission(finding: Admission, verdict: Verdict = OMITTED) -> Verdict:
    with nothing_else():
        return verify_admission(ledger(1).verified(), finding, verdict)


def test_whoever_accepts_the_blame_has_it() -> None:
    for verdict in (OMITTED, OMITTED._replace(accused=str(ROUTER))):
        found = judge_admission(admit(), verdict)
        assert found[:4] == ("Admission", str(ROUTER), ORIGIN, 7)
        assert OMITTED.detail in found.detail


def test_nobody_is_made_to_accept_anything() -> None:
    for finding, verdict in (
        (admit(signer=WAY[0]), OMITTED),
        (admit(ROUTER, "challenge"), OMITTED),
        (admit(incarnation=1), OMITTED),
        (admit(origin=OTHER_ORIGIN), OMITTED),
        (admit(epoch=8), OMITTED),
        (admit(proof_hash=hash_complaint(b"another")), OMITTED),
        (admit(proof_hash=hash_challenge(PROOF)), OMITTED),
        (admit()._replace(proof=b"another"), OMITTED),
        (admit(), OMITTED._replace(epoch=8)),
        (admit(), OMITTED._replace(accused="router-0-1")),
    ):
        with pytest.raises(NotProven):
            judge_admission(finding, verdict)
    with pytest.raises(DecodeError):
        judge_admission(admit(actor=bytes(5)))


# The rule of the log


def test_a_log_forgets_no_challenge() -> None:
    log = ledger()
    records = [EPOCH_RECORD.decode(record) for record in log.records]
    for before in records:
        for after in records:
            assert not find_fewer_challenges(before, after)
    fewer = records[-1]._replace(challenges_count=1)
    for before in records[:-1]:
        assert bool(find_fewer_challenges(before, fewer)) == (before.epoch >= OPENED)
        assert not find_fewer_challenges(fewer, before)
    assert "2 challenges in epoch 7 and 1 in epoch 12" in find_fewer_challenges(records[7], fewer)
    assert not find_fewer_challenges(records[-1], fewer)  # two records of one epoch are a fork
