"""From a proof that convicts a provider, and what its actors answer, to the one actor that lied.

Knows nothing of how answers are gathered. An answer that does not verify is no answer; an actor that did not lie is
never named, whoever answers what. Who shows nothing is unresponsive, which is not a lie and not proven.
"""

from collections.abc import Iterable, Sequence
from itertools import chain, islice
from typing import NamedTuple

from noise.protocol.delta import SignedRoster
from noise.protocol.errors import DecodeError, NoiseError
from noise.protocol.evidence.cases import questions_in
from noise.protocol.evidence.kinds import open_proof
from noise.protocol.evidence.proof import KINDS, make_proof
from noise.protocol.evidence.rosters import Rosters
from noise.protocol.evidence.stage_views import STAGE_CUSTODY, CustodyAnswer, Question
from noise.protocol.evidence.trail import BlameTrail, ProvenLie, custody_of, find_liar, open_ways
from noise.protocol.evidence.verdict import PROVIDER, Step, nothing_else
from noise.protocol.evidence.walk import Shown, find_silent, make_way
from noise.protocol.identifiers import parse_seq

UNRESPONSIVE = "Unresponsive"

STAGES_MAX = 640
"""Custodies that are looked at, to all questions together, in the order of their encodings: more than eight actors, on
two ways, can answer at once. To look at as many that are all garbage takes about a second."""

ROSTERS_MAX = 2048
"""Rosters that are looked at: the proof's own first, then those of the answers, by the order of their bytes."""


class Blame(NamedTuple):
    """Who lied, and in which epoch. `kind`: the class that it is convicted of.

    Not proven: `kind` is UNRESPONSIVE, or that of a suspicion. `way`: of the message through the stages, as far as it
    is known. `proof`: the file that convicts the actor, with the custody that leads to it; empty for UNRESPONSIVE, and
    then `question` is what it did not answer.
    """

    actor: str
    kind: str
    epoch: int
    is_proven: bool
    way: tuple[Step, ...]
    proof: bytes
    question: Question | None = None


def questions_of(proof: bytes, origin: bytes) -> tuple[Question, ...]:
    """What to ask actors about; nothing where the proof names one already.

    Raises DecodeError or NotProven when it proves nothing.
    """
    opened = open_proof(proof, (origin,), KINDS)
    return questions_in(opened.finding) if opened.verdict.accused == PROVIDER else ()


def assign_blame(proof: bytes, answers: Sequence[CustodyAnswer], origin: bytes) -> Blame:
    """The one actor that a proof comes down to. The same in whatever order the answers come.

    PROVIDER where the proof leads to no stage. Raises DecodeError or NotProven when the proof proves nothing, and
    NotProven when no roster is shown that says who was to answer.
    """
    opened = open_proof(proof, (origin,), KINDS)
    verdict = opened.verdict
    as_it_is = Blame(verdict.accused, verdict.kind, verdict.epoch, not verdict.is_suspicion, verdict.way, proof)
    if verdict.accused != PROVIDER or not questions_in(opened.finding):
        return as_it_is
    given = {one for answer in answers for one in answer.rosters}
    known = _true_rosters(origin, islice(chain(opened.proof.rosters, sorted(given)), ROSTERS_MAX))
    with nothing_else():
        rosters = Rosters(origin, known)
        ways = open_ways(rosters, opened.finding, _look_at(questions_in(opened.finding), answers))
        liar = find_liar(rosters, opened.finding, ways)
        if liar is not None:
            return _convict(origin, known, proof, ways, liar)
        return _find_unresponsive(rosters, ways) or as_it_is


def _look_at(questions: Sequence[Question], answers: Sequence[CustodyAnswer]) -> list[CustodyAnswer]:
    """Each actor's custody by itself, each once, without rosters: STAGES_MAX at most."""
    found = {
        (answer.question, STAGE_CUSTODY.encode(custody)): CustodyAnswer((), answer.question, (custody,))
        for answer in answers
        if answer.question in questions
        for custody in answer.stages
    }
    return [found[key] for key in sorted(found)[:STAGES_MAX]]


def _convict(
    origin: bytes, known: Sequence[SignedRoster], proof: bytes, ways: Sequence[Shown], liar: ProvenLie
) -> Blame:
    """The enlarged proof: the case, and all that verifies of the answers, or of them what convicts the liar.

    Raises NotProven.
    """
    answers = [CustodyAnswer((), shown.question, (custody,)) for shown in ways for custody in shown.custody()]
    try:
        enlarged = make_proof(origin, known, BlameTrail(proof, tuple(answers)))
    except DecodeError:  # more was shown than a proof may hold, or under more rosters
        enlarged = make_proof(origin, known, BlameTrail(proof, tuple(custody_of(liar.lie, ways))))
    verdict = open_proof(enlarged, (origin,), KINDS).verdict
    return Blame(verdict.accused, verdict.kind, verdict.epoch, True, verdict.way, enlarged)


def _find_unresponsive(rosters: Rosters, ways: Sequence[Shown]) -> Blame | None:
    """The first stage on any way that showed nothing."""
    found: list[tuple[int, str, Shown]] = []
    for shown in ways:
        silent = find_silent(rosters, shown)
        if silent is not None:
            found.append((*silent, shown))
    if not found:
        return None
    _, actor, shown = min(found, key=lambda one: one[0])
    epoch = parse_seq(shown.question.seq)[0]
    return Blame(actor, UNRESPONSIVE, epoch, False, make_way(shown, None), b"", shown.question)


def _true_rosters(origin: bytes, signed: Iterable[SignedRoster]) -> list[SignedRoster]:
    """Each of the origin's own, once."""
    found = []
    for one in dict.fromkeys(signed):
        try:
            Rosters(origin, (one,))
        except NoiseError:
            continue
        found.append(one)
    return sorted(found)
