"""A gossip link: a WebSocket between two clients, which their provider does not carry. One side serves, one dials.

Knows nothing of what is said over it. Both sides prove their device keys before anything else is said. Like
`noise_client.link`, with the same traps of trio_websocket in mind: every reader is drained, and a cut frame ends all.
"""

import logging
import secrets
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast
from urllib.parse import urlsplit

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream, wrap_server_stream

from noise.protocol.errors import DecodeError, NoiseError
from noise.protocol.gossip import (
    GOSSIP_FRAME_BYTES_MAX,
    GOSSIP_PATH,
    LINK_FRAMES,
    SUBPROTOCOL_GOSSIP,
    LinkChallenge,
    LinkProofFrame,
    answer_challenge,
    encode_gossip,
    parse_gossip,
    verify_link,
)
from noise_client.device import Device
from noise_client.errors import LinkError, lone_exception, raise_alone
from noise_client.link import is_foreign, open_stream

LOGGER = logging.getLogger("noise_client")

HANDSHAKE_S = 10.0
SEND_S = 20.0
CLOSE_S = 2.0
SILENCE_S = 60.0
LINKS_MAX = 64
"""Links that one client serves at a time, from their first byte on."""
LINKS_PER_PEER_MAX = 2
"""Of them with one peer that has proven who it is: one that is closing, and the next."""

_SCHEMES = {"ws": False, "wss": True, "http": False, "https": True}


class GossipLink:
    """An open link with a peer that has proven who it is."""

    def __init__(self, ws: WebSocketConnection, peer: bytes) -> None:
        self.peer = peer
        self._ws = ws

    async def send(self, encoded: bytes) -> None:
        """One encoded gossip frame, by one task at a time. Raises LinkError: then the link is of no use any more."""
        try:
            with trio.fail_after(SEND_S):
                await self._ws.send_message(encoded)
        except Exception as error:  # also wsproto's, when the peer broke the rules of WebSocket just now
            raise LinkError(f"the gossip link broke: {error!r}") from error

    async def receive(self) -> bytes:
        """The next frame. Raises LinkError at the end, and when the peer has fallen silent: views come all the time."""
        try:
            with trio.fail_after(SILENCE_S):
                return await _receive(self._ws)
        except trio.TooSlowError:
            raise LinkError("the peer has fallen silent", code="link-silent") from None


async def _receive(ws: WebSocketConnection) -> bytes:
    try:
        message = await ws.get_message()
    except ConnectionClosed:
        raise LinkError("the gossip link was closed") from None
    if isinstance(message, str):
        raise DecodeError("gossip is binary")
    return bytes(message)


async def _greet(ws: WebSocketConnection, device: Device, origin: bytes) -> GossipLink:
    """Prove to each other who we are. Raises NoiseError."""
    ours = LinkChallenge(origin, device.device_id, secrets.token_bytes(32))
    try:
        with trio.fail_after(HANDSHAKE_S):
            await ws.send_message(encode_gossip(ours))
            theirs = parse_gossip(await _receive(ws), LINK_FRAMES)
            if not isinstance(theirs, LinkChallenge):
                raise DecodeError("a link begins with a challenge", code="out-of-turn")
            await ws.send_message(encode_gossip(answer_challenge(device.signer, origin, theirs)))
            proof = parse_gossip(await _receive(ws), LINK_FRAMES)
            if not isinstance(proof, LinkProofFrame):
                raise DecodeError("a challenge is answered with a proof", code="out-of-turn")
    except trio.TooSlowError:
        raise LinkError("the peer does not say who it is", code="link-silent") from None
    except ConnectionClosed:
        raise LinkError("the peer closed the link: it may follow another provider") from None
    verify_link(proof, ours, theirs)
    return GossipLink(ws, theirs.device_id)


