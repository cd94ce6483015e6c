"""One stage lies, or two: blame names the first on the way, whatever was asked, and whoever is silent.

Knows nothing of how the views are opened.
"""

from collections.abc import Sequence
from functools import cache
from itertools import permutations, product
from typing import Any

import pytest

from noise.protocol.delta import SignedRoster
from noise.protocol.envelope import Bundle
from noise.protocol.evidence.accuse import envelope_of
from noise.protocol.evidence.blame import UNRESPONSIVE, Blame, assign_blame, questions_of
from noise.protocol.evidence.mailboxes import HistoryViolation
from noise.protocol.evidence.material import place_leaf
from noise.protocol.evidence.messages import AlteredMessage, Conflict, CounterViolation, Misdelivery, Omission
from noise.protocol.evidence.openings import CommittedLeaf, RecipientOpening
from noise.protocol.evidence.proof import Finding, NotProven, make_proof, verify_proof
from noise.protocol.evidence.stage_views import CustodyAnswer, Question, open_recipients
from noise.protocol.evidence.trail import BlameTrail
from noise.protocol.identifiers import Actor, Role, make_seq
from noise.protocol.placement import place_mailbox
from tests.protocol.evidence.stage_lies import alter, at, drop, insert, misroute, resequence
from tests.protocol.evidence.stage_world import Lie, World
from tests.vectors.cast import ORIGIN, bundle_of, device_of, draft_of, filler, make_roster, recipients_of

EVERYBODY = ("alice", "bob", "carol", "dave", "erin", "frank")
BOB, CAROL, DAVE = map(device_of, ("bob", "carol", "dave"))
TO_THREE = recipients_of("alice", "bob", "carol")
STAGES = (Role.ROUTER, Role.RECEIVER, Role.OUTBOX)
LIED = 1  # the epoch in which a stage lies

LETTER = bundle_of("alice", [draft_of(TO_THREE, b"first"), draft_of(TO_THREE, b"second")], 3)
WANTED = Question(make_seq(LIED, 0, 0), BOB)  # the first of these, for bob
UNWANTED = Question(make_seq(LIED, 0, 0), DAVE)
BEYOND = Question(make_seq(LIED, 0, 7), BOB)


def letters(epoch: int) -> list[list[Bundle]]:
    """What three lanes sequence: alice, bob and carol write to some of the others."""
    us = recipients_of(*EVERYBODY)
    if epoch == LIED:
        return [
            [LETTER],
            [bundle_of("bob", [draft_of(us, b"to all"), draft_of(recipients_of("bob", "dave"), b"to dave")], 2)],
            [bundle_of("carol", [draft_of(recipients_of("bob", "carol"), b"to bob")], 2)],
        ]
    return [[bundle_of(name, [draft_of(us, b"%d" % epoch)], epoch + 1 + (epoch > LIED))] for name in EVERYBODY[:3]]


def tell(lies: dict[Actor, Lie], *, n_epochs: int = 3, twice: bool = False) -> World:
    """Three lanes and three outboxes. The lies are told in epoch LIED."""
    world = World(3, 3)
    for epoch in range(n_epochs):
        world.run(*letters(epoch), lies=lies if epoch == LIED else None, twice=twice)
    return world


def actor_of(role: Role, question: Question = WANTED) -> Actor:
    """Who has to do with the question: its lane is 0."""
    outbox = place_mailbox(make_roster(3, 3), question.mailbox)
    return Actor(role, 0, outbox.number if role in (Role.RECEIVER, Role.OUTBOX) else 0)


def told_by(role: Role, lie: Lie, question: Question = WANTED) -> dict[Actor, Lie]:
    """The lie, by the stage on the question's way."""
    return {actor_of(role, question): at(actor_of(Role.OUTBOX, question), lie) if role is Role.ROUTER else lie}


def recipient(question: Question) -> tuple[RecipientOpening, ...]:
    return open_recipients(TO_THREE, question.mailbox)


