"""The contract of `noise.store.custody`, sentence by sentence, for every store of custody.

Knows nothing of any one of them. Each test's docstring is the sentence that it shows.
"""

import itertools

import pytest
import trio

from noise.store.base import NUMBER_MAX, SlotTaken, StoreConflict, StoreFailed
from noise.store.custody import PRUNES_PER_ROW
from tests.store.custody_worlds import (
    ACTORS,
    ApartWorld,
    MemoryCustodyWorld,
    SqliteCustodyWorld,
    actor_of,
    find_row,
    kept,
    make_row,
    make_rows,
)
from tests.store.examples import refused

TEST_SECONDS = 20
NEVER = 0


@pytest.fixture(params=["memory", "sqlite", "apart"])
def world(request, tmp_path):
    match request.param:
        case "memory":
            return MemoryCustodyWorld()
        case "sqlite":
            return SqliteCustodyWorld(tmp_path / "custody.db")
        case _:
            return ApartWorld(tmp_path)


async def test_durable(world):
    """keep returns only when its rows are durable: whoever opens the store again finds them."""
    with trio.fail_after(TEST_SECONDS):
        for epoch in range(3):
            async with world.open() as custody:
                await custody.keep(make_rows(epoch), NEVER)
            async with world.open() as custody:
                assert await kept(custody) == list(itertools.product(range(epoch + 1), ACTORS))
                assert [custody.last_epoch(actor_of(actor)) for actor in ACTORS] == [epoch] * 3


async def test_all_or_nothing(world):
    """What keep stores of one actor, it stores all or not at all."""
    rows = [make_row(epoch) for epoch in range(3)]
    with trio.fail_after(TEST_SECONDS):
        for stored in (False, True):
            async with world.open() as custody:
                world.fail_next(0, stored=stored)
                with refused(StoreFailed):
                    await custody.keep(rows, NEVER)
            async with world.open() as custody:
                assert await kept(custody) == ([(0, 0), (1, 0), (2, 0)] if stored else [])
                assert custody.last_epoch(actor_of(0)) == (2 if stored else -1)


async def test_again(world):
    """A row that is stored already, byte for byte, changes nothing and succeeds."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as custody:
            for epoch in (0, 1, 0, 1, 2):
                await custody.keep([*make_rows(epoch), make_row(epoch)], NEVER)
            await custody.keep([], NEVER)
            assert await kept(custody) == list(itertools.product(range(3), ACTORS))
            assert custody.last_epoch(actor_of(0)) == 2


async def test_slot_taken(world):
    """Another statement, or another batch, for a stored slot raises SlotTaken."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as custody:
            await custody.keep(make_rows(0), NEVER)
            await custody.keep(make_rows(1), NEVER)
            for epoch in (0, 1):
                true = make_row(epoch, 1)
                other = make_row(epoch, 1, salt=1)
                for row in (
                    other,
                    true._replace(batch=b""),
                    true._replace(batch=other.batch),
                    true._replace(statement=other.statement),
                    true._replace(statement=true.statement._replace(signature=bytes(64))),
                ):
                    with refused(SlotTaken):
                        await custody.keep([row], NEVER)
            with refused(SlotTaken):
                await custody.keep([make_row(2), make_row(2, salt=1)], NEVER)
            assert await kept(custody) == list(itertools.product(range(2), ACTORS))


