"""A live server over real sockets, for the tests of this folder, and a client that says exactly what it is told to.

Must not know: what each test attacks.
"""

import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import h11
import trio
from hypercorn.typing import ASGIFramework
from quart import request
from quart_trio import QuartTrio

from noise.web.hardened import HttpLimits
from noise.web.listen import PushHandler, open_listeners, serve_http

PUSH_PATH = "/v1/push"
GOOD_REQUEST = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
PUSH_REQUEST = (
    b"GET /v1/push HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
LARGE_BYTES = 16 * 1024 * 1024  # more than the kernel buffers of both ends

QUICK = HttpLimits(
    head_timeout_s=5,
    body_timeout_s=5,
    idle_timeout_s=5,
    send_timeout_s=5,
    linger_s=0.2,
    grace_s=5,
    lifespan_timeout_s=5,
)


@dataclass
class Diary:
    """What the application saw."""

    events: list[str] = field(default_factory=list)
    _changed: trio.Event = field(default_factory=trio.Event)

    def write(self, event: str) -> None:
        self.events.append(event)
        self._changed.set()

    async def wait_for(self, event: str) -> None:
        while event not in self.events:
            self._changed = trio.Event()
            await self._changed.wait()


def create_app(diary: Diary) -> QuartTrio:
    app = QuartTrio("live")
    app.config["MAX_CONTENT_LENGTH"] = 100_000
    app.config["BODY_TIMEOUT"] = 5
    app.config["RESPONSE_TIMEOUT"] = 5

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


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[bytes, bytes]
    body: bytes


class Live:
    """A running server."""

    def __init__(self, address: tuple[str, int], stop: trio.Event, over: trio.Event, diary: Diary) -> None:
        self.address = address
        self.stop = stop
        self.over = over
        self.diary = diary

    async def connect(self, first_bytes: bytes = b"", *, receive_buffer_bytes: int | None = None) -> trio.SocketStream:
        sock = trio.socket.socket()
        if receive_buffer_bytes is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        await sock.connect(self.address)
        stream = trio.SocketStream(sock)
        await stream.send_all(first_bytes)
        return stream

    async def ask(self, request_bytes: bytes) -> Answer:
        """The first answer on a fresh connection."""
        async with await self.connect(request_bytes) as stream:
            return await read_answer(stream)

    async def check_alive(self) -> None:
        answer = await self.ask(GOOD_REQUEST)
        assert (answer.status, answer.body) == (200, b"hello")


async def read_answer(stream: trio.SocketStream) -> Answer:
    """One response, which must be complete."""
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


async def is_ended(stream: trio.SocketStream) -> bool:
    """Read until the server ends the connection, in whatever way."""
    try:
        while await stream.receive_some():
            pass
    except trio.BrokenResourceError:
        pass
    return True


def reset(stream: trio.SocketStream) -> None:
    """Close with a reset instead of an end."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


async def refuse_push(stream: trio.SocketStream, first_bytes: bytes) -> None:
    raise AssertionError("nobody asked for a push session")


@asynccontextmanager
async def serving(
    app: ASGIFramework | None = None,
    *,
    push_handler: PushHandler = refuse_push,
    **limits: float,
) -> AsyncIterator[Live]:
    """A server for the length of a block; it is stopped at the block's end and must then end by itself."""
    diary = Diary()
    listeners = await open_listeners("127.0.0.1", 0)
    live = Live(listeners[0].socket.getsockname(), trio.Event(), trio.Event(), diary)

    async def run(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        await serve_http(
            create_app(diary) if app is None else app,
            listeners,
            push_path=PUSH_PATH,
            push_handler=push_handler,
            stop=live.stop,
            limits=replace(QUICK, **limits),
            task_status=task_status,
        )
        live.over.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        yield live
        live.stop.set()


AsgiSend = Callable[..., Awaitable[None]]


def bare_asgi(handle: Callable[..., Awaitable[None]]) -> ASGIFramework:
    """An ASGI application without a framework: `handle(scope, receive, send)` for each request."""

    async def app(scope: dict, receive: Callable[[], Awaitable[dict]], send: AsgiSend) -> None:
        if scope["type"] == "http":
            await handle(scope, receive, send)
            return
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    return app


