"""`noise demo` and `noise serve --demo` in processes of their own: what they print, where they listen, what they have.

Knows nothing of what the page does.
"""

import http.client
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from noise.cli import main
from noise.config import LIED_MARK
from tests.e2e.provider_process import client_environment, provider, run_noise

WAIT_S = 30


@contextmanager
def demo(*arguments: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """(the process, host and port of its page), once it prints that; killed at the end, if it has not ended."""
    command = [sys.executable, "-u", "-m", "noise", "demo", *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=client_environment()
    )
    try:
        assert process.stdout is not None
        first, _, rest = process.stdout.readline().partition(" http://")
        assert first == "open"
        yield process, rest.partition("/")[0]
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=WAIT_S)


def ask(host: str, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(host, timeout=WAIT_S)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def state(host: str) -> Any:
    return json.loads(ask(host, "GET", "/demo/state")[1])


def test_demo_shows_a_page_and_lies_on_request(tmp_path: Path) -> None:
    with demo("--data", str(tmp_path / "demo"), "--bind", "127.0.0.1:0") as (process, host):
        assert ask(host, "GET", "/")[0] == 200
        assert ask(host, "GET", "/browser/protocol/encoding.js")[0] == 200
        origin = state(host)["origin"]
        assert ask(host, "POST", "/demo/lie", b'{"name":"drop-one"}')[0] == 202
        assert (tmp_path / "demo" / "provider" / LIED_MARK).exists()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=WAIT_S)
        assert (process.returncode, errors) == (0, ""), errors
        assert "has lied" in output
        assert "noise serve" not in output
        assert f"noise fsck --data {tmp_path / 'demo' / 'provider'}" in output
    served = run_noise(
        "serve", "--data", str(tmp_path / "demo" / "provider"), "--bind", "127.0.0.1:0", timeout_s=WAIT_S
    )
    assert (served.returncode, served.stdout, "demo-liar" in served.stderr) == (1, "", True)
    with demo("--data", str(tmp_path / "demo"), "--bind", host) as (process, again):
        assert again == host
        assert state(host)["origin"] != origin
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=WAIT_S)
        assert (process.returncode, errors) == (0, ""), errors
        assert str(tmp_path / "demo" / "round-2") in output
    assert run_noise("fsck", "--data", str(tmp_path / "demo" / "round-2" / "provider")).returncode == 0


@pytest.mark.parametrize("is_told", [False, True])
def test_demo_takes_another_port_unless_it_was_told_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], is_told: bool
) -> None:
    with socket.socket() as usual:
        usual.bind(("127.0.0.1", 0))
        usual.listen()
        taken = "{}:{}".format(*usual.getsockname())
        monkeypatch.setattr("noise.cli.demo.BIND", taken)
        arguments = ["demo", "--data", str(tmp_path / "demo"), "--messages", "3", "--rate", "0"]
        status = main([*arguments, "--bind", taken] if is_told else arguments)
        output, errors = capsys.readouterr()
        assert (status, "bind-failed" in errors, "9 deliveries" in output) == (int(is_told), is_told, not is_told)


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        *((("--messages", "0"), "bad-option"), (("--rate", "-1"), "bad-option"), (("--rate", "nan"), "bad-option")),
        *((("--rate", "1e-320"), "bad-option"), (("--rate", "inf"), "bad-option")),
        *((("--bind", "8080"), "bad-option"), (("--input", "/nowhere"), "bad-input")),
    ],
)
def test_demo_refuses_what_makes_no_sense(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, str], code: str
) -> None:
    assert main(["demo", "--data", str(tmp_path / "demo"), *flags]) == 1
    output, errors = capsys.readouterr()
    assert (output, code in errors, (tmp_path / "demo").exists()) == ("", True, False)


@pytest.mark.parametrize("place", ["file", "file/under", "/proc/noise-demo", "x" * 300])
def test_a_directory_that_cannot_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str) -> None:
    (tmp_path / "file").touch()
    assert main(["demo", "--data", str(tmp_path / place), "--bind", "127.0.0.1:0", "--messages", "1"]) == 1
    assert "data-unusable" in capsys.readouterr().err


def test_it_listens_at_other_addresses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["demo", "--data", str(tmp_path / "demo"), "--bind", "[::1]:0", "--messages", "3", "--rate", "0"]
    assert main(arguments) == 0
    output, _ = capsys.readouterr()
    assert "9 deliveries verified" in output
    assert f"noise serve --data {tmp_path / 'demo' / 'provider'}" in output


def test_a_real_provider_is_not_taken_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--data", str(tmp_path / "provider")]) == 0
    assert main(["demo", "--data", str(tmp_path), "--bind", "127.0.0.1:0", "--messages", "1"]) == 1
    assert "not-a-demo" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["provider"]


def test_it_stops_quietly_when_nobody_reads_on(tmp_path: Path) -> None:
    with demo("--data", str(tmp_path / "demo"), "--bind", "127.0.0.1:0") as (process, _):
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.wait(WAIT_S) == 141
        assert process.stderr.read() == ""
        process.stdout = None


@pytest.mark.parametrize("topology", ["central", "multithreaded"])
def test_every_topology_sends_the_lines_of_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], topology: str
) -> None:
    (tmp_path / "lines").write_text("one\n\ntwo\ntwo\n")
    sends = ("--input", str(tmp_path / "lines"), "--rate", "0", "--clients", "4")
    assert main(["demo", "--data", str(tmp_path / "demo"), "--topology", topology, *sends]) == 0
    output, _ = capsys.readouterr()
    assert "3 sent, 3 receipts verified" in output
    assert "12 deliveries verified" in output


def test_a_real_provider_shows_the_page_and_cannot_be_made_to_lie(tmp_path: Path) -> None:
    with provider(tmp_path / "provider", "--demo") as served:
        host = served.url.removeprefix("http://")
        assert ask(host, "GET", "/")[0] == 200
        shown = state(host)
        assert (shown["origin"], shown["can_lie"], shown["bots"], shown["lies"]) == (served.origin, False, [], [])
        for path in ("/demo/lie", "/demo/reset", "/demo/hello"):
            assert ask(host, "POST", path, b"{}")[0] == 404
        assert served.stop() == 0
        served.flags = ()
        served.start()
        for path in ("/", "/browser/protocol/encoding.js", "/demo/state"):
            assert ask(host, "GET", path)[0] == 404


def test_what_serves_a_real_provider_has_not_even_loaded_a_lie() -> None:
    code = (
        "import sys, noise.cli.serve; print(*[n for n in sys.modules if n.startswith(('noise.demo', 'noise_client'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=client_environment(), check=True
    )
    assert {*done.stdout.split()} == {f"noise.demo{rest}" for rest in ("", ".assets", ".counts", ".page", ".plain")}
