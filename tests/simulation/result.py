"""What is left when a world has ended. Knows nothing of how it came about, nor of what must be so."""

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

from noise.pipeline.batches import CommittedEpoch
from noise.protocol.envelope import Bundle
from noise.protocol.frames import Receipt
from noise.protocol.signing import Signed
from noise.store.custody import Custody
from noise.store.memory import MemoryStore
from tests.simulation.challenging import Promised
from tests.simulation.device import SimDevice


class Result(NamedTuple):
    """What is left when a world has ended."""

    seed: int
    origin: bytes
    devices: Sequence[SimDevice]
    store: MemoryStore
    custody: Custody
    view: CommittedEpoch | None
    """What the provider showed last."""
    rosters: Sequence[Signed]
    lost: dict[bytes, int]
    """Up to which epoch an actor may have lost what it kept."""
    n_killed: int
    n_renewed: int
    n_carried: int
    trace: Sequence[str]
    loot: Sequence[tuple[Bundle, Receipt]]
    """Receipts that colluders got for what they crafted, or stole."""
    promised: Sequence[Promised]
    """Challenges with the receipts for them."""

    @property
    def digest(self) -> str:
        """The same for the same seed, if nothing is left to chance."""
        whole = sha256("\n".join(self.trace).encode())
        for device in self.devices:
            for seen in device.seen:
                whole.update(seen.delta.shared.note + b"".join(d.leaf for d in seen.deliveries))
        return whole.hexdigest()

    def receipts(self) -> list[tuple[Bundle, Receipt]]:
        """All that anybody got."""
        own = [
            (device.sent[number], receipt)
            for device in self.devices
            for number, (receipt, _) in device.receipts.items()
        ]
        return [*own, *self.loot]

    def __str__(self) -> str:
        n_deliveries = sum(len(device.deliveries) for device in self.devices)
        return (
            f"seed {self.seed}: {self.store.next_epoch} epochs, {n_deliveries} deliveries to {len(self.devices)} "
            f"devices, {len(self.rosters)} rosters, {self.n_renewed} new keys, {self.n_killed} lives that ended\n"
            f"  badly, {len(self.promised)} challenges, {self.n_carried} words carried, digest {self.digest[:16]}"
        )
