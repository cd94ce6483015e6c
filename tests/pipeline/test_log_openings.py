"""Records shown with the checkpoint that has them, of epochs whose leaves left memory too."""

import pytest

from noise.pipeline import epoch_log
from noise.pipeline.epoch_log import load_epoch_log
from noise.pipeline.log_openings import open_records
from noise.protocol.evidence.openings import open_log
from noise.protocol.merkle import leaf_hash, tree_root
from noise.store.base import EpochRow, StoreCorrupt
from noise.store.memory import MemoryStore
from tests.protocol.challenged import Ledger

SIZE = 45


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epoch_log, "BLOCK_LEVEL", 2)
    monkeypatch.setattr(epoch_log, "BLOCK_SIZE", 4)
    monkeypatch.setattr(epoch_log, "_RECENT_BLOCKS", 1)
    monkeypatch.setattr(epoch_log, "_LOADED_BLOCKS", 2)


def told() -> tuple[Ledger, MemoryStore]:
    """A log, and the store that has it."""
    ledger, store = Ledger(), MemoryStore()
    for _ in range(SIZE):
        ledger.commit()
    leaves = [leaf_hash(record) for record in ledger.records]
    for epoch, record in enumerate(ledger.records):
        note = ledger.opening(0, epoch + 1).note
        store._kept.epochs.append(EpochRow(epoch, record, leaves[epoch], note))
    for n in range(4, SIZE + 1, 4):
        store._kept.block_hashes[n - 1] = tree_root(leaves[n - 4 : n])
    return ledger, store


@pytest.mark.usefixtures("small_memory")
async def test_every_record_opens_in_every_log_that_has_it() -> None:
    ledger, store = told()
    rosters = ledger.verified()
    log = await load_epoch_log(store)
    for size in (1, 2, 4, 5, 16, 33, SIZE - 1, SIZE):
        for epoch in range(size):
            opened = await open_records(store, log, [size - 1, epoch], size)
            assert [open_log(rosters, one).epoch for one in opened] == [size - 1, epoch]
            assert {open_log(rosters, one).note.size for one in opened} == {size}


@pytest.mark.usefixtures("small_memory")
async def test_a_record_that_is_missing_is_damage() -> None:
    _, store = told()
    log = await load_epoch_log(store)
    with pytest.raises(StoreCorrupt):
        await open_records(store, log, [SIZE], SIZE)
    with pytest.raises(StoreCorrupt):
        await open_records(store, log, [0], SIZE + 1)
