"""Receipts: made when a manifest is sealed, and made again when a bundle comes a second time.

Knows nothing of open epochs. The same bytes get the same receipt; the same counters with other bytes are a conflict.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, NamedTuple

from noise.pipeline.lanes import read_lane
from noise.pipeline.stored import lane_of
from noise.protocol.envelope import Bundle
from noise.protocol.errors import NoiseError, Rejected
from noise.protocol.frames import Receipt, SignedManifest
from noise.protocol.identifiers import make_seq
from noise.protocol.merkle import Tree
from noise.protocol.receipts import open_receipt
from noise.protocol.statements import Roster
from noise.store.base import BundleRow, StatementRow, Store, StoreCorrupt

STEPS_MAX: Final = 256
"""How many of a sender's bundles back a receipt is looked for: far more than any client has in flight."""

_LANES_REMEMBERED: Final = 4


def make_receipt(statement: StatementRow, tree: Tree, first_seq: bytes, first_pos: int, count: int) -> Receipt:
    """The receipt of `count` messages from `first_pos` under a manifest whose tree is `tree`."""
    proof = tree.prove_subset(first_pos, first_pos + count)
    return Receipt(SignedManifest(statement.body, statement.signature), first_seq, tuple(proof))


class _Sealed(NamedTuple):
    """What receipts of one lane and epoch need. `bundle_hashes` by bundle_id."""

    statement: StatementRow
    tree: Tree
    bundle_hashes: dict[int, bytes]


class Receipts:
    """Makes receipts of one lane's inbox again, and remembers the lanes that it looked at last."""

    def __init__(self, store: Store, origin: bytes, rosters: Sequence[Roster]) -> None:
        """`rosters`: all, in order: a receipt leaves only if a client of any of them would believe it."""
        self._store = store
        self._origin = origin
        self._rosters = rosters
        self._lanes: OrderedDict[tuple[int, int], _Sealed] = OrderedDict()

    async def find(self, last_id: int, bundle: Bundle) -> Receipt:
        """The receipt that `bundle` got before. `last_id`: its sender's last bundle. Raises Rejected, StoreCorrupt."""
        row = await self._find_row(last_id, bundle.first_ctr)
        sealed = await self._load(row.epoch, lane_of(row.bundle_id))
        if sealed.bundle_hashes.get(row.bundle_id) != bundle.bundle_hash:
            raise Rejected("these counters were used for other content", code="counter-conflict")
        first_seq = make_seq(row.epoch, lane_of(row.bundle_id), row.first_pos)
        receipt = make_receipt(sealed.statement, sealed.tree, first_seq, row.first_pos, bundle.count)
        try:
            open_receipt(receipt, bundle, self._origin, self._rosters)
        except NoiseError as error:
            raise StoreCorrupt(
                f"lane {lane_of(row.bundle_id)} of epoch {row.epoch} is not what was signed ({error}): restore the "
                "newest good copy and run noise fsck"
            ) from None
        return receipt

    async def _load(self, epoch: int, lane: int) -> _Sealed:
        known = self._lanes.get((epoch, lane))
        if known is not None:
            self._lanes.move_to_end((epoch, lane))
            return known
        manifest = next((m for m in await self._store.manifests(epoch) if m.lane == lane), None)
        if manifest is None:
            raise StoreCorrupt(f"the manifest of lane {lane} in epoch {epoch} is missing: run noise fsck")
        loaded = await read_lane(self._store, manifest)
        hashes = {accepted.bundle_id: accepted.bundle.bundle_hash for accepted in loaded.bundles}
        sealed = self._lanes[epoch, lane] = _Sealed(manifest.statement, loaded.tree, hashes)
        if len(self._lanes) > _LANES_REMEMBERED:
            self._lanes.popitem(last=False)
        return sealed

    async def _find_row(self, last_id: int, first_ctr: int) -> BundleRow:
        bundle_id = last_id
        for _ in range(STEPS_MAX):
            row = (await self._store.bundles_by_id([bundle_id])).get(bundle_id) if bundle_id >= 0 else None
            if row is None or row.first_ctr + row.n_messages <= first_ctr:
                raise Rejected("these counters were skipped and cannot be used any more", code="counter-conflict")
            if row.first_ctr == first_ctr:
                return row
            if row.first_ctr < first_ctr:
                raise Rejected("these counters were used for other content", code="counter-conflict")
            bundle_id = row.prev_id
        raise Rejected("sent long ago: its receipt is no longer looked up", code="counter-too-old")
