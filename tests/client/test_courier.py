"""The courier and its links: nobody who is slow, silent or greedy keeps it from the others."""

import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from socket import SO_RCVBUF, SOL_SOCKET

import pytest
import trio
import trio.testing

from noise.protocol.encoding import HASHES
from noise.protocol.errors import NoiseError
from noise.protocol.frames import CHALLENGE, ChallengeFrame
from noise.protocol.gossip import SectionFrame, SectionRequest, ViewFrame, encode_gossip, parse_gossip
from noise_client import Device, LinkError, gossip_link, open_client
from noise_client.courier import Courier
from noise_client.device import create_device
from noise_client.evidence_store import KeptProof
from noise_client.gossip_link import GossipLink, dial, serve
from noise_client.link import parse_url
from noise_client.provider_http import open_http
from noise_client.trust_store import StoreCalls
from tests.client.devices import NOBODY, QUICK
from tests.client.scripted import in_time
from tests.client.test_link import make_certificate, raw_server
from tests.client.witnesses import Keeper, chat
from tests.vectors.cast import ORIGIN

QUESTION = encode_gossip(SectionRequest(1, 1, 0))
ANSWER_S = 30.0


@asynccontextmanager
async def serving(
    device: Device, handle: Callable[[GossipLink], Awaitable[None]], context: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """A device that serves links; its URL."""
    async with trio.open_nursery() as nursery:
        port = await nursery.start(serve, "127.0.0.1", 0, device, lambda: ORIGIN, handle, context)
        yield f"{'wss' if context else 'ws'}://127.0.0.1:{port}"
        nursery.cancel_scope.cancel()


def courier_of(keeper: Keeper) -> Courier:
    return Courier(StoreCalls(keeper.store), lambda: keeper.witness, None, lambda: None)


@asynccontextmanager
async def running(courier: Courier, keeper: Keeper, provider_url: str = NOBODY) -> AsyncIterator[str]:
    """A courier at work; the URL for links with it."""
    async with (
        open_http(parse_url(provider_url), None, ANSWER_S) as http,
        trio.open_nursery() as nursery,
        serving(keeper.device, courier.run_link) as url,
    ):
        nursery.start_soon(courier.run, http)
        yield url
        nursery.cancel_scope.cancel()


async def ask(link: GossipLink) -> None:
    """A question, until its answer."""
    with trio.fail_after(5):
        await link.send(QUESTION)
        while not isinstance(parse_gossip(await link.receive()), SectionFrame):
            pass


async def ends(link: GossipLink) -> None:
    """What was under way, and no more."""
    with trio.fail_after(5), pytest.raises(LinkError):
        while True:
            await link.receive()


def hold_large(keeper: Keeper) -> None:
    """The keeper will tell of proofs that no socket takes at once."""
    for number in range(4):
        keeper.store.save_proof(KeptProof(number, bytes([number]) * (1 << 20)))


# The provider


class Trickle:
    """An answer that never ends, and whoever asks hears every hundredth of a second that it goes on."""

    def __init__(self) -> None:
        self.asked = trio.Event()

    async def __call__(self, stream: trio.SocketStream) -> None:
        await stream.receive_some()
        self.asked.set()
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n")
        await stream.send_all(b"Content-Length: 1000000\r\n\r\n")
        while True:
            await stream.send_all(b"x")
            await trio.sleep(0.01)


@in_time
async def test_an_answer_that_trickles_has_a_deadline() -> None:
    async with raw_server(Trickle()) as url, open_http(parse_url(url), None, 0.2) as http:
        with trio.fail_after(5), pytest.raises(LinkError) as failed:
            await http.consistency(1, 2)
        assert failed.value.code == "unreachable"


@in_time
async def test_an_answer_that_trickles_holds_no_frame_up() -> None:
    liar = chat(12)
    alice, bob = Keeper("alice").follow(liar), Keeper("bob").follow(liar, 5)
    trickle = Trickle()
    async with (
        raw_server(trickle) as provider_url,
        running(courier_of(alice), alice, provider_url) as url,
        dial(url, bob.device, ORIGIN, None) as link,
    ):
        await link.send(encode_gossip(ViewFrame(bob.witness.view(alice.id))))
        await trickle.asked.wait()
        await ask(link)


@pytest.mark.parametrize(
    ("status", "code", "is_suspicious"),
    [
        (400, "bad-query", True),
        (404, "not-committed", True),
        (503, "busy", False),
        (503, "unavailable", False),
        (429, "too-many-requests", False),
        (404, "not-found", False),
        (500, "internal", False),
        (502, None, False),
    ],
)
@in_time
async def test_only_a_provider_that_cannot_show_a_proof_is_suspected(
    status: int, code: str | None, is_suspicious: bool
) -> None:
    body = json.dumps({"code": code, "detail": "as the test says"}).encode() if code else b"a proxy's page"
    reasons, n_asked = await reasons_after(status, body, ORIGIN)
    assert reasons == ({"log-differs"} if is_suspicious else set())
    assert n_asked == (3 if is_suspicious else 1)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b'{"code": "not-committed", "detail": "it is a younger log"}'),
        (200, HASHES.encode((bytes(32),))),
        (200, HASHES.encode(())),
    ],
)
@in_time
async def test_another_provider_at_the_same_address_says_nothing_of_ours(status: int, body: bytes) -> None:
    assert await reasons_after(status, body, bytes(32)) == (set(), 2)
    assert await reasons_after(status, body, ORIGIN) == ({"log-differs"}, 3)


