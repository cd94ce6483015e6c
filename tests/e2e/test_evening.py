"""An evening with three people: two at terminals, whose provider may lie, and a stranger who gets a file.

Everything is a process of its own, as people run it. The lie is told by the zoo's provider, which is the real one but
for that lie; the same evening with the real one ends with nothing.
"""

import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import trio

from noise.protocol.identifiers import format_id
from tests.e2e.provider_process import ROOT, client_command, client_environment, provider, run_noise
from tests.vectors.cast import OTHER_ORIGIN

PATIENCE_S = 90
EXPOSED, STOPPED = 4, 128 + signal.SIGTERM
ZOO = [sys.executable, "-m", "tests.zoo"]


class Terminal:
    """A process at a terminal. `printed`: on standard output and standard error so far."""

    def __init__(self, process: trio.Process) -> None:
        self.printed = {"out": "", "err": ""}
        self.process = process
        self._changed = trio.Event()

    async def read(self, name: str, stream: trio.abc.ReceiveStream) -> None:
        async for chunk in stream:
            self.printed[name] += bytes(chunk).decode()
            self._changed.set()
            self._changed = trio.Event()

    async def wait(self, name: str, is_there: Callable[[str], bool]) -> str:
        """Until what was printed is so; all of it."""
        while not is_there(self.printed[name]):
            await self._changed.wait()
        return self.printed[name]

    async def wait_lines(self, count: int) -> list[dict[str, str]]:
        """The results so far, once there are so many."""
        text = await self.wait("out", lambda out: out.count("\n") >= count)
        return [json.loads(line) for line in text.splitlines()]

    async def type(self, line: str) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send_all(line.encode() + b"\n")

    async def finish(self) -> int:
        """There is nothing more to type; the exit status."""
        assert self.process.stdin is not None
        await self.process.stdin.aclose()
        return await self.process.wait()

    async def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return await self.process.wait()


class Terminals:
    """All of them are closed in the end, whatever becomes of the evening."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._opened: list[Terminal] = []

    async def open(self, command: list[str]) -> Terminal:
        pipe = subprocess.PIPE
        process = await trio.lowlevel.open_process(
            command, stdin=pipe, stdout=pipe, stderr=pipe, cwd=ROOT, env=client_environment()
        )
        terminal = Terminal(process)
        self._opened.append(terminal)
        assert process.stdout is not None and process.stderr is not None
        self._nursery.start_soon(terminal.read, "out", process.stdout)
        self._nursery.start_soon(terminal.read, "err", process.stderr)
        return terminal

    async def close(self) -> None:
        for terminal in self._opened:
            process = terminal.process
            print(*map(str, process.args[-4:]), terminal.printed, sep="\n")  # shown if the test fails
            if process.returncode is None:
                process.kill()
            await process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    await trio.aclose_forcefully(stream)


@asynccontextmanager
async def terminals() -> AsyncIterator[Terminals]:
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            opened = Terminals(nursery)
            try:
                yield opened
            finally:
                nursery.cancel_scope.cancel()
                with trio.CancelScope(shield=True):
                    await opened.close()


class Liar(NamedTuple):
    url: str
    origin: str
    terminal: Terminal


async def serve_liar(opened: Terminals, data: Path, after: int, *flags: str) -> Liar:
    """It lets some messages pass, and then keeps one from one of its recipients."""
    arguments = ["serve", "--lie", "drop-one", "--data", str(data), "--bind", "127.0.0.1:0", "--after", str(after)]
    terminal = await opened.open([*ZOO, *arguments, *flags])
    line = await terminal.wait("out", lambda out: "\n" in out)
    said = dict(part.split("=", 1) for part in line.split()[1:])
    return Liar(said["url"], said["origin"], terminal)


class People(NamedTuple):
    """Where alice and bob keep their devices, and how they reach their provider."""

    home: Path
    common: tuple[str, ...]
    alice_id: str
    bob_id: str

    def command(self, verb: str, name: str, *more: str) -> list[str]:
        return client_command(verb, "--device", str(self.home / name), *more)

    def proofs(self, name: str) -> list[Path]:
        return sorted(self.home.glob(f"{name}.*.proof"))

    def run(self, verb: str, name: str, *more: str) -> "subprocess.CompletedProcess[str]":
        """A command that ends by itself."""
        command = self.command(verb, name, *more)
        return subprocess.run(
            command, capture_output=True, text=True, timeout=60, env=client_environment(), check=False
        )


def move_in(home: Path, url: str, origin: str, *flags: str) -> People:
    people = People(home, ("--server", url, "--origin", origin, *flags), "", "")
    ids = [people.run("new", name).stdout.strip() for name in ("alice", "bob")]
    return people._replace(alice_id=ids[0], bob_id=ids[1])


def check_stranger(file: Path, origin: str, kind: str = "Omission", accused: str = "provider") -> None:
    """A third person, with the file and the provider's name: who, of what, in which epoch."""
    told = run_noise("verify", str(file), "--origin", origin)
    assert (told.returncode, told.stderr) == (0, "")
    assert "CONVICTED" in told.stdout and origin in told.stdout
    asked = run_noise("verify", str(file), "--origin", origin, "--json")
    verdict = json.loads(asked.stdout)
    assert (asked.returncode, verdict["result"]) == (0, "convicted")
    assert (verdict["kind"], verdict["accused"]) == (kind, accused)
    assert file.name.endswith(f".{kind}-{verdict['epoch']}.proof")
    assert f"{kind} in epoch {verdict['epoch']}" in told.stdout
    other = run_noise("verify", str(file), "--origin", format_id(OTHER_ORIGIN))
    assert (other.returncode, other.stdout) == (1, "")
    assert "NOT PROVEN" in other.stderr
    damaged = file.with_suffix(".damaged")
    damaged.write_bytes(file.read_bytes()[:-1])
    failed = run_noise("verify", str(damaged), "--origin", origin)
    assert (failed.returncode, failed.stdout) == (2, "")
    assert "MALFORMED" in failed.stderr


