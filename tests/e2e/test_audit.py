"""An auditor at a terminal: a key, a running provider, and then its state when it has stopped."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from noise.cli import main
from noise.cli.audit import audit_data
from tests.e2e.provider_process import ProviderProcess, client_command, client_environment, run_noise

Capture = pytest.CaptureFixture[str]


def audit(capture: Capture, *arguments: str) -> tuple[int, str, str]:
    """Exit status, output and errors of `noise audit ARGUMENTS`."""
    try:
        status = main(["audit", *arguments])
    except SystemExit as end:  # argparse
        status = int(end.code or 0)
    return status, *capture.readouterr()


def test_a_provider_is_audited_while_it_runs_and_when_it_has_stopped(tmp_path: Path, capsys: Capture) -> None:
    key, data = tmp_path / "auditor.pem", tmp_path / "provider"
    status, output, _ = audit(capsys, "--make-key", str(key))
    auditor = output.strip()
    assert (status, len(auditor)) == (0, 43)
    assert run_noise("init", "--data", str(data)).returncode == 0
    served = ProviderProcess(data, "--inboxes", "2", "--outboxes", "2", f"--auditor={auditor}")
    served.start()
    try:
        device = tmp_path / "alice"
        subprocess.run(client_command("new", "--device", str(device)), check=True, env=client_environment())
        send = ("send", "--device", str(device), "--server", served.url, "--unsealed", "--to", "A" * 43)
        subprocess.run(client_command(*send), input="one\ntwo\n", text=True, env=client_environment(), check=True)
        there = ("--server", served.url, f"--origin={served.origin}")
        status, output, errors = audit(capsys, *there, "--key", str(key))
        assert (status, "2 messages, 4 deliveries" in output) == (0, True), errors
        status, output, _ = audit(capsys, *there, "--key", str(key), "--next-epoch", "0")
        assert (status, output.startswith("clean: 0 epochs")) == (0, True)

        assert audit(capsys, "--make-key", str(tmp_path / "other.pem"))[0] == 0
        for arguments, words in (
            ((*there, "--key", str(tmp_path / "other.pem")), "not-an-auditor"),
            (("--server", served.url, "--origin=" + "A" * 43, "--key", str(key)), "wrong-origin"),
            (("--data", str(data)), "store-locked"),
        ):
            status, output, errors = audit(capsys, *arguments)
            assert (status, output, words in errors) == (2, "", True), errors
    finally:
        assert served.stop() == 0
    status, output, errors = audit(capsys, "--data", str(data))
    assert (status, "2 messages, 4 deliveries" in output) == (0, True), errors
    status, _, errors = audit(capsys, *there, "--key", str(key))
    assert (status, "unreachable" in errors) == (2, True), errors


def test_wrong_usage_says_what_is_missing(tmp_path: Path, capsys: Capture) -> None:
    key = tmp_path / "auditor.pem"
    assert audit(capsys, "--make-key", str(key))[0] == 0
    for arguments, words in (
        ((), "--data"),
        (("--data", str(tmp_path), "--server", "http://127.0.0.1:1"), "not allowed with"),
        (("--data", str(tmp_path / "none")), "no-provider"),
        (("--data", str(tmp_path / "none"), "--next-epoch", "-1"), "bad-option"),
        (("--server", "http://127.0.0.1:1"), "--origin and --key"),
        (("--server", "http://127.0.0.1:1", "--origin", "A" * 43, "--key", str(tmp_path / "no.pem")), "key-missing"),
        (("--server", "http://127.0.0.1:1", "--origin", "A" * 43, "--key", str(tmp_path / "key")), "bad-option"),
        (("--server", "nowhere", "--origin", "A" * 43, "--key", str(key)), "http"),
        (("--make-key", str(key)), "key-exists"),
        (("--make-key", str(tmp_path / "key")), "bad-option"),
    ):
        status, output, errors = audit(capsys, *arguments)
        assert (status, output, words in errors) == (2, "", True), (arguments, errors)


def test_it_can_be_interrupted_while_the_provider_says_nothing(tmp_path: Path, capsys: Capture) -> None:
    key = tmp_path / "auditor.pem"
    assert audit(capsys, "--make-key", str(key))[0] == 0
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        command = [sys.executable, "-m", "noise", "audit", "--server", url, "--origin", "A" * 43, "--key", str(key)]
        auditor = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=client_environment()
        )
        with silent.accept()[0] as connection:
            assert connection.recv(1) == b"G"
            auditor.send_signal(signal.SIGINT)
            output, errors = auditor.communicate(timeout=20)
    assert (auditor.returncode, output, errors.strip()) == (130, "", "")


def test_an_interrupted_audit_leaves_the_state_to_the_next(tmp_path: Path, capsys: Capture) -> None:
    data = tmp_path / "provider"
    assert run_noise("init", "--data", str(data)).returncode == 0
    served = ProviderProcess(data)
    served.start()
    device = tmp_path / "alice"
    try:
        subprocess.run(client_command("new", "--device", str(device)), check=True, env=client_environment())
        send = ("send", "--device", str(device), "--server", served.url, "--unsealed", "--to", "A" * 43)
        subprocess.run(client_command(*send), input="one\n", text=True, env=client_environment(), check=True)
    finally:
        assert served.stop() == 0
    with pytest.raises(KeyboardInterrupt):
        trio.run(audit_data, data, None, lambda *_: signal.raise_signal(signal.SIGINT))
    status, output, errors = audit(capsys, "--data", str(data))
    assert (status, "1 messages" in output) == (0, True), errors
