"""A device without a connection: what it keeps, compared by files, and its proofs.

Knows nothing of the network. The device file is locked meanwhile, as by a client.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from noise.protocol.errors import NoiseError
from noise.protocol.trust import parse_trusted
from noise_client.device import Device
from noise_client.prekeys import now_ms
from noise_client.retention import DEFAULT_POLICY, Policy
from noise_client.trust_store_sqlite import SqliteTrustStore
from noise_client.witness import Witness


@contextmanager
def open_offline(
    path: str | os.PathLike[str], policy: Policy = DEFAULT_POLICY
) -> Iterator[tuple[Device, Witness, SqliteTrustStore]]:
    """A device file's witness, until the block ends.

    Raises TrustStoreError; NoiseError "no-provider" when the device has never verified anything.
    """
    store = SqliteTrustStore(path)
    try:
        kept = store.load()
        if kept.origin is None:
            raise NoiseError("no provider was ever verified with this device: connect first", code="no-provider")
        device = Device(kept.private_key)
        trusted = parse_trusted(kept.trusted)
        yield device, Witness(store, device.device_id, kept.origin, trusted, policy, time_ms=now_ms), store
    finally:
        store.close()
