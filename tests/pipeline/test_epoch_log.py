"""The log of epochs against a plain list of leaves: roots, extensions, loading, and leaves that left memory.

Knows nothing of epochs: a leaf is a number.
"""

from collections.abc import Iterator
from hashlib import sha256
from random import Random

import pytest
import trio

from noise.pipeline import epoch_log
from noise.pipeline.epoch_log import BLOCK_SIZE, EpochLog, load_epoch_log
from noise.protocol.merkle import EMPTY_RANGE, CompactRange, Tree, range_hashes, tree_root
from noise.store.base import EpochRow, StoreCorrupt
from noise.store.memory import MemoryStore

LEAVES = [sha256(b"%d" % n).digest() for n in range(20 * BLOCK_SIZE + 77)]


def stored(size: int) -> MemoryStore:
    """A store that has committed the first leaves."""
    store = MemoryStore()
    store._kept.epochs = [EpochRow(n, b"", leaf, b"") for n, leaf in enumerate(LEAVES[:size])]
    for n in range(BLOCK_SIZE, size + 1, BLOCK_SIZE):
        store._kept.block_hashes[n - 1] = tree_root(LEAVES[n - BLOCK_SIZE : n])
    return store


def filled(size: int) -> EpochLog:
    log = EpochLog()
    for leaf in LEAVES[:size]:
        log.append(leaf)
    return log


def sizes() -> Iterator[int]:
    """Around the ends of blocks, and of pairs and fours of them."""
    for blocks in (0, 1, 2, 3, 4, 7, 8, 20):
        yield from (n for n in (blocks * BLOCK_SIZE + d for d in (-1, 0, 1, 77)) if 0 <= n <= len(LEAVES))


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epoch_log, "_RECENT_BLOCKS", 2)
    monkeypatch.setattr(epoch_log, "_LOADED_BLOCKS", 3)


def test_appending() -> None:
    """Every size has the root of its leaves, and a block's hash comes with the leaf that completes it."""
    log, naive = EpochLog(), EMPTY_RANGE
    for size, leaf in enumerate(LEAVES, 1):
        block_hash = log.append(leaf)
        naive = naive.append(leaf)
        assert (log.size, log.range) == (size, naive)
        complete = size % BLOCK_SIZE == 0
        assert block_hash == (tree_root(LEAVES[size - BLOCK_SIZE : size]) if complete else None)
    for size in sizes():
        assert filled(size).root() == tree_root(LEAVES[:size]) == filled(size).range.root()


async def test_loading() -> None:
    """What is loaded is what was appended, and goes on like it."""
    for size in sizes():
        log = await load_epoch_log(stored(size))
        assert (log.size, log.range, log.root()) == (size, filled(size).range, tree_root(LEAVES[:size]))
        appended = filled(size)
        for leaf in LEAVES[size : size + BLOCK_SIZE + 3]:
            assert log.append(leaf) == appended.append(leaf)
        assert (log.range, log.root()) == (appended.range, appended.root())


async def test_extensions(small_memory: None) -> None:
    """From any size to any later one, with what is at hand after `prepare`, and that is little."""
    random, tree, store = Random(1), Tree(LEAVES), stored(len(LEAVES))
    for log in (filled(len(LEAVES)), await load_epoch_log(store)):
        for _ in range(300):
            first, end = sorted(random.choices(range(len(LEAVES) + 1), k=2))
            if random.random() < 0.5:
                end = len(LEAVES) - random.randrange(5)
                first = min(first, end)
            await log.prepare(store, first, end)
            assert log.has(first)
            assert log.has(end)
            hashes = log.extension(first, end)
            assert hashes == range_hashes(tree.node, first, end)
            naive = CompactRange(first, tuple(range_hashes(tree.node, 0, first)))
            assert naive.extend(end, hashes).root() == tree_root(LEAVES[:end])
            assert len(log._loaded) <= 3
            assert len(log._recent) <= 3


async def test_what_left_memory_must_be_prepared(small_memory: None) -> None:
    log, store = filled(len(LEAVES)), stored(len(LEAVES))
    assert not log.has(5)
    with pytest.raises(KeyError):
        log.extension(5, len(LEAVES))
    assert log.extension(0, 8 * BLOCK_SIZE), "whole blocks are always there"
    await log.prepare(store, 5)
    assert log.extension(5, len(LEAVES))
    await log.prepare(store, *range(0, 6 * BLOCK_SIZE, BLOCK_SIZE))
    assert not log.has(5), "pushed out again"
    assert log.has(len(LEAVES))
    assert log.has(len(LEAVES) - 1)


async def test_damaged_leaves_are_refused(small_memory: None) -> None:
    """Those of old blocks when they are needed, those of the last one by whoever compares the root."""
    store = stored(len(LEAVES))
    kept = store._kept
    kept.epochs[7] = kept.epochs[7]._replace(leaf_hash=bytes(32))
    log = await load_epoch_log(store)
    assert log.root() == tree_root(LEAVES)
    with pytest.raises(StoreCorrupt):
        await log.prepare(store, 5)
    assert not log.has(5)
    await log.prepare(store, BLOCK_SIZE)
    kept.epochs[-1] = kept.epochs[-1]._replace(leaf_hash=bytes(32))
    assert (await load_epoch_log(store)).root() != tree_root(LEAVES)


async def test_a_log_without_its_blocks_is_refused() -> None:
    for change in ("lost", "too many"):
        store = stored(3 * BLOCK_SIZE + 1)
        if change == "lost":
            del store._kept.block_hashes[BLOCK_SIZE - 1]
        else:
            store._kept.block_hashes[3 * BLOCK_SIZE] = bytes(32)
        with pytest.raises(StoreCorrupt):
            await load_epoch_log(store)
    store = stored(3 * BLOCK_SIZE + 1)
    store._kept.block_hashes[BLOCK_SIZE - 1] = bytes(32)
    with trio.fail_after(5):
        log = await load_epoch_log(store)
    assert log.root() != tree_root(LEAVES[: 3 * BLOCK_SIZE + 1])
