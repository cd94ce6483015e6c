"""What bites in Hypercorn 0.18 under Trio, attack by attack, over real sockets.

Where an attack ends, pins or swells an unhardened Hypercorn, a test shows that first: when such a test fails, Hypercorn
has changed, and `noise.web.hardened` has to be read again.
"""

import logging
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from hypercorn.typing import ASGIFramework
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from quart import websocket
from quart_trio import QuartTrio

from noise.protocol.errors import NoiseError
from noise.web.hardened import check_hypercorn
from noise.web.listen import split_head
from tests.web.live_http import (
    HELLO,
    LARGE_BYTES,
    PUSH_REQUEST,
    Diary,
    bare_asgi,
    connect,
    create_app,
    read_answer,
    read_to_end,
    reset,
    serving,
)

H2C = (
    b"GET /hello HTTP/1.1\r\nHost: x\r\n"
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: %s\r\n\r\n"
)
H2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
H2_EMPTY_SETTINGS = b"\0\0\0\4\0\0\0\0\0"
H2_CONNECT = b"B\x07CONNECTA\x01x"  # HPACK: a CONNECT without a path
WEBSOCKET = PUSH_REQUEST.replace(b"/v1/push", b"/ws")


def websocket_with(header: bytes) -> bytes:
    return WEBSOCKET[:-2] + header + b"\r\n\r\n"


FATAL = {
    "extensions not ASCII": websocket_with(b"Sec-WebSocket-Extensions: \xff"),
    "subprotocol not ASCII": websocket_with(b"Sec-WebSocket-Protocol: \xff"),
    "bytes before accept": WEBSOCKET + b"\0",
    "h2c settings not base64": H2C % b"A",
    "h2c settings of a wrong length": H2C % b"AAAA",
    "h2c settings out of range": H2C % b"AAX_____",
    "HTTP/2 without asking": H2_PREFACE + H2_EMPTY_SETTINGS + b"\0\0\x0c\1\5\0\0\0\1" + H2_CONNECT,
}


# 1. One malformed request ends the process


def create_websocket_app() -> QuartTrio:
    app = QuartTrio("stock")

    @app.websocket("/ws")
    async def ws() -> None:
        await websocket.accept()
        await websocket.receive()

    return app


async def start_unhardened(
    nursery: trio.Nursery, app: ASGIFramework, stop: trio.Event | None = None, **settings_: Any
) -> tuple[str, int]:
    config = Config.from_mapping(bind=["127.0.0.1:0"], errorlog=None, **settings_)
    trigger = trio.sleep_forever if stop is None else stop.wait
    (url,) = await nursery.start(partial(serve, app, config, shutdown_trigger=trigger))
    return "127.0.0.1", int(url.rpartition(":")[2])


@pytest.mark.parametrize("attack", FATAL.values(), ids=FATAL)
async def test_unhardened_is_ended_by_one_request(attack: bytes) -> None:
    logging.getLogger("stock").disabled = True
    with trio.fail_after(10), pytest.raises(ExceptionGroup):
        async with trio.open_nursery() as nursery:
            address = await start_unhardened(nursery, create_websocket_app())
            async with await connect(address, attack):
                await trio.sleep_forever()


