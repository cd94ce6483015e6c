"""Delivers an epoch to its mailboxes: history records, states, the state map, and the signed head over them.

Knows nothing of lanes, clients or sockets. What it is given must be what its receiver's sheet has, or it signs nothing.
Its states are a persistent map: the version of a committed epoch stays readable while the next one is made.
"""

import struct
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import NamedTuple
from zlib import crc32

import trio

from noise.pipeline.batches import MergedEpoch, OutboxEpoch, Part, Touched
from noise.pipeline.items import check_places, content_of
from noise.pipeline.kept import encode_parts
from noise.pipeline.slots import Slots, signed_of
from noise.pipeline.writeback import Writeback
from noise.protocol.delta import encode_own_part
from noise.protocol.history import (
    HISTORY_RECORD,
    MAILBOX_STATE,
    History,
    apply_record,
    hash_state,
    map_key_of,
    new_history,
    next_record,
    own_ciphertexts_root,
)
from noise.protocol.identifiers import NO_EPOCH, Actor, make_seqs, parse_seq
from noise.protocol.merkle import EMPTY_ROOT
from noise.protocol.placement import Rendezvous
from noise.protocol.stages import check_items, check_merge_sheet, item_hash
from noise.protocol.state_map import StateMap
from noise.protocol.statements import EPOCH_HEAD, RosterInForce, hash_head, hash_merge, hash_route
from noise.store.base import CacheRow, HistoryRow, StatementRow, StoreCorrupt
from noise.store.custody import CustodyRow

_PICKS_HEAD = struct.Struct(">16sI")
_PICK = struct.Struct(">QIH")
_NO_OWN: tuple[int, bytes] = (0, EMPTY_ROOT)
_DAMAGED_ROW = "a history row is damaged: restore the newest good copy and run noise fsck"


class Pick(NamedTuple):
    """Which messages of a bundle a history row stands for (all when empty), and a checksum of the bundle's signature,
    to which nothing else commits."""

    bundle_id: int
    signature_crc: int
    indexes: tuple[int, ...]


def encode_picks(last_seq: bytes, record: bytes, parts: Sequence[Part]) -> bytes:
    """How a history row finds its messages again: last seq and CRC-32 of the encoded record, then for each part
    bundle_id u64, CRC-32 of the bundle's signature, n u16 (0: all), n indexes u16 each."""
    out = [_PICKS_HEAD.pack(last_seq, crc32(record))]
    for part in parts:
        indexes = part.indexes
        out.append(_PICK.pack(part.bundle_id, part.signature_crc, len(indexes)))
        if indexes:
            out.append(struct.pack(f">{len(indexes)}H", *indexes))
    return b"".join(out)


def check_record(row: HistoryRow) -> None:
    """The record of a history row is what it was. Raises StoreCorrupt."""
    if row.picks[16 : _PICKS_HEAD.size] != crc32(row.record).to_bytes(4, "big"):
        raise StoreCorrupt(_DAMAGED_ROW)


def parse_picks(row: HistoryRow) -> tuple[bytes, list[Pick]]:
    """(last seq, a pick of each part) of a row whose record is what it was. Raises StoreCorrupt."""
    check_record(row)
    data, pos, picks = row.picks, _PICKS_HEAD.size, []
    try:
        while pos < len(data):
            bundle_id, signature_crc, n = _PICK.unpack_from(data, pos)
            indexes = struct.unpack_from(f">{n}H", data, pos + _PICK.size)
            pos += _PICK.size + 2 * n
            picks.append(Pick(bundle_id, signature_crc, indexes))
    except struct.error:
        picks.clear()
    if not picks:
        raise StoreCorrupt(_DAMAGED_ROW)
    return data[:16], picks


def encode_cached_history(history: History) -> bytes:
    """A mailbox's row in the store's cache: its state and the peaks of its records."""
    return MAILBOX_STATE.encode(history.state) + b"".join(history.records.peaks)


class Delivered(NamedTuple):
    """What an epoch does to mailboxes. `changes`: for the state map, key, value hash and history of each. `items`: what
    each got, as item hashes, mailboxes rising."""

    touched: dict[bytes, Touched]
    history: list[HistoryRow]
    changes: list[tuple[bytes, bytes, History]]
    items: list[bytes]


def deliver(states: StateMap[History], epoch: int, parts_of: dict[bytes, list[Part]]) -> Delivered:
    """The one result of delivering an epoch to mailboxes in these states. Pure: fsck runs it again."""
    delivered = Delivered({}, [], [], [])
    touched, history, changes, items = delivered
    get = states.get
    for mailbox in sorted(parts_of):
        parts = parts_of[mailbox]
        key = map_key_of(mailbox)
        before = get(key) or new_history(mailbox, epoch)
        own_parts, own = _own_parts(mailbox, parts, epoch)
        content = content_of(parts)
        items.append(item_hash(mailbox, *content))
        record = next_record(before, epoch, *content, own)
        encoded = HISTORY_RECORD.pack(*record)
        last_seq = _last_seq(parts[-1], epoch)
        after = apply_record(before, record, encoded, last_seq)
        state = MAILBOX_STATE.pack(*after.state)
        touched[mailbox] = Touched(key, encoded, state, parts, own_parts)
        prev_epoch = -1 if record.prev_epoch == NO_EPOCH else record.prev_epoch
        history.append(HistoryRow(mailbox, epoch, prev_epoch, encoded, encode_picks(last_seq, encoded, parts)))
        changes.append((key, hash_state(state), after))
    return delivered


