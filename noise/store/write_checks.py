"""What a write must look like, before any store looks at what it holds already.

Must not know: what is stored, or how. Every check raises StoreConflict and costs well under a microsecond a row.
"""

from collections.abc import Sequence

from noise.store.base import (
    ID_STEP,
    LANE_BITS,
    NUMBER_MAX,
    CacheRow,
    EpochWrite,
    HistoryRow,
    ManifestWrite,
    PrekeyWrite,
    RosterRow,
    StatementRow,
    StoreConflict,
)

ACTOR_BYTES = 5
HASH_BYTES = 32
PREKEY_ID_BYTES = 8
U32_MAX = 2**32 - 1
POSITION_MAX = 2**48 - 1
U64_MAX = 2**64 - 1


def check_manifest_write(write: ManifestWrite) -> None:
    """Raises StoreConflict unless the manifest, its range and its bundles agree with each other."""
    check_number("epoch", write.epoch)
    check_statement(write.statement)
    if write.statement.epoch != write.epoch:
        raise StoreConflict(f"manifest of epoch {write.epoch} with a statement for epoch {write.statement.epoch}")
    for bundle_id in (write.first_id, write.next_id):
        check_number("bundle id", bundle_id)
        if bundle_id % ID_STEP != write.lane:
            raise StoreConflict(f"bundle id {bundle_id} is not one of lane {write.lane}")
    if write.next_id - write.first_id != len(write.bundles) << LANE_BITS:
        raise StoreConflict(f"{len(write.bundles)} bundles do not fill ids {write.first_id} to {write.next_id}")
    check_bundles(write)


def check_bundles(write: ManifestWrite) -> None:
    next_id, last_pos = write.first_id, -1
    for row in write.bundles:
        if row.bundle_id != next_id:
            raise StoreConflict(f"bundle id {row.bundle_id} where {next_id} comes next")
        if row.epoch != write.epoch:
            raise StoreConflict(f"bundle {row.bundle_id} is of epoch {row.epoch}, not {write.epoch}")
        if not last_pos < row.first_pos <= POSITION_MAX:
            raise StoreConflict(f"bundle {row.bundle_id} starts at position {row.first_pos}, after {last_pos}")
        if len(row.sender) != HASH_BYTES:
            raise StoreConflict(f"bundle {row.bundle_id} has a sender of {len(row.sender)} bytes")
        if not (0 <= row.first_ctr <= U64_MAX and 0 <= row.n_messages <= U32_MAX and -1 <= row.prev_id <= NUMBER_MAX):
            raise StoreConflict(f"bundle {row.bundle_id} has a counter, a count or a prev_id that does not fit")
        next_id += ID_STEP
        last_pos = row.first_pos


def check_epoch_write(write: EpochWrite) -> None:
    """Raises StoreConflict unless the epoch's parts agree with each other."""
    check_number("epoch", write.epoch)
    check_number("replay_epoch", write.replay_epoch)
    if write.replay_epoch > write.epoch + 1:
        raise StoreConflict(f"replay_epoch {write.replay_epoch} passes epoch {write.epoch}")
    for value in (write.leaf_hash, write.block_hash):
        if value is not None and len(value) != HASH_BYTES:
            raise StoreConflict(f"epoch {write.epoch} has a hash of {len(value)} bytes")
    for statement in write.statements:
        check_statement(statement)
    if len({row[:3] for row in write.statements}) != len(write.statements):
        raise StoreConflict(f"epoch {write.epoch} names a slot twice")
    check_history(write.epoch, write.history)
    for rows in (write.mailboxes, write.senders, write.acks, write.challenges):
        check_cache(rows)


def check_history(epoch: int, rows: Sequence[HistoryRow]) -> None:
    previous = b""
    for row in rows:
        if row.epoch != epoch or not -1 <= row.prev_epoch < epoch:
            raise StoreConflict(f"history row of epoch {row.epoch} after {row.prev_epoch}, in epoch {epoch}")
        if len(row.mailbox) != HASH_BYTES or row.mailbox <= previous:
            raise StoreConflict(f"mailbox {row.mailbox.hex()} is malformed or out of order")
        previous = row.mailbox


def check_cache(rows: Sequence[CacheRow]) -> None:
    for row in rows:
        if len(row.key) != HASH_BYTES:
            raise StoreConflict(f"cache key of {len(row.key)} bytes")


def check_statement(row: StatementRow) -> None:
    check_number("epoch", row.epoch)
    if len(row.actor) != ACTOR_BYTES or not 0 <= row.incarnation <= U32_MAX:
        raise StoreConflict(f"slot of actor {row.actor.hex()}, incarnation {row.incarnation}")


def check_roster(row: RosterRow) -> None:
    check_number("roster version", row.version)


def check_prekey_write(write: PrekeyWrite) -> None:
    """Raises StoreConflict unless these are prekeys of one device, each with an id of its own."""
    check_number("now_ms", write.now_ms)
    if len(write.device) != HASH_BYTES:
        raise StoreConflict(f"a device of {len(write.device)} bytes")
    previous = bytes(PREKEY_ID_BYTES)
    for row in write.one_time:
        if row.prekey_id <= previous:
            raise StoreConflict(f"prekey {row.prekey_id.hex()} after {previous.hex()}")
        previous = row.prekey_id
    for row in (*write.one_time, *([] if write.fallback is None else [write.fallback])):
        check_number("not_after_ms", row.not_after_ms)
        if len(row.prekey_id) != PREKEY_ID_BYTES or not any(row.prekey_id):
            raise StoreConflict(f"prekey id {row.prekey_id.hex()}")
    if write.fallback is not None and any(row.prekey_id == write.fallback.prekey_id for row in write.one_time):
        raise StoreConflict(f"prekey {write.fallback.prekey_id.hex()} is of both kinds")


def check_number(name: str, number: int) -> None:
    if not 0 <= number <= NUMBER_MAX:
        raise StoreConflict(f"{name} {number} is not between 0 and {NUMBER_MAX}")
