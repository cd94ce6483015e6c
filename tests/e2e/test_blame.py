"""`noise blame` against servers that are no provider at all: it says so, and believes nothing of what they answer.

What it finds out at a real provider is shown where the liars are: tests/zoo/test_actors.py.
"""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
import trio

from noise.protocol.complaints import COMPLAINT_ANSWER, ComplaintAnswer
from noise.protocol.delta import SignedRoster
from noise.protocol.evidence.proof import make_proof
from noise.protocol.identifiers import format_id
from noise.protocol.log_pages import ROSTERS
from tests.e2e.provider_process import run_noise
from tests.protocol.evidence.convictions import conviction, told_truly
from tests.protocol.evidence.exhibits import rosters_of
from tests.vectors.cast import ORIGIN

NAME = format_id(ORIGIN)
ESCAPE = "\x1b[2J\x1b[31m"

Answer = Callable[[str], tuple[int, str, bytes]]
"""From a path to status, media type and body."""


class Said(NamedTuple):
    status: int
    out: str
    err: str


def write_proof(directory: Path) -> Path:
    path = directory / "a.proof"
    path.write_bytes(make_proof(ORIGIN, rosters_of(told_truly()), conviction("Omission, idle tail")))
    return path


def rosters() -> bytes:
    return ROSTERS.encode(tuple(SignedRoster(*one) for one in rosters_of(told_truly())))


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[str]:
    """Whatever the server is asked, `answer` says what comes; its URL."""

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            head = b""
            while b"\r\n\r\n" not in head:
                head += await stream.receive_some(65536) or b"\r\n\r\n"
            path = head.split(b" ")[1].decode("ascii")
            status, media_type, body = answer(path)
            lines = [f"HTTP/1.1 {status} -", f"Content-Type: {media_type}", f"Content-Length: {len(body)}"]
            await stream.send_all("\r\n".join([*lines, "Connection: close", "", ""]).encode() + body)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def blame(path: Path, url: str) -> Said:
    done = await trio.to_thread.run_sync(partial(run_noise, "blame", str(path), "--server", url, "--origin", NAME))
    return Said(done.returncode, done.stdout, done.stderr)


async def test_what_is_no_proof_is_not_asked_about(tmp_path: Path) -> None:
    with trio.fail_after(60):
        path = tmp_path / "a.proof"
        path.write_bytes(b"nothing")
        said = await blame(path, "http://127.0.0.1:1")
        assert (said.status, said.out) == (2, "")
        assert "malformed" in said.err


async def test_nobody_answers(tmp_path: Path) -> None:
    with trio.fail_after(60):
        said = await blame(write_proof(tmp_path), "http://127.0.0.1:1")
        assert (said.status, said.out) == (1, "")
        assert "unreachable" in said.err
        assert "Traceback" not in said.err


@pytest.mark.parametrize("body", [b"", b"\xff" * 100, b"[]", rosters()[:-1]])
async def test_answers_that_make_no_sense(body: bytes, tmp_path: Path) -> None:
    with trio.fail_after(60):
        async with serving(lambda _: (200, "application/octet-stream", body)) as url:
            said = await blame(write_proof(tmp_path), url)
        assert said.status == 1
        assert said.out == ""
        assert "Traceback" not in said.err
        assert not (tmp_path / "a.proof.blame").exists()


async def test_what_a_server_says_does_not_reach_the_terminal_as_it_is(tmp_path: Path) -> None:
    problem = f'{{"code": "x", "detail": "{ESCAPE.encode("unicode_escape").decode()}"}}'.replace("\\x1b", "\\u001b")
    with trio.fail_after(60):
        async with serving(lambda _: (404, "application/problem+json", problem.encode())) as url:
            said = await blame(write_proof(tmp_path), url)
        assert said.status == 1
        assert "404" in said.err
        assert "\x1b" not in said.err + said.out


@pytest.mark.parametrize("detail", ["there is no such thing", "no [/bold] such [red]thing[/red]"])
async def test_a_provider_that_knows_of_no_actor_leaves_the_first_unresponsive(detail: str, tmp_path: Path) -> None:
    """It takes the complaint and then has nothing: whoever should have answered first is not thereby a liar."""
    problem = json.dumps({"code": "not-found", "detail": detail}).encode()

    def answer(path: str) -> tuple[int, str, bytes]:
        if path == "/v1/rosters":
            return 200, "application/octet-stream", rosters()
        if path == "/v1/complaints":
            return 201, "application/octet-stream", COMPLAINT_ANSWER.encode(ComplaintAnswer(bytes(32), (), ()))
        return 404, "application/problem+json", problem

    with trio.fail_after(60):
        async with serving(answer) as url:
            said = await blame(write_proof(tmp_path), url)
        assert said.status == 3
        assert "UNRESPONSIVE: router-0-0" in said.out
        assert f"asking router-0-0 ...\n  no answer: {detail} [not-found]" in said.err
        assert "router-0-0 cannot be challenged" in said.err
        assert not (tmp_path / "a.proof.blame").exists()


async def test_a_file_that_cannot_be_written_and_times_that_are_none(tmp_path: Path) -> None:
    path = write_proof(tmp_path)
    for wait_s in ("-1", "nan", "inf", "soon"):
        said = run_noise("blame", str(path), "--server", "http://127.0.0.1:1", "--origin", NAME, "--wait-s", wait_s)
        assert said.returncode == 2
        assert "number of seconds" in said.stderr
    with trio.fail_after(60):
        said_of_host = await blame(path, f"http://{'a' * 70}.example")
        assert (said_of_host.status, "Traceback" in said_of_host.err) == (1, False)
