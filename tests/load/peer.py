"""One connection of the generator: a device's WebSocket on a plain socket that never blocks once it is open.

Knows nothing of load or clocks: it is told what to send, and hands out what came.
"""

import socket
from collections import deque

from noise.protocol.envelope import Recipients
from noise.protocol.frames import (
    ACK_BODY,
    AUTH_PROOF,
    PURPOSE_PUSH,
    START,
    AckBody,
    AckFrame,
    AuthFrame,
    AuthProof,
    ChallengeFrame,
    SignedAuthProof,
    encode_frame,
    parse_frame,
)
from noise.protocol.history import MAILBOX_STATE
from tests.load.population import Device, Stocked
from tests.load.verification import Client
from tests.load.wire import WireError, check_upgrade, encode_message, encode_upgrade, take_messages

_CONNECT_S = 30.0


class Peer:
    """`frames`: every delta frame that came, as payloads. `outstanding`: bundles without a receipt, by request.

    `client`: verifies live; None for most. `unsent`: what the socket did not take yet.
    """

    def __init__(self, device: Device, recipients: Recipients, client: Client | None) -> None:
        self.device = device
        self.recipients = recipients
        self.client = client
        self.stock: deque[Stocked] = deque()
        self.outstanding: dict[int, Stocked] = {}
        self.frames: list[bytes] = []
        self.n_sent = 0
        self.n_deliveries = 0
        self.last_state = b""
        self.is_ack_due = False
        self.unsent = bytearray()
        self.sock = socket.socket()
        self._buffer = bytearray()
        self._needed = 2

    def connect(self, host: str, port: int, origin: bytes) -> None:
        """Shake hands and prove who we are. Waits for the server. Raises WireError or OSError."""
        self.sock.settimeout(_CONNECT_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.connect((host, port))
        audience = f"{host}:{port}"
        head, accept = encode_upgrade(audience)
        self.sock.sendall(head)
        while b"\r\n\r\n" not in self._buffer:
            self._receive_some()
        end = self._buffer.index(b"\r\n\r\n") + 4
        check_upgrade(bytes(self._buffer[:end]), accept)
        del self._buffer[:end]
        while not (payloads := take_messages(self._buffer)[0]):
            self._receive_some()
        challenge = parse_frame(payloads[0], {ChallengeFrame})
        if challenge.origin != origin:
            raise WireError("the server is another provider")
        proof = AuthProof(
            origin,
            self.device.device_id,
            self.device.key,
            challenge.nonce,
            audience,
            PURPOSE_PUSH,
            challenge.server_ms + challenge.life_ms,
        )
        signed = self.device.signer.sign("auth", origin, AUTH_PROOF.encode(proof))
        self.sock.sendall(encode_message(encode_frame(AuthFrame(SignedAuthProof(*signed), START))))
        self.sock.setblocking(False)

    def _receive_some(self) -> None:
        data = self.sock.recv(1 << 16)
        if not data:
            raise WireError("closed during the handshake")
        self._buffer += data

    def take(self, data: memoryview) -> list[bytes]:
        """The payloads that are complete with `data`. Raises WireError."""
        self._buffer += data
        if len(self._buffer) < self._needed:
            return []
        payloads, self._needed = take_messages(self._buffer)
        return payloads

    def send(self, frame: bytes) -> None:
        """Send what the socket takes; the rest is `unsent`."""
        if not self.unsent:
            try:
                sent = self.sock.send(frame)
            except BlockingIOError:
                sent = 0
            if sent == len(frame):
                return
            frame = frame[sent:]
        self.unsent += frame

    def flush(self) -> None:
        """Send of `unsent` what the socket takes now."""
        try:
            del self.unsent[: self.sock.send(self.unsent)]
        except BlockingIOError:
            return

    def make_ack(self, origin: bytes, epoch: int) -> bytes:
        """A signed acknowledgement, framed, of all that came so far."""
        self.is_ack_due = False
        hist_next = MAILBOX_STATE.decode(self.last_state).hist_size
        body = ACK_BODY.encode(AckBody(origin, self.device.device_id, self.device.key, epoch, hist_next))
        return encode_message(encode_frame(AckFrame(*self.device.signer.sign("ack", origin, body))))
