"""Operators give actors new keys, and bring lost ones back, while people write to each other and notice nothing.

Everything is real: the provider's process, the commands that an operator types, sockets, clients with a gossip link.
"""

import io
import shlex
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, redirect_stdout
from functools import partial
from pathlib import Path

import pytest
import trio

from noise.cli import main
from noise.protocol.identifiers import format_id
from noise_client import Client, ClientState, Settings, create_device, open_client
from noise_client.verdicts import FINE, Judgement
from tests.e2e.provider_process import ProviderProcess, run_noise

QUICK = Settings(backoff_first_s=0.02, backoff_max_s=0.1)
SHAPE = ("--inboxes", "2", "--outboxes", "2", "--idle-ms", "200")
PATIENT = ("--custody-epochs", "5000", "--challenge-epochs", "77")
PATIENCE_S = 90
IN_THE_MIDDLE = 40
"""Messages that are under way when the provider goes down."""


def noise(*arguments: str) -> str:
    """A command that works; what it prints."""
    with redirect_stdout(io.StringIO()) as printed:
        assert main(arguments) == 0
    return printed.getvalue()


@asynccontextmanager
async def in_time() -> AsyncIterator[None]:
    with trio.fail_after(PATIENCE_S):
        yield


class Street:
    """Two people with a gossip link, and every judgement that they came to."""

    def __init__(self, alice: Client, bob: Client) -> None:
        self.people = (alice, bob)
        self.judgements: list[Judgement] = []
        self._n_sent = 0
        self._texts: list[bytes] = []

    async def watch(self, client: Client) -> None:
        async for judgement in client.verdicts():
            self.judgements.append(judgement)

    async def write(self, count: int) -> None:
        """Both write in turn, and do not wait: the provider may be away."""
        alice, bob = self.people
        for _ in range(count):
            sender, recipient = (alice, bob) if self._n_sent % 2 else (bob, alice)
            await sender.send_soon([recipient.device_id], b"%d" % self._n_sent)
            self._n_sent += 1

    async def read(self) -> None:
        """All that was written has arrived, once, and everybody sees one order and suspects nobody."""
        n_new = self._n_sent - len(self._texts)
        seen = []
        for client in self.people:
            got = []
            async for delivery in client.deliveries(deadline_s=30):
                got.append((delivery.seq, delivery.data))
                if len(got) == n_new:
                    break
            await client.wait_settled()
            seen.append(got)
        assert seen[0] == seen[1]
        assert sorted(int(data) for _, data in seen[0]) == list(range(len(self._texts), self._n_sent))
        self._texts += [data for _, data in seen[0]]
        assert {*self.judgements, *(client.verdict for client in self.people)} == {FINE}
        assert all(client.failure is None for client in self.people)


@asynccontextmanager
async def street(process: ProviderProcess) -> AsyncIterator[Street]:
    async with AsyncExitStack() as stack:
        alice, bob = [
            await stack.enter_async_context(open_client(process.url, create_device(), settings=QUICK)) for _ in "ab"
        ]
        port = await alice.serve_gossip("127.0.0.1")
        await bob.gossip_with(f"ws://127.0.0.1:{port}")
        made = Street(alice, bob)
        nursery = await stack.enter_async_context(trio.open_nursery())
        for client in made.people:
            nursery.start_soon(made.watch, client)
        await made.write(6)
        await made.read()
        yield made
        nursery.cancel_scope.cancel()


@pytest.fixture
def process(tmp_path: Path) -> Iterator[ProviderProcess]:
    """Of a provider whose actors have directories of their own."""
    data = tmp_path / "the provider"
    noise("init", "--data", str(data), "--apart")
    made = ProviderProcess(data, *SHAPE, *PATIENT)
    made.start()
    yield made
    if made.process is not None:
        made.kill()


async def interrupt(process: ProviderProcess, road: Street, *, gently: bool, then: Callable[[], object]) -> None:
    """The provider goes down while people write, something is done, and it comes back."""
    await road.write(IN_THE_MIDDLE)
    await trio.to_thread.run_sync(process.stop if gently else process.kill)
    for client in road.people:
        await client.wait_state(ClientState.BACKOFF)
    await road.write(4)
    await trio.to_thread.run_sync(then)
    await trio.to_thread.run_sync(process.start)
    await road.write(6)
    await road.read()


