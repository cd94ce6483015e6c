"""Hypercorn's HTTP/1.1, hardened: one connection, and no client that can use it against the others.

Hypercorn's own connection driver (`hypercorn.trio.tcp_server.TCPServer`) lets an exception of one connection cancel
the whole server, cannot cancel a send, switches to HTTP/2 when a client says so, and under Quart-Trio never times out
an idle connection. `HttpConnection` takes its place. Of Hypercorn it keeps the HTTP/1.1 state machine (`H11Protocol`)
and the translation to ASGI (`HTTPStream`), and overrides parts of both that are not public: hence the pinned version.

Plain TCP only: TLS ends in front of this process. HTTP/1.0 and 1.1 only: `Upgrade: h2c` is ignored (RFC 9110, 7.8) and
answered in HTTP/1.1; the HTTP/2 preface gets 505. Every `Upgrade: websocket` that gets here is refused before
Hypercorn's WebSocket code sees it, which always negotiates compression and never checks pongs; the one WebSocket of
this server is taken out in `noise.web.listen`, before Hypercorn.

What an application needs to know. A handler is cancelled when its client disconnects (half closing counts), so shield
what must not stop midway; but not while bytes of a next request, or an `Upgrade`, keep this side from reading on, so
bound what waits. After a disconnect `send` succeeds silently. Uploads have no backpressure: set `MAX_CONTENT_LENGTH`.

Must not know: what the application does, which paths exist, how connections are accepted or counted.
"""

import logging
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from importlib import metadata
from pathlib import Path

import h11
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import EndBody, Request, Response
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import (
    AppWrapper,
    ASGIFramework,
    ASGIReceiveEvent,
    ASGISendEvent,
    ConnectionState,
    LifespanState,
    Scope,
)
from hypercorn.utils import parse_socket_addr

from noise.protocol.errors import NoiseError

HYPERCORN_VERSION = "0.18.0"
LOGGER = logging.getLogger("noise.web")

_RECEIVE_BYTES = 65_536
_SEND_BYTES = 65_536  # what has to leave within one send deadline: at 30 s, a client slower than 2 KiB/s is cut


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds of one listening port. Times in seconds."""

    head_bytes_max: int = 16_384
    """Request line and headers together."""
    head_timeout_s: float = 10.0
    """From accepting a connection to the end of its first request head."""
    body_timeout_s: float = 60.0
    """From the end of a request's head to the end of its body."""
    idle_timeout_s: float = 60.0
    """From the end of a response to the end of the next request's head."""
    send_timeout_s: float = 30.0
    """For each 64 KiB of a response. Also how long sent bytes may stay unacknowledged (TCP_USER_TIMEOUT)."""
    linger_s: float = 1.0
    """How long a closed connection still swallows its client's bytes, lest a reset destroy the last response."""
    connections_max: int = 20_000
    """Connections of every kind; those beyond are answered 503."""
    grace_s: float = 5.0
    """How long running requests and push sessions may go on after a stop."""
    lifespan_timeout_s: float = 10.0
    """For the application's `before_serving` functions, and again for its `after_serving` functions."""


def check_hypercorn(version: str | None = None) -> None:
    """Raise NoiseError "wrong-hypercorn" unless `version`, None being the installed one, is the one hardened here."""
    found = metadata.version("hypercorn") if version is None else version
    if found != HYPERCORN_VERSION:
        raise NoiseError(
            f"this server hardens the internals of hypercorn {HYPERCORN_VERSION} and will not run on {found}: "
            f"install hypercorn=={HYPERCORN_VERSION}",
            code="wrong-hypercorn",
        )


