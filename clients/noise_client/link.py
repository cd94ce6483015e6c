"""One WebSocket connection to a provider: frames in, frames out, each bounded in time and size.

Knows nothing of what frames mean, and does not try again. The only file that imports trio_websocket, of which it must
know this: a reader that nobody drains hangs the closing handshake and can leak a cancellation (its issue 184), so a
task of ours drains it for as long as it lives; a frame that was cut off makes the stream useless, so no close frame
follows one; and after a close by the other side it waits for the end of the TCP connection, for ever, unless we end it.
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple, cast
from urllib.parse import urlsplit

import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream

from noise.protocol.errors import DecodeError, NoiseError, ProviderMisbehaved
from noise.protocol.frames import PUSH_PATH, SUBPROTOCOL_BINARY, Frame
from noise.protocol.limits import FRAME_BYTES_MAX
from noise.protocol.push_session import CloseCode, PushRole, PushSession
from noise_client.errors import LinkError, lone_exception, raise_alone
from noise_client.settings import Settings

_RECEIVE_BYTES = 65_536  # with trio_websocket's default, receiving is a fifth as fast
_FRAMES_WAITING_MAX = 2
_SCHEMES = {"http": False, "ws": False, "https": True, "wss": True}
_STATUSES_THAT_PASS = frozenset({408, 425, 429})
_TOO_LATE = "auth-timeout"  # the provider closes so when no proof came in time: that says nothing about the proof

_CLOSE_MEANINGS = {
    CloseCode.GOING_AWAY: "the provider stops, or starts again",
    CloseCode.PROTOCOL: "the provider does not understand what we say: client and provider differ in version",
    CloseCode.UNAUTHENTICATED: "the provider does not accept our proof: check the URL, and any proxy before it",
    CloseCode.CURSOR_AHEAD: "the provider says that it knows less than what we have verified of it: it went back, "
    "or somebody on the way says so for it",
    CloseCode.SLOW_READER: "we read too slowly",
    CloseCode.IDLE: "the provider heard nothing from us",
    CloseCode.REPLACED: "this device has too many connections",
    CloseCode.UNAVAILABLE: "the provider cannot serve now",
}


class Address(NamedTuple):
    """Where a provider is. `host_header`: how it is named in HTTP, and in what a device signs to be let in."""

    host: str
    port: int
    is_tls: bool
    path: str

    @property
    def host_header(self) -> str:
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == _default_port(self.is_tls) else f"{name}:{self.port}"

    @property
    def base_url(self) -> str:
        """Where the paths of HTTP begin."""
        return f"{'https' if self.is_tls else 'http'}://{self.host_header}{self.path.removesuffix(PUSH_PATH)}"


def parse_url(url: str) -> Address:
    """`http://HOST[:PORT]` or `https://...`, perhaps with the path of a proxy. Raises NoiseError "bad-url"."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise NoiseError(f"{url} is no URL: {error}", code="bad-url") from None
    if parts.scheme not in _SCHEMES or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise NoiseError(f"{url} is not a provider's URL, such as http://127.0.0.1:8080", code="bad-url")
    is_tls = _SCHEMES[parts.scheme]
    return Address(parts.hostname, port or _default_port(is_tls), is_tls, parts.path.rstrip("/") + PUSH_PATH)


def _default_port(is_tls: bool) -> int:
    return 443 if is_tls else 80


