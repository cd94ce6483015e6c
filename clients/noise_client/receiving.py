"""From deltas to deliveries: verified, then stored, then yielded, then acknowledged.

Knows nothing of connections. What is sealed is opened before it is stored, and gossip is handed to the witness. What
was verified is yielded from the store, so that an application may be slow, or stop and start again: what it has not
taken waits there. It has taken a delivery when it asks for the next one.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple

import trio

from noise.protocol import delta as delta_rows
from noise.protocol.delta import Delta, RecipientLists
from noise.protocol.encoding import Codec
from noise.protocol.errors import NoiseError, ProviderMisbehaved
from noise.protocol.follower import Follower, Step, new_lists
from noise.protocol.frames import ACK_BODY, AckBody, AckFrame
from noise.protocol.gossip import CONTENT_FRAMES, parse_gossip
from noise.protocol.identifiers import NO_SEQ, format_id
from noise.protocol.sealing import PAYLOAD_GOSSIP
from noise.protocol.trust import NOTHING, Trusted, encode_trusted, parse_trusted
from noise_client.changed import Changed
from noise_client.device import Device
from noise_client.errors import LinkError, deadline
from noise_client.kept_history import gained_by
from noise_client.sealer import Opened
from noise_client.trust_store import Delivery, Kept, StoreCalls, TrustStore
from noise_client.witness import Witness

_PAGE_DELIVERIES = 256
_PAGE_BYTES = 1 << 20
_ACK_BODY: Codec[AckBody] = ACK_BODY


class _AckPoint(NamedTuple):
    """Once the delivery at `last_seq` is taken, all history records before `hist_next` are, as attested at `epoch`."""

    last_seq: bytes
    epoch: int
    hist_next: int


class Incoming:
    """What one device follows, verifies and hands to its application. `origin`: the pinned one, or None."""

    def __init__(
        self,
        device: Device,
        store: TrustStore,
        calls: StoreCalls,
        kept: Kept,
        *,
        origin: bytes | None,
        backlog_bytes_max: int,
        open_sealed: Callable[[bytes, delta_rows.Delivery], Opened],
        make_witness: Callable[[bytes, Trusted], Witness],
        on_heard: Callable[[], None],
    ) -> None:
        """`open_sealed(origin, delivery)` and `make_witness(origin, trusted)` are called where the store's calls run;
        `on_heard` after each delta, when the witness has heard of it.

        Raises DecodeError, ProofError or SignatureError when what the store holds is damaged.
        """
        self.changed = Changed()
        """There is more to yield or to acknowledge, a backlog has shrunk, a provider is pinned, or the end has come."""
        self.taken_count = 0
        self.follower: Follower | None = None
        self.is_lagging = False
        """Whether deltas of this connection were left out, because the backlog was full."""
        self._device = device
        self._store = store
        self._calls = calls
        self.origin = origin
        self._backlog_bytes = kept.backlog_bytes
        self._backlog_bytes_max = backlog_bytes_max
        self._page: deque[Delivery] = deque()
        self._in_hand: Delivery | None = None
        self._is_asked = False
        self._ack_points: deque[_AckPoint] = deque()
        self._ack_due: _AckPoint | None = None
        self._acked_hist_next = 0
        self._error: NoiseError | None = None
        self._open_sealed = open_sealed
        self._make_witness = make_witness
        self._on_heard = on_heard
        self.witness: Witness | None = None
        """From the first verified delta on."""
        self.grown_at = trio.current_time()
        """When the verified log grew last."""
        self.is_synced = False
        """Whether everything came that was there at the last verified epoch."""
        self._last_row_seq = NO_SEQ
        if origin is not None:
            trusted = parse_trusted(kept.trusted) if kept.trusted else NOTHING
            self.follower = Follower(origin, device.device_id, trusted, last_counter=store.last_counter)
            if trusted.delivered is not None:
                self._last_row_seq = trusted.delivered.state.last_seq
            if kept.origin is not None:
                self.witness = make_witness(origin, trusted)
            self._add_ack_point()

    def follow(self, origin: bytes) -> Follower:
        """The follower for a connection to a provider that says it is `origin`.

        An origin is pinned with the first delta that verifies. Raises LinkError "wrong-origin" for another one.
        """
        if self.origin is not None and self.origin != origin:
            raise LinkError(
                f"this provider is {format_id(origin)}, but the device trusts {format_id(self.origin)}: check the URL",
                code="wrong-origin",
                is_final=True,
            )
        if self.follower is None or self.follower.origin != origin:
            self.follower = Follower(origin, self._device.device_id, last_counter=self._store.last_counter)
        self.is_lagging = False
        self._acked_hist_next = 0
        return self.follower

    @property
    def is_full(self) -> bool:
        return self._backlog_bytes >= self._backlog_bytes_max

    @property
    def is_half_empty(self) -> bool:
        return self._backlog_bytes <= self._backlog_bytes_max // 2

    async def accept(self, follower: Follower, delta: Delta, lists: RecipientLists) -> bool:
        """Verify, store, then trust a delta. Whether its history is complete: nothing more is to be caught up.

        Raises ProviderMisbehaved, or TrustStoreError; nothing has changed then.
        """
        size = follower.trusted.log.size
        try:
            step, rows = await self._calls.run(self._accept, follower, delta, lists)
        finally:
            self._on_heard()
        if self.origin is None or size == 0:
            self.origin = follower.origin
            self.changed.notify()
        if step.trusted.log.size > size:
            self.grown_at = trio.current_time()
        self._backlog_bytes += sum(row.kept_bytes for row in rows)
        if step.deliveries:
            self._last_row_seq = rows[-1].seq if rows else self._last_row_seq
            self._add_ack_point()
            self.changed.notify()
        self.is_synced = step.trusted.is_complete
        return self.is_synced

    def _accept(self, follower: Follower, delta: Delta, lists: RecipientLists) -> tuple[Step, list[Delivery]]:
        try:
            step = follower.check_delta(delta, lists)
        except ProviderMisbehaved as error:
            if self.witness is not None:
                self.witness.note_refusal(delta, lists, error.detail)
            raise
        witness = self.witness or self._make_witness(follower.origin, NOTHING)
        opened = [self._open_sealed(follower.origin, d) for d in step.deliveries]
        rows = [
            Delivery(
                *(d.seq, d.sender, d.sender_ctr, d.created_ms, d.recipients.device_ids, o.data),
                *(b"" if o.seal else d.ciphertext, d.leaf, o.seal),
            )
            for d, o in zip(step.deliveries, opened, strict=True)
            if o.kind != PAYLOAD_GOSSIP
        ]
        if step.trusted != follower.trusted:
            gained = gained_by(follower.trusted, step, delta, [o.spent for o in opened if o.spent])
            self._store.save_step(follower.origin, encode_trusted(step.trusted), step.counters, rows, gained)
            follower.adopt(step)
            self.witness = witness
            witness.note_step(step.trusted, gained)
        lists.admit(new_lists(delta))
        for d, o in zip(step.deliveries, opened, strict=True):
            if d.sender != self._device.device_id:
                _hear(witness, d.sender, o)
        return step, rows

    async def next(self, deadline_s: float) -> Delivery:
        """Take the delivery that was returned last, and return the one after it.

        Raises DeadlineExceeded, or what ended the client, once all that was verified before is taken.
        """
        if self._is_asked:
            raise trio.BusyResourceError("another task is waiting for the next delivery")
        self._is_asked = True
        try:
            with deadline(deadline_s, "no delivery came"):
                await self.take_last()
                while not self._page:
                    if self._backlog_bytes:
                        self._page += await self._calls.run(self._store.untaken, _PAGE_DELIVERIES, _PAGE_BYTES)
                    elif self._error:
                        raise self._error
                    else:
                        await self.changed.wait()
        finally:
            self._is_asked = False
        self._in_hand = self._page.popleft()
        return self._in_hand

    async def take_last(self) -> None:
        """The application is done with the delivery that `next` returned last: the store may forget it."""
        delivery = self._in_hand
        if delivery is None:
            return
        await self._calls.run_short(self._store.take, delivery.seq)
        self._in_hand = None
        self._backlog_bytes -= delivery.kept_bytes
        self.taken_count += 1
        if self._settle(delivery.seq if self._backlog_bytes else None):
            self.changed.notify()

    def _add_ack_point(self) -> None:
        trusted = self.follower.trusted if self.follower else NOTHING
        if trusted.delivered is not None:
            hist_next = trusted.delivered.state.hist_size
            self._ack_points.append(_AckPoint(self._last_row_seq, trusted.log.size - 1, hist_next))
        if not self._backlog_bytes:
            self._settle(None)

    def _settle(self, taken_seq: bytes | None) -> bool:
        """Everything up to a seq is taken; None: everything. Whether there is more to acknowledge now."""
        before = self._ack_due
        while self._ack_points and (taken_seq is None or self._ack_points[0].last_seq <= taken_seq):
            self._ack_due = self._ack_points.popleft()
        return self._ack_due is not before

    @property
    def owes_ack(self) -> bool:
        """Whether the application has taken more than this connection has acknowledged."""
        return self._ack_due is not None and self._ack_due.hist_next > self._acked_hist_next

    async def acknowledge(self, follower: Follower, send: Callable[[AckFrame], Awaitable[None]]) -> None:
        """Send what `owes_ack` says is owed."""
        point = self._ack_due
        if point is None:
            return
        signer = self._device.signer
        body = AckBody(follower.origin, self._device.device_id, signer.public_key, point.epoch, point.hist_next)
        await send(AckFrame(*signer.sign("ack", follower.origin, _ACK_BODY.encode(body))))
        self._acked_hist_next = point.hist_next

    def fail(self, error: NoiseError) -> None:
        """Nothing more comes: who waits, or comes later, gets what is stored and then the error."""
        self._error = error
        self.changed.notify()


def _hear(witness: Witness, sender: bytes, opened: Opened) -> None:
    """What a sender says to our SDK. Nonsense is the sender's, and says nothing about the provider."""
    if opened.gossip:
        witness.hear_view(sender, opened.gossip)
    if opened.kind == PAYLOAD_GOSSIP:
        with suppress(NoiseError):
            witness.hear(sender, parse_gossip(opened.data, CONTENT_FRAMES))
