"""Gossip links over real sockets: who may talk, what is cut off, and that nothing said there ends a client."""

import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio
import trio.testing
from trio_websocket import ConnectionClosed, WebSocketConnection, open_websocket_url

from noise.protocol.errors import NoiseError
from noise.protocol.gossip import (
    GOSSIP_FRAME_BYTES_MAX,
    GOSSIP_PATH,
    LINK_FRAMES,
    SUBPROTOCOL_GOSSIP,
    LinkChallenge,
    ProofFrame,
    View,
    ViewFrame,
    answer_challenge,
    encode_gossip,
    parse_gossip,
)
from noise.protocol.pair_chain import Cut
from noise_client import Device, LinkError, gossip_link
from noise_client.gossip_link import dial, parse_peer_url
from tests.client.devices import ALICE, BOB
from tests.client.gossip_peer import A_FRAME, CAROL, claim, serving_bob
from tests.client.scripted import in_time
from tests.client.test_link import answering, make_certificate, raw_server
from tests.vectors.cast import ORIGIN, OTHER_ORIGIN, seed_of


async def failure_of(url: str, device: Device = ALICE, origin: bytes = ORIGIN) -> NoiseError:
    with pytest.raises(NoiseError) as failed:
        async with dial(url, device, origin, None):
            pytest.fail("it opened")
    return failed.value


@in_time
async def test_both_know_whom_they_talk_to() -> None:
    async with serving_bob() as (bob, url), dial(url, ALICE, ORIGIN, None) as link:
        assert link.peer == BOB.device_id
        large = encode_gossip(ProofFrame(bytes(GOSSIP_FRAME_BYTES_MAX - 64)))
        for frame in (A_FRAME, large):
            await link.send(frame)
            assert await link.receive() == frame
        assert bob.peers == [ALICE.device_id]


@in_time
async def test_tls_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server_context, trusting = make_certificate(tmp_path)
    async with serving_bob(context=server_context) as (_, url):
        assert url.startswith("wss://")
        async with dial(url, ALICE, ORIGIN, trusting) as link:
            await link.send(A_FRAME)
            assert await link.receive() == A_FRAME
        with pytest.raises(LinkError, match="certificate") as unknown:
            async with dial(url, ALICE, ORIGIN, ssl.create_default_context()):
                pytest.fail("whose certificate is it?")
        assert unknown.value.code == "unreachable"
        monkeypatch.setattr(gossip_link, "HANDSHAKE_S", 0.1)
        assert (await failure_of(url.replace("wss", "ws"))).code == "not-a-peer"


@in_time
async def test_followers_of_two_providers_have_nothing_to_say_to_each_other() -> None:
    async with serving_bob(OTHER_ORIGIN) as (bob, url):
        assert (await failure_of(url)).code == "wrong-origin"
        assert bob.peers == []


@in_time
async def test_nobody_links_to_itself() -> None:
    async with serving_bob() as (bob, url):
        assert (await failure_of(url, BOB)).code == "wrong-peer"
        assert bob.peers == []


@in_time
async def test_a_peer_that_follows_nobody_yet_is_not_there() -> None:
    async with serving_bob(None) as (bob, url):
        assert (await failure_of(url)).code == "not-a-peer"
        assert bob.peers == []


@in_time
async def test_where_nothing_listens_or_something_else() -> None:
    async with raw_server(answering(b"HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n")) as url:
        assert (await failure_of(url)).code == "not-a-peer"
    assert (await failure_of(url)).code == "unreachable"


@pytest.mark.parametrize("url", ["", "ws://x", "127.0.0.1:9", "ftp://x:1", "ws://x:y", "ws://:7", "ws://[x:1"])
def test_urls_of_nobody(url: str) -> None:
    with pytest.raises(NoiseError) as refused:
        parse_peer_url(url)
    assert refused.value.code == "bad-url"


def test_urls_of_peers() -> None:
    assert parse_peer_url("ws://192.0.2.7:8090") == ("192.0.2.7", 8090, False)
    assert parse_peer_url("wss://[::1]:443") == ("::1", 443, True)


# Strangers


@asynccontextmanager
async def raw_link(url: str) -> AsyncIterator[WebSocketConnection]:
    """A WebSocket to a peer, before anything is said."""
    async with open_websocket_url(url + GOSSIP_PATH, subprotocols=[SUBPROTOCOL_GOSSIP]) as ws:
        yield ws
        await trio.aclose_forcefully(ws._stream)


async def challenge_of(ws: WebSocketConnection) -> LinkChallenge:
    challenge = parse_gossip(await ws.get_message(), LINK_FRAMES)
    assert isinstance(challenge, LinkChallenge)
    return challenge


async def ends(ws: WebSocketConnection) -> None:
    """Nothing more comes but what was under way."""
    with pytest.raises(ConnectionClosed):
        while True:
            await ws.get_message()


