"""Every kind of write fails twice, "failed, not stored" and "failed, yet stored": what is found then, and redoing it.

Knows nothing of how a store fails: the worlds of conftest do that.
"""

import itertools

import pytest
import trio

from noise.store.base import EpochWrite, ManifestWrite, PrekeyWrite, RosterRow, StoreFailed
from noise.store.memory import MemoryStore
from tests.store.conftest import operation_of
from tests.store.examples import (
    OPERATIONS,
    blob,
    everything,
    fill,
    make_epoch,
    make_manifest,
    make_upload,
    manifest_row,
    refused,
    write_one,
)

TEST_SECONDS = 20


def script():
    """Writes of every kind, each on top of those before it."""
    for epoch in range(3):
        yield RosterRow(epoch, blob("roster", epoch))
        for lane in (0, 1):
            yield make_manifest(epoch, lane)
        yield make_epoch(epoch, replay_epoch=epoch)
        yield make_upload([4 * epoch + 1, 4 * epoch + 2], 4 * epoch + 3)
        yield make_upload([1], owner=epoch + 1)
    yield make_manifest(3, count=0, first_number=9)


async def write_to(store, content):
    match content:
        case ManifestWrite():
            await store.append_manifest(content)
        case EpochWrite():
            await store.commit_epoch(content)
        case RosterRow():
            await store.add_roster(*content)
        case PrekeyWrite():
            await store.add_prekeys(content)


@pytest.mark.parametrize("outcomes", list(itertools.product([False, True], repeat=2)))
async def test_every_write_fails(world, outcomes):
    """Each write fails once for each of the outcomes, in turn, before it succeeds; nothing is ever in between."""
    undisturbed = MemoryStore()
    with trio.fail_after(TEST_SECONDS):
        for content in script():
            before = await everything(undisturbed)
            await write_to(undisturbed, content)
            after = await everything(undisturbed)
            assert before != after
            expected = before
            for stored in outcomes:
                async with world.open() as store:
                    assert await everything(store) == expected
                    store.fail_next(operation_of(content), stored=stored)
                    with refused(StoreFailed):
                        await write_to(store, content)
                expected = after if stored else expected
            async with world.open() as store:
                assert await everything(store) == expected
                await write_to(store, content)
                assert await everything(store) == after
                await write_to(store, content)
                assert await everything(store) == after


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_neighbours_fail_too(world, operation, stored):
    """Writes that wait beside the one that fails may share its failure; each is stored or not, and can be redone."""
    failed, succeeded = [], []

    async def attempt(store, lane):
        try:
            await store.append_manifest(make_manifest(1, lane))
            succeeded.append(lane)
        except StoreFailed:
            failed.append(lane)

    async def fail(store):
        with refused(StoreFailed):
            await write_one(store, operation, epoch=1)

    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            await fill(store, 1)
            store.fail_next(operation, stored=stored)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail, store)
                for lane in range(2, 8):
                    nursery.start_soon(attempt, store, lane)
        assert sorted(failed + succeeded) == list(range(2, 8))
        async with world.open() as store:
            found = {row.lane: row for row in await store.manifests(1)}
            assert set(succeeded) <= set(found)
            for lane, row in found.items():
                write = make_manifest(1, lane)
                assert row == manifest_row(write)
                assert await store.bundles_of(1, lane) == write.bundles
            for lane in set(failed) & set(found):
                await store.append_manifest(make_manifest(1, lane))
            if store.next_epoch == 1:
                await write_one(store, operation, epoch=1)


async def test_reads_go_on_after_failure(world):
    """What was committed before the failure can still be read, and the heads have not moved."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            await fill(store, 2)
            before = await everything(store)
            store.fail_next("commit_epoch", stored=False)
            with refused(StoreFailed):
                await store.commit_epoch(make_epoch(2))
            assert await everything(store) == before
