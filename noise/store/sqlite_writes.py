"""How each write becomes rows of the SQLite store: first every check against what is stored, then the rows.

Must not know: Trio, threads, locks, or when a transaction begins and ends: functions here take a connection.
A refusal (WriteRefused) comes before anything of its write is stored, so that other writes can share the transaction.
"""

import sqlite3
from collections.abc import Sequence
from operator import add

from noise.store.base import (
    CacheRow,
    EpochRow,
    EpochWrite,
    ManifestWrite,
    PrekeyPair,
    PrekeyTake,
    PrekeyTally,
    PrekeyWrite,
    RosterRow,
    SlotTaken,
    StatementRow,
    StoreConflict,
)
from noise.store.sqlite_open import PAGE_BYTES
from noise.store.sqlite_prekeys import take_prekey, write_prekeys
from noise.store.sqlite_state import BEYOND, checksum
from noise.store.sqlite_tables import (
    ACKS,
    CACHE_NAMES,
    CHALLENGES,
    MAILBOXES,
    SENDERS,
    Heads,
    select_bundles,
    select_bundles_by_id,
    select_epoch,
    select_history_since,
    signed,
    write_heads,
)
from noise.store.write_checks import check_epoch_write, check_manifest_write, check_roster

Content = ManifestWrite | EpochWrite | RosterRow | PrekeyWrite | PrekeyTake
Outcome = PrekeyTally | PrekeyPair | None


def write_content(connection: sqlite3.Connection, heads: Heads, content: Content) -> tuple[Heads, Outcome]:
    """Stores one write, inside the caller's transaction; returns the new heads, and what the write is asked for.

    Raises a WriteRefused.
    """
    match content:
        case ManifestWrite():
            write_manifest(connection, heads, content)
        case EpochWrite():
            heads = write_epoch(connection, heads, content)
        case RosterRow():
            write_roster(connection, content)
        case PrekeyWrite():
            return heads, write_prekeys(connection, content)
        case PrekeyTake():
            return heads, take_prekey(connection, content)
    return heads, None


def write_manifest(connection: sqlite3.Connection, heads: Heads, write: ManifestWrite) -> None:
    check_manifest_write(write)
    new_statements = statements_to_store(connection, [write.statement])
    row = (write.statement.actor, write.statement.incarnation, write.first_id, write.next_id)
    sql = "SELECT actor, incarnation, first_id, next_id FROM manifests WHERE epoch = ? AND lane = ?"
    stored = connection.execute(sql, (write.epoch, write.lane)).fetchall()
    if stored:
        if stored != [row] or select_bundles(connection, write.first_id, write.next_id) != list(write.bundles):
            raise StoreConflict(f"lane {write.lane} has another manifest in epoch {write.epoch}")
        return
    if write.epoch < heads.next_epoch:
        raise StoreConflict(f"epoch {write.epoch} is committed: no manifest can join it")
    if select_bundles_by_id(connection, [bundle.bundle_id for bundle in write.bundles]):
        raise StoreConflict(f"bundle ids from {write.first_id} to {write.next_id} are taken, at least in part")
    insert_statements(connection, new_statements)
    connection.execute("INSERT INTO manifests VALUES (?, ?, ?, ?, ?, ?)", (write.epoch, write.lane, *row))
    connection.executemany(
        "INSERT INTO bundles VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [bundle._replace(first_ctr=signed(bundle.first_ctr)) for bundle in write.bundles],
    )


def write_epoch(connection: sqlite3.Connection, heads: Heads, write: EpochWrite) -> Heads:
    check_epoch_write(write)
    new_statements = statements_to_store(connection, write.statements)
    if write.epoch == heads.next_epoch - 1 and not new_statements and is_epoch_stored(connection, heads, write):
        return heads
    if write.epoch != heads.next_epoch:
        raise StoreConflict(f"epoch {write.epoch} where {heads.next_epoch} comes next")
    if write.replay_epoch < heads.replay_epoch:
        raise StoreConflict(f"replay_epoch falls from {heads.replay_epoch} to {write.replay_epoch}")
    row = EpochRow(write.epoch, write.record, write.leaf_hash, write.checkpoint)
    insert_statements(connection, new_statements)
    connection.execute("INSERT INTO epochs VALUES (?, ?, ?, ?)", row)
    if write.block_hash is not None:
        connection.execute("INSERT INTO blocks VALUES (?, ?)", (write.epoch, write.block_hash))
    sql = "INSERT INTO history (mailbox, epoch, prev_epoch, record, picks) VALUES (?, ?, ?, ?, ?)"
    connection.executemany(sql, write.history)
    new_counts = [write_cache(connection, kind, rows) for kind, rows in caches_of(write)]
    cache_counts = tuple(map(add, heads.cache_counts, new_counts))
    heads = Heads(write.epoch + 1, write.replay_epoch, cache_counts)
    write_heads(connection, heads)
    return heads


