"""Malformed and ambiguous requests, and random bytes: each ends its own connection, with an answer where one fits."""

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from noise.web.listen import split_head
from tests.web.attacks import FATAL, MALFORMED, SMUGGLED, SMUGGLING, WEBSOCKET
from tests.web.live_http import HELLO, PUSH_REQUEST, read_answer, read_to_end, reset, serving


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


@pytest.mark.parametrize("headers", SMUGGLING.values(), ids=SMUGGLING)
async def test_requests_of_two_possible_lengths_end_the_connection(headers: bytes) -> None:
    with trio.fail_after(10):
        async with serving() as live:
            async with await live.connect(b"POST /echo HTTP/1.1\r\nHost: x\r\n" + headers + SMUGGLED) as stream:
                assert (await read_answer(stream)).status in {400, 501}
                assert await read_to_end(stream) == b""
            chunked_to_1_0 = b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            assert (await live.ask(chunked_to_1_0)).status == 400
            assert "smuggled" not in live.diary.events
            await live.check_alive()


FRAGMENTS = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([HELLO, PUSH_REQUEST[:-2], *FATAL.values(), *(attack for attack, _ in MALFORMED.values())]),
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
