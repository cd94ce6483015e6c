"""What a stage was given must be what the one before it signed, or it signs nothing: one attack after the other.

Knows nothing of channels, tasks or the store, nor of what an honest stage makes.
"""

from collections.abc import Callable, Sequence

import pytest

from noise.pipeline.batches import Accepted, MergedEpoch, OutboxEpoch, Part, Parts, RoutedLane, SealedLane
from noise.pipeline.receiver import LaneItems, items_of
from noise.pipeline.router import Routed, hash_entries
from noise.pipeline.router import route as route_lane
from noise.protocol.errors import NoiseError
from noise.protocol.identifiers import Actor, Role, make_seq, parse_seq
from noise.protocol.statements import MANIFEST, MERGE_SHEET, ROUTE_SHEET, STATEMENTS
from noise.store.base import StatementRow
from tests.pipeline.stages import OUTBOXES, PLACEMENT, epochs, make_outbox, make_receiver, make_router, merge, route
from tests.vectors.cast import ORIGIN, actor_key

LANES = max(epochs(1), key=lambda lanes: sum(len(sealed.bundles) for sealed in lanes))
FULL = max(LANES, key=lambda sealed: len(sealed.bundles))
ROUTED = route(LANES)
NUMBER = max(range(len(ROUTED)), key=lambda n: sum(len(routed.parts) for routed in ROUTED[n]))
MERGED = merge(NUMBER, ROUTED[NUMBER])


def resigned(row: StatementRow, signer: Actor, **changes: object) -> StatementRow:
    """Another statement in its place, signed by whoever."""
    role = Role(row.actor[0])
    codec = {Role.INBOX: MANIFEST, Role.ROUTER: ROUTE_SHEET, Role.RECEIVER: MERGE_SHEET}[role]
    body = codec.encode(codec.decode(row.body)._replace(**changes))
    signed = actor_key(signer).sign(STATEMENTS[role][0], ORIGIN, body)
    return row._replace(body=body, signature=signed.signature)


def own(row: StatementRow, **changes: object) -> StatementRow:
    """The actor itself signs another one."""
    return resigned(row, Actor(Role(row.actor[0]), 0, int.from_bytes(row.actor[3:], "big")), **changes)


SEALED: dict[str, Callable[[SealedLane], SealedLane]] = {
    "a bundle is left out": lambda lane: lane._replace(bundles=lane.bundles[1:]),
    "a bundle is in twice": lambda lane: lane._replace(bundles=[*lane.bundles, lane.bundles[-1]]),
    "bundles change places": lambda lane: lane._replace(bundles=lane.bundles[::-1]),
    "another epoch's manifest": lambda lane: lane._replace(epoch=lane.epoch + 1),
    "another lane's manifest": lambda lane: lane._replace(lane=lane.lane + 1),
    "not signed": lambda lane: lane._replace(statement=lane.statement._replace(signature=bytes(64))),
    "signed by another actor": lambda lane: lane._replace(
        statement=resigned(lane.statement, Actor(Role.ROUTER, 0, lane.lane))
    ),
    "more messages": lambda lane: lane._replace(statement=own(lane.statement, n_messages=10_000)),
    "an ended incarnation": lambda lane: lane._replace(statement=own(lane.statement, incarnation=7)),
}


@pytest.mark.parametrize("attack", SEALED)
def test_router(attack: str) -> None:
    with pytest.raises(NoiseError):
        make_router(FULL.lane).step(SEALED[attack](FULL))


def sheet(routed: RoutedLane, row: StatementRow) -> RoutedLane:
    return routed._replace(kept=routed.kept._replace(statement=row))


ROUTES: dict[str, Callable[[RoutedLane], RoutedLane]] = {
    "a part is left out": lambda routed: routed._replace(parts=routed.parts[1:]),
    "a part is in twice": lambda routed: routed._replace(parts=[*routed.parts, routed.parts[0]]),
    "a mailbox more": lambda routed: routed._replace(
        parts=[(routed.parts[0][0], [*routed.parts[0][1], bytes(32)]), *routed.parts[1:]]
    ),
    "another outbox's entry": lambda routed: routed._replace(
        parts=ROUTED[NUMBER - 1][LANES.index(FULL)].parts, entry_proof=ROUTED[NUMBER - 1][LANES.index(FULL)].entry_proof
    ),
    "not signed": lambda routed: sheet(routed, routed.kept.statement._replace(signature=bytes(64))),
    "signed by another actor": lambda routed: sheet(
        routed, resigned(routed.kept.statement, Actor(Role.OUTBOX, 0, NUMBER))
    ),
    "another manifest": lambda routed: sheet(routed, own(routed.kept.statement, manifest_hash=bytes(32))),
    "another epoch": lambda routed: sheet(routed, own(routed.kept.statement, epoch=99)),
    "another lane": lambda routed: sheet(routed, own(routed.kept.statement, lane=9)),
    "another roster": lambda routed: sheet(routed, own(routed.kept.statement, roster_hash=bytes(32))),
    "fewer outboxes": lambda routed: sheet(routed, own(routed.kept.statement, n_outboxes=1)),
    "an ended incarnation": lambda routed: sheet(routed, own(routed.kept.statement, incarnation=7)),
}


