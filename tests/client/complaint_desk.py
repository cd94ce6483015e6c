"""A provider's HTTP face in memory, for whoever complains: shows the custody of a `World`, and logs challenges.

Must not know: sockets, or the SDK. Tests make it refuse, stay silent, or say what makes no sense.
"""

from collections.abc import Callable, Collection

from noise.protocol.challenges import (
    CHALLENGE,
    CHALLENGE_STATE,
    NO_ANSWER,
    SIGNED_CHALLENGE_RECEIPT,
    Challenge,
    ChallengeState,
    hash_challenge,
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
from noise.protocol.evidence.blame import questions_of
from noise.protocol.evidence.stage_views import CUSTODY_ANSWER, Question
from noise.protocol.identifiers import NO_EPOCH, Actor, format_id, parse_actor, parse_id
from noise.protocol.json_text import encode_json
from noise.protocol.log_pages import ROSTERS
from noise_client.changed import Changed
from tests.protocol.challenged import Ledger, sign_receipt
from tests.protocol.evidence.stage_world import World
from tests.vectors.cast import ORIGIN

_CHALLENGE: Codec[Challenge] = CHALLENGE
_STATUS: Codec[ChallengeStatus] = CHALLENGE_STATUS

Answer = tuple[int, bytes]


class ComplaintDesk:
    """`silent`: actors that show nothing, or nothing but in the log. `asked`: every request, as "METHOD path".

    `hides`: it promises to log challenges, and does not. `patience`: epochs for an answer. `instead`: what it answers
    another way, if anything.
    """

    def __init__(self, world: World, silent: Collection[Actor] = ()) -> None:
        self.asked: list[str] = []
        self.heard = Changed()
        self.silent = set(silent)
        self.hides = False
        self.patience = world.roster.parameters.challenge_epochs
        self.instead: Callable[[str, str], Answer | None] = lambda method, path: None
        self.states: dict[bytes, ChallengeState] = {}
        self._world = world
        self._ledger = Ledger(world.roster)
        self._challenges: dict[bytes, bytes] = {}
        self._answers: dict[bytes, bytes] = {}
        self._questions: tuple[Question, ...] = ()
        for _ in world.epochs:
            self.commit()

    @property
    def epoch(self) -> int:
        """The last one of its log."""
        return len(self._ledger.records) - 1

    def commit(self, count: int = 1) -> None:
        for _ in range(count):
            self._ledger.commit()

    def answer_in_log(self, actor: Actor) -> None:
        """A challenged actor answers after all, in time."""
        for challenge, state in self.states.items():
            opened = _CHALLENGE.decode(challenge)
            if opened.actor == actor.encode():
                answer = self._world.answer(actor, Question(opened.seq, opened.mailbox))
                encoded = CUSTODY_ANSWER.encode(answer)
                answered = state._replace(answered_epoch=self.epoch + 1, answer_hash=hash_challenge(encoded))
                self.states[challenge] = answered
                self._answers[challenge] = encoded
                self._ledger.commit({challenge: answered})

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        """(HTTP status, body)."""
        self.asked.append(f"{method} {path}")
        self.heard.notify()
        other = self.instead(method, path)
        if other is not None:
            return other
        _, _, kind, *parts = path.split("/")
        if (method, kind) == ("GET", "rosters"):
            return 200, ROSTERS.encode(self._world.signed_rosters())
        if (method, kind) == ("GET", "custody"):
            return self._show(parts[1])
        if (method, kind, len(parts)) == ("POST", "complaints", 0):
            self._questions = questions_of(body, ORIGIN)
            return 201, COMPLAINT_ANSWER.encode(ComplaintAnswer(hash_complaint(body), self._questions, ()))
        if (method, kind, len(parts)) == ("POST", "complaints", 2):
            return self._open(body)
        if (method, kind, len(parts)) == ("GET", "complaints", 3):
            return 200, _STATUS.encode(self._status(parse_id(parts[2])))
        return 404, encode_json({"code": "not-found", "detail": "as the test says"})

    def _show(self, name: str) -> Answer:
        way = {actor for question in self._questions for actor in self._world.way(question)}
        found = [
            self._world.answer(actor, question)
            for actor in way - self.silent
            for question in self._questions
            if str(actor) == name
        ]
        return 200, CUSTODY_ANSWERS.encode(tuple(found))

    def _open(self, challenge: bytes) -> Answer:
        self._challenges[hash_challenge(challenge)] = challenge
        if challenge not in self.states and not self.hides:
            opened_epoch = self.epoch + 1
            self.states[challenge] = ChallengeState(opened_epoch, opened_epoch + self.patience, NO_EPOCH, NO_ANSWER)
            self._ledger.commit({challenge: self.states[challenge]})
        else:
            self.commit()
        return 201, SIGNED_CHALLENGE_RECEIPT.encode(sign_receipt(challenge, self.epoch))

    def _status(self, key: bytes) -> ChallengeStatus:
        challenge = self._challenges[key]
        proof = self._ledger.maps[-1].prove(key)
        other = OtherLeaf(*proof.other) if proof.other else None
        state = self.states.get(challenge)
        newest = self._ledger.opening(self.epoch)
        if state is None:
            return ChallengeStatus(newest, None, b"", b"", proof.siblings, other, b"")
        asked = self._ledger.opening(_CHALLENGE.decode(challenge).epoch)
        answer = self._answers.get(challenge, b"")
        return ChallengeStatus(newest, asked, challenge, CHALLENGE_STATE.encode(state), proof.siblings, other, answer)

    def challenged(self) -> list[str]:
        """The actors that were."""
        return [str(parse_actor(_CHALLENGE.decode(challenge).actor)) for challenge in self.states]

    def count(self, request: str) -> int:
        """How many requests began like this."""
        return sum(asked.startswith(request) for asked in self.asked)

    def complaint_path(self, proof: bytes) -> str:
        return f"/v1/complaints/{format_id(hash_complaint(proof))}/challenges"
