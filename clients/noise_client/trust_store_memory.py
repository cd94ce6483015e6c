"""A trust store that lives as long as its process: for tests, and for devices that are nobody tomorrow.

Knows nothing of files. It keeps the whole contract of `TrustStore`, except that nothing of it is durable.
"""

import secrets
from collections.abc import Sequence
from itertools import takewhile

from noise_client.device import Device
from noise_client.evidence_store import NOTHING_GAINED, Gained
from noise_client.trust_store import OFFENCES_MAX, Delivery, Kept, Offence, QueuedMessage, TrustStore, first_rows
from noise_client.trust_store_memory_evidence import MemoryEvidence


class MemoryTrustStore(MemoryEvidence, TrustStore):
    blocks = False

    def __init__(self, device: Device) -> None:
        super().__init__()
        self._device = device
        self._salt_secret = secrets.token_bytes(32)
        self._origin: bytes | None = None
        self._trusted = b""
        self._next_ctr = 1
        self._bundle = b""
        self._counters: dict[bytes, int] = {}
        self._untaken: list[Delivery] = []
        self._queued: list[QueuedMessage] = []
        self._offences: list[Offence] = []

    def load(self) -> Kept:
        return Kept(
            self._device.private_key,
            self._salt_secret,
            self._origin,
            self._trusted,
            self._bundle,
            sum(delivery.kept_bytes for delivery in self._untaken),
            [message.kept_bytes for message in self._queued],
        )

    def last_counter(self, sender: bytes) -> int | None:
        return self._counters.get(sender)

    def next_counter(self) -> int:
        return self._next_ctr

    def save_step(
        self,
        origin: bytes,
        trusted: bytes,
        counters: dict[bytes, int],
        deliveries: Sequence[Delivery],
        gained: Gained = NOTHING_GAINED,
    ) -> None:
        self.gain(gained)
        self._origin = origin
        self._trusted = trusted
        self._counters |= counters
        self._untaken += deliveries
        own_ctr = counters.get(self._device.device_id, 0)
        self._next_ctr = max(self._next_ctr, own_ctr + 1)

    def untaken(self, count_max: int, bytes_max: int) -> list[Delivery]:
        return first_rows(self._untaken[:count_max], bytes_max)

    def take(self, seq: bytes) -> None:
        taken_count = sum(1 for _ in takewhile(lambda delivery: delivery.seq <= seq, self._untaken))
        del self._untaken[:taken_count]

    def add_queued(self, messages: Sequence[QueuedMessage]) -> None:
        self._queued += messages

    def queued(self, count_max: int, bytes_max: int) -> list[QueuedMessage]:
        return first_rows(self._queued[:count_max], bytes_max)

    def freeze(self, bundle: bytes, next_ctr: int) -> None:
        self._bundle = bundle
        self._next_ctr = next_ctr

    def finish(self, count: int) -> None:
        self._bundle = b""
        del self._queued[:count]

    def save_offence(self, offence: Offence) -> None:
        self._offences = [*self._offences, offence][-OFFENCES_MAX:]

    def offences(self) -> list[Offence]:
        return list(self._offences)

    def close(self) -> None:
        """There is nothing to close."""
