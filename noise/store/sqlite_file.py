"""The file of the SQLite store: its connections, its checks, and its checkpoints.

Knows nothing of Trio, or of what a write holds. Everything here blocks, and everything that SQLite or the system may
raise leaves as an error of `noise.store.base`.
"""

import sqlite3
from contextlib import ExitStack
from pathlib import Path

from noise.store.base import StoreCorrupt
from noise.store.sqlite_open import connected, cut_log, number_of, opened, translated
from noise.store.sqlite_state import RESTORE, check_identity
from noise.store.sqlite_tables import FORMAT, select_heads, select_prekey_devices

APPLICATION_ID = int.from_bytes(b"nois", "big")
"""In the file's header, so that `file` and we know whose it is."""

READERS_MAX = 4
"""Connections that read at the same time."""

WRITER_CACHE_KIB = 32768
READER_CACHE_KIB = 8192
"""Pages that a connection keeps: 64 MiB in all."""

LOG_BYTES_MAX = 64 << 20
"""A log longer than this is cut at the next checkpoint, though that waits for readers."""


class SqliteFile:
    """A locked database, with one connection that writes and READERS_MAX that read.

    Each connection is used by one thread at a time; the owner sees to that.
    """

    def __init__(self, path: Path, origin: bytes) -> None:
        """Raises StoreMissing, StoreForeign, StoreCorrupt, StoreLocked, StoreFailed."""
        self._log_path = path.with_name(path.name + "-wal")
        with translated(f"cannot open {path}"), ExitStack() as stack:
            self.writer = stack.enter_context(opened(path, APPLICATION_ID))
            self.writer.execute(f"PRAGMA cache_size = -{WRITER_CACHE_KIB}")
            check_identity(self.writer, FORMAT, origin)
            self.heads = select_heads(self.writer)
            check_epochs(self.writer, self.heads.next_epoch)
            check_prekey_devices(self.writer)
            self.readers = [stack.enter_context(connected(path)) for _ in range(READERS_MAX)]
            for reader in self.readers:
                reader.execute("PRAGMA query_only = ON")
                reader.execute(f"PRAGMA cache_size = -{READER_CACHE_KIB}")
            self._stack = stack.pop_all()

    def checkpoint(self) -> None:
        """Copies the log into the database, as far as no reader needs it. Commits wait for this, reads do not."""
        is_long = self._log_path.stat().st_size > LOG_BYTES_MAX
        self.writer.execute(f"PRAGMA wal_checkpoint({'TRUNCATE' if is_long else 'PASSIVE'})").fetchall()

    def cut_log(self) -> None:
        """Copies all of the log into the database and empties it. Raises StoreFailed."""
        cut_log(self.writer)

    def close(self) -> None:
        """Closes the readers, then the writer, then gives the lock up."""
        self._stack.close()


def check_epochs(connection: sqlite3.Connection, next_epoch: int) -> None:
    """Raises StoreCorrupt unless the last epoch is the one that the state names."""
    if number_of(connection, "SELECT coalesce(max(epoch) + 1, 0) FROM epochs") != next_epoch:
        raise StoreCorrupt(f"epochs do not end where the store says, at {next_epoch}: {RESTORE}")


def check_prekey_devices(connection: sqlite3.Connection) -> None:
    """Raises StoreCorrupt unless as many devices have prekeys as the state says: else used ones could come back."""
    if number_of(connection, "SELECT count(*) FROM prekey_devices") != select_prekey_devices(connection):
        raise StoreCorrupt(f"devices that had prekeys are missing: {RESTORE}")
