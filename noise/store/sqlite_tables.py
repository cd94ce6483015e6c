"""The tables of the SQLite store, its own state, and every statement that reads.

Must not know: Trio, threads, locks, or when a transaction begins and ends: functions here take a connection.

Bodies are signed or hashed by those who wrote them. What is not (the caches and the store's own state) carries a
checksum against accidents (`sqlite_state`). Counts in the state show when rows of a cache vanished as a whole. Of all
other rows only the types are checked.

History is keyed (epoch, mailbox), so that an epoch's rows are appended in order: keyed the other way round a row costs
ten times as much, and more with every epoch. Each row names the one before it in `prev_epoch`: that is the index.
"""

import json
import sqlite3
import struct
from array import array
from collections.abc import Sequence
from typing import NamedTuple

from noise.store.base import (
    ID_STEP,
    LANE_BITS,
    BundleRow,
    CacheRow,
    EpochRow,
    HistoryRow,
    ManifestRow,
    RosterRow,
    StatementRow,
    StoreCorrupt,
)
from noise.store.sqlite_state import (
    BEYOND,
    RESTORE,
    STATE_SCHEMA,
    checksum,
    pair,
    select,
    select_state,
    write_identity,
    write_state,
)

FORMAT = 3
"""Rises with every change of SCHEMA or of what its columns mean. How the table `state` is read never changes."""

WALK_ROWS_MAX = 16384
"""Steps of a walk through a mailbox's history under one snapshot: while one is held, the log cannot be reset."""

U64_MASK = 2**64 - 1
MAILBOXES, SENDERS, ACKS, CHALLENGES = range(4)
CACHE_NAMES = (b"mailboxes", b"senders", b"acks", b"challenges")
HEADS = struct.Struct(">6Q")

SCHEMA = """
CREATE TABLE rosters (version INTEGER PRIMARY KEY, body_and_signature BLOB NOT NULL) STRICT;
CREATE TABLE statements (
    epoch INTEGER NOT NULL, actor BLOB NOT NULL, incarnation INTEGER NOT NULL,
    body BLOB NOT NULL, signature BLOB NOT NULL, PRIMARY KEY (epoch, actor, incarnation)
) WITHOUT ROWID, STRICT;
CREATE TABLE manifests (
    epoch INTEGER NOT NULL, lane INTEGER NOT NULL, actor BLOB NOT NULL, incarnation INTEGER NOT NULL,
    first_id INTEGER NOT NULL, next_id INTEGER NOT NULL, PRIMARY KEY (epoch, lane)
) WITHOUT ROWID, STRICT;
CREATE TABLE bundles (
    bundle_id INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, first_pos INTEGER NOT NULL, sender BLOB NOT NULL,
    first_ctr INTEGER NOT NULL, count INTEGER NOT NULL, prev_id INTEGER NOT NULL, body BLOB NOT NULL
) STRICT;
CREATE TABLE epochs (
    epoch INTEGER PRIMARY KEY, record BLOB NOT NULL, leaf_hash BLOB NOT NULL, checkpoint BLOB NOT NULL
) STRICT;
CREATE TABLE blocks (epoch INTEGER PRIMARY KEY, block_hash BLOB NOT NULL) STRICT;
CREATE TABLE history (
    epoch INTEGER NOT NULL, mailbox BLOB NOT NULL, prev_epoch INTEGER NOT NULL,
    record BLOB NOT NULL, picks BLOB NOT NULL, PRIMARY KEY (epoch, mailbox)
) WITHOUT ROWID, STRICT;
CREATE TABLE caches (
    kind INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, checksum BLOB NOT NULL, PRIMARY KEY (kind, key)
) WITHOUT ROWID, STRICT;

CREATE TABLE prekey_devices (
    device BLOB PRIMARY KEY, until_ms INTEGER NOT NULL, last_id BLOB NOT NULL,
    fallback_not_after_ms INTEGER NOT NULL, fallback BLOB NOT NULL, checksum BLOB NOT NULL
) WITHOUT ROWID, STRICT;
CREATE INDEX prekey_ends ON prekey_devices (until_ms);
CREATE TABLE prekeys (
    device BLOB NOT NULL, prekey_id BLOB NOT NULL, not_after_ms INTEGER NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (device, prekey_id)
) WITHOUT ROWID, STRICT;
"""


