"""The contract of `noise.store.base.Store`: each test's docstring is the sentence that it shows, of every store.

The sentences on writing; those on reading are in test_contract_reads, and together they are all there are.
Knows nothing of any one store. What only a file can show is in test_sqlite.
"""

import pytest
import trio

from noise.store.base import (
    ID_STEP,
    NUMBER_MAX,
    CacheRow,
    RosterRow,
    SlotTaken,
    Store,
    StoreConflict,
    StoreFailed,
)
from tests.store import test_contract_prekeys, test_contract_reads
from tests.store.examples import (
    OPERATIONS,
    everything,
    fill,
    mailboxes,
    make_cache,
    make_epoch,
    make_history,
    make_manifest,
    make_statement,
    manifest_row,
    refused,
    write_one,
)

TEST_SECONDS = 20


def test_every_sentence_has_its_test():
    sentences = [line.strip()[2:] for line in Store.__doc__.splitlines() if line.startswith("    - ")]
    tests = (vars(test_contract_reads) | vars(test_contract_prekeys) | globals()).items()
    shown = [test.__doc__ for name, test in tests if name.startswith("test_") and callable(test) and test.__doc__]
    assert len(sentences) > 30
    assert sorted(shown) == sorted(sentences)


async def test_durable(world):
    """A write returns only when it is durable: whoever opens the store again finds it."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            await fill(store, 3)
            await store.add_roster(1, b"roster")
            before = await everything(store)
        async with world.open() as store:
            assert await everything(store) == before
            assert store.next_epoch == 3


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_all_or_nothing(world, operation, stored):
    """A write is all or nothing."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            await fill(store, 1)
            before = await everything(store)
            store.fail_next(operation, stored=stored)
            with refused(StoreFailed):
                await write_one(store, operation, epoch=1)
        async with world.open() as store:
            found = await everything(store)
            assert (found != before) == stored
            await write_one(store, operation, epoch=1)
            after = await everything(store)
            assert found == (after if stored else before)


async def test_same_bytes(world):
    """A write that is stored already, byte for byte, changes nothing and succeeds."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            await fill(store, 2)
            await store.add_roster(1, b"roster")
            await store.append_manifest(make_manifest(2))
            before = await everything(store)
            await store.commit_epoch(make_epoch(1))
            await store.append_manifest(make_manifest(0))
            await store.append_manifest(make_manifest(2))
            await store.add_roster(1, b"roster")
            assert await everything(store) == before


async def test_slot_taken(world):
    """Other bytes for a stored slot raise SlotTaken."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            await store.append_manifest(make_manifest(0))
            taken = make_statement(0, 0, salt=1)
            with refused(SlotTaken):
                await store.append_manifest(make_manifest(0, salt=1))
            with refused(SlotTaken):
                await store.append_manifest(make_manifest(0, lane=1)._replace(statement=taken))
            with refused(SlotTaken):
                await store.commit_epoch(make_epoch(0, statements=[make_statement(0, 5), taken]))
            with refused(SlotTaken):
                resigned = make_statement(0, 0)._replace(signature=bytes(64))
                await store.commit_epoch(make_epoch(0, statements=[resigned]))
            # The same bytes, another incarnation and another epoch are no conflict.
            await store.commit_epoch(make_epoch(0, statements=[make_statement(0, 0), make_statement(0, 0, 1, salt=1)]))
            assert await store.statements(0) == [make_statement(0, 0), make_statement(0, 0, 1, salt=1)]


async def test_roster_taken(world):
    """Other bytes for a stored roster version raise SlotTaken."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            await store.add_roster(3, b"roster")
            with refused(SlotTaken):
                await store.add_roster(3, b"another")
            assert await store.rosters() == [RosterRow(3, b"roster")]


async def test_committed_epoch_is_closed(world):
    """A new manifest for an epoch that is committed raises StoreConflict."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            await fill(store, 2)
            with refused(StoreConflict):
                await store.append_manifest(make_manifest(1, lane=7))
            await store.append_manifest(make_manifest(2, lane=7))


async def test_one_manifest_a_lane(world):
    """A second manifest for one epoch and lane raises StoreConflict, even in another slot."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            write = make_manifest(0)
            await store.append_manifest(write)
            later = make_manifest(0, first_number=100)
            other_bytes = write._replace(bundles=[*write.bundles[:2], write.bundles[2]._replace(body=b"x")])
            for second in (
                later._replace(statement=make_statement(0, 8)),
                later,  # the same slot and statement, over other bundles
                other_bytes,
                write._replace(next_id=write.first_id, bundles=[]),
            ):
                with refused(StoreConflict):
                    await store.append_manifest(second)
            assert await store.manifests(0) == [manifest_row(write)]


async def test_bundle_id_once(world):
    """A bundle id is stored once: another manifest that uses it raises StoreConflict."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            await store.append_manifest(make_manifest(0, count=3))
            with refused(StoreConflict):
                await store.append_manifest(make_manifest(1, first_number=2))
            assert await store.manifests(1) == []
            await store.append_manifest(make_manifest(1, first_number=3))
            await store.append_manifest(make_manifest(1, lane=1, first_number=2))


