"""The contract of `TrustStore`, sentence by sentence, for both of them; then what only a file can do."""

import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
import trio
import trio.testing

from noise.protocol.identifiers import make_seq
from noise.protocol.statements import MESSAGE_LEAF
from noise_client import (
    Delivery,
    Device,
    MemoryTrustStore,
    Offence,
    SqliteTrustStore,
    TrustStore,
    TrustStoreError,
    create_device_file,
)
from noise_client.trust_store import OFFENCES_MAX, ROW_BYTES, QueuedMessage, StoreCalls
from tests.client.conftest import Reopen
from tests.vectors.cast import device_of, filler, seed_of

ALICE = Device(seed_of("alice"))
ORIGIN = filler("origin", 32)
U64_MAX = 2**64 - 1


def delivery(n: int, size: int = 5, sender: str = "bob", created_ms: int = 7) -> Delivery:
    seq = make_seq(3, 0, n)
    leaf = MESSAGE_LEAF.pack(seq, device_of(sender), n, *[filler(part, 32) for part in "eb"], 2, *[bytes(32)] * 3)
    recipients = tuple(sorted([device_of("alice"), device_of(sender)]))
    return Delivery(seq, device_of(sender), n, created_ms, recipients, filler("data", size), b"own", leaf)


def message(n: int, size: int = 5) -> QueuedMessage:
    return QueuedMessage((device_of("alice"), filler("to", 32)), n.to_bytes(4, "big") + filler("data", size), n)


def test_a_new_store_holds_its_device_and_nothing_else(reopen: Reopen) -> None:
    store = reopen()
    kept = store.load()
    assert kept.private_key == ALICE.private_key
    assert kept[2:] == (None, b"", b"", 0, [])
    assert (store.next_counter(), store.last_counter(device_of("bob"))) == (1, None)
    assert (store.untaken(9, 9), store.queued(9, 9), store.offences()) == ([], [], [])


def test_the_salt_secret_is_random_and_stays(reopen: Reopen) -> None:
    secret = reopen().load().salt_secret
    assert len(secret) == 32
    assert secret == reopen().load().salt_secret
    assert secret != MemoryTrustStore(ALICE).load().salt_secret


def test_a_step_is_kept_whole(reopen: Reopen) -> None:
    deliveries = [delivery(0), delivery(1, created_ms=U64_MAX)]
    reopen().save_step(ORIGIN, b"trusted", {device_of("bob"): U64_MAX - 1}, deliveries)
    store = reopen()
    assert store.load().origin == ORIGIN
    assert store.load().trusted == b"trusted"
    assert store.load().backlog_bytes == sum(one.kept_bytes for one in deliveries)
    assert store.last_counter(device_of("bob")) == U64_MAX - 1
    assert store.untaken(9, 1 << 20) == deliveries


def test_a_step_replaces_trust_and_counters_and_adds_deliveries(reopen: Reopen) -> None:
    store = reopen()
    store.save_step(ORIGIN, b"one", {b"b" * 32: 1, b"c" * 32: 5}, [delivery(0)])
    store.save_step(ORIGIN, b"two", {b"b" * 32: 2}, [])
    store.save_step(ORIGIN, b"three", {}, [delivery(1)])
    assert store.load().trusted == b"three"
    assert (store.last_counter(b"b" * 32), store.last_counter(b"c" * 32)) == (2, 5)
    assert store.untaken(9, 1 << 20) == [delivery(0), delivery(1)]


def test_our_own_counter_is_never_used_twice(reopen: Reopen) -> None:
    store = reopen()
    store.save_step(ORIGIN, b"t", {ALICE.device_id: 41}, [])
    assert store.next_counter() == 42
    store.save_step(ORIGIN, b"t", {ALICE.device_id: 7}, [])
    assert reopen().next_counter() == 42


def test_untaken_comes_in_order_and_within_limits(reopen: Reopen) -> None:
    store = reopen()
    every = [delivery(n) for n in range(300)]
    store.save_step(ORIGIN, b"t", {}, every)
    one = every[0].kept_bytes
    assert store.untaken(2, 1 << 20) == every[:2]
    assert store.untaken(9, 3 * one) == every[:3]
    assert store.untaken(9, 3 * one - 1) == every[:2]
    assert store.untaken(9, 1) == every[:1]


