"""What of a call to keep is new, against what an actor's store holds already. Every custody store asks here.

Knows nothing of how rows are stored: whoever asks brings the way to find one.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from noise.store.base import SlotTaken, StoreConflict
from noise.store.custody import CustodyRow
from noise.store.write_checks import check_statement

Slot = tuple[int, bytes, int]
"""Epoch, actor, incarnation: the first three of a StatementRow."""

Lasts = Mapping[bytes, tuple[int, int]]
"""By actor, (incarnation, epoch) of its last row."""


class NewRows(NamedTuple):
    """`rows`: those to store, in the order given. `lasts`: of all actors, once they are stored."""

    rows: list[CustodyRow]
    lasts: dict[bytes, tuple[int, int]]


def select_new(rows: Iterable[CustodyRow], lasts: Lasts, find: Callable[[Slot], CustodyRow | None]) -> NewRows:
    """Raises SlotTaken, StoreConflict."""
    new: dict[Slot, CustodyRow] = {}
    new_lasts = dict(lasts)
    for row in rows:
        check_statement(row.statement)
        slot: Slot = row.statement[:3]
        epoch, actor, incarnation = slot
        stored = new.get(slot) or find(slot)
        if stored == row:
            continue
        if stored is not None:
            raise SlotTaken(f"epoch {epoch} of actor {actor.hex()} is kept with another statement or batch")
        last = new_lasts.get(actor)
        if last is not None and (incarnation, epoch) <= last:
            raise StoreConflict(
                f"epoch {epoch} of actor {actor.hex()}, incarnation {incarnation}, comes after epoch {last[1]}, "
                f"incarnation {last[0]}"
            )
        new[slot] = row
        new_lasts[actor] = (incarnation, epoch)
    return NewRows(list(new.values()), new_lasts)
