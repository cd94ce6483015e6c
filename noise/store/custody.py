"""What each actor keeps of its own work: its rows, and the contract of their store, sentence by sentence.

Knows nothing of the protocol (statements and batches are opaque bytes), nor of SQL, files or threads, which are a
concrete store's own business.

An actor's row of an epoch is the statement that it signed and the batch that it signed it for. With it, the actor shows
later that the fault was not its own; and the last of its rows tells it, after a restart, what it must not sign again.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from noise.store.base import StatementRow

PRUNES_PER_ROW = 4
"""Old rows that a call drops at most, for each row that it was given: more than one, so that pruning catches up."""


class CustodyRow(NamedTuple):
    """A statement with the batch that it is about. The key is the statement's slot: epoch, actor, incarnation."""

    statement: StatementRow
    batch: bytes


class Custody(ABC):
    """Durable rows of one or many actors. The contract, of which every sentence is one test that every store passes:

    - keep returns only when its rows are durable: whoever opens the store again finds them.
    - What keep stores of one actor, it stores all or not at all.
    - A row that is stored already, byte for byte, changes nothing and succeeds.
    - Another statement, or another batch, for a stored slot raises SlotTaken.
    - A new row that is not above its actor's last row, by incarnation and then epoch, raises StoreConflict.
    - A row that breaks its own shape raises StoreConflict.
    - A refused keep stores nothing of the actor that it is refused for.
    - Rows of epochs before prune_before are dropped, at most PRUNES_PER_ROW for each row given, oldest first.
    - An actor's last row is never dropped.
    - A cancelled keep was never begun, or runs to its end once.
    - After StoreFailed every keep for the actor raises StoreFailed, until the store is opened again.

    - find sees every keep that returned before it began, and is None where there is no row.
    - last_epoch is that of the highest incarnation of which there is a row, and -1 if there is none.
    - What is stored for one actor is never found for another.

    A find may raise StoreCorrupt if what is stored is damaged, and StoreFailed if it cannot be read or is closed.
    """

    @abstractmethod
    def last_epoch(self, actor: bytes) -> int:
        """The epoch of the actor's last row, or -1. `actor`: 5 bytes. Never waits."""

    @abstractmethod
    async def keep(self, rows: Sequence[CustodyRow], prune_before: int) -> None:
        """Stores rows of any actors, and drops old ones. Raises SlotTaken, StoreConflict, StoreFailed."""

    @abstractmethod
    async def find(self, actor: bytes, incarnation: int, epoch: int) -> CustodyRow | None:
        """One row. Raises StoreCorrupt, StoreFailed."""