async def test_rising(world):
    """A new row that is not above its actor's last row, by incarnation and then epoch, raises StoreConflict."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as custody:
            await custody.keep([make_row(3)], NEVER)
            with refused(StoreConflict):
                await custody.keep([make_row(2)], NEVER)
            await custody.keep([make_row(2, 1)], NEVER)
            await custody.keep([make_row(3, incarnation=1)], NEVER)
            for epoch, incarnation in ((4, 0), (2, 1)):
                with refused(StoreConflict):
                    await custody.keep([make_row(epoch, incarnation=incarnation)], NEVER)
            with refused(StoreConflict):
                await custody.keep([make_row(5, incarnation=1), make_row(4, incarnation=1)], NEVER)
            await custody.keep([make_row(3), make_row(5, incarnation=1), make_row(6, incarnation=1)], NEVER)


async def test_misshapen(world):
    """A row that breaks its own shape raises StoreConflict."""
    statement = make_row(0).statement
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as custody:
            for changes in (
                {"epoch": -1},
                {"epoch": NUMBER_MAX + 1},
                {"actor": b"sixsix"},
                {"actor": b""},
                {"incarnation": -1},
                {"incarnation": 2**32},
            ):
                with refused(StoreConflict):
                    await custody.keep([make_row(0)._replace(statement=statement._replace(**changes))], NEVER)
            assert await kept(custody) == []
            largest = make_row(NUMBER_MAX, 0, 2**32 - 1, batch_bytes=0)
            await custody.keep([largest], NEVER)
            assert await find_row(custody, largest) == largest


async def test_refused_stores_nothing(world):
    """A refused keep stores nothing of the actor that it is refused for."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as custody:
            await custody.keep([make_row(0)], NEVER)
            for bad in (make_row(0, salt=1), make_row(0)._replace(statement=make_row(0).statement._replace(epoch=-1))):
                with refused(SlotTaken if bad.statement.epoch == 0 else StoreConflict):
                    await custody.keep([make_row(1), make_row(2), bad], 1)
                assert await kept(custody) == [(0, 0)]
                assert custody.last_epoch(actor_of(0)) == 0
            await custody.keep([make_row(1)], NEVER)
        async with world.open() as custody:
            assert await kept(custody) == [(0, 0), (1, 0)]


async def test_pruned(world):
    """Rows of epochs before prune_before are dropped, at most PRUNES_PER_ROW for each row given, oldest first."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as custody:
            for epoch in range(8):
                await custody.keep(make_rows(epoch), NEVER)
            await custody.keep([], 8)
            assert await kept(custody) == list(itertools.product(range(8), ACTORS))
            await custody.keep(make_rows(8), 3)
            assert await kept(custody) == list(itertools.product(range(3, 9), ACTORS))
            for epoch in (9, 10):
                await custody.keep([make_row(epoch)], 9)
            pruned_of_first = [epoch for epoch in range(3, 9) if (epoch, 0) not in await kept(custody)]
            assert pruned_of_first[:2] == [3, 4]
            assert len(await kept(custody)) >= 6 * 3 + 2 - 2 * PRUNES_PER_ROW
            for epoch in range(11, 15):
                await custody.keep(make_rows(epoch), 9)
            await custody.keep(make_rows(15), 15)
        async with world.open() as custody:
            assert await kept(custody, range(9)) == []
            assert await kept(custody, [15]) == [(15, actor) for actor in ACTORS]


async def test_last_row_stays(world):
    """An actor's last row is never dropped."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as custody:
            for epoch in range(2):
                await custody.keep([make_row(epoch, 0), make_row(epoch, 1, epoch)], NEVER)
            for epoch in range(4, 8):
                await custody.keep([make_row(epoch, 2)], NUMBER_MAX)
                await custody.keep([make_row(1, 0), make_row(1, 1, 1)], NUMBER_MAX)
            assert await kept(custody) == [(1, 0), (1, 1), (7, 2)]
        async with world.open() as custody:
            assert [custody.last_epoch(actor_of(actor)) for actor in ACTORS] == [1, 1, 7]
            with refused(SlotTaken):
                await custody.keep([make_row(1, salt=1)], NUMBER_MAX)


async def test_cancelled(world):
    """A cancelled keep was never begun, or runs to its end once."""
    finished = []

    async def keep(custody, actor, task_status):
        with trio.CancelScope() as scope:
            task_status.started(scope)
            await custody.keep([make_row(0, actor), make_row(1, actor)], NEVER)
            finished.append(actor)

    with trio.fail_after(TEST_SECONDS):
        async with world.open() as custody:
            with trio.CancelScope() as scope:
                scope.cancel()
                await custody.keep(make_rows(0), NEVER)
            assert scope.cancelled_caught
            assert await kept(custody) == []
            async with trio.open_nursery() as nursery:
                for actor in ACTORS:
                    scope = await nursery.start(keep, custody, actor)
                    for _ in range(actor):
                        await trio.lowlevel.checkpoint()
                    scope.cancel()
            assert await kept(custody) == [(epoch, actor) for epoch in (0, 1) for actor in sorted(finished)]
            await custody.keep([row for epoch in (0, 1) for row in make_rows(epoch)], NEVER)
            assert await kept(custody) == list(itertools.product((0, 1), ACTORS))


