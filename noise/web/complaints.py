"""Takes complaints, shows what actors answer to them, and logs challenges to actors that do not answer.

Must not know: who lied; how an actor finds its answer. Answers say who received what, and so they are shown to nobody
but who brings a proof that convicts this provider: there is none against an honest one. What is in the log is for
everybody: that an actor was asked, and whether it answered.
"""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from typing import Final

import trio
from quart import Response
from quart_trio import QuartTrio

from noise.pipeline.challenges import find_answer, find_custody
from noise.pipeline.log_openings import open_records
from noise.protocol.challenges import (
    ADMISSION_BODY,
    CHALLENGE,
    CHALLENGE_STATE,
    SIGNED_CHALLENGE_RECEIPT,
    AdmissionBody,
    Challenge,
    ChallengeState,
    SignedAdmission,
    SignedChallengeReceipt,
    hash_complaint,
)
from noise.protocol.complaints import (
    CHALLENGE_STATUS,
    COMPLAINT_ANSWER,
    CUSTODY_ANSWERS,
    ChallengeStatus,
    ComplaintAnswer,
)
from noise.protocol.delta import OtherLeaf
from noise.protocol.encoding import Codec
from noise.protocol.errors import Rejected
from noise.protocol.evidence.blame import Blame, assign_blame, questions_of
from noise.protocol.evidence.challenges import Admission
from noise.protocol.evidence.proof import PROOF, NotProven, make_proof
from noise.protocol.evidence.stage_views import CustodyAnswer, Question
from noise.protocol.identifiers import Actor, parse_actor, parse_id, parse_seq
from noise.protocol.stages import way_of
from noise.protocol.statements import EPOCH_RECORD, ROSTER, EpochRecord, Roster, hash_roster
from noise.store.base import StoreCorrupt
from noise.web.bodies import COMPLAINTS_PATH
from noise.web.gateway import Gateway
from noise.web.negotiation import Form, answer_encoded, answer_form, body_form, read_encoded
from noise.web.query import read_query

_COMPLAINTS_MAX: Final = 4096
"""Complaints that are remembered; whoever is forgotten complains again."""

_WAITING_MAX: Final = 16
"""Proofs that wait to be verified: a megabyte each at worst."""

_ASKING_MAX: Final = 4
"""Requests that wait for what an actor answers: some read a whole epoch. Whoever is not let in can ask in the log."""

_PROOFS_AT_ONCE: Final = 2

_CHALLENGE: Codec[Challenge] = CHALLENGE
_STATE: Codec[ChallengeState] = CHALLENGE_STATE
_STATUS: Codec[ChallengeStatus] = CHALLENGE_STATUS
_RECORD: Codec[EpochRecord] = EPOCH_RECORD
_ROSTER: Codec[Roster] = ROSTER
_RECEIPT: Codec[SignedChallengeReceipt] = SIGNED_CHALLENGE_RECEIPT
_COMPLAINT_ANSWER: Codec[ComplaintAnswer] = COMPLAINT_ANSWER

_verifying = trio.CapacityLimiter(1)  # a hostile proof can take a second: others wait, and the epochs do not


class Crowd:
    """Those who wait for the same thing."""

    def __init__(self) -> None:
        self._count = 0

    @contextmanager
    def joined(self, count_max: int) -> Iterator[None]:
        """Be one of so many at most, for the length of a block. Raises Rejected."""
        if self._count >= count_max:
            raise Rejected("too many complaints at once: send again later", code="busy")
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1


