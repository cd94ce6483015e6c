"""What must be so when a world has ended: one truth, told to all, and nobody suspected.

Knows nothing of how the world went. The truth is rebuilt from the bundles and manifests that the provider stored, and
every device's deliveries are compared with it, message by message. Each complaint is a sentence; none is good.
"""

from collections import defaultdict
from collections.abc import Iterator

from noise.pipeline.fsck import check_store
from noise.pipeline.lanes import read_lane
from noise.protocol.evidence.proof import verify_proof
from noise.protocol.identifiers import make_seqs, parse_seq
from noise.protocol.merkle import leaf_hashes, tree_root
from noise.protocol.statements import EPOCH_HEAD, EPOCH_RECORD, MANIFEST, message_leaves
from noise.store.base import StoreCorrupt
from noise_client.verdicts import Verdict
from tests.simulation.device import SimDevice
from tests.simulation.result import Result

HEARSAY = frozenset({"peer-differs", "log-differs"})
"""Of what a device may be made to suspect its provider by a lying peer, which proves nothing."""


async def complaints_about(result: Result) -> list[str]:
    """Everything that is not as it must be."""
    told = await truth_of(result)
    has_liars = any(device.name.startswith("colluder") for device in result.devices)
    found = [
        f"{device.name}: {what}"
        for device in result.devices
        for what in _device_complaints(device, told, has_liars=has_liars)
    ]
    found += await _slot_complaints(result)
    found += _receipt_complaints(result, told)
    try:
        await check_store(result.store, result.origin, result.rosters, lambda _: None)
    except StoreCorrupt as error:
        found.append(f"fsck: {error}")
    return found


async def truth_of(result: Result) -> dict[bytes, dict[bytes, bytes]]:
    """Leaves by recipient and seq, from what is stored. A manifest that does not hold its messages is one of nobody."""
    told: dict[bytes, dict[bytes, bytes]] = defaultdict(dict)
    for epoch in range(result.store.next_epoch):
        for manifest in await result.store.manifests(epoch):
            lane = await read_lane(result.store, manifest)
            leaves = []
            for accepted in lane.bundles:
                seqs = make_seqs(*parse_seq(accepted.first_seq), accepted.bundle.count)
                made = message_leaves(accepted.bundle, seqs)
                leaves += made
                for seq, row, leaf in zip(seqs, accepted.bundle.rows, made, strict=True):
                    for member in accepted.bundle.recipients[row.set_index].device_ids:
                        told[member][seq] = leaf
            body = MANIFEST.decode(manifest.statement.body)
            if (body.n_messages, body.root) != (len(leaves), tree_root(leaf_hashes(leaves))):
                told[b""][manifest.statement.body] = b""
    return told


def _device_complaints(device: SimDevice, told: dict[bytes, dict[bytes, bytes]], *, has_liars: bool) -> Iterator[str]:
    covered = device.follower.trusted.log.size  # what a colluder sent at last comes in an epoch that nobody saw
    expected = {seq: leaf for seq, leaf in told[device.device_id].items() if parse_seq(seq)[0] < covered}
    got = {delivery.seq: delivery.leaf for delivery in device.deliveries}
    for seq in sorted(expected.keys() | got.keys()):
        if expected.get(seq) != got.get(seq):
            kind = "differs" if seq in expected and seq in got else "is missing" if seq in expected else "is nobody's"
            yield f"the message at {parse_seq(seq)} {kind}"
    if [delivery.seq for delivery in device.deliveries] != sorted(got):
        yield "messages came twice, or out of order"
    if device.pending:
        yield f"{len(device.pending)} bundles were never answered"
    for code in device.final_refusals if device.name.startswith("device") else ():
        yield f"a bundle was refused: {code}"
    yield from device.complaints
    for proof in device.proofs:
        yield f"has a proof: {verify_proof(proof, [device.origin])}"
    for judgement in device.judgements:
        if has_liars and judgement.verdict is Verdict.SUSPECTED and {r.code for r in judgement.reasons} <= HEARSAY:
            continue
        yield f"made a judgement: {judgement}"


async def _slot_complaints(result: Result) -> list[str]:
    """A slot has one byte string: in the store, in every delta and in every receipt."""
    said: dict[tuple[object, ...], bytes] = {}
    found = []

    def hear(key: tuple[object, ...], body: bytes) -> None:
        if said.setdefault(key, body) != body:
            found.append(f"two byte strings for {key}")

    for epoch in range(result.store.next_epoch):
        row = await result.store.epoch_row(epoch)
        assert row is not None
        hear(("record", epoch), row.record)
        hear(("checkpoint", epoch), row.checkpoint)
        for statement in await result.store.statements(epoch):
            hear((statement.actor, statement.incarnation, epoch), statement.body + statement.signature)
    for device in result.devices:
        for seen in device.seen:
            shared = seen.delta.shared
            record, head = EPOCH_RECORD.decode(shared.record), EPOCH_HEAD.decode(shared.head.body)
            hear(("record", record.epoch), shared.record)
            hear(("checkpoint", record.epoch), shared.note)
            hear((head.actor, head.incarnation, head.epoch), shared.head.body + shared.head.signature)
        for receipt, _ in device.receipts.values():
            manifest = MANIFEST.decode(receipt.manifest.body)
            hear((manifest.actor, manifest.incarnation, manifest.epoch), b"".join(receipt.manifest))
    return found


def _receipt_complaints(result: Result, told: dict[bytes, dict[bytes, bytes]]) -> list[str]:
    """What has a receipt is where the receipt says, for each of its recipients."""
    found = [f"a manifest does not hold its messages: {len(told[b''])}"] if told[b""] else []
    for bundle, receipt in result.receipts():
        seqs = make_seqs(*parse_seq(receipt.first_seq), bundle.count)
        for row, seq, leaf in zip(bundle.rows, seqs, message_leaves(bundle, seqs), strict=True):
            for member in bundle.recipients[row.set_index].device_ids:
                if told[member].get(seq) != leaf:
                    found.append(f"a receipt for {parse_seq(seq)} is not honoured towards {member.hex()[:8]}")
    return found
