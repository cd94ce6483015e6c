"""The port: opening it, telling push sessions from requests, bounding what waits, and stopping."""

import gc
import re
import socket

import pytest
import trio
import wsproto
import wsproto.events

from noise.protocol.errors import NoiseError
from noise.web.hardened import IdleConnections
from noise.web.listen import listener_url, open_listeners, split_head
from tests.web.live_http import (
    HELLO,
    PUSH_PATH,
    PUSH_REQUEST,
    read_answer,
    read_to_end,
    reset,
    serving,
)

CHUNKED_ECHO = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


# Opening


async def test_port_zero_listens_at_the_port_that_the_url_tells() -> None:
    with trio.fail_after(10):
        listeners = await open_listeners("127.0.0.1", 0)
        port = int(listener_url(listeners).removeprefix("http://127.0.0.1:"))
        await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
        assert listeners[0].socket.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
        listeners[0].socket.close()


@pytest.mark.parametrize(
    ("host", "shown"), [("0.0.0.0", "127.0.0.1"), ("localhost", None), ("::1", "[::1]"), ("::", "[::1]")]
)
async def test_url_can_be_opened_on_this_machine(host: str, shown: str | None) -> None:
    with trio.fail_after(10):
        try:
            listeners = await open_listeners(host, 0)
        except NoiseError:
            pytest.skip(f"no {host} here")
        assert len(listeners) == 1
        url = listener_url(listeners)
        port = listeners[0].socket.getsockname()[1]
        assert shown is None or url == f"http://{shown}:{port}"
        listeners[0].socket.close()


async def test_bind_failures_say_what_to_do() -> None:
    with trio.fail_after(10):
        taken = await open_listeners("127.0.0.1", 0)
        port = taken[0].socket.getsockname()[1]
        for host, bad_port, advice in (
            ("127.0.0.1", port, "choose another port"),
            ("192.0.2.1", 0, "no such address"),
            ("127.0.0.1", 70_000, "0 to 65535"),
            ("x" * 64, 0, "check the host"),
        ):
            with pytest.raises(NoiseError, match=advice) as caught:
                await open_listeners(host, bad_port)
            assert caught.value.code == "bind-failed"
        taken[0].socket.close()


# Requests


async def test_a_connection_carries_many_requests() -> None:
    with trio.fail_after(10):
        async with serving() as live, await live.connect(HELLO) as stream:
            answer = await read_answer(stream)
            assert (answer.status, answer.body) == (200, b"hello")
            assert b"date" in answer.headers
            assert b"server" not in answer.headers
            await stream.send_all(CHUNKED_ECHO)
            for piece in (b"3\r\nab", b"c\r", b"\n0\r\n\r", b"\n"):
                await stream.send_all(piece)
            assert (await read_answer(stream)).body == b"abc"
            await stream.send_all(HELLO[:20])
            await stream.send_all(HELLO[20:])
            assert (await read_answer(stream)).body == b"hello"


async def test_first_head_may_come_byte_by_byte_and_with_its_body() -> None:
    with trio.fail_after(10):
        async with serving() as live:
            async with await live.connect() as stream:
                for index in range(len(HELLO)):
                    await stream.send_all(HELLO[index : index + 1])
                assert (await read_answer(stream)).body == b"hello"
            body = bytes(range(256)) * 300
            head = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
            assert (await live.ask(head + body)).body == body


async def test_pipelined_requests_are_answered_in_order() -> None:
    with trio.fail_after(10):
        async with serving() as live:
            last = b"GET /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            async with await live.connect(HELLO + HELLO + last) as stream:
                assert re.findall(rb"HTTP/1.1 (\d+)", await read_to_end(stream)) == [b"200", b"200", b"404"]


async def test_old_and_careful_clients_are_served() -> None:
    with trio.fail_after(10):
        async with serving() as live:
            assert (await live.ask(b"GET /hello HTTP/1.0\r\n\r\n")).status == 200
            expecting = b"POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
            async with await live.connect(expecting) as stream:
                assert (await stream.receive_some()).startswith(b"HTTP/1.1 100 ")
                await stream.send_all(b"ok")
                assert (await read_answer(stream)).body == b"ok"


async def test_too_large_a_body_is_refused_while_the_client_still_sends() -> None:
    with trio.fail_after(10):
        async with serving() as live:
            async with await live.connect(
                b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n"
            ) as stream:
                await stream.send_all(bytes(3_000_000))  # lingering swallows this: no reset destroys the answer
                assert (await read_answer(stream)).status == 413
            assert (await live.ask(CHUNKED_ECHO + b"20000\r\n" + bytes(0x20000) + b"\r\n")).status == 413