def encode_refusal(status: HTTPStatus, reason: str, *, retry_after_s: int | None = None) -> bytes:
    """A whole HTTP/1.1 response that ends its connection, with `reason` (ASCII, one line) as its text."""
    retry = "" if retry_after_s is None else f"Retry-After: {retry_after_s}\r\n"
    body = reason + "\n"
    return (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\n{retry}"
        f"Content-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode("ascii")


def log_failure(what: str, error: BaseException) -> None:
    """One line: what failed, and the types and places of the errors, but not their texts, which quote requests."""
    leaves = ", ".join(f"{type(leaf).__name__} at {_place(leaf)}" for leaf in _leaves(error))
    LOGGER.error("%s failed: %s", what, leaves)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _place(error: BaseException) -> str:
    step = error.__traceback__
    if step is None:
        return "?"
    while step.tb_next is not None:
        step = step.tb_next
    return f"{Path(step.tb_frame.f_code.co_filename).name}:{step.tb_lineno}"


async def close_lingering(stream: trio.SocketStream, linger_s: float) -> None:
    """Close so that the client can read what was sent: end our side, swallow its bytes until it ends or time is up.

    Closing at once with bytes unread makes the kernel send a reset, which may overtake the response.
    """
    with trio.move_on_after(linger_s), suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        await stream.send_eof()
        while await stream.receive_some(_RECEIVE_BYTES):
            pass
    await stream.aclose()


class IdleConnections:
    """The connections that wait for a request. A graceful stop ends these at once, and those that get here later."""

    def __init__(self) -> None:
        self.stopping = False
        self._scopes: set[trio.CancelScope] = set()

    def __len__(self) -> int:
        return len(self._scopes)

    def add(self, scope: trio.CancelScope) -> None:
        if self.stopping:
            scope.cancel()
        else:
            self._scopes.add(scope)

    def discard(self, scope: trio.CancelScope) -> None:
        self._scopes.discard(scope)

    def stop(self) -> None:
        self.stopping = True
        for scope in self._scopes:
            scope.cancel()


class _RefusedError(Exception):
    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def _check_request(request: h11.Request, head_bytes_max: int) -> None:
    """Raise _RefusedError for what h11 lets pass and the layers above, or a proxy in front, could misread."""
    names = {name for name, _ in request.headers}
    if request.http_version not in {b"1.0", b"1.1"}:
        raise _RefusedError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "HTTP/1.1 only")
    if len(request.target) + sum(len(name) + len(value) for name, value in request.headers) > head_bytes_max:
        raise _RefusedError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "request head too large")
    if request.method.upper() != request.method:  # RFC 9110, 9.1: case matters; Hypercorn would read "head" as HEAD
        raise _RefusedError(HTTPStatus.BAD_REQUEST, "methods are written in capitals")
    if not request.target.startswith(b"/"):  # also CONNECT's host:port; only proxies are sent whole URLs
        raise _RefusedError(HTTPStatus.BAD_REQUEST, "the request target has to be a path")
    if b"transfer-encoding" in names and (b"content-length" in names or request.http_version == b"1.0"):
        raise _RefusedError(HTTPStatus.BAD_REQUEST, "ambiguous body length")  # RFC 9112, 6.1: request smuggling
    if any(name == b"upgrade" and b"websocket" in value.lower() for name, value in request.headers):
        raise _RefusedError(
            HTTPStatus.BAD_REQUEST, "a WebSocket opens only at the push path, as the first request of a connection"
        )


class _HttpStream(HTTPStream):
    """One request. Tells when its body is complete, and lets others run however much the application sends."""

    on_body_end: Callable[[], None]

    async def handle(self, event: StreamEvent) -> None:
        if isinstance(event, EndBody):
            self.on_body_end()
        await super().handle(event)

    async def app_send(self, message: ASGISendEvent | None) -> None:
        await super().app_send(message)
        if message is not None and message["type"] == "http.response.body" and message.get("more_body"):
            await trio.lowlevel.checkpoint()  # bytes for nobody (client gone, HEAD) do not wait by themselves


class _Http11(H11Protocol):
    """HTTP/1.1 that stays HTTP/1.1."""

    on_body_end: Callable[[], None]

    async def stream_send(self, event: StreamEvent) -> None:
        if isinstance(event, Response) and self.context.terminated.is_set():
            self.keep_alive_requests = self.config.keep_alive_max_requests  # adds "Connection: close"
        await super().stream_send(event)

    async def _check_protocol(self, event: h11.Request) -> None:
        """Hypercorn's hook for switching to HTTP/2. Raises _RefusedError."""
        _check_request(event, self.config.h11_max_incomplete_size)

    async def _create_stream(self, request: h11.Request) -> None:
        stream = _HttpStream(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        stream.on_body_end = self.on_body_end
        self.stream = stream
        await stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=list(request.headers),
                http_version=request.http_version.decode("ascii"),
                method=request.method.decode("ascii"),
                raw_path=request.target,
                state=self.connection_state,
            )
        )


class _AppCall:
    """One call of the application, and its queue of request events.

    Unlike Hypercorn's, the queue is closed by a disconnect, so nobody waits at it for ever.
    """

    def __init__(self, queue_max: int) -> None:
        self._to_app, self._from_client = trio.open_memory_channel[ASGIReceiveEvent](queue_max)

    async def put(self, event: ASGIReceiveEvent) -> None:
        if event["type"] == "http.disconnect":
            self._to_app.close()
        else:
            with suppress(trio.ClosedResourceError):
                await self._to_app.send(event)

    async def receive(self) -> ASGIReceiveEvent:
        try:
            return await self._from_client.receive()
        except trio.EndOfChannel:
            return {"type": "http.disconnect"}

    async def run(self, app: AppWrapper, scope: Scope, send: Callable[[ASGISendEvent | None], Awaitable[None]]) -> None:
        try:
            await app(scope, self.receive, send, trio.to_thread.run_sync, trio.from_thread.run)
        except Exception as error:
            log_failure("request handler", error)
        await send(None)  # "the application is done": answers 500 if it answered nothing