class _WatchedStream(trio.abc.Stream):
    """A stream that knows how long it has been waiting for a byte, and whether the other side has ended it."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._waiting_since: float | None = None
        self.ended = trio.Event()

    @property
    def silent_s(self) -> float:
        """For how long nothing has come, while something could have; 0 while what came is being read."""
        return 0.0 if self._waiting_since is None else trio.current_time() - self._waiting_since

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        self._waiting_since = trio.current_time()
        data: bytes | bytearray = b""
        try:
            data = await self._stream.receive_some(max_bytes)
        finally:
            self._waiting_since = None
            if not data:
                self.ended.set()
        return data

    async def aclose(self) -> None:
        await self._stream.aclose()


class Link:
    """An open connection. Made by `open_link`."""

    def __init__(self, ws: WebSocketConnection, stream: _WatchedStream, settings: Settings) -> None:
        self._ws = ws
        self._stream = stream
        self._settings = settings
        self._session = PushSession(PushRole.CLIENT, binary=True)
        self._incoming_send, self._incoming = trio.open_memory_channel[bytes | str](_FRAMES_WAITING_MAX)
        self._is_cut = False
        self._sent_at = trio.current_time()

    @property
    def quiet_s(self) -> tuple[float, float]:
        """For how many seconds (nothing came, nothing was sent)."""
        return self._stream.silent_s, trio.current_time() - self._sent_at

    async def receive(self) -> Frame:
        """The next frame. Raises LinkError when there are no more, ProviderMisbehaved for what is no frame."""
        try:
            payload = await self._incoming.receive()
        except trio.EndOfChannel:
            raise self._closed_error() from None
        try:
            return self._session.receive(payload)
        except DecodeError as error:
            evidence = payload if isinstance(payload, bytes) else payload.encode("utf-8", "surrogatepass")
            raise ProviderMisbehaved(error.detail, code=error.code, evidence=(evidence,)) from error

    async def send(self, frame: Frame) -> None:
        """Raises LinkError when the frame did not leave: the link is of no use any more."""
        if self._is_cut:
            raise LinkError("the connection broke")
        payload = self._session.send(frame)
        is_sent = False
        try:
            with trio.fail_after(self._settings.send_timeout_s):
                await self._ws.send_message(payload)
            is_sent = True
            self._sent_at = trio.current_time()
        except ConnectionClosed:
            raise self._closed_error() from None
        except trio.TooSlowError:
            raise LinkError("the provider does not read what we send", code="link-stuck") from None
        except Exception as error:  # wsproto's, when the other side broke the rules of WebSocket just now
            raise LinkError(f"the connection broke: {error}") from error
        finally:
            self._is_cut = self._is_cut or not is_sent

    def _closed_error(self) -> LinkError:
        closed = self._ws.closed
        code = closed.code if closed is not None else None
        if code is None or code == 1006:
            return LinkError("the connection broke")
        meaning = _CLOSE_MEANINGS.get(code, "the provider closed the connection")
        reason = (closed.reason if closed is not None else None) or ""
        said = f": {reason}" if reason else ""
        is_final = code in CloseCode.FATAL and not reason.startswith(_TOO_LATE)
        return LinkError(f"{meaning} (code {code}{said})", close_code=code, is_final=is_final)

    async def drain(self) -> None:
        """Read until the end. What nobody receives any more is thrown away, but it is read."""
        with self._incoming_send:
            while True:
                try:
                    payload = await self._ws.get_message()
                except ConnectionClosed:
                    return
                with suppress(trio.BrokenResourceError):
                    await self._incoming_send.send(payload)

    async def close(self) -> None:
        """Say goodbye, if that can be done in time."""
        self._incoming.close()
        if not self._is_cut:
            with trio.move_on_after(self._settings.close_timeout_s) as scope, suppress(ConnectionClosed):
                scope.shield = True
                await self._ws.aclose()


@asynccontextmanager
async def open_link(address: Address, settings: Settings, ssl_context: ssl.SSLContext | None) -> AsyncIterator[Link]:
    """Connect, and close at the end. `ssl_context` None: the system's certificates, for https.

    Raises LinkError when there is no connection; what the block raises comes out as it is.
    """
    stream = _WatchedStream(
        await open_stream(
            address.host,
            address.port,
            is_tls=address.is_tls,
            ssl_context=ssl_context,
            timeout_s=settings.connect_timeout_s,
        )
    )
    try:
        async with trio.open_nursery() as nursery:
            readers = _Readers()
            nursery.start_soon(readers.run)
            try:
                host = await readers.nursery()
                link = Link(await _open_websocket(host, stream, address, settings), stream, settings)
                host.start_soon(link.drain)
                try:
                    yield link
                finally:
                    await link.close()
            finally:
                readers.scope.cancel()
    except BaseExceptionGroup as group:
        error = lone_exception(group)
        if isinstance(error, ConnectionRejected):
            raise _rejected_error(error.status_code) from None
        if error is None:
            raise
        if is_foreign(error):
            raise LinkError("the server does not speak WebSocket as it should", code="not-a-provider") from error
        raise_alone(error)
    finally:
        await trio.aclose_forcefully(stream)


def is_foreign(error: BaseException) -> bool:
    """Whether it is what trio_websocket, or what is below it, raises when the other side breaks the rules."""
    return type(error).__module__.partition(".")[0] in {"trio_websocket", "wsproto", "h11"}


class _Readers:
    """A nursery for those who read, which nothing cancels but its own scope: a closing handshake needs them."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope(shield=True)
        self._is_open = trio.Event()
        self._nursery: trio.Nursery | None = None

    async def run(self) -> None:
        """Until `scope` is cancelled, which may have happened before."""
        with self.scope:
            async with trio.open_nursery() as self._nursery:
                self._is_open.set()
                await trio.sleep_forever()

    async def nursery(self) -> trio.Nursery:
        await self._is_open.wait()
        if self._nursery is None:
            raise RuntimeError("open without a nursery")
        return self._nursery


