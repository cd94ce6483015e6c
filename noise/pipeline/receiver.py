"""Merges what all lanes hold for one outbox into one order, and signs a sheet of it.

Knows nothing of how batches travel from the routers, or of mailbox states. What it is given must be what the routers'
sheets have for its outbox, or it signs nothing.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import NamedTuple

import trio

from noise.pipeline.batches import MergedEpoch, Part, Parts, RoutedLane
from noise.pipeline.items import check_places, content_of, gather, hash_items
from noise.pipeline.kept import encode_receiver_batch
from noise.pipeline.slots import Slots, signed_of
from noise.protocol.identifiers import Actor
from noise.protocol.placement import Rendezvous
from noise.protocol.stages import check_entry, check_route_sheet, item_hash, items_root
from noise.protocol.statements import MERGE_SHEET, MergeSheet, RosterInForce, hash_manifest, hash_merge, hash_route
from noise.store.custody import CustodyRow


class LaneItems(NamedTuple):
    """One lane's parts by mailbox, mailboxes rising, and the item hash of each."""

    parts: dict[bytes, list[Part]]
    hashes: dict[bytes, bytes]


def items_of(parts: Parts) -> LaneItems:
    """Of one lane's batch."""
    gathered = gather(parts)
    return LaneItems(gathered, hash_items(gathered))


def merge(lanes: Sequence[LaneItems]) -> LaneItems:
    """The one result of merging lanes, in their order: seq order. Pure: fsck runs it again."""
    if len(lanes) == 1:
        return lanes[0]
    merged: dict[bytes, list[Part]] = {}
    several: set[bytes] = set()
    hashes: dict[bytes, bytes] = {}
    for lane in lanes:
        hashes |= lane.hashes
        for mailbox, parts in lane.parts.items():
            known = merged.get(mailbox)
            if known is None:
                merged[mailbox] = list(parts)
            else:
                known += parts
                several.add(mailbox)
    for mailbox in several:
        hashes[mailbox] = item_hash(mailbox, *content_of(merged[mailbox]))
    ordered = sorted(merged)
    return LaneItems(
        {mailbox: merged[mailbox] for mailbox in ordered}, {mailbox: hashes[mailbox] for mailbox in ordered}
    )


def check_routed(
    routed: RoutedLane, items: LaneItems, in_force: RosterInForce, placement: Rendezvous, outbox: Actor
) -> None:
    """What a router passes on is what it signed, and may be there. Raises DecodeError, ProofError or SignatureError."""
    statement = routed.kept.statement
    signed = signed_of(statement)
    manifest_hash = hash_manifest(routed.manifest.body)
    sheet = check_route_sheet(signed, *in_force, routed.lane, routed.epoch, manifest_hash)
    check_entry(sheet, outbox, list(items.hashes.values()), routed.entry_proof)
    check_places(items.parts, routed.epoch, (routed.lane,), placement, outbox)


class Receiver:
    """One outbox's receiver. An epoch is complete with one batch of each lane of the roster. `previous`: hash of its
    last sheet, or zeros."""

    def __init__(
        self,
        slots: Slots,
        in_force: RosterInForce,
        placement: Rendezvous,
        outbox: Actor,
        *,
        previous: bytes,
        run_step: Callable[[Callable[[], MergedEpoch]], Awaitable[MergedEpoch]],
    ) -> None:
        self._slots = slots
        self._in_force = in_force
        self._placement = placement
        self._outbox = outbox
        self._previous = previous
        self._run_step = run_step
        self._waiting: dict[int, list[RoutedLane]] = {}

    def collect(self, routed: RoutedLane) -> list[RoutedLane] | None:
        """Take one lane's batch; the epoch's lanes once it is the last."""
        lanes = self._waiting.setdefault(routed.epoch, [])
        lanes.append(routed)
        if len(lanes) < len(self._in_force.roster.lanes):
            return None
        return self._waiting.pop(routed.epoch)

    def check(self, routed: RoutedLane, items: LaneItems) -> None:
        """Raises NoiseError for a batch that is not what its router signed."""
        check_routed(routed, items, self._in_force, self._placement, self._outbox)

    def merge(self, lanes: Sequence[RoutedLane], items: Sequence[LaneItems]) -> tuple[LaneItems, Parts]:
        """(all lanes by mailbox, their groups in order). `lanes`: in order; `items`: the same by mailbox."""
        return merge(items), [group for routed in lanes for group in routed.parts]

    def step(self, lanes: Sequence[RoutedLane]) -> MergedEpoch:
        """Parts of each mailbox by lane, then position: seq order. Under one signed sheet."""
        ordered = sorted(lanes, key=lambda routed: routed.lane)
        items = [items_of(routed.parts) for routed in ordered]
        for routed, its in zip(ordered, items, strict=True):
            self.check(routed, its)
        merged, groups = self.merge(ordered, items)
        slots, epoch = self._slots, ordered[0].epoch
        inputs = tuple([hash_route(routed.kept.statement.body) for routed in ordered])
        hashes = list(merged.hashes.values())
        body = MERGE_SHEET.encode(
            MergeSheet(
                slots.origin,
                slots.actor,
                slots.incarnation,
                epoch,
                self._in_force.roster_hash,
                inputs,
                len(hashes),
                items_root(hashes),
                self._previous,
            )
        )
        self._previous = hash_merge(body)
        batch = encode_receiver_batch([(routed.entry_proof, routed.parts) for routed in ordered])
        return MergedEpoch(
            epoch,
            [routed.manifest for routed in ordered],
            [routed.kept for routed in ordered],
            CustodyRow(slots.sign(epoch, body), batch),
            merged.parts,
            groups,
            sum(routed.n_deliveries for routed in ordered),
        )

    async def run(
        self, lanes: "trio.MemoryReceiveChannel[RoutedLane]", merged: "trio.MemorySendChannel[MergedEpoch]"
    ) -> None:
        with lanes, merged:
            async for routed in lanes:
                complete = self.collect(routed)
                if complete is not None:
                    await merged.send(await self._run_step(partial(self.step, complete)))
