"""What bites in Hypercorn 0.18 under Trio, attack by attack, over real sockets.

Where an attack ends, pins or swells an unhardened Hypercorn, a test shows that first: when such a test fails, Hypercorn
has changed, and `noise.web.hardened` has to be read again.
"""

import logging
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from hypercorn.typing import ASGIFramework
from quart import websocket
from quart_trio import QuartTrio
from trio.testing import wait_all_tasks_blocked

from noise.protocol.errors import NoiseError
from noise.web.hardened import HardenedHypercorn, IdleConnections, check_hypercorn
from noise.web.listen import open_listeners
from tests.web.attacks import FATAL, SMUGGLED
from tests.web.live_http import (
    HELLO,
    LARGE_BYTES,
    PATIENT,
    Diary,
    bare_asgi,
    connect,
    create_app,
    read_answer,
    read_to_end,
    reset,
    serving,
)

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


async def test_a_send_has_a_deadline_without_the_help_of_the_kernel() -> None:
    diary = Diary()
    limits = replace(PATIENT, send_timeout_s=0.1)
    with trio.fail_after(10):
        hypercorn = HardenedHypercorn(bare_asgi(partial(send_much, diary=diary)), limits, {})
        (listener,) = await open_listeners("127.0.0.1", 0)
        client = await connect(listener.socket.getsockname(), receive_buffer_bytes=4096)
        async with await listener.accept() as stream:
            await hypercorn.serve(stream, LARGE)  # this stream has no TCP_USER_TIMEOUT
        assert diary.events == ["sending", "sent"]
        client.socket.close()
        listener.socket.close()


async def test_a_request_behind_a_send_that_failed_is_not_begun() -> None:
    with trio.fail_after(10):
        async with serving() as live:
            stream = await live.connect(LARGE + SMUGGLED, receive_buffer_bytes=4096)
            await live.diary.wait_for("large")
            reset(stream)
            live.stop.set()
            await live.over.wait()
            assert "smuggled" not in live.diary.events


async def test_two_tasks_do_not_send_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """The handler answers while the reader still says "100 Continue"."""

    async def answer_at_once(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"at once"})

    expecting = b"POST /x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    with trio.fail_after(10):
        async with serving(bare_asgi(answer_at_once)) as live:
            for _ in range(20):
                async with await live.connect(expecting) as stream:
                    await read_answer_from(stream, b"at once\r\n0\r\n\r\n")
    assert caplog.records == []


async def test_nothing_follows_a_send_that_was_cancelled() -> None:
    diary = Diary()

    async def give_up_and_go_on(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        with trio.CancelScope() as giving_up:
            giving_up.cancel()
            await send({"type": "http.response.body", "body": b"the beginning", "more_body": True})
        await send({"type": "http.response.body", "body": b"the end"})
        diary.write("done")

    with trio.fail_after(10):
        async with serving(bare_asgi(give_up_and_go_on)) as live:
            for count in range(1, 21):
                async with await live.connect(LARGE) as stream:
                    await diary.wait_for("done", count)
                    assert b"the end" not in await read_to_end(stream)


async def test_the_deadline_is_for_each_piece_so_that_slow_readers_are_served() -> None:
    with trio.fail_after(20):
        async with serving(send_timeout_s=2) as live:
            async with await live.connect(LARGE, receive_buffer_bytes=4096) as stream:
                answer = await read_answer(stream)
            assert len(answer.body) == LARGE_BYTES


# 3. permessage-deflate is always negotiated: no WebSocket gets to Hypercorn, see the attacks and test_listen


# 4. send() to nobody succeeds and lets nobody else run


@pytest.mark.parametrize("start", ["at once", "after the disconnect"])
@pytest.mark.parametrize(
    "attack",
    [
        b"GET /flood HTTP/1.1\r\nHost: x\r\n\r\n",
        b"HEAD /flood HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /flood HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["reset", "HEAD", "malformed"],
)
async def test_sending_without_end_to_nobody_does_not_stop_the_others(attack: bytes, start: str) -> None:
    diary = Diary()

    async def flood(scope: Any, receive: Any, send: Any) -> None:
        diary.write("called")
        while start == "after the disconnect" and (await receive())["type"] != "http.disconnect":
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"a" * 1000, "more_body": True})

    with trio.fail_after(10):
        async with serving(bare_asgi(flood), grace_s=0) as live:
            stream = await live.connect(attack)
            await diary.wait_for("called")
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


def test_whoever_gets_idle_during_a_stop_is_ended() -> None:
    idle, scope = IdleConnections(), trio.CancelScope()
    idle.stop()
    idle.add(scope)
    assert scope.cancel_called
    assert len(idle) == 0


async def test_a_request_that_comes_together_with_a_stop_is_not_begun() -> None:
    diary = Diary()

    async def handle(scope: Any, receive: Any, send: Any) -> None:
        diary.write("begun")

    with trio.fail_after(10):
        hypercorn = HardenedHypercorn(bare_asgi(handle), PATIENT, {})
        (listener,) = await open_listeners("127.0.0.1", 0)
        client = await connect(listener.socket.getsockname())
        await hypercorn.stop()
        async with await listener.accept() as stream:
            await hypercorn.serve(stream, LARGE)
        assert await read_to_end(client) == b""
        assert diary.events == []
        client.socket.close()
        listener.socket.close()


async def test_an_upload_that_nobody_reads_pins_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def look_away(scope: Any, receive: Any, send: Any) -> None:
        await wait_all_tasks_blocked()  # the queue is full, and the reader waits at it
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
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["request handler failed"]


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
