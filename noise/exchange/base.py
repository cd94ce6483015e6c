"""The hop from routers to receivers, the one that may leave the machine: its contract.

Knows nothing of what a batch is. The contract, sentence by sentence:

- Batches from one router to one outbox arrive in the order in which they were sent, each exactly once.
- `send` waits while the receiver is behind: an exchange holds a bounded number of batches.
- After `close` the receivers get what was sent before, and then their channels end.
"""

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class Exchange(ABC, Generic[T]):
    """Carries batches from any router to the receiver of one outbox."""

    @abstractmethod
    async def send(self, outbox: int, batch: T) -> None:
        """Send one lane's batch to an outbox, by number."""

    @abstractmethod
    def arrivals(self, outbox: int) -> "trio.MemoryReceiveChannel[T]":
        """Where the receiver of an outbox takes its batches. Asked for once."""

    @abstractmethod
    def close(self) -> None:
        """No more sends."""
