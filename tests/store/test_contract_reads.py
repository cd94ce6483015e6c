"""The contract of `noise.store.base.Store`, continued: the sentences on reading. See test_contract.

Knows nothing of any one store.
"""

import random
from array import array

import trio

from noise.store.base import (
    ID_STEP,
    NUMBER_MAX,
    EpochRow,
    RosterRow,
    StoreCorrupt,
)
from tests.store.examples import (
    blob,
    fill,
    mailboxes,
    make_bundle,
    make_epoch,
    make_history,
    make_manifest,
    make_statement,
    manifest_row,
    refused,
)

TEST_SECONDS = 20


async def test_read_your_writes(world):
    """A read sees every write that returned before it began."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store, trio.open_nursery() as nursery:

            async def write_then_read(lane):
                for epoch in range(3):
                    write = make_manifest(epoch, lane)
                    await store.append_manifest(write)
                    assert await store.bundles_of(epoch, lane) == write.bundles

            for lane in range(6):
                nursery.start_soon(write_then_read, lane)


async def test_new_store(world):
    """A new store has next_epoch 0 and replay_epoch 0; a committed epoch sets both."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            assert (store.next_epoch, store.replay_epoch) == (0, 0)
            await store.commit_epoch(make_epoch(0, replay_epoch=0))
            assert (store.next_epoch, store.replay_epoch) == (1, 0)
            await store.commit_epoch(make_epoch(1, replay_epoch=2))
            assert (store.next_epoch, store.replay_epoch) == (2, 2)
        async with world.open() as store:
            assert (store.next_epoch, store.replay_epoch) == (2, 2)


async def test_epoch_row(world):
    """epoch_row is None at next_epoch and beyond."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            assert await store.epoch_row(0) is None
            await fill(store, 2)
            write = make_epoch(1)
            assert await store.epoch_row(1) == EpochRow(1, write.record, write.leaf_hash, write.checkpoint)
            assert await store.epoch_row(2) is None


async def test_leaf_hashes(world):
    """leaf_hashes are those of the range, as far as it is committed."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            await fill(store, 6, lanes=0)
            leaves = [make_epoch(epoch).leaf_hash for epoch in range(6)]
            assert await store.leaf_hashes(0, 6) == leaves
            assert await store.leaf_hashes(2, 4) == leaves[2:4]
            assert await store.leaf_hashes(4, 100) == leaves[4:]
            assert await store.leaf_hashes(3, 3) == await store.leaf_hashes(5, 2) == await store.leaf_hashes(6, 9) == []


async def test_block_hashes(world):
    """block_hashes are those that were given, in order."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            assert await store.block_hashes() == []
            await fill(store, 9, lanes=0)
            assert await store.block_hashes() == [make_epoch(3).block_hash, make_epoch(7).block_hash]


async def test_statements(world):
    """statements of an epoch come by actor, then incarnation."""
    rows = [make_statement(0, actor, incarnation) for actor in (1, 2, 300) for incarnation in (0, 1, 2)]
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            await store.append_manifest(make_manifest(0, lane=0))
            await store.commit_epoch(make_epoch(0, statements=random.Random(1).sample(rows, len(rows))))
            assert await store.statements(0) == [make_statement(0, 0), *rows]


async def test_manifests(world):
    """manifests of an epoch come by lane."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            for lane in (5, 1023, 0, 3):
                await store.append_manifest(make_manifest(0, lane))
                await store.append_manifest(make_manifest(1, lane))
            assert await store.manifests(0) == [manifest_row(make_manifest(0, lane)) for lane in (0, 3, 5, 1023)]


