"""Opens and commits epochs: says when a lane is cut, and joins what the outboxes made into the log.

Knows nothing of messages, mailboxes or clients. One epoch is in flight at a time; meanwhile the inboxes fill the next.
Epochs are never skipped or aborted: what fails here ends the process, and recovery ends the epoch. Statements that do
not lead from manifests to heads are not committed.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import NamedTuple, Protocol

import trio

from noise.pipeline.batches import CommittedEpoch, CommittedOutbox, OutboxEpoch
from noise.pipeline.epoch_log import EpochLog
from noise.pipeline.slots import Slots, signed_of
from noise.protocol.checkpoint import Checkpoint, sign_checkpoint
from noise.protocol.delta import DELTA_SHARED, DeltaShared, SignedHead
from noise.protocol.errors import ProofError
from noise.protocol.identifiers import Role
from noise.protocol.merkle import EMPTY_ROOT, Tree, leaf_hash
from noise.protocol.placement import actors_of
from noise.protocol.signing import Signer
from noise.protocol.stages import check_head, check_manifest, check_merge_sheet, check_route_sheet
from noise.protocol.statements import (
    EPOCH_OPEN,
    EPOCH_RECORD,
    NO_OVERRIDES,
    EpochRecord,
    RosterInForce,
    hash_manifest,
    hash_merge,
    hash_route,
    hash_statement,
    statement_leaf_hash,
)
from noise.store.base import CacheRow, EpochWrite, HistoryRow, StatementRow, Store
from noise.store.custody import Custody, CustodyRow


class Cache(Protocol):
    """A table whose rows are written lazily along with epochs."""

    def take_rows(self, next_epoch: int) -> tuple[list[CacheRow], int]: ...


class Challenges(Protocol):
    """The map of challenges: what an epoch's record commits to, and the rows that it changed."""

    def take(self, epoch: int) -> tuple[bytes, int, Sequence[CacheRow]]: ...

    def committed(self, next_epoch: int) -> None: ...


class Sealed(NamedTuple):
    """An epoch as it is written: what every actor keeps of it, and then all that it changes."""

    kept: Sequence[CustodyRow]
    epoch: EpochWrite


class Pace(NamedTuple):
    """When to cut: with work at hand `epoch_s` after the last cut at the earliest, without any after `idle_s`."""

    epoch_s: float
    idle_s: float


