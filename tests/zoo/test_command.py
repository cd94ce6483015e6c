"""The zoo's command line: what it lists, that it serves a liar in a process of its own until it is told to stop, and
that it lets clients meet liars.

Knows nothing of lies but their names.
"""

import signal
import subprocess
import sys
from pathlib import Path

import trio

from noise.demo.zoo.lies import FACTS
from noise.protocol.identifiers import format_id
from tests.e2e.provider_process import ROOT, client_environment
from tests.zoo.table import BEGIN, END, rows_in
from tests.zoo.watching import Watcher

COMMAND = [sys.executable, "-m", "tests.zoo"]


def run_zoo(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env=client_environment(),
        check=False,
    )


def test_list_and_help_name_every_lie() -> None:
    listed, helped = run_zoo("list"), run_zoo("serve", "--help")
    assert (listed.returncode, helped.returncode) == (0, 0)
    for facts in FACTS.values():
        assert facts.summary in listed.stdout
        assert facts.name in helped.stdout


def test_wrong_usage_is_told() -> None:
    assert run_zoo("serve", "--lie", "white-lie", "--data", "x").returncode == 2
    cannot = run_zoo("serve", "--lie", "misroute", "--by", "outbox", "--data", "x")
    assert (cannot.returncode, "misroute is told by router" in cannot.stderr) == (1, True)
    failed = run_zoo("serve", "--lie", "drop-one", "--data", "x", "--bind", "nowhere")
    assert failed.returncode == 1
    assert "--bind needs HOST:PORT" in failed.stderr
    unknown = run_zoo("run", "white-lie")
    assert (unknown.returncode, "no such lie: white-lie" in unknown.stderr) == (2, True)


def test_run_writes_its_table_into_a_document(tmp_path: Path) -> None:
    document = tmp_path / "document.md"
    document.write_text("nothing\n", encoding="utf-8")
    refused = run_zoo("run", "other-manifest", "--write", str(document))
    assert (refused.returncode, "no place for a table" in refused.stderr) == (1, True)
    document.write_text(f"before\n{BEGIN}\n{END}\nafter\n", encoding="utf-8")
    done = run_zoo("run", "other-manifest", "--write", str(document))
    assert (done.returncode, done.stderr) == (0, "")
    written = document.read_text(encoding="utf-8")
    assert written == f"before\n{BEGIN}\n\n{done.stdout}\n{END}\nafter\n"
    [[manifest], [inbox]] = rows_in(written)
    assert manifest[:2] == ["other-manifest", "Omission"]
    assert inbox[:4] == ["other-manifest", "inbox", "ManifestEquivocation", "the inbox"]


async def test_serves_a_liar_until_told_to_stop(tmp_path: Path) -> None:
    with trio.fail_after(60):
        data = str(tmp_path / "liar")
        arguments = ["serve", "--lie", "drop-one", "--data", data, "--bind", "127.0.0.1:0", "--after", "0"]
        arguments += ["--by", "router", "--custody", "silent", "--inboxes", "3", "--outboxes", "2"]
        process = await trio.lowlevel.open_process(
            [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, env=client_environment()
        )
        assert process.stdout is not None and process.stderr is not None
        try:
            line = await read_line(process.stdout)
            said = dict(part.split("=", 1) for part in line.split()[1:])
            assert said["lie"] == "drop-one"
            alice, bob = [Watcher(said["url"], said["origin"], name) for name in ("alice", "bob")]
            try:
                await talk(alice, bob, process.stderr)
            finally:
                with trio.CancelScope(shield=True):
                    await alice.close()
                    await bob.close()
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
            for stream in (process.stdout, process.stderr):
                await trio.aclose_forcefully(stream)


async def talk(alice: Watcher, bob: Watcher, said: trio.abc.ReceiveStream) -> None:
    """The first message is lied about, and the second is not."""
    async with trio.open_nursery() as nursery:
        for who in (alice, bob):
            await who.connect()
            nursery.start_soon(who.watch)
        await alice.say(b"lost", bob)
        lied = await read_line(said)
        assert lied.startswith("lied in epoch ")
        assert format_id(bob.device_id) in lied
        assert " by router-0-" in lied
        await alice.wait_texts(1)
        await alice.say(b"found", bob)
        await alice.wait_texts(2)
        await bob.wait_texts(1)
        assert (alice.texts, bob.texts) == ([b"lost", b"found"], [b"found"])
        nursery.cancel_scope.cancel()


async def read_line(stream: trio.abc.ReceiveStream) -> str:
    line = b""
    while not line.endswith(b"\n"):
        data = await stream.receive_some(1)
        if not data:
            raise EOFError(line)
        line += data
    return line.decode()
