"""A sealed lane, read back from the store, and believed only when it leads to its signed manifest.

Knows nothing of what is done with it. Receipts are made again from here, what a crash interrupted is ended from here,
and fsck replays from here: what a disk has changed since is refused before anything is shown or signed over it.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import trio

from noise.pipeline.batches import Accepted, SealedLane
from noise.pipeline.slots import signed_of
from noise.pipeline.stored import open_stored
from noise.protocol.errors import NoiseError
from noise.protocol.identifiers import parse_actor
from noise.protocol.merkle import Tree
from noise.protocol.signing import verify_strict
from noise.protocol.statements import MANIFEST, Manifest, Roster, verify_statement
from noise.store.base import ID_STEP, BundleRow, ManifestRow, Store, StoreCorrupt


class StoredLane(NamedTuple):
    """One lane of one epoch: its rows, their bundles, and the tree over all leaves, whose root its manifest has."""

    rows: Sequence[BundleRow]
    bundles: Sequence[Accepted]
    tree: Tree


async def read_lane(store: Store, manifest: ManifestRow) -> StoredLane:
    """A lane that leads to the root of its manifest; no signature is verified again. Raises StoreCorrupt."""
    rows = await store.bundles_of(manifest.epoch, manifest.lane)
    return await trio.to_thread.run_sync(partial(_open_lane, manifest, rows))


async def load_lane(
    store: Store, manifest: ManifestRow, roster: Roster, previous: bytes
) -> tuple[SealedLane, Sequence[BundleRow]]:
    """A lane and its rows, with the signatures of its inbox and of every sender verified again.

    `roster`: in force in its epoch; `previous`: hash of the lane's manifest before, or zeros. Raises StoreCorrupt.
    """
    epoch, lane, statement, expected_id, next_id = manifest
    rows, bundles, tree = await read_lane(store, manifest)
    expected_pos = 0
    try:
        name = {one.lane: one.inbox for one in roster.lanes}.get(lane)
        if name is None or statement.actor != name:
            raise StoreCorrupt("it is none of the roster's")
        actor = parse_actor(name)
        verify_statement(signed_of(statement), "manifest", roster, actor, statement.incarnation)
        for row, accepted in zip(rows, bundles, strict=True):
            bundle = accepted.bundle
            if (row.bundle_id, row.epoch, row.first_pos) != (expected_id, epoch, expected_pos):
                raise StoreCorrupt(f"bundle {row.bundle_id} is not where its lane has it")
            if bundle.origin != roster.origin:
                raise StoreCorrupt(f"bundle {row.bundle_id} is another provider's")
            verify_strict(bundle.key, bundle.signature, "bundle", bundle.origin, bundle.body)
            expected_pos += bundle.count
            expected_id += ID_STEP
        expected = Manifest(roster.origin, name, statement.incarnation, epoch, lane, tree.size, tree.root, previous)
        if expected_id != next_id or MANIFEST.decode(statement.body) != expected:
            raise StoreCorrupt("the manifest is not that of its bundles")
    except NoiseError as error:
        raise _damaged(manifest, error.detail) from None
    return SealedLane(epoch, lane, statement, bundles), rows


def _open_lane(manifest: ManifestRow, rows: Sequence[BundleRow]) -> StoredLane:
    try:
        signed = MANIFEST.decode(manifest.statement.body)
        bundles = [open_stored(row) for row in rows]
    except NoiseError as error:
        raise _damaged(manifest, error.detail) from None
    tree = Tree([leaf for accepted in bundles for leaf in accepted.leaf_hashes])
    if (signed.n_messages, signed.root) != (tree.size, tree.root):
        raise _damaged(manifest, "its messages do not lead to the signed root")
    return StoredLane(rows, bundles, tree)


def _damaged(manifest: ManifestRow, detail: str) -> StoreCorrupt:
    return StoreCorrupt(
        f"lane {manifest.lane} of epoch {manifest.epoch} is not what was signed ({detail}): nothing is signed from "
        "this state. Restore the newest good copy and run noise fsck"
    )
