"""Stopping the server, and the application's own start and end."""

import logging
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import trio
from hypercorn.typing import ASGIFramework
from quart_trio import QuartTrio

from noise.protocol.errors import NoiseError
from noise.web.listen import open_listeners, serve_http
from tests.web.live_http import (
    HELLO,
    PATIENT,
    PUSH_PATH,
    PUSH_REQUEST,
    Diary,
    create_app,
    read_answer,
    read_to_end,
    refuse_push,
    serving,
)


async def test_a_stop_ends_what_waits_at_once_and_lets_requests_end() -> None:
    with trio.fail_after(10):
        async with serving() as live:
            silent = await live.connect()
            half = await live.connect(HELLO[:-2])
            idle = await live.connect(HELLO)
            await read_answer(idle)
            later = await live.connect(HELLO)
            await read_answer(later)
            await later.send_all(HELLO[:-2])
            running = await live.connect(b"GET /until-told HTTP/1.1\r\nHost: x\r\n\r\n" + HELLO)
            await live.diary.wait_for("until-told")
            live.stop.set()
            for stream in (silent, half, idle, later):
                assert await read_to_end(stream) == b""
            with pytest.raises(OSError, match="refused"):
                await live.connect()
            assert "end" not in live.diary.events
            live.diary.write("told")
            text = await read_to_end(running)
            assert text.lower().count(b"connection: close") == 1
            assert text.endswith(b"told")  # the pipelined request after it was not begun
            running.socket.close()
            await live.over.wait()
            assert live.diary.events[-1] == "end"


async def test_a_request_that_does_not_end_is_cut_when_the_grace_is_over() -> None:
    with trio.fail_after(10):
        async with (
            serving(grace_s=0.1) as live,
            await live.connect(b"GET /forever HTTP/1.1\r\nHost: x\r\n\r\n") as stream,
        ):
            await live.diary.wait_for("forever")
            live.stop.set()
            await live.over.wait()
            assert live.diary.events == ["begin", "forever", "forever cancelled", "end"]
            assert await read_to_end(stream) == b""


async def test_a_client_that_does_not_read_cannot_delay_a_stop() -> None:
    with trio.fail_after(10):
        async with serving(grace_s=0.1) as live:
            stream = await live.connect(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n", receive_buffer_bytes=4096)
            await live.diary.wait_for("large")
            live.stop.set()
            await live.over.wait()
            assert stream.socket.fileno() != -1


async def test_push_sessions_have_the_grace_to_say_goodbye() -> None:
    diary = Diary()
    goodbye = trio.Event()

    async def handler(stream: trio.SocketStream, first_bytes: bytes) -> None:
        diary.write("session")
        await goodbye.wait()
        await stream.send_all(b"goodbye")

    with trio.fail_after(10):
        async with serving(push_handler=handler) as live, await live.connect(PUSH_REQUEST) as stream:
            await diary.wait_for("session")
            live.stop.set()
            goodbye.set()
            assert await read_to_end(stream) == b"goodbye"
            await live.over.wait()

        goodbye = trio.Event()
        async with serving(push_handler=handler, grace_s=0.1) as live, await live.connect(PUSH_REQUEST) as stream:
            await diary.wait_for("session", 2)
            live.stop.set()
            assert await read_to_end(stream) == b""


async def test_being_cancelled_cuts_at_once_and_still_ends_the_application() -> None:
    with trio.fail_after(10):
        diary = Diary()
        listeners = await open_listeners("127.0.0.1", 0)
        async with trio.open_nursery() as nursery:
            serve = partial(
                serve_http, push_path=PUSH_PATH, push_handler=refuse_push, stop=trio.Event(), limits=PATIENT
            )
            await nursery.start(partial(serve, create_app(diary), listeners))
            stream = await trio.open_tcp_stream(*listeners[0].socket.getsockname())
            await stream.send_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
            await diary.wait_for("large")
            nursery.cancel_scope.cancel()
        assert diary.events[-1] == "end"
        assert listeners[0].socket.fileno() == -1
        await stream.aclose()


# The application's own start and end


async def serve_to_the_end(app: ASGIFramework, **limits: float) -> None:
    listeners = await open_listeners("127.0.0.1", 0)
    try:
        await serve_http(
            app,
            listeners,
            push_path=PUSH_PATH,
            push_handler=refuse_push,
            stop=trio.Event(),
            limits=replace(PATIENT, **limits),
        )
    finally:
        assert listeners[0].socket.fileno() == -1


def is_lifespan_failure(error: NoiseError) -> bool:
    return error.code == "lifespan-failed"


async def test_an_application_that_does_not_start_is_not_served() -> None:
    failing = QuartTrio("failing")
    slow = QuartTrio("slow")

    @failing.before_serving
    async def fail() -> None:
        raise ValueError("no disk")

    @slow.before_serving
    async def dawdle() -> None:
        await trio.sleep_forever()

    with trio.fail_after(10):
        with pytest.RaisesGroup(
            pytest.RaisesExc(NoiseError, match="no disk", check=is_lifespan_failure), flatten_subgroups=True
        ):
            await serve_to_the_end(failing)
        with pytest.RaisesGroup(
            pytest.RaisesExc(NoiseError, match=r"0\.05 s", check=is_lifespan_failure), flatten_subgroups=True
        ):
            await serve_to_the_end(slow, lifespan_timeout_s=0.05)


async def test_an_application_whose_background_task_crashed_is_no_zombie() -> None:
    app = QuartTrio("crashing")

    async def crash() -> None:
        raise KeyError("background")

    @app.before_serving
    async def begin() -> None:
        app.nursery.start_soon(crash)

    with trio.fail_after(10), pytest.RaisesGroup(KeyError, flatten_subgroups=True):
        await serve_to_the_end(app)


async def test_an_application_whose_lifespan_returned_is_no_zombie() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})

    with trio.fail_after(10):
        with pytest.RaisesGroup(
            pytest.RaisesExc(NoiseError, match="while it was served", check=is_lifespan_failure), flatten_subgroups=True
        ):
            await serve_to_the_end(app)


async def test_the_time_to_start_does_not_bound_the_time_to_serve() -> None:
    with trio.fail_after(10):
        async with serving(lifespan_timeout_s=0.3, idle_timeout_s=0.35) as live:
            async with await live.connect(HELLO) as stream:
                await read_to_end(stream)  # 0.35 s
            await live.check_alive()


async def test_an_application_that_fails_to_end_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    app = QuartTrio("failing at the end")

    @app.after_serving
    async def fail() -> None:
        raise ValueError

    with trio.fail_after(10):
        async with serving(app):
            pass
    assert "the application's shutdown failed" in [record.getMessage() for record in caplog.records]


async def test_an_application_that_does_not_end_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    app = QuartTrio("clinging")
    app.config["BACKGROUND_TASK_SHUTDOWN_TIMEOUT"] = 60

    @app.after_serving
    async def cling() -> None:
        await trio.sleep_forever()

    with trio.fail_after(10):
        async with serving(app, lifespan_timeout_s=0.1):
            pass
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