def prove(world: World, finding: Finding) -> bytes:
    return make_proof(ORIGIN, [SignedRoster(*signed) for signed in world.rosters], finding)


def omission(world: World, question: Question = WANTED) -> bytes:
    sequenced = CommittedLeaf(world.sequenced(question.seq), None)
    return prove(world, Omission(sequenced, recipient(question)[0], world.absent(question)))


def omission_beside(world: World) -> bytes:
    """Delivered to carol, and not to bob."""
    message = world.delivered(Question(WANTED.seq, CAROL))
    return prove(world, Omission(message, recipient(WANTED)[0], world.absent(WANTED)))


def conflict(world: World) -> bytes:
    return prove(world, Conflict(CommittedLeaf(world.sequenced(WANTED.seq), None), world.delivered(WANTED)))


def conflict_beside(world: World) -> bytes:
    return prove(world, Conflict(world.delivered(Question(WANTED.seq, CAROL)), world.delivered(WANTED)))


def altered(world: World, number: int = -1) -> bytes:
    return prove(world, AlteredMessage(world.delivered(WANTED, number), envelope_of(LETTER, 0), b"", (), (), ()))


def misdelivery(world: World) -> bytes:
    message = world.delivered(UNWANTED).delivered
    assert message is not None
    return prove(world, Misdelivery(message, recipient(UNWANTED)))


def counter_twice(world: World) -> bytes:
    """The message beyond the lane's end is the first one again."""
    return prove(world, CounterViolation(world.delivered(WANTED), world.delivered(BEYOND)))


@cache
def leaf() -> bytes:
    return tell({}).sequenced(WANTED.seq).leaf


ELSEWHERE = Actor(Role.OUTBOX, 0, (actor_of(Role.OUTBOX).number + 1) % 3)
LIES = {
    **{
        f"{role.name}, {name}": (told_by(role, lie, question), case, question)
        for role in STAGES
        for name, lie, case, question in (
            ("drop", drop(WANTED), omission, WANTED),
            ("drop for one of two", drop(WANTED), omission_beside, WANTED),
            ("alter", alter(WANTED), conflict, WANTED),
            ("alter for one of two", alter(WANTED), conflict_beside, WANTED),
            ("alter what is known", alter(WANTED), altered, WANTED),
            ("insert what is for others", insert(UNWANTED, leaf()), misdelivery, UNWANTED),
            ("insert beyond the end", insert(BEYOND, leaf()), counter_twice, BEYOND),
        )
    },
    "ROUTER, misroute": ({actor_of(Role.ROUTER): misroute(WANTED, ELSEWHERE)}, omission, WANTED),
}


@cache
def told(name: str) -> tuple[World, bytes, Question]:
    lies, case, question = LIES[name]
    world = tell(lies)
    return world, case(world), question


def ask_all(world: World, proof: bytes, silent: Sequence[Actor] = ()) -> list[CustodyAnswer]:
    return [answer for question in questions_of(proof, ORIGIN) for answer in world.answers(question, silent=silent)]


def blame(world: World, proof: bytes, silent: Sequence[Actor] = ()) -> Blame:
    """As of all answers but those of the silent. What is proven, a stranger verifies."""
    found = assign_blame(proof, ask_all(world, proof, silent), ORIGIN)
    if found.is_proven:
        verdict = verify_proof(found.proof, (ORIGIN,))
        assert (verdict.accused, verdict.kind, verdict.epoch) == (found.actor, found.kind, found.epoch)
        assert verdict.way == found.way
        assert [step.actor for step in found.way if step.is_lie] == [found.actor]
    else:
        assert (found.kind, found.proof) == (UNRESPONSIVE, b"")
    return found


