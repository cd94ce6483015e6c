"""The provider's word in the device file, beside key, backlog and queue.

Knows nothing of the protocol, and nothing of how the file is opened and locked. It keeps the contract of
`EvidenceStore`.
"""

import sqlite3
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager

from noise.protocol.envelope import RecipientSet
from noise.protocol.merkle import CompactRange, make_range
from noise_client.evidence_store import (
    NOTES_MAX,
    PROOFS_MAX,
    EvidenceStore,
    Gained,
    KeptNote,
    KeptProof,
    KeptReceipt,
    Pair,
    PrivatePrekey,
)

EVIDENCE_SCHEMA = """
CREATE TABLE base (one INTEGER PRIMARY KEY CHECK (one = 1), size INTEGER NOT NULL, peaks BLOB NOT NULL) STRICT;
INSERT INTO base VALUES (1, 0, x'');
CREATE TABLE records (k INTEGER PRIMARY KEY, record BLOB NOT NULL) STRICT;
CREATE TABLE messages (
    seq BLOB PRIMARY KEY,
    k INTEGER NOT NULL,
    recipients_root BLOB NOT NULL,
    leaf BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX messages_by_record ON messages (k);
CREATE INDEX messages_by_set ON messages (recipients_root, seq);
CREATE TABLE sets (root BLOB PRIMARY KEY, env_salt BLOB NOT NULL, device_ids BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE members (peer BLOB NOT NULL, root BLOB NOT NULL, PRIMARY KEY (peer, root)) STRICT, WITHOUT ROWID;
CREATE TABLE pairs (
    peer BLOB PRIMARY KEY,
    base_seq BLOB NOT NULL,
    base_length INTEGER NOT NULL,
    base_head BLOB NOT NULL,
    matched_length INTEGER NOT NULL,
    matched_epoch INTEGER NOT NULL,
    disputed_seq BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE notes (
    is_distinguished INTEGER NOT NULL,
    size INTEGER NOT NULL,
    note BLOB NOT NULL,
    PRIMARY KEY (is_distinguished, size)
) STRICT, WITHOUT ROWID;
CREATE TABLE receipts (first_seq BLOB PRIMARY KEY, bundle BLOB NOT NULL, receipt BLOB NOT NULL) STRICT;
CREATE TABLE proofs (number INTEGER PRIMARY KEY, time_ms INTEGER NOT NULL, proof BLOB NOT NULL UNIQUE) STRICT;
CREATE TABLE prekeys (
    prekey_id BLOB PRIMARY KEY,
    kind INTEGER NOT NULL,
    private_key BLOB NOT NULL,
    made_ms INTEGER NOT NULL,
    number INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE last_prekey (one INTEGER PRIMARY KEY CHECK (one = 1), prekey_id BLOB NOT NULL) STRICT;
INSERT INTO last_prekey VALUES (1, x'0000000000000000');
"""


