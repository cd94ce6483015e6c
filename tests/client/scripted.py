"""A WebSocket server that speaks a provider's role as each test scripts it, over real sockets.

Must not know: the SDK. What it says is signed by a TinyProvider; what it hears is checked as a provider would.
"""

import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import NoReturn

import h11
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

from noise.protocol.delta import RecipientLists
from noise.protocol.envelope import open_bundle
from noise.protocol.frames import (
    ACK_BODY,
    AckBody,
    AckFrame,
    AuthFrame,
    BundleFrame,
    ChallengeFrame,
    Cursor,
    DeltaFrame,
    Frame,
    PingFrame,
    PongFrame,
    ReceiptFrame,
)
from noise.protocol.limits import CHALLENGE_MS
from noise.protocol.push_session import PushRole, PushSession
from noise.protocol.signing import verify_strict
from noise.web.auth import check_auth
from tests.client.tiny_provider import TinyProvider
from tests.vectors.cast import CREATED_MS, ORIGIN

NONCE = b"n" * 32


class Gone(Exception):
    """The client has closed the connection."""


@dataclass(eq=False)
class Session:
    """The server's end of one connection. `number`: which connection of the test it is, from 0."""

    ws: WebSocketConnection
    number: int
    host: str
    push: PushSession = field(default_factory=lambda: PushSession(PushRole.SERVER, binary=True))
    lists: RecipientLists = field(default_factory=RecipientLists)
    device_id: bytes = b""
    cursor: Cursor | None = None

    async def send(self, frame: Frame) -> None:
        try:
            await self.ws.send_message(self.push.send(frame))
        except ConnectionClosed:
            raise Gone from None

    async def receive(self) -> Frame:
        try:
            return self.push.receive(await self.ws.get_message())
        except ConnectionClosed:
            raise Gone from None

    async def receive_a(self, kind: type[Frame]) -> Frame:
        """The next frame of this kind; others are dropped."""
        while not isinstance(frame := await self.receive(), kind):
            pass
        return frame

    async def let_in(self, origin: bytes = ORIGIN) -> AuthFrame:
        """Challenge the client, and check its proof as the provider does."""
        await self.send(ChallengeFrame(origin, NONCE, CHALLENGE_MS, CREATED_MS))
        auth = await self.receive()
        assert isinstance(auth, AuthFrame)
        self.device_id = check_auth(
            auth.proof, origin=origin, nonce=NONCE, audiences=(self.host,), purpose="push", now_ms=CREATED_MS
        )
        self.cursor = auth.cursor
        return auth

    async def send_delta(self, provider: TinyProvider, records_max: int = 2**32) -> None:
        """What the client does not have yet."""
        assert self.cursor is not None
        delta, self.cursor = provider.delta(self.device_id, self.cursor, self.lists, records_max)
        await self.send(DeltaFrame(delta))

    async def end(self, code: int) -> NoReturn:
        """Close with this code; the script ends here."""
        await self.ws.aclose(code, "as the test says")
        raise Gone


