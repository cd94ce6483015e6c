"""The push face over real sockets, as an attacker and as a curious person with any WebSocket client would use it."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio_websocket import ConnectionClosed, HandshakeError, WebSocketConnection, wrap_client_stream

from noise.protocol.delta import RecipientLists
from noise.protocol.encoding import Json
from noise.protocol.envelope import Bundle, Draft, Recipients, RecipientSet, build_bundle
from noise.protocol.follower import Follower
from noise.protocol.frames import (
    ACK_BODY,
    AUTH_PROOF,
    PUSH_PATH,
    START,
    SUBPROTOCOL_BINARY,
    SUBPROTOCOL_JSON,
    AckBody,
    AckFrame,
    AuthFrame,
    AuthProof,
    BundleFrame,
    ChallengeFrame,
    Cursor,
    DeltaFrame,
    Frame,
    PingFrame,
    PongFrame,
    ReceiptFrame,
    RefusalFrame,
    SignedAuthProof,
    encode_frame,
    encode_frame_json,
    parse_frame,
    parse_frame_json,
)
from noise.protocol.identifiers import device_id_of, parse_id
from noise.protocol.limits import BUNDLE_BYTES_MAX
from noise.protocol.push_session import CloseCode
from noise.protocol.signing import SMALL_ORDER_KEYS, Signer
from tests.e2e.provider_process import ProviderProcess, provider

DEVICE = Signer(b"device".ljust(32, b"."))


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProviderProcess]:
    with provider(tmp_path_factory.mktemp("push") / "provider") as served:
        yield served


class Peer:
    """A WebSocket client of somebody else's making, which speaks either subprotocol."""

    def __init__(self, socket: WebSocketConnection, host: str, origin: bytes) -> None:
        self.socket = socket
        self.host = host
        self.origin = origin
        self.is_json = socket.subprotocol == SUBPROTOCOL_JSON

    async def receive(self) -> Frame:
        payload = await self.socket.get_message()
        assert isinstance(payload, str) is self.is_json
        return parse_frame_json(payload) if isinstance(payload, str) else parse_frame(payload)

    async def send(self, frame: Frame) -> None:
        await self.socket.send_message(encode_frame_json(frame) if self.is_json else encode_frame(frame))

    async def challenge(self) -> ChallengeFrame:
        frame = await self.receive()
        assert isinstance(frame, ChallengeFrame)
        return frame

    def proof(self, challenge: ChallengeFrame, signer: Signer = DEVICE, **changes: object) -> SignedAuthProof:
        proof = AuthProof(
            self.origin,
            device_id_of(signer.public_key),
            signer.public_key,
            challenge.nonce,
            self.host,
            "push",
            challenge.server_ms + challenge.life_ms,
        )
        body = AUTH_PROOF.encode(proof._replace(**changes))
        return SignedAuthProof(body, signer.sign("auth", self.origin, body).signature)

    async def enter(self, signer: Signer = DEVICE, cursor: Cursor = START) -> DeltaFrame:
        """Authenticate; the first delta."""
        await self.send(AuthFrame(self.proof(await self.challenge(), signer), cursor))
        frame = await self.receive()
        assert isinstance(frame, DeltaFrame)
        return frame

    async def closed(self) -> tuple[int, str]:
        """Read until the server closes: its code, and the stable code in its reason."""
        with pytest.raises(ConnectionClosed) as caught:
            while True:
                await self.socket.get_message()
        reason = caught.value.reason
        assert reason is not None
        return reason.code, (reason.reason or "").partition(":")[0]


