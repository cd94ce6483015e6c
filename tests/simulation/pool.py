"""All that a provider said in one world, to anybody: what colluding clients could lay side by side.

Knows nothing of evidence. Pieces are as they were said, byte for byte; who said them to whom does not matter any more.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from noise.protocol.envelope import Bundle, Recipients
from noise.protocol.frames import Receipt
from noise.protocol.identifiers import Role, make_seqs, parse_seq
from noise.protocol.merkle import Tree, leaf_hash
from noise.protocol.signing import Signed
from noise.protocol.statements import message_leaves
from noise.store.base import StatementRow
from tests.simulation.device import Seen
from tests.simulation.result import Result


class PooledEpoch(NamedTuple):
    """What is stored of an epoch, and what was therefore shown, or could have been."""

    record: bytes
    note: bytes
    statements: Sequence[StatementRow]


class Pool(NamedTuple):
    """`histories`, `leaves`: by mailbox, in order; leaves are lists, one for each record. `log`: over the records."""

    origin: bytes
    rosters: Sequence[Signed]
    epochs: Sequence[PooledEpoch]
    log: Tree
    seen: Sequence[Seen]
    histories: dict[bytes, list[bytes]]
    leaves: dict[bytes, list[list[bytes]]]
    receipts: Sequence[tuple[Bundle, Receipt]]
    recipients: dict[bytes, Recipients]

    def promised(self) -> Iterator[bytes]:
        """The leaves that receipts speak of, delivered or not."""
        for bundle, receipt in self.receipts:
            yield from message_leaves(bundle, make_seqs(*parse_seq(receipt.first_seq), bundle.count))

    def delivered(self) -> Iterator[bytes]:
        """The leaves that mailboxes got."""
        return (leaf for records in self.leaves.values() for leaves in records for leaf in leaves)

    def manifests(self) -> list[Signed]:
        """All, of whichever inbox and epoch."""
        return self._of(Role.INBOX)

    def heads(self) -> list[Signed]:
        """All, of whichever outbox and epoch."""
        return self._of(Role.OUTBOX)

    def _of(self, role: Role) -> list[Signed]:
        rows = [row for epoch in self.epochs for row in epoch.statements if row.actor[0] == role]
        return [Signed(row.body, row.signature) for row in rows]


async def pool_of(result: Result) -> Pool:
    """Everything that was said."""
    epochs = []
    for epoch in range(result.store.next_epoch):
        row = await result.store.epoch_row(epoch)
        assert row is not None
        epochs.append(PooledEpoch(row.record, row.checkpoint, await result.store.statements(epoch)))
    histories: dict[bytes, list[bytes]] = {}
    leaves: dict[bytes, list[list[bytes]]] = {}
    recipients: dict[bytes, Recipients] = {}
    for device in result.devices:
        records = histories.setdefault(device.device_id, [])
        for seen in device.seen:
            records += [entry.record for entry in seen.delta.history]
        by_epoch: dict[bytes, list[bytes]] = {}
        for delivery in device.deliveries:
            by_epoch.setdefault(delivery.seq[:8], []).append(delivery.leaf)
            recipients[delivery.recipients.root] = delivery.recipients
        leaves[device.device_id] = list(by_epoch.values())
    for bundle, _ in result.receipts():
        recipients.update((members.root, members) for members in bundle.recipients)
    return Pool(
        result.origin,
        result.rosters,
        epochs,
        Tree([leaf_hash(epoch.record) for epoch in epochs]),
        [seen for device in result.devices for seen in device.seen],
        histories,
        leaves,
        result.receipts(),
        recipients,
    )