class Heads(NamedTuple):
    """How far the store is. `cache_counts`: rows of each cache, by kind."""

    next_epoch: int = 0
    replay_epoch: int = 0
    cache_counts: tuple[int, ...] = (0, 0, 0, 0)


def signed(number: int) -> int:
    """A u64 as SQLite's 64 bits, two's complement; `& U64_MASK` brings it back."""
    return number - 2**64 if number >= 2**63 else number


def create_tables(connection: sqlite3.Connection, origin: bytes) -> None:
    connection.executescript(f"BEGIN; {STATE_SCHEMA} {SCHEMA} COMMIT;")
    write_identity(connection, FORMAT, origin)
    write_heads(connection, Heads())
    write_prekey_devices(connection, 0)


def write_prekey_devices(connection: sqlite3.Connection, count: int) -> None:
    """How many devices have prekeys: counting them would read them all."""
    write_state(connection, b"prekey devices", count.to_bytes(8, "big"))


def select_prekey_devices(connection: sqlite3.Connection) -> int:
    return int.from_bytes(select_state(connection, b"prekey devices"), "big")


def write_heads(connection: sqlite3.Connection, heads: Heads) -> None:
    write_state(connection, b"heads", HEADS.pack(heads.next_epoch, heads.replay_epoch, *heads.cache_counts))


def select_heads(connection: sqlite3.Connection) -> Heads:
    next_epoch, replay_epoch, *cache_counts = HEADS.unpack(select_state(connection, b"heads"))
    return Heads(next_epoch, replay_epoch, tuple(cache_counts))


def select_rosters(connection: sqlite3.Connection) -> list[RosterRow]:
    return select(connection, RosterRow, (int, bytes), "SELECT * FROM rosters ORDER BY version")


def select_epoch(connection: sqlite3.Connection, epoch: int) -> EpochRow:
    """Of a committed epoch. Raises StoreCorrupt."""
    for row in select(connection, EpochRow, (int, bytes, bytes, bytes), "SELECT * FROM epochs WHERE epoch = ?", epoch):
        return row
    raise StoreCorrupt(f"epoch {epoch} is committed, and its record is missing: {RESTORE}")


def select_leaf_hashes(connection: sqlite3.Connection, first_epoch: int, next_epoch: int) -> list[bytes]:
    """Of committed epochs. Raises StoreCorrupt."""
    if first_epoch >= next_epoch:
        return []
    sql = "SELECT leaf_hash FROM epochs WHERE epoch >= ? AND epoch < ? ORDER BY epoch"
    leaf_hashes = select(connection, bytes, (bytes,), sql, first_epoch, next_epoch)
    if len(leaf_hashes) != next_epoch - first_epoch:
        raise StoreCorrupt(f"records are missing in epochs {first_epoch} to {next_epoch}: {RESTORE}")
    return leaf_hashes


def select_block_hashes(connection: sqlite3.Connection) -> list[bytes]:
    return select(connection, bytes, (bytes,), "SELECT block_hash FROM blocks ORDER BY epoch")


def select_statements(connection: sqlite3.Connection, epoch: int) -> list[StatementRow]:
    sql = "SELECT * FROM statements WHERE epoch = ? ORDER BY actor, incarnation"
    return select(connection, StatementRow, (int, bytes, int, bytes, bytes), sql, min(epoch, BEYOND))


def select_manifests(connection: sqlite3.Connection, first_epoch: int, next_epoch: int) -> list[ManifestRow]:
    sql = (
        "SELECT m.epoch, m.lane, m.actor, m.incarnation, m.first_id, m.next_id, s.body, s.signature FROM manifests m "
        "LEFT JOIN statements s ON s.epoch = m.epoch AND s.actor = m.actor AND s.incarnation = m.incarnation "
        "WHERE m.epoch >= ? AND m.epoch < ? ORDER BY m.epoch, m.lane"
    )
    types = (int, int, bytes, int, int, int, bytes, bytes)
    return select(connection, manifest_row, types, sql, min(first_epoch, BEYOND), min(next_epoch, BEYOND))