def is_exposed(errors: str) -> bool:
    return "the provider is EXPOSED" in errors and "PROOF of Omission" in errors


async def chat_on(alice: Terminal, n_said: int, is_over: Callable[[], bool]) -> None:
    """More lines, one after the other: each tells bob what alice had verified when she wrote it."""
    while not is_over():
        await alice.type(f"line {n_said}")
        n_said += 1
        await alice.wait_lines(n_said)
        with trio.move_on_after(0.5):
            await alice.wait("err", lambda _: is_over())
        assert n_said < 40


async def test_a_liar_is_caught_by_two_and_convicted_by_a_third(tmp_path: Path) -> None:
    """Nobody compares on purpose: what it takes travels inside what they write to each other. One of three routers
    lies, and neither of the two has to ask which."""
    async with terminals() as opened:
        many = ("--by", "router", "--inboxes", "3", "--outboxes", "3")
        liar = await serve_liar(opened, tmp_path / "liar", 1, *many)
        people = move_in(tmp_path, liar.url, liar.origin)
        bob = await opened.open(people.command("listen", "bob", *people.common))
        alice = await opened.open(people.command("send", "alice", *people.common, "--to", people.bob_id))
        await alice.type("a line that passes")
        await alice.type("a line that bob never gets")
        said = await liar.terminal.wait("err", lambda said: "lied in epoch " in said and said.endswith("\n"))
        router = said.split()[-1]
        assert router.startswith("router-")
        named = f"the provider is EXPOSED by {router}: "
        await chat_on(alice, 2, lambda: all(named in terminal.printed["err"] for terminal in (alice, bob)))
        assert await alice.finish() == EXPOSED
        assert await bob.stop() == EXPOSED
        assert await liar.terminal.stop() == 0
        for name in ("alice", "bob"):
            omission, enlarged = people.proofs(name)
            check_stranger(omission, liar.origin)
            check_stranger(enlarged, liar.origin, "StageOmission", router)
        enlarged.unlink()
        assert str(enlarged) in people.run("proofs", "bob").stdout.splitlines()
        check_stranger(enlarged, liar.origin, "StageOmission", router)


