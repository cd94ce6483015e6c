"""Merges what all lanes hold for one outbox into one order.

Knows nothing of how batches travel from the routers, or of mailbox states.
"""

from collections.abc import Sequence

import trio

from noise.pipeline.batches import MergedEpoch, Part, RoutedLane


class Receiver:
    """One outbox's receiver. An epoch is complete with one batch of each of `n_lanes` lanes."""

    def __init__(self, n_lanes: int) -> None:
        self._n_lanes = n_lanes
        self._waiting: dict[int, list[RoutedLane]] = {}

    def collect(self, routed: RoutedLane) -> MergedEpoch | None:
        """Take one lane's batch; the merged epoch once it is the last."""
        lanes = self._waiting.setdefault(routed.epoch, [])
        lanes.append(routed)
        if len(lanes) < self._n_lanes:
            return None
        return self.step(self._waiting.pop(routed.epoch))

    @staticmethod
    def step(lanes: Sequence[RoutedLane]) -> MergedEpoch:
        """Parts of each mailbox by lane, then position: seq order. Pure."""
        ordered = sorted(lanes, key=lambda routed: routed.lane)
        merged: dict[bytes, list[Part]] = {}
        get = merged.get
        for routed in ordered:
            for part, mailboxes in routed.parts:
                for mailbox in mailboxes:
                    parts = get(mailbox)
                    if parts is None:
                        merged[mailbox] = [part]
                    else:
                        parts.append(part)
        statements = [routed.statement for routed in ordered]
        return MergedEpoch(ordered[0].epoch, statements, merged, sum(routed.n_deliveries for routed in ordered))

    async def run(
        self, lanes: "trio.MemoryReceiveChannel[RoutedLane]", merged: "trio.MemorySendChannel[MergedEpoch]"
    ) -> None:
        with lanes, merged:
            async for routed in lanes:
                epoch = self.collect(routed)
                if epoch is not None:
                    await merged.send(epoch)
