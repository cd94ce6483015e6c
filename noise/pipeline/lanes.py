"""A sealed lane, read back from the store: every bundle and the manifest over them, verified again.

Knows nothing of what is done with it. What a crash interrupted is ended from here, and fsck replays from here: what a
disk has changed since is refused before anything is signed over it.
"""

from noise.pipeline.batches import Accepted, SealedLane
from noise.pipeline.reissue import stored_leaf_hashes
from noise.protocol.envelope import open_bundle
from noise.protocol.errors import NoiseError
from noise.protocol.identifiers import Actor, Role, make_seqs
from noise.protocol.merkle import tree_root
from noise.protocol.signing import Signed
from noise.protocol.statements import MANIFEST, Manifest, Roster, verify_statement
from noise.store.base import ID_STEP, BundleRow, ManifestRow, Store, StoreCorrupt


async def load_lane(
    store: Store, manifest: ManifestRow, roster: Roster, previous: bytes
) -> tuple[SealedLane, list[BundleRow]]:
    """The lane and its rows. `roster`: in force in its epoch; `previous`: hash of the lane's manifest before, or zeros.

    Raises StoreCorrupt.
    """
    epoch, lane, statement, expected_id, _ = manifest
    bundles: list[Accepted] = []
    hashes: list[bytes] = []
    rows = await store.bundles_of(epoch, lane)
    try:
        actor = Actor(Role.INBOX, 0, lane)
        verify_statement(Signed(statement.body, statement.signature), "manifest", roster, actor, statement.incarnation)
        for row in rows:
            bundle = open_bundle(row.body, roster.origin)
            stored = (row.bundle_id, row.epoch, row.first_pos, row.sender, row.first_ctr, row.n_messages)
            if stored != (expected_id, epoch, len(hashes), bundle.sender, bundle.first_ctr, bundle.count):
                raise StoreCorrupt(f"bundle {row.bundle_id} is not where its lane has it")
            seqs = make_seqs(epoch, lane, len(hashes), bundle.count)
            leaves = stored_leaf_hashes(row, bundle)
            bundles.append(Accepted(bundle, row.body, row.bundle_id, len(hashes), seqs, leaves))
            hashes += leaves
            expected_id += ID_STEP
        expected = Manifest(
            roster.origin,
            actor.encode(),
            statement.incarnation,
            epoch,
            lane,
            len(hashes),
            tree_root(hashes),
            previous,
        )
        if statement.actor != actor.encode() or MANIFEST.decode(statement.body) != expected:
            raise StoreCorrupt("the manifest is not that of its bundles")
    except NoiseError as error:
        raise StoreCorrupt(
            f"lane {lane} of epoch {epoch} is not what was signed ({error.detail}): nothing is signed from this state. "
            "Restore the newest good copy and run noise fsck"
        ) from None
    return SealedLane(epoch, lane, statement, bundles), rows
