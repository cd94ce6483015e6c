"""The questions of one complaint, and what came of them: custody, admissions, challenges.

Knows nothing of transport: it says whom to ask, takes what they answered, and decides. Nothing that a provider
answers is believed: an answer that does not verify is none, and what leaves here was verified as a stranger would.
"""

from collections.abc import Sequence
from typing import NamedTuple

from noise.protocol.challenges import (
    CHALLENGE,
    CHALLENGE_RECEIPT,
    Challenge,
    SignedAdmission,
    SignedChallengeReceipt,
    hash_challenge,
)
from noise.protocol.complaints import ChallengeStatus
from noise.protocol.delta import OtherLeaf, SignedRoster
from noise.protocol.errors import NoiseError
from noise.protocol.evidence.blame import UNRESPONSIVE, Blame, assign_blame, questions_of
from noise.protocol.evidence.challenges import Admission, SuppressedChallenge
from noise.protocol.evidence.proof import Finding, make_proof, verify_proof
from noise.protocol.evidence.rosters import Rosters
from noise.protocol.evidence.stage_views import CUSTODY_ANSWER, CustodyAnswer, Question, StageCustody
from noise.protocol.identifiers import parse_actor, parse_seq
from noise.protocol.log_pages import EpochStatements
from noise.protocol.placement import place_mailbox
from noise.protocol.signing import Signed
from noise.protocol.stages import way_of
from noise.protocol.statements import EPOCH_HEAD, Roster, open_roster


class OpenChallenge(NamedTuple):
    """A challenge that is under way, and the sequencer's receipt for it."""

    challenge: Challenge
    receipt: SignedChallengeReceipt

    @property
    def key(self) -> bytes:
        return hash_challenge(CHALLENGE.encode(self.challenge))


class Inquiry:
    """About one proof that convicts the provider `origin`. `rosters`: all that it shows, in order.

    Raises DecodeError or NotProven when the proof convicts nobody, SignatureError for rosters of another.
    """

    def __init__(self, origin: bytes, proof: bytes, rosters: Sequence[SignedRoster]) -> None:
        self._origin = origin
        self._proof = proof
        self._rosters = list(rosters)
        self._opened = [open_roster(Signed(*signed), origin) for signed in rosters]
        self._answers: list[CustodyAnswer] = []
        self._admitted: list[bytes] = []
        self.questions = questions_of(proof, origin)

    def actors(self) -> list[str]:
        """Whom to ask, in the order of the ways: everybody who had to do with a message and its mailbox."""
        asked = [actor for one in self.questions for actor in way_of(self._roster_of(one), *one)]
        return [str(actor) for actor in dict.fromkeys(asked)]

    def epochs(self) -> list[int]:
        """Of which the public statements help: an outbox's head need not be shown by itself."""
        return sorted({parse_seq(question.seq)[0] for question in self.questions})

    def take_statements(self, statements: EpochStatements) -> None:
        """What the actors signed in one of the epochs, as the log shows it to everybody."""
        for question in self.questions:
            outbox = place_mailbox(self._roster_of(question), question.mailbox).encode()
            heads = [head for head in statements.heads if EPOCH_HEAD.decode(head.body).actor == outbox]
            self._answers += [CustodyAnswer((), question, (StageCustody(outbox, head=head),)) for head in heads]

    def take_answers(self, answers: Sequence[CustodyAnswer]) -> None:
        self._answers += answers

    def take_admission(self, admission: SignedAdmission) -> None:
        """One that convicts nobody is nothing."""
        proof = self._prove(Admission(self._proof, admission))
        self._admitted += [proof] if proof else []

    def judge(self) -> Blame:
        """Who lied, as far as the answers go: by custody, else by an actor's own admission."""
        rosters = CustodyAnswer(tuple(self._rosters), Question(bytes(16), bytes(32)), ())
        blame = assign_blame(self._proof, [*self._answers, rosters], self._origin)
        if blame.kind == UNRESPONSIVE and self._admitted:
            return self._blame_by(self._admitted[0], blame)
        return blame

    def challenge(self, blame: Blame) -> Challenge:
        """What an unresponsive actor is to be asked for everybody to see. Raises NoiseError for who was not asked."""
        question = blame.question
        if question is not None:
            roster = self._roster_of(question)
            for actor in way_of(roster, *question):
                if str(actor) == blame.actor:
                    incarnation = roster.entry(actor).incarnation
                    return Challenge(self._origin, actor.encode(), incarnation, blame.epoch, *question)
        raise NoiseError(f"{blame.actor} had nothing to do with it", code="not-asked")

    def check_receipt(self, challenge: Challenge, receipt: SignedChallengeReceipt) -> OpenChallenge:
        """Raises NoiseError for a receipt that promises nothing."""
        opened = OpenChallenge(challenge, receipt)
        body = CHALLENGE_RECEIPT.decode(receipt.body)
        if body.challenge_hash != opened.key:
            raise NoiseError("the receipt is for another challenge", code="bad-answer")
        rosters = Rosters(self._origin, self._rosters)
        rosters.slot_key([Signed(*receipt)], "challenge", parse_actor(body.actor), body.incarnation, body.by_epoch)
        return opened

    def take_status(self, opened: OpenChallenge, status: ChallengeStatus, blame: Blame) -> Blame | None:
        """An answer that came is taken. Else who is to blame, when the challenge of `blame`'s actor was suppressed, or
        not answered in time; None: there is still time."""
        if status.answer:
            self.take_answers([CUSTODY_ANSWER.decode(status.answer)])
            return None
        finding: Finding | None = status.unanswered()
        if finding is None:
            other = OtherLeaf(*status.other) if status.other else None
            finding = SuppressedChallenge(opened.receipt, status.log, status.path, other)
        proof = self._prove(finding)
        return self._blame_by(proof, blame) if proof else None

    def _blame_by(self, proof: bytes, blame: Blame) -> Blame:
        """Whom a proof names, on the way on which `blame` found somebody silent."""
        verdict = verify_proof(proof, (self._origin,))
        return Blame(verdict.accused, verdict.kind, verdict.epoch, not verdict.is_suspicion, blame.way, proof)

    def _prove(self, finding: Finding) -> bytes | None:
        try:
            return make_proof(self._origin, self._rosters, finding)
        except NoiseError:
            return None

    def _roster_of(self, question: Question) -> Roster:
        """The roster in force. Only a guess whom to ask: what they answer names its own."""
        epoch = parse_seq(question.seq)[0]
        for roster in reversed(self._opened):
            if roster.valid_from_epoch <= epoch:
                return roster
        raise NoiseError(f"no roster is shown that was in force in epoch {epoch}", code="no-roster")
