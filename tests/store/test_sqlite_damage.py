"""Damage to the file: rows that are lost or changed, a file that was cut, and single bits, anywhere.

Knows nothing of how damage comes about.
"""

import random
import sqlite3
from array import array

import pytest
import trio

from noise.store.base import (
    ID_STEP,
    HistoryRow,
    StoreCorrupt,
)
from noise.store.sqlite import create_sqlite, open_sqlite
from noise.store.sqlite_tables import WALK_ROWS_MAX
from tests.store.conftest import ORIGIN
from tests.store.examples import NOW_MS, blob, device, mailboxes, make_cache, make_epoch, refused
from tests.store.files import make_store, open_refused

TEST_SECONDS = 30
CHECKED = ("mailboxes", "senders", "acks", "challenges")


async def test_truncated(path):
    """A file that lacks its end is refused when it is opened, wherever it was cut."""
    with trio.fail_after(TEST_SECONDS):
        await make_store(path)
        content = path.read_bytes()
        for length in (1, 50, 100, 4096, 8192, 20000, len(content) - 8192, len(content) - 1):
            path.write_bytes(content[:length])
            await open_refused(path, StoreCorrupt)


async def test_long_walk(path):
    """A walk through many epochs goes in stretches; a chain that turns back on itself is damage."""
    alice, bob, carol = mailboxes(3)
    length = 2 * WALK_ROWS_MAX + 5
    with trio.fail_after(TEST_SECONDS):
        await create_sqlite(path, ORIGIN)
        connection = sqlite3.connect(path, isolation_level=None)
        sql = "INSERT INTO history (mailbox, epoch, prev_epoch, record, picks) VALUES (?, ?, ?, ?, ?)"
        connection.execute("BEGIN")
        connection.executemany(sql, (HistoryRow(alice, 2 * n, 2 * n - 2 if n else -1, b"", b"") for n in range(length)))
        connection.executemany(sql, (HistoryRow(bob, n, 3 if n == 2 else n - 1, b"", b"") for n in range(5)))
        connection.execute(sql, (carol, 7, 7, b"", b""))
        connection.execute("COMMIT")
        connection.close()
        async with open_sqlite(path, ORIGIN) as store:
            last_epoch = 2 * length - 2
            assert await store.history_epochs(alice, last_epoch, -1) == array("Q", range(0, 2 * length, 2))
            assert await store.history_epochs(alice, last_epoch, 9) == array("Q", range(10, 2 * length, 2))
            for box, last_epoch in ((bob, 4), (carol, 7)):
                with refused(StoreCorrupt):
                    await store.history_epochs(box, last_epoch, -1)


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM caches WHERE kind = 0 AND key = (SELECT min(key) FROM caches WHERE kind = 0)",
        "UPDATE caches SET value = zeroblob(length(value)) WHERE kind = 0",
        "UPDATE caches SET checksum = zeroblob(8) WHERE kind = 0",
        "UPDATE caches SET key = zeroblob(32) WHERE kind = 0 AND key = (SELECT min(key) FROM caches WHERE kind = 0)",
        "INSERT INTO caches SELECT 0, key, value, checksum FROM caches WHERE kind = 1",
        "UPDATE caches SET kind = 0 WHERE kind = 1",
    ],
)
async def test_damaged_cache(path, damage):
    """A row of a cache that is changed, lost or of another cache is noticed at the latest with the last page."""
    with trio.fail_after(TEST_SECONDS):
        await create_sqlite(path, ORIGIN)
        async with open_sqlite(path, ORIGIN) as store:
            await store.commit_epoch(make_epoch(0, senders=make_cache("senders", 0, [blob("sender")])))
        connection = sqlite3.connect(path)
        assert connection.execute(damage).rowcount > 0
        connection.commit()
        connection.close()
        async with open_sqlite(path, ORIGIN) as store:
            with refused(StoreCorrupt):
                page = await store.mailbox_cache(limit=2)
                while page:
                    page = await store.mailbox_cache(page[-1].key, 2)


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM epochs WHERE epoch = 1",
        "INSERT INTO epochs SELECT 2, record, leaf_hash, checkpoint FROM epochs WHERE epoch = 1",
        "UPDATE state SET value = zeroblob(48) WHERE key = CAST('heads' AS BLOB)",
        "DELETE FROM state WHERE key = CAST('origin' AS BLOB)",
        "UPDATE state SET value = CAST('x' AS BLOB) WHERE key = CAST('format' AS BLOB)",
        "UPDATE state SET value = zeroblob(8) WHERE key = CAST('prekey devices' AS BLOB)",
        "DELETE FROM state WHERE key = CAST('prekey devices' AS BLOB)",
        "DELETE FROM prekey_devices",
    ],
)
async def test_damaged_state(path, damage):
    """Damage to the store's own state, or epochs that end elsewhere, are noticed when it is opened."""
    with trio.fail_after(TEST_SECONDS):
        await make_store(path)
        connection = sqlite3.connect(path)
        assert connection.execute(damage).rowcount == 1
        connection.commit()
        connection.close()
        await open_refused(path, StoreCorrupt)


