"""From what a device holds against its provider to one actor: it is the liar, or the liar is silent; nobody else ever.

Knows nothing of which lie was told. Every actor of every roster is asked, the liar too. Then some answers are withheld,
answers to other questions and spoilt ones come with them, and rosters are stale: nobody else is named for that.
"""

import random
from collections.abc import Sequence

from noise.pipeline.challenges import find_custody
from noise.pipeline.custody import CustodyDesk
from noise.protocol.delta import SignedRoster
from noise.protocol.evidence.blame import UNRESPONSIVE, Blame, assign_blame, questions_of
from noise.protocol.evidence.proof import verify_proof
from noise.protocol.evidence.stage_views import CustodyAnswer
from noise.protocol.evidence.verdict import PROVIDER
from noise.protocol.identifiers import Actor, parse_actor
from noise.protocol.statements import ROSTER
from tests.simulation.asked import Asked, mix
from tests.simulation.result import Result

_SPOILT_TRIES = 12


async def complaints_about_blame(
    result: Result, desk: CustodyDesk, proof: bytes, liars: set[Actor], asked: Sequence[Asked], rng: random.Random
) -> tuple[Blame, list[str]]:
    """(whom the proof comes down to, what is wrong with that). `asked`: answers to other questions."""
    answers = await _gather(result, desk, proof)
    blame, names, found = assign_blame(proof, answers, result.origin), {str(actor) for actor in liars}, []
    if blame.actor not in names:
        found.append(f"{blame.actor} is named as {blame.kind}, and the liars are {', '.join(sorted(names))}")
    if blame.is_proven:
        verdict = verify_proof(blame.proof, [result.origin])
        if (verdict.kind, verdict.accused) != (blame.kind, blame.actor):
            found.append("the enlarged proof says something else")
    elif blame.kind != UNRESPONSIVE:
        found.append(f"{blame.kind} is not proven")
    beside = [answer for one in asked for answer in one.answers if answer is not None]
    for _ in range(_SPOILT_TRIES):
        junk = [*rng.sample(beside, min(2, len(beside))), *_spoil(rng, [*answers, *beside])]
        more = [*answers, *junk]
        rng.shuffle(more)
        found += _compare(assign_blame(proof, more, result.origin), blame, "with more answers")
        fewer = [answer for answer in more if rng.random() < 0.7]
        less = assign_blame(proof, fewer, result.origin)
        if less.is_proven and less.actor not in {*names, PROVIDER}:
            found.append(f"{less.actor} is convicted as {less.kind} with fewer answers")
    return blame, found


def _compare(one: Blame, other: Blame, when: str) -> list[str]:
    if (one.actor, one.kind, one.is_proven) == (other.actor, other.kind, other.is_proven):
        return []
    return [f"{one.actor} is named {when}, and else {other.actor}"]


async def _gather(result: Result, desk: CustodyDesk, proof: bytes) -> list[CustodyAnswer]:
    """What every actor of any roster answers to every question of a proof."""
    rosters = [ROSTER.decode(signed.body) for signed in result.rosters]
    actors = sorted({parse_actor(entry.actor) for roster in rosters for entry in roster.actors})
    answers = [await find_custody(desk, actor, q) for q in questions_of(proof, result.origin) for actor in actors]
    return [answer for answer in answers if answer is not None]


def _spoil(rng: random.Random, answers: Sequence[CustodyAnswer]) -> list[CustodyAnswer]:
    """Answers as liars and strangers might give them."""
    if not answers:
        return []
    stages = [stage for answer in answers for stage in answer.stages]
    answer = rng.choice(answers)
    rosters: tuple[SignedRoster, ...] = rng.choice(answers).rosters[:1]
    return [
        answer._replace(question=rng.choice(answers).question),
        answer._replace(rosters=rosters),
        answer._replace(stages=tuple(mix(rng, stages) for _ in range(2))),
    ]
