"""bob's end of gossip links, for tests of whoever links to him.

Must not know: what any test is about.
"""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from noise.protocol.gossip import LinkChallenge, SectionRequest, encode_gossip
from noise_client import Device
from noise_client.gossip_link import GossipLink, serve
from tests.client.devices import BOB
from tests.vectors.cast import ORIGIN, seed_of

CAROL = Device(seed_of("carol"))
A_FRAME = encode_gossip(SectionRequest(1, 2, 3))


class Bob:
    """bob's end of every link: what came over each, in order of their beginnings."""

    def __init__(self) -> None:
        self.peers: list[bytes] = []
        self.heard: list[bytes] = []
        self.n_open = 0
        self._changed = trio.Event()

    async def handle(self, link: GossipLink) -> None:
        self.peers.append(link.peer)
        self.n_open += 1
        try:
            while True:
                self._tell()
                frame = await link.receive()
                self.heard.append(frame)
                await link.send(frame)
        finally:
            self.n_open -= 1
            self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def wait(self, is_true: Callable[[], bool]) -> None:
        while not is_true():
            await self._changed.wait()


@asynccontextmanager
async def serving_bob(
    origin: bytes | None = ORIGIN, *, port: int = 0, context: ssl.SSLContext | None = None, bob: Bob | None = None
) -> AsyncIterator[tuple[Bob, str]]:
    """bob, who answers every frame with itself, and his URL."""
    bob = bob or Bob()
    async with trio.open_nursery() as nursery:
        got = await nursery.start(serve, "127.0.0.1", port, BOB, lambda: origin, bob.handle, context)
        yield bob, f"{'wss' if context else 'ws'}://127.0.0.1:{got}"
        nursery.cancel_scope.cancel()


def claim(device_id: bytes, origin: bytes = ORIGIN) -> bytes:
    return encode_gossip(LinkChallenge(origin, device_id, b"n" * 32))
