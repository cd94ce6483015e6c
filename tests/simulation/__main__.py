"""Worlds from the command line: `python -m tests.simulation --help`. Knows nothing but how to ask for them."""

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from functools import partial

from tests.simulation.lying import LIES
from tests.simulation.seeds import Tried, failures_in, try_honest, try_lie, try_seeds


def _replay(seed: int, lie: str, *, is_verbose: bool, is_thorough: bool) -> int:
    start = time.monotonic()
    tell = partial(print, flush=True) if is_verbose else None
    tried = try_lie(seed, lie, tell) if lie else try_honest(seed, tell, is_thorough=is_thorough)
    if tried.summary:
        print(tried.summary)
    if tried.n_offered:
        print(f"{tried.n_offered} accusations made up")
    if tried.caught is not None:
        print(f"caught: {tried.caught.verdict}, {tried.caught.accused}, after {tried.caught.epochs} epochs")
        print(f"named: {tried.caught.actor or 'nobody'}, {tried.caught.kind}")
    if tried.complaints:
        print(tried)
    print(f"{'FAILED' if tried.complaints else 'ok'} in {time.monotonic() - start:.2f} s")
    return int(bool(tried.complaints))


def _search(seeds: range, *, is_lying: bool, is_thorough: bool, jobs: int) -> int:
    start, done = time.monotonic(), 0

    def on_done(count: int) -> None:
        nonlocal done
        done += count
        if sys.stderr.isatty():
            print(f"\r{done} of {len(seeds)} worlds, {time.monotonic() - start:.0f} s", end="", file=sys.stderr)

    tried = try_seeds(seeds, is_lying=is_lying, is_thorough=is_thorough, jobs=jobs, on_done=on_done)
    if is_lying:
        _show_caught(tried)
    else:
        print(f"{sum(one.n_offered for one in tried)} accusations made up")
    failures = failures_in(tried)
    print(failures or f"{len(tried)} worlds ended well", f"in {time.monotonic() - start:.1f} s")
    return int(bool(failures))


def _show_caught(tried: Sequence[Tried]) -> None:
    """A line for each lie: by which class, which one names the liar, and after how many epochs."""
    epochs: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for one in tried:
        if one.caught is not None:
            epochs[one.lie, one.caught.verdict, one.caught.kind].append(one.caught.epochs)
    for (lie, verdict, kind), counts in sorted(epochs.items()):
        middle = sorted(counts)[len(counts) // 2]
        print(
            f"{lie:20} {verdict:17} {kind:20} {len(counts):4} times, after {middle:3} epochs, {max(counts):3} at most"
        )


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation",
        description="Whole worlds, each from one seed: the honest are never convicted, and liars always are.",
    )
    parser.add_argument("--seed", type=int, help="one world; the same seed is the same world")
    parser.add_argument("--lie", choices=LIES, default="", help="with --seed: the provider tells this lie")
    parser.add_argument("--verbose", action="store_true", help="with --seed: tell what happens, in virtual seconds")
    parser.add_argument("--first", type=int, default=0, help="the first of many seeds")
    parser.add_argument("--seeds", type=int, default=1_000, help="how many seeds")
    parser.add_argument("--liars", action="store_true", help="with many seeds: each tells one lie")
    parser.add_argument("--thorough", action="store_true", help="in every world offer every pair to every class")
    parser.add_argument("--jobs", type=int, default=0, help="processes; one for each core unless given")
    chosen = parser.parse_args()
    if chosen.seed is not None:
        return _replay(chosen.seed, chosen.lie, is_verbose=chosen.verbose, is_thorough=chosen.thorough)
    seeds = range(chosen.first, chosen.first + chosen.seeds)
    return _search(seeds, is_lying=chosen.liars, is_thorough=chosen.thorough, jobs=chosen.jobs)


if __name__ == "__main__":
    sys.exit(main())
