"""A process that dies or runs out of disk: what it acknowledged is there, and nothing is there by half.

Knows nothing of failures that the store is told of while it lives on, which test_faults shows.
"""

import random
import signal
import sqlite3

import pytest
import trio

from noise.store.sqlite import create_sqlite, open_sqlite
from tests.store.conftest import ORIGIN
from tests.store.examples import NOW_MS, device, make_epoch, make_manifest, make_prekey, make_upload
from tests.store.files import start_child

TEST_SECONDS = 30


async def check_whole(store, lanes):
    """Every epoch and manifest that is there at all is there to the last byte."""
    for epoch in range(store.next_epoch):
        write = make_epoch(epoch)
        row = await store.epoch_row(epoch)
        assert row == (epoch, write.record, write.leaf_hash, write.checkpoint)
        assert await store.history_since(epoch, limit=len(write.history)) == write.history
        assert set(write.statements) < set(await store.statements(epoch))
        assert [row.lane for row in await store.manifests(epoch)] == list(range(lanes))
    if store.next_epoch:
        assert await store.mailbox_cache() == write.mailboxes
        assert await store.sender_cache() == write.senders
        assert await store.acks() == write.acks
        assert await store.challenges() == write.challenges
    for row in [row for epoch in range(store.next_epoch + 1) for row in await store.manifests(epoch)]:
        write = make_manifest(row.epoch, row.lane, body_bytes=14_000)
        assert row.statement == write.statement
        assert await store.bundles(row.first_id, row.next_id) == write.bundles
    assert await store.manifests(store.next_epoch + 1) == []


WRITE_ON = """
async def write_lane(store, epoch, lane):
    await store.append_manifest(make_manifest(epoch, lane, body_bytes=14_000))
    say("manifest", epoch, lane)
async def main():
    async with open_sqlite(path, origin) as store:
        say("open")
        while True:
            epoch = store.next_epoch
            async with trio.open_nursery() as nursery:
                for lane in range(3):
                    nursery.start_soon(write_lane, store, epoch, lane)
            await store.commit_epoch(make_epoch(epoch))
            say("epoch", epoch)
try:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
    trio.run(main)
except* NoiseError as group:
    say("error", *(error.code for error in group.exceptions))
"""


async def check_acknowledged(path, lines):
    """What the child said is stored is stored, nothing is stored by half, and SQLite finds the file sound."""
    async with open_sqlite(path, ORIGIN) as store:
        for kind, *numbers in map(str.split, lines):
            if kind == "epoch":
                assert store.next_epoch > int(numbers[0])
            if kind == "manifest":
                epoch, lane = map(int, numbers)
                assert lane in [row.lane for row in await store.manifests(epoch)]
        await check_whole(store, lanes=3)
        next_epoch = store.next_epoch
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    return next_epoch


def kill_after(path, line_count):
    """All lines of a child that is killed some time after it wrote so many."""
    with start_child(WRITE_ON, path, -1) as writer:
        lines = [writer.stdout.readline() for _ in range(line_count)]
        writer.send_signal(signal.SIGKILL)
        lines += writer.stdout.readlines()
    assert writer.returncode == -signal.SIGKILL
    return lines


async def test_kill(path):
    """kill -9 at any moment: whatever was acknowledged is there, and the next process goes on from it."""
    rng = random.Random()
    with trio.fail_after(TEST_SECONDS):
        await create_sqlite(path, ORIGIN)
        acknowledged = []
        for _ in range(5):
            acknowledged += await trio.to_thread.run_sync(kill_after, path, rng.randrange(1, 200))
            next_epoch = await check_acknowledged(path, acknowledged)
        assert next_epoch > 0


@pytest.mark.parametrize("limit", [500_000, 9_000_000])
async def test_full_disk(path, limit):
    """Writes raise StoreFailed when the log, or the database, cannot grow; what was acknowledged is there."""
    with trio.fail_after(TEST_SECONDS):
        await create_sqlite(path, ORIGIN)
        writer = start_child(WRITE_ON, path, limit)
        lines = (await trio.to_thread.run_sync(writer.communicate))[0].splitlines()
        assert lines[0] == "open"
        assert set(lines.pop().split()) == {"error", "store-failed"}
        assert await check_acknowledged(path, lines) > 0


async def test_full_disk_at_birth(path):
    """A store that cannot be made whole is not made at all."""
    code = """
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    trio.run(create_sqlite, path, origin)
except NoiseError as error:
    say(error.code)
"""
    with trio.fail_after(TEST_SECONDS):
        maker = start_child(code, path)
        assert (await trio.to_thread.run_sync(maker.communicate))[0] == "store-failed\n"
        assert [entry.name for entry in path.parent.iterdir()] == ["noise.db.lock"]
        await create_sqlite(path, ORIGIN)


TAKE_ON = """
async def main():
    async with open_sqlite(path, origin) as store:
        say("open")
        while (pair := await store.take_prekey(device(0), NOW_MS)).one_time is not None:
            say(pair.one_time.hex())
trio.run(main)
"""


def taken_until_killed(path, line_count):
    """What a child was handed, until it is killed some time after so many."""
    with start_child(TAKE_ON, path) as taker:
        lines = [taker.stdout.readline() for _ in range(line_count)]
        taker.send_signal(signal.SIGKILL)
        lines += taker.stdout.readlines()
    return lines[1:]


async def test_kill_while_taking(path):
    """kill -9 at any moment: no prekey is handed out twice, and few are lost."""
    rng = random.Random()
    numbers = range(1, 401)
    with trio.fail_after(TEST_SECONDS):
        await create_sqlite(path, ORIGIN)
        async with open_sqlite(path, ORIGIN) as store:
            await store.add_prekeys(make_upload(numbers, one_time_max=len(numbers)))
        taken = []
        for _ in range(4):
            taken += await trio.to_thread.run_sync(taken_until_killed, path, rng.randrange(2, 60))
        async with open_sqlite(path, ORIGIN) as store:
            while (pair := await store.take_prekey(device(0), NOW_MS)).one_time is not None:
                taken.append(pair.one_time.hex() + "\n")
        assert len(set(taken)) == len(taken) >= len(numbers) - 4
        assert set(taken) <= {make_prekey(number).body.hex() + "\n" for number in numbers}
