"""One WebSocket on a bare stream: handshake, messages in, frames out without waiting.

Knows nothing of what the messages say. Reading is wsproto's; what goes out is framed here and written straight to the
socket by whoever has it, and what a full socket does not take waits in this connection's own bounded queue. Source:
RFC 6455. Compression is never negotiated: ciphertext only grows, and a bomb would inflate before any size check.
"""

import os
from collections import deque
from contextlib import suppress
from itertools import islice
from typing import Final, NamedTuple

import trio
import wsproto
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Message,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from noise.protocol.errors import DecodeError, NoiseError
from noise.protocol.frames import SUBPROTOCOL_BINARY, SUBPROTOCOL_JSON
from noise.protocol.push_session import choose_subprotocol
from noise.web.budget import Budget
from noise.web.listen import split_head

QUEUE_BYTES_MAX: Final = 1 << 20
"""Bytes that may wait for one client, unless a single frame is larger: a few epochs of a busy mailbox."""

BUDGET_BYTES_MAX: Final = 256 << 20
"""Bytes that may wait for all clients together; and as many of theirs that are half received, or wait to be handled."""

_RECEIVE_BYTES: Final = 1 << 16
_STALL_S: Final = 30.0
_WRITEV_MAX: Final = 64


class Refused(NoiseError):
    """A handshake that was answered with an error; the connection is of no more use."""

    default_code = "handshake-refused"


class Budgets(NamedTuple):
    """What waits for all connections together: to be sent, and to be received whole or handled."""

    outgoing: Budget
    incoming: Budget


class WebSocket:
    """An accepted connection. `subprotocol`: the one chosen; `host`: the Host header of the handshake."""

    def __init__(
        self, stream: trio.SocketStream, connection: wsproto.WSConnection, subprotocol: str, host: str, budgets: Budgets
    ) -> None:
        self.subprotocol = subprotocol
        self.host = host
        self.overflowed = trio.Event()
        self._stream = stream
        self._fd = stream.socket.fileno()
        self._connection = connection
        self._outgoing, self._incoming = budgets
        self._held = 0  # of the incoming budget
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._waiting = trio.Event()
        self._drained = trio.Event()
        self._closed = False

    def send_nowait(self, payload: bytes | str) -> None:
        """Send one message now, or as soon as the socket takes it. Sets `overflowed` when too much waits already."""
        data = payload.encode("utf-8") if isinstance(payload, str) else payload
        self._write_nowait(_frame_header(0x1 if isinstance(payload, str) else 0x2, len(data)), data)

    def _write_nowait(self, *chunks: bytes) -> None:
        """Write one frame, or queue what the socket does not take of it: an item of the queue is (the rest of) one."""
        if self._closed or self.overflowed.is_set():
            return
        size = sum(map(len, chunks))
        if self._queue:
            if self._queued + size > QUEUE_BYTES_MAX or not self._outgoing.has_room(size):
                self._overflow()
                return
            sent = 0
        else:
            sent = self._try_write(chunks)
            if sent in (-1, size):
                return
            if not self._outgoing.has_room(size - sent):
                self._cut()
                return
        self._queue.append(b"".join(chunks)[sent:])
        self._queued += size - sent
        self._outgoing.used += size - sent
        self._waiting.set()

    def _try_write(self, chunks: "tuple[bytes, ...] | list[bytes]") -> int:
        """Bytes that the socket took; -1 when the peer is gone."""
        try:
            return os.writev(self._fd, chunks)
        except BlockingIOError:
            return 0
        except OSError:
            self._cut()
            return -1

    def _cut(self) -> None:
        """Nothing goes out any more, not even the rest of a frame."""
        self._closed = True
        self._drop_queue()
        self.overflowed.set()

    def _overflow(self) -> None:
        """Nothing new goes out, only the rest of the frame that is half out: a close frame may follow it."""
        half_out = self._queue[0]
        self._drop_queue()
        self._queue.append(half_out)
        self._queued = len(half_out)
        self._outgoing.used += self._queued
        self.overflowed.set()

    def _drop_queue(self) -> None:
        self._outgoing.used -= self._queued
        self._queued = 0
        self._queue.clear()
        self._drained.set()

    async def run_writer(self) -> None:
        """Write what waits, whenever the socket takes it; a socket that takes nothing for long has overflowed."""
        while not self._closed:
            await self._waiting.wait()
            self._waiting = trio.Event()
            while self._queue:
                with trio.move_on_after(_STALL_S) as stalled:
                    await trio.lowlevel.wait_writable(self._fd)
                if stalled.cancelled_caught:
                    self._overflow()
                    return
                self._consume(self._try_write(list(islice(self._queue, _WRITEV_MAX))))
            self._drained.set()

    def _consume(self, sent: int) -> None:
        if sent <= 0:
            return
        self._queued -= sent
        self._outgoing.used -= sent
        while sent:
            chunk = self._queue.popleft()
            if len(chunk) > sent:
                self._queue.appendleft(chunk[sent:])
                return
            sent -= len(chunk)

    async def drain(self) -> None:
        """Wait until nothing waits to be written. Needs `run_writer` running."""
        while self._queue and not self._closed:
            self._drained = trio.Event()
            await self._drained.wait()
        await trio.lowlevel.checkpoint()

    async def receive(self, bytes_max: int) -> bytes | str | None:
        """The next message; None when the peer has closed.

        Raises DecodeError for what is too large or no WebSocket, NoiseError "busy" when too much is half received on
        all connections together. Not to be called again after it raised, or was cancelled in the middle of a message.
        What it returned is held in the budget until it is called again, or the connection is closed.
        """
        self._release()
        texts: list[str] = []
        blobs: list[bytes | bytearray] = []
        size = 0
        try:
            while True:
                for event in self._connection.events():
                    if isinstance(event, CloseConnection):
                        self._answer_close(event)
                        return None
                    if isinstance(event, Ping):
                        self._write_nowait(self._connection.send(event.response()))
                    elif isinstance(event, Message):
                        part = len(event.data) if isinstance(event, BytesMessage) else len(event.data.encode("utf-8"))
                        size += part
                        self._held += part
                        self._incoming.used += part
                        if size > bytes_max:
                            raise DecodeError(f"a message has at most {bytes_max} bytes here", code="frame-too-large")
                        if isinstance(event, TextMessage):
                            texts.append(event.data)
                        elif isinstance(event, BytesMessage):
                            blobs.append(event.data)
                        if event.message_finished:
                            return "".join(texts) if isinstance(event, TextMessage) else b"".join(blobs)
                if size and not self._incoming.has_room(0):
                    raise NoiseError("too much is half received: reconnect later", code="busy")
                data = await self._stream.receive_some(_RECEIVE_BYTES)
                if not data:
                    return None
                self._connection.receive_data(bytes(data))
        except (RemoteProtocolError, LocalProtocolError):
            raise DecodeError("not a WebSocket frame", code="bad-websocket") from None
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return None

    def _release(self) -> None:
        self._incoming.used -= self._held
        self._held = 0

    def _answer_close(self, event: CloseConnection) -> None:
        if not self._closed:
            self._write_nowait(self._connection.send(event.response()))

    async def close(self, code: int, reason: str) -> None:
        """Send what waits and a close frame, if that is still possible, and close. `reason`: cut at 120 bytes."""
        try:
            while self._queue and not self._closed:
                await trio.lowlevel.wait_writable(self._fd)
                self._consume(self._try_write(list(islice(self._queue, _WRITEV_MAX))))
            if not self._closed:
                with suppress(LocalProtocolError):  # the peer closed first
                    self._try_write([self._connection.send(CloseConnection(code, reason[:120]))])
        finally:
            self._closed = True
            self._drop_queue()
            self._release()
            await self._stream.aclose()


