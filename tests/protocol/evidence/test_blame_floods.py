"""Liars who show too much, and thieves of ended keys: the liar is named all the same, quickly, and nobody else.

Knows nothing of how answers are gathered.
"""

from collections.abc import Sequence
from hashlib import sha256
from random import Random

import pytest

from noise.protocol.delta import SignedRoster
from noise.protocol.evidence.blame import STAGES_MAX, UNRESPONSIVE, assign_blame
from noise.protocol.evidence.kinds import PROOF, Proof
from noise.protocol.evidence.material import place_leaf
from noise.protocol.evidence.messages import Conflict, Omission
from noise.protocol.evidence.openings import CommittedLeaf
from noise.protocol.evidence.proof import make_proof, verify_proof
from noise.protocol.evidence.rosters import Rosters
from noise.protocol.evidence.stage_views import (
    CustodyAnswer,
    Question,
    RouteView,
    SequencedView,
    StageCustody,
    make_route_view,
    open_recipients,
)
from noise.protocol.evidence.trail import BLAME_TRAIL, BlameTrail
from noise.protocol.evidence.verdict import NotProven
from noise.protocol.evidence.walk import open_shown
from noise.protocol.identifiers import Actor, Role, make_seq
from noise.protocol.placement import place_mailbox
from noise.protocol.statements import hash_roster
from tests.protocol.evidence.stage_lies import at, changed, drop
from tests.protocol.evidence.stage_world import Content, Lie, World
from tests.protocol.story import letter
from tests.vectors.cast import ORIGIN, device_of, make_roster, recipients_of, sign_roster

BOB = device_of("bob")
OUTBOX = place_mailbox(make_roster(2, 2), BOB)
RECEIVER = OUTBOX._replace(role=Role.RECEIVER)
INBOX, ROUTER = Actor(Role.INBOX, 0, 0), Actor(Role.ROUTER, 0, 0)
N_ROSTERS = 20
N_LEAVES = 300


def send(world: World, epoch: int, *, is_lost: bool = False) -> None:
    """Alice writes to Bob. Lost: his outbox drops it."""
    lies = {OUTBOX: drop(Question(make_seq(epoch, 0, 0), BOB))} if is_lost else {}
    world.run([letter("alice", epoch + 1, b"x", to=("alice", "bob"))], lies=lies)


def omitted(world: World, question: Question) -> bytes:
    message = CommittedLeaf(world.sequenced(question.seq), None)
    recipient = open_recipients(recipients_of("alice", "bob"), BOB)[0]
    return make_proof(ORIGIN, world.signed_rosters(), Omission(message, recipient, world.absent(question)))


def amend(world: World) -> None:
    """The operator changes an interval, from the next epoch on: all keys stay."""
    parameters = world.roster.parameters._replace(epoch_ms=world.roster.parameters.epoch_ms + 1)
    world.rotate()
    world.roster = world.roster._replace(parameters=parameters)
    world.rosters[-1] = sign_roster(world.roster)


def bare(answers: Sequence[CustodyAnswer]) -> list[CustodyAnswer]:
    return [answer._replace(rosters=()) for answer in answers]


def under_all_rosters(world: World, question: Question) -> list[CustodyAnswer]:
    """The true manifest, named under each of the true rosters: all of it verifies."""
    view, signed = world.answer(INBOX, question).stages[0].sequenced, world.signed_rosters()
    assert view is not None and view.message is not None
    message = view.message
    named = [view._replace(message=message._replace(roster_hash=hash_roster(one.body))) for one in signed]
    return [
        CustodyAnswer((one,), question, (sequenced(one_view),)) for one, one_view in zip(signed, named, strict=True)
    ]


def sequenced(view: SequencedView) -> StageCustody:
    return StageCustody(INBOX.encode(), sequenced=view)