async def test_cancelled_midway(world):
    """A cancelled keep was never begun, or runs to its end once, for all actors alike."""

    async def cancel(scope, ticks):
        for _ in range(ticks):
            await trio.lowlevel.checkpoint()
        scope.cancel()

    with trio.fail_after(TEST_SECONDS):
        async with world.open() as custody:
            for epoch in range(40):
                async with trio.open_nursery() as nursery:
                    with trio.CancelScope() as scope:
                        nursery.start_soon(cancel, scope, epoch % 4)
                        await custody.keep(make_rows(epoch), NEVER)
                assert len(await kept(custody, [epoch])) in {0, len(ACTORS)}


@pytest.mark.parametrize("stored", [False, True])
async def test_failed(world, stored):
    """After StoreFailed every keep for the actor raises StoreFailed, until the store is opened again."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as custody:
            await custody.keep(make_rows(0), NEVER)
            world.fail_next(1, stored=stored)
            for epoch in (1, 1, 0, 2):
                with refused(StoreFailed):
                    await custody.keep(make_rows(epoch), NEVER)
        async with world.open() as custody:
            assert custody.last_epoch(actor_of(1)) == (1 if stored else 0)
            assert ((1, 1) in await kept(custody)) == stored
            await custody.keep(make_rows(3), NEVER)
            assert await kept(custody, [3]) == [(3, actor) for actor in ACTORS]


async def test_failure_outranks_refusal(world):
    """After StoreFailed every keep for the actor raises StoreFailed, though another actor's rows are refused."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as custody:
            await custody.keep(make_rows(0), NEVER)
            world.fail_next(2, stored=False)
            with refused(StoreFailed):
                await custody.keep([make_row(1, 2)], NEVER)
            with refused(StoreFailed):
                await custody.keep([make_row(0, 0, salt=1), make_row(1, 1), make_row(1, 2)], NEVER)


async def test_find(world):
    """find sees every keep that returned before it began, and is None where there is no row."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as custody:
            row = make_row(5, 1, 2, batch_bytes=300_000)
            slot = (row.statement.actor, row.statement.incarnation, row.statement.epoch)
            assert await custody.find(*slot) is None
            await custody.keep([row], NEVER)
            assert await custody.find(*slot) == row
            for incarnation, epoch in ((2, 4), (2, 6), (1, 5), (3, 5), (2**32 - 1, 5), (2, 2**64 - 1), (2, NUMBER_MAX)):
                assert await custody.find(row.statement.actor, incarnation, epoch) is None
            assert await custody.find(actor_of(77), 2, 5) is None


async def test_last_epoch(world):
    """last_epoch is that of the highest incarnation of which there is a row, and -1 if there is none."""
    alice = actor_of(0)
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as custody:
            assert custody.last_epoch(alice) == custody.last_epoch(actor_of(77)) == -1
            for epoch, incarnation, last_epoch in ((0, 0, 0), (7, 0, 7), (7, 1, 7), (8, 1, 8), (7, 0, 8), (5, 2, 5)):
                await custody.keep([make_row(epoch, incarnation=incarnation)], NEVER)
                assert custody.last_epoch(alice) == last_epoch
            assert custody.last_epoch(actor_of(1)) == -1


async def test_own_rows(world):
    """What is stored for one actor is never found for another."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as custody:
            await custody.keep([make_row(0, 0), make_row(1, 1)], NEVER)
            assert await kept(custody) == [(0, 0), (1, 1)]
            assert await custody.find(actor_of(1), 0, 0) is None
            assert await custody.find(actor_of(0), 0, 1) is None
