"""Replays a whole store: every hash, tree, chain and signature again, from the stored bytes alone.

Knows nothing of keys or progress bars. It runs the stages' own pure steps over the stored bundles and compares what
they make, byte for byte, with what was stored and signed. The first contradiction ends it.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from noise.pipeline.batches import MergedEpoch, RoutedLane, SealedLane
from noise.pipeline.epoch_log import BLOCK_SIZE
from noise.pipeline.lanes import load_lane
from noise.pipeline.outbox import deliver
from noise.pipeline.receiver import Receiver
from noise.pipeline.recovery import load_histories, load_senders
from noise.pipeline.router import Router
from noise.pipeline.senders import SenderTable
from noise.protocol.checkpoint import log_name_of, verify_checkpoint
from noise.protocol.encoding import Codec
from noise.protocol.errors import NoiseError
from noise.protocol.frames import ACK_BODY, AckBody
from noise.protocol.history import History
from noise.protocol.identifiers import Actor, Role
from noise.protocol.merkle import EMPTY_RANGE, EMPTY_ROOT, leaf_hash, tree_root
from noise.protocol.placement import Rendezvous, actors_of
from noise.protocol.signing import SIGNED, Signed, verify_strict
from noise.protocol.state_map import StateMap
from noise.protocol.statements import (
    EPOCH_HEAD,
    EPOCH_OPEN,
    EPOCH_RECORD,
    NO_OVERRIDES,
    NO_SHEET,
    EpochHead,
    EpochOpen,
    EpochRecord,
    Roster,
    check_successor,
    hash_head,
    hash_manifest,
    hash_open,
    hash_roster,
    open_roster,
    statement_leaf_hash,
    verify_statement,
)
from noise.store.base import EpochRow, HistoryRow, ManifestRow, StatementRow, Store, StoreCorrupt

_ACK: Codec[AckBody] = ACK_BODY


class Counts(NamedTuple):
    """What was checked."""

    epochs: int
    messages: int
    deliveries: int
    signatures: int


class Replay:
    """The state of a replay. `counts` grows; `check_epoch` raises StoreCorrupt at the first contradiction."""

    def __init__(self, store: Store, origin: bytes, rosters: Sequence[Signed]) -> None:
        self.counts = Counts(0, 0, 0, 0)
        self._store = store
        self._origin = origin
        self._rosters = [(hash_roster(signed.body), open_roster(signed, origin)) for signed in rosters]
        for before, (_, roster) in zip(rosters, self._rosters[1:], strict=False):
            check_successor(before, roster)
        self._log = EMPTY_RANGE
        self._time_ms = 0
        self._previous: dict[bytes, bytes] = {}
        self._maps: list[StateMap[History]] = []
        self._roster_hash = b""
        self._senders = SenderTable()
        self._block: list[bytes] = []
        self._blocks: list[bytes] = []

    async def check_epoch(self, epoch: int) -> None:
        """Replay one committed epoch."""
        row = await self._store.epoch_row(epoch)
        if row is None:
            raise StoreCorrupt("the epoch's record is missing")
        record = EPOCH_RECORD.decode(row.record)
        roster = self._roster_of(record, epoch)
        rows = {statement.actor: statement for statement in await self._store.statements(epoch)}
        manifests = await self._store.manifests(epoch)
        lanes = [await self._check_lane(manifest, roster) for manifest in manifests]
        if [manifest.lane for manifest in manifests] != [lane.lane for lane in roster.lanes]:
            raise StoreCorrupt("the manifests are not those of the roster's lanes")
        n_messages = sum(accepted.bundle.count for sealed in lanes for accepted in sealed.bundles)
        leaves = [statement_leaf_hash(m.statement.actor, hash_manifest(m.statement.body)) for m in manifests]
        leaves += await self._check_outboxes(epoch, roster, rows, lanes)
        leaves.append(self._check_open(epoch, roster, rows))
        self._check_record(row, record, leaves, n_messages)
        counts = self.counts
        self.counts = counts._replace(
            epochs=counts.epochs + 1,
            messages=counts.messages + n_messages,
            signatures=counts.signatures + len(leaves) + 1 + sum(len(sealed.bundles) for sealed in lanes),
        )

    def _roster_of(self, record: EpochRecord, epoch: int) -> Roster:
        """The roster in force; mailboxes are placed anew when it is another than before."""
        roster = next((r for h, r in self._rosters if h == record.roster_hash), None)
        if roster is None or roster.valid_from_epoch > epoch:
            raise StoreCorrupt("the epoch ran under a roster that did not bind it")
        if record.roster_hash != self._roster_hash:
            self._roster_hash = record.roster_hash
            named = {entry.actor for entry in roster.actors}
            self._previous = {actor: h for actor, h in self._previous.items() if actor in named}
            outboxes = actors_of(roster, Role.OUTBOX)
            placement = Rendezvous(outboxes)
            kept = [item for states in self._maps for item in states.items()]
            items = [[i for i in kept if placement.number(i[2].state.mailbox) == actor.number] for actor in outboxes]
            self._maps = [StateMap[History].empty().update(one) for one in items]
        return roster

    def _verify(self, row: StatementRow, label: str, roster: Roster, actor: Actor) -> None:
        if row.actor != actor.encode():
            raise StoreCorrupt(f"the statement of {actor} is another actor's")
        verify_statement(Signed(row.body, row.signature), label, roster, actor, row.incarnation)

    async def _check_lane(self, manifest: ManifestRow, roster: Roster) -> SealedLane:
        """Every bundle of a lane, the manifest over them, and that they follow their senders' last ones."""
        actor = manifest.statement.actor
        sealed, rows = await load_lane(self._store, manifest, roster, self._previous.get(actor, bytes(32)))
        for row in rows:
            sender = self._senders.get(row.sender)
            if row.first_ctr < sender.next_ctr or row.prev_id != sender.last_id:
                raise StoreCorrupt(f"bundle {row.bundle_id} does not follow its sender's last one")
            self._senders.sealed(row)
        self._previous[actor] = hash_manifest(manifest.statement.body)
        return sealed

    async def _check_outboxes(
        self, epoch: int, roster: Roster, rows: dict[bytes, StatementRow], lanes: Sequence[SealedLane]
    ) -> list[bytes]:
        """Route, merge and deliver again; compare histories and heads."""
        outboxes = actors_of(roster, Role.OUTBOX)
        router = Router(Rendezvous(outboxes), len(outboxes))
        routed: list[list[RoutedLane]] = [list(one) for one in zip(*map(router.step, lanes), strict=True)]
        stored = {row.mailbox: row for row in await self._history_of(epoch)}
        leaves = []
        for actor, batches in zip(outboxes, routed, strict=True):
            merged: MergedEpoch = Receiver.step(batches)
            made = deliver(self._maps[actor.number], merged)
            for row in made.history:
                if stored.pop(row.mailbox, None) != row:
                    raise StoreCorrupt("a mailbox's history is not what its messages make")
            self._maps[actor.number] = self._maps[actor.number].update(made.changes)
            leaves.append(self._check_head(epoch, roster, actor, rows))
            self.counts = self.counts._replace(deliveries=self.counts.deliveries + merged.n_deliveries)
        if stored:
            raise StoreCorrupt("a mailbox has history that no message made")
        return leaves

    async def _history_of(self, epoch: int) -> list[HistoryRow]:
        rows: list[HistoryRow] = []
        while True:
            after = (epoch, rows[-1].mailbox) if rows else None
            page = [row for row in await self._store.history_since(epoch, after) if row.epoch == epoch]
            if not page:
                return rows
            rows += page

    def _check_head(self, epoch: int, roster: Roster, actor: Actor, rows: dict[bytes, StatementRow]) -> bytes:
        row = rows.get(actor.encode())
        if row is None:
            raise StoreCorrupt(f"the head of {actor} is missing")
        self._verify(row, "head", roster, actor)
        states = self._maps[actor.number]
        expected = EpochHead(
            self._origin,
            row.actor,
            row.incarnation,
            epoch,
            NO_SHEET,
            states.root_hash,
            states.count,
            self._previous.get(row.actor, bytes(32)),
            self._roster_hash,
        )
        if EPOCH_HEAD.decode(row.body) != expected:
            raise StoreCorrupt(f"the head of {actor} is not that of its mailboxes")
        self._previous[row.actor] = hash_head(row.body)
        return statement_leaf_hash(row.actor, self._previous[row.actor])

    def _check_open(self, epoch: int, roster: Roster, rows: dict[bytes, StatementRow]) -> bytes:
        actor = Actor(Role.SEQUENCER, 0, 0)
        row = rows.get(actor.encode())
        if row is None:
            raise StoreCorrupt("the sequencer's statement is missing")
        self._verify(row, "open", roster, actor)
        expected = EpochOpen(
            self._origin, row.actor, row.incarnation, epoch, self._roster_hash, NO_OVERRIDES, 0, EMPTY_ROOT, 0
        )
        if EPOCH_OPEN.decode(row.body) != expected:
            raise StoreCorrupt("the sequencer's statement is not the epoch's")
        return statement_leaf_hash(row.actor, hash_open(row.body))

    def _check_record(self, row: EpochRow, record: EpochRecord, leaves: list[bytes], n_messages: int) -> None:
        expected = EpochRecord(
            row.epoch,
            self._log.root(),
            max(record.time_ms, self._time_ms),
            self._roster_hash,
            NO_OVERRIDES,
            0,
            tree_root(leaves),
            len(leaves),
            EMPTY_ROOT,
            0,
            n_messages,
        )
        leaf = leaf_hash(row.record)
        if record != expected or leaf != row.leaf_hash:
            raise StoreCorrupt("the epoch's record is not what its statements make")
        self._time_ms = record.time_ms
        self._log = self._log.append(leaf)
        self._block.append(leaf)
        if len(self._block) == BLOCK_SIZE:
            self._blocks.append(tree_root(self._block))
            self._block.clear()
        _, roster = next(one for one in self._rosters if one[0] == self._roster_hash)
        log_key = roster.entry(Actor(Role.LOG, 0, 0)).key
        checkpoint = verify_checkpoint(row.checkpoint, log_name_of(self._origin), log_key)
        if (checkpoint.size, checkpoint.root) != (self._log.size, self._log.root()):
            raise StoreCorrupt("the checkpoint is not that of the log")

    async def check_end(self) -> None:
        """What lies beside the epochs: blocks, caches, acks, and manifests whose epoch is not committed yet."""
        if await self._store.block_hashes() != self._blocks:
            raise StoreCorrupt("the log's blocks are not those of its leaves")
        histories, _ = await load_histories(self._store)
        if histories != dict(self._all_histories()):
            raise StoreCorrupt("the cached mailboxes do not lead to the states that were signed")
        roster = self._rosters[-1][1]
        for manifest in await self._store.pending_manifests():
            await self._check_lane(manifest, roster)
        cached = {sender: state for table in await load_senders(self._store, roster) for sender, state in table.items()}
        if cached != dict(self._senders.items()):
            raise StoreCorrupt("the cached senders are not those of the bundles")
        await self._check_acks()

    def _all_histories(self) -> list[tuple[bytes, History]]:
        return [(history.state.mailbox, history) for states in self._maps for _, _, history in states.items()]

    async def _check_acks(self) -> None:
        after: bytes | None = None
        while page := await self._store.acks(after):
            for device_id, value in page:
                signed = SIGNED.decode(value)
                body = _ACK.decode(signed.body)
                if body.device_id != device_id:
                    raise StoreCorrupt("an ack is another device's")
                verify_strict(body.key, signed.signature, "ack", self._origin, signed.body)
            after = page[-1].key


async def check_store(
    store: Store, origin: bytes, rosters: Sequence[Signed], on_epoch: Callable[[int], None]
) -> Counts:
    """Check everything. `on_epoch` hears after each epoch how many are done. Raises StoreCorrupt."""
    epoch = 0
    try:
        replay = Replay(store, origin, rosters)
        for epoch in range(store.next_epoch):
            await replay.check_epoch(epoch)
            on_epoch(epoch + 1)
        epoch = store.next_epoch
        await replay.check_end()
    except NoiseError as error:
        raise StoreCorrupt(f"epoch {epoch}: {error}") from error
    return replay.counts
