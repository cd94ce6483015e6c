"""What the faces of a provider get to see of it. Knows nothing of HTTP."""

from collections.abc import Callable
from typing import NamedTuple

from noise.pipeline.assembly import Pipeline
from noise.protocol.delta import SignedRoster
from noise.store.base import Store


class Gateway(NamedTuple):
    """An open provider. `rosters`: all, in order. `time_ms`: the wall clock."""

    origin: bytes
    pipeline: Pipeline
    store: Store
    rosters: list[SignedRoster]
    time_ms: Callable[[], int]