class _AppTasks(TaskGroup):
    """The calls of the application on one connection."""

    def __init__(self, nursery: trio.Nursery) -> None:
        super().__init__()
        self._nursery: trio.Nursery = nursery

    async def spawn_app(
        self,
        app: AppWrapper,
        config: Config,
        scope: Scope,
        send: Callable[[ASGISendEvent | None], Awaitable[None]],
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        call = _AppCall(config.max_app_queue_size)
        self._nursery.start_soon(call.run, app, scope, send)
        return call.put


class HardenedHypercorn:
    """What the HTTP connections of one port share."""

    def __init__(self, app: ASGIFramework, limits: HttpLimits, state: LifespanState) -> None:
        self.app = ASGIWrapper(app)
        self.limits = limits
        self.state = state
        self.idle = IdleConnections()
        self.context = WorkerContext(None)
        self.config = Config()
        self.config.errorlog = LOGGER
        self.config.include_server_header = False
        self.config.h11_max_incomplete_size = limits.head_bytes_max

    async def serve(self, stream: trio.SocketStream, first_bytes: bytes) -> None:
        """Serve HTTP/1.1 on `stream`, of which `first_bytes` were already read, until it is closed.

        Any exception but `trio.Cancelled` means a defect, here or in Hypercorn, and concerns this connection only.
        """
        await HttpConnection(self, stream).run(first_bytes)

    async def stop(self) -> None:
        """End the connections that wait for a request, at once; the others end after the response they are making."""
        await self.context.terminated.set()
        self.idle.stop()


class HttpConnection:
    """One connection. One task reads it, under one cancel scope whose deadline follows what is being waited for."""

    def __init__(self, shared: HardenedHypercorn, stream: trio.SocketStream) -> None:
        self._shared = shared
        self._limits = shared.limits
        self._stream = stream
        self._send_lock = trio.Lock()
        self._reading = trio.CancelScope()
        self._is_answered = False  # closed by us, after a response: the client has something left to read

    async def run(self, first_bytes: bytes) -> None:
        sock = self._stream.socket
        try:
            client = parse_socket_addr(sock.family, sock.getpeername())
            server = parse_socket_addr(sock.family, sock.getsockname())
        except OSError:
            return  # reset by the client
        async with trio.open_nursery() as nursery:
            protocol = _Http11(
                self._shared.app,
                self._shared.config,
                self._shared.context,
                _AppTasks(nursery),
                ConnectionState(self._shared.state),
                False,  # no TLS
                client,
                server,
                self._handle,
            )
            protocol.on_body_end = self._end_body
            self._wait_for_request()
            try:
                with self._reading:
                    await self._read(protocol, first_bytes)
            finally:
                self._shared.idle.discard(self._reading)
            await protocol.handle(Closed())  # tells the application, which sends nothing more
            if self._is_answered and not self._send_lock.locked():
                await close_lingering(self._stream, self._limits.linger_s)
            else:
                await self._stream.aclose()

    async def _read(self, protocol: _Http11, first_bytes: bytes) -> None:
        data = first_bytes
        while True:
            await trio.lowlevel.checkpoint_if_cancelled()  # a request that came together with a stop is not begun
            try:
                await protocol.handle(RawData(data))
            except _RefusedError as refused:
                await self._send(encode_refusal(refused.status, refused.reason))
                self._is_answered = True
                return
            if not data:
                return
            try:
                data = await self._stream.receive_some(_RECEIVE_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return

    async def _handle(self, event: Event) -> None:
        """What the protocol wants done."""
        if isinstance(event, RawData):
            await self._send(event.data)
        elif isinstance(event, Closed):
            self._is_answered = True
            self._reading.cancel()
        elif isinstance(event, Updated) and event.idle:
            self._wait_for_request()
        elif isinstance(event, Updated):
            self._shared.idle.discard(self._reading)
            self._reading.deadline = trio.current_time() + self._limits.body_timeout_s

    def _wait_for_request(self) -> None:
        self._reading.deadline = trio.current_time() + self._limits.idle_timeout_s
        self._shared.idle.add(self._reading)

    def _end_body(self) -> None:
        self._reading.deadline = math.inf  # from here on only the application's answer counts

    async def _send(self, data: bytes) -> None:
        """Send all, each piece within its deadline. A send cut short makes the stream useless, so it is closed."""
        if not data:  # the end of a body of known length
            return
        is_sent = False
        try:
            async with self._send_lock:
                for first in range(0, len(data), _SEND_BYTES):
                    with trio.fail_after(self._limits.send_timeout_s):
                        await self._stream.send_all(memoryview(data)[first : first + _SEND_BYTES])
            is_sent = True
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            pass
        finally:
            if not is_sent:
                self._stream.socket.close()
                self._reading.cancel()