@pytest.mark.parametrize("attack", FATAL.values(), ids=FATAL)
async def test_no_request_ends_more_than_its_connection(attack: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with trio.fail_after(10):
        async with serving() as live:
            for start in (b"", HELLO):  # as the first request and as a later one
                async with await live.connect(start + attack) as stream:
                    if start:
                        await read_answer_from(stream, b"hello")
                    status = (await read_answer(stream)).status
                    assert status == (200 if b"h2c" in attack else 505 if b"PRI" in attack else 400)
                    if status != 200:
                        assert await read_to_end(stream) == b""
                await live.check_alive()
    assert caplog.records == []


async def read_answer_from(stream: trio.SocketStream, ending: bytes) -> None:
    """Read one response byte by byte, so that what follows stays in the socket."""
    received = b""
    while not received.endswith(ending):
        received += await stream.receive_some(1)


async def test_an_exception_inside_hypercorn_is_contained_and_its_text_kept_out_of_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def handle(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/raise":
            raise ValueError("secret-of-the-request")
        await send(
            {"type": "http.response.start", "status": 101, "headers": []}
        )  # h11 is in an error state from here on

    with trio.fail_after(10):
        async with serving(bare_asgi(handle)) as live:
            assert (await live.ask(b"GET /raise HTTP/1.1\r\nHost: x\r\n\r\n")).status == 500
            async with await live.connect(b"GET /switch HTTP/1.1\r\nHost: x\r\n\r\n") as stream:
                assert await read_to_end(stream) == b""
            await live.check_alive()
    lines = [record.getMessage() for record in caplog.records if record.name == "noise.web"]
    assert re.match(r"request handler failed: ValueError at test_hypercorn_traps.py:\d+$", lines[0])
    assert re.match(r"request handler failed: LocalProtocolError at ", lines[1])
    assert re.match(r"connection failed: LocalProtocolError at ", lines[2])
    assert "secret" not in caplog.text
    assert "Traceback" not in caplog.text


def test_another_hypercorn_is_refused() -> None:
    check_hypercorn()
    with pytest.raises(NoiseError, match=r"0\.18\.1") as caught:
        check_hypercorn("0.18.1")
    assert caught.value.code == "wrong-hypercorn"


MALFORMED = {
    "nothing": (b"\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00", 400),
    "no version": (b"GET /hello\r\n\r\n", 400),
    "HTTP/0.9": (b"GET /hello HTTP/0.9\r\nHost: x\r\n\r\n", 505),
    "HTTP/2.0": (b"GET /hello HTTP/2.0\r\nHost: x\r\n\r\n", 505),
    "no host": (b"GET /hello HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET /hello HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
    "empty path": (b"GET ?x HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "whole URL": (b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "lower case": (b"head /hello HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "CONNECT": (b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "header name with a space": (b"GET /hello HTTP/1.1\r\nHost: x\r\na b: c\r\n\r\n", 400),
    "header with NUL": (b"GET /hello HTTP/1.1\r\nHost: x\r\na: \0\r\n\r\n", 400),
    "fold at the start": (b"GET /hello HTTP/1.1\r\n Host: x\r\n\r\n", 400),
    "length -1": (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
    "length +1": (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\na", 400),
    "length 1_0": (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1_0\r\n\r\na", 400),
    "length of 30 digits": (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %s\r\n\r\n" % (b"9" * 30), 400),
    "length of 20 digits": (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %s\r\n\r\n" % (b"9" * 20), 413),
    "two lengths": (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
    "chunk size": (b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    "chunk size 0x": (b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n", 400),
    "chunk end": (b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\naXX0\r\n\r\n", 400),
    "chunk line": (b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;%s" % bytes(70_000), 431),
    "gzip": (b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
}


@pytest.mark.parametrize(("attack", "status"), MALFORMED.values(), ids=MALFORMED)
async def test_malformed_requests_are_refused(attack: bytes, status: int, caplog: pytest.LogCaptureFixture) -> None:
    with trio.fail_after(10):
        async with serving() as live:
            async with await live.connect(attack) as stream:
                assert (await read_answer(stream)).status == status
                assert await read_to_end(stream) == b""
            await live.check_alive()
    assert caplog.records == []


async def test_a_refusal_reaches_a_client_that_is_still_sending() -> None:
    with trio.fail_after(10):
        async with serving() as live, await live.connect(WEBSOCKET) as stream:
            await stream.send_all(bytes(3_000_000))
            assert (await read_answer(stream)).status == 400


SMUGGLED = b"POST /smuggled HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
SMUGGLING = {
    "length, then chunked": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked, then length": b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "chunked twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked, identity": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "space before the colon": b"Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "vertical tab": b"Transfer-Encoding: \x0bchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "lengths that differ": b"Content-Length: 5\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
    "length list": b"Content-Length: 5, 0\r\n\r\n0\r\n\r\n",
    "bare CR": b"X: y\rTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("headers", SMUGGLING.values(), ids=SMUGGLING)
async def test_requests_of_two_possible_lengths_end_the_connection(headers: bytes) -> None:
    with trio.fail_after(10):
        async with serving() as live:
            async with await live.connect(b"POST /echo HTTP/1.1\r\nHost: x\r\n" + headers + SMUGGLED) as stream:
                assert (await read_answer(stream)).status in {400, 501}
                assert await read_to_end(stream) == b""
            chunked_to_1_0 = b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            assert (await live.ask(chunked_to_1_0 + SMUGGLED)).status == 400
            assert "smuggled" not in live.diary.events
            await live.check_alive()


FRAGMENTS = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [HELLO, PUSH_REQUEST[:-2], H2_PREFACE, *FATAL.values(), *(attack for attack, _ in MALFORMED.values())]
    ),
    st.sampled_from(
        [b"GET ", b"POST /echo HTTP/1.1\r\n", b"Host: x\r\n", b"\r\n", b"\r\n\r\n", b"\n\n", b"\0", b": ", b"5\r\n"]
    ),
    st.sampled_from([b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n"]),
)
SESSIONS = st.lists(st.lists(FRAGMENTS, min_size=1, max_size=6), min_size=1, max_size=8)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sessions=SESSIONS, ends_hard=st.booleans())
async def test_no_bytes_reach_beyond_their_connection(
    sessions: list[list[bytes]], ends_hard: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def take(stream: trio.SocketStream, first_bytes: bytes) -> None:
        assert split_head(first_bytes)[0].endswith((b"\n\r\n", b"\n\n"))

    caplog.clear()
    with trio.fail_after(20):
        async with serving(push_handler=take) as live:
            for fragments in sessions:
                stream = await live.connect()
                try:
                    for fragment in fragments:
                        await stream.send_all(fragment)
                    if ends_hard:
                        reset(stream)
                        continue
                    await stream.send_eof()
                except trio.BrokenResourceError:
                    pass
                await read_to_end(stream)
            await live.check_alive()
    assert caplog.records == []


# 2. A send cannot be cancelled


async def send_much(scope: Any, receive: Any, send: Any, *, diary: Diary) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    diary.write("sending")
    await send({"type": "http.response.body", "body": bytes(LARGE_BYTES)})
    diary.write("sent")


LARGE = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_unhardened_waits_for_ever_for_a_client_that_does_not_read() -> None:
    diary, stop, over = Diary(), trio.Event(), trio.Event()

    async def run(nursery: trio.Nursery, *, task_status: trio.TaskStatus[tuple[str, int]]) -> None:
        app = bare_asgi(partial(send_much, diary=diary))
        async with trio.open_nursery() as server:
            task_status.started(await start_unhardened(server, app, stop, graceful_timeout=0))
        over.set()

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            address = await nursery.start(run, nursery)
            stream = await connect(address, LARGE, receive_buffer_bytes=4096)
            await diary.wait_for("sending")
            stop.set()
            with trio.move_on_after(0.3):
                await over.wait()
            assert not over.is_set()
            stream.socket.close()


async def test_a_send_has_a_deadline() -> None:
    diary = Diary()
    with trio.fail_after(10):
        async with serving(bare_asgi(partial(send_much, diary=diary)), send_timeout_s=0.1) as live:
            stream = await live.connect(LARGE, receive_buffer_bytes=4096)
            await diary.wait_for("sent")  # as far as the application can know
            assert len(await read_to_end(stream)) < LARGE_BYTES
            await live.check_alive()


async def test_nothing_follows_a_send_that_was_cut_short() -> None:
    diary = Diary()

    async def give_up_and_go_on(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        with trio.move_on_after(0.1):
            await send({"type": "http.response.body", "body": bytes(LARGE_BYTES), "more_body": True})
        await send({"type": "http.response.body", "body": b"what follows"})
        diary.write("done")

    with trio.fail_after(10):
        async with serving(bare_asgi(give_up_and_go_on)) as live:
            stream = await live.connect(LARGE, receive_buffer_bytes=4096)
            await diary.wait_for("done")
            received = await read_to_end(stream)
            assert len(received) < LARGE_BYTES
            assert b"what follows" not in received


async def test_the_deadline_is_for_each_piece_so_that_slow_readers_are_served() -> None:
    with trio.fail_after(20):
        async with serving(send_timeout_s=2) as live:
            async with await live.connect(LARGE, receive_buffer_bytes=4096) as stream:
                answer = await read_answer(stream)
            assert len(answer.body) == LARGE_BYTES


# 3. permessage-deflate is always negotiated: no WebSocket gets to Hypercorn, see FATAL and test_listen


# 4. After a disconnect, send() succeeds and lets nobody else run


async def test_sending_without_end_to_nobody_does_not_stop_the_others() -> None:
    diary = Diary()

    async def send_for_ever(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"a" * 1000, "more_body": True})
            if not diary.events:
                diary.write("sending")

    with trio.fail_after(10):
        async with serving(bare_asgi(send_for_ever), grace_s=0) as live:
            stream = await live.connect(LARGE)
            await diary.wait_for("sending")
            reset(stream)
            for _ in range(5):
                await live.check_alive()


# 5 to 7 concern WebSockets inside Hypercorn, which there are none of; 8 is in test_listen (starting, ending, zombies)


# 9. Bounds


async def test_a_slow_body_is_cut_and_its_handler_cancelled() -> None:
    ended = Diary()

    async def read_body(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        ended.write("disconnect")

    async def trickle(stream: trio.SocketStream) -> None:
        try:
            while True:  # more bytes do not buy more time
                await stream.send_all(b"1\r\na\r\n")
                await trio.lowlevel.checkpoint()
        except trio.BrokenResourceError:
            pass

    slow = b"POST /slow HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with trio.fail_after(10):
        async with serving(bare_asgi(read_body), body_timeout_s=0.1, linger_s=0.01) as live:
            async with await live.connect(slow) as stream:
                await read_to_end(stream)
            await ended.wait_for("disconnect")
            async with await live.connect(slow) as stream:
                await trickle(stream)
            await ended.wait_for("disconnect", 2)
            await live.check_alive()


async def test_a_slow_answer_is_not_a_slow_body() -> None:
    with trio.fail_after(10):
        async with serving(body_timeout_s=0.05, idle_timeout_s=0.05, head_timeout_s=0.05) as live:
            slow = b"GET /until-told HTTP/1.1\r\nHost: x\r\n\r\n"
            async with await live.connect(slow) as stream:
                await live.diary.wait_for("until-told")
                async with await live.connect() as other:
                    await read_to_end(other)  # until a timeout as long as the three above has passed
                live.diary.write("told")
                assert (await read_answer(stream)).body == b"told"


async def test_unhardened_never_closes_an_idle_connection() -> None:
    """Hypercorn starts its timer in the handler's task, which Quart-Trio has cancelled by then."""
    app = create_app(Diary())
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            address = await start_unhardened(nursery, app, keep_alive_timeout=0.05)
            async with await connect(address, HELLO) as stream:
                assert (await read_answer(stream)).body == b"hello"
                with trio.move_on_after(0.3) as waiting:
                    await read_to_end(stream)
                assert waiting.cancelled_caught
            nursery.cancel_scope.cancel()


async def test_an_idle_connection_is_closed() -> None:
    with trio.fail_after(10):
        async with serving(idle_timeout_s=0.1) as live:
            for _ in range(5):
                async with await live.connect(HELLO) as stream:
                    assert (await read_answer(stream)).body == b"hello"
                    assert await read_to_end(stream) == b""
            async with await live.connect(HELLO) as stream:  # nor does half a request make it any less idle
                await read_answer(stream)
                await stream.send_all(HELLO[:-2])
                assert await read_to_end(stream) == b""


async def test_an_upload_that_nobody_reads_pins_nothing() -> None:
    async def look_away(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if scope["path"] == "/raise":
            raise ValueError("early")
        await send({"type": "http.response.start", "status": 403, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    with trio.fail_after(10):
        async with serving(bare_asgi(look_away)) as live:
            for path, status in ((b"/raise", 500), (b"/leave", 403)):
                head = b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                async with await live.connect(head + b"1\r\na\r\n" * 5000) as stream:
                    assert (await read_answer(stream)).status == status
                    await stream.send_eof()
                    assert await read_to_end(stream) == b""
            live.stop.set()
            await live.over.wait()


# 10. HTTP handlers are cancelled when their client disconnects


@pytest.mark.parametrize("leave", [reset, lambda stream: stream.socket.close()], ids=["reset", "end"])
async def test_a_handler_is_cancelled_when_its_client_leaves(leave: Callable[[trio.SocketStream], None]) -> None:
    with trio.fail_after(10):
        async with serving() as live:
            stream = await live.connect(b"GET /forever HTTP/1.1\r\nHost: x\r\n\r\n")
            await live.diary.wait_for("forever")
            leave(stream)
            await live.diary.wait_for("forever cancelled")
            await live.check_alive()


@pytest.mark.parametrize("part", [1, 60, 100])
async def test_clients_that_reset_in_the_middle(part: int, caplog: pytest.LogCaptureFixture) -> None:
    upload = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n" + bytes(100)
    with trio.fail_after(10):
        async with serving() as live:
            for _ in range(10):
                reset(await live.connect(upload[:part]))
            stream = await live.connect(LARGE, receive_buffer_bytes=4096)
            await live.diary.wait_for("large")
            await stream.receive_some(1)
            reset(stream)
            await live.check_alive()
    assert caplog.records == []
