"""A proof with the custody that leads from it to one actor: the enlarged proof that names a liar.

Knows nothing of who gathered the custody, nor of actors that were silent. Whatever else stands in it can only add
views; each stands for itself, by its signature.
"""

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

from noise.protocol.encoding import Vec32, list_of, struct_codec
from noise.protocol.errors import NoiseError
from noise.protocol.evidence.cases import NOBODY, custody_in, questions_in, sequenced_in
from noise.protocol.evidence.kinds import PLAIN_KINDS, open_proof
from noise.protocol.evidence.rosters import Rosters
from noise.protocol.evidence.slots import ManifestEquivocation, StageEquivocation
from noise.protocol.evidence.stage_views import CUSTODY_ANSWER, CustodyAnswer, Question, StageCustody
from noise.protocol.evidence.stages import StageInsertion, StageOmission
from noise.protocol.evidence.verdict import PROVIDER, NotProven, Verdict
from noise.protocol.evidence.walk import Lie, Shown, find_lies, make_way, open_shown
from noise.protocol.identifiers import parse_seq

TRAIL_ANSWERS_MAX = 256


class BlameTrail(NamedTuple):
    """`case`: an encoded proof of a class that stands alone, and names the provider: others ask nothing of custody."""

    case: Vec32
    answers: Annotated[tuple[CustodyAnswer, ...], list_of(CUSTODY_ANSWER, TRAIL_ANSWERS_MAX)]


BLAME_TRAIL = struct_codec(BlameTrail)


class ProvenLie(NamedTuple):
    lie: Lie
    verdict: Verdict


def verify_trail(rosters: Rosters, trail: BlameTrail) -> Verdict:
    """Of the class that the stage is convicted of."""
    opened = open_proof(trail.case, (rosters.origin,), PLAIN_KINDS)
    of_case = Rosters(rosters.origin, opened.proof.rosters)
    for question in questions_in(opened.finding):
        rosters.check_in_force(parse_seq(question.seq)[0], of_case)
    found = find_liar(rosters, opened.finding, open_ways(rosters, opened.finding, trail.answers))
    if found is None:
        raise NotProven("what is shown of the way contradicts itself nowhere")
    detail = f"{found.verdict.detail}; and so {opened.verdict.detail}"
    return found.verdict._replace(detail=detail, way=make_way(found.lie.shown, found.lie))


def open_ways(rosters: Rosters, finding: Any, answers: Sequence[CustodyAnswer]) -> list[Shown]:
    """What verifies of all answers and of the case itself, for each of its questions."""
    return [
        open_shown(rosters, question, _custody_of(finding, question, answers)) for question in questions_in(finding)
    ]


def custody_of(lie: Lie, ways: Sequence[Shown]) -> list[CustodyAnswer]:
    """Of all that is shown, what convicts: what the stage was given and made, or its two statements, or the messages as
    they were sequenced."""
    match lie.finding:
        case StageOmission(question, custody) | StageInsertion(question, custody):
            return [CustodyAnswer((), question, (custody,))]
        case ManifestEquivocation(one, other) | StageEquivocation(one, other):
            bodies = {one.body, other.body}
            return [
                CustodyAnswer((), lie.shown.question, (custody,))
                for custody in lie.shown.custody()
                if bodies.intersection(signed.body for signed in _statements_of(custody))
            ]
    return [
        CustodyAnswer((), shown.question, (StageCustody(NOBODY, sequenced=view),))
        for shown in ways
        for view in shown.manifests
        if view.message is not None and view.message in sequenced_in(lie.finding)
    ]


def _statements_of(custody: StageCustody) -> list[Any]:
    """What is signed in one view of `Shown.custody`, histories aside."""
    sequenced = custody.sequenced and (custody.sequenced.message or custody.sequenced.ended)
    sheets = [one.sheet for one in (custody.routed, custody.merged) if one is not None]
    return [*sheets, *[one for one in (sequenced and sequenced.manifest, custody.head) if one is not None]]


def _custody_of(finding: Any, question: Question, answers: Sequence[CustodyAnswer]) -> list[StageCustody]:
    answered = [custody for answer in answers if answer.question == question for custody in answer.stages]
    return [*answered, *custody_in(finding, answered)]


def find_liar(rosters: Rosters, case: Any, ways: Sequence[Shown]) -> ProvenLie | None:
    """The first lie on the way that is proven. `case`: the finding that is to be explained."""
    for lie in find_lies(ways, case):
        try:
            verdict = PLAIN_KINDS[type(lie.finding).__name__].verify(rosters, lie.finding)
        except NoiseError:
            continue
        if verdict.accused != PROVIDER:
            return ProvenLie(lie, verdict)
    return None
