"""Caches that are written lazily: with what is replayed after them they are always the states, wherever one stops.

Knows nothing of crashes in the middle of a write: those are in `test_faults`.
"""

from pathlib import Path
from random import Random

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from noise.node import Node
from noise.pipeline.recovery import load_rosters, recover
from noise.pipeline.senders import SenderTable
from noise.pipeline.writeback import Writeback
from noise.store.base import ID_STEP, BundleRow, CacheRow, StoreCorrupt
from noise.store.memory import MemoryStore
from tests.pipeline.harness import Answers, workload
from tests.pipeline.memory_provider import Keys, first_store, running_on, shaped

KEYS = [bytes([n]) * 32 for n in range(90)]
changes = st.lists(st.sets(st.sampled_from(KEYS), max_size=60), min_size=1, max_size=40)


@given(changes)
@settings(max_examples=60)
def test_replaying_makes_the_states_again(epochs: list[set[bytes]]) -> None:
    """A state is the epoch in which it last changed."""
    writeback = Writeback()
    states: dict[bytes, int] = {}
    cache: dict[bytes, int] = {}
    last_replay_epoch = 0
    for epoch, changed in enumerate(epochs):
        for key in sorted(changed):
            states[key] = epoch
            writeback.changed(key, epoch)
        waiting = {key for key in states if cache.get(key) != states[key]}
        taken = writeback.take()
        assert len(set(taken)) == len(taken) >= min(16, len(waiting))
        assert set(taken) <= waiting
        cache.update((key, states[key]) for key in taken)
        replay_epoch = writeback.replay_epoch(epoch + 1)
        assert last_replay_epoch <= replay_epoch <= epoch + 1
        last_replay_epoch = replay_epoch
        recovered = dict(cache)
        for replayed in range(replay_epoch, epoch + 1):
            recovered.update((key, replayed) for key in epochs[replayed])
        assert recovered == states
    for _ in epochs:  # and with nothing new, nothing waits for long
        cache.update((key, states[key]) for key in writeback.take())
    assert cache == states or len(epochs) < 6
    assert len(writeback.take()) <= 16 + 90 // 8


def test_oldest_first() -> None:
    writeback = Writeback()
    for epoch in range(100):
        writeback.changed(KEYS[epoch % 50], epoch)
    assert writeback.take() == KEYS[: 16 + 50 // 8]
    assert writeback.replay_epoch(100) == 22
    writeback.changed(KEYS[0], 100)
    assert writeback.replay_epoch(101) == 22
    while writeback.take():
        pass
    assert writeback.replay_epoch(101) == 101


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(1, 5)), max_size=60))
@settings(max_examples=60)
def test_senders(bundles: list[tuple[int, int, int]]) -> None:
    """Sealed bundles leave the next counter and the last id, through a cache too; older ones change nothing."""
    table, cache = SenderTable(), {}
    rows: list[BundleRow] = []
    next_ctrs: dict[bytes, int] = {}
    for n, (sender, gap, count) in enumerate(bundles):
        first_ctr = next_ctrs.get(KEYS[sender], 0) + gap
        next_ctrs[KEYS[sender]] = first_ctr + count
        rows.append(BundleRow(n << 10, n, 0, KEYS[sender], first_ctr, count, table.get(KEYS[sender]).last_id, b""))
        table.sealed(rows[-1])
        assert table.get(KEYS[sender]) == (first_ctr + count, n << 10)
        taken, replay_epoch = table.take_rows(n + 1)
        cache.update(taken)
        again = SenderTable()
        again.load(_rows(cache))
        for row in [row for row in rows if row.epoch >= replay_epoch] + rows[:-1]:
            again.sealed(row)
        assert dict(again.items()) == dict(table.items())


def _rows(cache: dict[bytes, bytes]) -> list[CacheRow]:
    return [CacheRow(*item) for item in cache.items()]


def test_a_damaged_sender_is_refused() -> None:
    with pytest.raises(StoreCorrupt):
        SenderTable().load(_rows({KEYS[0]: bytes(15)}))


@pytest.mark.parametrize("seed", range(3))
async def test_recovering_at_any_epoch(tmp_path: Path, seed: int) -> None:
    """A copy of the store after each of many epochs leads to the states that the pipeline has in memory."""
    keys = Keys(tmp_path / "keys", 2, 2)
    store = await first_store(keys)
    bundles = workload(keys.origin, seed, 40, 60)
    random, was_behind = Random(seed), False
    with trio.fail_after(60):
        async with running_on(store, keys, shaped(tmp_path, 2, 2)) as node:
            while bundles:
                answers = Answers()
                part = [bundles.pop(0) for _ in range(min(len(bundles), random.randint(1, 6)))]
                for n, bundle in enumerate(part):
                    await answers.submit(node, n, bundle.encode())
                await answers.wait_shown(node, len(part))
                was_behind |= store.replay_epoch < store.next_epoch
                await check_recovered(node, store, keys)
    assert was_behind, "replaying was put to the test"


async def check_recovered(node: Node, store: MemoryStore, keys: Keys) -> None:
    copy = MemoryStore()
    copy._kept = store._kept
    pipeline = node.pipeline
    while (recovered := await recover(copy, keys.origin, await load_rosters(copy, keys.origin))).log.size != (
        pipeline.sequencer.log.size
    ):
        await trio.lowlevel.checkpoint()  # an empty epoch was just being committed
    assert recovered.log.range == pipeline.sequencer.log.range
    for states, outbox in zip(recovered.states, pipeline.outboxes, strict=True):
        assert list(states.items()) == list(outbox.states.items())
    for table, inbox in zip(recovered.senders, pipeline.inboxes, strict=True):
        assert dict(table.items()) == dict(inbox._senders.items())
    for lane, (next_id, inbox) in enumerate(zip(recovered.next_ids, pipeline.inboxes, strict=True)):
        assert next_id % ID_STEP == lane
        assert next_id >= max(inbox._next_id // ID_STEP for inbox in pipeline.inboxes) * ID_STEP
        assert next_id >= inbox._next_id
    assert recovered.pending == []
