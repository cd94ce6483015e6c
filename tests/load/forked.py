"""The same work on every core: bundles to be built before the clock starts, mailboxes to be verified after it stops.

Knows nothing of the work. Forked, so that what the work reads needs no copying.
"""

import gc
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

_SHOWN_EVERY_S = 2.0


class _Inherited:
    """What forked processes find in their memory."""

    work: Callable[[int], Any]


def _call(number: int) -> Any:
    return _Inherited.work(number)


def map_forked(work: Callable[[int], T], count: int, doing: str) -> list[T]:
    """`[work(0), ..., work(count - 1)]`, with progress on stderr as `doing`."""
    _Inherited.work = work
    gc.freeze()
    done: list[T] = []
    started = shown = time.monotonic()
    with multiprocessing.get_context("fork").Pool(os.cpu_count()) as pool:
        for result in pool.imap(_call, range(count), chunksize=max(1, min(16, count // 8))):
            done.append(result)
            if time.monotonic() - shown >= _SHOWN_EVERY_S:
                shown = time.monotonic()
                note(f"{doing}: {len(done):,} of {count:,}")
    note(f"{doing}: {count:,} in {time.monotonic() - started:.1f} s")
    return done


def note(text: str) -> None:
    """Progress, beside the results."""
    print(f"  {text}", file=sys.stderr, flush=True)
