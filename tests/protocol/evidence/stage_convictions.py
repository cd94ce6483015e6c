"""What convicts a stage of the smallest provider there is, one of each shape. All lies are about the last epoch.

Knows nothing of how it is verified. The roster is that of `tests.protocol.evidence.convictions`.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

from noise.protocol.delta import SignedRoster
from noise.protocol.evidence.material import place_leaf
from noise.protocol.evidence.messages import Omission
from noise.protocol.evidence.openings import CommittedLeaf
from noise.protocol.evidence.proof import make_proof
from noise.protocol.evidence.stage_views import (
    MergeView,
    Question,
    SignedMerge,
    StageCustody,
    make_route_view,
    make_sheet_view,
    open_recipients,
)
from noise.protocol.evidence.stages import StageInsertion, StageOmission
from noise.protocol.evidence.trail import BlameTrail
from noise.protocol.identifiers import Actor, Role, make_seq
from tests.protocol.evidence.stage_lies import alter, at, changed, drop, insert
from tests.protocol.evidence.stage_world import Lie, World
from tests.protocol.story import LAST, letter
from tests.vectors.cast import ORIGIN, device_of, recipients_of

INBOX, ROUTER, RECEIVER, OUTBOX = (Actor(role, 0, 0) for role in list(Role)[:4])
BOB, DAVE = device_of("bob"), device_of("dave")
WANTED = Question(make_seq(LAST, 0, 1), BOB)
UNWANTED = Question(make_seq(LAST, 0, 1), DAVE)
EARLIER = Question(make_seq(LAST - 1, 0, 1), BOB)
US = recipients_of("alice", "bob")


def tell(actor: Actor | None = None, lie: Lie | None = None) -> World:
    """Alice writes to bob in every epoch. One actor lies in the last, a router about what it sorts to the outbox."""
    world = World(1, 1)
    for epoch in range(LAST + 1):
        told = {actor: at(OUTBOX, lie) if actor == ROUTER else lie} if actor and lie and epoch == LAST else None
        world.run([letter("alice", 1 + 3 * epoch, b"one", b"two", b"three")], lies=told)
    return world


@cache
def honest() -> World:
    return tell()


def leaf_at(question: Question) -> bytes:
    return honest().sequenced(question.seq).leaf


def omission(actor: Actor, lie: Callable[[Question], Lie] = drop) -> StageOmission:
    return StageOmission(WANTED, tell(actor, lie(WANTED)).custody(actor, WANTED))


def insertion(actor: Actor) -> StageInsertion:
    world = tell(actor, insert(UNWANTED, leaf_at(WANTED)))
    return StageInsertion(UNWANTED, world.custody(actor, UNWANTED))


def lone_sheet(actor: Actor, lie: Lie, *places: int) -> StageInsertion:
    """The sheet of a router or a receiver alone, with one of bob's messages in it, or two neighbours."""
    made = tell(actor, lie).epochs[LAST].made[actor]
    content = made.content[OUTBOX] if actor == ROUTER else made.content
    leaves = [place_leaf(content[BOB], place) for place in places]
    view = make_sheet_view(content, Question(make_seq(LAST, 0, 0), BOB))
    view = view._replace(leaf=leaves[0], before=None, after=leaves[1] if len(leaves) == 2 else None)
    code, beside = actor.encode(), Question(WANTED.seq, BOB)
    if actor == ROUTER:
        routed = make_route_view(made.signed, made.entries, OUTBOX, {}, beside)._replace(content=view)
        return StageInsertion(WANTED, StageCustody(code, routed=routed))
    return StageInsertion(WANTED, StageCustody(code, merged=MergeView(SignedMerge(*made.signed), view)))


def trail() -> BlameTrail:
    world = tell(RECEIVER, drop(WANTED))
    message = CommittedLeaf(world.sequenced(WANTED.seq), None)
    case = Omission(message, open_recipients(US, BOB)[0], world.absent(WANTED))
    proof = make_proof(ORIGIN, [SignedRoster(*signed) for signed in world.rosters], case)
    answers = [answer._replace(rosters=()) for answer in world.answers(WANTED)]
    return BlameTrail(proof, tuple(answers))


def swap(content: dict[bytes, list[bytes]]) -> None:
    """Bob's messages in another order."""
    content[BOB].reverse()


def add_lane_of_nobody(content: dict[bytes, list[bytes]]) -> None:
    content[BOB].append(changed(content[BOB][-1], seq=make_seq(LAST, 7, 0)))


def add_no_message(content: dict[bytes, list[bytes]]) -> None:
    content[BOB].append(content[BOB][-1] + b"!")


STAGE_CONVICTIONS: dict[str, Callable[[], Any]] = {
    "StageOmission, router": partial(omission, ROUTER),
    "StageOmission, receiver": partial(omission, RECEIVER),
    "StageOmission, outbox": partial(omission, OUTBOX),
    "StageOmission, other bytes": partial(omission, RECEIVER, alter),
    "StageOmission, by its trail": trail,
    "StageInsertion, router": partial(insertion, ROUTER),
    "StageInsertion, receiver": partial(insertion, RECEIVER),
    "StageInsertion, outbox": partial(insertion, OUTBOX),
    "StageInsertion, another epoch": lambda: lone_sheet(ROUTER, insert(EARLIER, leaf_at(WANTED)), 0),
    "StageInsertion, another lane": lambda: lone_sheet(RECEIVER, add_lane_of_nobody, 3),
    "StageInsertion, no message": lambda: lone_sheet(RECEIVER, add_no_message, 3),
    "StageInsertion, order": lambda: lone_sheet(ROUTER, swap, 0, 1),
}
