"""A stage's output against its input: what convicts it, and what does not, however it is put together."""

from itertools import product
from typing import Any

import pytest

from noise.protocol.errors import DecodeError
from noise.protocol.evidence.proof import NotProven, make_proof, verify_proof
from noise.protocol.evidence.stage_views import Question, StageCustody, make_route_view
from noise.protocol.evidence.stages import StageInsertion, StageOmission
from noise.protocol.evidence.verdict import Verdict
from noise.protocol.identifiers import Actor, Role, make_seq
from noise.protocol.placement import place_mailbox
from tests.protocol.evidence.stage_convictions import (
    BOB,
    DAVE,
    EARLIER,
    INBOX,
    OUTBOX,
    RECEIVER,
    ROUTER,
    STAGE_CONVICTIONS,
    UNWANTED,
    WANTED,
    honest,
    tell,
)
from tests.protocol.evidence.stage_lies import at, drop
from tests.protocol.evidence.stage_world import World
from tests.protocol.story import LAST, letter
from tests.vectors.cast import ORIGIN, device_of

CLASSES = (StageOmission, StageInsertion)
FIELDS = ("sequenced", "routed", "merged", "head", "delivered", "absent")


def judge(finding: Any, world: World | None = None) -> Verdict:
    rosters = (world or honest()).signed_rosters()
    return verify_proof(make_proof(ORIGIN, rosters, finding), (ORIGIN,))


def acquits(finding: Any, world: World | None = None) -> None:
    with pytest.raises((NotProven, DecodeError)):
        judge(finding, world)


@pytest.mark.parametrize("name", STAGE_CONVICTIONS)
def test_a_lie_convicts_its_stage(name: str) -> None:
    finding = STAGE_CONVICTIONS[name]()
    verdict = judge(finding)
    kind, _, shape = name.partition(", ")
    expected = {"router": ROUTER, "outbox": OUTBOX, "another epoch": ROUTER, "order": ROUTER}.get(shape, RECEIVER)
    assert (verdict.kind, verdict.accused, verdict.epoch) == (kind, str(expected), LAST)
    other = StageInsertion if isinstance(finding, StageOmission) else StageOmission
    if isinstance(finding, CLASSES):
        acquits(other(*finding))


@pytest.mark.parametrize("actor", [INBOX, ROUTER, RECEIVER, OUTBOX])
@pytest.mark.parametrize("question", [WANTED, UNWANTED, EARLIER, Question(make_seq(LAST, 0, 9), BOB)])
def test_the_honest_are_acquitted(actor: Actor, question: Question) -> None:
    for cls in CLASSES:
        acquits(cls(question, honest().custody(actor, question)))


def test_the_custody_of_others_is_acquitted() -> None:
    """What one stage was given, with what another made, or of another epoch; or with more than that."""
    world = tell(RECEIVER, drop(WANTED))
    whole = [world.custody(actor, question) for actor in world.way(WANTED) for question in (WANTED, EARLIER)]
    for one, other in product(whole, whole):
        for field in FIELDS:
            mixed = one._replace(**{field: getattr(other, field)})
            if mixed not in whole:
                for cls in CLASSES:
                    acquits(cls(WANTED, mixed), world)


def test_another_actor_is_not_named() -> None:
    finding = STAGE_CONVICTIONS["StageOmission, receiver"]()
    for actor in (INBOX, ROUTER, OUTBOX, Actor(Role.RECEIVER, 0, 1)):
        acquits(finding._replace(custody=finding.custody._replace(actor=actor.encode())))
    lone = STAGE_CONVICTIONS["StageInsertion, another lane"]()
    acquits(lone._replace(custody=lone.custody._replace(actor=OUTBOX.encode())))


@pytest.mark.parametrize("actor", [ROUTER, RECEIVER, OUTBOX])
def test_a_statement_about_another_input_proves_nothing(actor: Actor) -> None:
    """The stage was given the lie, and the truth is shown with its output: the one before said two things."""
    before = {ROUTER: INBOX, RECEIVER: ROUTER, OUTBOX: RECEIVER}[actor]
    if before == INBOX:
        world = World(1, 1)
        world.run([letter("alice", 1, b"one", b"two")], lies={INBOX: lambda c: c[b""].pop()}, twice=True)
        question = Question(make_seq(0, 0, 1), BOB)
    else:
        world, question = World(1, 1), Question(make_seq(0, 0, 0), BOB)
        lie = at(OUTBOX, drop(question)) if before == ROUTER else drop(question)
        world.run([letter("alice", 1, b"one", b"two")], lies={before: lie}, twice=True)
    given, made = world.custody(before, question), world.custody(actor, question)
    field = {ROUTER: "sequenced", RECEIVER: "routed", OUTBOX: "merged"}[actor]
    framed = made._replace(**{field: getattr(given, field)})
    assert framed != made
    for cls in CLASSES:
        acquits(cls(question, framed), world)


def test_a_mailbox_of_another_outbox() -> None:
    """Only a sheet for several outboxes can have it."""
    world = World(1, 2)
    bundle = letter("alice", 1, b"one", to=("alice", "bob", "carol", "dave", "erin"))
    outbox = place_mailbox(world.roster, BOB)
    other = outbox._replace(number=1 - outbox.number)

    def lie(contents: dict[Actor, dict[bytes, list[bytes]]]) -> None:
        contents[other][BOB] = contents[outbox].pop(BOB)

    question = Question(make_seq(0, 0, 0), BOB)
    epoch = world.run([bundle], lies={ROUTER: lie})
    made = epoch.made[ROUTER]
    view = make_route_view(made.signed, made.entries, other, made.content[other], question)
    verdict = judge(StageInsertion(question, StageCustody(ROUTER.encode(), routed=view)), world)
    assert (verdict.kind, verdict.accused) == ("StageInsertion", "router-0-0")
    assert "does not keep" in verdict.detail
    for mailbox in made.content[other].keys() - {BOB}:
        alone = make_route_view(made.signed, made.entries, other, made.content[other], Question(question.seq, mailbox))
        acquits(StageInsertion(question, StageCustody(ROUTER.encode(), routed=alone)), world)


@pytest.mark.parametrize("actor", [ROUTER, RECEIVER])
def test_an_honest_sheet_alone_is_acquitted(actor: Actor) -> None:
    custody = honest().custody(actor, WANTED)
    field = "routed" if actor == ROUTER else "merged"
    for mailbox in (BOB, DAVE, device_of("alice")):
        for pos in (0, 1, 9):
            question = Question(make_seq(LAST, 0, pos), mailbox)
            view = getattr(honest().custody(actor, question), field)
            alone = StageCustody(custody.actor)._replace(**{field: view})
            acquits(StageInsertion(question, alone))
            acquits(StageInsertion(EARLIER, alone))