async def open_stream(
    host: str, port: int, *, is_tls: bool, ssl_context: ssl.SSLContext | None, timeout_s: float
) -> "trio.SocketStream | trio.SSLStream[trio.SocketStream]":
    """Connect, with TLS and its handshake if asked for. Raises LinkError "unreachable"."""
    try:
        with trio.fail_after(timeout_s):
            if not is_tls:
                return await trio.open_tcp_stream(host, port)
            stream = await trio.open_ssl_over_tcp_stream(host, port, https_compatible=True, ssl_context=ssl_context)
            try:
                await stream.do_handshake()
            except BaseException:
                await trio.aclose_forcefully(stream)
                raise
            return stream
    except trio.TooSlowError:
        raise LinkError(f"{host}:{port} does not answer", code="unreachable") from None
    except (OSError, trio.BrokenResourceError) as error:
        cause = error.__cause__ if isinstance(error, trio.BrokenResourceError) else error
        raise LinkError(
            f"no connection to {host}:{port}: {cause or error}",
            code="unreachable",
            is_final=isinstance(cause, ssl.SSLCertVerificationError),
        ) from error


async def _open_websocket(
    nursery: trio.Nursery, stream: _WatchedStream, address: Address, settings: Settings
) -> WebSocketConnection:
    ws: WebSocketConnection | None = None
    try:
        with trio.fail_after(settings.connect_timeout_s):
            async with trio.open_nursery() as watchers:
                watchers.start_soon(_cancel_at_end, stream, watchers.cancel_scope)
                ws = await wrap_client_stream(
                    nursery,
                    cast(trio.SocketStream, stream),
                    address.host_header,
                    address.path,
                    subprotocols=[SUBPROTOCOL_BINARY],
                    message_queue_size=1,
                    max_message_size=FRAME_BYTES_MAX,
                    receive_buffer_size=_RECEIVE_BYTES,
                )
                watchers.cancel_scope.cancel()
    except trio.TooSlowError:
        raise LinkError("no WebSocket handshake: is this a provider's URL?", code="not-a-provider") from None
    if ws is None:
        raise LinkError("the other side ended the connection before the handshake", code="not-a-provider")
    if ws.subprotocol != SUBPROTOCOL_BINARY:
        raise LinkError("the server does not speak our protocol: check the URL", code="not-a-provider", is_final=True)
    return ws


async def _cancel_at_end(stream: _WatchedStream, scope: trio.CancelScope) -> None:
    """trio_websocket would wait for the handshake for ever."""
    await stream.ended.wait()
    scope.cancel()


def _rejected_error(status: int) -> LinkError:
    is_final = 300 <= status < 500 and status not in _STATUSES_THAT_PASS
    advice = "check the URL" if is_final else "it may pass"
    return LinkError(
        f"the server answers with HTTP status {status}: {advice}", code="not-a-provider", is_final=is_final
    )