def test_what_is_taken_is_forgotten(reopen: Reopen) -> None:
    store = reopen()
    store.save_step(ORIGIN, b"t", {}, [delivery(n) for n in range(4)])
    store.take(delivery(1).seq)
    assert store.untaken(9, 1 << 20) == [delivery(2), delivery(3)]
    store.take(delivery(2).seq)
    store.take(delivery(0).seq)
    assert reopen().untaken(9, 1 << 20) == [delivery(3)]
    assert store is not None


def test_the_queue_keeps_order_and_sizes(reopen: Reopen) -> None:
    store = reopen()
    store.add_queued([message(0), message(1, 1000)])
    store.add_queued([message(2)])
    store = reopen()
    every = [message(0), message(1, 1000), message(2)]
    assert store.queued(9, 1 << 20) == every
    assert store.queued(2, 1 << 20) == every[:2]
    assert store.queued(9, message(0).kept_bytes + 999) == every[:1]
    assert store.load().queued_bytes == [one.kept_bytes for one in every]
    assert store.load().queued_bytes[0] == ROW_BYTES + 2 * 32 + 9


def test_a_frozen_bundle_stays_with_its_messages_until_it_is_finished(reopen: Reopen) -> None:
    store = reopen()
    store.add_queued([message(0), message(1), message(2)])
    store.freeze(b"bundle", 3)
    store = reopen()
    assert (store.load().bundle, store.next_counter()) == (b"bundle", 3)
    assert store.queued(1, 1) == [message(0)]
    store.finish(2)
    store = reopen()
    assert (store.load().bundle, store.next_counter()) == (b"", 3)
    assert store.queued(9, 1 << 20) == [message(2)]
    store.add_queued([message(3)])
    assert store.queued(9, 1 << 20) == [message(2), message(3)]


def test_offences_are_kept_but_not_without_end(reopen: Reopen) -> None:
    store = reopen()
    every = [Offence(n, "code", f"detail {n}", (b"one", b"", n.to_bytes(2, "big"))) for n in range(OFFENCES_MAX + 2)]
    for offence in every:
        store.save_offence(offence)
    assert reopen().offences() == every[2:]


def test_closing_twice_is_harmless(reopen: Reopen) -> None:
    store = reopen()
    store.close()
    store.close()


def test_a_step_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "alice.device"
    create_device_file(path, ALICE)
    store = SqliteTrustStore(path)
    store.save_step(ORIGIN, b"one", {}, [delivery(0)])
    with pytest.raises(TrustStoreError, match="UNIQUE"):
        store.save_step(ORIGIN, b"two", {b"b" * 32: 1}, [delivery(1), delivery(0)])
    assert (store.load().trusted, store.last_counter(b"b" * 32)) == (b"one", None)
    assert store.untaken(9, 1 << 20) == [delivery(0)]
    store.close()


def test_a_device_file_is_private_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "alice.device"
    device = create_device_file(path)
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    with pytest.raises(TrustStoreError) as refused:
        create_device_file(path)
    assert refused.value.code == "device-exists"
    assert path.read_bytes() == before
    store = SqliteTrustStore(path)
    assert store.load().private_key == device.private_key
    assert {name.name: name.stat().st_mode & 0o777 for name in tmp_path.iterdir()} == dict.fromkeys(
        ["alice.device", "alice.device-wal"], 0o600
    )
    store.close()
    assert [name.name for name in tmp_path.iterdir()] == ["alice.device"]


def test_a_device_file_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TrustStoreError, match="No such file"):
        create_device_file(tmp_path / "missing" / "alice.device")
    unstorable = Device(ALICE.private_key)
    unstorable.private_key = "text"  # type: ignore[assignment]
    with pytest.raises(TrustStoreError, match="cannot store TEXT"):
        create_device_file(tmp_path / "alice.device", unstorable)
    assert list(tmp_path.iterdir()) == []


def refusal_of(path: Path) -> str:
    with pytest.raises(TrustStoreError) as refused:
        SqliteTrustStore(path)
    assert str(path) in refused.value.detail
    return refused.value.code