@asynccontextmanager
async def connect(process: ProviderProcess, subprotocol: str = SUBPROTOCOL_BINARY) -> AsyncIterator[Peer]:
    """A connection, within a deadline. The stream is ours: trio-websocket leaves it open if the server closes first."""
    host = process.url.removeprefix("http://")
    name, _, port = host.rpartition(":")
    with trio.fail_after(20):
        stream = await trio.open_tcp_stream(name, int(port))
        try:
            async with trio.open_nursery() as nursery:
                socket = await wrap_client_stream(
                    nursery,
                    stream,
                    host,
                    PUSH_PATH,
                    subprotocols=[subprotocol],
                    message_queue_size=64,
                    max_message_size=1 << 25,
                )
                yield Peer(socket, host, parse_id(process.origin))
                with trio.move_on_after(1):
                    await socket.aclose()
                nursery.cancel_scope.cancel()
        finally:
            await trio.aclose_forcefully(stream)


def _bundle(origin: bytes, first_ctr: int, texts: list[bytes], signer: Signer = DEVICE) -> Bundle:
    recipients = Recipients(RecipientSet(bytes(16), (device_id_of(signer.public_key),)))
    return build_bundle(signer, origin, first_ctr, [Draft(recipients, text, (), 0) for text in texts])


async def _exchange(process: ProviderProcess, subprotocol: str, signer: Signer, first_ctr: int) -> list[bytes]:
    """Send a bundle to oneself and verify receipt and delivery."""
    async with connect(process, subprotocol) as peer:
        counters: dict[bytes, int] = {}
        follower = Follower(peer.origin, device_id_of(signer.public_key), last_counter=counters.get)
        lists = RecipientLists()
        first = await peer.enter(signer)
        follower.adopt(follower.check_delta(first.delta, lists))
        bundle = _bundle(peer.origin, first_ctr, [b"one", b"two"], signer)
        await peer.send(BundleFrame(7, bundle.encode()))
        got: list[bytes] = []
        receipts = 0
        while len(got) < 2 or not receipts:
            frame = await peer.receive()
            if isinstance(frame, ReceiptFrame):
                assert frame.request == 7
                follower.check_receipt(frame.receipt, bundle)
                receipts += 1
            elif isinstance(frame, DeltaFrame):
                step = follower.check_delta(frame.delta, lists)
                follower.adopt(step)
                got += [delivery.common for delivery in step.deliveries]
        return got


@pytest.mark.parametrize("subprotocol", [SUBPROTOCOL_BINARY, SUBPROTOCOL_JSON])
async def test_both_subprotocols_say_the_same(process: ProviderProcess, subprotocol: str) -> None:
    signer = Signer(subprotocol.encode().ljust(32, b"."))
    assert await _exchange(process, subprotocol, signer, 0) == [b"one", b"two"]


async def test_json_is_readable(process: ProviderProcess) -> None:
    """What a person sees who follows along with any WebSocket client: names and values, not only bytes."""
    signer = Signer(b"reader".ljust(32, b"."))
    async with connect(process, SUBPROTOCOL_JSON) as peer:
        await peer.send(AuthFrame(peer.proof(await peer.challenge(), signer), START))
        shown: Json = json.loads(await peer.socket.get_message())
        assert shown["type"] == "delta"
        shared = shown["delta"]["shared"]
        assert int(shared["record"]["value"]["epoch"]) >= 0
        assert shared["head"]["body"]["value"]["origin"] == process.origin
        bundle = json.loads(encode_frame_json(BundleFrame(1, _bundle(peer.origin, 0, [b"hi"], signer).encode())))
        del bundle["bundle"]["bytes"]  # as somebody would write it by hand
        await peer.socket.send_message(json.dumps(bundle))
        while (shown := json.loads(await peer.socket.get_message()))["type"] != "receipt":
            pass
        assert shown["receipt"]["manifest"]["body"]["value"]["n_messages"] == 1


