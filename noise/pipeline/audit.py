"""Audits a whole store: what the stages signed, against what an auditor's own replay makes of the stored bundles.

Knows nothing of the pipeline's stages: `noise.pipeline.fsck` runs these again, and compares every stored byte. This
names the actor that lied, as an auditor from outside would, and looks at the senders' signatures besides. No actor
signs these: a wrong one may be of the disk's making, and names the provider.
"""

from collections.abc import Callable, Sequence

from noise.pipeline.epoch_pages import ReadLane, make_audit_page, read_lanes, read_statements
from noise.protocol.audit_page import AuditPage
from noise.protocol.auditor import PROVIDER, AuditCounts, AuditFailed, Auditor
from noise.protocol.errors import SignatureError
from noise.protocol.identifiers import parse_actor
from noise.protocol.signing import Signed, verify_strict
from noise.store.base import Store


async def audit_store(
    store: Store, origin: bytes, rosters: Sequence[Signed], next_epoch: int, on_epoch: Callable[[int], None]
) -> AuditCounts:
    """Replay the epochs before `next_epoch`. `on_epoch` hears after each how many are done.

    Raises AuditFailed for an output that is not what its input makes, StoreCorrupt for what cannot be read.
    """
    auditor = Auditor(origin, rosters)
    n_bundles = 0
    for epoch in range(next_epoch):
        lanes = await read_lanes(store, epoch)
        n_bundles += sum(len(lane.bundles) for lane in lanes)
        statements = await read_statements(store, epoch)
        auditor.check_epoch(statements, _check_bundles(origin, epoch, lanes))
        on_epoch(epoch + 1)
    return auditor.counts._replace(signatures=auditor.counts.signatures + n_bundles)


def _check_bundles(origin: bytes, epoch: int, lanes: Sequence[ReadLane]) -> AuditPage:
    """Every bundle is what its sender signed for this provider; then what the lanes show."""
    for manifest, bundles in lanes:
        for bundle in bundles:
            try:
                verify_strict(bundle.key, bundle.signature, "bundle", origin, bundle.body)
            except SignatureError as error:
                inbox = parse_actor(manifest.statement.actor)
                detail = f"keeps a bundle of {inbox} that its sender did not sign: {error.detail}"
                raise AuditFailed(PROVIDER, epoch, detail) from None
    return make_audit_page(epoch, lanes)