@pytest.mark.parametrize("attack", ROUTES)
def test_receiver(attack: str) -> None:
    batches = [ROUTES[attack](one) if one.lane == FULL.lane else one for one in ROUTED[NUMBER]]
    with pytest.raises(NoiseError):
        make_receiver(NUMBER).step(batches)


def merge_sheet(merged: MergedEpoch, row: StatementRow) -> MergedEpoch:
    return merged._replace(kept=merged.kept._replace(statement=row))


def without_one(merged: MergedEpoch) -> MergedEpoch:
    mailbox = next(iter(merged.parts))
    return merged._replace(parts={one: parts for one, parts in merged.parts.items() if one != mailbox})


def without_a_part(merged: MergedEpoch) -> MergedEpoch:
    mailbox = max(merged.parts, key=lambda one: len(merged.parts[one]))
    return merged._replace(parts=merged.parts | {mailbox: merged.parts[mailbox][1:]})


MERGES: dict[str, Callable[[MergedEpoch], MergedEpoch]] = {
    "a mailbox is left out": without_one,
    "a part is left out": without_a_part,
    "a mailbox more": lambda merged: merged._replace(
        parts=merged.parts | {bytes(32): next(iter(merged.parts.values()))}
    ),
    "not signed": lambda merged: merge_sheet(merged, merged.kept.statement._replace(signature=bytes(64))),
    "signed by another actor": lambda merged: merge_sheet(
        merged, resigned(merged.kept.statement, Actor(Role.OUTBOX, 0, NUMBER))
    ),
    "another epoch": lambda merged: merge_sheet(merged, own(merged.kept.statement, epoch=99)),
    "another roster": lambda merged: merge_sheet(merged, own(merged.kept.statement, roster_hash=bytes(32))),
    "a lane left out": lambda merged: merge_sheet(merged, own(merged.kept.statement, inputs=())),
    "an ended incarnation": lambda merged: merge_sheet(merged, own(merged.kept.statement, incarnation=7)),
}


@pytest.mark.parametrize("attack", MERGES)
def test_outbox(attack: str) -> None:
    outbox = make_outbox(NUMBER)
    before = outbox.states
    with pytest.raises(NoiseError):
        outbox.step(MERGES[attack](MERGED))
    assert outbox.states is before


Edit = Callable[[Parts], Parts]


def another_epoch(part: Part) -> Part:
    accepted = Accepted(part.bundle, b"", part.bundle_id, make_seq(part.first_place >> 64 ^ 1, FULL.lane, 0))
    return Part(accepted, part.indexes)


def another_lane(part: Part) -> Part:
    epoch, _, pos = parse_seq(part.first_seq)
    return Part(Accepted(part.bundle, b"", part.bundle_id, make_seq(epoch, 9, pos)), part.indexes)


MISPLACED: dict[str, Edit] = {
    "a mailbox of another outbox": lambda parts: [
        *parts,
        (parts[-1][0], [next(bytes([n]) * 32 for n in range(99) if PLACEMENT.number(bytes([n]) * 32) != NUMBER)]),
    ],
    "out of order": lambda parts: parts[::-1],
    "twice": lambda parts: [*parts, parts[-1]],
    "another epoch": lambda parts: [*parts[:-1], (another_epoch(parts[-1][0]), parts[-1][1])],
    "another lane": lambda parts: [*parts[:-1], (another_lane(parts[-1][0]), parts[-1][1])],
}
"""What no sheet may hold: whoever signs over it is convicted by that sheet alone, so it must not be passed on."""


@pytest.mark.parametrize("name", MISPLACED)
def test_receiver_signs_nothing_over_what_no_sheet_may_hold(name: str) -> None:
    """By a router that signs for all of it."""
    router = make_router(FULL.lane)

    def lie(sealed: SealedLane) -> Routed:
        parts = route_lane(sealed, PLACEMENT, OUTBOXES).parts
        parts[NUMBER] = MISPLACED[name](parts[NUMBER])
        return Routed(parts, [0] * len(OUTBOXES), hash_entries(parts, OUTBOXES))

    setattr(router, "route", lie)  # noqa: B010
    lied = router.step(FULL)[NUMBER]
    with pytest.raises(NoiseError, match=r"sheet|order|epoch"):
        make_receiver(NUMBER).step([lied if one.lane == FULL.lane else one for one in ROUTED[NUMBER]])


@pytest.mark.parametrize("name", MISPLACED)
def test_outbox_signs_nothing_over_what_no_sheet_may_hold(name: str) -> None:
    """By a receiver that signs for all of it."""
    receiver = make_receiver(NUMBER)

    def lie(lanes: Sequence[RoutedLane], _: object) -> tuple[LaneItems, Parts]:
        groups = MISPLACED[name]([group for routed in lanes for group in routed.parts])
        return items_of(groups), groups

    setattr(receiver, "merge", lie)  # noqa: B010
    with pytest.raises(NoiseError, match=r"sheet|order|epoch|no range"):
        make_outbox(NUMBER).step(receiver.step(ROUTED[NUMBER]))


def test_what_is_true_passes() -> None:
    made: OutboxEpoch = make_outbox(NUMBER).step(merge(NUMBER, ROUTED[NUMBER]))
    assert made.touched
