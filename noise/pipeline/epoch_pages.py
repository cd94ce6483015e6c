"""Committed epochs, read back from the store as anybody and auditors are shown them.

Knows nothing of who asks. What is damaged is shown as it is found: whoever reads it compares it with what was signed.
"""

from collections.abc import Sequence
from typing import NamedTuple

import trio

from noise.pipeline.stored import open_stored
from noise.protocol.audit_page import AuditPage, make_audit_lane
from noise.protocol.delta import SignedHead
from noise.protocol.envelope import Bundle
from noise.protocol.frames import SignedManifest
from noise.protocol.identifiers import Role
from noise.protocol.log_pages import EpochStatements, SignedMerge, SignedOpen, SignedRoute
from noise.store.base import BundleRow, ManifestRow, StatementRow, Store, StoreCorrupt


class ReadLane(NamedTuple):
    """A lane's manifest, and its bundles in position order."""

    manifest: ManifestRow
    bundles: Sequence[Bundle]


async def read_statements(store: Store, epoch: int) -> EpochStatements:
    """An epoch's record, checkpoint, and all that its actors signed. Raises StoreCorrupt."""
    row = await store.epoch_row(epoch)
    statements = await store.statements(epoch)
    opened = _signed_by(Role.SEQUENCER, statements)
    if row is None or len(opened) != 1:
        raise StoreCorrupt(f"epoch {epoch} lacks its record or statements: run noise fsck")
    try:
        note = row.checkpoint.decode("utf-8")
    except UnicodeDecodeError:
        raise StoreCorrupt(f"the checkpoint of epoch {epoch} is damaged: run noise fsck") from None
    return EpochStatements(
        row.record,
        note,
        tuple(SignedManifest(*signed) for signed in _signed_by(Role.INBOX, statements)),
        tuple(SignedRoute(*signed) for signed in _signed_by(Role.ROUTER, statements)),
        tuple(SignedMerge(*signed) for signed in _signed_by(Role.RECEIVER, statements)),
        tuple(SignedHead(*signed) for signed in _signed_by(Role.OUTBOX, statements)),
        SignedOpen(*opened[0]),
    )


async def read_lanes(store: Store, epoch: int) -> list[ReadLane]:
    """The lanes of an epoch, in order, with all that was sent in them. Raises StoreCorrupt."""
    lanes = []
    for manifest in await store.manifests(epoch):
        rows = await store.bundles_of(epoch, manifest.lane)
        lanes.append(ReadLane(manifest, await trio.to_thread.run_sync(_open_bundles, rows)))
    return lanes


def make_audit_page(epoch: int, lanes: Sequence[ReadLane]) -> AuditPage:
    """Who was to receive what in an epoch."""
    return AuditPage(tuple(make_audit_lane(epoch, manifest.lane, bundles) for manifest, bundles in lanes))


def _open_bundles(rows: Sequence[BundleRow]) -> list[Bundle]:
    return [open_stored(row).bundle for row in rows]


def _signed_by(role: Role, statements: Sequence[StatementRow]) -> list[tuple[bytes, bytes]]:
    return [(row.body, row.signature) for row in statements if row.actor[0] == role]
