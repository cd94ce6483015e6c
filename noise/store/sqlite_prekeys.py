"""Prekeys in the SQLite store: what is stored of an upload, and what is taken away when one is handed out.

Must not know: Trio, threads, locks, or when a transaction begins and ends: functions here take a connection.

Prekeys are signed by their devices, and a lost one costs nothing but itself. What may not be lost is the last id of a
device: it keeps used prekeys from coming back. So its row carries a checksum, and the state counts these rows. The row
goes when everything that its device ever stored has expired: a prekey that comes back then is refused for its age.
"""

import sqlite3
from typing import NamedTuple

from noise.store.base import (
    DevicesFull,
    PrekeyPair,
    PrekeyRow,
    PrekeysFull,
    PrekeyTake,
    PrekeyTally,
    PrekeyWrite,
    StoreCorrupt,
)
from noise.store.sqlite_state import RESTORE, checksum, pair, select
from noise.store.sqlite_tables import select_prekey_devices, write_prekey_devices
from noise.store.write_checks import check_prekey_write

NO_ID = bytes(8)


class DeviceRow(NamedTuple):
    """One device. `until_ms`: the last end of all its prekeys. `fallback` empty: it never had one."""

    until_ms: int = 0
    last_id: bytes = NO_ID
    fallback_not_after_ms: int = 0
    fallback: bytes = b""

    def checksum(self, device: bytes) -> bytes:
        numbers = self.until_ms.to_bytes(8, "big") + self.fallback_not_after_ms.to_bytes(8, "big")
        return checksum(b"prekey_devices", device, numbers + self.last_id + self.fallback)

    def has_fallback(self, now_ms: int) -> bool:
        return bool(self.fallback) and self.fallback_not_after_ms >= now_ms


def select_device(connection: sqlite3.Connection, device: bytes) -> DeviceRow | None:
    """Raises StoreCorrupt."""
    sql = "SELECT until_ms, last_id, fallback_not_after_ms, fallback, checksum FROM prekey_devices WHERE device = ?"
    types = (int, bytes, int, bytes, bytes)
    for row, stored_checksum in select(connection, lambda *c: (DeviceRow(*c[:4]), c[4]), types, sql, device):
        if min(row.until_ms, row.fallback_not_after_ms) < 0 or row.checksum(device) != stored_checksum:
            raise StoreCorrupt(f"the prekeys of device {device.hex()} are damaged: {RESTORE}")
        return row
    return None


def count_one_time(connection: sqlite3.Connection, device: bytes, now_ms: int) -> int:
    sql = "SELECT count(*) FROM prekeys WHERE device = ? AND not_after_ms >= ?"
    return sum(select(connection, int, (int,), sql, device, now_ms))


def tally_of(row: DeviceRow, one_time: int, now_ms: int) -> PrekeyTally:
    return PrekeyTally(one_time, row.fallback_not_after_ms if row.has_fallback(now_ms) else 0, row.last_id)


def select_tally(connection: sqlite3.Connection, device: bytes, now_ms: int) -> PrekeyTally:
    row = select_device(connection, device) or DeviceRow()
    return tally_of(row, count_one_time(connection, device, now_ms), now_ms)


def select_prekeys(connection: sqlite3.Connection, take: PrekeyTake) -> tuple[bytes | None, bool]:
    """(fallback, whether there is a one-time prekey), both unexpired. Raises StoreCorrupt."""
    row = select_device(connection, take.device) or DeviceRow()
    fallback = row.fallback if row.has_fallback(take.now_ms) else None
    return fallback, count_one_time(connection, take.device, take.now_ms) > 0


def take_prekey(connection: sqlite3.Connection, take: PrekeyTake) -> PrekeyPair:
    """Deletes what it returns as `one_time`. Raises StoreCorrupt."""
    fallback, _ = select_prekeys(connection, take)
    sql = "SELECT prekey_id, body FROM prekeys WHERE device = ? AND not_after_ms >= ? ORDER BY prekey_id LIMIT 1"
    for prekey_id, body in select(connection, pair, (bytes, bytes), sql, take.device, take.now_ms):
        connection.execute("DELETE FROM prekeys WHERE device = ? AND prekey_id = ?", (take.device, prekey_id))
        return PrekeyPair(body, fallback)
    return PrekeyPair(None, fallback)


def write_prekeys(connection: sqlite3.Connection, write: PrekeyWrite) -> PrekeyTally:
    """What the device has then. Raises PrekeysFull, DevicesFull, StoreConflict, StoreCorrupt."""
    check_prekey_write(write)
    stored = select_device(connection, write.device)
    row = stored or DeviceRow()

    def is_new(prekey: PrekeyRow) -> bool:
        return prekey.prekey_id > row.last_id and prekey.not_after_ms >= write.now_ms

    one_time = [prekey for prekey in write.one_time if is_new(prekey)]
    fallback = write.fallback if write.fallback is not None and is_new(write.fallback) else None
    new = [*one_time, *([fallback] if fallback else [])]
    one_time_count = count_one_time(connection, write.device, write.now_ms)
    if not new:
        return tally_of(row, one_time_count, write.now_ms)
    if one_time_count + len(one_time) > write.one_time_max:
        raise PrekeysFull(f"a device has at most {write.one_time_max} one-time prekeys")
    if stored is None:
        make_room(connection, write)
    row = DeviceRow(
        max(row.until_ms, *(prekey.not_after_ms for prekey in new)),
        max(prekey.prekey_id for prekey in new),
        fallback.not_after_ms if fallback else row.fallback_not_after_ms,
        fallback.body if fallback else row.fallback,
    )
    connection.execute(
        "INSERT OR REPLACE INTO prekey_devices VALUES (?, ?, ?, ?, ?, ?)",
        (write.device, *row, row.checksum(write.device)),
    )
    connection.execute("DELETE FROM prekeys WHERE device = ? AND not_after_ms < ?", (write.device, write.now_ms))
    connection.executemany("INSERT INTO prekeys VALUES (?, ?, ?, ?)", [(write.device, *prekey) for prekey in one_time])
    return tally_of(row, one_time_count + len(one_time), write.now_ms)


def make_room(connection: sqlite3.Connection, write: PrekeyWrite) -> None:
    """Counts a new device in, and drops as many expired ones as that takes. Raises DevicesFull."""
    count = select_prekey_devices(connection)
    surplus = max(0, count + 1 - write.devices_max)
    sql = "SELECT device FROM prekey_devices WHERE until_ms < ? ORDER BY until_ms, device LIMIT ?"
    ended = select(connection, bytes, (bytes,), sql, write.now_ms, surplus)
    if len(ended) < surplus:
        raise DevicesFull(f"{write.devices_max} devices have prekeys, and no more may")
    for table in ("prekeys", "prekey_devices"):
        connection.executemany(f"DELETE FROM {table} WHERE device = ?", [(device,) for device in ended])  # noqa: S608
    write_prekey_devices(connection, count + 1 - len(ended))
