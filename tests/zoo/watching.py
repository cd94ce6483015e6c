"""Two or three raw clients of a lying provider: what each was shown, at which seq, and what it refused.

Knows nothing of which lie is told. Clients compare nothing with each other: what they notice, each noticed alone.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from noise.demo.zoo.provider import LyingProvider
from noise.protocol.delta import Delta
from noise.protocol.envelope import Bundle, Draft, Recipients, RecipientSet, build_bundle
from noise.protocol.errors import ProviderMisbehaved
from noise.protocol.frames import BundleFrame, DeltaFrame, Receipt, ReceiptFrame
from noise.protocol.identifiers import format_id
from noise.protocol.signing import Signer
from noise.protocol.statements import MANIFEST, Manifest
from tests.e2e.raw_push import RawPush
from tests.load.wire import WireError

SALT = bytes(16)


class Watcher(RawPush):
    """A device that reads all the time. `refusal`: the code with which its follower refused the delta `refused`."""

    def __init__(self, url: str, origin: str, name: str) -> None:
        super().__init__(url, origin, Signer(name.encode().ljust(32, b".")))
        self.name = name
        self.refusal: str | None = None
        self.refused: Delta | None = None
        self.frame_count = 0
        self.is_connected = False
        self.next_ctr = 0
        self._receipts: dict[int, Receipt] = {}
        self._changed = trio.Event()

    async def watch(self) -> None:
        """Verify what comes, until something is refused or the connection ends."""
        try:
            while self.refusal is None:
                frame = await self.next_frame()
                if isinstance(frame, ReceiptFrame):
                    self._receipts[frame.request] = frame.receipt
                elif isinstance(frame, DeltaFrame):
                    self.take(frame)
                self._tell()
        except (EOFError, WireError, trio.BrokenResourceError, trio.ClosedResourceError):
            self.is_connected = False
            self._tell()

    def take(self, frame: DeltaFrame) -> None:
        self.frame_count += 1
        try:
            self.verify(frame)
        except ProviderMisbehaved as error:
            self.refusal, self.refused = error.code, frame.delta

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def bundle(self, texts: list[bytes], *others: "Watcher") -> Bundle:
        """One message to itself and others for each text, with a ciphertext for each recipient."""
        ids = tuple(sorted({self.device_id, *[other.device_id for other in others]}))
        members = Recipients(RecipientSet(SALT, ids))
        drafts = [Draft(members, text, tuple(b"for " + device_id for device_id in ids), 5) for text in texts]
        made = build_bundle(self.signer, self.origin, self.next_ctr, drafts)
        self.next_ctr += made.count
        return made

    async def submit(self, bundle: Bundle) -> None:
        await self.send(BundleFrame(bundle.first_ctr, bundle.encode()))

    async def receipt(self, bundle: Bundle) -> list[bytes]:
        """The verified seqs of a bundle's receipt."""
        while bundle.first_ctr not in self._receipts:
            await self._changed.wait()
        return self.follower.check_receipt(self._receipts[bundle.first_ctr], bundle)

    def manifest(self, bundle: Bundle) -> Manifest:
        """The one in its receipt."""
        return MANIFEST.decode(self._receipts[bundle.first_ctr].manifest.body)

    async def say(self, text: bytes, *others: "Watcher") -> bytes:
        """Send one message, and wait for its receipt; its seq."""
        bundle = self.bundle([text], *others)
        await self.submit(bundle)
        [seq] = await self.receipt(bundle)
        return seq

    async def wait_epoch(self, epoch: int) -> None:
        """Until it has verified this epoch, or refused something."""
        while self.refusal is None and self.follower.trusted.log.size <= epoch:
            await self._changed.wait()

    async def wait_end(self) -> None:
        """Until its connection has ended."""
        while self.is_connected:
            await self._changed.wait()

    async def wait_texts(self, count: int) -> None:
        """Until it has verified so many messages."""
        while len(self.deliveries) < count:
            await self._changed.wait()

    async def wait_frames(self, count: int) -> None:
        """Until so many more deltas came."""
        wanted = self.frame_count + count
        while self.frame_count < wanted:
            await self._changed.wait()

    async def wait_refusal(self) -> str:
        while self.refusal is None:
            await self._changed.wait()
        return self.refusal

    @property
    def heard(self) -> list[tuple[bytes, bytes]]:
        """(seq, text) of all that was verified, in its order."""
        return [(delivery.seq, delivery.common) for delivery in self.deliveries]

    @property
    def texts(self) -> list[bytes]:
        return [text for _, text in self.heard]


class Party:
    """Devices with live connections, each read by a task of its own."""

    def __init__(self, provider: LyingProvider, nursery: trio.Nursery) -> None:
        self._provider = provider
        self._nursery = nursery
        self._members: list[Watcher] = []

    async def join(self, name: str, url: str | None = None) -> Watcher:
        """A device of this name, which has verified its first delta."""
        watcher = Watcher(url or self._provider.url, format_id(self._provider.origin), name)
        self._members.append(watcher)
        await self.reconnect(watcher, url)
        return watcher

    async def reconnect(self, watcher: Watcher, url: str | None = None) -> None:
        """Go on from what it has verified."""
        watcher.host = (url or self._provider.url).removeprefix("http://")
        await watcher.connect()
        frame = await watcher.next_frame()
        if not isinstance(frame, DeltaFrame):
            raise AssertionError(frame)
        watcher.take(frame)
        watcher.is_connected = True
        self._nursery.start_soon(watcher.watch)

    async def close(self) -> None:
        for watcher in self._members:
            await watcher.close()


@asynccontextmanager
async def party_at(provider: LyingProvider) -> AsyncIterator[Party]:
    """Guests of a provider, who leave at the block's end."""
    async with trio.open_nursery() as nursery:
        party = Party(provider, nursery)
        try:
            yield party
        finally:
            with trio.CancelScope(shield=True):
                await party.close()
            nursery.cancel_scope.cancel()
