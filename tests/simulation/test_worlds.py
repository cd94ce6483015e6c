"""Whole worlds from seeds: an honest provider is never convicted, a lying one always is.

Knows nothing of how a world goes: `tests.simulation.world` draws it, `tests.simulation.checks` judges it. The seeds are
the same each time; `python -m tests.simulation --first N` tries others, and `--long` many more.
"""

import pytest

from tests.simulation.lying import LIES
from tests.simulation.seeds import failures_in, try_honest, try_lie, try_seeds

N_SEEDS = 12
PARTS = 10
N_EACH_LIE = 2


@pytest.mark.parametrize("part", range(PARTS))
def test_the_honest_are_never_convicted(part: int, search_factor: int) -> None:
    """In parts, lest one test take too long. Under --long every pair is offered in every world."""
    n_seeds = N_SEEDS * search_factor
    tried = try_seeds(range(part * n_seeds, (part + 1) * n_seeds), is_thorough=search_factor > 1)
    assert not failures_in(tried), failures_in(tried)
    assert sum(one.n_offered for one in tried) > 2_000


def test_the_liars_always_are(search_factor: int) -> None:
    tried = try_seeds(range(len(LIES) * N_EACH_LIE * search_factor), is_lying=True)
    assert not failures_in(tried), failures_in(tried)


def test_a_seed_is_a_world() -> None:
    digests = [try_honest(seed).digest for seed in (7, 8, 7)]
    assert digests[0] == digests[2] != digests[1]
    assert try_lie(7, "drop-one") == try_lie(7, "drop-one")
