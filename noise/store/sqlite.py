"""The store in one SQLite file: writes that wait together share a commit, reads run beside them.

Must not know: the protocol; nor SQL, which is in `sqlite_tables` and `sqlite_writes`, nor how the file is opened.

Whoever finds nobody committing commits for all who wait. It runs in a worker thread that is never abandoned, so that
one write at most is under way, and a caller's cancellation cannot separate it from its outcome. The log is copied into
the database between commits, after the callers of the last one have their answer.
"""

import sqlite3
from array import array
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar, cast

import trio

from noise.store import sqlite_prekeys as prekeys
from noise.store import sqlite_tables as tables
from noise.store.base import (
    PAGE_ROWS,
    BundleRow,
    CacheRow,
    EpochRow,
    EpochWrite,
    HistoryRow,
    ManifestRow,
    ManifestWrite,
    PrekeyPair,
    PrekeyTake,
    PrekeyTally,
    PrekeyWrite,
    RosterRow,
    StatementRow,
    Store,
    StoreFailed,
    WriteRefused,
)
from noise.store.sqlite_file import APPLICATION_ID, READERS_MAX, SqliteFile
from noise.store.sqlite_open import create_file, translated
from noise.store.sqlite_state import BEYOND
from noise.store.sqlite_writes import Content, Outcome, log_bytes, write_content

CHECKPOINT_BYTES = 2 << 20
"""Copy the log into the database after about so much: a commit that comes just then waits for 5 to 8 ms.

With four times as much it waits for 25 ms; with less, nothing is gained, for most of it is then waiting for the disk.
"""

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


async def create_sqlite(path: Path, origin: bytes) -> None:
    """Makes an empty store for the provider `origin` (32 bytes), and its directory; or nothing at all.

    Raises StoreConflict if anything is there, StoreLocked, StoreFailed.
    """
    create_tables = partial(tables.create_tables, origin=origin)
    await trio.to_thread.run_sync(create_file, path.resolve(), APPLICATION_ID, create_tables)


def open_sqlite(path: Path, origin: bytes) -> AbstractAsyncContextManager[Store]:
    """The store at `path`, for as long as the context lasts.

    Entering raises StoreMissing, StoreForeign (another provider's, or another format), StoreCorrupt, StoreLocked,
    StoreFailed.
    """
    return SqliteStore(path, origin)


@dataclass(slots=True, eq=False)
class PendingWrite:
    """A write whose caller waits."""

    content: Content
    is_done: bool = False
    refusal: WriteRefused | None = None
    outcome: Outcome = None