# Push sessions


async def test_push_handler_gets_the_whole_head_and_what_follows_it() -> None:
    got = bytearray()

    async def handler(stream: trio.SocketStream, first_bytes: bytes) -> None:
        got.extend(first_bytes)
        assert stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000
        while len(got) < len(PUSH_REQUEST) + 7:
            got.extend(await stream.receive_some())
        await stream.send_all(b"seen")
        await stream.aclose()

    with trio.fail_after(10):
        async with serving(push_handler=handler) as live, await live.connect(PUSH_REQUEST + b"abc") as stream:
            await stream.send_all(b"defg")
            assert await read_to_end(stream) == b"seen"
    assert bytes(got) == PUSH_REQUEST + b"abcdefg"


async def test_a_frame_sent_with_the_handshake_arrives_in_a_real_websocket() -> None:
    async def handler(stream: trio.SocketStream, first_bytes: bytes) -> None:
        server = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
        head, rest = split_head(first_bytes)
        server.receive_data(head)
        assert isinstance(next(server.events()), wsproto.events.Request)
        await stream.send_all(server.send(wsproto.events.AcceptConnection()))
        server.receive_data(rest)
        while True:
            for event in server.events():
                if isinstance(event, wsproto.events.TextMessage):
                    await stream.send_all(server.send(wsproto.events.TextMessage(event.data.upper())))
                elif isinstance(event, wsproto.events.CloseConnection):
                    await stream.send_all(server.send(event.response()))
                    return
            server.receive_data(await stream.receive_some())

    with trio.fail_after(10):
        async with serving(push_handler=handler) as live:
            frame = b"\x81\x83\0\0\0\0abc"  # a text, masked by zeros
            for early, late in ((frame, b""), (frame[:3], frame[3:]), (b"", frame)):
                client = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
                hello = client.send(wsproto.events.Request(host="x", target=PUSH_PATH))
                async with await live.connect(hello + early) as stream:
                    await stream.send_all(late)
                    heard: list[str] = []
                    while not heard:
                        client.receive_data(await stream.receive_some())
                        heard = [
                            event.data for event in client.events() if isinstance(event, wsproto.events.TextMessage)
                        ]
                    assert heard == ["ABC"]
                    await stream.send_all(client.send(wsproto.events.CloseConnection(code=1000)))
                    await read_to_end(stream)


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (b"/v1/push ", b"/v1/push?token=x ", 400),
        (b"/v1/push ", b"/v1/push/ ", 400),
        (b"/v1/push ", b"http://x/v1/push ", 400),
        (b"/v1/push ", b"/hello ", 400),
        (b"GET", b"POST", 400),
        (b"HTTP/1.1", b"HTTP/1.0", 400),
        (b"Host: x", b"Host : x", 400),
        (b"Connection: keep-alive, Upgrade", b"Connection: keep-alive", 400),
        (b"Upgrade: websocket", b"Upgrade: h2c", 404),
        (b"Upgrade: websocket\r\n", b"", 404),
    ],
)
async def test_whatever_is_not_quite_a_push_request_is_refused(old: bytes, new: bytes, status: int) -> None:
    assert old in PUSH_REQUEST
    with trio.fail_after(10):
        async with serving() as live:
            assert (await live.ask(PUSH_REQUEST.replace(old, new))).status == status
            await live.check_alive()


async def test_no_websocket_on_a_later_request() -> None:
    with trio.fail_after(10):
        async with serving() as live, await live.connect(HELLO) as stream:
            await read_answer(stream)
            await stream.send_all(PUSH_REQUEST)
            answer = await read_answer(stream)
            assert (answer.status, answer.headers[b"connection"]) == (400, b"close")
            assert b"push path" in answer.body


