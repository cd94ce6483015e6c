"""The link over real sockets: how it opens, what it says when it cannot, and that it always ends in time."""

import base64
import hashlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
import trio
import trio.testing
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from trio_websocket import ConnectionClosed

from noise.protocol.errors import NoiseError, ProviderMisbehaved
from noise.protocol.frames import AuthFrame, ChallengeFrame, Cursor, PingFrame, PongFrame, SignedAuthProof
from noise.protocol.push_session import CloseCode
from noise_client import LinkError, Settings
from noise_client.link import Address, Link, open_link, parse_url
from tests.client.scripted import NONCE, Session, serving
from tests.vectors.cast import ORIGIN

CHALLENGE = ChallengeFrame(ORIGIN, NONCE, 60_000, 5)
AUTH = AuthFrame(SignedAuthProof(b"body", bytes(64)), Cursor(0, 0, 0, 0, 0))
SETTINGS = Settings(connect_timeout_s=5, close_timeout_s=5)


@pytest.mark.parametrize(
    ("url", "address", "host_header"),
    [
        ("http://127.0.0.1:8080", Address("127.0.0.1", 8080, False, "/v1/push"), "127.0.0.1:8080"),
        ("http://Noise.Example/", Address("noise.example", 80, False, "/v1/push"), "noise.example"),
        ("https://noise.example", Address("noise.example", 443, True, "/v1/push"), "noise.example"),
        ("https://noise.example:80/a/", Address("noise.example", 80, True, "/a/v1/push"), "noise.example:80"),
        ("ws://[::1]:8080", Address("::1", 8080, False, "/v1/push"), "[::1]:8080"),
    ],
)
def test_urls_of_providers(url: str, address: Address, host_header: str) -> None:
    assert parse_url(url) == address
    assert parse_url(url).host_header == host_header


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8080",
        "ftp://x",
        "http://",
        "http://x:99999",
        "http://x:y",
        "http://x/?q",
        "http://u:p@x",
        "http://[x",
    ],
)
def test_urls_of_nobody(url: str) -> None:
    with pytest.raises(NoiseError) as refused:
        parse_url(url)
    assert refused.value.code == "bad-url"


async def failure_of(url: str, settings: Settings = SETTINGS, context: ssl.SSLContext | None = None) -> LinkError:
    """How opening a link fails."""
    with trio.fail_after(10), pytest.raises(LinkError) as failed:
        async with open_link(parse_url(url), settings, context):
            pytest.fail("it opened")
    return failed.value


@asynccontextmanager
async def raw_server(handler: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[str]:
    """A TCP server that does as it is told; the URL."""
    async with trio.open_nursery() as nursery:

        async def contained(stream: trio.SocketStream) -> None:
            async with stream:
                with suppress(trio.BrokenResourceError):
                    await handler(stream)

        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, contained, listeners)
        yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


