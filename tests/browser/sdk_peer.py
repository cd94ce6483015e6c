"""An SDK client in a thread of its own, for tests whose main thread belongs to a browser.

Knows nothing of browsers.
"""

import queue
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import trio

from noise_client import Client, Delivery, create_device, open_client

WAIT_S = 20


class SdkPeer:
    """Made by `open_peer`. `deliveries`: all that came, its own copies too."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.device = create_device()
        self.deliveries: queue.Queue[Delivery] = queue.Queue()
        self.client: Client
        self._token: trio.lowlevel.TrioToken
        self._scope = trio.CancelScope()
        self._started = threading.Event()

    async def run(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        with self._scope:
            async with open_client(self.url, self.device) as self.client:
                self._started.set()
                async for delivery in self.client.deliveries():
                    self.deliveries.put(delivery)

    def wait_started(self) -> None:
        assert self._started.wait(WAIT_S)

    def send(self, to: bytes, text: str) -> None:
        """Wait for the receipt, too."""
        trio.from_thread.run(self.client.send, [to], text.encode(), trio_token=self._token)

    def call(self, function: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        """Await it where the client lives."""
        return trio.from_thread.run(function, *arguments, trio_token=self._token)

    def texts(self, count: int) -> list[str]:
        """Of the next deliveries."""
        return [self.deliveries.get(timeout=WAIT_S).data.decode() for _ in range(count)]

    def stop(self) -> None:
        trio.from_thread.run_sync(self._scope.cancel, trio_token=self._token)


@contextmanager
def open_peer(url: str) -> Iterator[SdkPeer]:
    """A new device, in memory, that follows its mailbox until the block ends."""
    peer = SdkPeer(url)
    thread = threading.Thread(target=trio.run, args=(peer.run,))
    thread.start()
    peer.wait_started()
    try:
        yield peer
    finally:
        peer.stop()
        thread.join(WAIT_S)
