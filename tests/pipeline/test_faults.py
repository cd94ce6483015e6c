"""Every write fails in both ways, and the process dies before every operation: nothing that got out is ever unsaid.

Knows nothing of how it is checked: the witness in `faults` does that, in every life of every story.
"""

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio

from noise.store.base import StoreFailed
from tests.pipeline.faults import WRITES, ApartWorld, Crashed, MemoryWorld, Meter, SqliteWorld, Story, tell
from tests.pipeline.memory_provider import Keys

STORY_SECONDS = 20


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys"), 2, 2)


class Stage:
    """Tells stories, each in a directory of its own."""

    def __init__(self, directory: Path, keys: Keys) -> None:
        self.directory = directory
        self.keys = keys
        self.count = 0

    def tell(self, meter: Meter, world: Any = MemoryWorld) -> Story:
        self.count += 1
        directory = self.directory / str(self.count)
        directory.mkdir()

        async def run() -> Story:
            with trio.fail_after(STORY_SECONDS):
                return await tell(world, directory, self.keys, meter)

        return trio.run(run)


@pytest.fixture
def stage(tmp_path: Path, keys: Keys) -> Stage:
    return Stage(tmp_path, keys)


def leaves_of(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from leaves_of(one)
    else:
        yield error


def test_without_faults(stage: Stage) -> None:
    for world in (MemoryWorld, ApartWorld, SqliteWorld):
        meter = Meter()
        story = stage.tell(meter, world)
        assert (story.n_lives, story.ended_badly) == (2, [])
        assert meter.operations.count("add_roster") == 1
        n_epochs = meter.operations.count("commit_epoch")
        assert n_epochs > 5
        assert meter.operations.count("keep") == n_epochs or world is ApartWorld
        assert meter.operations.count("append_manifest") > 12


@pytest.mark.parametrize("stored", [False, True], ids=["not stored", "yet stored"])
def test_every_write_fails(stage: Stage, stored: bool) -> None:
    """The pipeline stops at once; the next life ends the epoch with what is in the slots."""
    n_writes = 0
    while True:
        meter = Meter(fail_at={n_writes: stored})
        story = stage.tell(meter)
        if not meter.n_faults:
            break
        assert len(story.ended_badly) == 1
        errors = list(leaves_of(story.ended_badly[0]))
        assert any(isinstance(error, StoreFailed) for error in errors)
        assert all(isinstance(error, StoreFailed | trio.BrokenResourceError) for error in errors), errors
        n_writes += 1
    assert n_writes > 18


def test_the_process_dies_before_every_operation(stage: Stage, search_factor: int) -> None:
    """Reads too: those of recovery, of catching up and of receipts that are made again.

    Usually the first, the middle and the last operation of each kind, and every sixth of all; under --long, all.
    """
    counted = Meter()
    stage.tell(counted)
    by_name: dict[str, list[int]] = {}
    for number, name in enumerate(counted.operations):
        by_name.setdefault(name, []).append(number)
    assert {*WRITES, "pending_manifests", "leaf_hashes", "history_since", "bundles_by_id"} <= set(by_name)
    numbers = set(range(0, len(counted.operations), 6 if search_factor == 1 else 1))
    for found in by_name.values():
        numbers |= {found[0], found[len(found) // 2], found[-1]}
    for number in sorted(numbers):
        meter = Meter(crash_at=frozenset({number}))
        story = stage.tell(meter)
        assert meter.n_faults or number > len(meter.operations) - 10
        for error in story.ended_badly:
            assert any(isinstance(one, Crashed) for one in leaves_of(error))


def test_everything_is_cancelled_during_any_operation(stage: Stage, search_factor: int) -> None:
    """As when the operator asks twice: a write that has begun may be stored, or not."""
    counted = Meter()
    stage.tell(counted)
    for number in range(0, len(counted.operations), 7 if search_factor == 1 else 1):
        meter = Meter(cancel_at=frozenset({number}))
        story = stage.tell(meter)
        assert not story.ended_badly
        assert story.n_lives >= 2


@pytest.mark.parametrize("seed", range(6))
def test_one_misfortune_after_another(stage: Stage, seed: int, search_factor: int) -> None:
    """The process dies, and dies again while it recovers."""
    random = Random(seed)
    for _ in range(search_factor):
        first = random.randrange(10, 70)
        crashes = [first, *(first + random.randrange(1, 40) for _ in range(random.randint(1, 3)))]
        fails = {random.randrange(5, 40): random.random() < 0.5 for _ in range(random.randint(0, 2))}
        story = stage.tell(Meter(crash_at=frozenset(crashes), fail_at=fails), (MemoryWorld, ApartWorld)[seed % 2])
        assert story.ended_badly


@pytest.mark.parametrize("seed", range(4))
def test_faults_of_a_file(stage: Stage, seed: int, search_factor: int) -> None:
    random = Random(seed)
    for _ in range(search_factor):
        meter = Meter(fail_at={random.randrange(18): seed % 2 == 0})
        assert len(stage.tell(meter, SqliteWorld).ended_badly) == meter.n_faults
        meter = Meter(crash_at=frozenset({random.randrange(20, 60)}))
        assert len(stage.tell(meter, SqliteWorld).ended_badly) == meter.n_faults == 1