@in_time
async def test_a_dialer_that_is_somebody_else() -> None:
    """carol, who says that she is alice, with her own key, or with an older proof; and alice's proof, as carol."""
    old: list[bytes] = []
    async with serving_bob() as (bob, url):
        for attempt in ("own key", "as it was", "replayed"):
            async with raw_link(url) as ws:
                await ws.send_message(claim(CAROL.device_id if attempt == "as it was" else ALICE.device_id))
                challenge = await challenge_of(ws)
                signer = ALICE.signer if attempt == "as it was" else CAROL.signer
                proof = encode_gossip(answer_challenge(signer, ORIGIN, challenge))
                old.append(encode_gossip(answer_challenge(ALICE.signer, ORIGIN, challenge)))
                await ws.send_message(old[0] if attempt == "replayed" else proof)
                await ends(ws)
        assert bob.peers == []
        async with raw_link(url) as ws:
            await ws.send_message(claim(ALICE.device_id))
            await ws.send_message(encode_gossip(answer_challenge(ALICE.signer, ORIGIN, await challenge_of(ws))))
            await bob.wait(lambda: bob.peers == [ALICE.device_id])


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\xff junk",
        "text",
        A_FRAME,
        encode_gossip(ViewFrame(View(None, (Cut(1, 1, bytes(32)),)))),
        claim(ALICE.device_id, OTHER_ORIGIN),
        claim(BOB.device_id),
        bytes(GOSSIP_FRAME_BYTES_MAX + 1),
    ],
)
@in_time
async def test_what_is_no_greeting_ends_the_link_and_no_other(said: bytes | str) -> None:
    async with serving_bob() as (bob, url), dial(url, CAROL, ORIGIN, None) as other:
        async with raw_link(url) as ws:
            with suppress(ConnectionClosed):
                await ws.send_message(said)
            await ends(ws)
        async with raw_link(url) as ws:
            await ws.send_message(claim(ALICE.device_id))
            with suppress(ConnectionClosed):
                await ws.send_message(said)
            await ends(ws)
        await other.send(A_FRAME)
        assert await other.receive() == A_FRAME
        assert bob.peers == [CAROL.device_id]


@in_time
async def test_silence_is_given_up_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip_link, "HANDSHAKE_S", 0.1)
    async with serving_bob() as (bob, url):
        async with raw_link(url) as ws:
            await ends(ws)
        async with raw_link(url) as ws:
            await ws.send_message(claim(ALICE.device_id))
            await ends(ws)
        assert bob.peers == []

    async def wait(_: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with raw_server(wait) as url:
        assert (await failure_of(url)).code == "not-a-peer"


@in_time
async def test_so_many_links_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip_link, "LINKS_MAX", 2)
    async with serving_bob() as (bob, url), dial(url, ALICE, ORIGIN, None):
        async with dial(url, CAROL, ORIGIN, None):
            with monkeypatch.context() as hurried:
                hurried.setattr(gossip_link, "HANDSHAKE_S", 0.3)
                assert (await failure_of(url, Device(seed_of("dave")))).code == "not-a-peer"
        await bob.wait(lambda: bob.n_open == 1)
        await trio.testing.wait_all_tasks_blocked(0.01)
        async with dial(url, CAROL, ORIGIN, None) as link:
            await link.send(A_FRAME)
            assert await link.receive() == A_FRAME


REQUEST = (
    b"GET /v1/gossip HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: noise-gossip.v1\r\n\r\n"
)
RUDE = {
    "nothing": b"",
    "half a request": REQUEST[:50],
    "no request": b"junk\r\n\r\n",
    "another version": REQUEST.replace(b"Version: 13", b"Version: 12"),
    "another path": REQUEST.replace(b"/v1/gossip", b"/elsewhere"),
    "a request": REQUEST,
    "half a frame": REQUEST + b"\x82",
    "no frame": REQUEST + b"\xff\xff\xff\xff",
}
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: close at once, and let the other side's next write fail."""


@in_time
async def test_a_peer_that_has_fallen_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving_bob() as (_, url), dial(url, ALICE, ORIGIN, None) as link:
        monkeypatch.setattr(gossip_link, "SILENCE_S", 0.05)
        with pytest.raises(LinkError) as silent:
            await link.receive()
        assert silent.value.code == "link-silent"


@pytest.mark.parametrize("how", RUDE)
@in_time
async def test_whoever_breaks_off_harms_nobody(how: str) -> None:
    async with serving_bob() as (bob, url), dial(url, CAROL, ORIGIN, None) as other:
        for number in range(30):
            with socket.create_connection(parse_peer_url(url)[:2]) as rude:
                rude.sendall(RUDE[how])
                for _ in range(number % 3):
                    await trio.lowlevel.checkpoint()
                rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            await trio.testing.wait_all_tasks_blocked()
        await other.send(A_FRAME)
        assert await other.receive() == A_FRAME
        assert bob.peers == [CAROL.device_id]


@pytest.mark.parametrize(
    "answer",
    [b"", b"junk\r\n\r\n", b"HTTP/1.1 101 x\r\n\r\n", b"HTTP/1.1 503 x\r\nContent-Length: 5\r\n\r\n", b"\x15\x03\x01"],
)
@in_time
async def test_whatever_answers_a_dialer_is_a_link_error(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip_link, "HANDSHAKE_S", 0.2)
    async with raw_server(answering(answer)) as url:
        assert (await failure_of(url)).code == "not-a-peer"


@in_time
async def test_a_cancellation_at_any_moment_ends_a_link() -> None:
    async def cancel_after(steps: int, scope: trio.CancelScope) -> None:
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        scope.cancel()

    async with serving_bob() as (bob, url):
        for steps in range(40):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(cancel_after, steps, scope)
                    async with dial(url, ALICE, ORIGIN, None) as link:
                        await link.receive()
            assert scope.cancelled_caught
        await bob.wait(lambda: bob.n_open == 0)
