"""An inquiry asks whoever had to do with it, takes what they answer, and challenges whoever is silent, question by
question.

Knows nothing of transport, nor of what convicts an actor.
"""

import pytest

from noise.protocol.challenges import CHALLENGE
from noise.protocol.errors import NoiseError
from noise.protocol.evidence.blame import UNRESPONSIVE
from noise.protocol.evidence.stage_views import Question
from noise.protocol.identifiers import Role, parse_actor
from noise.protocol.inquiry import Inquiry
from tests.protocol.evidence.stage_lies import drop
from tests.protocol.evidence.stage_world import World
from tests.protocol.evidence.test_blame import LIED, WANTED, actor_of, omission_beside, tell, told_by
from tests.vectors.cast import ORIGIN


def inquiry_into(world: World) -> Inquiry:
    return Inquiry(ORIGIN, omission_beside(world), world.signed_rosters())


def test_everybody_on_the_way_is_asked() -> None:
    world = tell(told_by(Role.ROUTER, drop(WANTED)))
    inquiry = inquiry_into(world)
    assert len(inquiry.questions) == 2, "who lacks the message, and who has it"
    asked = {str(actor) for question in inquiry.questions for actor in world.way(question)}
    assert set(inquiry.actors()) == asked
    assert inquiry.epochs() == [LIED]


def test_each_question_that_is_not_answered_is_challenged() -> None:
    """Or a liar would answer the one about which it has nothing to hide, and be left alone."""
    world = tell(told_by(Role.ROUTER, drop(WANTED)))
    inquiry = inquiry_into(world)
    asked: list[tuple[str, Question | None]] = []
    blame = inquiry.judge()
    while blame.kind == UNRESPONSIVE:
        challenge = inquiry.challenge(blame)
        CHALLENGE.encode(challenge)
        assert (str(parse_actor(challenge.actor)), Question(challenge.seq, challenge.mailbox)) == (
            blame.actor,
            blame.question,
        )
        assert (blame.actor, blame.question) not in asked
        asked.append((blame.actor, blame.question))
        assert blame.question is not None
        inquiry.take_answers([world.answer(parse_actor(challenge.actor), blame.question)])
        blame = inquiry.judge()
    assert (blame.actor, blame.is_proven) == (str(actor_of(Role.ROUTER)), True)
    assert len({question for _, question in asked}) == 2


def test_nobody_is_challenged_about_what_is_not_its_business() -> None:
    inquiry = inquiry_into(tell(told_by(Role.ROUTER, drop(WANTED))))
    blame = inquiry.judge()
    for changed in (blame._replace(actor="router-0-9"), blame._replace(question=None)):
        with pytest.raises(NoiseError, match="nothing to do with it"):
            inquiry.challenge(changed)


def test_rosters_that_are_not_shown() -> None:
    world = tell(told_by(Role.ROUTER, drop(WANTED)))
    with pytest.raises(NoiseError, match="no roster is shown"):
        Inquiry(ORIGIN, omission_beside(world), ()).actors()
