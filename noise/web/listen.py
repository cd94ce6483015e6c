"""Opens the port and serves two worlds on it: push sessions on a bare stream, everything else through Hypercorn.

Every connection is told apart by its first request head, which is read here, within bounds. What fails in one
connection ends that connection and no other.

Must not know: what travels in a push session, what the application answers, where configuration comes from.
"""

import errno
import re
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from ipaddress import ip_address

import h11
import trio
from hypercorn.typing import ASGIFramework, ASGIReceiveEvent, ASGISendEvent, LifespanState

from noise.protocol.errors import NoiseError
from noise.web.hardened import (
    LOGGER,
    HardenedHypercorn,
    HttpLimits,
    check_hypercorn,
    close_lingering,
    encode_refusal,
    log_failure,
)

PushHandler = Callable[[trio.SocketStream, bytes], Awaitable[None]]
"""Serves one push session: `await push_handler(stream, first_bytes)`.

`first_bytes` is all that was read so far: the whole request head, up to and including its blank line, and whatever
came with it, so possibly WebSocket frames that the client sent without waiting. `split_head` parts the two: wsproto's
server drops what follows the head, so feed it the rest once it has accepted, before reading the stream. Nothing was
answered yet, and only this was checked: the request line is `GET <push_path> HTTP/1.1` (a query is never accepted), h11
accepts the headers, and they ask for an upgrade to `websocket`. The key, the version, the origin and the extensions are
for the handler to judge; wsproto raises UnicodeError, too, for some of them.

The stream is the handler's until it returns: nobody else reads or writes it, and no deadline applies but
TCP_USER_TIMEOUT. The handler closes it, with a close frame if one is due; what it leaves open is closed hard, without
one. An exception ends the session and is logged in one line, by type and place, not text; it reaches nobody else.
Cancelled passes through. After a stop, whoever owns the sessions has `grace_s` to end them; those left are cancelled.
"""

DEFAULT_LIMITS = HttpLimits()

_BACKLOG = 1_024
_RETRY_AFTER_S = 5
_REFUSING_MAX = 256  # connections beyond the bound that are told so at any one time; those beyond this are just closed
_HEAD_END = re.compile(rb"\n\r?\n")  # as h11 finds it
_HEAD_RECEIVE_BYTES = 16_384

_BIND_ADVICE: dict[int | None, str] = {
    errno.EADDRINUSE: "another process listens there: stop it, or choose another port",
    errno.EACCES: "not permitted: choose a port from 1024 up, or grant CAP_NET_BIND_SERVICE",
    errno.EADDRNOTAVAIL: "this machine has no such address: choose one that it has, 127.0.0.1 or 0.0.0.0",
}


async def open_listeners(host: str, port: int) -> list[trio.SocketListener]:
    """Listen at every address of `host`, a name or an address. Port 0: the kernel chooses, and only the first address.

    Raises NoiseError "bind-failed", whose detail says what to do.
    """
    if not 0 <= port < 65_536:
        raise NoiseError(f"cannot listen at port {port}: a port is a number from 0 to 65535", code="bind-failed")
    try:
        listeners = await trio.open_tcp_listeners(port, host=host, backlog=_BACKLOG)
    except (OSError, UnicodeError) as error:  # the latter from names that cannot be looked up
        advice = _BIND_ADVICE.get(getattr(error, "errno", None), "check the host")
        raise NoiseError(f"cannot listen at {host} port {port} ({error}): {advice}", code="bind-failed") from error
    if port == 0:
        for listener in listeners[1:]:
            listener.socket.close()
        del listeners[1:]
    return listeners


def split_head(first_bytes: bytes) -> tuple[bytes, bytes]:
    """(The request head with its blank line, what follows it), as h11 would part them; for push handlers."""
    end = _HEAD_END.search(first_bytes)
    index = len(first_bytes) if end is None else end.end()
    return first_bytes[:index], first_bytes[index:]


def listener_url(listeners: list[trio.SocketListener]) -> str:
    """The URL of the first listener, as `http://host:port`; a wildcard address is written as the loopback one."""
    host, port = listeners[0].socket.getsockname()[:2]
    address = ip_address(host.partition("%")[0])
    if address.is_unspecified:
        address = ip_address("127.0.0.1" if address.version == 4 else "::1")
    return f"http://[{address}]:{port}" if address.version == 6 else f"http://{address}:{port}"