def _frame_header(opcode: int, size: int) -> bytes:
    """The header of a final, unmasked frame. Source: RFC 6455 section 5.2."""
    if size < 126:
        return bytes((0x80 | opcode, size))
    if size < 1 << 16:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big")
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big")


async def accept_websocket(stream: trio.SocketStream, first_bytes: bytes, budgets: Budgets) -> WebSocket:
    """Answer the handshake in `first_bytes`, choosing a subprotocol of ours that the client offers.

    Raises Refused after it has told the client why.
    """
    connection = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
    head, rest = split_head(first_bytes)
    try:
        connection.receive_data(head)
        request = next((event for event in connection.events() if isinstance(event, Request)), None)
    except (RemoteProtocolError, UnicodeError):
        request = None
    if request is None:
        await _send(stream, b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        raise Refused("not a WebSocket handshake")
    chosen = choose_subprotocol(request.subprotocols)
    if chosen is None:
        wanted = ", ".join((SUBPROTOCOL_BINARY, SUBPROTOCOL_JSON)).encode("ascii")
        body = (
            b'{"type":"about:blank","title":"Bad Request","status":400,"code":"unknown-subprotocol",'
            b'"detail":"offer one of these subprotocols: ' + wanted + b'"}'
        )
        headers = [(b"content-type", b"application/problem+json"), (b"connection", b"close")]
        headers.append((b"content-length", str(len(body)).encode("ascii")))
        answer = connection.send(RejectConnection(status_code=400, headers=headers, has_body=True))
        await _send(stream, answer + connection.send(RejectData(data=body)))
        raise Refused("no subprotocol of ours was offered")
    await _send(stream, connection.send(AcceptConnection(subprotocol=chosen)))
    if rest:
        connection.receive_data(rest)
    return WebSocket(stream, connection, chosen, request.host, budgets)


async def _send(stream: trio.SocketStream, data: bytes) -> None:
    try:
        await stream.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        raise Refused("the client left during the handshake") from None
