"""What the faces of a provider get to see of it. Knows nothing of HTTP."""

from collections.abc import Callable, Container
from typing import NamedTuple

from noise.pipeline.assembly import Pipeline
from noise.pipeline.batches import CommittedEpoch
from noise.pipeline.custody import CustodyDesk
from noise.protocol.delta import SignedRoster
from noise.protocol.errors import Rejected
from noise.store.base import Store


class Gateway(NamedTuple):
    """An open provider. `rosters`: all, in order. `time_ms`: the wall clock.

    `public_hosts`: the names, with their ports, by which clients reach it; empty: whatever name they use.
    `devices_max`: how many devices may have prekeys. `auditors`: ids of those who may see who received what.
    """

    origin: bytes
    pipeline: Pipeline
    store: Store
    rosters: list[SignedRoster]
    time_ms: Callable[[], int]
    public_hosts: frozenset[str] = frozenset()
    devices_max: int = 1_000_000
    auditors: frozenset[bytes] = frozenset()

    @property
    def custody_desk(self) -> CustodyDesk:
        """Where actors answer for what they did."""
        return self.pipeline.custody_desk

    def view(self) -> CommittedEpoch:
        """What may be seen from outside. Raises Rejected."""
        view = self.pipeline.fanout.view
        if view is None:
            raise Rejected("starting: no epoch is committed yet", code="unavailable")
        return view

    def check_committed(self, size: int) -> None:
        """Raises Rejected for a log size that is not committed yet, though the log in memory may have it already."""
        if size > self.view().epoch + 1:
            raise Rejected("the log has not grown to this size yet", code="not-committed")

    def audiences(self, host_header: str) -> Container[str]:
        """The hosts for which a proof may have been made, in a request with this Host header.

        A relay can send any Host header: only `public_hosts` keep it from using a proof that was made for itself.
        """
        return self.public_hosts or (host_header,)
