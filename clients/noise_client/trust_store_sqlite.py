"""The trust store in one SQLite file, which is the device: key, trust, backlog, queue and evidence.

Knows nothing of the protocol. The file is locked for as long as it is open, and only its owner may read it: whoever
reads it can speak as this device. Beside it, while it is open or after a crash, stands SQLite's journal, FILE-wal.
"""

import os
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from noise.protocol.statements import MESSAGE_LEAF
from noise_client.device import Device, create_device
from noise_client.errors import TrustStoreError
from noise_client.evidence_store import NOTHING_GAINED, Gained
from noise_client.trust_store import (
    OFFENCES_MAX,
    ROW_BYTES,
    Delivery,
    Kept,
    Offence,
    QueuedMessage,
    Seal,
    TrustStore,
    first_rows,
)
from noise_client.trust_store_sqlite_evidence import EVIDENCE_SCHEMA, SqliteEvidence, insert_gained

APPLICATION_ID = 0x6E6F6973
FORMAT_VERSION = 2

_SCHEMA = f"""
BEGIN;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT_VERSION};
CREATE TABLE device (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    private_key BLOB NOT NULL,
    salt_secret BLOB NOT NULL,
    origin BLOB,
    trusted BLOB NOT NULL,
    next_ctr BLOB NOT NULL,
    bundle BLOB NOT NULL
) STRICT;
CREATE TABLE counters (sender BLOB PRIMARY KEY, last_ctr BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE untaken (
    seq BLOB PRIMARY KEY,
    created_ms BLOB NOT NULL,
    recipients BLOB NOT NULL,
    data BLOB NOT NULL,
    ciphertext BLOB NOT NULL,
    leaf BLOB NOT NULL,
    seal INTEGER NOT NULL
) STRICT;
CREATE TABLE queued (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    recipients BLOB NOT NULL,
    data BLOB NOT NULL,
    created_ms BLOB NOT NULL,
    kind INTEGER NOT NULL
) STRICT;
CREATE TABLE offences (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    time_ms INTEGER NOT NULL,
    code TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
CREATE TABLE evidence (
    offence INTEGER NOT NULL REFERENCES offences (number) ON DELETE CASCADE,
    bytes BLOB NOT NULL
) STRICT;
{EVIDENCE_SCHEMA}"""


def create_device_file(path: str | os.PathLike[str], device: Device | None = None) -> Device:
    """Make a new device file, readable by its owner only, with a new key unless `device` brings one.

    Raises TrustStoreError: "device-exists" when there is a file already, which stays as it is.
    """
    device = device or create_device()
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        raise TrustStoreError(f"{path} exists already: choose another name", code="device-exists") from None
    except OSError as error:
        raise TrustStoreError(f"cannot make {path}: {error.strerror}") from error
    row = (device.private_key, secrets.token_bytes(32), _u64(1))
    try:
        with _translated(path), closing(_connect(path)) as db:
            db.executescript(_SCHEMA)
            db.execute("INSERT INTO device VALUES (1, ?, ?, NULL, x'', ?, x'')", row)
            db.execute("COMMIT")
    except BaseException:
        os.unlink(path)
        raise
    return device


