"""Whatever is answered, made of what honest actors signed, names none of them; and with a liar among them, only that.

Knows nothing of which answers are useful: they are put together at random, of views of any question and epoch.
"""

from collections.abc import Callable
from functools import cache
from itertools import product
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noise.protocol.evidence.blame import UNRESPONSIVE, assign_blame
from noise.protocol.evidence.messages import AlteredMessage, Conflict, CounterViolation, Misdelivery, Omission
from noise.protocol.evidence.openings import CommittedLeaf, LeafOpening
from noise.protocol.evidence.proof import make_proof
from noise.protocol.evidence.rosters import Rosters
from noise.protocol.evidence.stage_views import CustodyAnswer, Question, StageCustody, open_recipients
from noise.protocol.evidence.trail import find_liar, open_ways
from noise.protocol.identifiers import Actor, Role, make_seq
from noise.protocol.placement import place_mailbox
from tests.protocol.evidence.stage_lies import alter, at, drop
from tests.protocol.evidence.stage_world import World
from tests.protocol.story import letter
from tests.vectors.cast import ORIGIN, device_of, recipients_of

FIELDS = ("sequenced", "routed", "merged", "head", "delivered", "absent")
N_EPOCHS, LIED = 4, 1
MAILBOXES = [device_of(name) for name in ("alice", "bob", "carol", "dave")]
WANTED = Question(make_seq(LIED, 0, 0), device_of("bob"))
QUESTIONS = [
    WANTED,
    *[
        Question(make_seq(epoch, lane, pos), mailbox)
        for epoch, lane, pos, mailbox in product(range(N_EPOCHS), range(2), (0, 1, 5), MAILBOXES[:3])
    ],
]


@cache
def world_of(liar: Role | None, lie: Callable[..., Any] = drop) -> World:
    """Two lanes, two outboxes. Everybody on the way of WANTED, or all others, go on as the next incarnations."""
    world = World(2, 2)
    outbox = place_mailbox(world.roster, WANTED.mailbox)
    for epoch in range(N_EPOCHS):
        if epoch == 2:
            world.rotate(*world.way(WANTED))
        if epoch == 3:
            world.rotate(Actor(Role.OUTBOX, 0, 1 - outbox.number), Actor(Role.ROUTER, 0, 1))
        lanes = [
            [letter("alice", 1 + 2 * epoch, b"one", b"two", to=("alice", "bob", "carol"))],
            [letter("bob", 1 + epoch, b"three", to=("alice", "bob"))],
        ]
        lies = {}
        if liar is not None and epoch == LIED:
            actor = Actor(liar, 0, outbox.number if liar in (Role.RECEIVER, Role.OUTBOX) else 0)
            lies = {actor: at(outbox, lie(WANTED)) if liar is Role.ROUTER else lie(WANTED)}
        world.run(*lanes, lies=lies)
    return world


@cache
def pool(liar: Role | None, lie: Callable[..., Any] = drop) -> dict[str, list[Any]]:
    """All views that the actors of a world can show, by where they belong in a custody."""
    world = world_of(liar, lie)
    custodies = [
        world.custody(actor, question, number)
        for question in QUESTIONS
        for number in (int.from_bytes(question.seq[:8], "big"), -1)
        for actor in world.way(question)
    ]
    return {name: list(dict.fromkeys(getattr(custody, name) for custody in custodies)) for name in FIELDS}


def made_up(random: Random, world: World, views: dict[str, list[Any]], question: Question) -> CustodyAnswer:
    """Some true views of the question, some of others."""
    custody = world.custody(random.choice(world.way(question)), question)
    for name in random.sample(FIELDS, random.randrange(4)):
        custody = custody._replace(**{name: random.choice(views[name])})
    if random.random() < 0.2:
        custody = StageCustody(custody.actor, **{name: random.choice(views[name]) for name in FIELDS})
    rosters = random.sample(world.signed_rosters(), random.randint(1, len(world.rosters)))
    return CustodyAnswer(tuple(rosters), question, (custody,))


def cases_about(world: World, question: Question) -> list[Any]:
    """What a framer would have explained, of honest words about any message."""
    word, other = world.word(question), world.word(WANTED)
    found: list[Any] = []
    if isinstance(word, LeafOpening) and isinstance(other, LeafOpening):
        one, two = CommittedLeaf(None, word), CommittedLeaf(None, other)
        found += [Conflict(one, two), CounterViolation(one, two), CounterViolation(two, one)]
        found += [AlteredMessage(one, b"", b"", (), (), ()), Misdelivery(word, ())]
        members = recipients_of("alice", "bob", "carol")
        found += [Misdelivery(word, open_recipients(members, question.mailbox))]
    elif isinstance(other, LeafOpening) and not isinstance(word, LeafOpening):
        opening = open_recipients(recipients_of("alice", "bob", "carol"), question.mailbox)[0]
        found.append(Omission(CommittedLeaf(None, other), opening, word))
    return found


@settings(max_examples=25)
@given(st.randoms(use_true_random=False))
def test_the_honest_are_never_named(random: Random) -> None:
    world, views = world_of(None), pool(None)
    question = random.choice(QUESTIONS)
    for case in cases_about(world, question):
        answers = [made_up(random, world, views, random.choice([question, WANTED])) for _ in range(6)]
        rosters = Rosters(ORIGIN, world.signed_rosters())
        assert find_liar(rosters, case, open_ways(rosters, case, answers)) is None


@pytest.mark.parametrize("lie", [drop, alter])
@pytest.mark.parametrize("liar", [Role.ROUTER, Role.RECEIVER, Role.OUTBOX])
def test_only_the_liar_is_ever_proven_to_lie(liar: Role, lie: Callable[..., Any]) -> None:
    world, views = world_of(liar, lie), pool(liar, lie)
    expected = next(actor for actor in world.way(WANTED) if actor.role is liar)
    message = CommittedLeaf(world.sequenced(WANTED.seq), None)
    if lie is drop:
        opening = open_recipients(recipients_of("alice", "bob", "carol"), WANTED.mailbox)[0]
        case: Any = Omission(message, opening, world.absent(WANTED))
    else:
        case = Conflict(message, world.delivered(WANTED))
    proof = make_proof(ORIGIN, world.signed_rosters(), case)
    outcomes = set()
    for seed in range(25):
        random = Random(seed)
        answers = [made_up(random, world, views, WANTED) for _ in range(random.randint(1, 8))]
        found = assign_blame(proof, answers, ORIGIN)
        shuffled = random.sample(answers, len(answers))
        assert assign_blame(proof, shuffled, ORIGIN) == found
        outcomes.add(found.is_proven)
        if found.is_proven:
            assert (found.actor, found.epoch) == (str(expected), LIED)
        else:
            assert found.kind == UNRESPONSIVE
    if liar is not Role.OUTBOX:
        assert outcomes == {True, False}