def test_only_device_files_are_opened(tmp_path: Path) -> None:
    assert refusal_of(tmp_path / "missing") == "device-missing"
    assert refusal_of(tmp_path) == "device-missing"
    text = tmp_path / "text"
    text.write_text("this is no database, but it is long enough to be looked at " * 20)
    assert refusal_of(text) == "not-a-device-file"
    empty = tmp_path / "empty"
    empty.touch()
    assert refusal_of(empty) == "not-a-device-file"
    other = tmp_path / "other"
    sqlite3.connect(other).execute("CREATE TABLE device (one)").connection.close()
    assert refusal_of(other) == "not-a-device-file"
    later = tmp_path / "later"
    create_device_file(later)
    sqlite3.connect(later).execute("PRAGMA user_version = 99").connection.close()
    assert refusal_of(later) == "not-a-device-file"


def run_python(code: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


OPEN = """
    import os, sys
    from noise_client import SqliteTrustStore, TrustStoreError
    try:
        store = SqliteTrustStore(sys.argv[1])
    except TrustStoreError as error:
        print(error.code)
        sys.exit(0)
    print("opened")
"""


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "alice.device"
    create_device_file(path)
    store = SqliteTrustStore(path)
    assert run_python(OPEN, path).stdout == "device-locked\n"
    assert refusal_of(path) == "device-locked"
    assert store.load().trusted == b""
    store.save_step(ORIGIN, b"t", {}, [delivery(0)])
    assert run_python(OPEN, path).stdout == "device-locked\n"
    store.close()
    assert run_python(OPEN, path).stdout == "opened\n"


def test_what_was_written_outlives_a_killed_process(tmp_path: Path) -> None:
    path = tmp_path / "alice.device"
    create_device_file(path, ALICE)
    store = SqliteTrustStore(path)
    store.save_step(ORIGIN, b"t", {}, [delivery(n) for n in range(3)])
    store.add_queued([message(0), message(1)])
    store.close()
    killed = run_python(
        OPEN
        + """
    store.take(bytes.fromhex(sys.argv[2]))
    store.freeze(b"bundle", 2)
    store.finish(1)
    os._exit(9)
    """,
        path,
        delivery(0).seq.hex(),
    )
    assert (killed.returncode, killed.stderr) == (9, "")
    store = SqliteTrustStore(path)
    assert store.untaken(9, 1 << 20) == [delivery(1), delivery(2)]
    assert (store.load().bundle, store.next_counter(), store.queued(9, 1 << 20)) == (b"", 2, [message(1)])
    store.close()


class _Ledger:
    """Takes note of which calls run, and in which thread."""

    def __init__(self, store: TrustStore) -> None:
        self.calls = StoreCalls(store)
        self.threads: list[int] = []
        self.running = self.most_running = 0

    def call(self, number: int) -> int:
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        self.threads.append(threading.get_ident())
        self.running -= 1
        return number


async def test_store_calls_run_one_at_a_time_and_away_from_the_loop_where_they_block(reopen: Reopen) -> None:
    store = reopen()
    ledger = _Ledger(store)
    answers: list[int] = []

    async def ask(number: int) -> None:
        answers.append(await ledger.calls.run(ledger.call, number))

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(ask, number)
        assert await ledger.calls.run_short(ledger.call, 20) == 20
    assert sorted(answers) == list(range(20))
    assert ledger.most_running == 1
    here = threading.get_ident()
    assert [thread == here for thread in ledger.threads] == [not store.blocks] * 20 + [True]


async def test_a_short_call_waits_for_the_one_that_runs(tmp_path: Path) -> None:
    create_device_file(tmp_path / "alice.device")
    store = SqliteTrustStore(tmp_path / "alice.device")
    calls = StoreCalls(store)
    may_end = threading.Event()
    order: list[str] = []

    def long() -> None:
        may_end.wait(10)
        order.append("long")

    async def short() -> None:
        await calls.run_short(order.append, "short")

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(calls.run, long)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(short)
            await trio.testing.wait_all_tasks_blocked()
            may_end.set()
    assert order == ["long", "short"]
    store.close()
