"""What only a file can show: durability across kill -9, damage, locks, permissions, a full disk.

Knows nothing of the contract, which test_contract shows.
"""

import os
import shutil
import sqlite3
import stat
import tempfile
import threading
from pathlib import Path

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from noise.protocol.errors import NoiseError
from noise.store.base import (
    StoreConflict,
    StoreCorrupt,
    StoreFailed,
    StoreForeign,
    StoreLocked,
    StoreMissing,
)
from noise.store.memory import MemoryStore
from noise.store.sqlite import CHECKPOINT_BYTES, SqliteStore, create_sqlite, open_sqlite
from noise.store.sqlite_file import READERS_MAX
from noise.store.sqlite_open import check_durability
from noise.store.sqlite_state import write_state
from noise.store.sqlite_tables import select_rosters
from tests.store.conftest import ORIGIN, FaultySqliteStore
from tests.store.examples import (
    NOW_MS,
    device,
    everything,
    make_epoch,
    make_manifest,
    make_prekey,
    make_upload,
    refused,
)
from tests.store.files import make_store, open_refused, start_child

TEST_SECONDS = 30
ROOT = Path(__file__).resolve().parents[2]


async def test_create(path, tmp_path):
    """What is made is for its owner only; what is there is never touched; nothing is left of a failure."""
    with trio.fail_after(TEST_SECONDS):
        deep = tmp_path / "a" / "b" / "noise.db"
        await make_store(deep)
        modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in (deep.parent, *deep.parent.iterdir())}
        assert modes == {"b": 0o700, "noise.db": 0o600, "noise.db.lock": 0o600}
        assert stat.S_IMODE(deep.parent.parent.stat().st_mode) == 0o700
        before = deep.read_bytes()
        with refused(StoreConflict):
            await create_sqlite(deep, ORIGIN)
        assert deep.read_bytes() == before
        for name in ("noise.db-wal", "noise.db-journal", "noise.db"):
            (tmp_path / name).touch()
            with refused(StoreConflict):
                await create_sqlite(path, ORIGIN)
            (tmp_path / name).unlink()
        (tmp_path / "noise.db.new").write_bytes(b"of a crash")
        (tmp_path / "noise.db.new-wal").write_bytes(b"of a crash")
        await create_sqlite(path, ORIGIN)
        assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a", "noise.db", "noise.db.lock"]
        (tmp_path / "file").touch()
        with refused(StoreFailed):
            await create_sqlite(tmp_path / "file" / "noise.db", ORIGIN)


async def test_wrong_places(path, tmp_path):
    """Every file that is not the store asked for has its error, and stays what it is."""
    with trio.fail_after(TEST_SECONDS):
        await open_refused(path, StoreMissing)
        await open_refused(tmp_path / "none" / "noise.db", StoreMissing)
        path.mkdir()
        await open_refused(path, StoreCorrupt)
        path.rmdir()
        for content in (b"", b"SQLite format 3\0", b"x" * 5000, bytes(100_000)):
            path.write_bytes(content)
            await open_refused(path, StoreCorrupt)
            assert path.read_bytes() == content
        path.unlink()
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE state (key BLOB PRIMARY KEY, value BLOB, checksum BLOB)")
        other.close()
        before = path.read_bytes()
        await open_refused(path, StoreCorrupt)
        assert path.read_bytes() == before


async def test_foreign(path):
    """A store of another provider, or of another format, is sound and is not opened."""
    with trio.fail_after(TEST_SECONDS):
        await make_store(path)
        caught = await open_refused(path, StoreForeign, origin=bytes(32))
        assert ORIGIN.hex() in caught.value.detail
        for other in (1, 2, 4):
            with sqlite3.connect(path, isolation_level=None) as connection:
                write_state(connection, b"format", other.to_bytes(4, "big"))
            connection.close()
            caught = await open_refused(path, StoreForeign)
            assert f"format {other}" in caught.value.detail


async def test_taken_prekeys_leave_the_file(path):
    """Of a prekey that was taken no copy is left, nor anything of it in the log."""
    with trio.fail_after(TEST_SECONDS):
        await create_sqlite(path, ORIGIN)
        async with open_sqlite(path, ORIGIN) as store:
            await store.add_prekeys(make_upload([1, 2]))
        assert make_prekey(1).body in path.read_bytes()
        async with open_sqlite(path, ORIGIN) as store:
            assert await store.take_prekey(device(0), NOW_MS) == (make_prekey(1).body, None)
        content = path.read_bytes()
        assert make_prekey(1).body not in content
        assert make_prekey(2).body in content


async def test_locked(path):
    """A second opener is refused, in this process or another; a link to the file is the same file."""
    code = "try:\n    trio.run(open_sqlite(path, origin).__aenter__)\nexcept NoiseError as error:\n    say(error.code)"
    with trio.fail_after(TEST_SECONDS):
        await make_store(path)
        link = path.with_name("link.db")
        link.symlink_to(path)
        async with open_sqlite(path, ORIGIN) as store:
            await open_refused(path, StoreLocked)
            await open_refused(link, StoreLocked)
            other = start_child(code, path)
            assert (await trio.to_thread.run_sync(other.communicate))[0] == "store-locked\n"
            await store.append_manifest(make_manifest(3))
        async with open_sqlite(link, ORIGIN) as store:
            assert len(await store.pending_manifests()) == 2


