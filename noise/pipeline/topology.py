"""The systems of the origin document as shapes of one pipeline. Knows nothing of the stages themselves.

`central`: one lane, one outbox, an epoch for each bundle. `multithreaded`: the same stages, their pure steps in worker
threads. `parallel`: any number of inboxes and outboxes as tasks. All give every client the same content, and every pair
of clients the same order.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import trio

from noise.protocol.errors import NoiseError
from noise.protocol.limits import LANES_MAX, OUTBOXES_MAX

T = TypeVar("T")

NAMES = ("central", "multithreaded", "parallel")


class Topology(NamedTuple):
    """`bundles_per_epoch`: None for as many as fit."""

    name: str
    bundles_per_epoch: int | None
    threads: bool

    async def run_step(self, step: Callable[[], T]) -> T:
        """Run a pure step where this topology runs them."""
        if self.threads:
            return await trio.to_thread.run_sync(step)
        return step()


def make_topology(name: str, n_inboxes: int, n_outboxes: int) -> Topology:
    """Raises NoiseError for shapes that do not exist."""
    if name not in NAMES:
        raise NoiseError(f"no topology {name!r}: choose one of {', '.join(NAMES)}", code="bad-option")
    if not (1 <= n_inboxes <= LANES_MAX and 1 <= n_outboxes <= OUTBOXES_MAX):
        raise NoiseError(f"1 to {LANES_MAX} inboxes and 1 to {OUTBOXES_MAX} outboxes", code="bad-option")
    if name == "central" and (n_inboxes, n_outboxes) != (1, 1):
        raise NoiseError("central has one inbox and one outbox: choose parallel for more", code="bad-option")
    return Topology(name, 1 if name == "central" else None, name == "multithreaded")