async def test_pending_manifests(world):
    """pending_manifests are those of next_epoch and beyond, by epoch, then lane."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            await fill(store, 2, lanes=3)
            pending = [make_manifest(epoch, lane) for epoch in (2, 3) for lane in (0, 1)]
            for write in reversed(pending):
                await store.append_manifest(write)
            assert await store.pending_manifests() == [manifest_row(write) for write in pending]
        async with world.open() as store:
            assert await store.pending_manifests() == [manifest_row(write) for write in pending]
            await store.commit_epoch(make_epoch(2))
            assert await store.pending_manifests() == [manifest_row(write) for write in pending[2:]]


async def test_bundles(world):
    """bundles of a range come in position order, and a hole raises StoreCorrupt."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            for lane in (0, 1, 2):
                await store.append_manifest(make_manifest(0, lane, count=5))
                await store.append_manifest(make_manifest(1, lane, count=5))
            write = make_manifest(1, 1, count=5)
            assert await store.bundles(write.first_id, write.next_id) == write.bundles
            assert await store.bundles(write.first_id + ID_STEP, write.next_id - ID_STEP) == write.bundles[1:4]
            assert await store.bundles(write.first_id, write.first_id) == []
            assert len(await store.bundles(1, write.next_id)) == 10
            for first_id, next_id in ((1, write.next_id + ID_STEP), (3, 3 + ID_STEP), (1, NUMBER_MAX), (2**70, 2**71)):
                with refused(StoreCorrupt):
                    await store.bundles(first_id, next_id)


async def test_bundles_of(world):
    """bundles_of are those of one manifest, and none if there is no manifest."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            writes = [make_manifest(epoch, lane) for epoch in range(2) for lane in range(3)]
            for write in writes:
                await store.append_manifest(write)
            empty = make_manifest(2, count=0, first_number=6)
            await store.append_manifest(empty)
            for write in (*writes, empty):
                assert await store.bundles_of(write.epoch, write.lane) == write.bundles
            assert await store.bundles_of(0, 3) == await store.bundles_of(3, 0) == []


async def test_bundles_by_id(world):
    """bundles_by_id leaves out what is not stored."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            for lane in (0, 7):
                await store.append_manifest(make_manifest(0, lane))
            ids = [2 * ID_STEP, 7, 99 * ID_STEP, 3, ID_STEP | 7, 2 * ID_STEP]
            expected = {2 * ID_STEP: make_bundle(0, 0, 2), 7: make_bundle(0, 7, 0), ID_STEP | 7: make_bundle(0, 7, 1)}
            assert await store.bundles_by_id(ids) == expected
            assert await store.bundles_by_id([]) == {}


async def test_bundles_since(world):
    """bundles_since pages by epoch, lane and id, bundles of pending manifests included."""
    writes = {}
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            for epoch in range(4):
                for lane, count in ((0, 3), (1, 0), (4, 2)):
                    writes[epoch, lane] = make_manifest(epoch, lane, count)
                    await store.append_manifest(writes[epoch, lane])
                if epoch < 2:
                    await store.commit_epoch(make_epoch(epoch))
            for since in range(5):
                expected = [row for (epoch, _), write in writes.items() if epoch >= since for row in write.bundles]
                assert await store.bundles_since(since) == expected
                for limit in (1, 2, 3, 7, 100):
                    found, page = [], await store.bundles_since(since, limit=limit)
                    while page:
                        assert len(page) <= limit
                        found += page
                        page = await store.bundles_since(since, (page[-1].epoch, page[-1].bundle_id), limit)
                    assert found == expected
            late = [*writes[3, 0].bundles, *writes[3, 4].bundles]
            assert await store.bundles_since(3, (1, writes[1, 4].bundles[0].bundle_id)) == late


async def test_history_epochs(world):
    """history_epochs walks from last_epoch back to after_epoch, excluded, and returns ascending epochs."""
    alice, bob = mailboxes(2)
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            previous = {alice: -1, bob: -1}
            for epoch in range(8):
                boxes = [alice, bob] if epoch in {2, 3, 7} else [bob]
                rows = [row for box in boxes for row in make_history(epoch, [box], previous[box])]
                await store.commit_epoch(make_epoch(epoch, history=rows))
                previous.update(dict.fromkeys(boxes, epoch))
            assert await store.history_epochs(alice, 7, -1) == array("Q", [2, 3, 7])
            assert await store.history_epochs(alice, 7, 2) == array("Q", [3, 7])
            assert await store.history_epochs(alice, 7, 5) == array("Q", [7])
            assert await store.history_epochs(alice, 3, -1) == array("Q", [2, 3])
            assert await store.history_epochs(alice, 7, 7) == array("Q")
            assert await store.history_epochs(alice, -1, -1) == array("Q")
            assert await store.history_epochs(bob, 7, -1) == array("Q", range(8))


