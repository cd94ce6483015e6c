"""A push client with nothing between the test and the bytes: it reads when the test says so, or never."""

import resource
from pathlib import Path

import trio

from noise.protocol.delta import Delivery, RecipientLists
from noise.protocol.envelope import Bundle
from noise.protocol.follower import Follower, new_lists
from noise.protocol.frames import (
    AUTH_PROOF,
    PURPOSE_PUSH,
    AuthFrame,
    AuthProof,
    BundleFrame,
    ChallengeFrame,
    DeltaFrame,
    Frame,
    ReceiptFrame,
    SignedAuthProof,
    encode_frame,
    parse_frame,
)
from noise.protocol.identifiers import device_id_of, parse_id
from noise.protocol.signing import Signer
from tests.load.wire import check_upgrade, encode_message, encode_upgrade, take_messages


def allow_connections() -> None:
    """Many sockets in this process too."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class RawPush:
    """One device's connection, with its follower."""

    def __init__(self, url: str, origin: str, signer: Signer) -> None:
        self.host = url.removeprefix("http://")
        self.origin = parse_id(origin)
        self.signer = signer
        self.device_id = device_id_of(signer.public_key)
        self.counters: dict[bytes, int] = {}
        self.follower = Follower(self.origin, self.device_id, last_counter=self.counters.get)
        self.deliveries: list[Delivery] = []
        self.received_bytes = 0
        self.stream: trio.SocketStream | None = None
        self._lists = RecipientLists()

    async def connect(self, receive_buffer_bytes: int | None = None) -> None:
        """Handshake and authentication, from the follower's cursor."""
        host, _, port = self.host.rpartition(":")
        sock = trio.socket.socket()
        if receive_buffer_bytes is not None:
            sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, receive_buffer_bytes)
        await self.close()
        await sock.connect((host, int(port)))
        self.stream = trio.SocketStream(sock)
        self._buffer = bytearray()
        self._frames: list[Frame] = []
        self._lists = RecipientLists()
        head, accept = encode_upgrade(self.host)
        await self.stream.send_all(head)
        while b"\r\n\r\n" not in self._buffer:
            self._buffer += await self._receive()
        answer, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        check_upgrade(answer + b"\r\n\r\n", accept)
        self._buffer = bytearray(rest)
        challenge = await self.next_frame()
        assert isinstance(challenge, ChallengeFrame)
        body = AUTH_PROOF.encode(
            AuthProof(
                self.origin,
                self.device_id,
                self.signer.public_key,
                challenge.nonce,
                self.host,
                PURPOSE_PUSH,
                challenge.server_ms + challenge.life_ms,
            )
        )
        signature = self.signer.sign("auth", self.origin, body).signature
        await self.send(AuthFrame(SignedAuthProof(body, signature), self.follower.cursor))

    async def close(self) -> None:
        if self.stream is not None:
            await trio.aclose_forcefully(self.stream)
            self.stream = None

    async def _receive(self) -> bytes:
        data = await self.stream.receive_some(1 << 16)
        if not data:
            raise EOFError("the server closed the connection")
        self.received_bytes += len(data)
        return bytes(data)

    async def send(self, frame: Frame) -> None:
        await self.stream.send_all(encode_message(encode_frame(frame)))

    async def next_frame(self) -> Frame:
        """Raises EOFError when the server has closed, WireError when it said why."""
        while not self._frames:
            payloads, _ = take_messages(self._buffer)
            self._frames += [parse_frame(payload) for payload in payloads]
            if not self._frames:
                self._buffer += await self._receive()
        return self._frames.pop(0)

    def verify(self, frame: DeltaFrame) -> list[Delivery]:
        step = self.follower.check_delta(frame.delta, self._lists)
        self.follower.adopt(step)
        self._lists.admit(new_lists(frame.delta))
        self.counters.update(step.counters)
        self.deliveries += step.deliveries
        return step.deliveries

    async def next_deliveries(self) -> list[Delivery]:
        """Of the next delta that has any."""
        while True:
            frame = await self.next_frame()
            if isinstance(frame, DeltaFrame) and (new := self.verify(frame)):
                return new

    async def first_delta(self) -> None:
        frame = await self.next_frame()
        assert isinstance(frame, DeltaFrame), frame
        self.verify(frame)

    async def send_bundle(self, bundle: Bundle) -> None:
        """Send, and wait for the verified receipt; deltas that come first are verified too."""
        await self.send(BundleFrame(1, bundle.encode()))
        while True:
            frame = await self.next_frame()
            if isinstance(frame, ReceiptFrame):
                self.follower.check_receipt(frame.receipt, bundle)
                return
            assert isinstance(frame, DeltaFrame), frame
            self.verify(frame)


class Crowd:
    """Raw clients of one provider, all closed at the end."""

    def __init__(self, url: str, origin: str) -> None:
        self._url = url
        self._origin = origin
        self._clients: list[RawPush] = []

    async def connect(self, name: str, receive_buffer_bytes: int | None = None) -> RawPush:
        """A new device, named, which has verified its first delta."""
        client = RawPush(self._url, self._origin, Signer(name.encode().ljust(32, b".")))
        self._clients.append(client)
        await client.connect(receive_buffer_bytes)
        await client.first_delta()
        return client

    async def __aenter__(self) -> "Crowd":
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients:
            await client.close()


def memory_kib(pid: int, field: str = "VmRSS") -> int:
    """A process's memory, in KiB: VmRSS now, VmHWM at its highest."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise AssertionError(field)


def processor_s(pid: int) -> float:
    """Processor time that a process has used, in seconds."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