class SqliteEvidence(EvidenceStore):
    @abstractmethod
    def _transaction(self, *, durable: bool = True) -> AbstractContextManager[sqlite3.Connection]:
        """Begin, and commit or roll back at the end, errors translated."""

    @abstractmethod
    def _reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """Errors translated."""

    def base(self) -> CompactRange:
        with self._reading() as db:
            size, peaks = db.execute("SELECT size, peaks FROM base").fetchone()
        return make_range(size, [peaks[i : i + 32] for i in range(0, len(peaks), 32)])

    def records(self, first_k: int) -> list[bytes]:
        with self._reading() as db:
            return [r for (r,) in db.execute("SELECT record FROM records WHERE k >= ? ORDER BY k", (first_k,))]

    def leaves(self, k: int) -> list[bytes]:
        with self._reading() as db:
            return [leaf for (leaf,) in db.execute("SELECT leaf FROM messages WHERE k = ? ORDER BY seq", (k,))]

    def recipient_set(self, root: bytes) -> RecipientSet | None:
        with self._reading() as db:
            row = db.execute("SELECT env_salt, device_ids FROM sets WHERE root = ?", (root,)).fetchone()
        return RecipientSet(row[0], _split(row[1])) if row else None

    def chain_leaves(self, peer: bytes, after_seq: bytes, count: int) -> list[bytes]:
        query = (
            "SELECT leaf FROM messages WHERE seq > ? AND recipients_root IN (SELECT root FROM members WHERE peer = ?)"
            " ORDER BY seq LIMIT ?"
        )
        with self._reading() as db:
            return [leaf for (leaf,) in db.execute(query, (after_seq, peer, count))]

    def peers(self, next_k: int) -> list[bytes]:
        query = (
            "SELECT DISTINCT peer FROM members WHERE root IN"
            " (SELECT recipients_root FROM messages WHERE k < ?) ORDER BY peer"
        )
        with self._reading() as db:
            return [peer for (peer,) in db.execute(query, (next_k,))]

    def pair(self, peer: bytes) -> Pair | None:
        with self._reading() as db:
            row = db.execute("SELECT * FROM pairs WHERE peer = ?", (peer,)).fetchone()
        return Pair(*row) if row else None

    def save_pairs(self, pairs: Sequence[Pair]) -> None:
        with self._transaction(durable=False) as db:
            db.executemany("REPLACE INTO pairs VALUES (?, ?, ?, ?, ?, ?, ?)", pairs)

    def forget(self, base: CompactRange, pairs: Sequence[Pair]) -> None:
        with self._transaction(durable=False) as db:
            db.execute("UPDATE base SET size = ?, peaks = ?", (base.size, b"".join(base.peaks)))
            db.execute("DELETE FROM records WHERE k < ?", (base.size,))
            roots = db.execute("SELECT DISTINCT recipients_root FROM messages WHERE k < ?", (base.size,)).fetchall()
            db.execute("DELETE FROM messages WHERE k < ?", (base.size,))
            for (root,) in roots:
                if not db.execute("SELECT 1 FROM messages WHERE recipients_root = ? LIMIT 1", (root,)).fetchone():
                    [device_ids] = db.execute("SELECT device_ids FROM sets WHERE root = ?", (root,)).fetchone()
                    db.execute("DELETE FROM sets WHERE root = ?", (root,))
                    members = [(device_id, root) for device_id in _split(device_ids)]
                    db.executemany("DELETE FROM members WHERE peer = ? AND root = ?", members)
            db.executemany("REPLACE INTO pairs VALUES (?, ?, ?, ?, ?, ?, ?)", pairs)

    def notes(self) -> list[KeptNote]:
        with self._reading() as db:
            rows = db.execute("SELECT size, note, is_distinguished FROM notes ORDER BY size, is_distinguished")
            return [KeptNote(size, note, bool(distinguished)) for size, note, distinguished in rows]

    def save_note(self, note: KeptNote) -> None:
        with self._transaction(durable=False) as db:
            _insert_note(db, note)

    def save_receipt(self, receipt: KeptReceipt) -> None:
        with self._transaction() as db:
            db.execute("REPLACE INTO receipts VALUES (?, ?, ?)", receipt)

    def receipts(self) -> list[KeptReceipt]:
        with self._reading() as db:
            return [KeptReceipt(*row) for row in db.execute("SELECT * FROM receipts ORDER BY first_seq")]

    def drop_receipt(self, first_seq: bytes) -> None:
        with self._transaction(durable=False) as db:
            db.execute("DELETE FROM receipts WHERE first_seq = ?", (first_seq,))

    def save_proof(self, proof: KeptProof) -> bool:
        with self._transaction() as db:
            [count] = db.execute("SELECT count(*) FROM proofs").fetchone()
            if count >= PROOFS_MAX:
                return False
            return db.execute("INSERT OR IGNORE INTO proofs (time_ms, proof) VALUES (?, ?)", proof).rowcount == 1

    def proofs(self) -> list[KeptProof]:
        with self._reading() as db:
            return [KeptProof(*row) for row in db.execute("SELECT time_ms, proof FROM proofs ORDER BY number")]

    def save_prekeys(self, prekeys: Sequence[PrivatePrekey]) -> None:
        with self._transaction() as db:
            [number] = db.execute("SELECT coalesce(max(number), 0) FROM prekeys").fetchone()
            rows = [(*prekey, number + 1 + i) for i, prekey in enumerate(prekeys)]
            db.executemany("INSERT INTO prekeys VALUES (?, ?, ?, ?, ?)", rows)
            ids = [(prekey.prekey_id,) for prekey in prekeys]
            db.executemany("UPDATE last_prekey SET prekey_id = max(prekey_id, ?)", ids)

    def prekey(self, prekey_id: bytes) -> PrivatePrekey | None:
        query = "SELECT prekey_id, kind, private_key, made_ms FROM prekeys WHERE prekey_id = ?"
        with self._reading() as db:
            row = db.execute(query, (prekey_id,)).fetchone()
        return PrivatePrekey(*row) if row else None

    def prekeys(self, kind: int) -> list[PrivatePrekey]:
        query = "SELECT prekey_id, kind, private_key, made_ms FROM prekeys WHERE kind = ? ORDER BY number"
        with self._reading() as db:
            return [PrivatePrekey(*row) for row in db.execute(query, (kind,))]

    def last_prekey_id(self) -> bytes:
        with self._reading() as db:
            [prekey_id] = db.execute("SELECT prekey_id FROM last_prekey").fetchone()
        return bytes(prekey_id)

    def drop_prekeys(self, prekey_ids: Sequence[bytes]) -> None:
        with self._transaction(durable=False) as db:
            _delete_prekeys(db, prekey_ids)

    def evidence_bytes(self) -> tuple[int, int]:
        with self._reading() as db:
            [records] = db.execute("SELECT coalesce(sum(length(record)), 0) FROM records").fetchone()
            count, messages = db.execute(
                "SELECT count(*), coalesce(sum(48 + length(leaf)), 0) FROM messages"
            ).fetchone()
            [sets] = db.execute("SELECT coalesce(sum(48 + length(device_ids)), 0) FROM sets").fetchone()
        return count, records + messages + sets