@pytest.mark.parametrize("name", LIES)
def test_one_liar(name: str) -> None:
    world, proof, question = told(name)
    liar = str(actor_of(Role[name.partition(",")[0]], question))
    found = blame(world, proof)
    kind = "StageInsertion" if "insert" in name else "StageOmission"
    assert (found.actor, found.kind, found.epoch, found.is_proven) == (liar, kind, LIED, True)
    assert [step.actor for step in found.way] == [str(actor) for actor in world.way(question)]


@pytest.mark.parametrize("name", LIES)
def test_one_actor_is_silent(name: str) -> None:
    """A stage's output is also its successor's input: the liar is named, or an actor of which nothing is shown."""
    world, proof, question = told(name)
    for actor in world.way(question):
        found = blame(world, proof, [actor])
        liar = actor_of(Role[name.partition(",")[0]], question)
        if actor == liar == actor_of(Role.OUTBOX, question):
            assert (found.actor, found.is_proven) == (str(liar), False)  # its head was shown to its own clients only
        else:
            assert (found.actor, found.is_proven) == (str(liar), True), actor


@pytest.mark.parametrize(
    "name, silent, first",
    [
        ("ROUTER, drop for one of two", (0, 1), 0),
        ("ROUTER, drop", (1, 2), 1),
        ("RECEIVER, drop", (1, 2), 1),
        ("RECEIVER, drop", (2, 3), 2),
        ("OUTBOX, drop", (2, 3), 2),
    ],
)
def test_two_neighbours_are_silent(name: str, silent: tuple[int, int], first: int) -> None:
    """Nobody shows the output of the first of them."""
    world, proof, question = told(name)
    way = world.way(question)
    found = blame(world, proof, [way[place] for place in silent])
    assert (found.actor, found.is_proven) == (str(way[first]), False)


def test_all_are_silent() -> None:
    for case, stage in ((omission, 1), (omission_beside, 0)):
        world, _, question = told("RECEIVER, drop")
        found = blame(world, case(world), world.way(question))
        assert (found.actor, found.kind) == (str(world.way(question)[stage]), UNRESPONSIVE)


TWO = [(a, b) for a in STAGES for b in STAGES if a < b]


@pytest.mark.parametrize("first, second", TWO)
def test_two_liars_the_first_on_the_way_is_named(first: Role, second: Role) -> None:
    lies = told_by(first, alter(WANTED)) | told_by(second, drop(WANTED))
    world = tell(lies)
    found = blame(world, omission(world))
    assert (found.actor, found.is_proven) == (str(actor_of(first)), True)
    silent = blame(world, omission(world), [actor_of(first)])
    assert (silent.actor, silent.is_proven) == (str(actor_of(first)), True)


@pytest.mark.parametrize("first, second", TWO)
def test_two_liars_about_two_mailboxes(first: Role, second: Role) -> None:
    """Delivered to carol with other bytes, by the later stage; not to bob, by the earlier one."""
    to_carol = Question(WANTED.seq, CAROL)
    lies = told_by(second, alter(to_carol), to_carol) | told_by(first, drop(WANTED))
    world = tell(lies)
    case = Conflict(CommittedLeaf(world.sequenced(WANTED.seq), None), world.delivered(to_carol))
    assert blame(world, prove(world, case)).actor == str(actor_of(second, to_carol))
    assert blame(world, omission(world)).actor == str(actor_of(first))
    assert blame(world, omission_beside(world)).actor == str(actor_of(first))


def test_a_later_stage_that_lied_is_named_where_an_earlier_one_is_silent() -> None:
    """The router shows nothing, and nobody needs it: the receiver's own input and output contradict each other."""
    world, proof, question = told("RECEIVER, drop")
    found = blame(world, proof, world.way(question)[:2])
    assert (found.actor, found.is_proven) == (str(actor_of(Role.RECEIVER)), True)