def parse_peer_url(url: str) -> tuple[str, int, bool]:
    """(host, port, is TLS) of `ws://HOST:PORT` or `wss://HOST:PORT`. Raises NoiseError "bad-url"."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise NoiseError(f"{url} is no URL: {error}", code="bad-url") from None
    if parts.scheme not in _SCHEMES or not parts.hostname or port is None:
        raise NoiseError(f"{url} is not a peer's URL, such as ws://192.0.2.7:8090", code="bad-url")
    return parts.hostname, port, _SCHEMES[parts.scheme]


@asynccontextmanager
async def dial(
    url: str, device: Device, origin: bytes, ssl_context: ssl.SSLContext | None
) -> AsyncIterator[GossipLink]:
    """Dial a peer, and close at the end. Raises NoiseError when there is no link; what the block raises comes out as it
    is."""
    host, port, is_tls = parse_peer_url(url)
    stream = await open_stream(host, port, is_tls=is_tls, ssl_context=ssl_context, timeout_s=HANDSHAKE_S)
    try:
        async with trio.open_nursery() as nursery:
            with trio.fail_after(HANDSHAKE_S):
                ws = await wrap_client_stream(
                    nursery,
                    cast(trio.SocketStream, stream),
                    f"{host}:{port}",
                    GOSSIP_PATH,
                    subprotocols=[SUBPROTOCOL_GOSSIP],
                    max_message_size=GOSSIP_FRAME_BYTES_MAX,
                )
            try:
                yield await _greet(ws, device, origin)
            finally:
                with trio.move_on_after(CLOSE_S):  # cancelled, there is nobody left who would read the answer
                    await ws.aclose()
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        error = lone_exception(group)
        if error is None:
            raise
        if is_foreign(error) or isinstance(error, trio.TooSlowError):
            raise LinkError(f"{url} does not speak gossip", code="not-a-peer") from error
        raise_alone(error)
    finally:
        await trio.aclose_forcefully(stream)


async def serve(
    host: str,
    port: int,
    device: Device,
    origin: Callable[[], bytes | None],
    handle: Callable[[GossipLink], Awaitable[None]],
    ssl_context: ssl.SSLContext | None,
    task_status: "trio.TaskStatus[int]",
) -> None:
    """Serve links until cancelled; started with the port. `handle` runs for each, for as long as it lives.

    Raises LinkError when the port cannot be had. Whatever a peer does, it ends its own link only.
    """
    try:
        listeners = await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        raise LinkError(f"cannot serve gossip at {host}:{port}: {error.strerror}", code="port-unusable") from None
    places: dict[trio.SocketStream, bytes] = {}  # each with the peer, once it has proven who it is

    async def accept(tcp: trio.SocketStream) -> None:
        async def welcome(link: GossipLink) -> None:
            if list(places.values()).count(link.peer) >= LINKS_PER_PEER_MAX:
                raise LinkError("the peer has links enough", code="too-many-links")
            places[tcp] = link.peer
            await handle(link)

        if len(places) >= LINKS_MAX:
            await trio.aclose_forcefully(tcp)
            return
        places[tcp] = b""
        stream = (
            tcp if ssl_context is None else trio.SSLStream(tcp, ssl_context, server_side=True, https_compatible=True)
        )
        try:
            await _serve_link(cast(trio.SocketStream, stream), device, origin(), welcome)
        except* Exception:  # a peer's nonsense, or its end, is its own affair
            LOGGER.debug("a gossip link ended", exc_info=True)
        finally:
            del places[tcp]
            await trio.aclose_forcefully(stream)

    task_status.started(listeners[0].socket.getsockname()[1])
    await trio.serve_listeners(accept, listeners)


async def _serve_link(
    stream: trio.SocketStream,
    device: Device,
    origin: bytes | None,
    handle: Callable[[GossipLink], Awaitable[None]],
) -> None:
    async with trio.open_nursery() as nursery:
        with trio.fail_after(HANDSHAKE_S):
            request = await wrap_server_stream(nursery, stream, max_message_size=GOSSIP_FRAME_BYTES_MAX)
            if request.path != GOSSIP_PATH or origin is None:
                await request.reject(404 if request.path != GOSSIP_PATH else 503)
                nursery.cancel_scope.cancel()
                return
            ws = await request.accept(subprotocol=SUBPROTOCOL_GOSSIP)
        try:
            await handle(await _greet(ws, device, origin))
        finally:
            with trio.move_on_after(CLOSE_S):
                await ws.aclose()
            nursery.cancel_scope.cancel()