def manifest_row(
    epoch: int, lane: int, actor: bytes, incarnation: int, first_id: int, next_id: int, body: bytes, signature: bytes
) -> ManifestRow:
    return ManifestRow(epoch, lane, StatementRow(epoch, actor, incarnation, body, signature), first_id, next_id)


BUNDLE_TYPES = (int, int, int, bytes, int, int, int, bytes)


def bundle_row(
    bundle_id: int,
    epoch: int,
    first_pos: int,
    sender: bytes,
    first_ctr: int,
    n_messages: int,
    prev_id: int,
    body: bytes,
) -> BundleRow:
    return BundleRow(bundle_id, epoch, first_pos, sender, first_ctr & U64_MASK, n_messages, prev_id, body)


def select_bundles(connection: sqlite3.Connection, first_id: int, next_id: int) -> list[BundleRow]:
    """Steps from id to id of the lane, for a scan would cross every other lane's bundles. Raises StoreCorrupt."""
    if first_id >= next_id:
        return []
    sql = (
        "WITH RECURSIVE ids(id) AS (SELECT bundle_id FROM bundles WHERE bundle_id = ?1 UNION ALL "
        "SELECT b.bundle_id FROM ids CROSS JOIN bundles b ON b.bundle_id = ids.id + ?3 WHERE ids.id + ?3 < ?2) "
        "SELECT b.* FROM ids CROSS JOIN bundles b ON b.bundle_id = ids.id"
    )
    rows = select(connection, bundle_row, BUNDLE_TYPES, sql, min(first_id, BEYOND), min(next_id, BEYOND), ID_STEP)
    if len(rows) != (next_id - first_id) >> LANE_BITS:
        raise StoreCorrupt(f"bundles are missing in ids {first_id} to {next_id}: {RESTORE}")
    return rows


def select_bundles_of(connection: sqlite3.Connection, epoch: int, lane: int) -> list[BundleRow]:
    sql = "SELECT first_id, next_id FROM manifests WHERE epoch = ? AND lane = ?"
    for first_id, next_id in select(connection, pair, (int, int), sql, min(epoch, BEYOND), min(lane, BEYOND)):
        return select_bundles(connection, first_id, next_id)
    return []


def select_bundles_by_id(connection: sqlite3.Connection, ids: Sequence[int]) -> dict[int, BundleRow]:
    sql = "SELECT b.* FROM json_each(?) ids CROSS JOIN bundles b ON b.bundle_id = ids.value"
    wanted = json.dumps([bundle_id for bundle_id in ids if bundle_id < BEYOND])
    return {row.bundle_id: row for row in select(connection, bundle_row, BUNDLE_TYPES, sql, wanted)}


def select_bundles_since(
    connection: sqlite3.Connection, epoch: int, after: tuple[int, int] | None, limit: int
) -> list[BundleRow]:
    """Goes from manifest to manifest. Raises StoreCorrupt."""
    lane = 0
    if after is not None and after[0] >= epoch:
        epoch, lane = after[0], after[1] % ID_STEP
    sql = (
        "SELECT epoch, lane, first_id, next_id FROM manifests "
        "WHERE (epoch, lane) >= (?, ?) AND first_id < next_id ORDER BY epoch, lane LIMIT ?"
    )
    manifests = select(connection, Manifest, (int, int, int, int), sql, min(epoch, BEYOND), lane, limit + 1)
    rows: list[BundleRow] = []
    for manifest in manifests:
        first_id = manifest.first_id
        if after is not None and (manifest.epoch, manifest.lane) == (after[0], after[1] % ID_STEP):
            first_id = after[1] + ID_STEP
        rows += select_bundles(connection, first_id, min(manifest.next_id, first_id + (limit - len(rows)) * ID_STEP))
    return rows


class Manifest(NamedTuple):
    epoch: int
    lane: int
    first_id: int
    next_id: int


HISTORY_TYPES = (bytes, int, int, bytes, bytes)