async def reasons_after(status: int, body: bytes, origin: bytes) -> tuple[set[str], int]:
    """Why alice suspects her provider when she asks about a peer's log and is answered so by whoever has this origin;
    and how often she asked."""
    liar = chat(12)
    alice, bob = Keeper("alice").follow(liar), Keeper("bob").follow(liar, 5)
    challenge = CHALLENGE.encode(ChallengeFrame(origin, bytes(32), 1000, 0))
    n_asked = 0

    async def answer(stream: trio.SocketStream) -> None:
        nonlocal n_asked
        n_asked += 1
        is_challenge = (await stream.receive_some()).startswith(b"POST /v1/challenges ")
        said = (201, challenge) if is_challenge else (status, body)
        head = b"HTTP/1.1 %d x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (said[0], len(said[1]))
        await stream.send_all(head + said[1])

    async with raw_server(answer) as provider_url:
        courier = courier_of(alice)
        async with running(courier, alice, provider_url):
            await courier.receive(bob.id, encode_gossip(ViewFrame(bob.witness.view(alice.id))))
            await trio.testing.wait_all_tasks_blocked(0.1)
            return alice.reasons, n_asked


@pytest.mark.parametrize(("lookups_max", "n_asked_at_once"), [(64, 4), (2, 2)])
@in_time
async def test_strangers_make_so_many_questions_to_the_provider_and_no_more(
    lookups_max: int, n_asked_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("noise_client.courier._LOOKUPS_MAX", lookups_max)
    liar = chat(12)
    alice, bob = Keeper("alice").follow(liar), Keeper("bob").follow(liar, 5)
    view = encode_gossip(ViewFrame(bob.witness.view(alice.id)))
    n_asked = 0

    async def never_answer(stream: trio.SocketStream) -> None:
        nonlocal n_asked
        n_asked += 1
        await stream.receive_some()
        await trio.sleep_forever()

    async with raw_server(never_answer) as provider_url:
        courier = courier_of(alice)
        async with running(courier, alice, provider_url):
            for _ in range(10):
                await courier.receive(create_device().device_id, view)
            await trio.testing.wait_all_tasks_blocked(0.1)
            assert n_asked == n_asked_at_once


# Peers that do not read


async def send_until_closed(courier: Courier, peer: bytes) -> None:
    """From the beginning of the link on."""
    while peer not in courier.peers:
        await trio.lowlevel.checkpoint()
    while peer in courier.peers:
        await courier.tell_proofs(peer)


@in_time
async def test_a_peer_that_does_not_read_loses_its_link_and_nobody_waits() -> None:
    alice, stranger = Keeper("alice").follow(chat(4)), create_device()
    hold_large(alice)
    courier = courier_of(alice)
    async with running(courier, alice) as url, dial(url, stranger, ORIGIN, None) as deaf:
        stream = deaf._ws._stream
        assert isinstance(stream, trio.SocketStream)
        stream.socket.setsockopt(SOL_SOCKET, SO_RCVBUF, 4096)
        while stranger.device_id not in courier.peers:
            await trio.testing.wait_all_tasks_blocked(0.01)
        async with dial(url, create_device(), ORIGIN, None) as good:
            with trio.fail_after(5):
                await send_until_closed(courier, stranger.device_id)
            await ask(good)


@pytest.mark.parametrize("is_tls", [False, True])
@in_time
async def test_a_dialed_peer_that_does_not_read_ends_its_link_only(is_tls: bool, tmp_path: Path) -> None:
    server_context, trusting = make_certificate(tmp_path) if is_tls else (None, None)
    alice, bob = Keeper("alice").follow(chat(4)), create_device()
    hold_large(alice)
    courier = courier_of(alice)

    async def be_deaf(_: GossipLink) -> None:
        await trio.sleep_forever()

    async with serving(bob, be_deaf, server_context) as url, trio.open_nursery() as nursery:
        async with dial(url, alice.device, ORIGIN, trusting) as link:
            nursery.start_soon(send_until_closed, courier, bob.device_id)
            await courier.run_link(link)
        assert courier.peers == []


@in_time
async def test_a_frame_that_does_not_leave_in_time_ends_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip_link, "SEND_S", 0.1)
    alice, stranger = Keeper("alice").follow(chat(4)), create_device()
    hold_large(alice)
    courier = courier_of(alice)
    async with running(courier, alice) as url, dial(url, stranger, ORIGIN, None):
        while stranger.device_id not in courier.peers:
            await trio.testing.wait_all_tasks_blocked(0.01)
        for _ in range(4):
            await courier.tell_proofs(stranger.device_id)
        while courier.peers:
            await trio.testing.wait_all_tasks_blocked(0.01)


