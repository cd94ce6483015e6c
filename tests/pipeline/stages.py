"""Stages without channels: the actors of one roster, and sealed lanes for them.

Knows nothing of tasks or the store, nor of what is expected of a stage.
"""

from collections.abc import Sequence
from random import Random
from typing import Any

from noise.pipeline.batches import Accepted, MergedEpoch, RoutedLane, SealedLane
from noise.pipeline.outbox import Outbox
from noise.pipeline.receiver import Receiver
from noise.pipeline.router import Router
from noise.pipeline.slots import Slots
from noise.pipeline.writeback import Writeback
from noise.protocol.envelope import Bundle
from noise.protocol.history import History
from noise.protocol.identifiers import Actor, Role, make_seq
from noise.protocol.merkle import tree_root
from noise.protocol.placement import Rendezvous
from noise.protocol.state_map import StateMap
from noise.protocol.statements import (
    MANIFEST,
    ROSTER,
    STATEMENTS,
    Manifest,
    RosterInForce,
    hash_roster,
)
from noise.store.base import ID_STEP, StatementRow
from tests.pipeline.harness import workload
from tests.vectors.cast import ORIGIN, actor_key, make_roster

N_LANES, N_OUTBOXES = 3, 4
OUTBOXES = [Actor(Role.OUTBOX, 0, n) for n in range(N_OUTBOXES)]
PLACEMENT = Rendezvous(OUTBOXES)
ROSTER_OF_ALL = make_roster(N_LANES, N_OUTBOXES)
IN_FORCE = RosterInForce(ROSTER_OF_ALL, hash_roster(ROSTER.encode(ROSTER_OF_ALL)))


async def run_step(step: Any) -> Any:
    return step()


def make_slots(actor: Actor, next_epoch: int = 0) -> Slots:
    return Slots(actor_key(actor), STATEMENTS[actor.role][0], ORIGIN, actor, 0, next_epoch)


def make_router(lane: int = 0) -> Router:
    slots = make_slots(Actor(Role.ROUTER, 0, lane))
    return Router(slots, IN_FORCE, PLACEMENT, OUTBOXES, previous=bytes(32), run_step=run_step)


def make_receiver(number: int = 0) -> Receiver:
    slots = make_slots(Actor(Role.RECEIVER, 0, number))
    return Receiver(slots, IN_FORCE, PLACEMENT, OUTBOXES[number], previous=bytes(32), run_step=run_step)


def make_outbox(number: int = 0, next_epoch: int = 0) -> Outbox:
    return Outbox(
        OUTBOXES[number],
        make_slots(OUTBOXES[number], next_epoch),
        IN_FORCE,
        PLACEMENT,
        StateMap[History].empty(),
        previous=bytes(32),
        writeback=Writeback(),
        run_step=run_step,
    )


def sealed_lane(epoch: int, lane: int, bundles: Sequence[Bundle], first_number: int) -> SealedLane:
    accepted: list[Accepted] = []
    hashes: list[bytes] = []
    for number, bundle in enumerate(bundles, first_number):
        first_seq = make_seq(epoch, lane, len(hashes))
        accepted.append(Accepted(bundle, bundle.encode(), number * ID_STEP | lane, first_seq))
        hashes += accepted[-1].leaf_hashes
    inbox = Actor(Role.INBOX, 0, lane)
    body = MANIFEST.encode(Manifest(ORIGIN, inbox.encode(), 0, epoch, lane, len(hashes), tree_root(hashes), bytes(32)))
    signed = actor_key(inbox).sign("manifest", ORIGIN, body)
    return SealedLane(epoch, lane, StatementRow(epoch, inbox.encode(), 0, body, signed.signature), accepted)


def epochs(seed: int) -> list[list[SealedLane]]:
    """A few epochs of all lanes; some lanes are empty in some."""
    random = Random(seed)
    bundles = workload(ORIGIN, seed, 7, 30)
    made: list[list[SealedLane]] = []
    number = 0
    while bundles:
        lanes: list[list[Bundle]] = [[] for _ in range(N_LANES)]
        for _ in range(min(random.randint(0, 8), len(bundles))):
            bundle = bundles.pop(0)
            lanes[bundle.sender[0] % N_LANES].append(bundle)
        made.append([sealed_lane(len(made), lane, part, number) for lane, part in enumerate(lanes)])
        number += 10
    return made


def route(lanes: Sequence[SealedLane]) -> list[list[RoutedLane]]:
    """By outbox."""
    return [list(one) for one in zip(*(make_router(sealed.lane).step(sealed) for sealed in lanes), strict=True)]


def merge(number: int, batches: Sequence[RoutedLane]) -> MergedEpoch:
    return make_receiver(number).step(batches)