def insert_gained(db: sqlite3.Connection, gained: Gained) -> None:
    """Within a transaction."""
    db.executemany("INSERT OR IGNORE INTO records VALUES (?, ?)", gained.records)
    db.executemany("INSERT OR IGNORE INTO messages VALUES (?, ?, ?, ?)", gained.messages)
    for root, recipient_set in gained.sets:
        row = (root, recipient_set.env_salt, b"".join(recipient_set.device_ids))
        if db.execute("INSERT OR IGNORE INTO sets VALUES (?, ?, ?)", row).rowcount:
            members = [(device_id, root) for device_id in recipient_set.device_ids]
            db.executemany("INSERT INTO members VALUES (?, ?)", members)
    for note in gained.notes:
        _insert_note(db, note)
    _delete_prekeys(db, gained.spent)


def _delete_prekeys(db: sqlite3.Connection, prekey_ids: Sequence[bytes]) -> None:
    db.executemany("DELETE FROM prekeys WHERE prekey_id = ?", [(prekey_id,) for prekey_id in prekey_ids])


def _insert_note(db: sqlite3.Connection, note: KeptNote) -> None:
    kind = int(note.is_distinguished)
    if db.execute("INSERT OR IGNORE INTO notes VALUES (?, ?, ?)", (kind, note.size, note.note)).rowcount:
        query = (
            "DELETE FROM notes WHERE is_distinguished = ? AND size IN"
            " (SELECT size FROM notes WHERE is_distinguished = ? ORDER BY size DESC LIMIT -1 OFFSET ?)"
        )
        db.execute(query, (kind, kind, NOTES_MAX))


def _split(joined: bytes) -> tuple[bytes, ...]:
    return tuple([joined[i : i + 32] for i in range(0, len(joined), 32)])
