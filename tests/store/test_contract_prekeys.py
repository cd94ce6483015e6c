"""The contract of `noise.store.base.Store` on prekeys: each test's docstring is the sentence that it shows.

Knows nothing of any one store. See test_contract, which checks that no sentence is without its test.
"""

import itertools

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from noise.store.base import (
    NUMBER_MAX,
    DevicesFull,
    PrekeyPair,
    PrekeysFull,
    PrekeyTally,
    StoreConflict,
    StoreFailed,
)
from noise.store.memory import MemoryStore
from noise.store.sqlite import create_sqlite
from tests.store.conftest import ORIGIN, FaultySqliteStore
from tests.store.examples import DAY_MS, NOW_MS, blob, device, make_prekey, make_upload, refused

TEST_SECONDS = 20
ALICE, BOB = device(0), device(1)


def number_bytes(number):
    return number.to_bytes(8, "big")


async def take_all(store, owner=ALICE, now_ms=NOW_MS):
    """One-time prekeys until there are none."""
    taken = []
    while (pair := await store.take_prekey(owner, now_ms)).one_time is not None:
        taken.append(pair.one_time)
    return taken


def bodies(*numbers):
    return [make_prekey(number).body for number in numbers]


async def test_ids_rise(world):
    """A prekey whose id is not above all that its device ever stored changes nothing, taken or not."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            first = PrekeyTally(2, NOW_MS + DAY_MS, number_bytes(6))
            assert await store.add_prekeys(make_upload([3, 5], 6)) == first
            for replayed in (
                make_upload([3, 5], 6),
                make_upload([3]),
                make_upload([4, 6]),
                make_upload([], 5),
                make_upload([], 6)._replace(fallback=make_prekey(6, NOW_MS + 2 * DAY_MS, salt=1)),
            ):
                assert await store.add_prekeys(replayed) == first
            assert await take_all(store) == bodies(3, 5)
            assert await store.add_prekeys(make_upload([3, 5], 6)) == first._replace(one_time=0)
        async with world.open() as store:
            await store.add_prekeys(make_upload([3, 5, 7], 8, owner=1))
            assert await store.add_prekeys(make_upload([5, 7, 9])) == PrekeyTally(2, NOW_MS + DAY_MS, number_bytes(9))
            assert await take_all(store) == bodies(7, 9)
            assert await take_all(store, BOB) == bodies(3, 5, 7)


async def test_fallback_replaces(world):
    """A new fallback replaces the one before."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            await store.add_prekeys(make_upload([], 2))
            assert await store.take_prekey(ALICE, NOW_MS) == PrekeyPair(None, make_prekey(2).body)
            shorter = make_prekey(3, NOW_MS + 5)
            tally = await store.add_prekeys(make_upload()._replace(fallback=shorter))
            assert tally == PrekeyTally(0, NOW_MS + 5, number_bytes(3))
            await store.add_prekeys(make_upload([4]))
            for _ in range(2):
                assert (await store.take_prekey(ALICE, NOW_MS)).fallback == shorter.body
            assert await store.take_prekey(BOB, NOW_MS) == PrekeyPair(None, None)


async def test_taken_once(world):
    """A one-time prekey is taken once, lowest id first, and is durably gone when it is handed out."""
    taken = []

    async def take(store):
        pair = await store.take_prekey(ALICE, NOW_MS)
        assert pair.fallback == make_prekey(9).body
        taken.append(pair.one_time)

    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            await store.add_prekeys(make_upload([1, 2, 3, 4, 5, 6], 9))
            await take(store)
            await take(store)
            assert taken == bodies(1, 2)
        async with world.open() as store:
            async with trio.open_nursery() as nursery:
                for _ in range(7):
                    nursery.start_soon(take, store)
            assert sorted(filter(None, taken)) == sorted(bodies(1, 2, 3, 4, 5, 6))
            assert taken.count(None) == 3