class Sequencer:
    """`time_ms` is the wall clock; epochs are stamped with it, never backwards. `acks`: taken with every commit."""

    def __init__(
        self,
        open_slots: Slots,
        log_signer: Signer,
        log_name: str,
        log: EpochLog,
        store: Store,
        custody: Custody,
        in_force: RosterInForce,
        *,
        last_time_ms: int,
        time_ms: Callable[[], int],
        sender_caches: Sequence[Cache],
        acks: Cache,
        challenges: Challenges,
        pace: Pace,
        on_durable: Callable[[int], None],
    ) -> None:
        self.log = log
        self._slots = open_slots
        self._log_signer = log_signer
        self._log_name = log_name
        self._store = store
        self._custody = custody
        self._in_force = in_force
        self._outboxes = actors_of(in_force.roster, Role.OUTBOX)
        self._last_time_ms = last_time_ms
        self._time_ms = time_ms
        self._sender_caches = sender_caches
        self._acks = acks
        self._challenges = challenges
        self._pace = pace
        self._on_durable = on_durable
        self._wake = trio.Event()
        self._has_work = False
        self._stopping = trio.Event()
        self._last_cut = float("-inf")

    def notice_work(self) -> None:
        """Some inbox is no longer empty: cut as soon as the pace allows."""
        self._has_work = True
        self._wake.set()

    def stop(self) -> None:
        """Everything was accepted that ever will be: cut what is left, and end the line."""
        self._stopping.set()
        self._wake.set()

    def open_epoch(self, epoch: int) -> StatementRow:
        """The sequencer's own statement."""
        slots = self._slots
        body = EPOCH_OPEN.pack(
            slots.origin,
            slots.actor,
            slots.incarnation,
            epoch,
            self._in_force.roster_hash,
            NO_OVERRIDES,
            0,
            EMPTY_ROOT,
            0,
        )
        return slots.sign(epoch, body)

    def check(self, results: Sequence[OutboxEpoch]) -> int:
        """How many messages an epoch has, whose statements lead from every lane's manifest to every outbox's head.

        Raises DecodeError, ProofError or SignatureError.
        """
        roster, roster_hash = self._in_force
        first = results[0]
        epoch, n_messages, inputs = first.epoch, 0, []
        for lane, row, kept in zip(roster.lanes, first.manifests, first.routes, strict=True):
            n_messages += check_manifest(signed_of(row), roster, lane.lane, epoch).n_messages
            sheet, manifest_hash = kept.statement, hash_manifest(row.body)
            check_route_sheet(signed_of(sheet), roster, roster_hash, lane.lane, epoch, manifest_hash)
            inputs.append(hash_route(sheet.body))
        for outbox, result in zip(self._outboxes, results, strict=True):
            if (result.manifests, result.routes) != (first.manifests, first.routes):
                raise ProofError(f"{outbox} was given other statements than the others", code="wrong-sheet")
            sheet, head = result.merge.statement, result.head.statement
            check_merge_sheet(signed_of(sheet), roster, roster_hash, outbox, epoch, inputs)
            check_head(signed_of(head), roster, roster_hash, outbox, epoch, hash_merge(sheet.body))
        return n_messages

    def step(self, results: Sequence[OutboxEpoch]) -> tuple[Sealed, CommittedEpoch]:
        """Join an epoch's results, by outbox number, into the log. Changes the log, and nothing else."""
        epoch = results[0].epoch
        n_messages = self.check(results)
        kept = _kept(results, self.open_epoch(epoch))
        places = {row.statement.actor: place for place, row in enumerate(kept)}
        statements = Tree(
            [statement_leaf_hash(s.actor, hash_statement(s.actor, s.body)) for s in (row.statement for row in kept)]
        )
        challenges_root, challenges_count, challenge_rows = self._challenges.take(epoch)
        self._last_time_ms = max(self._last_time_ms, self._time_ms())
        record = EPOCH_RECORD.encode(
            EpochRecord(
                epoch,
                self.log.range.root(),
                self._last_time_ms,
                self._in_force.roster_hash,
                NO_OVERRIDES,
                0,
                statements.root,
                statements.size,
                challenges_root,
                challenges_count,
                n_messages,
            )
        )
        record_leaf = leaf_hash(record)
        block_hash = self.log.append(record_leaf)
        note = sign_checkpoint(self._log_signer, Checkpoint(self._log_name, self.log.size, self.log.range.root()))
        sender_rows, replay_epochs = self._take_caches(epoch + 1)
        write = EpochWrite(
            epoch,
            record,
            record_leaf,
            block_hash,
            note,
            [row.statement for row in kept if row.statement.actor[0] != Role.INBOX],
            _merged_history(results),
            [row for result in results for row in result.caches],
            sender_rows,
            min(replay_epochs + [result.replay_epoch for result in results]),
            self._acks.take_rows(epoch + 1)[0],
            challenge_rows,
        )
        outboxes = [
            _committed(note, record, result, statements.inclusion(places[result.head.statement.actor]))
            for result in results
        ]
        n_deliveries = sum(result.n_deliveries for result in results)
        return Sealed(kept, write), CommittedEpoch(epoch, self._last_time_ms, n_messages, n_deliveries, outboxes)

    def _take_caches(self, next_epoch: int) -> tuple[list[CacheRow], list[int]]:
        taken = [cache.take_rows(next_epoch) for cache in self._sender_caches]
        return [row for rows, _ in taken for row in rows], [replay_epoch for _, replay_epoch in taken]

    async def run(
        self,
        cuts: Sequence["trio.MemorySendChannel[int]"],
        results: "trio.MemoryReceiveChannel[OutboxEpoch]",
        committed: "trio.MemorySendChannel[CommittedEpoch]",
        n_outboxes: int,
    ) -> None:
        """Cut, gather, commit, pass on; again and again, until stopped."""
        with ExitStack() as ends, results, committed:
            for cut in cuts:
                ends.enter_context(cut)
            while await self._wait_for_cut():
                epoch = self.log.size
                for cut in cuts:
                    await cut.send(epoch)
                made = [await results.receive() for _ in range(n_outboxes)]
                sealed, done = self.step(sorted(made, key=lambda result: result.number))
                await self.commit(sealed)
                await committed.send(done)

    async def commit(self, sealed: Sealed) -> None:
        """Make an epoch durable, every actor's own part first: only then may anything of it be shown."""
        epoch = sealed.epoch.epoch
        await self._custody.keep(sealed.kept, max(epoch - self._in_force.roster.parameters.custody_epochs, 0))
        await self._store.commit_epoch(sealed.epoch)
        self._on_durable(epoch + 1)
        self._challenges.committed(epoch + 1)

    async def _wait_for_cut(self) -> bool:
        """Wait until it is time to cut; False: stopped, and nothing is left."""
        with trio.move_on_after(self._pace.idle_s):
            await self._wake.wait()
        with trio.move_on_at(self._last_cut + self._pace.epoch_s):
            await self._stopping.wait()
        if self._stopping.is_set() and not self._has_work:
            return False
        self._has_work = False
        self._last_cut = trio.current_time()
        if not self._stopping.is_set():
            self._wake = trio.Event()
        return True


def _kept(results: Sequence[OutboxEpoch], opened: StatementRow) -> list[CustodyRow]:
    """The rows of all actors that sign, in the order of their statements."""
    rows = [CustodyRow(row, b"") for row in results[0].manifests]
    rows += results[0].routes
    for result in results:
        rows += [result.merge, result.head]
    rows.append(CustodyRow(opened, b""))
    return sorted(rows, key=lambda row: row.statement.actor)


def _committed(note: bytes, record: bytes, result: OutboxEpoch, proof: list[bytes]) -> CommittedOutbox:
    statement = result.head.statement
    head = SignedHead(statement.body, statement.signature)
    shared = DELTA_SHARED.encode(DeltaShared(note, record, head, tuple(proof)))
    return CommittedOutbox(shared, result.states, result.touched)


def _merged_history(results: Sequence[OutboxEpoch]) -> Sequence[HistoryRow]:
    if len(results) == 1:
        return results[0].history
    return sorted((row for result in results for row in result.history), key=lambda row: row.mailbox)
