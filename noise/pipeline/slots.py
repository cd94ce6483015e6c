"""Write-ahead signing slots: an actor signs once for each epoch, and forward only.

Knows nothing of what is signed. The rule has two halves. Here, in memory: no slot is signed twice in one run. In the
store: the statement is durable, bytes and all, before its signature leaves the process, and a slot's bytes never
change; `noise.pipeline.recovery` emits what is stored.
"""

from noise.protocol.errors import NoiseError
from noise.protocol.identifiers import Actor
from noise.protocol.signing import Signed, Signer
from noise.store.base import StatementRow


class SlotReused(NoiseError):
    """A bug, and the one that must never leave the process: an actor was about to sign an epoch for the second time."""

    default_code = "slot-reused"


def signed_of(row: StatementRow) -> Signed:
    """What was signed, of a slot's row."""
    return Signed(row.body, row.signature)


class Slots:
    """One actor's slots. `next_epoch`: the first that it may still sign."""

    __slots__ = ("_next_epoch", "_signer", "actor", "incarnation", "label", "origin")

    def __init__(
        self, signer: Signer, label: str, origin: bytes, actor: Actor, incarnation: int, next_epoch: int
    ) -> None:
        self._signer = signer
        self.label = label
        self._next_epoch = next_epoch
        self.origin = origin
        self.actor = actor.encode()
        self.incarnation = incarnation

    def sign(self, epoch: int, body: bytes) -> StatementRow:
        """Raises SlotReused."""
        if epoch < self._next_epoch:
            raise SlotReused(f"epoch {epoch} was signed before; the next one is {self._next_epoch}")
        self._next_epoch = epoch + 1
        signed = self._signer.sign(self.label, self.origin, body)
        return StatementRow(epoch, self.actor, self.incarnation, body, signed.signature)
