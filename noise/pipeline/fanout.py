"""Shows committed epochs to whoever follows a mailbox: live, by heartbeat, or page by page after an absence.

Knows nothing of sockets or encodings other than the binary delta. It has the only view of the pipeline that clients
ever see, and that view changes when an epoch is durable, never before. A subscriber that cannot take a frame now is
dropped by its own connection; nobody waits for it here.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import trio

from noise.pipeline.batches import CommittedEpoch, Touched
from noise.pipeline.catchup import Pages
from noise.pipeline.epoch_log import RECENT_EPOCHS, EpochLog
from noise.protocol.delta import (
    NO_OWN_PART,
    SIGNED_ROSTER,
    RecipientLists,
    SignedRoster,
    encode_entry,
    join_hashes,
)
from noise.protocol.encoding import Codec
from noise.protocol.envelope import RECIPIENT_SET, Recipients, RecipientSet
from noise.protocol.errors import Rejected
from noise.protocol.frames import DELTA_PREFIX, Cursor
from noise.protocol.history import MAILBOX_STATE, History, map_key_of
from noise.protocol.placement import Rendezvous
from noise.protocol.state_map import MapProof, StateMap
from noise.store.base import Store

_NONE = bytes(4)
_SET: Codec[RecipientSet] = RECIPIENT_SET
_PUSHES_AT_ONCE = 64
_HEARTBEAT_CHECK_S = 1.0
_EXTENSIONS_CACHED = 1024


class Subscriber(Protocol):
    """A connection's side of the fanout. `cursor`: where it stands after all that was pushed to it."""

    device_id: bytes
    cursor: Cursor
    lists: RecipientLists

    def push_nowait(self, frame: bytes) -> None:
        """Take one encoded delta frame. Never waits and never raises: a full connection closes itself."""