class SqliteTrustStore(SqliteEvidence, TrustStore):
    """A device file, opened and locked. Durable is what SQLite synced, written what it handed to the kernel."""

    blocks = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Raises TrustStoreError: "device-missing", "device-locked", "not-a-device-file"."""
        self._path = path
        if not os.path.isfile(path):
            raise TrustStoreError(
                f"there is no device file {path}: make one with `noise-client new --device {path}`",
                code="device-missing",
            )
        with _translated(path):
            self._db = _connect(path)
            try:
                _lock(self._db, path)
                self._device = Device(self._db.execute("SELECT private_key FROM device").fetchone()[0])
            except BaseException:
                self._db.close()
                raise

    @contextmanager
    def _transaction(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        db = self._db
        with _translated(self._path):
            db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with _translated(self._path):
            yield self._db

    def load(self) -> Kept:
        with _translated(self._path):
            private_key, salt_secret, origin, trusted, bundle = self._db.execute(
                "SELECT private_key, salt_secret, origin, trusted, bundle FROM device"
            ).fetchone()
            [backlog_bytes] = self._db.execute(
                "SELECT total(? + length(recipients) + length(data) + length(ciphertext)) FROM untaken", (ROW_BYTES,)
            ).fetchone()
            queued_bytes = [
                size
                for (size,) in self._db.execute(
                    "SELECT ? + length(recipients) + length(data) FROM queued ORDER BY number", (ROW_BYTES,)
                )
            ]
        return Kept(private_key, salt_secret, origin, trusted, bundle, int(backlog_bytes), queued_bytes)

    def last_counter(self, sender: bytes) -> int | None:
        with _translated(self._path):
            row = self._db.execute("SELECT last_ctr FROM counters WHERE sender = ?", (sender,)).fetchone()
        return int.from_bytes(row[0], "big") if row else None

    def next_counter(self) -> int:
        with _translated(self._path):
            [next_ctr] = self._db.execute("SELECT next_ctr FROM device").fetchone()
        return int.from_bytes(next_ctr, "big")

    def save_step(
        self,
        origin: bytes,
        trusted: bytes,
        counters: dict[bytes, int],
        deliveries: Sequence[Delivery],
        gained: Gained = NOTHING_GAINED,
    ) -> None:
        with self._transaction(durable=bool(deliveries or gained.records)) as db:
            db.execute("UPDATE device SET origin = ?, trusted = ?", (origin, trusted))
            db.executemany("REPLACE INTO counters VALUES (?, ?)", [(s, _u64(c)) for s, c in counters.items()])
            if (own_ctr := counters.get(self._device.device_id)) is not None:
                db.execute("UPDATE device SET next_ctr = max(next_ctr, ?)", (_u64(own_ctr + 1),))
            db.executemany(
                "INSERT INTO untaken VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (d.seq, _u64(d.created_ms), b"".join(d.recipients), d.data, d.ciphertext, d.leaf, d.seal)
                    for d in deliveries
                ],
            )
            insert_gained(db, gained)

    def untaken(self, count_max: int, bytes_max: int) -> list[Delivery]:
        query = "SELECT seq, created_ms, recipients, data, ciphertext, leaf, seal FROM untaken ORDER BY seq LIMIT ?"
        with _translated(self._path):
            return first_rows(map(_parse_delivery, self._db.execute(query, (count_max,))), bytes_max)

    def take(self, seq: bytes) -> None:
        with self._transaction(durable=False) as db:
            db.execute("DELETE FROM untaken WHERE seq <= ?", (seq,))

    def add_queued(self, messages: Sequence[QueuedMessage]) -> None:
        with self._transaction() as db:
            db.executemany(
                "INSERT INTO queued (recipients, data, created_ms, kind) VALUES (?, ?, ?, ?)",
                [(b"".join(m.recipients), m.data, _u64(m.created_ms), m.kind) for m in messages],
            )

    def queued(self, count_max: int, bytes_max: int) -> list[QueuedMessage]:
        query = "SELECT recipients, data, created_ms, kind FROM queued ORDER BY number LIMIT ?"
        with _translated(self._path):
            rows = self._db.execute(query, (count_max,))
            messages = (
                QueuedMessage(_split_ids(ids), data, int.from_bytes(ms, "big"), kind) for ids, data, ms, kind in rows
            )
            return first_rows(messages, bytes_max)

    def freeze(self, bundle: bytes, next_ctr: int) -> None:
        with self._transaction() as db:
            db.execute("UPDATE device SET bundle = ?, next_ctr = ?", (bundle, _u64(next_ctr)))

    def finish(self, count: int) -> None:
        with self._transaction(durable=False) as db:
            db.execute("UPDATE device SET bundle = x''")
            db.execute(
                "DELETE FROM queued WHERE number IN (SELECT number FROM queued ORDER BY number LIMIT ?)", (count,)
            )

    def save_offence(self, offence: Offence) -> None:
        with self._transaction() as db:
            number = db.execute(
                "INSERT INTO offences (time_ms, code, detail) VALUES (?, ?, ?)",
                (offence.time_ms, offence.code, offence.detail),
            ).lastrowid
            db.executemany("INSERT INTO evidence VALUES (?, ?)", [(number, part) for part in offence.evidence])
            db.execute(
                "DELETE FROM offences WHERE number NOT IN (SELECT number FROM offences ORDER BY number DESC LIMIT ?)",
                (OFFENCES_MAX,),
            )

    def offences(self) -> list[Offence]:
        with _translated(self._path):
            parts: dict[int, list[bytes]] = {}
            for number, part in self._db.execute("SELECT offence, bytes FROM evidence ORDER BY rowid"):
                parts.setdefault(number, []).append(part)
            rows = self._db.execute("SELECT number, time_ms, code, detail FROM offences ORDER BY number")
            return [Offence(ms, code, detail, tuple(parts.get(number, ()))) for number, ms, code, detail in rows]

    def close(self) -> None:
        with _translated(self._path), closing(self._db), suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # if it fails, or is closed: the journal loses nothing


def _connect(path: str | os.PathLike[str]) -> sqlite3.Connection:
    """A connection that begins no transactions by itself, waits for nobody's lock, and overwrites what it deletes."""
    uri = f"{Path(path).absolute().as_uri()}?mode=rw"
    db = sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA secure_delete = ON")
    return db


def _lock(db: sqlite3.Connection, path: str | os.PathLike[str]) -> None:
    """Lock the file until the connection is closed or the process ends, and see that it is ours."""
    try:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        [application_id] = db.execute("PRAGMA application_id").fetchone()
        [version] = db.execute("PRAGMA user_version").fetchone()
        if (application_id, version) != (APPLICATION_ID, FORMAT_VERSION):
            raise TrustStoreError(f"{path} is not a device file of this version", code="not-a-device-file")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("BEGIN EXCLUSIVE")
        db.execute("COMMIT")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise
        raise TrustStoreError(
            f"another process uses {path}: stop it first, or make a device of its own for each", code="device-locked"
        ) from None


@contextmanager
def _translated(path: str | os.PathLike[str]) -> Iterator[None]:
    """SQLite's errors as ours."""
    try:
        yield
    except OverflowError:  # an epoch of 2**63 or later: no honest provider has come so far
        raise TrustStoreError("a number is larger than a device file can hold", code="number-too-large") from None
    except sqlite3.Error as error:
        is_foreign = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB
        code = "not-a-device-file" if is_foreign else "store-failed"
        raise TrustStoreError(f"cannot use {path}: {error}", code=code) from error


def _parse_delivery(row: tuple[bytes, bytes, bytes, bytes, bytes, bytes, int]) -> Delivery:
    seq, created_ms, recipients, data, ciphertext, encoded, seal = row
    leaf = MESSAGE_LEAF.decode(encoded)
    created = int.from_bytes(created_ms, "big")
    return Delivery(
        seq, leaf.sender, leaf.sender_ctr, created, _split_ids(recipients), data, ciphertext, encoded, Seal(seal)
    )


def _split_ids(joined: bytes) -> tuple[bytes, ...]:
    return tuple([joined[i : i + 32] for i in range(0, len(joined), 32)])


def _u64(number: int) -> bytes:
    """SQLite's integers are signed: these are not, and compare like numbers."""
    return number.to_bytes(8, "big")