async def _refused_auth(process: ProviderProcess, **changes: object) -> tuple[int, str]:
    async with connect(process) as peer:
        await peer.send(AuthFrame(peer.proof(await peer.challenge(), DEVICE, **changes), START))
        return await peer.closed()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"origin": bytes(32)}, "wrong-origin"),
        ({"nonce": bytes(32)}, "wrong-nonce"),
        ({"audience": "elsewhere.example"}, "wrong-audience"),
        ({"purpose": "session"}, "wrong-audience"),
        ({"not_after_ms": 1}, "proof-expired"),
        ({"device_id": bytes(32)}, "wrong-key"),
        ({"key": Signer(b"other".ljust(32)).public_key}, "wrong-key"),
    ],
)
async def test_refused_authentication(process: ProviderProcess, changes: dict[str, object], code: str) -> None:
    assert await _refused_auth(process, **changes) == (CloseCode.UNAUTHENTICATED, code)


async def test_small_order_key_authenticates_nobody(process: ProviderProcess) -> None:
    for key in sorted(SMALL_ORDER_KEYS)[:3]:
        refused = await _refused_auth(process, key=key, device_id=device_id_of(key))
        assert refused == (CloseCode.UNAUTHENTICATED, "bad-key")


async def test_replayed_challenge(process: ProviderProcess) -> None:
    async with connect(process) as peer, connect(process) as thief:
        proof = peer.proof(await peer.challenge())
        await thief.challenge()
        await thief.send(AuthFrame(proof, START))
        assert await thief.closed() == (CloseCode.UNAUTHENTICATED, "wrong-nonce")
        await peer.send(AuthFrame(proof, START))
        assert isinstance(await peer.receive(), DeltaFrame)


async def test_relayed_proof(tmp_path: Path) -> None:
    """A relay sends whatever Host it likes: only names that the operator gave can tell its proofs apart."""
    with provider(tmp_path / "provider", "--public-host", "noise.example") as named:
        assert await _refused_auth(named) == (CloseCode.UNAUTHENTICATED, "wrong-audience")
        async with connect(named) as peer:
            await peer.send(AuthFrame(peer.proof(await peer.challenge(), DEVICE, audience="noise.example"), START))
            assert isinstance(await peer.receive(), DeltaFrame)


async def test_out_of_turn(process: ProviderProcess) -> None:
    async with connect(process) as peer:
        await peer.challenge()
        await peer.send(PingFrame(bytes(16)))
        assert await peer.closed() == (CloseCode.PROTOCOL, "out-of-turn")
    async with connect(process) as peer:
        await peer.enter()
        await peer.send(ChallengeFrame(bytes(32), bytes(32), 1, 1))
        assert await peer.closed() == (CloseCode.PROTOCOL, "out-of-turn")


async def test_kinds_do_not_mix(process: ProviderProcess) -> None:
    async with connect(process) as peer:
        await peer.enter()
        await peer.socket.send_message('{"type":"ping"}')
        assert await peer.closed() == (CloseCode.PROTOCOL, "wrong-frame-kind")


async def test_frame_too_large(process: ProviderProcess) -> None:
    async with connect(process) as peer:
        await peer.enter()
        with suppress(ConnectionClosed):
            await peer.socket.send_message(bytes(BUNDLE_BYTES_MAX + 4096))
        assert await peer.closed() == (CloseCode.PROTOCOL, "frame-too-large")


async def test_heartbeats_and_acks(process: ProviderProcess) -> None:
    async with connect(process) as peer:
        await peer.enter()
        await peer.send(PingFrame(b"0123456789abcdef"))
        assert await peer.receive() == PongFrame(b"0123456789abcdef")
        device_id = device_id_of(DEVICE.public_key)
        body = ACK_BODY.encode(AckBody(peer.origin, device_id, DEVICE.public_key, 0, 0))
        await peer.send(AckFrame(body, DEVICE.sign("ack", peer.origin, body).signature))
        await peer.send(PingFrame(bytes(16)))
        assert await peer.receive() == PongFrame(bytes(16))
        other = Signer(b"other".ljust(32))
        body = ACK_BODY.encode(AckBody(peer.origin, device_id_of(other.public_key), other.public_key, 0, 0))
        await peer.send(AckFrame(body, other.sign("ack", peer.origin, body).signature))
        assert await peer.closed() == (CloseCode.PROTOCOL, "wrong-key")