async def test_permissions():
    """A file or directory that this user may not write is refused, and says so. The child gives root up."""
    code = """
os.chmod(path, int(sys.argv[2], 8)), os.chmod(path.parent, int(sys.argv[3], 8))
if os.getuid() == 0:
    os.setgid(65534), os.setuid(65534)
try:
    trio.run(open_sqlite(path, origin).__aenter__)
except NoiseError as error:
    say(error.code)
"""
    with trio.fail_after(TEST_SECONDS):
        directory = Path(tempfile.mkdtemp())
        try:
            path = directory / "noise.db"
            await make_store(path)
            for of_file, of_directory in (("444", "777"), ("000", "777"), ("666", "555")):
                (directory / "noise.db.lock").chmod(0o666)
                reader = start_child(code, path, of_file, of_directory)
                assert (await trio.to_thread.run_sync(reader.communicate))[0] == "store-failed\n"
        finally:
            directory.chmod(0o700)
            shutil.rmtree(directory)


async def test_durability_is_in_force(path):
    """Every connection syncs fully, into a write-ahead log; a place that cannot is refused."""
    with trio.fail_after(TEST_SECONDS):
        await create_sqlite(path, ORIGIN)
        async with SqliteStore(path, ORIGIN) as store:
            for connection in (store._file.writer, *store._file.readers):
                assert connection.execute("PRAGMA journal_mode").fetchall() == [(b"wal",)]
                assert connection.execute("PRAGMA synchronous").fetchall() == [(2,)]
        nowhere = sqlite3.connect(":memory:", isolation_level=None)
        nowhere.text_factory = bytes
        with refused(StoreFailed):
            check_durability(nowhere, path)
        lazy = sqlite3.connect(path, isolation_level=None)
        lazy.text_factory = bytes
        lazy.execute("PRAGMA synchronous = NORMAL")
        with refused(StoreFailed):
            check_durability(lazy, path)
        nowhere.close()
        lazy.close()


async def test_closed(path):
    """A closed store refuses everything; what was under way when it closed has ended."""
    with trio.fail_after(TEST_SECONDS):
        await make_store(path)
        async with trio.open_nursery() as nursery, open_sqlite(path, ORIGIN) as store:
            for lane in range(1, 8):
                nursery.start_soon(store.append_manifest, make_manifest(2, lane))
                nursery.start_soon(store.history_since, 0)
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
        with refused(StoreFailed):
            await store.append_manifest(make_manifest(3))
        with refused(StoreFailed):
            await store.statements(0)
        async with open_sqlite(path, ORIGIN) as store:
            assert len(await store.pending_manifests()) == 8


async def test_closing_waits_for_reads(path):
    """Reads that began or waited before the store began to close end first; one that comes later is refused."""
    have_begun, may_end = threading.Barrier(READERS_MAX + 1), threading.Event()
    is_closing, may_close = threading.Event(), threading.Event()
    endings = []

    class HeldStore(SqliteStore):
        def _close(self, file):
            is_closing.set()
            may_close.wait(TEST_SECONDS)
            super()._close(file)

    def query_long(connection):
        have_begun.wait(TEST_SECONDS)
        may_end.wait(TEST_SECONDS)

    async def read(name, query):
        try:
            await store._read(query)
            endings.append(name)
        except StoreFailed:
            endings.append(f"{name} refused")

    with trio.fail_after(TEST_SECONDS):
        await make_store(path)
        async with trio.open_nursery() as nursery:
            store = await HeldStore(path, ORIGIN).__aenter__()
            for _ in range(READERS_MAX):
                nursery.start_soon(read, "began", query_long)
            await trio.to_thread.run_sync(have_begun.wait, TEST_SECONDS)
            nursery.start_soon(read, "waited", select_rosters)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(store.__aexit__, None, None, None)
            await trio.testing.wait_all_tasks_blocked()
            assert endings == []
            may_end.set()
            await trio.to_thread.run_sync(is_closing.wait, TEST_SECONDS)
            assert sorted(endings) == ["began"] * READERS_MAX + ["waited"]
            nursery.start_soon(read, "late", select_rosters)
            await trio.testing.wait_all_tasks_blocked()
            may_close.set()
        assert endings[READERS_MAX + 1 :] == ["late refused"]


async def test_group_commit(path):
    """Writes that wait at the same time share a transaction."""
    with trio.fail_after(TEST_SECONDS):
        await create_sqlite(path, ORIGIN)
        async with FaultySqliteStore(path, ORIGIN) as store:
            async with trio.open_nursery() as nursery:
                for lane in range(32):
                    nursery.start_soon(store.append_manifest, make_manifest(0, lane))
            assert sum(store.group_sizes) == 32
            assert len(store.group_sizes) <= 2


