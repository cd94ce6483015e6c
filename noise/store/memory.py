"""A store that forgets when the process ends: a verified fake for tests and demos, which fails on request.

Must not know: SQL, files, threads. It passes the same contract suite as every other store; beyond the contract it
has `fail_next`, to fail a write with either outcome, and `reopen`, to look at what survived.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import trio

from noise.store.base import (
    ID_STEP,
    PAGE_ROWS,
    BundleRow,
    CacheRow,
    DevicesFull,
    EpochRow,
    EpochWrite,
    HistoryRow,
    ManifestRow,
    ManifestWrite,
    PrekeyPair,
    PrekeyRow,
    PrekeysFull,
    PrekeyTally,
    PrekeyWrite,
    RosterRow,
    SlotTaken,
    StatementRow,
    Store,
    StoreConflict,
    StoreCorrupt,
    StoreFailed,
)
from noise.store.write_checks import check_epoch_write, check_manifest_write, check_prekey_write, check_roster

Cache = dict[bytes, bytes]


@dataclass(slots=True)
class DevicePrekeys:
    """What one device uploaded. `until_ms`: the last moment at which any of it could have been handed out."""

    last_id: bytes = bytes(8)
    until_ms: int = 0
    one_time: dict[bytes, PrekeyRow] = field(default_factory=dict)
    fallback: PrekeyRow | None = None

    def unexpired(self, now_ms: int) -> list[PrekeyRow]:
        return sorted(row for row in self.one_time.values() if row.not_after_ms >= now_ms)

    def fallback_at(self, now_ms: int) -> PrekeyRow | None:
        return self.fallback if self.fallback is not None and self.fallback.not_after_ms >= now_ms else None

    def tally(self, now_ms: int) -> PrekeyTally:
        fallback = self.fallback_at(now_ms)
        return PrekeyTally(len(self.unexpired(now_ms)), fallback.not_after_ms if fallback else 0, self.last_id)


@dataclass(slots=True)
class Surviving:
    """What a file would hold. Keys of `history` are kept in order beside it."""

    statements: dict[tuple[int, bytes, int], StatementRow] = field(default_factory=dict)
    manifests: dict[tuple[int, int], ManifestRow] = field(default_factory=dict)
    bundles: dict[int, BundleRow] = field(default_factory=dict)
    epochs: list[EpochRow] = field(default_factory=list)
    block_hashes: dict[int, bytes] = field(default_factory=dict)
    history: dict[tuple[int, bytes], HistoryRow] = field(default_factory=dict)
    history_keys: list[tuple[int, bytes]] = field(default_factory=list)
    mailboxes: Cache = field(default_factory=dict)
    senders: Cache = field(default_factory=dict)
    acks: Cache = field(default_factory=dict)
    challenges: Cache = field(default_factory=dict)
    rosters: dict[int, RosterRow] = field(default_factory=dict)
    prekeys: dict[bytes, DevicePrekeys] = field(default_factory=dict)
    replay_epoch: int = 0


class MemoryStore(Store):
    """A new, empty store."""

    def __init__(self) -> None:
        self._kept = Surviving()
        self._faults: dict[str, bool] = {}
        self._failure: str | None = None

    def fail_next(self, operation: str, *, stored: bool) -> None:
        """Makes the next write of that name raise StoreFailed, once it is `stored` or instead of storing it."""
        self._faults[operation] = stored

    def reopen(self) -> "MemoryStore":
        """A sound store over what this one stored; this one can write no more, as after the end of its process."""
        self._failure = "opened again elsewhere"
        successor = MemoryStore()
        successor._kept = self._kept
        return successor

    async def _write(self, operation: str, apply: Callable[[], None]) -> None:
        await trio.lowlevel.checkpoint()
        if self._failure is not None:
            raise StoreFailed(f"{self._failure}: open the store again")
        fault = self._faults.pop(operation, None)
        if fault is not False:
            apply()
        if fault is not None:
            self._failure = f"{operation} failed on request"
            raise StoreFailed(f"{self._failure}: open the store again")

    @property
    def next_epoch(self) -> int:
        return len(self._kept.epochs)

    @property
    def replay_epoch(self) -> int:
        return self._kept.replay_epoch

    async def append_manifest(self, write: ManifestWrite) -> None:
        await self._write("append_manifest", lambda: self._append_manifest(write))

    def _append_manifest(self, write: ManifestWrite) -> None:
        check_manifest_write(write)
        kept = self._kept
        self._check_slots([write.statement])
        row = ManifestRow(*write[:5])
        stored = kept.manifests.get((write.epoch, write.lane))
        if stored is not None:
            if stored != row or any(kept.bundles[bundle.bundle_id] != bundle for bundle in write.bundles):
                raise StoreConflict(f"lane {write.lane} has another manifest in epoch {write.epoch}")
            return
        if write.epoch < self.next_epoch:
            raise StoreConflict(f"epoch {write.epoch} is committed: no manifest can join it")
        for bundle in write.bundles:
            if bundle.bundle_id in kept.bundles:
                raise StoreConflict(f"bundle id {bundle.bundle_id} is taken")
        kept.statements[write.statement[:3]] = write.statement
        kept.manifests[write.epoch, write.lane] = row
        kept.bundles.update((bundle.bundle_id, bundle) for bundle in write.bundles)

    async def commit_epoch(self, write: EpochWrite) -> None:
        await self._write("commit_epoch", lambda: self._commit_epoch(write))

    def _commit_epoch(self, write: EpochWrite) -> None:
        check_epoch_write(write)
        kept = self._kept
        self._check_slots(write.statements)
        if write.epoch == self.next_epoch - 1 and self._is_stored(write):
            return
        if write.epoch != self.next_epoch:
            raise StoreConflict(f"epoch {write.epoch} where {self.next_epoch} comes next")
        if write.replay_epoch < kept.replay_epoch:
            raise StoreConflict(f"replay_epoch falls from {kept.replay_epoch} to {write.replay_epoch}")
        kept.epochs.append(EpochRow(write.epoch, write.record, write.leaf_hash, write.checkpoint))
        if write.block_hash is not None:
            kept.block_hashes[write.epoch] = write.block_hash
        kept.statements.update((row[:3], row) for row in write.statements)
        kept.history.update(((row.epoch, row.mailbox), row) for row in write.history)
        kept.history_keys.extend((row.epoch, row.mailbox) for row in write.history)
        kept.mailboxes.update(write.mailboxes)
        kept.senders.update(write.senders)
        kept.acks.update(write.acks)
        kept.challenges.update(write.challenges)
        kept.replay_epoch = write.replay_epoch

    def _is_stored(self, write: EpochWrite) -> bool:
        kept = self._kept
        return (
            kept.epochs[write.epoch] == EpochRow(write.epoch, write.record, write.leaf_hash, write.checkpoint)
            and kept.block_hashes.get(write.epoch) == write.block_hash
            and kept.replay_epoch == write.replay_epoch
            and all(kept.statements.get(row[:3]) == row for row in write.statements)
            and all(kept.history.get((row.epoch, row.mailbox)) == row for row in write.history)
            and dict(write.mailboxes).items() <= kept.mailboxes.items()
            and dict(write.senders).items() <= kept.senders.items()
            and dict(write.acks).items() <= kept.acks.items()
            and dict(write.challenges).items() <= kept.challenges.items()
        )

    def _check_slots(self, rows: Sequence[StatementRow]) -> None:
        for row in rows:
            if self._kept.statements.get(row[:3], row) != row:
                raise SlotTaken(f"epoch {row.epoch} of actor {row.actor.hex()} holds another statement")

    async def add_roster(self, version: int, body_and_signature: bytes) -> None:
        await self._write("add_roster", lambda: self._add_roster(RosterRow(version, body_and_signature)))

    def _add_roster(self, row: RosterRow) -> None:
        check_roster(row)
        if self._kept.rosters.setdefault(row.version, row) != row:
            raise SlotTaken(f"version {row.version} is another roster")

    async def add_prekeys(self, write: PrekeyWrite) -> PrekeyTally:
        await self._write("add_prekeys", lambda: self._add_prekeys(write))
        return self._device_prekeys(write.device).tally(write.now_ms)

    def _add_prekeys(self, write: PrekeyWrite) -> None:
        check_prekey_write(write)
        prekeys = self._kept.prekeys
        device = self._device_prekeys(write.device)

        def is_new(row: PrekeyRow) -> bool:
            return row.prekey_id > device.last_id and row.not_after_ms >= write.now_ms

        one_time = [row for row in write.one_time if is_new(row)]
        fallback = write.fallback if write.fallback is not None and is_new(write.fallback) else None
        stored = [*one_time, *([fallback] if fallback else [])]
        if not stored:
            return
        if len(device.unexpired(write.now_ms)) + len(one_time) > write.one_time_max:
            raise PrekeysFull(f"a device has at most {write.one_time_max} one-time prekeys")
        if write.device not in prekeys:
            surplus = len(prekeys) + 1 - write.devices_max
            ended = sorted((row.until_ms, key) for key, row in prekeys.items() if row.until_ms < write.now_ms)
            if len(ended) < surplus:
                raise DevicesFull(f"{write.devices_max} devices have prekeys, and no more may")
            for _, key in ended[: max(0, surplus)]:
                del prekeys[key]
        device.last_id = max(row.prekey_id for row in stored)
        device.until_ms = max(device.until_ms, *(row.not_after_ms for row in stored))
        device.one_time = {row.prekey_id: row for row in (*device.unexpired(write.now_ms), *one_time)}
        device.fallback = fallback or device.fallback
        prekeys[write.device] = device

    def _device_prekeys(self, device: bytes) -> DevicePrekeys:
        return self._kept.prekeys.get(device) or DevicePrekeys()

    async def take_prekey(self, device: bytes, now_ms: int) -> PrekeyPair:
        await trio.lowlevel.checkpoint()
        kept = self._device_prekeys(device)
        fallback = kept.fallback_at(now_ms)
        taken: list[PrekeyRow] = []
        if kept.unexpired(now_ms):
            await self._write("take_prekey", lambda: taken.extend(self._take_prekey(device, now_ms)))
        return PrekeyPair(taken[0].body if taken else None, fallback.body if fallback else None)

    def _take_prekey(self, device: bytes, now_ms: int) -> list[PrekeyRow]:
        kept = self._device_prekeys(device)
        return [kept.one_time.pop(row.prekey_id) for row in kept.unexpired(now_ms)[:1]]

    async def count_prekeys(self, device: bytes, now_ms: int) -> PrekeyTally:
        await trio.lowlevel.checkpoint()
        return self._device_prekeys(device).tally(now_ms)

    async def rosters(self) -> list[RosterRow]:
        await trio.lowlevel.checkpoint()
        return sorted(self._kept.rosters.values())

    async def epoch_row(self, epoch: int) -> EpochRow | None:
        await trio.lowlevel.checkpoint()
        return self._kept.epochs[epoch] if 0 <= epoch < self.next_epoch else None

    async def leaf_hashes(self, first_epoch: int, next_epoch: int) -> list[bytes]:
        await trio.lowlevel.checkpoint()
        return [row.leaf_hash for row in self._kept.epochs[first_epoch:next_epoch]]

    async def block_hashes(self) -> list[bytes]:
        await trio.lowlevel.checkpoint()
        return list(self._kept.block_hashes.values())

    async def statements(self, epoch: int) -> list[StatementRow]:
        await trio.lowlevel.checkpoint()
        return sorted(row for row in self._kept.statements.values() if row.epoch == epoch)

    async def manifests(self, epoch: int) -> list[ManifestRow]:
        await trio.lowlevel.checkpoint()
        return sorted(row for row in self._kept.manifests.values() if row.epoch == epoch)

    async def pending_manifests(self) -> list[ManifestRow]:
        await trio.lowlevel.checkpoint()
        return sorted(row for row in self._kept.manifests.values() if row.epoch >= self.next_epoch)

    async def bundles(self, first_id: int, next_id: int) -> list[BundleRow]:
        await trio.lowlevel.checkpoint()
        try:
            return [self._kept.bundles[bundle_id] for bundle_id in range(first_id, next_id, ID_STEP)]
        except KeyError as error:
            raise StoreCorrupt(f"bundle {error} is missing") from None

    async def bundles_of(self, epoch: int, lane: int) -> list[BundleRow]:
        row = self._kept.manifests.get((epoch, lane))
        return await self.bundles(row.first_id, row.next_id) if row is not None else await self.bundles(0, 0)

    async def bundles_by_id(self, ids: Sequence[int]) -> dict[int, BundleRow]:
        await trio.lowlevel.checkpoint()
        return {bundle_id: self._kept.bundles[bundle_id] for bundle_id in ids if bundle_id in self._kept.bundles}

    async def bundles_since(
        self, epoch: int, after: tuple[int, int] | None = None, limit: int = PAGE_ROWS
    ) -> list[BundleRow]:
        await trio.lowlevel.checkpoint()
        keys = sorted((row.epoch, row.bundle_id % ID_STEP, row.bundle_id) for row in self._kept.bundles.values())
        start = bisect_left(keys, (epoch, 0, 0))
        if after is not None:
            start = max(start, bisect_right(keys, (after[0], after[1] % ID_STEP, after[1])))
        return [self._kept.bundles[bundle_id] for _, _, bundle_id in keys[start : start + limit]]

    async def history_epochs(self, mailbox: bytes, last_epoch: int, after_epoch: int) -> "array[int]":
        await trio.lowlevel.checkpoint()
        epochs = array("Q")
        while last_epoch > after_epoch:
            epochs.append(last_epoch)
            prev_epoch = self._history_row(mailbox, last_epoch).prev_epoch
            if prev_epoch >= last_epoch:
                raise StoreCorrupt(f"the history of mailbox {mailbox.hex()} turns back on itself")
            last_epoch = prev_epoch
        epochs.reverse()
        return epochs

    def _history_row(self, mailbox: bytes, epoch: int) -> HistoryRow:
        try:
            return self._kept.history[epoch, mailbox]
        except KeyError:
            raise StoreCorrupt(f"mailbox {mailbox.hex()} has no row of epoch {epoch}") from None

    async def history_rows(self, mailbox: bytes, epochs: Sequence[int]) -> list[HistoryRow]:
        await trio.lowlevel.checkpoint()
        return [self._history_row(mailbox, epoch) for epoch in epochs]

    async def history_since(
        self, epoch: int, after: tuple[int, bytes] | None = None, limit: int = PAGE_ROWS
    ) -> list[HistoryRow]:
        await trio.lowlevel.checkpoint()
        keys = self._kept.history_keys
        start = bisect_left(keys, (epoch, b""))
        if after is not None:
            start = max(start, bisect_right(keys, after))
        return [self._kept.history[key] for key in keys[start : start + limit]]

    async def mailbox_cache(self, after: bytes | None = None, limit: int = PAGE_ROWS) -> list[CacheRow]:
        await trio.lowlevel.checkpoint()
        return page_of(self._kept.mailboxes, after, limit)

    async def sender_cache(self, after: bytes | None = None, limit: int = PAGE_ROWS) -> list[CacheRow]:
        await trio.lowlevel.checkpoint()
        return page_of(self._kept.senders, after, limit)

    async def acks(self, after: bytes | None = None, limit: int = PAGE_ROWS) -> list[CacheRow]:
        await trio.lowlevel.checkpoint()
        return page_of(self._kept.acks, after, limit)

    async def challenges(self, after: bytes | None = None, limit: int = PAGE_ROWS) -> list[CacheRow]:
        await trio.lowlevel.checkpoint()
        return page_of(self._kept.challenges, after, limit)


def page_of(cache: Cache, after: bytes | None, limit: int) -> list[CacheRow]:
    keys = sorted(cache)
    start = 0 if after is None else bisect_right(keys, after)
    return [CacheRow(key, cache[key]) for key in keys[start : start + limit]]
