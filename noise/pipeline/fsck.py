"""Replays a whole store: every hash, tree, chain and signature again, from the stored bytes alone.

Knows nothing of keys or progress bars. It runs the stages' own pure steps over the stored bundles and compares what
they make, byte for byte, with what was stored and signed. The first contradiction ends it.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from noise.pipeline.batches import SealedLane
from noise.pipeline.challenges import Entry, Item, changes_by_epoch
from noise.pipeline.epoch_log import BLOCK_SIZE
from noise.pipeline.lanes import load_lane
from noise.pipeline.outbox import deliver
from noise.pipeline.receiver import items_of, merge
from noise.pipeline.recovery import load_histories, load_senders
from noise.pipeline.router import Routed, route
from noise.pipeline.senders import SenderTable
from noise.pipeline.slots import signed_of
from noise.protocol.checkpoint import log_name_of, verify_checkpoint
from noise.protocol.encoding import Codec
from noise.protocol.errors import NoiseError
from noise.protocol.frames import ACK_BODY, AckBody
from noise.protocol.history import History
from noise.protocol.identifiers import Actor, Role
from noise.protocol.merkle import EMPTY_RANGE, EMPTY_ROOT, leaf_hash, tree_root
from noise.protocol.placement import Rendezvous, actors_of
from noise.protocol.signing import SIGNED, Signed, verify_strict
from noise.protocol.stages import items_root, receiver_of, router_of
from noise.protocol.state_map import StateMap
from noise.protocol.statements import (
    EPOCH_HEAD,
    EPOCH_OPEN,
    EPOCH_RECORD,
    MERGE_SHEET,
    NO_OVERRIDES,
    ROUTE_SHEET,
    STATEMENTS,
    EpochRecord,
    MergeSheet,
    Roster,
    check_successor,
    hash_manifest,
    hash_merge,
    hash_roster,
    hash_route,
    hash_statement,
    open_roster,
    statement_leaf_hash,
    verify_statement,
)
from noise.store.base import CacheRow, EpochRow, HistoryRow, ManifestRow, StatementRow, Store, StoreCorrupt

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
        self._previous: dict[tuple[bytes, int], bytes] = {}
        self._maps: list[StateMap[History]] = []
        self._roster_hash = b""
        self._placement = Rendezvous(())
        self._changes: dict[int, list[Item]] = {}
        self._challenges = StateMap[Entry].empty()
        self._senders = SenderTable()
        self._block: list[bytes] = []
        self._blocks: list[bytes] = []

    async def begin(self) -> None:
        """Read what lies beside the epochs and decides what they say."""
        rows: list[CacheRow] = []
        while page := await self._store.challenges(rows[-1].key if rows else None):
            rows += page
        self._changes = changes_by_epoch(rows)

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
        hashes = {m.statement.actor: hash_manifest(m.statement.body) for m in manifests}
        routed = [self._check_router(sealed, roster, rows) for sealed in lanes]
        await self._check_outboxes(epoch, roster, rows, routed)
        self._check_open(epoch, roster, rows)
        hashes |= {actor: hash_statement(actor, row.body) for actor, row in rows.items()}
        leaves = [statement_leaf_hash(actor, hashes[actor]) for actor in sorted(hashes)]
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
            named = {(entry.actor, entry.incarnation) for entry in roster.actors}
            self._previous = {slot: h for slot, h in self._previous.items() if slot in named}
            outboxes = actors_of(roster, Role.OUTBOX)
            placement = Rendezvous(outboxes)
            kept = [item for states in self._maps for item in states.items()]
            items = [[i for i in kept if placement.number(i[2].state.mailbox) == actor.number] for actor in outboxes]
            self._maps = [StateMap[History].empty().update(one) for one in items]
            self._placement = placement
        return roster

    def _compare(
        self,
        epoch: int,
        roster: Roster,
        actor: Actor,
        rows: dict[bytes, StatementRow],
        make: Callable[[StatementRow, bytes], bytes],
    ) -> StatementRow:
        """The statement of an actor, which is the one that `make` makes for its slot and the one before it."""
        row = rows.get(actor.encode())
        if row is None:
            raise StoreCorrupt(f"the statement of {actor} is missing")
        verify_statement(signed_of(row), STATEMENTS[actor.role][0], roster, actor, row.incarnation)
        slot = (row.actor, row.incarnation)
        if row.body != make(row, self._previous.get(slot, bytes(32))):
            raise StoreCorrupt(f"what {actor} signed for epoch {epoch} is not what its input makes")
        self._previous[slot] = hash_statement(row.actor, row.body)
        return row

    async def _check_lane(self, manifest: ManifestRow, roster: Roster) -> SealedLane:
        """Every bundle of a lane, the manifest over them, and that they follow their senders' last ones."""
        slot = (manifest.statement.actor, manifest.statement.incarnation)
        sealed, rows = await load_lane(self._store, manifest, roster, self._previous.get(slot, bytes(32)))
        for row in rows:
            sender = self._senders.get(row.sender)
            if row.first_ctr < sender.next_ctr or row.prev_id != sender.last_id:
                raise StoreCorrupt(f"bundle {row.bundle_id} does not follow its sender's last one")
            self._senders.sealed(row)
        self._previous[slot] = hash_manifest(manifest.statement.body)
        return sealed

    def _check_router(
        self, sealed: SealedLane, roster: Roster, rows: dict[bytes, StatementRow]
    ) -> tuple[StatementRow, Routed]:
        """Sort a lane again; the router's sheet."""
        outboxes = actors_of(roster, Role.OUTBOX)
        routed = route(sealed, self._placement, outboxes)

        def make(row: StatementRow, previous: bytes) -> bytes:
            return ROUTE_SHEET.pack(
                self._origin,
                row.actor,
                row.incarnation,
                sealed.epoch,
                self._roster_hash,
                sealed.lane,
                hash_manifest(sealed.statement.body),
                len(outboxes),
                routed.entries.root,
                previous,
            )

        return self._compare(sealed.epoch, roster, router_of(sealed.statement.actor), rows, make), routed

    async def _check_outboxes(
        self,
        epoch: int,
        roster: Roster,
        rows: dict[bytes, StatementRow],
        routed: Sequence[tuple[StatementRow, Routed]],
    ) -> None:
        """Merge and deliver again; compare sheets, histories and heads."""
        inputs = tuple([hash_route(sheet.body) for sheet, _ in routed])
        stored = {row.mailbox: row for row in await self._history_of(epoch)}
        for actor in actors_of(roster, Role.OUTBOX):
            merged = merge([items_of(lane.parts[actor.number]) for _, lane in routed])
            sheet = self._check_receiver(epoch, roster, rows, receiver_of(actor), inputs, list(merged.hashes.values()))
            made = deliver(self._maps[actor.number], epoch, merged.parts)
            for row in made.history:
                if stored.pop(row.mailbox, None) != row:
                    raise StoreCorrupt("a mailbox's history is not what its messages make")
            self._maps[actor.number] = self._maps[actor.number].update(made.changes)
            self._check_head(epoch, roster, rows, actor, hash_merge(sheet.body))
            n_deliveries = sum(lane.counts[actor.number] for _, lane in routed)
            self.counts = self.counts._replace(deliveries=self.counts.deliveries + n_deliveries)
        if stored:
            raise StoreCorrupt("a mailbox has history that no message made")

    def _check_receiver(
        self,
        epoch: int,
        roster: Roster,
        rows: dict[bytes, StatementRow],
        actor: Actor,
        inputs: tuple[bytes, ...],
        items: Sequence[bytes],
    ) -> StatementRow:
        def make(row: StatementRow, previous: bytes) -> bytes:
            slot = (self._origin, row.actor, row.incarnation, epoch, self._roster_hash)
            return MERGE_SHEET.encode(MergeSheet(*slot, inputs, len(items), items_root(items), previous))

        return self._compare(epoch, roster, actor, rows, make)

    async def _history_of(self, epoch: int) -> list[HistoryRow]:
        rows: list[HistoryRow] = []
        while True:
            after = (epoch, rows[-1].mailbox) if rows else None
            page = [row for row in await self._store.history_since(epoch, after) if row.epoch == epoch]
            if not page:
                return rows
            rows += page

    def _check_head(
        self, epoch: int, roster: Roster, rows: dict[bytes, StatementRow], actor: Actor, merge_sheet_hash: bytes
    ) -> None:
        states = self._maps[actor.number]

        def make(row: StatementRow, previous: bytes) -> bytes:
            slot = (self._origin, row.actor, row.incarnation, epoch)
            root, count = states.root_hash, states.count
            return EPOCH_HEAD.pack(*slot, merge_sheet_hash, root, count, previous, self._roster_hash)

        self._compare(epoch, roster, actor, rows, make)

    def _check_open(self, epoch: int, roster: Roster, rows: dict[bytes, StatementRow]) -> None:
        def make(row: StatementRow, _: bytes) -> bytes:
            slot = (self._origin, row.actor, row.incarnation, epoch)
            return EPOCH_OPEN.pack(*slot, self._roster_hash, NO_OVERRIDES, 0, EMPTY_ROOT, 0)

        self._compare(epoch, roster, Actor(Role.SEQUENCER, 0, 0), rows, make)

    def _check_record(self, row: EpochRow, record: EpochRecord, leaves: list[bytes], n_messages: int) -> None:
        self._challenges = self._challenges.update(self._changes.get(row.epoch, []))
        expected = EpochRecord(
            row.epoch,
            self._log.root(),
            max(record.time_ms, self._time_ms),
            self._roster_hash,
            NO_OVERRIDES,
            0,
            tree_root(leaves),
            len(leaves),
            self._challenges.root_hash,
            self._challenges.count,
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
        await replay.begin()
        for epoch in range(store.next_epoch):
            await replay.check_epoch(epoch)
            on_epoch(epoch + 1)
        epoch = store.next_epoch
        await replay.check_end()
    except NoiseError as error:
        raise StoreCorrupt(f"epoch {epoch}: {error}") from error
    return replay.counts