def is_epoch_stored(connection: sqlite3.Connection, heads: Heads, write: EpochWrite) -> bool:
    """Whether nothing of the last epoch's write is missing, its statements apart."""
    blocks = connection.execute("SELECT block_hash FROM blocks WHERE epoch = ?", (write.epoch,)).fetchall()
    history = {row.mailbox: row for row in select_history_since(connection, write.epoch, None, BEYOND)}
    return (
        heads.replay_epoch == write.replay_epoch
        and select_epoch(connection, write.epoch)
        == EpochRow(write.epoch, write.record, write.leaf_hash, write.checkpoint)
        and blocks == ([] if write.block_hash is None else [(write.block_hash,)])
        and all(history.get(row.mailbox) == row for row in write.history)
        and all(
            is_cached(connection, kind, key, value)
            for kind, rows in caches_of(write)
            for key, value in dict(rows).items()
        )
    )


def caches_of(write: EpochWrite) -> list[tuple[int, Sequence[CacheRow]]]:
    """Rows of every cache, by kind."""
    return [
        (MAILBOXES, write.mailboxes),
        (SENDERS, write.senders),
        (ACKS, write.acks),
        (CHALLENGES, write.challenges),
    ]


def is_cached(connection: sqlite3.Connection, kind: int, key: bytes, value: bytes) -> bool:
    sql = "SELECT value, checksum FROM caches WHERE kind = ? AND key = ?"
    return connection.execute(sql, (kind, key)).fetchall() == [(value, checksum(CACHE_NAMES[kind], key, value))]


def statements_to_store(connection: sqlite3.Connection, rows: Sequence[StatementRow]) -> list[StatementRow]:
    """Those that are not stored. Raises SlotTaken if the slot of one holds other bytes."""
    sql = "SELECT body, signature FROM statements WHERE epoch = ? AND actor = ? AND incarnation = ?"
    new = []
    for row in rows:
        stored = connection.execute(sql, row[:3]).fetchall()
        if not stored:
            new.append(row)
        elif stored != [row[3:]]:
            raise SlotTaken(f"epoch {row.epoch} of actor {row.actor.hex()} holds another statement")
    return new


def insert_statements(connection: sqlite3.Connection, rows: Sequence[StatementRow]) -> None:
    connection.executemany("INSERT INTO statements VALUES (?, ?, ?, ?, ?)", rows)


def write_cache(connection: sqlite3.Connection, kind: int, rows: Sequence[CacheRow]) -> int:
    """Returns how many keys are new, which an upsert would not tell."""
    if not rows:
        return 0
    name = CACHE_NAMES[kind]
    stored = [(kind, key, value, checksum(name, key, value)) for key, value in sorted(dict(rows).items())]
    new_count = connection.executemany("INSERT OR IGNORE INTO caches VALUES (?, ?, ?, ?)", stored).rowcount
    if new_count < len(stored):
        connection.executemany("UPDATE caches SET value = ?3, checksum = ?4 WHERE kind = ?1 AND key = ?2", stored)
    return new_count


def write_roster(connection: sqlite3.Connection, row: RosterRow) -> None:
    check_roster(row)
    stored = connection.execute("SELECT * FROM rosters WHERE version = ?", (row.version,)).fetchall()
    if not stored:
        connection.execute("INSERT INTO rosters VALUES (?, ?)", row)
    elif stored != [row]:
        raise SlotTaken(f"version {row.version} is another roster")


def log_bytes(content: Content) -> int:
    """About how much a write adds to the log. Rows of caches lie scattered: each likely touches a page of its own."""
    match content:
        case ManifestWrite():
            return PAGE_BYTES + sum(len(bundle.body) for bundle in content.bundles)
        case EpochWrite():
            cache_count = sum(len(rows) for _, rows in caches_of(content))
            history_bytes = sum(len(row.record) + len(row.picks) for row in content.history)
            return PAGE_BYTES * (1 + cache_count) + history_bytes
        case RosterRow():
            return PAGE_BYTES + len(content.body_and_signature)
        case PrekeyWrite():
            return PAGE_BYTES * 3 + sum(len(row.body) for row in content.one_time)
        case PrekeyTake():
            return PAGE_BYTES
