"""The custody of one or all actors in a SQLite file of its own, so that it can lie on a disk of its own.

Knows nothing of the protocol, nor of SQL, which is in `custody_tables`.

One connection writes and reads, in a worker thread that is never abandoned: rows are kept once an epoch and read only
when somebody asks an actor for its part in one.
"""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import trio

from noise.store import custody_tables as tables
from noise.store.base import StoreFailed, WriteRefused
from noise.store.custody import Custody, CustodyRow
from noise.store.sqlite_open import create_file, opened, translated

APPLICATION_ID = int.from_bytes(b"noic", "big")
"""Not the main store's, so that neither opens the other's file."""

CHECKPOINT_BYTES = 2 << 20
"""Copy the log into the database once it holds about so much; the call that comes to it takes 5 to 8 ms longer."""

Answer = TypeVar("Answer")


async def create_custody(path: Path, origin: bytes, owner: bytes = tables.EVERYBODY) -> None:
    """Makes an empty custody for an actor, or all, of the provider `origin` (32 bytes); or nothing at all.

    Raises StoreConflict if anything is there, StoreLocked, StoreFailed.
    """
    create_tables = partial(tables.create_tables, origin=origin, owner=owner)
    await trio.to_thread.run_sync(create_file, path.resolve(), APPLICATION_ID, create_tables)


def open_custody(path: Path, origin: bytes, owner: bytes = tables.EVERYBODY) -> AbstractAsyncContextManager[Custody]:
    """The custody at `path`, for as long as the context lasts. `owner`: an actor (5 bytes), or EVERYBODY.

    Entering raises StoreMissing, StoreForeign (another provider's, another actor's, or another format), StoreCorrupt,
    StoreLocked, StoreFailed.
    """
    return SqliteCustody(path, origin, owner)


class SqliteCustody(Custody):
    """What `open_custody` opens. Not to be shared with a forked process."""

    def __init__(self, path: Path, origin: bytes, owner: bytes) -> None:
        self._path = path.resolve()
        self._origin = origin
        self._owner = owner
        self._stack = ExitStack()
        self._connection: sqlite3.Connection | None = None
        self._lasts: dict[bytes, tuple[int, int]] = {}
        self._failure: BaseException | None = None
        self._turn = trio.Lock()  # to use the connection
        self._thread = trio.CapacityLimiter(1)  # never waited for: the turn sees to that
        self._log_bytes = 0

    async def __aenter__(self) -> Self:
        await trio.to_thread.run_sync(self._open)
        return self

    def _open(self) -> None:
        with translated(f"cannot open {self._path}"), ExitStack() as stack:
            connection = stack.enter_context(opened(self._path, APPLICATION_ID))
            tables.check_owner(connection, self._origin, self._owner)
            self._lasts = tables.select_lasts(connection)
            self._connection = connection
            self._stack = stack.pop_all()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Lets those end that use the file or wait to do so; those that come later are refused."""
        with trio.CancelScope(shield=True):
            async with self._turn:
                self._connection = None
                await trio.to_thread.run_sync(self._stack.close, limiter=self._thread)

    def last_epoch(self, actor: bytes) -> int:
        last = self._lasts.get(actor)
        return -1 if last is None else last[1]

    async def keep(self, rows: Sequence[CustodyRow], prune_before: int) -> None:
        await self._run(lambda connection: self._keep(connection, rows, prune_before))

    def _keep(self, connection: sqlite3.Connection, rows: Sequence[CustodyRow], prune_before: int) -> None:
        """In the worker thread. Whatever it raises is fatal, but a refusal."""
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                lasts = tables.write_rows(connection, self._lasts, rows, prune_before)
            except WriteRefused:
                connection.execute("ROLLBACK")
                raise
            self._end_transaction(connection)
            self._lasts = lasts
            self._log_bytes += sum(len(row.statement.body) + len(row.batch) for row in rows)
            if self._log_bytes >= CHECKPOINT_BYTES:
                self._log_bytes = 0
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except WriteRefused:
            raise
        except BaseException as error:
            self._failure = error
            raise self._failed() from error

    def _end_transaction(self, connection: sqlite3.Connection) -> None:
        """Where tests fail a keep before or after its commit."""
        connection.execute("COMMIT")

    async def find(self, actor: bytes, incarnation: int, epoch: int) -> CustodyRow | None:
        return await self._run(lambda connection: tables.select_row(connection, (epoch, actor, incarnation)))

    async def _run(self, use: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """Runs `use` in the worker thread, one at a time, to its end. Raises what it raises, and StoreFailed."""

        def run() -> Answer:
            with translated(f"cannot use {self._path}"):
                return use(connection)

        await trio.lowlevel.checkpoint_if_cancelled()
        with trio.CancelScope(shield=True):
            async with self._turn:
                connection = self._open_connection()
                answer = await trio.to_thread.run_sync(run, limiter=self._thread)
        return answer

    def _open_connection(self) -> sqlite3.Connection:
        """Raises StoreFailed once the file is closed, and ever after a keep failed: its transaction may be open."""
        if self._failure is not None:
            raise self._failed() from self._failure
        if self._connection is None:
            raise StoreFailed(f"{self._path} is closed")
        return self._connection

    def _failed(self) -> StoreFailed:
        return StoreFailed(
            f"{self._path}: keeping failed ({self._failure}), and whether it is stored is unknown: "
            "stop, check disk, space and permissions, and start again"
        )