def test_more_rosters_than_a_proof_holds() -> None:
    world = World(2, 2)
    for _ in range(N_ROSTERS):
        amend(world)
    send(world, 0)
    send(world, 1, is_lost=True)
    question = Question(make_seq(1, 0, 0), BOB)
    proof, flood = omitted(world, question), under_all_rosters(world, question)
    found = assign_blame(proof, [*bare(world.answers(question)), *flood], ORIGIN)
    assert (found.actor, found.is_proven) == (str(OUTBOX), True)
    assert verify_proof(found.proof, (ORIGIN,)).accused == str(OUTBOX)


def flooded_by_receiver(n_leaves: int) -> tuple[World, Question, list[CustodyAnswer]]:
    """A receiver that signs a tree with many messages at one seq, and shows each of them."""
    world, question = World(2, 2), Question(make_seq(0, 0, 0), BOB)

    def lie(content: Content) -> None:
        leaf = content[BOB][0]
        content[BOB] = [changed(leaf, payload_hash=sha256(b"%d" % i).digest()) for i in range(n_leaves)]

    world.run([letter("alice", 1, b"x", to=("alice", "bob"))], lies={RECEIVER: lie})
    base, leaves = world.custody(RECEIVER, question).merged, world.epochs[0].made[RECEIVER].content[BOB]
    assert base is not None
    views = [base._replace(content=base.content._replace(leaf=place_leaf(leaves, i))) for i in range(n_leaves)]
    return world, question, [CustodyAnswer((), question, (StageCustody(bytes(5), merged=one),)) for one in views]


def conflict(world: World, question: Question) -> bytes:
    sides = (CommittedLeaf(world.sequenced(question.seq), None), world.delivered(question))
    return make_proof(ORIGIN, world.signed_rosters(), Conflict(*sides))


def test_more_leaves_at_one_seq_than_a_proof_holds() -> None:
    world, question, flood = flooded_by_receiver(N_LEAVES)
    found = assign_blame(conflict(world, question), [*world.answers(question), *flood], ORIGIN)
    assert (found.actor, found.is_proven) == (str(RECEIVER), True)


def test_two_leaves_of_a_statement_are_heard() -> None:
    world, question, flood = flooded_by_receiver(N_LEAVES)
    custodies = [custody for answer in flood for custody in answer.stages]
    shown = open_shown(Rosters(ORIGIN, world.signed_rosters()), question, custodies)
    assert len(shown.merges) == 2


def equivocated(n_statements: int) -> tuple[World, Question, list[CustodyAnswer]]:
    """A router that signs many sheets for one epoch, and shows all of them."""
    world, question = World(2, 2), Question(make_seq(1, 0, 0), BOB)
    send(world, 0)
    send(world, 1, is_lost=True)

    def view(number: int) -> StageCustody:
        def lie(content: Content) -> None:
            content[BOB] = [changed(content[BOB][0], payload_hash=sha256(b"%d" % number).digest())]

        return StageCustody(ROUTER.encode(), routed=routed(world, question, at(OUTBOX, lie)))

    return world, question, [CustodyAnswer((), question, (view(number),)) for number in range(n_statements)]


def routed(world: World, question: Question, lie: Lie) -> RouteView:
    forged = world.forge_route(ROUTER, 1, lie)
    return make_route_view(forged.signed, forged.entries, OUTBOX, forged.content[OUTBOX], question)


def test_more_statements_than_a_proof_holds() -> None:
    """The proof then has two of them, and not the rest of the way."""
    world, question, flood = equivocated(N_LEAVES)
    proof = omitted(world, question)
    found = assign_blame(proof, [*world.answers(question), *flood], ORIGIN)
    assert (found.actor, found.kind, found.is_proven) == (str(ROUTER), "StageEquivocation", True)
    trail = BLAME_TRAIL.decode(PROOF.decode(found.proof).body)
    assert [stage.routed is not None for one in trail.answers for stage in one.stages] == [True, True]
    shuffled = [*flood, *world.answers(question)]
    Random(1).shuffle(shuffled)
    assert assign_blame(proof, shuffled, ORIGIN) == found