def keys_in(data: Path) -> set[str]:
    return {path.stem for path in data.rglob("*.pem")}


@pytest.mark.parametrize("gently", [True, False])
async def test_people_notice_no_rotation(process: ProviderProcess, gently: bool) -> None:
    """Some actors, then all; the provider was stopped, or killed while it was busy."""
    data = str(process.data)
    async with in_time(), street(process) as road:
        for names in (["log-0-0", "inbox-0-0", "router-0-1"], []):
            before = keys_in(process.data)
            flags = [flag for name in names for flag in ("--actor", name)]
            await interrupt(
                process, road, gently=gently, then=partial(noise, "roster", "rotate", "--data", data, *flags)
            )
            gone = {name.rpartition(".")[0] for name in before - keys_in(process.data)}
            assert gone == {*names} if names else len(gone) == 10
    assert process.stop() == 0
    assert (await trio.to_thread.run_sync(noise, "fsck", "--data", data)).startswith("clean")


def lose(process: ProviderProcess, name: str) -> None:
    """That actor's disk is gone; the operator reads what to do, and does it."""
    shutil.rmtree(process.data / "actors" / name)
    refused = run_noise("serve", "--data", str(process.data), "--bind", "127.0.0.1:0")
    assert refused.returncode == 1 and "actor-state-lost" in refused.stderr
    [line] = [line for line in refused.stderr.splitlines() if line.startswith("  ")]
    program, *arguments = shlex.split(line)
    assert program == "noise"
    noise(*arguments)


@pytest.mark.parametrize("gently", [True, False])
async def test_people_notice_no_recovery(process: ProviderProcess, gently: bool) -> None:
    async with in_time(), street(process) as road:
        for name in ("router-0-0", "inbox-0-1"):
            await interrupt(process, road, gently=gently, then=partial(lose, process, name))
    assert process.stop() == 0
    assert (await trio.to_thread.run_sync(noise, "fsck", "--data", str(process.data))).startswith("clean")


def test_the_roster_is_shown_from_the_directory_and_from_the_network(process: ProviderProcess) -> None:
    data, origin = str(process.data), process.origin
    shown = noise("roster", "show", "--server", process.url, "--origin", origin)
    locked = run_noise("roster", "show", "--data", data)
    assert (locked.returncode, "store-locked" in locked.stderr) == (1, True)
    assert process.stop() == 0
    assert noise("roster", "show", "--data", data) == shown
    noise("roster", "recover", "--data", data, "--actor", "inbox-0-1")
    shown = noise("roster", "show", "--data", data)
    lines = [line.split() for line in shown.splitlines()]
    assert lines[0] == ["provider", origin] and lines[1][:2] == ["roster", "3,"]
    assert lines[2][-4:] == ["custody_epochs", "5000,", "challenge_epochs", "77"]
    [inbox] = [line for line in lines if line[:1] == ["inbox-0-1"]]
    assert inbox[1] == "2" and inbox[3] == "2"
    assert shown.splitlines()[-1].endswith("inbox-0-1.2 began")
    for arguments, code in (
        (["--server", "http://127.0.0.1:9"], "bad-option"),
        (["--server", "http://127.0.0.1:9", "--origin", origin], "unreachable"),
        (["--server", "ftp://127.0.0.1", "--origin", origin], "unreachable"),
        (["--data", data + "nowhere"], "no-provider"),
    ):
        refused = run_noise("roster", "show", *arguments)
        assert (refused.returncode, code in refused.stderr) == (1, True), refused.stderr


def test_a_provider_that_is_another_one_is_not_shown(process: ProviderProcess) -> None:
    refused = run_noise("roster", "show", "--server", process.url, "--origin", format_id(bytes(32)))
    assert (refused.returncode, "wrong-origin" in refused.stderr) == (1, True)
