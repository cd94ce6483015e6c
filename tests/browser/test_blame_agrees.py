"""The browser's inquiries ask and blame whom Python's do, word for word, whatever the actors answer.

Knows nothing of who is right: the lies, and what convicts of them, are `tests.protocol.evidence.test_blame`'s.
"""

import json
import subprocess
from collections.abc import Callable, Sequence
from functools import cache
from random import Random
from typing import Any

from noise.protocol.challenges import (
    ADMISSION_BODY,
    CHALLENGE,
    CHALLENGE_STATE,
    NO_ANSWER,
    SIGNED_ADMISSION,
    SIGNED_CHALLENGE_RECEIPT,
    AdmissionBody,
    Challenge,
    ChallengeState,
    SignedAdmission,
    hash_challenge,
    hash_complaint,
)
from noise.protocol.complaints import CHALLENGE_STATUS, ChallengeStatus
from noise.protocol.delta import SIGNED_ROSTER, OtherLeaf, SignedHead, SignedRoster
from noise.protocol.errors import NoiseError
from noise.protocol.evidence.blame import Blame
from noise.protocol.evidence.proof import verify_proof
from noise.protocol.evidence.stage_views import CUSTODY_ANSWER, CustodyAnswer, StageCustody
from noise.protocol.evidence.trail import TRAIL_ANSWERS_MAX
from noise.protocol.identifiers import NO_EPOCH, Role, parse_actor
from noise.protocol.inquiry import Inquiry, OpenChallenge
from noise.protocol.log_pages import EPOCH_STATEMENTS, EpochStatements, SignedOpen
from tests.javascript import ROOT, node
from tests.protocol.challenged import Ledger, sign_receipt
from tests.protocol.evidence.stage_lies import alter
from tests.protocol.evidence.stage_world import World
from tests.protocol.evidence.test_blame import (
    LIED,
    LIES,
    STAGES,
    WANTED,
    actor_of,
    altered,
    ask_all,
    tell,
    told,
    told_by,
)
from tests.protocol.evidence.test_blame_floods import equivocated, omitted, stolen
from tests.vectors.cast import LOG, ORIGIN, actor_key, make_roster, signer_of

SCRIPT = ROOT / "tests" / "browser" / "blame_agrees.js"
TIMEOUT_S = 60
N_SEARCHES = 16
PATIENCE = make_roster().parameters.challenge_epochs

Step = tuple[str, bytes]


class Story:
    """An inquiry that Python ran: what it was given, and what came of each step."""

    inquiry: Inquiry
    blame: Blame
    asked: Challenge
    opened: OpenChallenge

    def __init__(self, proof: bytes, rosters: Sequence[SignedRoster]) -> None:
        self.proof, self.rosters = proof, rosters
        self.steps: list[Step] = []
        self.outcomes = [_outcome_of(self._open)]

    def _open(self) -> None:
        self.inquiry = Inquiry(ORIGIN, self.proof, self.rosters)

    def step(self, name: str, data: bytes = b"") -> None:
        self.steps.append((name, data))
        self.outcomes.append(_outcome_of(lambda: getattr(self, f"_{name}")(data)))

    def answer(self, *answers: CustodyAnswer) -> None:
        for one in answers:
            self.step("answer", CUSTODY_ANSWER.encode(one))

    def _questions(self, _: bytes) -> Any:
        return self.inquiry.questions

    def _actors(self, _: bytes) -> Any:
        return self.inquiry.actors()

    def _epochs(self, _: bytes) -> Any:
        return self.inquiry.epochs()

    def _answer(self, data: bytes) -> None:
        self.inquiry.take_answers([CUSTODY_ANSWER.decode(data)])

    def _statements(self, data: bytes) -> None:
        self.inquiry.take_statements(EPOCH_STATEMENTS.decode(data))

    def _admission(self, data: bytes) -> None:
        self.inquiry.take_admission(SIGNED_ADMISSION.decode(data))

    def _judge(self, _: bytes) -> Blame:
        self.blame = self.inquiry.judge()
        return self.blame

    def _verify(self, data: bytes) -> Any:
        return verify_proof(self.blame.proof, (data,))

    def _challenge(self, _: bytes) -> Challenge:
        self.asked = self.inquiry.challenge(self.blame)
        return self.asked

    def _receipt(self, data: bytes) -> Any:
        self.opened = self.inquiry.check_receipt(self.asked, SIGNED_CHALLENGE_RECEIPT.decode(data))
        return [self.opened.key, CHALLENGE.encode(self.opened.challenge)]

    def _status(self, data: bytes) -> Blame | None:
        found = self.inquiry.take_status(self.opened, CHALLENGE_STATUS.decode(data), self.blame)
        self.blame = found or self.blame
        return found


