"""What a provider answers to whoever complains about it: the structures of its HTTP answers.

Knows nothing of HTTP, and trusts nothing: whoever reads an answer checks it. A complaint is a proof that convicts the
provider, and its own authorisation: who received what is shown for such a proof alone.
"""

from typing import Annotated, NamedTuple

from noise.protocol.challenges import CHALLENGE, CHALLENGE_STATE, SIGNED_ADMISSION, SignedAdmission
from noise.protocol.delta import OTHER_LEAF, OtherLeaf
from noise.protocol.encoding import Bytes32, Codec, embedded, list_of, optional, struct_codec
from noise.protocol.evidence.challenges import UnansweredChallenge
from noise.protocol.evidence.openings import LOG_OPENING, LogOpening, ProofHashes
from noise.protocol.evidence.stage_views import CUSTODY_ANSWER, QUESTION, CustodyAnswer, Question

QUESTIONS_MAX = 16


class ComplaintAnswer(NamedTuple):
    """`complaint_id`: `hash_complaint` of the proof. `questions`: what its actors may be asked about now.

    `admissions`: of actors that take the blame at once.
    """

    complaint_id: Bytes32
    questions: Annotated[tuple[Question, ...], list_of(QUESTION, QUESTIONS_MAX)]
    admissions: Annotated[tuple[SignedAdmission, ...], list_of(SIGNED_ADMISSION, QUESTIONS_MAX)]


COMPLAINT_ANSWER = struct_codec(ComplaintAnswer)

CUSTODY_ANSWERS: Codec[tuple[CustodyAnswer, ...]] = list_of(CUSTODY_ANSWER, QUESTIONS_MAX)
"""What one actor answers to a complaint's questions; nothing, where it has no answer."""


class ChallengeStatus(NamedTuple):
    """What the newest record, `log`, says of a challenge. `path`, `other`: in the map under its `challenges_root`.

    `challenge`, `state`: empty when it is not in the map. `asked`: the record of the epoch that it is about. `answer`:
    an encoded CustodyAnswer; empty while there is none, and for whoever has not complained.
    """

    log: Annotated[LogOpening, LOG_OPENING]
    asked: Annotated[LogOpening | None, optional(LOG_OPENING)]
    challenge: Annotated[bytes, embedded(CHALLENGE)]
    state: Annotated[bytes, embedded(CHALLENGE_STATE)]
    path: ProofHashes
    other: Annotated[OtherLeaf | None, optional(OTHER_LEAF)]
    answer: Annotated[bytes, embedded(CUSTODY_ANSWER, 4)]

    def unanswered(self) -> UnansweredChallenge | None:
        """What shows that nobody answered, where that is so. None: there is no such challenge."""
        if self.asked is None:
            return None
        return UnansweredChallenge(self.log, self.asked, self.challenge, self.state, self.path)


CHALLENGE_STATUS = struct_codec(ChallengeStatus)