class Complaints:
    """`answer_s`: how long to wait until a challenge is logged, in seconds."""

    def __init__(self, gateway: Gateway, answer_s: float) -> None:
        self._gateway = gateway
        self._answer_s = answer_s
        self._judged = Crowd()
        self._asking = Crowd()
        self._one_at_a_time = trio.Lock()
        self._answers: OrderedDict[bytes, ComplaintAnswer] = OrderedDict()
        self._proving = trio.Semaphore(_PROOFS_AT_ONCE)

    def add_routes(self, app: QuartTrio) -> None:
        challenges = COMPLAINTS_PATH + "/<complaint>/challenges"
        app.add_url_rule(COMPLAINTS_PATH, view_func=self.post_complaint, methods=["POST"])
        app.add_url_rule(challenges, view_func=self.post_opening, methods=["POST"])
        app.add_url_rule(challenges + "/<challenge>", view_func=self.get_opening, methods=["GET"])
        app.add_url_rule("/v1/custody/<complaint>/<actor>", view_func=self.get_custody, methods=["GET"])
        app.add_url_rule("/v1/challenges/<challenge>", view_func=self.get_challenge, methods=["GET"])

    async def post_complaint(self) -> Response:
        """201 and what its actors may be asked, for a proof that convicts this provider.

        An actor that finds the fault with itself, in what all of them have kept, admits it at once. A proof comes as
        octets alone: JSON of that size takes much memory to read.
        """
        read_query()
        if body_form() is not Form.BINARY:
            raise Rejected(f"send a proof with Content-Type {Form.BINARY.value}", code="unsupported-media-type")
        form = answer_form(Form.BINARY)
        proof = await read_encoded(PROOF)
        complaint_id = hash_complaint(proof)
        if complaint_id not in self._answers:
            with self._judged.joined(_WAITING_MAX):
                answer = await self._judge(proof, complaint_id)
            self._answers[complaint_id] = answer
            if len(self._answers) > _COMPLAINTS_MAX:
                self._answers.popitem(last=False)
        encoded = _COMPLAINT_ANSWER.encode(self._find(complaint_id))
        return await answer_encoded(_COMPLAINT_ANSWER, encoded, form, HTTPStatus.CREATED)

    async def _judge(self, proof: bytes, complaint_id: bytes) -> ComplaintAnswer:
        """Raises DecodeError or NotProven."""
        origin = self._gateway.origin
        verify = partial(questions_of, proof, origin)
        questions = await trio.to_thread.run_sync(verify, limiter=_verifying)
        answers = []
        for question in questions:
            for actor in way_of(await self._roster_of(parse_seq(question.seq)[0]), *question):
                answer = await self._ask(actor, question)
                answers += [answer] if answer is not None else []
        if not answers:
            return ComplaintAnswer(complaint_id, questions, ())
        blame = await trio.to_thread.run_sync(partial(assign_blame, proof, answers, origin), limiter=_verifying)
        admission = await self._admit(blame, proof, complaint_id)
        return ComplaintAnswer(complaint_id, questions, (admission,) if admission else ())

    async def _admit(self, blame: Blame, proof: bytes, complaint_id: bytes) -> SignedAdmission | None:
        """By whom is to blame, if it still has the key that it had then."""
        rosters, then = self._gateway.rosters, await self._roster_of(blame.epoch)
        now = _ROSTER.decode(rosters[-1].body)
        guilty = [entry for entry in then.actors if str(parse_actor(entry.actor)) == blame.actor]
        if not blame.is_proven or not guilty or guilty[0] not in now.actors:
            return None
        actor, incarnation = guilty[0].actor, guilty[0].incarnation
        body = ADMISSION_BODY.encode(AdmissionBody(now.origin, actor, incarnation, blame.epoch, complaint_id))
        signed = SignedAdmission(*self._gateway.pipeline.sign_admission(parse_actor(actor), body))
        try:
            verify = partial(make_proof, now.origin, rosters, Admission(proof, signed))
            await trio.to_thread.run_sync(verify, limiter=_verifying)
        except NotProven:
            return None  # it speaks of another epoch than the proof: the custody will have to do
        return signed

    async def get_custody(self, complaint: str, actor: str) -> Response:
        """What an actor, by its name, answers to the questions of a complaint."""
        read_query()
        form = answer_form(Form.BINARY)
        questions, asked = self._find(parse_id(complaint)).questions, self._find_actor(actor)
        with self._asking.joined(_ASKING_MAX):
            answers = [await self._ask(asked, question) for question in questions]
        encoded = CUSTODY_ANSWERS.encode(tuple(answer for answer in answers if answer is not None))
        return await answer_encoded(CUSTODY_ANSWERS, encoded, form)

    async def _ask(self, actor: Actor, question: Question) -> CustodyAnswer | None:
        """One at a time: an open challenge, which has a deadline, waits behind one of us and not behind all."""
        async with self._one_at_a_time:
            return await find_custody(self._gateway.custody_desk, actor, question)

    async def post_opening(self, complaint: str) -> Response:
        """201 and the log's receipt, once the challenge is in the log. The same challenge may be sent again."""
        read_query()
        form = answer_form(body_form())
        questions = self._find(parse_id(complaint)).questions
        data = await read_encoded(CHALLENGE)
        challenge = _CHALLENGE.decode(data)
        if Question(challenge.seq, challenge.mailbox) not in questions:
            raise Rejected("the complaint is not about this message and mailbox", code="not-asked")
        pipeline = self._gateway.pipeline
        book = pipeline.challenges
        key = book.open_nowait(data, await self._roster_of(challenge.epoch))
        pipeline.sequencer.notice_work()
        with trio.move_on_after(self._answer_s):
            while book.get(key) is None:
                await book.wait_committed()
        if book.get(key) is None:
            raise Rejected("the challenge is not logged yet: send it again", code="unavailable")
        receipt = SignedChallengeReceipt(*pipeline.sign_challenge_receipt(book.receipt(key)))
        return await answer_encoded(_RECEIPT, _RECEIPT.encode(receipt), form, HTTPStatus.CREATED)

    async def get_challenge(self, challenge: str) -> Response:
        """What became of a challenge, by its hash, or that there is none: anybody may ask, and sees no answer."""
        read_query()
        form = answer_form(Form.JSON)
        async with self._proving:
            status = await self._status(parse_id(challenge))
        return await answer_encoded(_STATUS, _STATUS.encode(status), form)

    async def get_opening(self, complaint: str, challenge: str) -> Response:
        """The same with the answer, for whoever complains about what was asked."""
        read_query()
        form = answer_form(Form.JSON)
        questions, key = self._find(parse_id(complaint)).questions, parse_id(challenge)
        async with self._proving:
            status = await self._status(key)
            if status.state:
                asked = _CHALLENGE.decode(status.challenge)
                if Question(asked.seq, asked.mailbox) not in questions:
                    raise Rejected("the complaint is not about this challenge", code="not-asked")
                if not _STATE.decode(status.state).is_open:
                    status = status._replace(answer=await find_answer(self._gateway.store, key))
        return await answer_encoded(_STATUS, _STATUS.encode(status), form)

    async def _status(self, key: bytes) -> ChallengeStatus:
        """Without the answer. Raises Rejected."""
        self._gateway.view()
        book = self._gateway.pipeline.challenges
        entry, proof, size = book.get(key), book.prove(key), book.next_epoch  # at once, for they belong together
        other = OtherLeaf(*proof.other) if proof.other else None
        epochs = [size - 1] if entry is None else [size - 1, _CHALLENGE.decode(entry.challenge).epoch]
        store, log = self._gateway.store, self._gateway.pipeline.sequencer.log
        opened, *asked = await open_records(store, log, epochs, size)
        if entry is None:
            return ChallengeStatus(opened, None, b"", b"", proof.siblings, other, b"")
        state = _STATE.encode(entry.state)
        return ChallengeStatus(opened, asked[0], entry.challenge, state, proof.siblings, other, b"")

    def _find(self, complaint_id: bytes) -> ComplaintAnswer:
        """A complaint that is remembered. Raises Rejected."""
        answer = self._answers.get(complaint_id)
        if answer is None:
            raise Rejected("no such complaint: send its proof (again)", code="unknown-complaint")
        self._answers.move_to_end(complaint_id)
        return answer

    def _find_actor(self, name: str) -> Actor:
        """An actor of any of the rosters, by its name. Raises Rejected."""
        for signed in self._gateway.rosters:
            for entry in _ROSTER.decode(signed.body).actors:
                actor = parse_actor(entry.actor)
                if str(actor) == name:
                    return actor
        raise Rejected("there is and was no such actor", code="not-found")

    async def _roster_of(self, epoch: int) -> Roster:
        """The roster in force in an epoch. Raises Rejected, or StoreCorrupt."""
        row = await self._gateway.store.epoch_row(epoch)
        if row is None:
            raise Rejected(f"epoch {epoch} is not committed yet", code="not-committed")
        wanted = _RECORD.decode(row.record).roster_hash
        for signed in self._gateway.rosters:
            if hash_roster(signed.body) == wanted:
                return _ROSTER.decode(signed.body)
        raise StoreCorrupt(f"the roster of epoch {epoch} is missing: run noise fsck")
