"""Devices with a store, keys and a sealer of their own, and a provider's HTTP face that needs no socket.

Must not know: what a test has them say.
"""

from typing import NoReturn, Protocol

import httpx
import trio
import trio.testing

from noise.protocol import delta
from noise.protocol.delta import RecipientLists
from noise.protocol.envelope import Bundle
from noise.protocol.follower import Follower
from noise.protocol.frames import Receipt
from noise_client import Device, MemoryTrustStore, TrustStore
from noise_client.prekeys import OwnPrekeys
from noise_client.provider_http import ProviderHttp
from noise_client.sealer import Sealer
from noise_client.trust_store import StoreCalls
from tests.client.prekey_desk import PrekeyDesk
from tests.client.tiny_provider import TinyProvider
from tests.vectors.cast import ORIGIN, seed_of


class Desk(Protocol):
    """Whatever answers over HTTP."""

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """(HTTP status, body)."""


class _DeskTransport(httpx.AsyncBaseTransport):
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        await trio.lowlevel.checkpoint()
        status, content = self._desk.answer(request.method, request.url.raw_path.decode(), body)
        return httpx.Response(status, stream=httpx.ByteStream(content))


class _NobodyTransport(httpx.AsyncBaseTransport):
    async def handle_async_request(self, request: httpx.Request) -> NoReturn:
        raise httpx.ConnectError("as the test says")


def http_of(desk: Desk | None) -> ProviderHttp:
    """What reaches a desk; None: nobody."""
    transport = _DeskTransport(desk) if desk is not None else _NobodyTransport()
    return ProviderHttp(httpx.AsyncClient(base_url="http://provider.example", transport=transport))


class Noting:
    """Watches over a queue's receipts by writing down what happens: "sent", "receipt", "refused"."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note_sent(self) -> None:
        self.said.append("sent")

    def note_receipt(self, bundle: Bundle, receipt: Receipt) -> None:
        self.said.append("receipt")

    def note_refused_bundle(self) -> None:
        self.said.append("refused")


class Person:
    """`gossip`: what it tells everybody it seals for."""

    def __init__(self, name: str, desk: PrekeyDesk, store: TrustStore | None = None) -> None:
        self.device = Device(seed_of(name))
        self.id = self.device.device_id
        self.store = store or MemoryTrustStore(self.device)
        self.calls = StoreCalls(self.store)
        self.own = OwnPrekeys(self.device, self.store, self.calls)
        self.desk = desk
        self.http: ProviderHttp = http_of(desk)
        self.gossip = b""
        self.sealer = Sealer(self.device, self.store, self.own, lambda: self.http, lambda peer: self.gossip)

    async def publish(self) -> None:
        """Have prekeys at the desk."""
        await self.supply(0)

    async def supply(self, seconds: float, *, is_synced: bool = True) -> None:
        """Look after one's own prekeys for so long, once at least; `autojump_clock` makes it short."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.own.run, ORIGIN, self.http, lambda: is_synced)
            if seconds:
                await trio.sleep(seconds)
            else:
                await self.own.published.wait()
                await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

    def receive(self, provider: TinyProvider, bundle: Bundle) -> list[delta.Delivery]:
        """What a provider delivers of a bundle that it accepts."""
        provider.submit(bundle)
        follower = Follower(ORIGIN, self.id, last_counter=lambda _: None)
        new, _ = provider.delta(self.id, follower.cursor, RecipientLists())
        return list(follower.check_delta(new, RecipientLists()).deliveries)