class Outbox:
    """One outbox. `states` are those after `next_epoch - 1`; `previous` is the hash of the last head (or zeros)."""

    def __init__(
        self,
        actor: Actor,
        slots: Slots,
        in_force: RosterInForce,
        placement: Rendezvous,
        states: StateMap[History],
        *,
        previous: bytes,
        writeback: Writeback,
        run_step: Callable[[Callable[[], OutboxEpoch]], Awaitable[OutboxEpoch]],
    ) -> None:
        self.number = actor.number
        self.states = states
        self._actor = actor
        self._slots = slots
        self._in_force = in_force
        self._placement = placement
        self._lanes = [one.lane for one in in_force.roster.lanes]
        self._previous = previous
        self._writeback = writeback
        self._run_step = run_step

    def check(self, merged: MergedEpoch, items: Sequence[bytes]) -> None:
        """Raises NoiseError for an epoch that is not what the receiver signed. `items`: what it comes to."""
        statement = merged.kept.statement
        inputs = [hash_route(kept.statement.body) for kept in merged.routes]
        signed = signed_of(statement)
        check_items(check_merge_sheet(signed, *self._in_force, self._actor, merged.epoch, inputs), items)
        check_places(merged.parts, merged.epoch, self._lanes, self._placement, self._actor)

    def deliver(self, merged: MergedEpoch) -> Delivered:
        return deliver(self.states, merged.epoch, merged.parts)

    def step(self, merged: MergedEpoch) -> OutboxEpoch:
        """Deliver one epoch. Changes this outbox's states, and nothing else."""
        epoch = merged.epoch
        delivered = self.deliver(merged)
        self.check(merged, delivered.items)
        if delivered.changes:
            self.states = self.states.update(delivered.changes)
        for row in delivered.history:
            self._writeback.changed(row.mailbox, epoch)
        head = CustodyRow(self._sign_head(epoch, hash_merge(merged.kept.statement.body)), encode_parts(merged.groups))
        rows = [
            CacheRow(mailbox, encode_cached_history(found))
            for mailbox in self._writeback.take()
            if (found := self.states.get(map_key_of(mailbox))) is not None
        ]
        return OutboxEpoch(
            epoch,
            self.number,
            merged.manifests,
            merged.routes,
            merged.kept,
            head,
            self.states,
            delivered.touched,
            delivered.history,
            rows,
            self._writeback.replay_epoch(epoch + 1),
            merged.n_deliveries,
        )

    def _sign_head(self, epoch: int, merge_sheet_hash: bytes) -> StatementRow:
        slots, states = self._slots, self.states
        body = EPOCH_HEAD.pack(
            slots.origin,
            slots.actor,
            slots.incarnation,
            epoch,
            merge_sheet_hash,
            states.root_hash,
            states.count,
            self._previous,
            self._in_force.roster_hash,
        )
        self._previous = hash_head(body)
        return slots.sign(epoch, body)

    async def run(
        self, merged: "trio.MemoryReceiveChannel[MergedEpoch]", results: "trio.MemorySendChannel[OutboxEpoch]"
    ) -> None:
        with merged, results:
            async for epoch in merged:
                await results.send(await self._run_step(partial(self.step, epoch)))


def _last_seq(part: Part, epoch: int) -> bytes:
    _, lane, first_pos = parse_seq(part.first_seq)
    last = part.indexes[-1] if part.indexes else part.bundle.count - 1
    return make_seqs(epoch, lane, first_pos + last, 1)[0]


def _own_parts(mailbox: bytes, parts: Sequence[Part], epoch: int) -> tuple[list[bytes] | None, tuple[int, bytes]]:
    """(encoded own part of each section, (count, root) of the mailbox's own ciphertexts)."""
    if not any(part.bundle.has_ciphertexts for part in parts):
        return None, _NO_OWN
    encoded: list[bytes] = []
    items: list[tuple[bytes, bytes]] = []
    for part in parts:
        own, hashes = encode_own_part(part.bundle, part.indexes, mailbox)
        encoded.append(own)
        _, lane, first_pos = parse_seq(part.first_seq)
        seqs = make_seqs(epoch, lane, first_pos, part.bundle.count)
        items += [(seqs[i], h) for i, h in hashes]
    return encoded, own_ciphertexts_root(items)
