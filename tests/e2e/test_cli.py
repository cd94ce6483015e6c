"""A stranger at two terminals: a file's lines go from one to the other, the server is killed half-way; refusals."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.provider_process import (
    ProviderProcess,
    client_command,
    client_environment,
    provider,
    run_noise,
)

LINES = 2_000
TIMEOUT_S = 90


def _client(*arguments: str, **options: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        client_command(*arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=client_environment(),
        **options,  # type: ignore[call-overload]
    )


def _new_device(path: Path) -> str:
    done = subprocess.run(
        client_command("new", "--device", str(path)),
        capture_output=True,
        text=True,
        env=client_environment(),
        check=True,
    )
    return done.stdout.strip()


def test_a_file_goes_through_a_killed_server(tmp_path: Path) -> None:
    _new_device(tmp_path / "alice")
    bob = _new_device(tmp_path / "bob")
    lines = [f"line {n} of a real file" for n in range(LINES)]
    with provider(tmp_path / "provider") as served:
        common = ("--server", served.url, "--origin", served.origin)
        with (
            _client("listen", "--device", str(tmp_path / "bob"), *common, "--count", str(LINES)) as listen,
            _client("send", "--device", str(tmp_path / "alice"), *common, "--to", bob) as send,
        ):
            assert send.stdin is not None and listen.stdout is not None and send.stdout is not None
            send.stdin.write("\n".join(lines[: LINES // 2]) + "\n")
            send.stdin.flush()
            heard = [listen.stdout.readline() for _ in range(LINES // 10)]
            receipts = [send.stdout.readline() for _ in range(LINES // 10)]
            served.kill()
            send.stdin.write("\n".join(lines[LINES // 2 :]) + "\n")  # while nobody is there
            send.stdin.close()
            served.start()
            receipts += send.stdout.readlines()
            heard += listen.stdout.readlines()
            for process in (send, listen):
                assert process.stderr is not None
                errors = process.stderr.read()
                assert process.wait(TIMEOUT_S) == 0, errors
        assert served.stop() == 0
    got = [json.loads(line) for line in heard]
    assert [one["text"] for one in got] == lines
    sent = [json.loads(line) for line in receipts]
    assert [one["seq"] for one in sent] == [one["seq"] for one in got]
    checked = run_noise("fsck", "--data", str(tmp_path / "provider"))
    assert checked.returncode == 0, checked.stderr
    assert f"{LINES} messages" in checked.stdout


def test_ids_that_look_like_options(tmp_path: Path) -> None:
    """One id in 64 begins with a dash."""
    _new_device(tmp_path / "alice")
    with provider(tmp_path / "provider") as served:
        send = _client(
            "send",
            "--device",
            str(tmp_path / "alice"),
            "--server",
            served.url,
            "--unsealed",
            "--to",
            "-" + "A" * 41 + "E",
            "--timeout-s",
            "30",
        )
        output, _ = send.communicate("hello\n", timeout=TIMEOUT_S)
        assert send.returncode == 0
        assert "-" + "A" * 41 + "E" in json.loads(output)["recipients"]


def _serve_fails(data: Path, *flags: str) -> str:
    done = run_noise("serve", "--data", str(data), "--bind", "127.0.0.1:0", *flags, timeout_s=30)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr


def test_refusals_say_what_to_do(tmp_path: Path) -> None:
    data = tmp_path / "provider"
    assert "noise init" in _serve_fails(data)
    assert run_noise("init", "--data", str(data)).returncode == 0
    again = run_noise("init", "--data", str(data))
    assert again.returncode == 1
    assert "data-exists" in again.stderr
    assert "bad-option" in _serve_fails(data, "--epoch-ms", "-1")
    assert "bad-option" in _serve_fails(data, "--topology", "central", "--inboxes", "2")
    served = ProviderProcess(data)
    served.start()
    try:
        assert "store-locked" in _serve_fails(data)
        assert "store-locked" in run_noise("fsck", "--data", str(data)).stderr
    finally:
        assert served.stop() == 0


@pytest.mark.parametrize("graceful", [True, False])
def test_old_state_is_not_served(tmp_path: Path, graceful: bool) -> None:
    """Yesterday's backup is sound in itself; signing from it would prove an honest provider a liar."""
    data = tmp_path / "provider"
    _new_device(tmp_path / "alice")
    with provider(data) as served:
        send = ("send", "--device", str(tmp_path / "alice"), "--server", served.url, "--unsealed", "--to", "A" * 43)
        subprocess.run(client_command(*send), input="one\n", text=True, env=client_environment(), check=True)
        assert served.stop() == 0
        shutil.copytree(data / "state", tmp_path / "yesterday")
        served.start()
        subprocess.run(client_command(*send), input="two\n", text=True, env=client_environment(), check=True)
        if graceful:
            served.stop()
        else:
            served.kill()
        shutil.rmtree(data / "state")
        shutil.copytree(tmp_path / "yesterday", data / "state")
        errors = _serve_fails(data)
        assert "state-behind" in errors
        assert "newest state" in errors
        shutil.rmtree(data / "state")
        assert "store-missing" in _serve_fails(data)


def test_root_key_and_mark_may_be_missing(tmp_path: Path) -> None:
    """The root key is needed for a new roster only; a lost mark can be made anew by somebody who takes the blame."""
    data = tmp_path / "provider"
    with provider(data) as served:
        assert served.stop() == 0
        (data / "keys" / "root.pem").rename(tmp_path / "root.pem")
        served.start()
        assert served.stop() == 0
        assert "root.pem" in _serve_fails(data, "--inboxes", "2")
        (tmp_path / "root.pem").rename(data / "keys" / "root.pem")
        served.flags = ("--inboxes", "2")
        served.start()
        assert served.stop() == 0
        (data / "keys" / "high-water").unlink()
        assert "--renew-mark" in _serve_fails(data)
        assert run_noise("fsck", "--data", str(data)).returncode == 1
        assert run_noise("fsck", "--data", str(data), "--renew-mark").returncode == 0
        served.start()
        assert served.stop() == 0


def test_demo_ends_cleanly_on_a_signal(tmp_path: Path) -> None:
    command = [sys.executable, "-u", "-m", "noise", "demo", "--data", str(tmp_path / "demo")]
    demo = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=client_environment()
    )
    assert demo.stdout is not None
    while "deliveries verified" not in demo.stdout.readline():
        pass
    demo.send_signal(signal.SIGINT)
    output, errors = demo.communicate(timeout=30)
    assert demo.returncode == 0, errors
    assert str(tmp_path / "demo") in output
    assert run_noise("fsck", "--data", str(tmp_path / "demo" / "provider")).returncode == 0


def test_works_without_asserts() -> None:
    """`python -O` removes assert statements: nothing may depend on them."""
    code = "import sys; from noise.cli import main; sys.exit(main(['demo', '--messages', '6', '--rate', '0']))"
    environment = client_environment() | {"PYTHONOPTIMIZE": "1"}
    done = subprocess.run(
        [sys.executable, "-O", "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert os.path.basename(done.stdout.splitlines()[-1])