def answering(answer: bytes) -> Callable[[trio.SocketStream], Awaitable[None]]:
    async def answer_request(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(answer)

    return answer_request


async def test_nobody_listens() -> None:
    async with raw_server(answering(b"")) as url:
        pass
    error = await failure_of(url)
    assert (error.code, error.is_final) == ("unreachable", False)
    assert url.removeprefix("http://") in error.detail


async def test_a_connection_that_ends_before_the_handshake_is_noticed_at_once() -> None:
    async with raw_server(answering(b"")) as url:
        error = await failure_of(url, SETTINGS._replace(connect_timeout_s=1000))
    assert (error.code, error.is_final) == ("not-a-provider", False)


async def test_a_server_that_says_nothing_is_given_up() -> None:
    async def wait(_: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with raw_server(wait) as url:
        error = await failure_of(url, SETTINGS._replace(connect_timeout_s=0.05))
    assert (error.code, error.is_final) == ("not-a-provider", False)


@pytest.mark.parametrize(("status", "is_final"), [(404, True), (301, True), (429, False), (503, False)])
async def test_a_server_that_is_no_provider(status: int, is_final: bool) -> None:
    async with raw_server(answering(b"HTTP/1.1 %d x\r\nContent-Length: 0\r\n\r\n" % status)) as url:
        error = await failure_of(url)
    assert (error.code, error.is_final) == ("not-a-provider", is_final)
    assert str(status) in error.detail


async def test_a_server_that_speaks_another_protocol() -> None:
    accept = b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "

    async def switch(stream: trio.SocketStream) -> None:
        head = bytes(await stream.receive_some())
        key = head.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
        digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        await stream.send_all(accept + base64.b64encode(digest) + b"\r\n\r\n")
        while await stream.receive_some():
            pass

    async with raw_server(switch) as url:
        error = await failure_of(url, SETTINGS._replace(close_timeout_s=0.05))
    assert (error.code, error.is_final) == ("not-a-provider", True)


@asynccontextmanager
async def linked(script: Callable[[Session], Awaitable[None]], settings: Settings = SETTINGS) -> AsyncIterator[Link]:
    """A link to a server that runs a script."""
    with trio.fail_after(10):
        async with serving(script) as server, open_link(parse_url(server.url), settings, None) as link:
            yield link


async def test_frames_travel_both_ways() -> None:
    heard: list[object] = []

    async def script(session: Session) -> None:
        await session.send(CHALLENGE)
        heard.append(await session.receive())
        await session.send(PingFrame(bytes(16)))
        heard.append(await session.receive())
        await session.send(PongFrame(bytes(16)))
        await session.receive()

    async with linked(script) as link:
        assert await link.receive() == CHALLENGE
        await link.send(AUTH)
        assert await link.receive() == PingFrame(bytes(16))
        await link.send(PongFrame(bytes(16)))
        assert await link.receive() == PongFrame(bytes(16))
    assert heard == [AUTH, PongFrame(bytes(16))]


@pytest.mark.parametrize("payload", [b"\xffnothing", b"", "text"])
async def test_what_is_no_frame_is_misbehaviour_with_its_bytes(payload: bytes | str) -> None:
    async def script(session: Session) -> None:
        await session.ws.send_message(payload)
        await session.receive()

    async with linked(script) as link:
        with pytest.raises(ProviderMisbehaved) as misbehaved:
            await link.receive()
    assert misbehaved.value.evidence == (payload.encode() if isinstance(payload, str) else payload,)


CLOSE_CODES = [value for name, value in vars(CloseCode).items() if isinstance(value, int)]


@pytest.mark.parametrize("code", [*CLOSE_CODES, 1000, 4999])
async def test_a_close_says_why_after_all_that_came_before_it(code: int) -> None:
    async def script(session: Session) -> None:
        await session.send(CHALLENGE)
        await session.end(code)

    async with linked(script) as link:
        assert await link.receive() == CHALLENGE
        for call in (link.receive, lambda: link.send(AUTH), link.receive):
            with pytest.raises(LinkError, match="as the test says") as closed:
                await call()
            assert (closed.value.close_code, closed.value.is_final) == (code, code in CloseCode.FATAL)


async def test_who_was_too_slow_to_prove_itself_may_try_again() -> None:
    async def script(session: Session) -> None:
        await session.ws.aclose(CloseCode.UNAUTHENTICATED, "auth-timeout: the challenge was not answered in time")

    async with linked(script) as link:
        with pytest.raises(LinkError, match="auth-timeout") as closed:
            await link.receive()
        assert (closed.value.close_code, closed.value.is_final) == (CloseCode.UNAUTHENTICATED, False)


async def test_a_connection_that_breaks() -> None:
    async def script(session: Session) -> None:
        await trio.aclose_forcefully(session.ws._stream)

    async with linked(script) as link:
        with pytest.raises(LinkError) as closed:
            await link.receive()
        assert (closed.value.close_code, closed.value.is_final) == (None, False)


async def test_a_provider_that_does_not_read_is_given_up() -> None:
    async def script(session: Session) -> None:
        await session.send(CHALLENGE)
        session.ws._recv_channel = trio.open_memory_channel[bytes](0)[1]  # so that its reader gets stuck
        await trio.sleep_forever()

    async with linked(script, SETTINGS._replace(send_timeout_s=0.1, close_timeout_s=100)) as link:
        await link.receive()
        await link.send(AUTH)
        with pytest.raises(LinkError) as stuck:
            while True:
                await link.send(PingFrame(bytes(16)))
        assert stuck.value.code == "link-stuck"
        with pytest.raises(LinkError):
            await link.send(PingFrame(bytes(16)))


async def closing_script(session: Session, closes: list[int]) -> None:
    """Send more than the client reads, then note how it closed."""
    await session.send(CHALLENGE)
    session.push.receive(await session.ws.get_message())
    try:
        for _ in range(100):
            await session.ws.send_message(bytes(100_000))
        await session.ws.get_message()
    except ConnectionClosed as closed:
        assert closed.reason is not None
        closes.append(closed.reason.code)


@pytest.mark.parametrize("how", ["leave", "raise", "cancel"])
async def test_a_link_with_frames_that_nobody_read_still_closes_properly(how: str) -> None:
    closes: list[int] = []
    patient = SETTINGS._replace(close_timeout_s=1000)

    async def script(session: Session) -> None:
        await closing_script(session, closes)

    with trio.fail_after(10):
        async with serving(script) as server:
            with trio.CancelScope() as scope:
                try:
                    async with open_link(parse_url(server.url), patient, None) as link:
                        await link.receive()
                        await link.send(AUTH)
                        await trio.testing.wait_all_tasks_blocked()
                        if how == "cancel":
                            scope.cancel()
                            await trio.sleep_forever()
                        if how == "raise":
                            raise KeyError("as the test says")
                except KeyError as error:
                    assert how == "raise"
                    assert error.__context__ is None
            assert scope.cancelled_caught is (how == "cancel")
            await trio.testing.wait_all_tasks_blocked()
    assert closes == [1000]


async def test_a_cancellation_at_any_moment_ends_a_link() -> None:
    async def script(session: Session) -> None:
        await session.send(CHALLENGE)
        await session.receive()

    async def cancel_after(steps: int, scope: trio.CancelScope) -> None:
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        scope.cancel()

    with trio.fail_after(10):
        async with serving(script) as server:
            for steps in range(40):
                with trio.CancelScope() as scope:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(cancel_after, steps, scope)
                        async with open_link(parse_url(server.url), SETTINGS, None) as link:
                            await link.receive()
                            await trio.sleep_forever()
                assert scope.cancelled_caught


async def test_silence_is_measured_only_while_something_could_come() -> None:
    async def script(session: Session) -> None:
        await session.send(CHALLENGE)
        await session.receive()
        for _ in range(20):
            await session.send(PingFrame(bytes(16)))
        await session.receive()

    async with linked(script) as link:
        await link.receive()
        await trio.testing.wait_all_tasks_blocked()
        assert link.quiet_s[0] > 0
        await link.send(AUTH)
        assert link.quiet_s[1] < 5
        while link.quiet_s[0] != 0:
            await trio.testing.wait_all_tasks_blocked(0.01)


def make_certificate(directory: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """(the server's context, a client's that trusts it) for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = directory / "certificate.pem"
    encoding, private = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    file.write_bytes(
        key.private_bytes(encoding, private, serialization.NoEncryption()) + certificate.public_bytes(encoding)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    return server, ssl.create_default_context(cafile=str(file))


async def test_https_is_verified(tmp_path: Path) -> None:
    server_context, trusting = make_certificate(tmp_path)

    async def script(session: Session) -> None:
        await session.send(CHALLENGE)
        await session.receive()

    with trio.fail_after(10):
        async with serving(script, ssl_context=server_context) as server:
            assert server.url.startswith("https://")
            async with open_link(parse_url(server.url), SETTINGS, trusting) as link:
                assert await link.receive() == CHALLENGE
            error = await failure_of(server.url)
            assert error.is_final
            assert "certificate" in error.detail
