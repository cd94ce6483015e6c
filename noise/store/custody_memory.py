"""The custody of actors in memory, for tests and for runs that nobody needs afterwards.

Knows nothing of files. Durable means: `reopen` finds it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import trio

from noise.store.base import StoreFailed
from noise.store.custody import PRUNES_PER_ROW, Custody, CustodyRow
from noise.store.custody_checks import Slot, select_new


@dataclass(slots=True)
class Surviving:
    """What a file would hold."""

    rows: dict[Slot, CustodyRow] = field(default_factory=dict)
    lasts: dict[bytes, tuple[int, int]] = field(default_factory=dict)


class MemoryCustody(Custody):
    """A new, empty custody."""

    def __init__(self) -> None:
        self._kept = Surviving()
        self._fault: bool | None = None
        self._failure: str | None = None

    def fail_next(self, *, stored: bool) -> None:
        """Makes the next keep raise StoreFailed, once its rows are `stored` or instead of storing them."""
        self._fault = stored

    def reopen(self) -> "MemoryCustody":
        """A sound custody over what this one stored; this one can write no more, as after the end of its process."""
        self._failure = "opened again elsewhere"
        successor = MemoryCustody()
        successor._kept = self._kept
        return successor

    def last_epoch(self, actor: bytes) -> int:
        last = self._kept.lasts.get(actor)
        return -1 if last is None else last[1]

    async def keep(self, rows: Sequence[CustodyRow], prune_before: int) -> None:
        await trio.lowlevel.checkpoint()
        if self._failure is not None:
            raise StoreFailed(f"{self._failure}: open the custody again")
        fault, self._fault = self._fault, None
        if fault is not False:
            self._keep(rows, prune_before)
        if fault is not None:
            self._failure = "keep failed on request"
            raise StoreFailed(f"{self._failure}: open the custody again")

    def _keep(self, rows: Sequence[CustodyRow], prune_before: int) -> None:
        kept = self._kept
        new = select_new(rows, kept.lasts, kept.rows.get)
        kept.rows.update((row.statement[:3], row) for row in new.rows)
        kept.lasts = new.lasts
        last_slots = {(epoch, actor, incarnation) for actor, (incarnation, epoch) in kept.lasts.items()}
        old = sorted(slot for slot in kept.rows if slot[0] < prune_before and slot not in last_slots)
        for slot in old[: PRUNES_PER_ROW * len(rows)]:
            del kept.rows[slot]

    async def find(self, actor: bytes, incarnation: int, epoch: int) -> CustodyRow | None:
        await trio.lowlevel.checkpoint()
        return self._kept.rows.get((epoch, actor, incarnation))