async def test_history_hole(world):
    """A hole in a mailbox's chain raises StoreCorrupt."""
    alice, bob = mailboxes(2)
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            for epoch, rows in enumerate(
                (make_history(0, [bob], -1), make_history(1, [alice], 0), make_history(2, [alice], 1))
            ):
                await store.commit_epoch(make_epoch(epoch, history=rows))
            assert await store.history_epochs(alice, 2, 0) == array("Q", [1, 2])
            with refused(StoreCorrupt):
                await store.history_epochs(alice, 2, -1)
            with refused(StoreCorrupt):
                await store.history_epochs(bob, 1, -1)


async def test_history_rows(world):
    """history_rows come in the order asked for, and a missing one raises StoreCorrupt."""
    box, other = mailboxes(2)
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            for epoch in range(5):
                await store.commit_epoch(make_epoch(epoch, history=make_history(epoch, [box, other])))
            expected = [make_history(epoch, [box])[0] for epoch in (4, 0, 3)]
            assert await store.history_rows(box, [4, 0, 3]) == expected
            assert await store.history_rows(box, array("Q", [4, 0, 3])) == expected
            assert await store.history_rows(box, []) == []
            with refused(StoreCorrupt):
                await store.history_rows(box, [4, 5])
            with refused(StoreCorrupt):
                await store.history_rows(bytes(32), [4])


async def test_history_since(world):
    """history_since pages by epoch, then mailbox."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            written = []
            for epoch in range(5):
                rows = make_history(epoch, mailboxes(6)[epoch:])
                written += rows
                await store.commit_epoch(make_epoch(epoch, history=rows))
            for since in (0, 3, 5):
                expected = [row for row in written if row.epoch >= since]
                for limit in (1, 4, 100):
                    found, page = [], await store.history_since(since, limit=limit)
                    while page:
                        assert len(page) <= limit
                        found += page
                        page = await store.history_since(since, (page[-1].epoch, page[-1].mailbox), limit)
                    assert found == expected
            assert await store.history_since(3, (1, mailboxes(6)[5])) == [row for row in written if row.epoch >= 3]


async def test_cache_pages(world):
    """Caches page by key, and a page shorter than its limit is the last one."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            write = make_epoch(0, box_count=7)
            await store.commit_epoch(write)
            reads = (
                (store.mailbox_cache, write.mailboxes),
                (store.sender_cache, write.senders),
                (store.acks, write.acks),
                (store.challenges, write.challenges),
            )
            for read, rows in reads:
                assert await read() == rows
                for limit in (1, 2, 3, 7, 8):
                    found, page = [], await read(limit=limit)
                    while len(page) == limit:
                        found += page
                        page = await read(page[-1].key, limit)
                    assert found + page == rows


async def test_rosters(world):
    """rosters come by version."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            for version in (3, 1, 2, 0):
                await store.add_roster(version, blob("roster", version, size=5000))
            assert await store.rosters() == [RosterRow(v, blob("roster", v, size=5000)) for v in range(4)]


async def test_beyond_all_numbers(world):
    """A number or key that no row has is not an error but an empty answer."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            await fill(store, 2)
            key = blob("nobody")
            for number in (7, NUMBER_MAX, 2**63 - 1, 2**63, 2**64 - 1):
                assert await store.epoch_row(number) is None
                assert await store.leaf_hashes(number, number + 1) == []
                assert await store.statements(number) == await store.manifests(number) == []
                assert await store.bundles_of(number, 0) == await store.bundles_of(0, number) == []
                assert await store.bundles_by_id([number, number << 10]) == {}
                assert await store.bundles_since(number) == await store.bundles_since(0, (number, 0)) == []
                assert await store.history_since(number) == await store.history_since(0, (number, key)) == []
                assert await store.history_epochs(key, -1, number) == array("Q")
                assert await store.history_epochs(key, 5, number) == array("Q")
            for read in (store.mailbox_cache, store.sender_cache, store.acks, store.challenges):
                assert await read(bytes([255]) * 32) == []