def _readable(value: Any) -> Any:
    """As the script shows it."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: _readable(part) for name, part in value._asdict().items()}
    if isinstance(value, list | tuple):
        return [_readable(part) for part in value]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _outcome_of(call: Callable[[], Any]) -> Any:
    try:
        return _readable(call())
    except NoiseError as error:
        return {"refused": error.code, "detail": error.detail}


def check_agreement(stories: Sequence[Story]) -> None:
    """Node runs the same inquiries, all of them in one process."""
    inquiries = [
        {
            "proof": story.proof.hex(),
            "rosters": [SIGNED_ROSTER.encode(one).hex() for one in story.rosters],
            "steps": [[name, data.hex()] for name, data in story.steps],
        }
        for story in stories
    ]
    sent = json.dumps({"origin": ORIGIN.hex(), "inquiries": inquiries})
    run = subprocess.run([node(), SCRIPT], input=sent, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert run.returncode == 0, run.stderr
    for story, outcomes in zip(stories, json.loads(run.stdout), strict=True):
        names = ["open", *[name for name, _ in story.steps]]
        for name, ours, theirs in zip(names, story.outcomes, outcomes, strict=True):
            assert theirs == ours, name


def statements_of(world: World, epoch: int) -> bytes:
    """What the log shows of an epoch, as far as an inquiry reads it."""
    made = world.epochs[epoch]
    heads = tuple(SignedHead(*one.signed) for actor, one in made.told.items() if actor.role is Role.OUTBOX)
    opened = SignedOpen(b"", bytes(64))
    return EPOCH_STATEMENTS.encode(EpochStatements(made.record, made.note.decode(), (), (), (), heads, opened))


def test_whoever_lied_and_whoever_is_silent() -> None:
    """Each lie once, with one actor silent, found from two answers and then from all of them."""
    stories = []
    for number, name in enumerate(LIES):
        world, proof, question = told(name)
        story = Story(proof, world.signed_rosters())
        for step in ("questions", "actors", "epochs", "judge", "challenge"):
            story.step(step)
        silent = world.way(question)[number % 4]
        answers = ask_all(world, proof, [silent])
        story.answer(*answers[:2])
        story.step("judge")
        story.step("challenge")
        story.answer(*answers[2:])
        if number % 3 == 0:
            story.step("statements", statements_of(world, LIED))
        story.step("judge")
        story.step("verify", ORIGIN)
        story.step("verify", bytes(32))
        stories.append(story)
    assert {story.blame.kind for story in stories} >= {"StageOmission", "StageInsertion", "Unresponsive"}
    check_agreement(stories)


@cache
def equivocations() -> list[tuple[World, bytes]]:
    worlds = [tell(told_by(role, alter(WANTED)), twice=True) for role in STAGES]
    return [(world, altered(world, LIED)) for world in worlds]


def damaged(answers: Sequence[CustodyAnswer], random: Random) -> list[CustodyAnswer]:
    """One of the answers with a byte changed, or with a part of another's, or to another's question."""
    one, other = (random.choice(answers) for _ in range(2))
    match random.randrange(4):
        case 0:
            data = bytearray(CUSTODY_ANSWER.encode(one))
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)
            try:
                return [CUSTODY_ANSWER.decode(bytes(data))]
            except NoiseError:
                return []
        case 1:
            return [one._replace(question=other.question)]
        case 2:
            stages = [dict(answer.stages[0]._asdict()) for answer in (one, other)]
            mixed = StageCustody(**{name: random.choice(stages)[name] for name in StageCustody._fields})
            return [one._replace(stages=(mixed, *other.stages))]
    return [one._replace(rosters=())]


def test_answers_of_all_worlds_and_garbage(search_factor: int) -> None:
    """The same keys sign in all worlds: what is true in one contradicts what another shows."""
    random = Random(1)
    worlds = [told(name)[:2] for name in LIES] + equivocations()
    stories = []
    for _ in range(N_SEARCHES * search_factor):
        (world, proof), (elsewhere, _) = random.choice(worlds), random.choice(worlds)
        story = Story(proof, world.signed_rosters() if random.randrange(8) else ())
        true = [*ask_all(world, proof), *ask_all(elsewhere, proof)]
        garbage = [bad for _ in range(8) for bad in damaged(true, random)]
        story.answer(*random.sample([*true, *garbage], random.randrange(2, len(true))))
        story.step("judge")
        stories.append(story)
    assert len({story.blame.kind for story in stories}) > 3
    check_agreement(stories)


def test_floods_and_ended_keys() -> None:
    """A liar shows more statements than a proof holds; a thief signs by a key that a newer roster ended."""
    flooded, question, flood = equivocated(TRAIL_ANSWERS_MAX)
    flooded_story = Story(omitted(flooded, question), flooded.signed_rosters())
    flooded_story.answer(*flood, *flooded.answers(question))
    robbed, question, forged = stolen()
    robbed_story = Story(omitted(robbed, question), robbed.signed_rosters())
    robbed_story.answer(CustodyAnswer((), question, (forged,)), *robbed.answers(question))
    for story, kind in ((flooded_story, "StageEquivocation"), (robbed_story, "StageOmission")):
        story.step("judge")
        story.step("verify", ORIGIN)
        assert story.blame.kind == kind
    check_agreement([flooded_story, robbed_story])


def test_proofs_that_prove_nothing() -> None:
    world, proof, _ = told("ROUTER, drop")
    rosters = world.signed_rosters()
    bad = rosters[0]._replace(signature=bytes(64))
    check_agreement([Story(proof[:-1], rosters), Story(proof[:-40] + bytes(40), rosters), Story(proof, [bad])])


def silent_story() -> Story:
    """Nobody answers: the first on the way is challenged."""
    world, proof, _ = told("RECEIVER, drop")
    story = Story(proof, world.signed_rosters())
    story.step("judge")
    story.step("challenge")
    return story


def status_of(ledger: Ledger, challenge: bytes, answer: bytes = b"") -> bytes:
    """Of the newest record, as `ChallengeStatus` is made."""
    epoch, key = len(ledger.records) - 1, hash_challenge(challenge)
    state = ledger.maps[epoch].get(key)
    proof = ledger.maps[epoch].prove(key)
    other = OtherLeaf(*proof.other) if proof.other else None
    shown = (challenge, state) if state else (b"", b"")
    asked = ledger.opening(CHALLENGE.decode(challenge).epoch) if state else None
    return CHALLENGE_STATUS.encode(ChallengeStatus(ledger.opening(epoch), asked, *shown, proof.siblings, other, answer))


def test_challenges() -> None:
    """In time, too late, kept from the log, or answered; and receipts that promise nothing."""
    late, hidden, answered = (silent_story() for _ in range(3))
    challenge = CHALLENGE.encode(late.asked)
    opened_epoch = LIED + 2
    state = ChallengeState(opened_epoch, opened_epoch + PATIENCE, NO_EPOCH, NO_ANSWER)
    CHALLENGE_STATE.encode(state)
    ledger, empty = Ledger(make_roster(3, 3)), Ledger(make_roster(3, 3))
    for epoch in range(opened_epoch + PATIENCE + 1):
        ledger.commit({challenge: state} if epoch == opened_epoch else None)
        empty.commit()
        if epoch == opened_epoch:
            early = status_of(ledger, challenge)
    receipt = SIGNED_CHALLENGE_RECEIPT.encode(sign_receipt(challenge, opened_epoch))
    for story in (late, hidden, answered):
        for bad in (sign_receipt(b"another", 3), sign_receipt(challenge, 3, signer_of("a thief"))):
            story.step("receipt", SIGNED_CHALLENGE_RECEIPT.encode(bad))
        story.step("receipt", receipt)
        story.step("status", early)
    late.step("status", status_of(ledger, challenge))
    assert (late.blame.kind, late.blame.is_proven) == ("UnansweredChallenge", False)
    hidden.step("status", status_of(empty, challenge))
    assert (hidden.blame.kind, hidden.blame.actor) == ("SuppressedChallenge", "log-0-0")
    world, question = told("RECEIVER, drop")[0], answered.inquiry.questions[0]
    actor = parse_actor(answered.asked.actor)
    answer = CUSTODY_ANSWER.encode(world.answer(actor, question))
    answered.step("status", status_of(ledger, challenge, answer))
    answered.step("judge")
    assert answered.blame.actor != str(actor)
    check_agreement([late, hidden, answered])


def test_admissions() -> None:
    """One of the receiver counts where custody names nobody; one for something else, or by nobody, does not."""
    story, receiver = silent_story(), actor_of(Role.RECEIVER)
    body = AdmissionBody(ORIGIN, receiver.encode(), 0, LIED, hash_complaint(story.proof))
    for changed, signer in ((body._replace(epoch=LIED + 1), actor_key(receiver)), (body, LOG), (body, None)):
        signed = (signer or actor_key(receiver)).sign("admission", ORIGIN, ADMISSION_BODY.encode(changed))
        story.step("admission", SIGNED_ADMISSION.encode(SignedAdmission(*signed)))
        story.step("judge")
    story.step("verify", ORIGIN)
    assert (story.blame.kind, story.blame.actor) == ("Admission", str(receiver))
    check_agreement([story])