async def test_epochs_in_order(world):
    """Any epoch but next_epoch raises StoreConflict, except the last one with nothing in it that is not stored."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            with refused(StoreConflict):
                await store.commit_epoch(make_epoch(1))
            await fill(store, 4)
            last = make_epoch(3)
            await store.commit_epoch(last)
            for write in (
                make_epoch(2),
                make_epoch(5),
                last._replace(record=b"x"),
                last._replace(leaf_hash=bytes(32)),
                last._replace(block_hash=None),
                last._replace(block_hash=bytes(32)),
                last._replace(checkpoint=b"x"),
                last._replace(statements=[*last.statements, make_statement(3, 905)]),
                last._replace(history=make_history(3, mailboxes(5))),
                last._replace(history=[last.history[0]._replace(record=b"x"), *last.history[1:]]),
                last._replace(mailboxes=make_cache("mailboxes", 9, mailboxes(1))),
                last._replace(senders=make_cache("senders", 3, [bytes(32)])),
                last._replace(acks=make_cache("acks", 9, mailboxes(1))),
                last._replace(challenges=make_cache("challenges", 9, mailboxes(1))),
                last._replace(replay_epoch=3),
            ):
                with refused(StoreConflict):
                    await store.commit_epoch(write)
            assert store.next_epoch == 4


async def test_replay_epoch_rises(world):
    """A replay_epoch that falls, or passes the epoch it comes with by more than one, raises StoreConflict."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            with refused(StoreConflict):
                await store.commit_epoch(make_epoch(0, replay_epoch=2))
            await store.commit_epoch(make_epoch(0, replay_epoch=1))
            with refused(StoreConflict):
                await store.commit_epoch(make_epoch(1, replay_epoch=0))
            await store.commit_epoch(make_epoch(1, replay_epoch=1))
            assert (store.next_epoch, store.replay_epoch) == (2, 1)


def misshapen_manifests():
    write = make_manifest(1, lane=2, count=2)
    first, second = write.bundles
    yield make_manifest(1, lane=2, count=0)._replace(epoch=2)
    yield write._replace(lane=3)
    yield make_manifest(1, lane=ID_STEP, count=0)
    yield write._replace(lane=-1)
    yield write._replace(next_id=write.next_id + ID_STEP)
    yield write._replace(next_id=write.next_id + 1)
    yield write._replace(first_id=write.first_id + 1)
    yield write._replace(first_id=write.next_id, next_id=write.first_id)
    yield write._replace(bundles=[first])
    yield write._replace(bundles=[second, first])
    yield write._replace(bundles=[first, first])
    yield write._replace(statement=write.statement._replace(actor=b"four"))
    yield write._replace(statement=write.statement._replace(incarnation=2**32))
    yield write._replace(statement=write.statement._replace(incarnation=-1))
    for change in (
        {"bundle_id": second.bundle_id + ID_STEP},
        {"epoch": 0},
        {"first_pos": first.first_pos},
        {"first_pos": 2**48},
        {"sender": b"short"},
        {"first_ctr": -1},
        {"first_ctr": 2**64},
        {"n_messages": -1},
        {"n_messages": 2**32},
        {"prev_id": -2},
    ):
        yield write._replace(bundles=[first, second._replace(**change)])


def misshapen_epochs():
    write = make_epoch(1)
    first, second, *rest = write.history
    yield write._replace(leaf_hash=b"short")
    yield write._replace(block_hash=b"short")
    yield write._replace(replay_epoch=-1)
    yield write._replace(statements=[*write.statements, write.statements[0]])
    yield write._replace(statements=[write.statements[0]._replace(actor=b"sixsix")])
    yield write._replace(history=[second, first, *rest])
    yield write._replace(history=[first, first])
    yield write._replace(history=[first._replace(mailbox=b"short")])
    yield write._replace(history=[first._replace(epoch=0)])
    yield write._replace(history=[first._replace(prev_epoch=1)])
    yield write._replace(history=[first._replace(prev_epoch=-2)])
    for cache in ("mailboxes", "senders", "acks", "challenges"):
        yield write._replace(**{cache: [CacheRow(b"short", b"")]})


