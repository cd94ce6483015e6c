"""What the faces of a provider get to see of it. Knows nothing of HTTP."""

from collections.abc import Callable, Container
from typing import NamedTuple

from noise.pipeline.assembly import Pipeline
from noise.protocol.delta import SignedRoster
from noise.store.base import Store


class Gateway(NamedTuple):
    """An open provider. `rosters`: all, in order. `time_ms`: the wall clock.

    `public_hosts`: the names, with their ports, by which clients reach it; empty: whatever name they use.
    `devices_max`: how many devices may have prekeys.
    """

    origin: bytes
    pipeline: Pipeline
    store: Store
    rosters: list[SignedRoster]
    time_ms: Callable[[], int]
    public_hosts: frozenset[str] = frozenset()
    devices_max: int = 1_000_000

    def audiences(self, host_header: str) -> Container[str]:
        """The hosts for which a proof may have been made, in a request with this Host header.

        A relay can send any Host header: only `public_hosts` keep it from using a proof that was made for itself.
        """
        return self.public_hosts or (host_header,)
