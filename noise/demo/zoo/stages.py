"""How a single actor of the pipeline comes to sign a lie: what it makes of a batch is edited before it signs.

Knows nothing of any lie. Each actor still checks what it was given, and keeps of it what an honest one keeps: a router
what it made, the others what they got. An outbox signs what its own sheet does not have.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from noise.pipeline.batches import MergedEpoch, Part, Parts, RoutedLane, SealedLane
from noise.pipeline.items import gather, hash_items
from noise.pipeline.outbox import Delivered, Outbox
from noise.pipeline.receiver import LaneItems, Receiver
from noise.pipeline.router import Routed, Router, hash_entries
from noise.protocol.identifiers import Actor, parse_actor
from noise.protocol.statements import MANIFEST
from noise.store.base import StatementRow


class Batch(NamedTuple):
    """What an honest actor `by` would make of an epoch for one outbox, by number: the parts of each mailbox, in order.

    `n_messages`: of each lane in it, by lane.
    """

    by: Actor
    epoch: int
    outbox: int
    n_messages: Mapping[int, int]
    parts: dict[bytes, list[Part]]


Edit: TypeAlias = Callable[[Batch], dict[bytes, list[Part]]]
"""What a liar makes of a batch. The very same `parts`: it does not lie."""

EditLane: TypeAlias = Callable[[Sequence[Batch]], list[dict[bytes, list[Part]]]]
"""The same of a lane, for all outboxes in order."""


def lie_in_router(router: Router, edit: EditLane) -> None:
    """Let a router sign, keep and pass on what `edit` makes of its lane."""
    honest, by = router.route, parse_actor(router._slots.actor)

    def route(sealed: SealedLane) -> Routed:
        routed = honest(sealed)
        n_messages = _sizes([sealed.statement])
        batches = [Batch(by, sealed.epoch, n, n_messages, gather(parts)) for n, parts in enumerate(routed.parts)]
        edited = edit(batches)
        parts = [_regroup(*three) for three in zip(routed.parts, batches, edited, strict=True)]
        return Routed(parts, routed.counts, hash_entries(parts, router._outboxes))

    router.route = route  # type: ignore[method-assign]


def lie_in_receiver(receiver: Receiver, edit: Edit) -> None:
    """Let a receiver sign and pass on what `edit` makes of what it merged."""
    honest, by = receiver.merge, parse_actor(receiver._slots.actor)

    def merge(lanes: Sequence[RoutedLane], items: Sequence[LaneItems]) -> tuple[LaneItems, Parts]:
        merged, groups = honest(lanes, items)
        n_messages = _sizes([routed.manifest for routed in lanes])
        batch = Batch(by, lanes[0].epoch, by.number, n_messages, merged.parts)
        edited = edit(batch)
        if edited is merged.parts:
            return merged, groups
        groups = _regroup(groups, batch, edited)
        parts = gather(groups)
        return LaneItems(parts, hash_items(parts)), groups

    receiver.merge = merge  # type: ignore[method-assign]


def lie_in_outbox(outbox: Outbox, edit: Edit) -> None:
    """Let an outbox deliver, and sign, what `edit` makes of an epoch."""
    honest, check, by = outbox.deliver, outbox.check, parse_actor(outbox._slots.actor)

    def deliver(merged: MergedEpoch) -> Delivered:
        batch = Batch(by, merged.epoch, by.number, _sizes(merged.manifests), merged.parts)
        return honest(merged._replace(parts=edit(batch)))

    def look_at_its_input_only(merged: MergedEpoch, items: Sequence[bytes]) -> None:
        check(merged, list(hash_items(merged.parts).values()))

    outbox.deliver = deliver  # type: ignore[method-assign]
    outbox.check = look_at_its_input_only  # type: ignore[method-assign]


def _sizes(manifests: Sequence[StatementRow]) -> dict[int, int]:
    return {manifest.lane: manifest.n_messages for manifest in (MANIFEST.decode(row.body) for row in manifests)}


def _regroup(groups: Parts, batch: Batch, edited: dict[bytes, list[Part]]) -> Parts:
    """Groups that come to `edited`: mailboxes that are lied to have groups of their own."""
    deceived = {m for m in batch.parts.keys() | edited.keys() if batch.parts.get(m) != edited.get(m)}
    if not deceived:
        return groups
    kept: Parts = [(part, [m for m in mailboxes if m not in deceived]) for part, mailboxes in groups]
    own: Parts = [(part, [mailbox]) for mailbox in sorted(deceived) for part in edited.get(mailbox, [])]
    return [group for group in kept if group[1]] + own