def test_what_is_looked_at_is_bounded_whatever_the_order() -> None:
    """Garbage within the limit changes nothing. Beyond it some is not looked at, the same whatever the order."""
    world, question, flood = equivocated(2)
    view = flood[0].stages[0].routed
    assert view is not None
    garbage = [
        CustodyAnswer(
            (), question, (StageCustody(bytes(5), routed=view._replace(sheet=view.sheet._replace(signature=one))),)
        )
        for one in (sha256(b"%d" % i).digest() * 2 for i in range(STAGES_MAX + 200))
    ]
    proof, answers = omitted(world, question), [*world.answers(question), *garbage]
    found = assign_blame(proof, answers, ORIGIN)
    assert assign_blame(proof, answers[::-1], ORIGIN) == found
    assert (found.kind, found.is_proven) == (UNRESPONSIVE, False)
    within = [*world.answers(question), *garbage[: STAGES_MAX - 4]]
    assert assign_blame(proof, within, ORIGIN).actor == str(OUTBOX)


def stolen() -> tuple[World, Question, StageCustody]:
    """The outbox lies in epoch 2, from which the router has a new key. A thief signs by the old one that the router
    left the message out, and names the true manifest under the roster before."""
    world, question = World(2, 2), Question(make_seq(2, 0, 0), BOB)
    send(world, 0)
    send(world, 1)
    world.rotate(ROUTER)
    send(world, 2, is_lost=True)
    forged = world.forge_route(ROUTER, 2, at(OUTBOX, drop(question)))
    view = make_route_view(forged.signed, forged.entries, OUTBOX, forged.content[OUTBOX], question)
    given = world.custody(INBOX, question).sequenced
    assert given is not None and given.message is not None
    given = given._replace(message=given.message._replace(roster_hash=hash_roster(world.rosters[0].body)))
    return world, question, StageCustody(ROUTER.encode(), sequenced=given, routed=view)


def test_an_ended_key_shields_no_liar() -> None:
    world, question, forged = stolen()
    proof = omitted(world, question)
    answer = CustodyAnswer(world.signed_rosters(), question, (forged,))
    found = assign_blame(proof, [*world.answers(question), answer], ORIGIN)
    assert (found.actor, found.is_proven) == (str(OUTBOX), True)
    assert world.signed_rosters()[-1] in PROOF.decode(found.proof).rosters


def trail(case: bytes, rosters: Sequence[SignedRoster], question: Question, *custodies: StageCustody) -> bytes:
    answers = tuple(CustodyAnswer((), question, (one,)) for one in custodies)
    return PROOF.encode(Proof(ORIGIN, tuple(rosters), "BlameTrail", BLAME_TRAIL.encode(BlameTrail(case, answers))))


def test_a_thief_cannot_hide_the_roster_that_the_case_names() -> None:
    world, question, forged = stolen()
    case = omitted(world, question)
    for rosters in (world.signed_rosters()[:1], world.signed_rosters()):
        with pytest.raises(NotProven):
            verify_proof(trail(case, rosters, question, forged), (ORIGIN,))


def test_a_thief_cannot_hide_a_roster_behind_later_ones() -> None:
    """The case is of a later epoch, under a roster that binds only such: the one in force at the lie is hidden."""
    world, question, forged = stolen()
    for epoch in (3, 4):
        world.rotate(INBOX)
        send(world, epoch)
    case = omitted(world, question)
    first, second, third, fourth = world.signed_rosters()
    for rosters in ((first, fourth), (first, third, fourth), (first,), (first, second, third, fourth)):
        with pytest.raises(NotProven):
            verify_proof(trail(case, rosters, question, forged), (ORIGIN,))
    found = assign_blame(case, world.answers(question), ORIGIN)
    assert (found.actor, found.is_proven) == (str(OUTBOX), True)
    assert {second, third, fourth} <= set(PROOF.decode(found.proof).rosters)
