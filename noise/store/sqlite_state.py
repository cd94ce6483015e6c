"""What every SQLite file of ours has in common: the table of its own state, whose it is, and how rows are read.

Knows nothing of what else a file holds, nor of Trio, threads, locks, or when a transaction begins and ends: functions
here take a connection.

What nobody signed or hashed carries a checksum against accidents, not against forgers: SHA-256 over table, key and
value, cut to 8 bytes.
"""

import sqlite3
from collections.abc import Callable
from hashlib import sha256
from typing import TypeVar

from noise.store.base import NUMBER_MAX, StoreCorrupt, StoreForeign

STATE_SCHEMA = """
CREATE TABLE state (key BLOB PRIMARY KEY, value BLOB NOT NULL, checksum BLOB NOT NULL) WITHOUT ROWID, STRICT;
"""
"""Never changes, whatever the format."""

BEYOND = NUMBER_MAX + 1
"""In place of any larger number that is looked for: no row has it, and SQLite takes it."""

RESTORE = "restore the store from a copy"

Row = TypeVar("Row")


def checksum(table: bytes, key: bytes, value: bytes) -> bytes:
    """8 bytes. No table's name holds a zero byte, and keys of one table are equally long."""
    return sha256(b"\x00".join((table, key, value))).digest()[:8]


def write_state(connection: sqlite3.Connection, key: bytes, value: bytes) -> None:
    connection.execute("INSERT OR REPLACE INTO state VALUES (?, ?, ?)", (key, value, checksum(b"state", key, value)))


def select_state(connection: sqlite3.Connection, key: bytes) -> bytes:
    sql = "SELECT value, checksum FROM state WHERE key = ?"
    for value, stored_checksum in select(connection, pair, (bytes, bytes), sql, key):
        if stored_checksum == checksum(b"state", key, value):
            return bytes(value)
    raise StoreCorrupt(f"the store's own {key.decode()} is damaged or missing: {RESTORE}")


def write_identity(connection: sqlite3.Connection, format_version: int, origin: bytes) -> None:
    write_state(connection, b"format", format_version.to_bytes(4, "big"))
    write_state(connection, b"origin", origin)


def check_identity(connection: sqlite3.Connection, format_version: int, origin: bytes) -> None:
    """Raises StoreCorrupt, StoreForeign."""
    stored_format = int.from_bytes(select_state(connection, b"format"), "big")
    if stored_format != format_version:
        raise StoreForeign(
            f"format {stored_format}, and this program reads format {format_version}: run the program that wrote it"
        )
    stored_origin = select_state(connection, b"origin")
    if stored_origin != origin:
        raise StoreForeign(
            f"the store of provider {stored_origin.hex()}, not of {origin.hex()}: check the path and the root key"
        )


def select(
    connection: sqlite3.Connection, kind: Callable[..., Row], types: tuple[type, ...], sql: str, *arguments: object
) -> list[Row]:
    """All rows as `kind`. Raises StoreCorrupt if a column is not of its type: SQLite believes the file.

    Reads to the end before it looks: an unfinished statement would hold its snapshot, and with it the log.
    """
    rows = []
    for values in connection.execute(sql, arguments).fetchall():
        if tuple(map(type, values)) != types:
            raise StoreCorrupt(f"a damaged row: {RESTORE} ({sql})")
        rows.append(kind(*values))
    return rows


def pair(first: Row, second: Row) -> tuple[Row, Row]:
    return first, second
