"""Receipts: made when a manifest is sealed, and made again when a bundle comes a second time.

Knows nothing of open epochs. The same bytes get the same receipt; the same counters with other bytes are a conflict.
"""

from noise.protocol.encoding import Codec
from noise.protocol.envelope import BUNDLE_WIRE, Bundle, BundleWire, Recipients, split_commons
from noise.protocol.errors import NoiseError, Rejected
from noise.protocol.frames import Receipt, SignedManifest
from noise.protocol.identifiers import device_id_of, make_seq, make_seqs
from noise.protocol.merkle import Tree, leaf_hashes
from noise.protocol.statements import message_leaves
from noise.store.base import LANE_BITS, BundleRow, StatementRow, Store, StoreCorrupt

STEPS_MAX = 256
"""How many of a sender's bundles back a receipt is looked for: far more than any client has in flight."""

_WIRE: Codec[BundleWire] = BUNDLE_WIRE


def make_receipt(statement: StatementRow, tree: Tree, first_seq: bytes, first_pos: int, count: int) -> Receipt:
    """The receipt of `count` messages from `first_pos` under a manifest whose tree is `tree`."""
    proof = tree.prove_subset(first_pos, first_pos + count)
    return Receipt(SignedManifest(statement.body, statement.signature), first_seq, tuple(proof))


def stored_bundle(row: BundleRow) -> Bundle:
    """A bundle from the store, reconstructed. Its signature was verified when it was accepted."""
    wire = _WIRE.decode(row.body)
    recipients = [Recipients(s) for s in wire.sets]
    commons = split_commons(wire.rows, wire.commons)
    bundle = Bundle(wire.origin, wire.key, wire.first_ctr, recipients, wire.rows, commons, wire.ciphertexts)
    bundle.signature = wire.signature
    return bundle


def check_row(row: BundleRow) -> None:
    """The columns of a stored bundle say what its signed body says. Raises StoreCorrupt."""
    try:
        wire = _WIRE.decode(row.body)
    except NoiseError:
        wire = None
    if wire is None or (row.sender, row.first_ctr, row.n_messages) != (
        device_id_of(wire.key),
        wire.first_ctr,
        len(wire.rows),
    ):
        raise StoreCorrupt(f"bundle {row.bundle_id} is damaged: restore the newest good copy and run noise fsck")


def stored_leaf_hashes(row: BundleRow, bundle: Bundle) -> list[bytes]:
    """Leaf hashes of a stored bundle's messages at the positions that its lane gave them."""
    lane = row.bundle_id & ((1 << LANE_BITS) - 1)
    seqs = make_seqs(row.epoch, lane, row.first_pos, bundle.count)
    return leaf_hashes(message_leaves(bundle, seqs))


async def find_receipt(store: Store, last_id: int, bundle: Bundle) -> Receipt:
    """The receipt that `bundle` got before. `last_id`: its sender's last bundle. Raises Rejected."""
    row = await _find_row(store, last_id, bundle.first_ctr)
    if stored_bundle(row).bundle_hash != bundle.bundle_hash:
        raise Rejected("these counters were used for other content", code="counter-conflict")
    lane = row.bundle_id & ((1 << LANE_BITS) - 1)
    manifest = next((m for m in await store.manifests(row.epoch) if m.lane == lane), None)
    if manifest is None:
        raise StoreCorrupt(f"the manifest of lane {lane} in epoch {row.epoch} is missing: run noise fsck")
    hashes: list[bytes] = []
    for other in await store.bundles_of(row.epoch, lane):
        hashes += stored_leaf_hashes(other, stored_bundle(other))
    first_seq = make_seq(row.epoch, lane, row.first_pos)
    return make_receipt(manifest.statement, Tree(hashes), first_seq, row.first_pos, row.n_messages)


async def _find_row(store: Store, last_id: int, first_ctr: int) -> BundleRow:
    bundle_id = last_id
    for _ in range(STEPS_MAX):
        row = (await store.bundles_by_id([bundle_id])).get(bundle_id) if bundle_id >= 0 else None
        if row is None or row.first_ctr + row.n_messages <= first_ctr:
            raise Rejected("these counters were skipped and cannot be used any more", code="counter-conflict")
        if row.first_ctr == first_ctr:
            return row
        if row.first_ctr < first_ctr:
            raise Rejected("these counters were used for other content", code="counter-conflict")
        bundle_id = row.prev_id
    raise Rejected("sent long ago: its receipt is no longer looked up", code="counter-too-old")