def walk_history(
    connection: sqlite3.Connection, mailbox: bytes, last_epoch: int, after_epoch: int
) -> tuple["array[int]", int]:
    """One stretch of the walk back from `last_epoch`: epochs, falling, and where to go on. Raises StoreCorrupt.

    The walk ends where a row is missing: the next stretch then begins there, and finds nothing.
    """
    sql = (
        "WITH RECURSIVE walk(epoch, prev_epoch) AS ("
        "SELECT epoch, prev_epoch FROM history WHERE epoch = ?1 AND mailbox = ?2 UNION ALL "
        "SELECT h.epoch, h.prev_epoch FROM walk CROSS JOIN history h ON h.epoch = walk.prev_epoch AND h.mailbox = ?2 "
        "WHERE walk.prev_epoch > ?3 AND walk.prev_epoch < walk.epoch LIMIT ?4) SELECT epoch, prev_epoch FROM walk"
    )
    last_epoch, after_epoch = min(last_epoch, BEYOND), min(after_epoch, BEYOND)
    steps = select(connection, pair, (int, int), sql, last_epoch, mailbox, after_epoch, WALK_ROWS_MAX)
    if not steps or steps[-1][1] >= steps[-1][0]:
        raise StoreCorrupt(f"mailbox {mailbox.hex()} has a hole in its history at epoch {last_epoch}: {RESTORE}")
    return array("Q", (epoch for epoch, _ in steps)), steps[-1][1]


def select_history_rows(connection: sqlite3.Connection, mailbox: bytes, epochs: Sequence[int]) -> list[HistoryRow]:
    """In the order of `epochs`. Raises StoreCorrupt."""
    sql = (
        "SELECT h.mailbox, h.epoch, h.prev_epoch, h.record, h.picks FROM json_each(?1) epochs "
        "CROSS JOIN history h ON h.epoch = epochs.value AND h.mailbox = ?2"
    )
    wanted = json.dumps([min(epoch, BEYOND) for epoch in epochs])
    rows = select(connection, HistoryRow, HISTORY_TYPES, sql, wanted, mailbox)
    if len(rows) != len(epochs):
        raise StoreCorrupt(f"mailbox {mailbox.hex()} lacks rows of {len(epochs)} epochs: {RESTORE}")
    return rows


def select_history_since(
    connection: sqlite3.Connection, epoch: int, after: tuple[int, bytes] | None, limit: int
) -> list[HistoryRow]:
    sql = (
        "SELECT mailbox, epoch, prev_epoch, record, picks FROM history "
        "WHERE (epoch, mailbox) > (?, ?) ORDER BY epoch, mailbox LIMIT ?"
    )
    after_epoch, after_mailbox = max((epoch, b""), after or (epoch, b""))
    return select(connection, HistoryRow, HISTORY_TYPES, sql, min(after_epoch, BEYOND), after_mailbox, limit)


def select_cache(connection: sqlite3.Connection, kind: int, after: bytes | None, limit: int) -> list[CacheRow]:
    """A page; the last one shows whether all rows are still there. Raises StoreCorrupt."""
    sql = "SELECT key, value, checksum FROM caches WHERE kind = ? AND key > ? ORDER BY key LIMIT ?"
    last_key, rows = after or b"", []
    connection.execute("BEGIN")
    try:
        for key, value, stored_checksum in select(connection, triple, (bytes,) * 3, sql, kind, last_key, limit):
            if key <= last_key or stored_checksum != checksum(CACHE_NAMES[kind], key, value):
                raise StoreCorrupt(f"a damaged row in {CACHE_NAMES[kind].decode()}: {RESTORE}")
            rows.append(CacheRow(key, value))
            last_key = key
        if len(rows) < limit:
            counts = select(connection, int, (int,), "SELECT count(*) FROM caches WHERE kind = ?", kind)
            if counts != [select_heads(connection).cache_counts[kind]]:
                raise StoreCorrupt(f"rows of {CACHE_NAMES[kind].decode()} are missing: {RESTORE}")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    return rows


def triple(first: bytes, second: bytes, third: bytes) -> tuple[bytes, bytes, bytes]:
    return first, second, third
