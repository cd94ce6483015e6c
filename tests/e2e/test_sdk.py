"""The SDK against the real provider over real sockets, while the provider restarts, crashes and changes its shape."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio
import trio.testing

from noise.config import ServeOptions
from noise.node import create_node, open_node, serve_node
from noise_client import (
    Client,
    ClientState,
    Delivery,
    Device,
    MemoryTrustStore,
    Settings,
    create_device,
    create_device_file,
    open_client,
)
from noise_client.link import parse_url
from noise_client.provider_http import open_http
from tests.client.scripted import in_time

QUICK = Settings(backoff_first_s=0.02, backoff_max_s=0.1)


@asynccontextmanager
async def running_node(
    data: Path, port: int = 0, *, inboxes: int | None = None, outboxes: int | None = None, gently: bool = True
) -> AsyncIterator[str]:
    """The provider in `data`, made if need be; its URL. At the end it stops, or, if not gently, breaks off."""
    if not data.exists():
        await create_node(data)
    options = ServeOptions(data, "127.0.0.1", port, "parallel", inboxes, outboxes, 5, 1_000, 15_000)
    ready_send, ready = trio.open_memory_channel[str](1)
    stop = trio.Event()
    async with open_node(options) as node, trio.open_nursery() as nursery:
        nursery.start_soon(serve_node, node, options, lambda url, _: ready_send.send_nowait(url), stop)
        yield await ready.receive()
        if gently:
            stop.set()
        else:
            nursery.cancel_scope.cancel()


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


async def take(client: Client, count: int) -> list[Delivery]:
    got: list[Delivery] = []
    async for delivery in client.deliveries(deadline_s=30):
        got.append(delivery)
        if len(got) == count:
            break
    return got


async def publish(url: str, device: Device, path: Path) -> None:
    """Let a device be there until others can seal for it."""
    async with open_client(url, path), open_http(parse_url(url), None, 10) as http:
        while not (await http.prekey_count(device.device_id)).one_time:
            await trio.testing.wait_all_tasks_blocked(0.01)


def data_of(deliveries: list[Delivery]) -> list[bytes]:
    return [delivery.data for delivery in deliveries]


async def send_all(client: Client, to: list[bytes], texts: list[bytes]) -> None:
    """In this order, and wait for every receipt."""
    sendings = [await client.send_soon(to, text) for text in texts]
    for sending in sendings:
        await sending.wait_receipt()


@in_time
async def test_devices_talk_and_all_see_one_order(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(running_node(tmp_path / "provider", inboxes=2, outboxes=3))
        clients = [await stack.enter_async_context(open_client(url, create_device())) for _ in range(4)]
        ids = [client.device_id for client in clients]
        async with trio.open_nursery() as nursery:
            for n, client in enumerate(clients):
                nursery.start_soon(send_all, client, ids, [b"%d from %d" % (i, n) for i in range(100)])
        seen = [await take(client, 400) for client in clients]
        assert len({client.origin for client in clients}) == 1
    assert data_of(seen[0]) == data_of(seen[1]) == data_of(seen[2]) == data_of(seen[3])
    for n, sender in enumerate(ids):
        assert [one.data for one in seen[0] if one.sender == sender] == [b"%d from %d" % (i, n) for i in range(100)]
    assert [one.seq for one in seen[0]] == sorted({one.seq for one in seen[0]})


@in_time
@pytest.mark.parametrize("gently", [True, False])
async def test_a_restart_of_the_provider_loses_and_doubles_nothing(tmp_path: Path, gently: bool) -> None:
    data, texts = tmp_path / "provider", [b"%04d" % n for n in range(1200)]
    async with running_node(data) as url:
        pass
    async with (
        open_client(url, create_device(), settings=QUICK) as alice,
        open_client(url, create_device(), settings=QUICK) as bob,
    ):
        async with running_node(data, port_of(url), gently=gently):
            await send_all(alice, [bob.device_id], texts[:300])
            assert data_of(await take(bob, 100)) == texts[:100]
            during = [await alice.send_soon([bob.device_id], text) for text in texts[300:600]]
        for client in (alice, bob):
            await client.wait_state(ClientState.BACKOFF)
        during += [await alice.send_soon([bob.device_id], text) for text in texts[600:900]]
        async with running_node(data, port_of(url), inboxes=2, outboxes=2):
            receipts = [await sending.wait_receipt() for sending in during]
            assert [receipt.seq for receipt in receipts] == sorted({receipt.seq for receipt in receipts})
            await send_all(alice, [bob.device_id], texts[900:])
            assert data_of(await take(bob, 1100)) == texts[100:]
            assert data_of(await take(alice, 1200)) == texts
            assert alice.state is bob.state is ClientState.LIVE


@in_time
async def test_an_offline_queue_outlives_its_process(tmp_path: Path) -> None:
    path, bob_path = tmp_path / "alice.device", tmp_path / "bob.device"
    create_device_file(path)
    bob = create_device_file(bob_path)
    async with running_node(tmp_path / "provider") as url:
        await publish(url, bob, bob_path)
    for text in (b"one", b"two"):
        async with open_client(url, path, settings=QUICK) as alice:
            await alice.enqueue([bob.device_id], text)
    async with running_node(tmp_path / "provider", port_of(url)), open_client(url, path) as alice:
        assert len([await sending.wait_receipt() for sending in alice.unsent()]) == 2
        async with open_client(url, bob_path) as client:
            assert data_of(await take(client, 2)) == [b"one", b"two"]


class Proxy:
    """A wire that can be told to lose what the provider says next, and to break."""

    def __init__(self, url: str) -> None:
        self._port = port_of(url)
        self.loses_next = False
        self.broken_count = 0

    async def serve(self, client: trio.SocketStream) -> None:
        server = await trio.open_tcp_stream("127.0.0.1", self._port)
        async with client, server, trio.open_nursery() as nursery:
            nursery.start_soon(self._forward, server, client, True, nursery.cancel_scope)
            nursery.start_soon(self._forward, client, server, False, nursery.cancel_scope)

    async def _forward(
        self, source: trio.SocketStream, sink: trio.SocketStream, is_answer: bool, scope: trio.CancelScope
    ) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for chunk in source:
                if is_answer and self.loses_next:
                    self.loses_next = False
                    self.broken_count += 1
                    break
                await sink.send_all(chunk)
        scope.cancel()


@asynccontextmanager
async def proxied(url: str) -> AsyncIterator[tuple[Proxy, str]]:
    proxy = Proxy(url)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, proxy.serve, listeners)
        yield proxy, f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


@in_time
async def test_a_receipt_that_was_lost_on_the_wire_is_given_again(tmp_path: Path) -> None:
    alice, bob = create_device(), create_device()
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(running_node(tmp_path / "provider"))
        proxy, proxy_url = await stack.enter_async_context(proxied(url))
        sender = await stack.enter_async_context(open_client(proxy_url, alice, settings=QUICK))
        receiver = await stack.enter_async_context(open_client(url, bob))
        texts, receipts = [b"%d" % n for n in range(8)], []
        for text in texts:
            await sender.wait_state(ClientState.LIVE)
            proxy.loses_next = True
            receipts.append(await sender.send([bob.device_id], text))
        assert proxy.broken_count >= len(texts)
        assert [one.seq for one in await take(receiver, 8)] == [receipt.seq for receipt in receipts]
        await sender.send([bob.device_id], b"and nothing came twice")
        assert data_of(await take(receiver, 1)) == [b"and nothing came twice"]


@in_time
async def test_a_device_that_was_away_catches_up_with_thousands(tmp_path: Path) -> None:
    texts = [b"%05d" % n for n in range(5000)]
    path = tmp_path / "bob.device"
    bob = create_device_file(path)
    async with running_node(tmp_path / "provider") as url:
        await publish(url, bob, path)
        async with open_client(url, create_device()) as client:
            await send_all(client, [bob.device_id], texts)
        async with open_client(url, path) as client:
            assert data_of(await take(client, 2000)) == texts[:2000]
        async with open_client(url, path) as client:
            states = client.states()
            assert data_of(await take(client, 3000)) == texts[2000:]
            await client.wait_state(ClientState.LIVE)
        assert ClientState.BACKOFF not in [state async for state in states]


@in_time
async def test_a_slow_application_keeps_a_small_backlog_and_gets_everything(tmp_path: Path) -> None:
    texts = [b"%04d" % n + bytes(200) for n in range(3000)]
    alice, bob = create_device(), create_device()
    store = MemoryTrustStore(bob)
    settings = QUICK._replace(backlog_bytes_max=100_000)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(running_node(tmp_path / "provider"))
        sender = await stack.enter_async_context(open_client(url, alice))
        receiver = await stack.enter_async_context(open_client(url, bob, store=store, settings=settings))
        await receiver.wait_state(ClientState.LIVE)
        await send_all(sender, [bob.device_id], texts)
        await receiver.send([alice.device_id], b"I can still speak")
        assert 100_000 <= store.load().backlog_bytes < 400_000
        assert data_of(await take(receiver, 3001)) == [*texts, b"I can still speak"]
        await receiver.wait_state(ClientState.LIVE)