@pytest.mark.parametrize(
    "damage",
    [
        "last_id = zeroblob(8)",
        "last_id = CAST(last_id || x'00' AS BLOB)",
        "until_ms = until_ms + 1",
        "until_ms = -until_ms",
        "fallback_not_after_ms = fallback_not_after_ms + 1",
        "fallback = zeroblob(length(fallback))",
        "checksum = zeroblob(8)",
        "device = zeroblob(32)",
    ],
)
async def test_damaged_prekeys(path, damage):
    """What a store knows of a device's prekeys is the truth or StoreCorrupt: else used ones could come back."""
    with trio.fail_after(TEST_SECONDS):
        await make_store(path)
        connection = sqlite3.connect(path)
        assert connection.execute(f"UPDATE prekey_devices SET {damage}").rowcount == 1
        connection.commit()
        connection.close()
        owner = bytes(32) if damage.startswith("device") else device(0)
        async with open_sqlite(path, ORIGIN) as store:
            with refused(StoreCorrupt):
                await store.count_prekeys(owner, NOW_MS)
            with refused(StoreCorrupt):
                await store.take_prekey(owner, NOW_MS)


async def test_missing_rows(path):
    """A row that must be there, and is not, is damage."""
    with trio.fail_after(TEST_SECONDS):
        await make_store(path, epochs=3)
        connection = sqlite3.connect(path)
        connection.execute("DELETE FROM epochs WHERE epoch = 1")
        connection.execute("DELETE FROM statements WHERE epoch = 2")
        connection.execute("DELETE FROM bundles WHERE bundle_id = ?", (ID_STEP,))
        connection.commit()
        connection.close()
        async with open_sqlite(path, ORIGIN) as store:
            for read in (
                lambda: store.epoch_row(1),
                lambda: store.leaf_hashes(0, 3),
                lambda: store.manifests(2),
                lambda: store.bundles_of(0, 0),
                lambda: store.bundles_since(0),
            ):
                with refused(StoreCorrupt):
                    await read()
            assert await store.leaf_hashes(2, 3) == [make_epoch(2).leaf_hash]


async def test_crossed_cells(path):
    """A page whose pointer to one row leads to another, which is sound: the row is doubled, its neighbour is lost."""
    with trio.fail_after(TEST_SECONDS):
        await make_store(path)
        content = path.read_bytes()
        async with open_sqlite(path, ORIGIN) as store:
            truth = await read_all(store)
        doubled = 0
        for start in range(8192, len(content), 8192):
            page = content[start : start + 8192]
            is_leaf_of_index, cell_count = page[0] == 10, int.from_bytes(page[3:5], "big")
            for cell in range(1, cell_count if is_leaf_of_index else 0):
                pointer = start + 8 + 2 * cell
                path.write_bytes(content[:pointer] + content[pointer - 2 : pointer] + content[pointer + 2 :])
                try:
                    async with open_sqlite(path, ORIGIN) as store:
                        found = await read_all(store)
                except StoreCorrupt:
                    continue
                for name in CHECKED:
                    assert found[name] in (None, truth[name])
                    doubled += found[name] is None
        assert doubled >= 6


