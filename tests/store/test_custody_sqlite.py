"""What only a file of custody can show: whose it is, locks, damage, and durability across kill -9.

Knows nothing of the contract, which test_custody_contract shows.
"""

import random
import signal
import sqlite3
import stat

import pytest
import trio

from noise.store.base import StoreConflict, StoreCorrupt, StoreFailed, StoreForeign, StoreLocked, StoreMissing
from noise.store.custody_sqlite import CHECKPOINT_BYTES, SqliteCustody, create_custody, open_custody
from noise.store.sqlite import create_sqlite
from noise.store.sqlite_state import write_state
from tests.store.conftest import ORIGIN
from tests.store.custody_worlds import ACTORS, actor_of, find_row, kept, make_row, make_rows
from tests.store.examples import refused
from tests.store.files import open_refused as open_store_refused
from tests.store.files import start_child

TEST_SECONDS = 30


@pytest.fixture
def path(tmp_path):
    return tmp_path / "custody.db"


async def make_custody(path, epochs=3, batch_bytes=300):
    """A closed custody with rows of all actors."""
    await create_custody(path, ORIGIN)
    async with open_custody(path, ORIGIN) as custody:
        for epoch in range(epochs):
            await custody.keep([make_row(epoch, actor, batch_bytes=batch_bytes) for actor in ACTORS], 0)


async def open_refused(path, kind, origin=ORIGIN, owner=b""):
    with refused(kind) as caught:
        async with open_custody(path, origin, owner):
            pass
    return caught


def execute(path, sql):
    """Changes rows behind the store's back; returns how many."""
    connection = sqlite3.connect(path)
    count = connection.execute(sql).rowcount
    connection.commit()
    connection.close()
    return count