@in_time
async def test_a_full_queue_holds_nothing_up() -> None:
    """A stranger's question, which came as a message, cannot be answered as one; bob's, over a link, can."""
    liar = chat(12)
    alice, bob = Keeper("alice").follow(liar), Keeper("bob").follow(liar)
    settings = QUICK._replace(seal=True, queue_bytes_max=4000)
    async with open_client(NOBODY, alice.device, store=alice.store, settings=settings) as client:
        with suppress(NoiseError):
            while True:
                await client.send_soon([bob.id], bytes(100), deadline_s=0.1)
        url = f"ws://127.0.0.1:{await client.serve_gossip('127.0.0.1')}"
        async with dial(url, bob.device, ORIGIN, None) as link:
            await ask(link)
            witness = client._watching.witness()
            for _ in range(9):
                witness.hear(create_device().device_id, SectionRequest(1, 3, 0))
            client._watching.note_change()
            await trio.testing.wait_all_tasks_blocked(0.01)
            await ask(link)


# One peer, several links


@in_time
async def test_of_two_links_with_a_peer_the_newest_is_spoken_over_and_the_other_ends() -> None:
    """The older may be half open: its machine took another address, and what is said there is lost."""
    alice, bob = Keeper("alice").follow(chat(4)), Keeper("bob")
    courier = courier_of(alice)
    async with running(courier, alice) as url, dial(url, bob.device, ORIGIN, None) as older:
        await ask(older)
        async with dial(url, bob.device, ORIGIN, None) as newer:
            await ends(older)
            await ask(newer)
            assert courier.peers == [bob.id]
        while courier.peers:
            await trio.testing.wait_all_tasks_blocked(0.01)


@in_time
async def test_one_key_takes_two_places_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip_link, "LINKS_MAX", 6)
    served: list[bytes] = []

    async def keep(link: GossipLink) -> None:
        served.append(link.peer)
        await link.receive()

    greedy, other = create_device(), create_device()
    async with (
        serving(create_device(), keep) as url,
        dial(url, greedy, ORIGIN, None),
        dial(url, greedy, ORIGIN, None) as second,
    ):
        for _ in range(8):
            async with dial(url, greedy, ORIGIN, None) as refused:
                await ends(refused)
        async with dial(url, other, ORIGIN, None):
            while other.device_id not in served:
                await trio.testing.wait_all_tasks_blocked(0.01)
        assert served == [greedy.device_id] * 2 + [other.device_id]
        await second.send(QUESTION)  # which ends it
        await ends(second)
        await trio.testing.wait_all_tasks_blocked(0.01)
        async with dial(url, greedy, ORIGIN, None):
            while len(served) < 4:
                await trio.testing.wait_all_tasks_blocked(0.01)


@in_time
async def test_two_who_dial_each_other_keep_one_link() -> None:
    """bob dials after alice: she does not dial again, which would end his link, before it ended."""
    alice, bob = Keeper("alice").follow(chat(4)), Keeper("bob")
    n_dialed = 0

    async def serve_alice(link: GossipLink) -> None:
        nonlocal n_dialed
        n_dialed += 1
        while True:
            await link.receive()

    async with (
        serving(bob.device, serve_alice) as bob_url,
        open_client(NOBODY, alice.device, store=alice.store, settings=QUICK) as client,
    ):
        await client.gossip_with(bob_url)
        alice_url = f"ws://127.0.0.1:{await client.serve_gossip('127.0.0.1')}"
        async with dial(alice_url, bob.device, ORIGIN, None) as link:
            for _ in range(20):
                await ask(link)
                await trio.testing.wait_all_tasks_blocked(0.01)
            assert n_dialed == 1
        while n_dialed == 1:
            await trio.testing.wait_all_tasks_blocked(0.01)