async def test_reads_see_no_open_transaction(path):
    """While a transaction is open, reads go on and see what was committed before it."""
    is_written, may_end = threading.Event(), threading.Event()

    class HeldStore(SqliteStore):
        def _end_transaction(self, writer):
            is_written.set()
            may_end.wait(TEST_SECONDS)
            super()._end_transaction(writer)

    with trio.fail_after(TEST_SECONDS):
        await make_store(path)
        async with HeldStore(path, ORIGIN) as store, trio.open_nursery() as nursery:
            before = await everything(store)
            nursery.start_soon(store.commit_epoch, make_epoch(2))
            await trio.to_thread.run_sync(is_written.wait)
            assert await everything(store) == before
            may_end.set()
        assert before["next"] == (2, 2)
        assert store.next_epoch == 3


async def test_checkpoints(path):
    """The log stays near CHECKPOINT_BYTES, however much is written, and is gone after closing."""
    log = path.with_name("noise.db-wal")
    with trio.fail_after(TEST_SECONDS):
        await create_sqlite(path, ORIGIN)
        async with open_sqlite(path, ORIGIN) as store:
            for epoch in range(20):
                await store.append_manifest(make_manifest(epoch, count=4, body_bytes=CHECKPOINT_BYTES // 16))
            assert log.stat().st_size < 3 * CHECKPOINT_BYTES
            assert path.stat().st_size > 3 * CHECKPOINT_BYTES
        assert not log.exists()


async def test_long_log_is_cut(path, monkeypatch):
    """A log that grew beyond LOG_BYTES_MAX, as while a reader holds it, is cut by a checkpoint."""
    monkeypatch.setattr("noise.store.sqlite_file.LOG_BYTES_MAX", 1)
    log = path.with_name("noise.db-wal")
    with trio.fail_after(TEST_SECONDS):
        await create_sqlite(path, ORIGIN)
        async with open_sqlite(path, ORIGIN) as store:
            await store.append_manifest(make_manifest(0, count=4, body_bytes=CHECKPOINT_BYTES // 4))
            await trio.testing.wait_all_tasks_blocked()
            await store.add_roster(0, b"roster")  # waits for the checkpoint
            assert log.stat().st_size < CHECKPOINT_BYTES // 4


async def test_no_descriptor_leaks(path):
    """Nothing stays open: not after use, not after a failure, not after a refusal to open."""

    def descriptors():
        return sorted(
            os.readlink(f"/proc/self/fd/{fd}")
            for fd in os.listdir("/proc/self/fd")
            if fd.isdigit()
            and os.path.lexists(f"/proc/self/fd/{fd}")
            and path.name in os.readlink(f"/proc/self/fd/{fd}")
        )

    with trio.fail_after(TEST_SECONDS):
        await make_store(path)
        for _ in range(3):
            await open_refused(path, StoreForeign, origin=bytes(32))
            with refused(StoreConflict):
                await create_sqlite(path, ORIGIN)
            async with FaultySqliteStore(path, ORIGIN) as store:
                await everything(store)
                assert len(descriptors()) > 5
                store.fail_next("add_roster", stored=False)
                with refused(StoreFailed):
                    await store.add_roster(9, b"roster")
            assert descriptors() == []


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("manifest"), st.integers(0, 3), st.integers(0, 2), st.integers(0, 2), st.integers(0, 1)),
        st.tuples(st.just("epoch"), st.integers(0, 3), st.integers(0, 3), st.integers(0, 1)),
        st.tuples(st.just("roster"), st.integers(0, 1), st.integers(0, 1)),
        st.just(("reopen",)),
    ),
    max_size=15,
)


async def take_step(store, kind, *numbers):
    """The code of the refusal, if there was one."""
    try:
        if kind == "manifest":
            epoch, lane, count, salt = numbers
            await store.append_manifest(make_manifest(epoch, lane, count, salt=salt))
        elif kind == "epoch":
            epoch, replay_epoch, salt = numbers
            await store.commit_epoch(make_epoch(epoch, replay_epoch=replay_epoch, salt=salt))
        elif kind == "roster":
            await store.add_roster(numbers[0], bytes(numbers))
    except NoiseError as error:
        return error.code
    return None


@settings(max_examples=25)
@given(STEPS)
def test_memory_store_agrees(steps):
    """The fake and the file answer any writes alike, and hold the same afterwards."""

    async def compare():
        fake = MemoryStore()
        with trio.fail_after(TEST_SECONDS), tempfile.TemporaryDirectory() as directory:
            path = Path(directory, "noise.db")
            await create_sqlite(path, ORIGIN)
            steps_left = list(steps)
            while steps_left:
                async with open_sqlite(path, ORIGIN) as store:
                    while steps_left and (step := steps_left.pop(0)) != ("reopen",):
                        assert await take_step(store, *step) == await take_step(fake, *step)
                    assert await everything(store) == await everything(fake)

    trio.run(compare)