class Fanout:
    """`rosters`: all, in order; `placement` says which outbox keeps a mailbox."""

    def __init__(
        self,
        log: EpochLog,
        store: Store,
        rosters: Sequence[SignedRoster],
        placement: Rendezvous,
        *,
        heartbeat_s: float,
    ) -> None:
        self.view: CommittedEpoch | None = None
        """The newest committed epoch: what catch-up shows."""
        self.ready = trio.Event()
        self._shown: CommittedEpoch | None = None
        """The same, once it was pushed to everybody whom it concerns: what heartbeats show. None while it is pushed."""
        self.on_shown: Callable[[CommittedEpoch], None] = lambda _: None
        """Called after each epoch was pushed to everybody who is live."""
        self._log = log
        self._store = store
        self._rosters = [SIGNED_ROSTER.encode(roster) for roster in rosters]
        self._placement = placement
        self._heartbeat_s = heartbeat_s
        self._pages = Pages(store)
        self._subscribers: dict[bytes, list[Subscriber]] = {}
        self._silent_since: OrderedDict[int, tuple[Subscriber, float]] = OrderedDict()
        self._extensions: dict[tuple[int, int], bytes] = {}

    @property
    def subscriber_count(self) -> int:
        return len(self._silent_since)

    async def run(self, committed: "trio.MemoryReceiveChannel[CommittedEpoch]") -> None:
        with committed:
            async for epoch in committed:
                self.view = epoch
                self._shown = None  # until everybody who is live has what it brings them
                self._extensions.clear()
                self.ready.set()
                await self._publish(epoch)
                self._shown = epoch
                self.on_shown(epoch)

    async def _publish(self, epoch: CommittedEpoch) -> None:
        pushed = 0
        subscribers = self._subscribers
        for outbox in epoch.outboxes:
            prefix = DELTA_PREFIX + outbox.shared
            for mailbox, touched in outbox.touched.items():
                for subscriber in tuple(subscribers.get(mailbox, ())):
                    if id(subscriber) not in self._silent_since or subscriber.cursor.log_size > epoch.epoch:
                        continue  # it left, or it came and caught up, while this epoch was being shown
                    frame = self._live_frame(prefix, epoch, outbox.states.prove(touched.key), touched, subscriber)
                    self._push(subscriber, frame)
                    pushed += 1
                    if pushed % _PUSHES_AT_ONCE == 0:
                        await trio.lowlevel.checkpoint()

    def _live_frame(
        self, prefix: bytes, epoch: CommittedEpoch, proof: MapProof, touched: Touched, subscriber: Subscriber
    ) -> bytes:
        """One epoch for one subscriber that stood right before it. Moves its cursor."""
        wanted: dict[bytes, Recipients] = {}
        sections: list[bytes] = []
        for i, part in enumerate(touched.parts):
            sections.append(part.section())
            sections.append(touched.own_parts[i] if touched.own_parts else NO_OWN_PART)
            for recipients in part.recipients():
                wanted[recipients.root] = recipients
        entry = encode_entry(touched.record, sections, len(touched.parts))
        return self._encode_delta(
            prefix,
            epoch.epoch,
            subscriber,
            wanted,
            touched.state,
            proof,
            [entry],
            [],
            (subscriber.cursor.hist_next + 1, subscriber.cursor.hist_next + 1, epoch.epoch),
        )

    def _encode_delta(
        self,
        prefix: bytes,
        epoch: int,
        subscriber: Subscriber,
        wanted: Mapping[bytes, Recipients],
        state: bytes,
        proof: MapProof,
        entries: Sequence[bytes],
        tail_hashes: list[bytes],
        reached: tuple[int, int, int],
    ) -> bytes:
        """A delta frame from its encoded pieces. `reached`: (hist_size, hist_next, last_epoch). Moves the cursor."""
        cursor = subscriber.cursor
        lists = subscriber.lists.unknown(wanted)
        subscriber.lists.admit(lists)
        rosters = self._rosters[self._first_new_roster(cursor.roster_version) :]
        subscriber.cursor = Cursor(epoch + 1, len(self._rosters), *reached)
        return b"".join(
            (
                prefix,
                self._extension(cursor.log_size, epoch),
                _list(rosters),
                _list([_SET.encode(RecipientSet(r.env_salt, r.device_ids)) for r in lists]) if lists else _NONE,
                len(state).to_bytes(2, "big"),
                state,
                join_hashes(proof.siblings),
                b"\x00" if proof.other is None else b"\x01" + b"".join(proof.other),
                _list(entries),
                join_hashes(tail_hashes),
            )
        )

    def _first_new_roster(self, version: int) -> int:
        """A client without a roster needs only the last one; others need the chain from theirs."""
        return version if version else len(self._rosters) - 1

    def _extension(self, log_size: int, epoch: int) -> bytes:
        if log_size >= epoch:
            return _NONE
        encoded = self._extensions.get((log_size, epoch))
        if encoded is None:
            if len(self._extensions) >= _EXTENSIONS_CACHED:
                self._extensions.clear()
            encoded = self._extensions[log_size, epoch] = join_hashes(self._log.extension(log_size, epoch))
        return encoded

    def _push(self, subscriber: Subscriber, frame: bytes) -> None:
        """To a subscriber that has joined and not left."""
        self._silent_since[id(subscriber)] = (subscriber, trio.current_time())
        self._silent_since.move_to_end(id(subscriber))
        subscriber.push_nowait(frame)

    def join(self, subscriber: Subscriber) -> bool:
        """Push every epoch from now on, if nothing that is committed is missing; else the subscriber must catch up."""
        if self.view is None or not self._log.has(subscriber.cursor.log_size):
            return False
        history = self._states_of(self.view, subscriber.device_id).get(map_key_of(subscriber.device_id))
        if subscriber.cursor.hist_next != (history.state.hist_size if history else 0):
            return False
        self._subscribers.setdefault(subscriber.device_id, []).append(subscriber)
        self._silent_since[id(subscriber)] = (subscriber, trio.current_time())
        return True

    def leave(self, subscriber: Subscriber) -> None:
        """Push nothing more. Harmless for one that never joined."""
        if self._silent_since.pop(id(subscriber), None) is not None:
            others = self._subscribers[subscriber.device_id]
            others.remove(subscriber)
            if not others:
                del self._subscribers[subscriber.device_id]

    async def run_heartbeats(self) -> None:
        """Push a delta without records to whoever was pushed nothing for a while: proof that nothing is withheld."""
        await self.ready.wait()
        while True:
            await trio.sleep(min(self._heartbeat_s / 8, _HEARTBEAT_CHECK_S))
            silent_before = trio.current_time() - self._heartbeat_s
            while self._silent_since and self._shown is not None:
                subscriber, since = next(iter(self._silent_since.values()))  # the one that is farthest behind, too
                if since > silent_before and subscriber.cursor.log_size > self._shown.epoch - RECENT_EPOCHS // 2:
                    break
                self._push(subscriber, self._heartbeat(self._shown, subscriber))
                await trio.lowlevel.checkpoint()

    def mailbox_count(self) -> int:
        """Mailboxes that are committed."""
        return sum([outbox.states.count for outbox in self.view.outboxes]) if self.view else 0

    def has_mailbox(self, mailbox: bytes) -> bool:
        """Whether a mailbox is committed."""
        return self.view is not None and self._states_of(self.view, mailbox).get(map_key_of(mailbox)) is not None

    def _states_of(self, view: CommittedEpoch, mailbox: bytes) -> StateMap[History]:
        return view.outboxes[self._placement.number(mailbox)].states

    def _heartbeat(self, view: CommittedEpoch, subscriber: Subscriber) -> bytes:
        """A delta without records for a subscriber that misses none."""
        outbox = view.outboxes[self._placement.number(subscriber.device_id)]
        key = map_key_of(subscriber.device_id)
        history = outbox.states.get(key)
        state = MAILBOX_STATE.encode(history.state) if history else b""
        _, _, hist_size, hist_next, last_epoch = subscriber.cursor
        prefix, proof = DELTA_PREFIX + outbox.shared, outbox.states.prove(key)
        return self._encode_delta(
            prefix, view.epoch, subscriber, {}, state, proof, [], [], (hist_size, hist_next, last_epoch)
        )

    async def catch_up(self, subscriber: Subscriber) -> bytes:
        """The next delta frame of a subscriber that has not joined: a page of what it misses, or a heartbeat.

        Raises Rejected for a cursor that no honest client of this provider has.
        """
        cursor, view = subscriber.cursor, self.view
        if view is None:
            raise Rejected("starting: no epoch is committed yet", code="unavailable")
        if cursor.log_size > view.epoch + 1 or cursor.roster_version > len(self._rosters):
            raise Rejected("the client has verified more than this provider has", code="cursor-ahead")
        outbox = view.outboxes[self._placement.number(subscriber.device_id)]
        key = map_key_of(subscriber.device_id)
        history = outbox.states.get(key)
        size = history.state.hist_size if history else 0
        if not cursor.hist_next <= cursor.hist_size <= size:
            raise Rejected("the cursor is not one of this mailbox", code="bad-cursor")
        if history is None or cursor.hist_next == size:
            await self._log.prepare(self._store, cursor.log_size)
            return self._heartbeat(view, subscriber)
        page = await self._pages.load(history.state, cursor)
        await self._log.prepare(self._store, cursor.log_size)  # last: while others wait, it may be pushed out again
        return self._encode_delta(
            DELTA_PREFIX + outbox.shared,
            view.epoch,
            subscriber,
            page.recipients,
            MAILBOX_STATE.encode(history.state),
            outbox.states.prove(key),
            page.entries,
            page.tail_hashes,
            (size, page.hist_next, page.last_epoch),
        )


def _list(items: Sequence[bytes]) -> bytes:
    """The encoding of a list from its encoded items."""
    return len(items).to_bytes(4, "big") + b"".join(items)