async def test_a_failing_push_handler_ends_its_session_only(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(stream: trio.SocketStream, first_bytes: bytes) -> None:
        raise ValueError("secret-of-the-session")

    with trio.fail_after(10):
        async with serving(push_handler=handler) as live:
            async with await live.connect(PUSH_REQUEST) as stream:
                assert await read_to_end(stream) == b""
            await live.check_alive()
    (record,) = caplog.records
    assert record.name == "noise.web"
    assert "ValueError at test_listen.py" in record.getMessage()
    assert "secret" not in caplog.text
    assert record.exc_info is None


async def test_what_is_no_exception_passes() -> None:
    class Fatal(BaseException):
        pass

    async def handler(stream: trio.SocketStream, first_bytes: bytes) -> None:
        raise Fatal

    with trio.fail_after(10):
        with pytest.raises(BaseExceptionGroup) as caught:
            async with serving(push_handler=handler) as live:
                await live.connect(PUSH_REQUEST)
                await trio.sleep_forever()
        assert caught.group_contains(Fatal)


# Bounds


async def test_a_slow_head_is_cut() -> None:
    with trio.fail_after(10):
        async with serving(head_timeout_s=0.1) as live:
            async with await live.connect(b"GET /hello HTTP/1.1\r\nHost:") as stream:
                assert (await read_answer(stream)).status == 408
            async with await live.connect() as stream:
                assert await read_to_end(stream) == b""
            await live.check_alive()


async def test_trickling_does_not_extend_the_time_for_a_head() -> None:
    async def trickle(stream: trio.SocketStream) -> None:
        try:
            while True:
                await stream.send_all(b"a")
                await trio.lowlevel.checkpoint()
        except trio.BrokenResourceError:
            pass

    with trio.fail_after(10):
        async with serving(head_timeout_s=0.1, head_bytes_max=10**9, linger_s=0.01) as live:
            async with await live.connect(b"GET /") as stream:
                await trickle(stream)
            await live.check_alive()


async def test_a_large_head_is_refused() -> None:
    large = b"GET /hello HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 16_384 + b"\r\n\r\n"
    fitting = b"GET /hello HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 16_200 + b"\r\n\r\n"
    with trio.fail_after(10):
        async with serving() as live:
            assert (await live.ask(large)).status == 431
            assert (await live.ask(large[:-4])).status == 431
            assert (await live.ask(fitting)).status == 200
            async with await live.connect(HELLO) as stream:  # and so on a later request
                await read_answer(stream)
                await stream.send_all(large)
                assert (await read_answer(stream)).status == 431


async def test_connections_beyond_the_bound_are_told_to_come_later() -> None:
    with trio.fail_after(10):
        async with serving(connections_max=1) as live:
            async with await live.connect(HELLO) as stream:
                await read_answer(stream)
                refused = await live.ask(HELLO)
                assert (refused.status, refused.headers[b"retry-after"]) == (503, b"5")
            while (await live.ask(HELLO)).status == 503:
                pass  # the server has yet to see that the first connection is gone


async def test_telling_so_is_bounded_too() -> None:
    with trio.fail_after(20):
        async with serving(connections_max=0) as live:
            for _ in range(256):
                assert (await read_answer(await live.connect())).status == 503
            async with await live.connect() as stream:
                assert await read_to_end(stream) == b""
            for stream in live.streams:
                stream.socket.close()
            refused = b""
            while not refused:  # until the server has seen some of them go
                async with await live.connect() as stream:
                    refused = await read_to_end(stream)


# Crowds and vanishing clients


async def test_a_hundred_connections_that_come_and_go_leave_no_trace(caplog: pytest.LogCaptureFixture) -> None:
    with trio.fail_after(20):
        async with serving() as live:

            async def come_and_go(index: int) -> None:
                stream = await live.connect(HELLO[: index % len(HELLO) if index % 3 else None])
                if index % 3 == 0:
                    await stream.receive_some()  # closed while the server finishes its send
                if index % 2:
                    reset(stream)
                else:
                    stream.socket.close()

            async with trio.open_nursery() as nursery:
                for index in range(100):
                    nursery.start_soon(come_and_go, index)
            await live.check_alive()
    assert caplog.records == []


async def test_clients_that_reset_before_they_are_refused_leave_no_trace(caplog: pytest.LogCaptureFixture) -> None:
    with trio.fail_after(20):
        async with serving(connections_max=0) as live:
            for _ in range(50):
                reset(await live.connect())
            assert (await live.ask(b"")).status == 503
    assert caplog.records == []


async def test_no_client_that_closes_right_after_its_answer_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with trio.fail_after(20):
        async with serving() as live:
            for _ in range(200):
                assert (await live.ask(HELLO)).status == 200
    assert caplog.records == []


async def test_what_is_kept_for_a_connection_goes_with_it() -> None:
    gc.collect()
    with trio.fail_after(10):
        async with serving() as live:
            (idle,) = (thing for thing in gc.get_objects() if isinstance(thing, IdleConnections))
            for request_bytes in (HELLO, HELLO + b"\r\n", b"", b"GET"):
                stream = await live.connect(request_bytes)
                if request_bytes.startswith(HELLO):
                    await read_answer(stream)
                while not idle:
                    await trio.lowlevel.checkpoint()
                stream.socket.close()
                while idle:
                    await trio.lowlevel.checkpoint()
