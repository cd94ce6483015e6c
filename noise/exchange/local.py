"""The exchange within one process: a bounded memory channel for each outbox. Knows nothing of what it carries."""

import trio

from noise.exchange.base import Exchange, T


class LocalExchange(Exchange[T]):
    """`capacity`: batches that may wait for one outbox."""

    def __init__(self, n_outboxes: int, capacity: int) -> None:
        self._channels = [trio.open_memory_channel[T](capacity) for _ in range(n_outboxes)]

    async def send(self, outbox: int, batch: T) -> None:
        await self._channels[outbox][0].send(batch)

    def arrivals(self, outbox: int) -> "trio.MemoryReceiveChannel[T]":
        return self._channels[outbox][1]

    def close(self) -> None:
        for send, _ in self._channels:
            send.close()
