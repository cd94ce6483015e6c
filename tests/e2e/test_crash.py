"""kill -9 at any moment, under load: nothing with a receipt is lost, doubled or renumbered; clients resume alone."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import trio

from noise_client import Client, Delivery, create_device, open_client
from noise_client.trust_store_sqlite import create_device_file
from tests.e2e.provider_process import ProviderProcess, provider, run_noise

KILLS = 2
RECEIPTS_BETWEEN_KILLS = 60
SENDERS_AT_ONCE = 8


class Ledger:
    """What senders were promised and recipients got."""

    def __init__(self) -> None:
        self.promised: dict[bytes, bytes] = {}
        self.got: dict[str, list[Delivery]] = {"alice": [], "bob": []}
        self.changed = trio.Event()

    def note(self) -> None:
        self.changed.set()
        self.changed = trio.Event()


async def _send(client: Client, to: bytes, name: str, ledger: Ledger, stop: trio.Event) -> None:
    n = 0
    while not stop.is_set():
        data = f"{name} {n}".encode()
        receipt = await client.send([to], data, deadline_s=60)
        assert data not in ledger.promised
        ledger.promised[data] = receipt.seq
        ledger.note()
        n += 1


async def _receive(client: Client, name: str, ledger: Ledger) -> None:
    async for delivery in client.deliveries():
        ledger.got[name].append(delivery)
        ledger.note()


async def _kill_often(process: ProviderProcess, ledger: Ledger) -> None:
    for n in range(1, KILLS + 1):
        while len(ledger.promised) < n * RECEIPTS_BETWEEN_KILLS:
            await ledger.changed.wait()
        process.kill()
        await trio.to_thread.run_sync(process.start)


async def _check_all_arrived(ledger: Ledger) -> None:
    for name, deliveries in ledger.got.items():
        while len(deliveries) < len(ledger.promised):
            await ledger.changed.wait()
        seqs = [delivery.seq for delivery in deliveries]
        assert seqs == sorted(set(seqs)), f"{name} got something twice or out of order"
        assert {delivery.data: delivery.seq for delivery in deliveries} == ledger.promised
    assert [d.leaf for d in ledger.got["alice"]] == [d.leaf for d in ledger.got["bob"]]


@contextmanager
def provider_apart(data: Path, *flags: str) -> Iterator[ProviderProcess]:
    """A new provider, being served, whose actors have a directory each."""
    made = run_noise("init", "--data", str(data), "--apart")
    assert made.returncode == 0, made.stderr
    process = ProviderProcess(data, *flags)
    process.start()
    try:
        yield process
    finally:
        if process.process is not None:
            process.kill()


PARALLEL = ("--topology", "parallel", "--inboxes", "2", "--outboxes", "2")


@pytest.mark.parametrize(
    ("served", "flags"),
    [(provider, PARALLEL), (provider_apart, PARALLEL), (provider, ("--topology", "central"))],
    ids=["parallel-2-2", "apart-2-2", "central"],
)
async def test_killed_again_and_again(
    tmp_path: Path, served: Callable[..., AbstractContextManager[ProviderProcess]], flags: tuple[str, ...]
) -> None:
    ledger, stop = Ledger(), trio.Event()
    with trio.fail_after(110), served(tmp_path / "provider", *flags) as process:
        alice, bob = create_device(), create_device()
        create_device_file(tmp_path / "alice", alice)
        create_device_file(tmp_path / "bob", bob)
        async with (
            open_client(process.url, tmp_path / "alice", origin=process.origin) as a,
            open_client(process.url, tmp_path / "bob", origin=process.origin) as b,
            trio.open_nursery() as receiving,
        ):
            receiving.start_soon(_receive, a, "alice", ledger)
            receiving.start_soon(_receive, b, "bob", ledger)
            async with trio.open_nursery() as sending:
                for n in range(SENDERS_AT_ONCE):
                    sending.start_soon(_send, a, b.device_id, f"alice/{n}", ledger, stop)
                    sending.start_soon(_send, b, a.device_id, f"bob/{n}", ledger, stop)
                await _kill_often(process, ledger)
                stop.set()
            await _check_all_arrived(ledger)
            receiving.cancel_scope.cancel()
        assert len(ledger.promised) >= KILLS * RECEIPTS_BETWEEN_KILLS
        assert process.stop() == 0
    for command in ("fsck", "audit"):
        checked = run_noise(command, "--data", str(tmp_path / "provider"))
        assert checked.returncode == 0, checked.stderr