@pytest.mark.parametrize("role", [Role.INBOX, *STAGES])
def test_equivocation_is_named(role: Role) -> None:
    """It keeps one statement, and passed on another."""
    lie = resequence(0, payload_hash=filler("other", 32)) if role is Role.INBOX else alter(WANTED)
    lies = {actor_of(role): lie} if role is Role.INBOX else told_by(role, lie)
    world = tell(lies, twice=True)
    found = blame(world, altered(world, LIED))
    kind = "ManifestEquivocation" if role is Role.INBOX else "StageEquivocation"
    assert (found.actor, found.kind, found.is_proven) == (str(actor_of(role)), kind, True)


def test_an_inbox_that_sequenced_what_nobody_made() -> None:
    world = tell({actor_of(Role.INBOX): resequence(0, payload_hash=filler("other", 32))})
    found = blame(world, altered(world))
    assert (found.actor, found.kind, found.is_proven) == (str(actor_of(Role.INBOX)), "AlteredMessage", True)


def test_an_inbox_that_sequenced_a_counter_twice() -> None:
    world = tell({actor_of(Role.INBOX): resequence(1, sender_ctr=3)})
    other = Question(make_seq(LIED, 0, 1), BOB)
    proof = prove(world, CounterViolation(world.delivered(WANTED), world.delivered(other)))
    found = blame(world, proof)
    assert (found.actor, found.kind, found.is_proven) == (str(actor_of(Role.INBOX)), "CounterViolation", True)


def test_a_message_of_a_lane_that_there_is_not() -> None:
    """The receiver put it in, or else the outbox: there is no inbox to ask."""
    nowhere = Question(make_seq(LIED, 9, 0), BOB)
    for role in STAGES[1:]:
        world = tell(told_by(role, insert(nowhere, leaf())))
        proof = prove(world, CounterViolation(world.delivered(WANTED), world.delivered(nowhere)))
        found = blame(world, proof)
        assert (found.actor, found.kind, found.is_proven) == (str(actor_of(role)), "StageInsertion", True)
        assert blame(world, proof, world.way(nowhere)).actor == str(actor_of(Role.RECEIVER))  # the first to ask


@pytest.mark.parametrize("name", ["ROUTER, drop", "RECEIVER, alter for one of two", "OUTBOX, insert beyond the end"])
def test_the_order_of_answers_does_not_matter(name: str) -> None:
    world, proof, _ = told(name)
    answers = ask_all(world, proof)[:4]
    found = assign_blame(proof, answers, ORIGIN)
    assert {assign_blame(proof, order, ORIGIN) for order in permutations(answers)} == {found}
    assert assign_blame(proof, [*answers, *answers], ORIGIN) == found


def test_the_order_of_contradicting_answers_does_not_matter() -> None:
    """The router keeps one sheet, and the receiver was given another."""
    world = tell(told_by(Role.ROUTER, alter(WANTED)), twice=True)
    proof = conflict(world)
    answers = ask_all(world, proof)
    assert len({assign_blame(proof, order, ORIGIN) for order in permutations(answers)}) == 1


def test_two_inboxes_of_which_neither_is_shown_to_lie() -> None:
    """A counter that falls between two incarnations: what there is leads to no stage, and a trail adds nothing."""
    world = World(1, 1)
    world.run([bundle_of("alice", [draft_of(TO_THREE, b"one")], 5)])
    world.rotate(Actor(Role.INBOX, 0, 0))
    world.run([bundle_of("alice", [draft_of(TO_THREE, b"two")], 2)])
    sides = [CommittedLeaf(world.sequenced(make_seq(epoch, 0, 0)), None) for epoch in (0, 1)]
    proof = prove(world, CounterViolation(*sides))
    assert questions_of(proof, ORIGIN) == ()
    found = assign_blame(proof, [], ORIGIN)
    assert (found.actor, found.kind, found.is_proven, found.proof) == ("provider", "CounterViolation", True, proof)
    with pytest.raises(NotProven):
        prove(world, BlameTrail(proof, ()))


