"""A live server over real sockets for the tests of this folder, and a client that says exactly what it is told to.

Must not know: what each test attacks.
"""

import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import h11
import trio
from hypercorn.typing import ASGIFramework
from quart import request
from quart_trio import QuartTrio

from noise.web.hardened import HttpLimits
from noise.web.listen import PushHandler, open_listeners, serve_http

PUSH_PATH = "/v1/push"
PUSH_REQUEST = (
    b"GET /v1/push HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
HELLO = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
LARGE_BYTES = 16 * 1024 * 1024  # more than the kernel buffers of both ends

PATIENT = HttpLimits(
    head_timeout_s=60,
    body_timeout_s=60,
    idle_timeout_s=60,
    send_timeout_s=60,
    linger_s=60,
    grace_s=60,
    lifespan_timeout_s=60,
)
"""No limit here fires within a test, so that the one that a test shortens is the one that it sees."""


@dataclass
class Diary:
    """What the application saw, in order."""

    events: list[str] = field(default_factory=list)
    _written: trio.Event = field(default_factory=trio.Event)

    def write(self, event: str) -> None:
        self.events.append(event)
        self._written.set()

    async def wait_for(self, event: str, count: int = 1) -> None:
        while self.events.count(event) < count:
            self._written = trio.Event()
            await self._written.wait()


def create_app(diary: Diary) -> QuartTrio:
    app = QuartTrio("live")
    app.config["MAX_CONTENT_LENGTH"] = 100_000
    app.config["BODY_TIMEOUT"] = 30
    app.config["RESPONSE_TIMEOUT"] = 30

    @app.before_serving
    async def begin() -> None:
        diary.write("begin")

    @app.after_serving
    async def end() -> None:
        diary.write("end")

    @app.get("/hello")
    async def hello() -> str:
        return "hello"

    @app.post("/echo")
    async def echo() -> bytes:
        return await request.get_data()

    @app.get("/large")
    async def large() -> bytes:
        diary.write("large")
        return bytes(LARGE_BYTES)

    @app.get("/forever")
    async def forever() -> str:
        diary.write("forever")
        try:
            await trio.sleep_forever()
        finally:
            diary.write("forever cancelled")

    @app.get("/until-told")
    async def until_told() -> str:
        diary.write("until-told")
        await diary.wait_for("told")
        return "told"

    @app.post("/smuggled")
    async def smuggled() -> str:
        diary.write("smuggled")
        return "smuggled"

    return app


def bare_asgi(handle: Callable[[Any, Any, Any], Awaitable[None]]) -> ASGIFramework:
    """An ASGI application without a framework: `handle(scope, receive, send)` for each request but `/hello`."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["path"] == "/hello":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
            await send({"type": "http.response.body", "body": b"hello"})
        else:
            await handle(scope, receive, send)

    return app


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[bytes, bytes]
    body: bytes


async def read_answer(stream: trio.SocketStream) -> Answer:
    """One whole response. Raises h11.RemoteProtocolError if there is none."""
    parser = h11.Connection(h11.CLIENT)
    parser.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    parser.send(h11.EndOfMessage())
    response: h11.Response | None = None
    body = bytearray()
    while True:
        event = parser.next_event()
        if event is h11.NEED_DATA:
            parser.receive_data(await stream.receive_some())
        elif isinstance(event, h11.Response):
            response = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            assert response is not None
            return Answer(response.status_code, dict(response.headers), bytes(body))
        elif isinstance(event, h11.ConnectionClosed):
            raise h11.RemoteProtocolError("closed without a response")


async def read_to_end(stream: trio.SocketStream) -> bytes:
    """All that the server sends until it ends the connection, in whatever way."""
    received = bytearray()
    try:
        while data := await stream.receive_some():
            received += data
    except trio.BrokenResourceError:
        pass
    return bytes(received)


def reset(stream: trio.SocketStream) -> None:
    """Close with a reset instead of an end."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


async def connect(
    address: tuple[str, int], first_bytes: bytes = b"", *, receive_buffer_bytes: int | None = None
) -> trio.SocketStream:
    sock = trio.socket.socket()
    if receive_buffer_bytes is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    stream = trio.SocketStream(sock)
    try:
        await sock.connect(address)
        await stream.send_all(first_bytes)
    except BaseException:
        sock.close()
        raise
    return stream


class Live:
    """A running server."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.stop = trio.Event()
        self.over = trio.Event()
        self.diary = Diary()
        self.streams: list[trio.SocketStream] = []

    async def connect(self, first_bytes: bytes = b"", *, receive_buffer_bytes: int | None = None) -> trio.SocketStream:
        """A fresh connection, which is closed with the server at the latest."""
        stream = await connect(self.address, first_bytes, receive_buffer_bytes=receive_buffer_bytes)
        self.streams.append(stream)
        return stream

    async def ask(self, request_bytes: bytes) -> Answer:
        """The first answer on a fresh connection."""
        async with await self.connect(request_bytes) as stream:
            return await read_answer(stream)

    async def check_alive(self) -> None:
        answer = await self.ask(HELLO)
        assert (answer.status, answer.body) == (200, b"hello")


async def refuse_push(stream: trio.SocketStream, first_bytes: bytes) -> None:
    raise AssertionError("nobody asked for a push session")


@asynccontextmanager
async def serving(
    app: ASGIFramework | None = None, *, push_handler: PushHandler = refuse_push, **limits: float
) -> AsyncIterator[Live]:
    """A server for the length of a block. At the block's end it is stopped, and has to end by itself."""
    listeners = await open_listeners("127.0.0.1", 0)
    live = Live(listeners[0].socket.getsockname())

    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        await serve_http(
            create_app(live.diary) if app is None else app,
            listeners,
            push_path=PUSH_PATH,
            push_handler=push_handler,
            stop=live.stop,
            limits=replace(PATIENT, **limits),
            task_status=task_status,
        )
        live.over.set()

    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(run)
            yield live
            live.stop.set()
    finally:
        for stream in live.streams:
            stream.socket.close()
