"""The tables of the SQLite custody, and every statement that reads or writes them.

Knows nothing of Trio, threads, locks, or when a transaction begins and ends: functions here take a connection.

Each row carries a checksum (`sqlite_state`). The last rows of all actors are one value of the state, because of them
none may be lost: an actor that forgot what it signed could sign something else.
"""

import sqlite3
import struct
from collections.abc import Sequence

from noise.store.base import StatementRow, StoreCorrupt, StoreForeign
from noise.store.custody import PRUNES_PER_ROW, CustodyRow
from noise.store.custody_checks import Lasts, Slot, select_new
from noise.store.sqlite_state import (
    BEYOND,
    RESTORE,
    STATE_SCHEMA,
    check_identity,
    checksum,
    select,
    select_state,
    write_identity,
    write_state,
)

FORMAT = 1
"""Rises with every change of SCHEMA or of what its columns mean."""

EVERYBODY = b""
"""The owner of a file that holds the rows of all actors. Of one that holds one actor's: that actor, 5 bytes."""

LAST = struct.Struct(">5sIQ")
KEY = struct.Struct(">Q5sIIQ")

SCHEMA = """
CREATE TABLE custody (
    epoch INTEGER NOT NULL, actor BLOB NOT NULL, incarnation INTEGER NOT NULL, body BLOB NOT NULL,
    signature BLOB NOT NULL, batch BLOB NOT NULL, checksum BLOB NOT NULL, PRIMARY KEY (epoch, actor, incarnation)
) STRICT;
"""


def create_tables(connection: sqlite3.Connection, origin: bytes, owner: bytes) -> None:
    connection.executescript(f"BEGIN; {STATE_SCHEMA} {SCHEMA} COMMIT;")
    write_identity(connection, FORMAT, origin)
    write_state(connection, b"owner", owner)
    write_lasts(connection, {})


def check_owner(connection: sqlite3.Connection, origin: bytes, owner: bytes) -> None:
    """Raises StoreCorrupt, StoreForeign."""
    check_identity(connection, FORMAT, origin)
    stored_owner = select_state(connection, b"owner")
    if stored_owner != owner:
        raise StoreForeign(
            f"the custody of {describe_owner(stored_owner)}, not of {describe_owner(owner)}: put each in its own place"
        )


def describe_owner(owner: bytes) -> str:
    return "all actors" if owner == EVERYBODY else f"actor {owner.hex()}"


def write_lasts(connection: sqlite3.Connection, lasts: Lasts) -> None:
    value = b"".join(LAST.pack(actor, *last) for actor, last in sorted(lasts.items()))
    write_state(connection, b"lasts", value)


def select_lasts(connection: sqlite3.Connection) -> dict[bytes, tuple[int, int]]:
    """Raises StoreCorrupt, also if the row of one is not there."""
    value = select_state(connection, b"lasts")
    lasts = {actor: (incarnation, epoch) for actor, incarnation, epoch in LAST.iter_unpack(value)}
    for actor, (incarnation, epoch) in lasts.items():
        if select_row(connection, (epoch, actor, incarnation)) is None:
            raise StoreCorrupt(f"the last row of actor {actor.hex()} is missing: {RESTORE}")
    return lasts


def select_row(connection: sqlite3.Connection, slot: Slot) -> CustodyRow | None:
    """Raises StoreCorrupt."""
    sql = "SELECT body, signature, batch, checksum FROM custody WHERE epoch = ? AND actor = ? AND incarnation = ?"
    epoch, actor, incarnation = slot
    for body, signature, batch, stored_checksum in select(
        connection, four, (bytes,) * 4, sql, min(epoch, BEYOND), actor, incarnation
    ):
        row = CustodyRow(StatementRow(*slot, body, signature), batch)
        if stored_checksum != row_checksum(row):
            raise StoreCorrupt(f"the row of actor {actor.hex()} in epoch {epoch} is damaged: {RESTORE}")
        return row
    return None


def four(first: bytes, second: bytes, third: bytes, fourth: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    return first, second, third, fourth


def row_checksum(row: CustodyRow) -> bytes:
    """Of the key, the lengths and all bytes. `row` has the shape that check_statement asks for."""
    statement, batch = row
    key = KEY.pack(*statement[:3], len(statement.body), len(statement.signature))
    return checksum(b"custody", key, b"".join((statement.body, statement.signature, batch)))


def write_rows(
    connection: sqlite3.Connection, lasts: Lasts, rows: Sequence[CustodyRow], prune_before: int
) -> dict[bytes, tuple[int, int]]:
    """Inside the caller's transaction: the new lasts. Raises SlotTaken, StoreConflict, before anything is stored."""
    new = select_new(rows, lasts, lambda slot: select_row(connection, slot))
    insert = "INSERT INTO custody VALUES (?, ?, ?, ?, ?, ?, ?)"
    connection.executemany(insert, [(*row.statement, row.batch, row_checksum(row)) for row in new.rows])
    if new.rows:
        write_lasts(connection, new.lasts)
    drop_rows(connection, new.lasts, prune_before, PRUNES_PER_ROW * len(rows))
    return new.lasts


def drop_rows(connection: sqlite3.Connection, lasts: Lasts, prune_before: int, limit: int) -> None:
    last_slots = [(epoch, actor, incarnation) for actor, (incarnation, epoch) in lasts.items()]
    sql = "SELECT epoch, actor, incarnation FROM custody WHERE epoch < ? ORDER BY epoch, actor, incarnation LIMIT ?"
    types = (int, bytes, int)
    old: list[Slot] = select(connection, make_slot, types, sql, min(prune_before, BEYOND), limit + len(lasts))
    dropped = [slot for slot in old if slot not in last_slots][:limit]
    connection.executemany("DELETE FROM custody WHERE epoch = ? AND actor = ? AND incarnation = ?", dropped)


def make_slot(epoch: int, actor: bytes, incarnation: int) -> Slot:
    return epoch, actor, incarnation
