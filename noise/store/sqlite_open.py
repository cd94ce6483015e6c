"""A SQLite file of ours, whatever it holds: made, locked, opened and checked.

Knows nothing of Trio, or of any table. Everything here blocks, and everything that SQLite or the system may raise
leaves as an error of `noise.store.base`, once it passed `translated`.

Only one connection ever writes or checkpoints: before SQLite 3.51.3, two that do so at the same moment can corrupt the
file (https://sqlite.org/wal.html, "the WAL-reset bug"). While connections are open nothing else here opens the file:
closing any descriptor of it would drop SQLite's own POSIX locks.
"""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from noise.protocol.errors import NoiseError
from noise.store.base import StoreConflict, StoreCorrupt, StoreFailed, StoreLocked, StoreMissing
from noise.store.sqlite_state import RESTORE

PAGE_BYTES = 8192
"""Bundles of many kilobytes want larger pages than SQLite's 4096, scattered rows of caches want smaller ones."""

BUSY_SECONDS = 1.0
"""How long to wait for a lock of SQLite's own; only an operator's shell, or a reader as the log is cut, holds one."""

REFUSED_BY_SYSTEM = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
}
"""Primary result codes that speak of the system. All others, when a sound program reads, speak of the file."""

FOREIGN_ERRORS = (sqlite3.Error, OSError, UnicodeError, MemoryError)
"""UnicodeError: SQLite quotes a damaged schema in its message, and Python cannot decode that."""


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """The border: whatever SQLite or the system raises leaves as StoreCorrupt or StoreFailed."""
    try:
        yield
    except NoiseError:
        raise
    except FOREIGN_ERRORS as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if isinstance(error, OSError | MemoryError) or code in REFUSED_BY_SYSTEM:
            raise StoreFailed(f"{doing}: {error}: check disk, space and permissions, then start again") from error
        raise StoreCorrupt(f"{doing}: the file is damaged ({error}): {RESTORE}") from error


def create_file(path: Path, application_id: int, create_tables: Callable[[sqlite3.Connection], None]) -> None:
    """Makes a database with what `create_tables` puts into it, or nothing at all.

    Raises StoreConflict, StoreLocked, StoreFailed.
    """
    with translated(f"cannot create {path}"), ExitStack() as stack:
        make_directory(path.parent)
        stack.enter_context(locked(path))
        for taken in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-journal")):
            if os.path.lexists(taken):
                raise StoreConflict(f"{taken} exists: open the store that is there, or choose another place")
        unfinished = path.with_name(path.name + ".new")
        for suffix in ("", "-wal", "-shm"):
            leftover = path.with_name(unfinished.name + suffix)
            leftover.unlink(missing_ok=True)
            stack.callback(leftover.unlink, missing_ok=True)
        os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with connected(unfinished) as connection:
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            connection.execute(f"PRAGMA application_id = {application_id}")
            check_durability(connection, path)
            create_tables(connection)
            cut_log(connection)
        path.hardlink_to(unfinished)
        sync_directory(path.parent)


@contextmanager
def opened(path: Path, application_id: int) -> Iterator[sqlite3.Connection]:
    """Holds the file's lock, and its one connection that may write, once all that a crash left in the log is durable.

    Raises StoreMissing, StoreCorrupt, StoreLocked, StoreFailed.
    """
    check_place(path)
    with locked(path), connected(path) as connection:
        check_header(connection, path, application_id)
        check_durability(connection, path)
        cut_log(connection)
        check_size(connection, path)
        yield connection


def make_directory(directory: Path) -> None:
    for ancestor in (*reversed(directory.parents), directory):
        if not ancestor.is_dir():
            ancestor.mkdir(mode=0o700)


def sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds `<path>.lock`, which the kernel gives up when the process ends; the file itself stays. Raises StoreLocked.

    It is tied to this one opening of the file, so that a second one in the same process is refused as well.
    """
    descriptor = os.open(path.with_name(path.name + ".lock"), os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreLocked(f"{path} is open already, here or in another process: stop that one first") from None
        yield
    finally:
        os.close(descriptor)


@contextmanager
def connected(path: Path) -> Iterator[sqlite3.Connection]:
    uri = f"{path.as_uri()}?mode=rw"
    connection = sqlite3.connect(uri, BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=True)
    with closing(connection):
        connection.text_factory = bytes
        for pragma in (
            "synchronous = FULL",
            "fullfsync = ON",
            "checkpoint_fullfsync = ON",
            "wal_autocheckpoint = 0",
            "temp_store = MEMORY",
            "trusted_schema = OFF",
            "cell_size_check = ON",
            "secure_delete = ON",
        ):
            connection.execute(f"PRAGMA {pragma}")
        yield connection


def check_place(path: Path) -> None:
    """Raises StoreMissing, StoreCorrupt, StoreFailed."""
    if not path.exists():
        raise StoreMissing(f"there is no store at {path}: put the newest one back, or correct the path")
    if not path.is_file():
        raise StoreCorrupt(f"{path} is not a file: correct the path")
    if not (os.access(path, os.R_OK | os.W_OK) and os.access(path.parent, os.W_OK | os.X_OK)):
        raise StoreFailed(f"{path} and its directory must be readable and writable for this user")


def check_header(connection: sqlite3.Connection, path: Path, application_id: int) -> None:
    """Raises StoreCorrupt for a file of somebody else's, before anything in it is changed."""
    if number_of(connection, "PRAGMA application_id") != application_id:
        raise StoreCorrupt(f"{path} is empty, damaged or no store of ours: correct the path, or {RESTORE}")


def check_durability(connection: sqlite3.Connection, path: Path) -> None:
    """Raises StoreFailed unless a commit will be in the log, and the log on the disk, when it returns."""
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchall()
    synchronous = connection.execute("PRAGMA synchronous").fetchall()
    if mode != [(b"wal",)] or synchronous != [(2,)]:
        raise StoreFailed(f"{path} cannot keep a synchronous write-ahead log: use a local disk")


def check_size(connection: sqlite3.Connection, path: Path) -> None:
    """Raises StoreCorrupt for a file that was cut. Holds only while all pages are in the file, none in the log."""
    page_count, page_bytes = number_of(connection, "PRAGMA page_count"), number_of(connection, "PRAGMA page_size")
    if path.stat().st_size < page_count * page_bytes:
        raise StoreCorrupt(f"{path} lacks its end: {RESTORE}")


def cut_log(connection: sqlite3.Connection) -> None:
    if number_of(connection, "PRAGMA wal_checkpoint(TRUNCATE)") != 0:
        raise StoreFailed("another program reads the database: stop it first")


def number_of(connection: sqlite3.Connection, sql: str) -> int:
    """The first column of the first row. Raises StoreCorrupt."""
    for number, *_ in connection.execute(sql).fetchall():
        if isinstance(number, int):
            return number
    raise StoreCorrupt(f"no answer to {sql}: {RESTORE}")