def test_garbage_is_no_answer() -> None:
    """Answers with one thing damaged each, and answers to something else, beside the true ones or instead of them."""
    world, proof, question = told("RECEIVER, drop")
    true = ask_all(world, proof)
    garbage: list[CustodyAnswer] = []
    for answer, name in product(true, ("sequenced", "routed", "merged", "head", "absent")):
        damage: dict[str, Any] = {name: _damaged(getattr(answer.stages[0], name))}
        garbage.append(answer._replace(stages=(answer.stages[0]._replace(**damage),)))
    garbage += [answer._replace(question=UNWANTED) for answer in true]
    garbage += [world.answer(actor, UNWANTED)._replace(question=question) for actor in world.way(UNWANTED)]
    assert assign_blame(proof, [*garbage, *true], ORIGIN) == assign_blame(proof, true, ORIGIN)
    assert assign_blame(proof, [answer._replace(rosters=()) for answer in true], ORIGIN).is_proven
    bare = [answer._replace(stages=()) for answer in true]
    assert assign_blame(proof, bare, ORIGIN).kind == UNRESPONSIVE


def _damaged(view: Any) -> Any:
    """The first signature in a view, with one bit turned."""
    if isinstance(view, tuple):
        parts = list(view)
        for i, part in enumerate(parts):
            if isinstance(part, bytes) and len(part) == 64:
                parts[i] = bytes([part[0] ^ 1]) + part[1:]
                return view._make(parts) if hasattr(view, "_make") else tuple(parts)
            if isinstance(part, tuple) and part:
                parts[i] = _damaged(part)
                return view._make(parts) if hasattr(view, "_make") else tuple(parts)
    return view


def test_a_successor_is_not_named_for_what_it_inherited() -> None:
    """The outbox lied, and goes on under a new key: only its own old key's word counts against the old one."""
    world = tell(told_by(Role.OUTBOX, drop(WANTED)), n_epochs=2)
    before = world.answers(WANTED)
    world.rotate(actor_of(Role.OUTBOX))
    world.run(*letters(2))
    proof = omission(world)
    found = assign_blame(
        proof, [answer._replace(rosters=before[0].rosters) for answer in world.answers(WANTED)], ORIGIN
    )
    assert (found.actor, found.kind, found.is_proven) == (str(actor_of(Role.OUTBOX)), UNRESPONSIVE, False)
    found = assign_blame(proof, [*before, *world.answers(WANTED)], ORIGIN)
    assert found.is_proven
    last = verify_proof(found.proof, (ORIGIN,))
    assert (last.accused, last.epoch) == (str(actor_of(Role.OUTBOX)), LIED)


def test_a_successor_in_every_role_is_honest() -> None:
    """All actors were rotated after the lie; the liar of before is named by what they kept of their predecessors."""
    for role in STAGES[:2]:
        world = tell(told_by(role, drop(WANTED)), n_epochs=2)
        before = world.answers(WANTED)
        world.rotate(*world.way(WANTED))
        world.run(*letters(2))
        found = assign_blame(omission(world), before, ORIGIN)
        assert (found.actor, found.epoch, found.is_proven) == (str(actor_of(role)), LIED, True)


def test_a_history_that_breaks_its_rules_is_not_laid_to_a_successor() -> None:
    """The outbox delivered in another order. Under its own head that names it; under its successor's, the provider."""
    world = tell(told_by(Role.OUTBOX, lambda content: content[BOB].reverse()), n_epochs=2)
    world.rotate(actor_of(Role.OUTBOX))
    world.rotate(actor_of(Role.OUTBOX))
    world.run(*letters(2))
    beyond = Question(make_seq(LIED, 2, 9), BOB)
    for number, accused in ((LIED, str(actor_of(Role.OUTBOX))), (2, "provider")):
        record = world.absent(beyond, number).record
        assert record is not None
        leaves = world.kept[number][BOB].leaves[LIED]
        finding = HistoryViolation(record, None, None, (place_leaf(leaves, 0), place_leaf(leaves, 1)))
        assert verify_proof(prove(world, finding), (ORIGIN,)).accused == accused