@pytest.mark.parametrize(
    ("cursor", "expected"),
    [
        (START._replace(log_size=2**40), (CloseCode.CURSOR_AHEAD, "cursor-ahead")),
        (START._replace(roster_version=99), (CloseCode.CURSOR_AHEAD, "cursor-ahead")),
        (START._replace(hist_size=5, hist_next=5), (CloseCode.PROTOCOL, "bad-cursor")),
        (START._replace(hist_next=1), (CloseCode.PROTOCOL, "bad-cursor")),
    ],
)
async def test_cursors_that_lie(process: ProviderProcess, cursor: Cursor, expected: tuple[int, str]) -> None:
    signer = Signer(b"cursor".ljust(32, b"."))
    async with connect(process) as peer:
        await peer.send(AuthFrame(peer.proof(await peer.challenge(), signer), cursor))
        assert await peer.closed() == expected


async def test_refused_bundles_do_not_end_the_session(process: ProviderProcess) -> None:
    signer = Signer(b"refused".ljust(32, b"."))
    async with connect(process) as peer:
        await peer.enter(signer)
        good = _bundle(peer.origin, 5, [b"x"], signer).encode()
        elsewhere = _bundle(bytes(32), 5, [b"x"], signer).encode()
        flipped = good[:-1] + bytes([good[-1] ^ 1])
        for n, (data, code) in enumerate(
            [(b"", "malformed"), (good[:50], "malformed"), (elsewhere, "wrong-origin"), (flipped, "malformed")]
        ):
            await peer.send(BundleFrame(n, data))
            frame = await peer.receive()
            assert isinstance(frame, RefusalFrame)
            assert (frame.request, frame.code) == (n, code)


async def test_the_oldest_of_too_many_connections_goes(process: ProviderProcess) -> None:
    signer = Signer(b"many".ljust(32, b"."))
    async with connect(process) as first:
        await first.enter(signer)
        async with trio.open_nursery() as nursery:
            for _ in range(16):
                entered = trio.Event()
                nursery.start_soon(_stay, process, signer, entered)
                await entered.wait()
            assert await first.closed() == (CloseCode.REPLACED, "replaced")
            nursery.cancel_scope.cancel()


async def _stay(process: ProviderProcess, signer: Signer, entered: trio.Event) -> None:
    async with connect(process) as peer:
        await peer.enter(signer)
        entered.set()
        await trio.sleep_forever()


async def test_unknown_subprotocol(process: ProviderProcess) -> None:
    with pytest.RaisesGroup(HandshakeError, flatten_subgroups=True):
        async with connect(process, "chat"):
            raise AssertionError("accepted")


@settings(deadline=None, max_examples=40)
@given(
    payloads=st.lists(st.binary(max_size=300), min_size=1, max_size=4), authenticated=st.booleans(), cut=st.booleans()
)
def test_any_frames(process: ProviderProcess, payloads: list[bytes], authenticated: bool, cut: bool) -> None:
    """Whatever comes: a typed close, and the next client is served as if nothing had happened."""

    async def attack() -> None:
        async with connect(process) as peer:
            if authenticated:
                await peer.enter(Signer(b"fuzz".ljust(32, b".")))
            with suppress(ConnectionClosed):  # at the first bad frame, while we go on sending
                for payload in payloads:
                    await peer.socket.send_message(bytes([1 + len(payload) % 9]) + payload if cut else payload)
                await peer.socket.send_message(b"\0")  # what came before may have been a ping
            code, reason = await peer.closed()
            assert code == CloseCode.PROTOCOL
            assert reason

    trio.run(attack)


async def test_still_serves_after_all_this(process: ProviderProcess) -> None:
    signer = Signer(b"after all".ljust(32, b"."))
    assert await _exchange(process, SUBPROTOCOL_BINARY, signer, 0) == [b"one", b"two"]