async def serve_http(
    app: ASGIFramework,
    listeners: list[trio.SocketListener],
    *,
    push_path: str,
    push_handler: PushHandler,
    stop: trio.Event,
    limits: HttpLimits = DEFAULT_LIMITS,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `app` (Quart-Trio) and push sessions at `listeners`, which it owns and closes, until `stop` is set.

    `task_status.started()` comes after the application's `before_serving` functions, when requests are being answered.
    Once `stop` is set, the listeners are closed, and so are the connections that wait for a request; running requests
    and push sessions have `limits.grace_s` to end by themselves; those left are cancelled and cut; then `after_serving`
    runs. Being cancelled is the same without the grace. Either way it takes `grace_s + lifespan_timeout_s` at most.

    A handler is cancelled when its client disconnects, and at the end of the grace: shield what must be finished.
    No signal is handled here.

    Raises NoiseError "wrong-hypercorn"; and in an exception group, as nurseries do, NoiseError "lifespan-failed" or
    what a background task of the application raised: an application that has lost its lifespan is not served on.
    """
    state: LifespanState = {}
    try:
        check_hypercorn()
        async with trio.open_nursery() as nursery:
            lifespan = _Lifespan(app, state, limits.lifespan_timeout_s)
            try:
                await nursery.start(lifespan.run)
                front = _Front(HardenedHypercorn(app, limits, state), push_path, push_handler)
                await front.serve(listeners, stop, task_status)
            finally:
                lifespan.stop()
    finally:
        for listener in listeners:
            listener.socket.close()


class _Front:
    """Accepts, bounds and tells apart connections."""

    def __init__(self, hypercorn: HardenedHypercorn, push_path: str, push_handler: PushHandler) -> None:
        self._hypercorn = hypercorn
        self._limits = hypercorn.limits
        self._push_line = f"GET {push_path} HTTP/1.1".encode("ascii")
        self._push_handler = push_handler
        self._serving_count = 0
        self._refusing_count = 0

    async def serve(
        self, listeners: list[trio.SocketListener], stop: trio.Event, task_status: trio.TaskStatus[None]
    ) -> None:
        async with trio.open_nursery() as connections:
            async with trio.open_nursery() as acceptors:
                # Waits and goes on when descriptors or memory run out (EMFILE, ENFILE, ENOBUFS, ENOMEM).
                await acceptors.start(
                    partial(trio.serve_listeners, self._contain, listeners, handler_nursery=connections)
                )
                task_status.started()
                await stop.wait()
                acceptors.cancel_scope.cancel()
            await self._hypercorn.stop()
            connections.cancel_scope.deadline = trio.current_time() + self._limits.grace_s

    async def _contain(self, stream: trio.SocketStream) -> None:
        """One connection, to its end, after which trio closes the stream. Raises only Cancelled and the like."""
        try:
            if self._serving_count >= self._limits.connections_max:
                await self._refuse_crowd(stream)
                return
            self._serving_count += 1
            try:
                await self._serve_connection(stream)
            finally:
                self._serving_count -= 1
        except* Exception as errors:
            log_failure("connection", errors)

    async def _refuse_crowd(self, stream: trio.SocketStream) -> None:
        if self._refusing_count >= _REFUSING_MAX:
            return
        self._refusing_count += 1
        try:
            await self._refuse(stream, HTTPStatus.SERVICE_UNAVAILABLE, "too many connections")
        finally:
            self._refusing_count -= 1

    async def _serve_connection(self, stream: trio.SocketStream) -> None:
        _bound_unacknowledged(stream, self._limits.send_timeout_s)
        first_bytes = await self._read_head(stream)
        if first_bytes is None:
            return
        if self._is_push(first_bytes):
            await self._push_handler(stream, first_bytes)
        else:
            await self._hypercorn.serve(stream, first_bytes)

    async def _read_head(self, stream: trio.SocketStream) -> bytes | None:
        """What the client sent up to the end of its request head, and maybe beyond; None if the connection is over."""
        head = bytearray()
        with trio.move_on_after(self._limits.head_timeout_s) as scope:
            self._hypercorn.idle.add(scope)
            try:
                while True:
                    data = await stream.receive_some(_HEAD_RECEIVE_BYTES)
                    if not data:
                        return None
                    searched_bytes = max(0, len(head) - 2)
                    head += data
                    end = _HEAD_END.search(head, searched_bytes)
                    if (end.end() if end else len(head)) > self._limits.head_bytes_max:
                        break
                    if end or head[0] <= 0x20:  # the latter cannot become a request: TLS, most often
                        return bytes(head)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return None
            finally:
                self._hypercorn.idle.discard(scope)
        if not scope.cancelled_caught:
            await self._refuse(stream, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "request head too large")
        elif head and not self._hypercorn.idle.stopping:
            await self._refuse(stream, HTTPStatus.REQUEST_TIMEOUT, "the request head took too long")
        return None

    def _is_push(self, first_bytes: bytes) -> bool:
        if not first_bytes.startswith(self._push_line):
            return False
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=self._limits.head_bytes_max)
        parser.receive_data(first_bytes)
        try:
            request = parser.next_event()
        except h11.RemoteProtocolError:
            return False
        return isinstance(request, h11.Request) and _asks_for_websocket(request)

    async def _refuse(self, stream: trio.SocketStream, status: HTTPStatus, reason: str) -> None:
        retry_after_s = _RETRY_AFTER_S if status is HTTPStatus.SERVICE_UNAVAILABLE else None
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await stream.send_all(encode_refusal(status, reason, retry_after_s=retry_after_s))  # fits an empty buffer
        await close_lingering(stream, self._limits.linger_s)


def _asks_for_websocket(request: h11.Request) -> bool:
    def tokens(wanted: bytes) -> set[bytes]:
        values = (value for name, value in request.headers if name == wanted)
        return {token.strip().lower() for value in values for token in value.split(b",")}

    return b"upgrade" in tokens(b"connection") and b"websocket" in tokens(b"upgrade")


def _bound_unacknowledged(stream: trio.SocketStream, timeout_s: float) -> None:
    """Have the kernel give up on a peer that acknowledges nothing. (trio has set TCP_NODELAY.)"""
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(timeout_s * 1_000))


class _Lifespan:
    """The application's own start and end (ASGI lifespan). Once begun, its end is run even when we are cancelled."""

    def __init__(self, app: ASGIFramework, state: LifespanState, timeout_s: float) -> None:
        self._app = app
        self._state = state
        self._timeout_s = timeout_s
        self._scope = trio.CancelScope()
        self._is_startup_sent = False
        self._is_started = False
        self._stopping = trio.Event()
        self._task_status: trio.TaskStatus[None]

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        self._task_status = task_status
        self._scope.deadline = trio.current_time() + self._timeout_s
        with self._scope:
            await self._app(
                {"type": "lifespan", "asgi": {"spec_version": "2.0", "version": "3.0"}, "state": self._state},
                self._receive,
                self._send,
            )
        if not self._is_started:
            raise NoiseError(f"the application did not start in {self._timeout_s} s", code="lifespan-failed")
        if not self._stopping.is_set():
            raise NoiseError("the application's lifespan ended while it was served", code="lifespan-failed")
        if self._scope.cancelled_caught:
            LOGGER.error("the application's shutdown took longer than %s s and was cut", self._timeout_s)

    def stop(self) -> None:
        self._stopping.set()
        self._scope.deadline = trio.current_time() + self._timeout_s

    async def _receive(self) -> ASGIReceiveEvent:
        if not self._is_startup_sent:
            self._is_startup_sent = True
            return {"type": "lifespan.startup"}
        await self._stopping.wait()
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: ASGISendEvent) -> None:
        if message["type"] == "lifespan.startup.complete":
            self._is_started = True
            self._scope.shield = True
            self._scope.deadline = float("inf")
            self._task_status.started()
        elif message["type"] == "lifespan.startup.failed":
            raise NoiseError(f"the application did not start: {message['message']}", code="lifespan-failed")
        elif message["type"] == "lifespan.shutdown.failed":
            LOGGER.error("the application's shutdown failed")