async def test_misshapen(world):
    """A write that breaks its own shape raises StoreConflict."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            await fill(store, 1)
            before = await everything(store)
            for write in misshapen_manifests():
                with refused(StoreConflict):
                    await store.append_manifest(write)
            for write in misshapen_epochs():
                with refused(StoreConflict):
                    await store.commit_epoch(write)
            assert await everything(store) == before


async def test_counters(world):
    """Counters take all of u64."""
    counters = [0, 1, 2**63 - 1, 2**63, 2**64 - 1]
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            write = make_manifest(0, count=len(counters))
            pairs = zip(write.bundles, counters, strict=True)
            write = write._replace(bundles=[bundle._replace(first_ctr=counter) for bundle, counter in pairs])
            await store.append_manifest(write)
            assert [bundle.first_ctr for bundle in await store.bundles_of(0, 0)] == counters
            await store.append_manifest(write)


async def test_numbers_end(world):
    """Epochs, ids and versions end at NUMBER_MAX: beyond it they raise StoreConflict."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            for number in (NUMBER_MAX + 1, 2**63, 2**64 - 1, 2**64, -1):
                with refused(StoreConflict):
                    await store.add_roster(number, b"roster")
                with refused(StoreConflict):
                    await store.append_manifest(make_manifest(number, count=0, first_number=0))
                with refused(StoreConflict):
                    await store.commit_epoch(make_epoch(0, statements=[make_statement(number, 0)]))
                with refused(StoreConflict):
                    await store.append_manifest(make_manifest(0, count=1, first_number=number >> 10))
            write = make_manifest(NUMBER_MAX, lane=3, count=1, first_number=(NUMBER_MAX >> 10) - 1)
            await store.add_roster(NUMBER_MAX, b"roster")
            await store.append_manifest(write)
            assert await store.rosters() == [RosterRow(NUMBER_MAX, b"roster")]
            assert await store.bundles_of(NUMBER_MAX, 3) == write.bundles
            assert await store.bundles_since(NUMBER_MAX) == write.bundles


async def test_refused_stores_nothing(world):
    """A refused write stores nothing."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            await fill(store, 1)
            await store.append_manifest(make_manifest(1, lane=1))
            before = await everything(store)
            with refused(SlotTaken):  # its first statement is new, its second one is not
                taken = make_statement(1, 1, salt=1)
                await store.commit_epoch(make_epoch(1, statements=[make_statement(1, 0), taken]))
            with refused(StoreConflict):  # its statement is new, its last bundle id is not
                await store.append_manifest(make_manifest(1, lane=0, first_number=2)._replace(epoch=1))
            with refused(StoreConflict):
                await store.commit_epoch(make_epoch(2))
            assert await everything(store) == before
        async with world.open() as store:
            assert await everything(store) == before


async def test_refused_neighbours(world):
    """A refused write does no harm to the writes that wait beside it."""
    refusals = []

    async def expect(kind, write_operation, write):
        with refused(kind):
            await write_operation(write)
        refusals.append(kind)

    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            await store.append_manifest(make_manifest(0))
            async with trio.open_nursery() as nursery:
                for lane in range(1, 9):
                    nursery.start_soon(store.append_manifest, make_manifest(0, lane))
                    nursery.start_soon(expect, SlotTaken, store.append_manifest, make_manifest(0, salt=lane))
                    nursery.start_soon(expect, StoreConflict, store.commit_epoch, make_epoch(5))
                nursery.start_soon(store.add_roster, 1, b"roster")
            assert len(refusals) == 16
            assert await store.manifests(0) == [manifest_row(make_manifest(0, lane)) for lane in range(9)]
            assert len(await store.bundles_since(0)) == 27
            assert await store.rosters() == [RosterRow(1, b"roster")]


async def test_cancelled(world):
    """A cancelled write was never begun, or runs to its end once."""
    finished = []

    async def write(store, epoch, task_status):
        with trio.CancelScope() as scope:
            task_status.started(scope)
            await store.append_manifest(make_manifest(epoch))
            finished.append(epoch)

    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            with trio.CancelScope() as scope:
                scope.cancel()
                await store.append_manifest(make_manifest(0))
            assert scope.cancelled_caught
            assert await store.pending_manifests() == []
            async with trio.open_nursery() as nursery:
                for epoch in range(1, 5):
                    scope = await nursery.start(write, store, epoch)
                    for _ in range(epoch):
                        await trio.lowlevel.checkpoint()
                    scope.cancel()
            assert [row.epoch for row in await store.pending_manifests()] == finished
            await store.append_manifest(make_manifest(0))
            assert len(await store.bundles_since(0)) == 3 * (len(finished) + 1)


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_failed_for_good(world, operation, stored):
    """After StoreFailed every write raises StoreFailed, until the store is opened again."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            store.fail_next(operation, stored=stored)
            for _ in range(2):
                for each in (operation, *OPERATIONS):
                    with refused(StoreFailed):
                        await write_one(store, each)
            assert store.next_epoch in {0, 1}
        async with world.open() as store:
            for each in OPERATIONS:
                await write_one(store, each, epoch=store.next_epoch)


async def test_cache_replaces(world):
    """A cache row replaces the value of its key, and the last of several in one write wins."""
    one, two, three = mailboxes(3)
    with trio.fail_after(TEST_SECONDS):
        reads = {"mailboxes": "mailbox_cache", "senders": "sender_cache", "acks": "acks", "challenges": "challenges"}
        for cache, read in reads.items():
            async with world.open() as store:
                rows = [CacheRow(one, b"1"), CacheRow(three, b""), CacheRow(one, b"2")]
                await store.commit_epoch(make_epoch(store.next_epoch, 0, **{cache: rows}))
                assert await getattr(store, read)() == [CacheRow(one, b"2"), CacheRow(three, b"")]
                rows = [CacheRow(three, b"3"), CacheRow(two, b"4")]
                await store.commit_epoch(make_epoch(store.next_epoch, 0, **{cache: rows}))
                assert await getattr(store, read)() == [CacheRow(one, b"2"), CacheRow(two, b"4"), CacheRow(three, b"3")]