async def test_unreadable_message(path):
    """Damage to the schema, which SQLite quotes in its message, in bytes that are no text."""
    with trio.fail_after(TEST_SECONDS):
        await make_store(path)
        content = path.read_bytes()
        damaged = content.replace(b"tablerostersrosters", b"table\xffostersrosters").replace(
            b"CREATE TABLE rosters", b"CREATX TABLE rosters"
        )
        assert len(damaged) == len(content)
        path.write_bytes(damaged)
        await open_refused(path, StoreCorrupt)


async def read_all(store):
    """Everything by every read, as far as it can be read. Raises whatever is not StoreCorrupt."""
    box = mailboxes(1)[0]
    found = {}
    for name, read in {
        "mailboxes": store.mailbox_cache,
        "senders": store.sender_cache,
        "acks": store.acks,
        "challenges": store.challenges,
        "rosters": store.rosters,
        "blocks": store.block_hashes,
        "pending": store.pending_manifests,
        "bundles": lambda: store.bundles_since(0),
        "some bundles": lambda: store.bundles_by_id(range(0, 20 * ID_STEP, ID_STEP)),
        "range": lambda: store.bundles(0, 5 * ID_STEP),
        "history": lambda: store.history_since(0),
        "walk": lambda: store.history_epochs(box, 5, -1),
        "some history": lambda: store.history_rows(box, [5, 0]),
        "leaves": lambda: store.leaf_hashes(0, 6),
        "epoch": lambda: store.epoch_row(3),
        "statements": lambda: store.statements(3),
        "manifests": lambda: store.manifests(3),
        "bundles of": lambda: store.bundles_of(3, 1),
        "prekeys": lambda: store.count_prekeys(device(0), NOW_MS),
    }.items():
        try:
            found[name] = await read()
        except StoreCorrupt:
            found[name] = None
    return found


def places_to_flip(content, count):
    """Bits: of the file's header, of every page's header and cell pointers, and anywhere."""
    rng = random.Random(1)
    for byte in range(100):
        yield byte * 8 + rng.randrange(8)
    for page in range(0, len(content), 8192):
        start = page + 100 if page == 0 else page
        for byte in (0, 3, 4, 5, 6, 8, 9, 10, 12, 13):
            yield (start + byte) * 8 + rng.randrange(8)
    for _ in range(count):
        yield rng.randrange(len(content) * 8)


async def test_bit_flips(path, search_factor):
    """One flipped bit: StoreCorrupt or the truth from what carries a checksum, and no other error from anything."""
    with trio.fail_after(TEST_SECONDS * search_factor):
        await make_store(path, epochs=6)
        content = path.read_bytes()
        async with open_sqlite(path, ORIGIN) as store:
            truth = await read_all(store)
            heads = (store.next_epoch, store.replay_epoch)
        assert all(truth.values())
        refusals, losses = 0, 0
        for place in places_to_flip(content, 250 * search_factor):
            flipped = bytearray(content)
            flipped[place // 8] ^= 1 << place % 8
            path.write_bytes(flipped)
            try:
                async with open_sqlite(path, ORIGIN) as store:
                    found = await read_all(store)
                    assert (store.next_epoch, store.replay_epoch) == heads
            except StoreCorrupt:
                refusals += 1
                continue
            losses += None in found.values()
            for name in CHECKED:
                assert found[name] in (None, truth[name]), place
        assert refusals > 50
        assert losses > 20
