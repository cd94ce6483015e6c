"""Sorts the messages of a sealed lane by the outboxes of their recipients, and signs a sheet of it.

Knows nothing of mailbox states, of other lanes, or of what outboxes do. What it is given must lead to the manifest that
its inbox signed, or it signs nothing.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import NamedTuple

import trio

from noise.exchange.base import Exchange
from noise.pipeline.batches import Accepted, Part, Parts, RoutedLane, SealedLane
from noise.pipeline.items import gather, hash_items
from noise.pipeline.kept import encode_router_batch
from noise.pipeline.slots import Slots, signed_of
from noise.protocol.errors import ProofError
from noise.protocol.identifiers import Actor, make_seq
from noise.protocol.merkle import Tree, tree_root
from noise.protocol.placement import Rendezvous
from noise.protocol.stages import check_manifest, entry_hash, items_root
from noise.protocol.statements import ROUTE_SHEET, RosterInForce, hash_manifest, hash_route
from noise.store.custody import CustodyRow


class Routed(NamedTuple):
    """How a lane is sorted: parts and number of deliveries of each outbox, by number, and the tree of its entries."""

    parts: list[Parts]
    counts: list[int]
    entries: Tree


def route(sealed: SealedLane, placement: Rendezvous, outboxes: Sequence[Actor]) -> Routed:
    """The one result of sorting a lane. Pure: fsck runs it again."""
    routed: list[Parts] = [[] for _ in outboxes]
    counts = [0] * len(outboxes)
    number = placement.number
    for accepted in sealed.bundles:
        for part, mailboxes in _parts(accepted):
            split: dict[int, list[bytes]] = {}
            for mailbox in mailboxes:
                split.setdefault(number(mailbox), []).append(mailbox)
            for outbox, members in split.items():
                routed[outbox].append((part, members))
                counts[outbox] += len(part.leaf_hashes) * len(members)
    return Routed(routed, counts, hash_entries(routed, outboxes))


def hash_entries(routed: Sequence[Parts], outboxes: Sequence[Actor]) -> Tree:
    """The tree of what there is for each outbox."""
    hashes = []
    for outbox, parts in zip(outboxes, routed, strict=True):
        items = list(hash_items(gather(parts)).values())
        hashes.append(entry_hash(outbox.encode(), len(items), items_root(items)))
    return Tree(hashes)


def check_sealed(sealed: SealedLane, in_force: RosterInForce) -> None:
    """What an inbox passes on is what it signed. Raises DecodeError, ProofError or SignatureError."""
    statement = sealed.statement
    signed = signed_of(statement)
    manifest = check_manifest(signed, in_force.roster, sealed.lane, sealed.epoch)
    hashes: list[bytes] = []
    for accepted in sealed.bundles:
        if accepted.first_seq != make_seq(sealed.epoch, sealed.lane, len(hashes)):
            raise ProofError("a bundle is not at its place", code="wrong-manifest")
        hashes += accepted.leaf_hashes
    if (manifest.n_messages, manifest.root) != (len(hashes), tree_root(hashes)):
        raise ProofError("the lane's bundles do not lead to its manifest", code="wrong-manifest")


class Router:
    """One lane's router. `placement` says which of the `outboxes` keeps a mailbox; `previous`: hash of its last sheet,
    or zeros."""

    def __init__(
        self,
        slots: Slots,
        in_force: RosterInForce,
        placement: Rendezvous,
        outboxes: Sequence[Actor],
        *,
        previous: bytes,
        run_step: Callable[[Callable[[], list[RoutedLane]]], Awaitable[list[RoutedLane]]],
    ) -> None:
        self._slots = slots
        self._in_force = in_force
        self._placement = placement
        self._outboxes = outboxes
        self._previous = previous
        self._run_step = run_step

    def check(self, sealed: SealedLane) -> None:
        """Raises NoiseError for a lane that is not what its inbox signed."""
        check_sealed(sealed, self._in_force)

    def route(self, sealed: SealedLane) -> Routed:
        return route(sealed, self._placement, self._outboxes)

    def step(self, sealed: SealedLane) -> list[RoutedLane]:
        """One batch for each outbox, empty ones included, under one signed sheet."""
        self.check(sealed)
        parts, counts, entries = self.route(sealed)
        slots, epoch, lane = self._slots, sealed.epoch, sealed.lane
        body = ROUTE_SHEET.pack(
            slots.origin,
            slots.actor,
            slots.incarnation,
            epoch,
            self._in_force.roster_hash,
            lane,
            hash_manifest(sealed.statement.body),
            len(self._outboxes),
            entries.root,
            self._previous,
        )
        self._previous = hash_route(body)
        kept = CustodyRow(slots.sign(epoch, body), encode_router_batch(parts))
        return [
            RoutedLane(epoch, lane, sealed.statement, kept, entries.inclusion(number), parts[number], counts[number])
            for number in range(len(self._outboxes))
        ]

    async def run(self, sealed_lanes: "trio.MemoryReceiveChannel[SealedLane]", exchange: Exchange[RoutedLane]) -> None:
        with sealed_lanes:
            async for sealed in sealed_lanes:
                for number, routed in enumerate(await self._run_step(partial(self.step, sealed))):
                    await exchange.send(number, routed)


def _parts(accepted: Accepted) -> list[tuple[Part, Sequence[bytes]]]:
    """A bundle's parts, each with the mailboxes that receive exactly those messages."""
    bundle = accepted.bundle
    whole = Part(accepted, ())
    if len(bundle.recipients) == 1:
        return [(whole, bundle.recipients[0].device_ids)]
    places: dict[bytes, list[int]] = {}
    for place, recipients in enumerate(bundle.recipients):
        for mailbox in recipients.device_ids:
            places.setdefault(mailbox, []).append(place)
    groups: dict[tuple[int, ...], list[bytes]] = {}
    for mailbox, wanted in places.items():
        groups.setdefault(tuple(wanted), []).append(mailbox)
    parts: list[tuple[Part, Sequence[bytes]]] = []
    for wanted_places, mailboxes in groups.items():
        indexes = tuple([i for i, row in enumerate(bundle.rows) if row[0] in wanted_places])
        if len(indexes) == bundle.count:
            parts.append((whole, mailboxes))
        else:
            parts.append((Part(accepted, indexes), mailboxes))
    return parts
