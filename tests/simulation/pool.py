"""All that a provider said in one world, to anybody: what colluding clients could lay side by side.

Knows nothing of evidence. Pieces are as they were said, byte for byte; who said them to whom does not matter any more.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from noise.pipeline.challenges import Entry, changes_by_epoch
from noise.protocol.challenges import CHALLENGE
from noise.protocol.envelope import Bundle, Recipients
from noise.protocol.frames import Receipt
from noise.protocol.identifiers import Role, make_seqs, parse_seq
from noise.protocol.merkle import Tree, leaf_hash
from noise.protocol.signing import Signed
from noise.protocol.state_map import StateMap
from noise.protocol.statements import message_leaves
from noise.store.base import CacheRow, StatementRow
from tests.simulation.challenging import Promised
from tests.simulation.device import Seen
from tests.simulation.result import Result


class PooledEpoch(NamedTuple):
    """What is stored of an epoch, and what was therefore shown, or could have been."""

    record: bytes
    note: bytes
    statements: Sequence[StatementRow]


class Pool(NamedTuple):
    """`histories`, `leaves`: by mailbox, in order; leaves are lists, one for each record. `log`: over the records.

    `challenges`: the map of each epoch. `excused`: keys of those whose actor lost what it would have shown.
    """

    origin: bytes
    rosters: Sequence[Signed]
    epochs: Sequence[PooledEpoch]
    log: Tree
    seen: Sequence[Seen]
    histories: dict[bytes, list[bytes]]
    leaves: dict[bytes, list[list[bytes]]]
    receipts: Sequence[tuple[Bundle, Receipt]]
    recipients: dict[bytes, Recipients]
    challenges: Sequence[StateMap[Entry]]
    excused: frozenset[bytes]
    challenged: Sequence[Promised]

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

    def statements(self) -> dict[Role, list[Signed]]:
        """All that is signed once an epoch, but manifests, of whichever actor and epoch."""
        return {role: self._of(role) for role in (Role.ROUTER, Role.RECEIVER, Role.OUTBOX, Role.SEQUENCER)}

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
    maps, excused = await _challenges_of(result)
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
        maps,
        excused,
        result.promised,
    )


async def _challenges_of(result: Result) -> tuple[list[StateMap[Entry]], frozenset[bytes]]:
    rows: list[CacheRow] = []
    while page := await result.store.challenges(rows[-1].key if rows else None):
        rows += page
    changes = changes_by_epoch(rows)
    maps, states = [], StateMap[Entry].empty()
    for epoch in range(result.store.next_epoch):
        states = states.update(changes.get(epoch, []))
        maps.append(states)
    excused = set()
    for key, _, entry in states.items():
        asked = CHALLENGE.decode(entry.challenge)
        if await result.custody.find(asked.actor, asked.incarnation, asked.epoch) is None:
            excused.add(key)
    return maps, frozenset(excused)
