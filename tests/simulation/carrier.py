"""What carries words between devices when the provider does not: loses, delays and reorders them.

Knows nothing of what is said.
"""

import random
from collections.abc import Callable

import trio

_DELAYS_S = (0, 0, 0.01, 0.1, 1.0, 4.0)


class Carrier:
    """`deliver(sender, recipient, data)` takes what arrives."""

    def __init__(
        self, nursery: trio.Nursery, rng: random.Random, deliver: Callable[[bytes, bytes, bytes], None]
    ) -> None:
        self._nursery = nursery
        self._rng = rng
        self._deliver = deliver
        self.loss = 0.2
        self.n_carried = 0

    def send(self, sender: bytes, recipient: bytes, data: bytes) -> None:
        if self._rng.random() >= self.loss:
            self._nursery.start_soon(self._carry, sender, recipient, data)

    async def _carry(self, sender: bytes, recipient: bytes, data: bytes) -> None:
        await trio.sleep(self._rng.choice(_DELAYS_S))
        self.n_carried += 1
        self._deliver(sender, recipient, data)
