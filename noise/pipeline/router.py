"""Sorts the messages of a sealed lane by the outboxes of their recipients.

Knows nothing of mailbox states, of other lanes, or of what outboxes do.
"""

from collections.abc import Sequence

import trio

from noise.exchange.base import Exchange
from noise.pipeline.batches import Accepted, Part, RoutedLane, SealedLane
from noise.protocol.placement import Rendezvous


class Router:
    """One lane's router. `placement` says which outbox keeps a mailbox."""

    def __init__(self, placement: Rendezvous, n_outboxes: int) -> None:
        self._placement = placement
        self._n_outboxes = n_outboxes

    def step(self, sealed: SealedLane) -> list[RoutedLane]:
        """One batch for each outbox, empty ones included. Pure."""
        routed: list[list[tuple[Part, list[bytes]]]] = [[] for _ in range(self._n_outboxes)]
        counts = [0] * self._n_outboxes
        number = self._placement.number
        for accepted in sealed.bundles:
            for part, mailboxes in _parts(accepted):
                split: dict[int, list[bytes]] = {}
                for mailbox in mailboxes:
                    split.setdefault(number(mailbox), []).append(mailbox)
                for outbox, members in split.items():
                    routed[outbox].append((part, members))
                    counts[outbox] += len(part.leaf_hashes) * len(members)
        epoch, lane, statement, _ = sealed
        return [RoutedLane(epoch, lane, statement, parts, n) for parts, n in zip(routed, counts, strict=True)]

    async def run(self, sealed_lanes: "trio.MemoryReceiveChannel[SealedLane]", exchange: Exchange[RoutedLane]) -> None:
        with sealed_lanes:
            async for sealed in sealed_lanes:
                for number, routed in enumerate(self.step(sealed)):
                    await exchange.send(number, routed)


def _parts(accepted: Accepted) -> list[tuple[Part, Sequence[bytes]]]:
    """A bundle's parts, each with the mailboxes that receive exactly those messages."""
    bundle = accepted.bundle
    whole = Part(bundle, accepted.bundle_id, accepted.first_seq, (), accepted.leaf_hashes)
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
            hashes = [accepted.leaf_hashes[i] for i in indexes]
            parts.append((Part(bundle, accepted.bundle_id, accepted.first_seq, indexes, hashes), mailboxes))
    return parts
