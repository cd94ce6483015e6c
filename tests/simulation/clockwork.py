"""Everything that chance decides in a process, decided by a seed instead: scheduling, threads, clocks.

Knows nothing of providers or devices. Trio shuffles the tasks that are ready with a generator of its own, which is
seeded here; work for threads is done in place, after a while that the seed draws; time is Trio's mock clock, which
jumps to the next deadline whenever everybody waits. The wall clock, with which epochs are stamped, is set now and then.
"""

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio
import trio.testing

from noise import node
from tests.simulation.remembered import replaced

T = TypeVar("T")

_START_MS = 1_700_000_000_000
_SLOW_THREADS = 0.2
_CLOCK_STEPS = 0.02


class Wall:
    """A wall clock that is set forward and back now and then."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._set_by_ms = 0

    def __call__(self) -> int:
        if self._rng.random() < _CLOCK_STEPS:
            self._set_by_ms += self._rng.randint(-3_000, 3_000)
        return _START_MS + self._set_by_ms + int(trio.current_time() * 1_000)


def run_seeded(seed: str, main: Callable[[], Awaitable[T]]) -> T:
    """Run a Trio program whose only source of chance is the seed, in virtual time, in this thread."""
    rng = random.Random(f"clockwork {seed}")

    async def run_sync(step: Callable[..., T], *arguments: object, **_: object) -> T:
        await trio.lowlevel.checkpoint()
        if rng.random() < _SLOW_THREADS:
            with trio.CancelScope(shield=True):  # a thread that works cannot be called back
                await trio.sleep(rng.choice((0, 0.001, 0.05)))
        return step(*arguments)

    # What pytest-trio does for Hypothesis: ready tasks are put in order before they are shuffled.
    scheduler = trio._core._run
    scheduler._r.seed(seed)
    with (
        replaced(scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING", True),
        replaced(trio.to_thread, "run_sync", run_sync),
        replaced(node, "_wall_clock_ms", Wall(rng)),
    ):
        return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