async def test_a_liar_is_caught_over_a_link_of_our_own(tmp_path: Path) -> None:
    """Without a further word to each other through the provider, which is gone by then."""
    async with terminals() as opened:
        liar = await serve_liar(opened, tmp_path / "liar", after=1)
        people = move_in(tmp_path, liar.url, liar.origin, "--unsealed")
        bob = await opened.open(people.command("listen", "bob", *people.common, "--gossip-listen", "127.0.0.1:0"))
        said = await bob.wait("err", lambda errors: "gossip at ws://" in errors)
        url = said.partition("gossip at ")[2].split()[0]
        alice = await opened.open(people.command("send", "alice", *people.common, "--to", people.bob_id))
        for line in ("one", "two", "three"):
            await alice.type(line)
            await alice.wait_lines(1)
        await alice.wait_lines(3)
        assert await alice.finish() == 0, "she has no idea"
        assert people.run("listen", "alice", *people.common, "--own", "--count", "3").returncode == 0
        assert [line["text"] for line in await bob.wait_lines(2)] == ["one", "three"]
        assert await liar.terminal.stop() == 0
        alice = await opened.open(people.command("gossip", "alice", *people.common, "--gossip", url))
        for terminal in (alice, bob):
            await terminal.wait("err", is_exposed)
        verdicts = [line["verdict"] for line in await alice.wait_lines(2)]
        assert verdicts[0] == "ok"
        assert "exposed" in verdicts
        assert (await alice.stop(), await bob.stop()) == (EXPOSED, EXPOSED)
        for name in ("alice", "bob"):
            check_stranger(people.proofs(name)[0], liar.origin)


async def test_a_liar_is_caught_by_files(tmp_path: Path) -> None:
    """No connection leads from one to the other: they exchange views, both ways, until one has what it takes."""
    async with terminals() as opened:
        liar = await serve_liar(opened, tmp_path / "liar", after=1)
        people = move_in(tmp_path, liar.url, liar.origin, "--unsealed")
        bob = await opened.open(people.command("listen", "bob", *people.common, "--count", "2"))
        alice = await opened.open(people.command("send", "alice", *people.common, "--to", people.bob_id))
        for line in ("one", "two", "three"):
            await alice.type(line)
        await alice.wait_lines(3)
        assert (await alice.finish(), await bob.process.wait()) == (0, 0), "neither has any idea"
        assert people.run("listen", "alice", *people.common, "--own", "--count", "3").returncode == 0
        assert await liar.terminal.stop() == 0
    verdicts: dict[str, str] = {}
    while "exposed" not in verdicts.values():
        for name, peer, peer_id in (("alice", "bob", people.bob_id), ("bob", "alice", people.alice_id)):
            view = tmp_path / f"{name}.view"
            assert people.run("export", name, "--peer", peer_id, "--output", str(view)).returncode == 0
            done = people.run("import", peer, str(view))
            verdicts[peer] = json.loads(done.stdout)["verdict"]
            assert done.returncode == (EXPOSED if verdicts[peer] == "exposed" else 0), done.stderr
    assert "ok" not in verdicts.values()
    name, file = [(name, file) for name in ("alice", "bob") for file in people.proofs(name)][-1]
    check_stranger(file, liar.origin)
    file.unlink()
    assert people.run("proofs", name).stdout.strip() == str(file)
    check_stranger(file, liar.origin)


@pytest.mark.slow
async def test_the_same_evening_with_an_honest_provider_ends_with_nothing(tmp_path: Path) -> None:
    with provider(tmp_path / "provider") as served:
        async with terminals() as opened:
            people = move_in(tmp_path, served.url, served.origin)
            bob = await opened.open(people.command("listen", "bob", *people.common, "--gossip-listen", "127.0.0.1:0"))
            said = await bob.wait("err", lambda errors: "gossip at ws://" in errors)
            url = said.partition("gossip at ")[2].split()[0]
            to_bob = ("--to", people.bob_id, "--gossip", url)
            alice = await opened.open(people.command("send", "alice", *people.common, *to_bob))
            await alice.wait("err", lambda errors: "gossip with" in errors)
            for line in ("a line that passes", "a line that passes, too", "and how is it going?"):
                await alice.type(line)
            assert len(await bob.wait_lines(3)) == 3
            await alice.wait_lines(3)
            assert (await alice.finish(), await bob.stop()) == (0, STOPPED)
            assert "the provider is" not in alice.printed["err"] + bob.printed["err"]
        for name, peer, peer_id in (("alice", "bob", people.bob_id), ("bob", "alice", people.alice_id)):
            view = tmp_path / f"{name}.view"
            assert people.run("export", name, "--peer", peer_id, "--output", str(view)).returncode == 0
            done = people.run("import", peer, str(view))
            assert (done.returncode, json.loads(done.stdout)["verdict"]) == (0, "ok"), done.stderr
        for name in ("alice", "bob"):
            assert (people.run("proofs", name).stdout, people.proofs(name)) == ("", [])
        assert served.stop() == 0