@pytest.mark.parametrize("outcomes", list(itertools.product([False, True], repeat=2)))
async def test_take_fails(world, outcomes):
    # Not of the contract: taking fails, with either outcome. Nobody gets the key then, and nobody gets it twice.
    with trio.fail_after(TEST_SECONDS):
        left = [1, 2, 3]
        async with world.open() as store:
            await store.add_prekeys(make_upload(left))
        for stored in outcomes:
            async with world.open() as store:
                store.fail_next("take_prekey", stored=stored)
                with refused(StoreFailed):
                    await store.take_prekey(ALICE, NOW_MS)
                with refused(StoreFailed):
                    await store.take_prekey(ALICE, NOW_MS)
            left = left[stored:]
        async with world.open() as store:
            assert await take_all(store) == bodies(*left)


async def test_expired(world):
    """A prekey is neither stored, nor taken, nor counted after its not_after_ms."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            short, long = make_prekey(1, NOW_MS + 10), make_prekey(2, NOW_MS + 20)
            fallback = make_prekey(3, NOW_MS + 10)
            await store.add_prekeys(make_upload()._replace(one_time=[short, long], fallback=fallback))
            assert await store.count_prekeys(ALICE, NOW_MS + 10) == PrekeyTally(2, NOW_MS + 10, number_bytes(3))
            assert await store.count_prekeys(ALICE, NOW_MS + 11) == PrekeyTally(1, 0, number_bytes(3))
            assert await store.take_prekey(ALICE, NOW_MS + 11) == PrekeyPair(long.body, None)
            assert await store.take_prekey(ALICE, NOW_MS + 11) == PrekeyPair(None, None)
            assert await store.take_prekey(ALICE, NOW_MS) == PrekeyPair(short.body, fallback.body)
            expired = make_prekey(4, NOW_MS - 1)
            for write in (
                make_upload(owner=1)._replace(one_time=[expired]),
                make_upload(owner=1)._replace(fallback=expired),
            ):
                assert await store.add_prekeys(write) == PrekeyTally(0, 0, bytes(8))
                assert await store.take_prekey(BOB, NOW_MS - 1) == PrekeyPair(None, None)


async def test_one_time_max(world):
    """More one-time prekeys of a device than one_time_max raise PrekeysFull."""
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            await store.add_prekeys(make_upload([1, 2, 3], one_time_max=4))
            with refused(PrekeysFull):
                await store.add_prekeys(make_upload([4, 5], 6, one_time_max=4))
            assert await store.count_prekeys(ALICE, NOW_MS) == PrekeyTally(3, 0, number_bytes(3))
            await store.add_prekeys(make_upload([1, 2, 3, 4], 6, one_time_max=4))  # old ones do not count
            with refused(PrekeysFull):
                await store.add_prekeys(make_upload([7], one_time_max=4))
            late = NOW_MS + DAY_MS + 1  # nor do expired ones, and they are gone
            fresh = [make_prekey(number, late) for number in range(7, 11)]
            write = make_upload(one_time_max=4)._replace(one_time=fresh, now_ms=late)
            assert (await store.add_prekeys(write)).one_time == 4
            assert await take_all(store) == [row.body for row in fresh]


async def test_devices_max(world):
    """More devices with prekeys than devices_max raise DevicesFull, unless all prekeys of another have expired."""

    async def add(number, owner, now_ms=NOW_MS, not_after_ms=NOW_MS + 10):
        write = make_upload(owner=owner, devices_max=2, now_ms=now_ms)
        return await store.add_prekeys(write._replace(one_time=[make_prekey(number, not_after_ms)]))

    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            with refused(DevicesFull):
                await store.add_prekeys(make_upload([1], devices_max=0))
            await add(1, owner=0)
            await add(1, owner=1, not_after_ms=NOW_MS + 20)
            await store.take_prekey(ALICE, NOW_MS)  # all are taken: still, what it had may not come back
            with refused(DevicesFull):
                await add(1, owner=2)
            await add(2, owner=0)
            await add(3, owner=0, not_after_ms=NOW_MS + 1)  # the longest of all counts, not the last
            with refused(DevicesFull):
                await add(1, owner=2, now_ms=NOW_MS + 10)
        async with world.open() as store:
            assert (await add(5, owner=2, now_ms=NOW_MS + 11, not_after_ms=NOW_MS + 30)).one_time == 1
            assert await store.count_prekeys(ALICE, NOW_MS) == PrekeyTally(0, 0, bytes(8))
            assert await take_all(store) == []
            assert (await store.count_prekeys(BOB, NOW_MS)).one_time == 1
            with refused(DevicesFull):
                await add(3, owner=0, now_ms=NOW_MS + 11, not_after_ms=NOW_MS + 20)
            with refused(DevicesFull):  # room for one is not enough after the limit has fallen
                await store.add_prekeys(make_upload([1], owner=3, devices_max=1, now_ms=NOW_MS + 21))
            assert (await store.count_prekeys(BOB, NOW_MS)).one_time == 1
            await store.add_prekeys(make_upload([1], owner=3, devices_max=1, now_ms=NOW_MS + 31))


@pytest.mark.parametrize(
    "write",
    [
        make_upload([2, 1]),
        make_upload([1, 1]),
        make_upload([0]),
        make_upload([1], 1),
        make_upload([], 0),
        make_upload([1], device=b"short"),
        make_upload([1], now_ms=-1),
        make_upload([1], now_ms=NUMBER_MAX + 1),
        make_upload(one_time=[make_prekey(1)._replace(prekey_id=b"longer id")]),
        make_upload(fallback=None)._replace(fallback=make_prekey(1)._replace(prekey_id=b"short")),
        make_upload(one_time=[make_prekey(1, NUMBER_MAX + 1)]),
        make_upload(one_time=[make_prekey(1, -1)]),
    ],
)
async def test_misshapen_prekeys(world, write):
    # Of the contract, "A write that breaks its own shape raises StoreConflict", which test_contract shows of the rest.
    with trio.fail_after(TEST_SECONDS):
        async with world.open() as store:
            with refused(StoreConflict):
                await store.add_prekeys(write)
            assert await store.count_prekeys(ALICE, NOW_MS) == PrekeyTally(0, 0, bytes(8))


OWNERS = st.integers(0, 2)
CLOCK = st.integers(NOW_MS, NOW_MS + 30)
ROWS = st.dictionaries(st.integers(1, 12), st.integers(NOW_MS, NOW_MS + 30), max_size=4)
STEPS = st.one_of(
    st.tuples(st.just("add"), OWNERS, CLOCK, ROWS, st.none() | st.tuples(st.integers(13, 24), CLOCK)),
    st.tuples(st.just("take"), OWNERS, CLOCK),
    st.tuples(st.just("count"), OWNERS, CLOCK),
)


async def run_step(store, step):
    kind, owner, now_ms, *rest = step
    if kind == "take":
        return await store.take_prekey(device(owner), now_ms)
    if kind == "count":
        return await store.count_prekeys(device(owner), now_ms)
    rows, fallback = rest
    one_time = [make_prekey(number, rows[number]) for number in sorted(rows)]
    write = make_upload(owner=owner, now_ms=now_ms, one_time_max=5, devices_max=2)
    write = write._replace(one_time=one_time, fallback=make_prekey(*fallback) if fallback else None)
    try:
        return await store.add_prekeys(write)
    except (PrekeysFull, DevicesFull) as error:
        return error.code


@given(steps=st.lists(STEPS, max_size=25))
@settings(max_examples=25, deadline=None)
async def test_stores_agree(tmp_path_factory, steps):
    # Not of the contract: both stores give the same answers, whatever happens in whatever order.
    path = tmp_path_factory.mktemp("prekeys") / "noise.db"
    memory = MemoryStore()
    with trio.fail_after(TEST_SECONDS):
        await create_sqlite(path, ORIGIN)
        async with FaultySqliteStore(path, ORIGIN) as sqlite:
            for step in steps:
                assert await run_step(sqlite, step) == await run_step(memory, step), step


def test_examples_differ():
    # Not of the contract: equal bodies would hide that one key was taken for another.
    assert len({*bodies(*range(1, 30)), blob("x")}) == 30