async def test_create(tmp_path):
    """What is made is for its owner only, and what is there is never touched."""
    with trio.fail_after(TEST_SECONDS):
        path = tmp_path / "actors" / "one" / "custody.db"
        await make_custody(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        before = path.read_bytes()
        with refused(StoreConflict):
            await create_custody(path, ORIGIN)
        assert path.read_bytes() == before


async def test_wrong_places(path):
    """Nothing, and what is no custody, has its error, and stays what it is."""
    with trio.fail_after(TEST_SECONDS):
        await open_refused(path, StoreMissing)
        for content in (b"", b"x" * 5000, bytes(100_000)):
            path.write_bytes(content)
            await open_refused(path, StoreCorrupt)
            assert path.read_bytes() == content


async def test_foreign(path):
    """The custody of another provider, actor or format is sound and is not opened."""
    with trio.fail_after(TEST_SECONDS):
        await make_custody(path)
        caught = await open_refused(path, StoreForeign, origin=bytes(32))
        assert ORIGIN.hex() in caught.value.detail
        caught = await open_refused(path, StoreForeign, owner=actor_of(0))
        assert "of all actors" in caught.value.detail
        own = path.with_name("own.db")
        await create_custody(own, ORIGIN, actor_of(0))
        for owner in (b"", actor_of(1)):
            caught = await open_refused(own, StoreForeign, owner=owner)
            assert actor_of(0).hex() in caught.value.detail
        with sqlite3.connect(path, isolation_level=None) as connection:
            write_state(connection, b"format", (2).to_bytes(4, "big"))
        connection.close()
        caught = await open_refused(path, StoreForeign)
        assert "format 2" in caught.value.detail


async def test_not_the_main_store(path, tmp_path):
    """A custody is not opened as the main store, nor the main store as a custody."""
    with trio.fail_after(TEST_SECONDS):
        await make_custody(path)
        await open_store_refused(path, StoreCorrupt)
        await create_sqlite(tmp_path / "noise.db", ORIGIN)
        await open_refused(tmp_path / "noise.db", StoreCorrupt)


async def test_locked(path):
    """A second opener is refused, in this process or another."""
    code = """
from noise.store.custody_sqlite import open_custody
try:
    trio.run(open_custody(path, origin).__aenter__)
except NoiseError as error:
    say(error.code)
"""
    with trio.fail_after(TEST_SECONDS):
        await make_custody(path)
        async with open_custody(path, ORIGIN) as custody:
            await open_refused(path, StoreLocked)
            other = start_child(code, path)
            assert (await trio.to_thread.run_sync(other.communicate))[0] == "store-locked\n"
            await custody.keep(make_rows(3), 0)


async def test_closed(path):
    """What was under way when it closed has ended; what comes later is refused."""
    with trio.fail_after(TEST_SECONDS):
        await make_custody(path)
        async with trio.open_nursery() as nursery, open_custody(path, ORIGIN) as custody:
            nursery.start_soon(custody.keep, make_rows(3), 0)
            nursery.start_soon(find_row, custody, make_row(1))
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
        with refused(StoreFailed):
            await find_row(custody, make_row(1))
        with refused(StoreFailed):
            await custody.keep(make_rows(4), 0)
        async with open_custody(path, ORIGIN) as custody:
            assert await kept(custody, [3]) == [(3, actor) for actor in ACTORS]


async def test_durability_is_in_force(path):
    """The connection syncs fully, into a write-ahead log, which does not grow for ever."""
    log = path.with_name("custody.db-wal")
    with trio.fail_after(TEST_SECONDS):
        await create_custody(path, ORIGIN)
        async with SqliteCustody(path, ORIGIN, b"") as custody:
            assert custody._connection.execute("PRAGMA journal_mode").fetchall() == [(b"wal",)]
            assert custody._connection.execute("PRAGMA synchronous").fetchall() == [(2,)]
            for epoch in range(24):
                await custody.keep([make_row(epoch, batch_bytes=CHECKPOINT_BYTES // 4)], 0)
            assert log.stat().st_size < 2 * CHECKPOINT_BYTES
            assert path.stat().st_size > 4 * CHECKPOINT_BYTES
        assert not log.exists()


async def test_pruned_rows_free_their_place(path):
    """A custody that drops as much as it keeps does not grow, and nothing of a dropped row is left in it."""
    with trio.fail_after(TEST_SECONDS):
        await create_custody(path, ORIGIN)
        sizes = []
        for epoch in range(12):
            async with open_custody(path, ORIGIN) as custody:
                await custody.keep([make_row(epoch, batch_bytes=50_000)], epoch - 2)
            sizes.append(path.stat().st_size)
        assert sizes[-1] == sizes[5]
        content = path.read_bytes()
        assert [make_row(epoch).statement.body in content for epoch in (8, 9, 10, 11)] == [False, True, True, True]


async def test_pruning_passes_last_rows(path):
    """Many actors that ended long ago, whose last rows stay, do not keep the rows after theirs from being dropped."""
    idle = [make_row(0, actor) for actor in range(1, 30)]
    with trio.fail_after(TEST_SECONDS):
        await create_custody(path, ORIGIN)
        async with open_custody(path, ORIGIN) as custody:
            await custody.keep(idle, 0)
            for epoch in range(1, 7):
                await custody.keep([make_row(epoch)], epoch)
            assert await kept(custody, range(1, 7)) == [(6, 0)]
            assert [await find_row(custody, row) for row in idle] == idle


@pytest.mark.parametrize(
    "damage",
    [
        "body = zeroblob(length(body))",
        "signature = x''",
        "batch = zeroblob(length(batch))",
        "checksum = zeroblob(8)",
        "body = CAST(body || x'00' AS BLOB)",
        "signature = body, body = signature",
        "batch = (SELECT batch FROM custody WHERE epoch = 0 AND actor = x'0100000001')",
        "(batch, checksum) = (SELECT batch, checksum FROM custody WHERE epoch = 0 AND actor = x'0100000001')",
        "(body, signature, batch, checksum) = (SELECT body, signature, batch, checksum FROM custody WHERE epoch = 1)",
    ],
)
async def test_damaged_row(path, damage):
    """A row that was changed, or took another's place, is StoreCorrupt; its neighbours are what they were."""
    with trio.fail_after(TEST_SECONDS):
        await make_custody(path)
        assert execute(path, f"UPDATE custody SET {damage} WHERE epoch = 0 AND actor = x'0100000000'") == 1
        async with open_custody(path, ORIGIN) as custody:
            with refused(StoreCorrupt):
                await find_row(custody, make_row(0))
            assert await kept(custody, [1, 2]) == [(epoch, actor) for epoch in (1, 2) for actor in ACTORS]
            await custody.keep(make_rows(3), 0)


async def test_damage_stops_keeping(path):
    """A damaged row that is to be kept again stops the store: nobody can say whether it held these bytes."""
    with trio.fail_after(TEST_SECONDS):
        await make_custody(path)
        execute(path, "UPDATE custody SET checksum = zeroblob(8) WHERE epoch = 1")
        async with open_custody(path, ORIGIN) as custody:
            for epoch in (1, 2):
                with refused(StoreFailed):
                    await custody.keep(make_rows(epoch), 0)


async def test_moved_row(path):
    """A row of another actor in an actor's place is StoreCorrupt."""
    with trio.fail_after(TEST_SECONDS):
        await make_custody(path)
        execute(path, "DELETE FROM custody WHERE epoch = 0 AND actor = x'0100000000'")
        execute(path, "UPDATE custody SET actor = x'0100000000' WHERE epoch = 0 AND actor = x'0100000001'")
        async with open_custody(path, ORIGIN) as custody:
            with refused(StoreCorrupt):
                await find_row(custody, make_row(0))
            assert await find_row(custody, make_row(0, 1)) is None


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM custody WHERE epoch = 2 AND actor = x'0100000001'",
        "UPDATE custody SET batch = x'00' WHERE epoch = 2 AND actor = x'0100000001'",
        "UPDATE custody SET epoch = 3 WHERE epoch = 2 AND actor = x'0100000001'",
        "DELETE FROM state WHERE key = CAST('lasts' AS BLOB)",
        "UPDATE state SET value = x'' WHERE key = CAST('lasts' AS BLOB)",
        "UPDATE state SET value = x'' WHERE key = CAST('owner' AS BLOB)",
        "UPDATE state SET checksum = zeroblob(8) WHERE key = CAST('owner' AS BLOB)",
        "DELETE FROM state WHERE key = CAST('format' AS BLOB)",
    ],
)
async def test_damaged_state(path, damage):
    """A custody that lost what an actor signed last, or whose it is, is refused when it is opened."""
    with trio.fail_after(TEST_SECONDS):
        await make_custody(path)
        if "owner" in damage and "value" in damage:
            await create_custody(path.with_name("own.db"), ORIGIN, actor_of(0))
            path = path.with_name("own.db")
        assert execute(path, damage) == 1
        await open_refused(path, StoreCorrupt)


async def test_truncated(path):
    """A file that lacks its end is refused when it is opened, wherever it was cut."""
    with trio.fail_after(TEST_SECONDS):
        await make_custody(path, batch_bytes=5000)
        content = path.read_bytes()
        for length in (1, 50, 100, 4096, 8192, 20000, len(content) - 8192, len(content) - 1):
            path.write_bytes(content[:length])
            await open_refused(path, StoreCorrupt)


async def test_bit_flips(path, search_factor):
    """One flipped bit: StoreCorrupt, None or the truth, never other bytes; and last_epoch is always the truth."""
    rng = random.Random(1)
    with trio.fail_after(TEST_SECONDS * search_factor):
        await make_custody(path, epochs=6, batch_bytes=2000)
        content = path.read_bytes()
        refusals = losses = 0
        for _ in range(250 * search_factor):
            place = rng.choice(
                [rng.randrange(len(content)), 8192 * rng.randrange(len(content) // 8192) + rng.randrange(99)]
            )
            flipped = bytearray(content)
            flipped[place] ^= 1 << rng.randrange(8)
            path.write_bytes(flipped)
            try:
                async with open_custody(path, ORIGIN) as custody:
                    assert [custody.last_epoch(actor_of(actor)) for actor in ACTORS] == [5] * 3
                    for epoch in range(6):
                        for actor in ACTORS:
                            row = make_row(epoch, actor, batch_bytes=2000)
                            try:
                                found = await find_row(custody, row)
                            except StoreCorrupt:
                                found = None
                            assert found in (None, row), place
                            losses += found is None
            except StoreCorrupt:
                refusals += 1
        assert refusals > 10
        assert losses > 20


KEEP_ON = """
from noise.store.custody_sqlite import open_custody
from tests.store.custody_worlds import make_rows, actor_of
async def main():
    async with open_custody(path, origin) as custody:
        say("open")
        while True:
            epoch = custody.last_epoch(actor_of(0)) + 1
            await custody.keep(make_rows(epoch), epoch - 5)
            say(epoch)
trio.run(main)
"""


def kept_until_killed(path, line_count):
    """The epochs that a child kept, until it is killed some time after so many."""
    with start_child(KEEP_ON, path) as keeper:
        lines = [keeper.stdout.readline() for _ in range(line_count)]
        keeper.send_signal(signal.SIGKILL)
        lines += keeper.stdout.readlines()
    return [int(line) for line in lines[1:]]


async def test_kill(path):
    """kill -9 at any moment: whatever was acknowledged is there, all actors alike, and the next process goes on."""
    rng = random.Random()
    with trio.fail_after(TEST_SECONDS):
        await create_custody(path, ORIGIN)
        for _ in range(3):
            acknowledged = await trio.to_thread.run_sync(kept_until_killed, path, rng.randrange(2, 60))
            async with open_custody(path, ORIGIN) as custody:
                last_epoch = custody.last_epoch(actor_of(0))
                assert last_epoch in (acknowledged[-1], acknowledged[-1] + 1)
                assert [custody.last_epoch(actor_of(actor)) for actor in ACTORS] == [last_epoch] * 3
                recent = range(max(0, last_epoch - 4), last_epoch + 1)
                assert await kept(custody, recent) == [(epoch, actor) for epoch in recent for actor in ACTORS]
