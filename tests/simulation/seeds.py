"""Worlds by the thousand: which seeds failed, why, and how each is replayed.

Knows nothing of what can go wrong. A seed's world is the same in every process, and so is what is made of it. Every
world is checked. In each `SOME_EACH`-th some accusations are made up, and in each `ALL_EACH`-th all; or in all, all.
"""

import multiprocessing
import os
import random
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from typing import NamedTuple

from tests.simulation.asked import complaints_of_the_asked
from tests.simulation.checks import complaints_about, truth_of
from tests.simulation.framing import offer_all, offer_some
from tests.simulation.lying import LIES, Caught, catch_liar
from tests.simulation.pool import pool_of
from tests.simulation.result import Result
from tests.simulation.world import live_world

SOME_EACH, ALL_EACH = 5, 50
_SOME_PIECES = 16
_MANY_ASKED, _FEW_ASKED = (10, 4), (2, 1)
"""Questions to actors, and mixtures of the answers for each."""

_SEEDS_AT_ONCE = 20
_COMPLAINTS_SHOWN = 8


class Tried(NamedTuple):
    """What came of the world of a seed. `lie`: told in it, or empty. `n_offered`: accusations that were made up."""

    seed: int
    lie: str
    complaints: Sequence[str]
    n_offered: int = 0
    digest: str = ""
    caught: Caught | None = None
    summary: str = ""

    def __str__(self) -> str:
        """How to replay it, and what was wrong."""
        command = f"python -m tests.simulation --seed {self.seed}{' --lie ' + self.lie if self.lie else ''} --verbose"
        shown = "\n".join(f"    {complaint}" for complaint in self.complaints[:_COMPLAINTS_SHOWN])
        return f"seed {self.seed}, replay with: {command}\n{shown}"


def try_honest(seed: int, tell: Callable[[str], None] | None = None, *, is_thorough: bool = False) -> Tried:
    """A world of an honest provider, and all that was wrong with it."""
    n_offered = 0

    async def judge(result: Result) -> list[str]:
        nonlocal n_offered
        rng = random.Random(f"questions {seed}")
        counts = _MANY_ASKED if is_thorough or seed % SOME_EACH == 0 else _FEW_ASKED
        complaints = await complaints_about(result)
        complaints += await complaints_of_the_asked(result, await truth_of(result), rng, *counts)
        if is_thorough or seed % ALL_EACH == 0:
            offers = offer_all(await pool_of(result))
        elif seed % SOME_EACH == 0:
            offers = offer_some(await pool_of(result), random.Random(f"offers {seed}"), _SOME_PIECES)
        else:
            return complaints
        n_offered = offers.count
        return [*complaints, *offers.convictions]

    try:
        result, complaints = live_world(seed, judge, tell=tell)
    except Exception as error:
        return Tried(seed, "", [_describe(leaf) for leaf in leaves_of(error)])
    return Tried(seed, "", complaints, n_offered, result.digest, summary=str(result))


def try_lie(seed: int, lie: str, tell: Callable[[str], None] | None = None) -> Tried:
    """A world of a liar, and why it was not caught."""
    try:
        caught, complaints = catch_liar(seed, lie, tell)
    except Exception as error:
        return Tried(seed, lie, [_describe(leaf) for leaf in leaves_of(error)])
    return Tried(seed, lie, complaints, caught=caught)


def lie_of(seed: int) -> str:
    """Seeds take the lies of the zoo in turn."""
    return LIES[seed % len(LIES)]


def leaves_of(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves_of(inner)
    else:
        yield error


def _describe(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    where = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames]
    return f"{error!r:.300} at {' < '.join(where[:-6:-1])}"


def _try_many(seeds: range, is_lying: bool, is_thorough: bool) -> list[Tried]:
    try_one = (lambda seed: try_lie(seed, lie_of(seed))) if is_lying else partial(try_honest, is_thorough=is_thorough)
    return [try_one(seed) for seed in seeds]


def try_seeds(
    seeds: range,
    *,
    is_lying: bool = False,
    is_thorough: bool = False,
    jobs: int = 0,
    on_done: Callable[[int], None] = lambda _: None,
) -> list[Tried]:
    """What came of many worlds. `jobs`: processes, one for each core if 0. `on_done` is told of worlds done."""
    chunks = [seeds[first : first + _SEEDS_AT_ONCE] for first in range(0, len(seeds), _SEEDS_AT_ONCE)]
    tried: list[Tried] = []
    with ProcessPoolExecutor(jobs or os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        waiting = {pool.submit(_try_many, chunk, is_lying, is_thorough): len(chunk) for chunk in chunks}
        for future in as_completed(waiting):
            tried += future.result()
            on_done(waiting[future])
    return sorted(tried, key=lambda one: one.seed)


def failures_in(tried: Sequence[Tried]) -> str:
    """The first failures, for a person; empty if there are none."""
    failed = [str(one) for one in tried if one.complaints]
    return f"{len(failed)} of {len(tried)} worlds failed:\n" + "\n".join(failed[:5]) if failed else ""
