"""Bundles as the store gives them back, reconstructed.

Knows nothing of what they are for. A disk that rots must never look like a lie of ours: whoever shows, signs or counts
again what comes from here compares it with a signed root first.
"""

import struct

from noise.pipeline.batches import Accepted
from noise.protocol.encoding import Codec
from noise.protocol.envelope import BUNDLE_WIRE, Bundle, BundleWire, Recipients, split_commons
from noise.protocol.errors import NoiseError
from noise.protocol.identifiers import device_id_of, make_seq
from noise.store.base import LANE_BITS, BundleRow, StoreCorrupt

_WIRE: Codec[BundleWire] = BUNDLE_WIRE


def lane_of(bundle_id: int) -> int:
    return bundle_id & ((1 << LANE_BITS) - 1)


def check_row(row: BundleRow) -> BundleWire:
    """A stored bundle whose columns say what its body says. Raises StoreCorrupt."""
    try:
        wire = _WIRE.decode(row.body)
    except NoiseError as error:
        raise _damaged(row) from error
    if (row.sender, row.first_ctr, row.n_messages) != (device_id_of(wire.key), wire.first_ctr, len(wire.rows)):
        raise _damaged(row)
    return wire


def open_stored(row: BundleRow) -> Accepted:
    """A stored bundle at its place, with its leaves. Nothing of it is proven yet. Raises StoreCorrupt."""
    wire = check_row(row)
    try:
        recipients = [Recipients(recipient_set) for recipient_set in wire.sets]
        commons = split_commons(wire.rows, wire.commons)
        bundle = Bundle(wire.origin, wire.key, wire.first_ctr, recipients, wire.rows, commons, wire.ciphertexts)
        bundle.signature = wire.signature
        first_seq = make_seq(row.epoch, lane_of(row.bundle_id), row.first_pos)
        return Accepted(bundle, row.body, row.bundle_id, first_seq)
    except (NoiseError, IndexError, struct.error) as error:
        raise _damaged(row) from error


def _damaged(row: BundleRow) -> StoreCorrupt:
    return StoreCorrupt(f"bundle {row.bundle_id} is damaged: restore the newest good copy and run noise fsck")