class SqliteStore(Store):
    """What `open_sqlite` opens. Not to be shared with a forked process."""

    def __init__(self, path: Path, origin: bytes) -> None:
        self._path = path.resolve()
        self._origin = origin
        self._file: SqliteFile | None = None
        self._heads = tables.Heads()
        self._failure: BaseException | None = None
        self._waiting: list[PendingWrite] = []
        self._turn = trio.Lock()  # to use the writer's connection
        self._log_bytes = 0  # about how much the last checkpoint left to the next one
        self._reading = trio.Semaphore(READERS_MAX)  # to use one of the readers' connections
        self._threads = trio.CapacityLimiter(1 + READERS_MAX)  # never waited for: the two above see to that

    async def __aenter__(self) -> Self:
        self._file = await trio.to_thread.run_sync(SqliteFile, self._path, self._origin)
        self._heads = self._file.heads
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Lets those end that write, read or wait to do so; those that come later are refused."""
        with trio.CancelScope(shield=True):
            async with self._turn:
                for _ in range(READERS_MAX):
                    await self._reading.acquire()
                file, self._file = self._open_file, None
                try:
                    await trio.to_thread.run_sync(self._close, file, limiter=self._threads)
                finally:
                    for _ in range(READERS_MAX):
                        self._reading.release()

    def _close(self, file: SqliteFile) -> None:
        if self._failure is None:
            with suppress(sqlite3.Error, StoreFailed):  # all is in the log: opening tries again, and then it matters
                file.cut_log()
        file.close()

    @property
    def _open_file(self) -> SqliteFile:
        if self._file is None:
            raise StoreFailed(f"{self._path} is closed")
        return self._file

    @property
    def next_epoch(self) -> int:
        return self._heads.next_epoch

    @property
    def replay_epoch(self) -> int:
        return self._heads.replay_epoch

    async def append_manifest(self, write: ManifestWrite) -> None:
        await self._write(write)

    async def commit_epoch(self, write: EpochWrite) -> None:
        await self._write(write)

    async def add_roster(self, version: int, body_and_signature: bytes) -> None:
        await self._write(RosterRow(version, body_and_signature))

    async def add_prekeys(self, write: PrekeyWrite) -> PrekeyTally:
        return cast(PrekeyTally, await self._write(write))

    async def take_prekey(self, device: bytes, now_ms: int) -> PrekeyPair:
        take = PrekeyTake(device, now_ms)
        fallback, has_one_time = await self._read(prekeys.select_prekeys, take)
        return cast(PrekeyPair, await self._write(take)) if has_one_time else PrekeyPair(None, fallback)

    async def count_prekeys(self, device: bytes, now_ms: int) -> PrekeyTally:
        return await self._read(prekeys.select_tally, device, now_ms)

    async def _write(self, content: Content) -> Outcome:
        await trio.lowlevel.checkpoint_if_cancelled()
        self._check_sound()
        write = PendingWrite(content)
        self._waiting.append(write)
        with trio.CancelScope(shield=True):
            async with self._turn:
                if not write.is_done:
                    await self._commit_waiting()
        if write.refusal is not None:
            raise write.refusal
        return write.outcome

    async def _commit_waiting(self) -> None:
        """Commits for all who wait, in the order in which they came. Raises StoreFailed, to all of them in turn."""
        self._check_sound()
        file = self._open_file
        try:
            group, self._waiting = self._waiting, []
            self._heads = await trio.to_thread.run_sync(self._run_transaction, file, group, limiter=self._threads)
        except BaseException as error:
            self._failure = error  # whatever it was: nobody in the group may believe that all is well
            if isinstance(error, Exception):
                raise self._failed() from error
            raise
        for write in group:
            write.is_done = True
        self._log_bytes += sum(log_bytes(write.content) for write in group if write.refusal is None)
        if self._log_bytes >= CHECKPOINT_BYTES:
            self._log_bytes = 0
            trio.lowlevel.spawn_system_task(self._checkpoint)

    def _check_sound(self) -> None:
        """Raises StoreFailed, ever after a write failed."""
        if self._failure is not None:
            raise self._failed() from self._failure

    def _failed(self) -> StoreFailed:
        return StoreFailed(
            f"{self._path}: a write failed ({self._failure}), and whether it is stored is unknown: "
            "stop, check disk, space and permissions, and start again"
        )

    def _run_transaction(self, file: SqliteFile, group: Sequence[PendingWrite]) -> tables.Heads:
        """In a worker thread: the new heads. Whatever it raises is fatal: closing then rolls back what is left open."""
        heads, writer = self._heads, file.writer
        writer.execute("BEGIN IMMEDIATE")
        for write in group:
            try:
                heads, write.outcome = write_content(writer, heads, write.content)
            except WriteRefused as refusal:
                write.refusal = refusal
        self._end_transaction(writer)
        return heads

    def _end_transaction(self, writer: sqlite3.Connection) -> None:
        """Where tests fail a write before or after its commit."""
        writer.execute("COMMIT")

    async def _checkpoint(self) -> None:
        """A system task of Trio's, for it belongs to no caller; closing waits for it, or it finds the store closed."""
        async with self._turn:
            if self._failure is None and self._file is not None:
                try:
                    await trio.to_thread.run_sync(self._file.checkpoint, limiter=self._threads)
                except Exception as error:
                    self._failure = error

    async def _read(
        self,
        query: Callable[Concatenate[sqlite3.Connection, Arguments], Answer],
        *arguments: Arguments.args,
        **named: Arguments.kwargs,
    ) -> Answer:
        """Runs a query in a worker thread, on a connection of its own for as long. Raises StoreCorrupt, StoreFailed."""

        def run() -> Answer:
            with translated(f"cannot read {self._path}"):
                return query(reader, *arguments, **named)

        async with self._reading:
            file = self._open_file
            reader = file.readers.pop()
            try:
                return await trio.to_thread.run_sync(run, limiter=self._threads)
            finally:
                file.readers.append(reader)

    async def rosters(self) -> list[RosterRow]:
        return await self._read(tables.select_rosters)

    async def epoch_row(self, epoch: int) -> EpochRow | None:
        if not 0 <= epoch < self.next_epoch:
            return None
        return await self._read(tables.select_epoch, epoch)

    async def leaf_hashes(self, first_epoch: int, next_epoch: int) -> list[bytes]:
        return await self._read(tables.select_leaf_hashes, first_epoch, min(next_epoch, self.next_epoch))

    async def block_hashes(self) -> list[bytes]:
        return await self._read(tables.select_block_hashes)

    async def statements(self, epoch: int) -> list[StatementRow]:
        return await self._read(tables.select_statements, epoch)

    async def manifests(self, epoch: int) -> list[ManifestRow]:
        return await self._read(tables.select_manifests, epoch, epoch + 1)

    async def pending_manifests(self) -> list[ManifestRow]:
        return await self._read(tables.select_manifests, self.next_epoch, BEYOND)

    async def bundles(self, first_id: int, next_id: int) -> list[BundleRow]:
        return await self._read(tables.select_bundles, first_id, next_id)

    async def bundles_of(self, epoch: int, lane: int) -> list[BundleRow]:
        return await self._read(tables.select_bundles_of, epoch, lane)

    async def bundles_by_id(self, ids: Sequence[int]) -> dict[int, BundleRow]:
        return await self._read(tables.select_bundles_by_id, ids)

    async def bundles_since(
        self, epoch: int, after: tuple[int, int] | None = None, limit: int = PAGE_ROWS
    ) -> list[BundleRow]:
        return await self._read(tables.select_bundles_since, epoch, after, limit)

    async def history_epochs(self, mailbox: bytes, last_epoch: int, after_epoch: int) -> "array[int]":
        epochs = array("Q")
        while last_epoch > after_epoch:
            falling, last_epoch = await self._read(tables.walk_history, mailbox, last_epoch, after_epoch)
            epochs += falling
        epochs.reverse()
        return epochs

    async def history_rows(self, mailbox: bytes, epochs: Sequence[int]) -> list[HistoryRow]:
        return await self._read(tables.select_history_rows, mailbox, epochs)

    async def history_since(
        self, epoch: int, after: tuple[int, bytes] | None = None, limit: int = PAGE_ROWS
    ) -> list[HistoryRow]:
        return await self._read(tables.select_history_since, epoch, after, limit)

    async def mailbox_cache(self, after: bytes | None = None, limit: int = PAGE_ROWS) -> list[CacheRow]:
        return await self._read(tables.select_cache, tables.MAILBOXES, after, limit)

    async def sender_cache(self, after: bytes | None = None, limit: int = PAGE_ROWS) -> list[CacheRow]:
        return await self._read(tables.select_cache, tables.SENDERS, after, limit)

    async def acks(self, after: bytes | None = None, limit: int = PAGE_ROWS) -> list[CacheRow]:
        return await self._read(tables.select_cache, tables.ACKS, after, limit)

    async def challenges(self, after: bytes | None = None, limit: int = PAGE_ROWS) -> list[CacheRow]:
        return await self._read(tables.select_cache, tables.CHALLENGES, after, limit)