def in_time(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """A test that fails when it takes too long."""

    @wraps(test)
    async def run(*arguments: object, **named: object) -> None:
        with trio.fail_after(20):
            await test(*arguments, **named)

    return run


Script = Callable[[Session], Awaitable[None]]
Answer = Callable[[str, str, bytes], tuple[int, bytes]]
"""What a server answers over HTTP: (status, body) for a method, a path and a body."""


def answer_nothing(method: str, path: str, body: bytes) -> tuple[int, bytes]:
    return 404, b'{"code":"not-found","detail":"as the test says"}'


@dataclass
class Scripted:
    """A server that is up. `sessions`: all that there were."""

    url: str
    sessions: list[Session] = field(default_factory=list)


class _Resumed(trio.abc.Stream):
    """A stream of which the beginning was read already."""

    def __init__(self, stream: trio.abc.Stream, begun: bytes) -> None:
        self._stream = stream
        self._begun = begun

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if not self._begun:
            return bytes(await self._stream.receive_some(max_bytes))
        begun, self._begun = self._begun[:max_bytes], self._begun[max_bytes:] if max_bytes else b""
        await trio.lowlevel.checkpoint()
        return begun

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _answer_http(stream: trio.abc.Stream, begun: bytes, answer: Answer) -> None:
    """One request, one answer, the end."""
    http = h11.Connection(h11.SERVER)
    http.receive_data(begun)
    request, body = None, b""
    while not isinstance(event := http.next_event(), h11.EndOfMessage):
        if event is h11.NEED_DATA:
            http.receive_data(bytes(await stream.receive_some()))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body += event.data
        else:
            return
    assert request is not None
    status, content = answer(request.method.decode(), request.target.decode(), body)
    headers = [("content-length", str(len(content))), ("connection", "close")]
    events = [h11.Response(status_code=status, headers=headers), h11.Data(data=content), h11.EndOfMessage()]
    await stream.send_all(b"".join(http.send(event) or b"" for event in events))


@asynccontextmanager
async def serving(
    script: Script, port: int = 0, ssl_context: ssl.SSLContext | None = None, answer: Answer = answer_nothing
) -> AsyncIterator[Scripted]:
    """Run a script for each connection; its end ends the connection without a close frame. `answer`: for plain HTTP."""
    tcp_listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
    port = tcp_listeners[0].socket.getsockname()[1]
    server = Scripted(f"{'https' if ssl_context else 'http'}://127.0.0.1:{port}")
    listeners: list[trio.abc.Listener[trio.abc.Stream]] = list(tcp_listeners)
    if ssl_context:
        listeners = [trio.SSLListener(listener, ssl_context, https_compatible=True) for listener in tcp_listeners]

    async def handle(stream: trio.abc.Stream) -> None:
        begun = b""
        try:
            async with stream:
                while b"\r\n\r\n" not in begun:
                    chunk = await stream.receive_some()
                    if not chunk:
                        return
                    begun += chunk
                if b"upgrade: websocket" in begun.lower():
                    await converse(_Resumed(stream, begun))
                else:
                    await _answer_http(stream, begun, answer)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async def converse(stream: trio.abc.Stream) -> None:
        async with trio.open_nursery() as nursery:
            request = await wrap_server_stream(nursery, stream, max_message_size=1 << 24)
            host = request._event.host
            ws = await request.accept(subprotocol="noise.v1")
            session = Session(ws, len(server.sessions), host)
            server.sessions.append(session)
            try:
                await script(session)
            except Gone:
                pass
            finally:
                await trio.aclose_forcefully(ws._stream)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, handle, listeners)
        yield server
        nursery.cancel_scope.cancel()


class Provider:
    """An honest provider for any number of connections. `acks`: what devices have acknowledged."""

    def __init__(self) -> None:
        self.tiny = TinyProvider()
        self.acks: list[AckBody] = []
        self.bundles: list[bytes] = []
        self._sessions: set[Session] = set()
        self._heard = trio.Event()

    async def serve(self, session: Session) -> None:
        """A Script."""
        await session.let_in()
        await session.send_delta(self.tiny)
        self._sessions.add(session)
        try:
            while True:
                await self.hear(session, await session.receive())
        finally:
            self._sessions.discard(session)

    async def hear(self, session: Session, frame: Frame) -> None:
        if isinstance(frame, BundleFrame):
            self.bundles.append(frame.bundle)
            receipt = self.tiny.submit(open_bundle(frame.bundle, ORIGIN))
            await session.send(ReceiptFrame(frame.request, receipt))
            await self.publish()
        elif isinstance(frame, AckFrame):
            ack = ACK_BODY.decode(frame.body)
            verify_strict(ack.key, frame.signature, "ack", ORIGIN, frame.body)
            self.acks.append(ack)
        elif isinstance(frame, PingFrame):
            await session.send(PongFrame(frame.token))
        self._heard.set()
        self._heard = trio.Event()

    async def publish(self) -> None:
        """Push what is new to everybody."""
        for session in list(self._sessions):
            try:
                await session.send_delta(self.tiny)
            except Gone:
                self._sessions.discard(session)

    async def wait_heard(self, is_true: Callable[[], bool]) -> None:
        """Until it holds, which is asked after each frame that came."""
        while not is_true():
            await self._heard.wait()


def lines_of(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]
