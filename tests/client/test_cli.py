"""The `noise-client` command as a process of its own, against a provider that follows a script."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from noise.protocol.frames import BundleFrame, RefusalFrame
from noise.protocol.identifiers import format_id, parse_id
from noise_client import Device, SqliteTrustStore, create_device_file
from noise_client.cli import main
from tests.client.devices import ALICE, BOB, NOBODY
from tests.client.prekey_desk import PrekeyDesk
from tests.client.scripted import Provider, Session, in_time, serving
from tests.vectors.cast import OTHER_ORIGIN, bundle_of, draft_of, recipients_of

ALICE_ID, BOB_ID = format_id(ALICE.device_id), format_id(BOB.device_id)
COMMAND = [sys.executable, "-c", "import sys; from noise_client.cli import main; sys.exit(main())"]
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


class Devices:
    """The device files of alice and bob, and what one types for them: the provider of these tests has no keys."""

    def __init__(self, directory: Path) -> None:
        self.alice, self.bob = directory / "alice.device", directory / "bob.device"
        create_device_file(self.alice, ALICE)
        create_device_file(self.bob, BOB)

    def send(self, url: str, *more: str) -> list[str]:
        return ["send", "--device", str(self.alice), "--server", url, "--unsealed", "--to", BOB_ID, *more]

    def listen(self, url: str, *more: str) -> list[str]:
        return ["listen", "--device", str(self.bob), "--server", url, "--unsealed", *more]


@pytest.fixture
def devices(tmp_path: Path) -> Devices:
    return Devices(tmp_path)


async def run_cli(arguments: list[str], data: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    return await trio.run_process(
        COMMAND + arguments, stdin=data, capture_stdout=True, capture_stderr=True, check=False, env=ENVIRONMENT
    )


@asynccontextmanager
async def running_cli(arguments: list[str], **named: Any) -> AsyncIterator[trio.Process]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = await trio.lowlevel.open_process(COMMAND + arguments, **(pipes | {"env": ENVIRONMENT} | named))
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                await stream.aclose()


async def read_line(stream: "trio.abc.ReceiveStream | None") -> dict[str, Any]:
    """The next line of JSON; nothing may come after it yet."""
    assert stream is not None
    data = b""
    while not data.endswith(b"\n"):
        chunk = await stream.receive_some()
        assert chunk, data
        data += chunk
    shown: dict[str, Any] = json.loads(data)
    return shown


def lines_of(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines()]


def test_new_prints_the_id_and_nothing_else(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.device"
    assert main(["new", "--device", str(path)]) == 0
    out, err = capfd.readouterr()
    store = SqliteTrustStore(path)
    assert parse_id(out.removesuffix("\n")) == Device(store.load().private_key).device_id
    assert err == ""
    store.close()
    assert main(["new", "--device", str(path)]) == 1
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "exists already" in err


@pytest.mark.parametrize("command", [[], ["new"], ["send"], ["listen"]])
def test_help_teaches(command: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([*command, "--help"])
    assert left.value.code == 0
    text = capfd.readouterr().out
    if command != ["new"]:
        assert "  noise-client" in text or "| noise-client" in text
        assert "--server http://127.0.0.1:8080" in text


@pytest.mark.parametrize(
    ("changes", "status", "says"),
    [
        ({"--to": "me"}, 2, "43 characters"),
        ({"--server": "nonsense"}, 2, "not a provider's URL"),
        ({"--origin": "me"}, 2, "43 characters"),
        ({"--device": "missing"}, 1, "noise-client new"),
    ],
)
def test_mistakes_are_told_in_one_line(
    devices: Devices, changes: dict[str, str], status: int, says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    options = {"--device": str(devices.alice), "--server": NOBODY, "--to": BOB_ID} | changes
    assert main(["send", *[part for option in options.items() for part in option]]) == status
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert says in err


@pytest.mark.parametrize(
    "arguments", [[], ["nothing"], ["listen"], ["new"], ["listen", "--count", "0"], ["listen", "--timeout-s", "nan"]]
)
def test_wrong_usage_is_status_2(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert "usage" in capfd.readouterr().err


@in_time
async def test_lines_are_sent_and_printed_on_the_other_side(devices: Devices) -> None:
    provider = Provider()
    async with serving(provider.serve) as server:
        sent = await run_cli(devices.send(server.url), b"hello\n\n\xc3\xa9t\xc3\xa9\nnot \xff UTF-8\nlast")
        heard = await run_cli(devices.listen(server.url, "--count", "5"))
    assert (sent.returncode, sent.stderr, heard.returncode, heard.stderr) == (0, b"", 0, b"")
    receipts, deliveries = lines_of(sent.stdout), lines_of(heard.stdout)
    assert receipts[0] == {
        "seq": f"{1:016x}{0:016x}",
        "epoch": 1,
        "recipients": sorted([ALICE_ID, BOB_ID], key=parse_id),
    }
    assert [one["seq"] for one in receipts] == [one["seq"] for one in deliveries]
    shown = {"seq": receipts[0]["seq"], "epoch": 1, "sender": ALICE_ID, "text": "hello", "seal": "none"}
    assert deliveries[0] == shown
    assert [one["text"] for one in deliveries] == ["hello", "", "été", "not \ufffd UTF-8", "last"]
    assert [one.get("base64") for one in deliveries] == [None, None, None, "bm90IP8gVVRGLTg", None]


@in_time
async def test_lines_are_sealed_unless_one_says_otherwise(devices: Devices) -> None:
    provider, desk = Provider(), PrekeyDesk()

    def sealed(arguments: list[str]) -> list[str]:
        return [argument for argument in arguments if argument != "--unsealed"]

    async with (
        serving(provider.serve, answer=desk.answer) as server,
        running_cli(sealed(devices.listen(server.url, "--count", "1"))) as listening,
    ):
        while not desk.fallback:
            await trio.testing.wait_all_tasks_blocked(0.01)
        sent = await run_cli(sealed(devices.send(server.url)), b"nobody else reads this\n")
        assert (sent.returncode, sent.stderr) == (0, b"")
        heard = await read_line(listening.stdout)
        assert (heard["text"], "seal" in heard) == ("nobody else reads this", False)
        assert await listening.wait() == 0
    assert b"nobody" not in b"".join(provider.bundles)


@in_time
async def test_lines_are_sent_as_they_come(devices: Devices) -> None:
    provider = Provider()
    async with (
        serving(provider.serve) as server,
        running_cli(devices.send(server.url)) as sending,
        running_cli(devices.listen(server.url)) as listening,
    ):
        assert sending.stdin is not None
        for n in range(3):
            await sending.stdin.send_all(b"%d" % n)
            await sending.stdin.send_all(b"\n")
            receipt, delivery = await read_line(sending.stdout), await read_line(listening.stdout)
            assert (delivery["seq"], delivery["text"]) == (receipt["seq"], str(n))
        await sending.stdin.aclose()
        assert await sending.wait() == 0
        listening.send_signal(signal.SIGTERM)
        assert await listening.wait() == 143


@in_time
async def test_own_copies_are_printed_on_demand(devices: Devices) -> None:
    provider = Provider()
    for n, sender in enumerate(["bob", "alice", "bob"]):
        drafts = [draft_of(recipients_of("alice", "bob"), b"%d" % n)]
        provider.tiny.submit(bundle_of(sender, drafts, n + 1))
    async with serving(provider.serve) as server:
        heard = await run_cli(devices.listen(server.url, "--own", "--count", "1"))
        assert [one["text"] for one in lines_of(heard.stdout)] == ["0"]
        heard = await run_cli(devices.listen(server.url, "--timeout-s", "0.5"))
        assert [one["text"] for one in lines_of(heard.stdout)] == ["1"]


@in_time
async def test_a_provider_that_is_down_is_waited_for(devices: Devices) -> None:
    provider = Provider()
    async with serving(provider.serve) as server:
        port = int(server.url.rpartition(":")[2])
    primary, secondary = pty.openpty()
    async with running_cli(devices.send(server.url), stderr=secondary) as sending:
        os.close(secondary)
        assert sending.stdin is not None
        await sending.stdin.send_all(b"hello\n")
        terminal = ""
        while "trying again" not in terminal:
            terminal += (await trio.to_thread.run_sync(os.read, primary, 1000)).decode()
        assert "connecting" in terminal
        assert f"127.0.0.1:{port}" in terminal
        async with serving(provider.serve, port):
            assert (await read_line(sending.stdout))["epoch"] == 1
            await sending.stdin.aclose()
            assert await sending.wait() == 0
    os.close(primary)


@in_time
async def test_an_interrupted_send_keeps_its_lines_for_the_next(devices: Devices) -> None:
    async with running_cli(devices.send(NOBODY)) as sending:
        assert sending.stdin is not None
        assert sending.stderr is not None
        await sending.stdin.send_all(b"one\ntwo\n")
        wal = devices.alice.with_name("alice.device-wal")
        while not (wal.exists() and b"two" in wal.read_bytes()):
            await trio.testing.wait_all_tasks_blocked(0.01)
        sending.send_signal(signal.SIGINT)
        assert await sending.wait() == 130
        said = (await sending.stderr.receive_some()).decode()
    assert "2 messages wait" in said
    assert said.count("\n") == 1

    provider = Provider()
    async with serving(provider.serve) as server:
        sent = await run_cli(devices.send(server.url), b"three\n")
        heard = await run_cli(devices.listen(server.url, "--count", "3"))
    assert len(lines_of(sent.stdout)) == 3
    assert [one["text"] for one in lines_of(heard.stdout)] == ["one", "two", "three"]


@in_time
async def test_time_runs_out(devices: Devices) -> None:
    sent = await run_cli(devices.send(NOBODY, "--timeout-s", "0.3"), b"x\n")
    assert (sent.returncode, sent.stdout) == (5, b"")
    assert b"1 messages wait" in sent.stderr
    heard = await run_cli(devices.listen(NOBODY, "--timeout-s", "0.1"))
    assert (heard.returncode, heard.stdout, heard.stderr) == (5, b"", b"")


@in_time
async def test_a_reader_who_leaves_ends_the_command_and_loses_nothing(devices: Devices) -> None:
    provider = Provider()
    drafts = [draft_of(recipients_of("alice", "bob"), b"%d " % n + bytes(5000)) for n in range(60)]
    provider.tiny.submit(bundle_of("alice", drafts, 1))
    async with serving(provider.serve) as server:
        async with running_cli(devices.listen(server.url), stdin=subprocess.DEVNULL) as listening:
            assert listening.stdout is not None
            assert listening.stderr is not None
            first = await listening.stdout.receive_some(100)
            assert b'"text":"0 ' in first + await listening.stdout.receive_some(100)
            await listening.stdout.aclose()
            assert await listening.wait() == 141
            assert await listening.stderr.receive_some() == b""
        heard = await run_cli(devices.listen(server.url, "--count", "1"))
    [rest] = lines_of(heard.stdout)
    assert 0 < int(rest["text"].split(" ")[0]) < 59


@in_time
async def test_refused_lines_are_told_and_the_others_sent(devices: Devices) -> None:
    provider = Provider()

    async def script(session: Session) -> None:
        await session.let_in()
        await session.send_delta(provider.tiny)
        frame = await session.receive_a(BundleFrame)
        assert isinstance(frame, BundleFrame)
        await session.send(RefusalFrame(frame.request, "no-way", "as the test says"))
        await provider.hear(session, await session.receive_a(BundleFrame))
        await session.receive()

    async with serving(script) as server, running_cli(devices.send(server.url)) as sending:
        assert sending.stdin is not None
        assert sending.stderr is not None
        await sending.stdin.send_all(b"no\n")
        assert b"a line was refused: as the test says [no-way]" in await sending.stderr.receive_some()
        await sending.stdin.send_all(b"yes\n")
        assert (await read_line(sending.stdout))["epoch"] == 1
        await sending.stdin.aclose()
        assert await sending.wait() == 3


@in_time
async def test_a_provider_that_lies_is_exposed_in_one_line(devices: Devices) -> None:
    async def script(session: Session) -> None:
        await session.ws.send_message(b"\xfflie")
        await session.receive()

    async with serving(script) as server:
        sent = await run_cli(devices.send(server.url), b"x\n")
        heard = await run_cli(devices.listen(server.url))
    for ended in (sent, heard):
        assert (ended.returncode, ended.stdout, ended.stderr.count(b"\n")) == (4, b"", 1)
        assert b"misbehaved" in ended.stderr
    for path in (devices.alice, devices.bob):
        store = SqliteTrustStore(path)
        assert [offence.evidence for offence in store.offences()] == [(b"\xfflie",)]
        assert store.offences()[0].code == "malformed"
        store.close()


@in_time
async def test_the_origin_can_be_pinned_beforehand(devices: Devices) -> None:
    provider = Provider()
    async with serving(provider.serve) as server:
        heard = await run_cli(devices.listen(server.url, "--origin", format_id(OTHER_ORIGIN)))
    assert heard.returncode == 1
    assert b"check the URL" in heard.stderr
    assert heard.stderr.count(b"\n") == 1


@in_time
async def test_a_device_belongs_to_one_process(devices: Devices) -> None:
    provider = Provider()
    async with serving(provider.serve) as server, running_cli(devices.listen(server.url)) as listening:
        drafts = [draft_of(recipients_of("alice", "bob"), b"x")]
        provider.tiny.submit(bundle_of("alice", drafts, 1))
        await read_line(listening.stdout)
        second = await run_cli(devices.listen(server.url))
    assert (second.returncode, second.stderr.count(b"\n")) == (1, 1)
    assert b"another process uses" in second.stderr


@in_time
async def test_a_line_that_is_too_long_ends_the_input_after_those_before_it(devices: Devices) -> None:
    provider = Provider()
    async with serving(provider.serve) as server:
        sent = await run_cli(devices.send(server.url), b"short\n" + bytes(300_000) + b"\nlate\n")
    assert (sent.returncode, sent.stderr.count(b"\n"), len(lines_of(sent.stdout))) == (1, 1, 1)
    assert b"262144" in sent.stderr
