"""From messages to receipts: a durable queue, gathered into bundles, each sent until the provider has answered it.

Knows nothing of connections: `noise_client.connection` carries the bundles that this file hands out. One bundle is
under way at a time, and whatever is queued meanwhile becomes the next: no refusal can be overtaken by a later message,
so messages arrive in the order in which they were queued. A bundle's bytes and counters are durable before it is handed
out, so that sending it again, after a crash too, is sending the same thing, to which the same receipt is the answer.
"""

import hmac
import math
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple, Protocol

import trio

from noise.protocol import frames
from noise.protocol.envelope import Bundle, Recipients, RecipientSet, build_bundle, open_bundle
from noise.protocol.errors import NoiseError, Rejected
from noise.protocol.follower import Follower
from noise.protocol.identifiers import parse_id, parse_seq
from noise.protocol.limits import BUNDLE_BYTES_MAX, BUNDLE_MESSAGES_MAX, MESSAGE_BYTES_MAX, RECIPIENTS_MAX
from noise.protocol.sealing import PAYLOAD_BODY_BYTES_MAX, PAYLOAD_GOSSIP
from noise.protocol.signing import Signed
from noise_client.changed import Changed
from noise_client.device import Device
from noise_client.errors import deadline
from noise_client.prekeys import now_ms
from noise_client.sealer import Sealer, count_fitting, refusal_of
from noise_client.trust_store import Kept, QueuedMessage, StoreCalls, TrustStore

RETRIED_CODES = frozenset({"busy", "unavailable"})
"""Refusals that say "not now": the same bundle is sent again after a while. All others are final."""

_RECIPIENTS_REMEMBERED_MAX = 64
_KEYS_RETRY_S = 0.2


class Receipt(NamedTuple):
    """A verified receipt: the message stands at `seq`, and the provider signed it. `manifest`: what it signed."""

    seq: bytes
    epoch: int
    recipients: tuple[bytes, ...]
    manifest: Signed


class Sending:
    """A message on its way. It is sent whether or not anybody waits for it."""

    __slots__ = ("_ended", "_error", "_is_stored", "_receipt", "_stored", "kept_bytes")

    def __init__(self, kept_bytes: int) -> None:
        self.kept_bytes = kept_bytes
        self._is_stored = False
        self._stored = trio.Event()
        self._ended = trio.Event()
        self._receipt: Receipt | None = None
        self._error: NoiseError | None = None

    @property
    def has_ended(self) -> bool:
        """Whether `wait_receipt` would not wait."""
        return self._ended.is_set()

    async def wait_stored(self, *, deadline_s: float = 30.0) -> None:
        """Until the message is durable. Raises DeadlineExceeded, or what keeps it from ever being stored."""
        with deadline(deadline_s, "the message was not stored"):
            await self._stored.wait()
        if not self._is_stored and self._error:
            raise self._error

    async def wait_receipt(self, *, deadline_s: float = 30.0) -> Receipt:
        """Until the provider's receipt is verified.

        Raises DeadlineExceeded (the message stays in the queue), Rejected (it does not), ProviderMisbehaved,
        ClientClosed or another NoiseError that ended the client.
        """
        with deadline(deadline_s, "no receipt came; the message stays in the queue:"):
            await self._ended.wait()
        if self._receipt is None:
            raise self._error or NoiseError("neither receipt nor error")
        return self._receipt

    def note_stored(self) -> None:
        self._is_stored = True
        self._stored.set()

    def note_receipt(self, receipt: Receipt) -> None:
        self._receipt = receipt
        self._ended.set()

    def note_error(self, error: NoiseError) -> None:
        self._error = error
        self._stored.set()
        self._ended.set()


def address(own_id: bytes, recipients: Iterable[bytes | str]) -> tuple[bytes, ...]:
    """The recipients of a message, sorted and unique, the sender among them. Ids are 32 bytes, or their text.

    Raises DecodeError for what is no id, Rejected "no-recipients" or "too-many-recipients".
    """
    ids = {parse_id(item) if isinstance(item, str) else item for item in recipients}
    if not ids:
        raise Rejected("a message needs recipients", code="no-recipients")
    if any(not isinstance(item, bytes) or len(item) != 32 for item in ids):
        raise Rejected("a recipient is an id of 32 bytes, or its text", code="bad-recipient")
    ids.add(own_id)
    if len(ids) > RECIPIENTS_MAX:
        raise Rejected(f"more than {RECIPIENTS_MAX} recipients, the sender included", code="too-many-recipients")
    return tuple(sorted(ids))


class Watch(Protocol):
    """Who makes sure that receipts are honoured. Called where the store's calls run."""

    def note_sent(self) -> None:
        """A bundle leaves, perhaps again."""

    def note_receipt(self, bundle: Bundle, receipt: frames.Receipt) -> None:
        """The provider has signed for it."""

    def note_refused_bundle(self) -> None:
        """The provider did not take it."""


class Outgoing:
    """The queue of one device. Its oldest messages may be frozen as a bundle."""

    def __init__(
        self,
        device: Device,
        store: TrustStore,
        calls: StoreCalls,
        kept: Kept,
        bytes_max: int,
        sealer: Sealer,
        watch: Watch,
        keys_wait_s: float,
    ) -> None:
        """`keys_wait_s`: how long the oldest message waits for missing keys to seal it with. `watch` is told
        of each bundle that leaves and of its answer, among the store's calls."""
        self._sealer = sealer
        self._watch = watch
        self._keys_wait_s = keys_wait_s
        self._device = device
        self._store = store
        self._calls = calls
        self._salt_secret = kept.salt_secret
        self._kept_bundle = kept.bundle
        self._bundle: Bundle | None = None
        self._recipients: dict[tuple[bytes, ...], Recipients] = {}
        self._new: list[tuple[Sending, QueuedMessage]] = []
        self._stored = deque([Sending(size) for size in kept.queued_bytes])
        for sending in self._stored:
            sending.note_stored()
        self._bytes = sum(kept.queued_bytes)
        self._bytes_max = bytes_max
        self._changed = Changed()
        self._error: NoiseError | None = None

    def unsent(self) -> list[Sending]:
        """All messages without an answer, oldest first."""
        return [*self._stored, *(sending for sending, _ in self._new)]

    def put_nowait(self, recipients: Iterable[bytes | str], data: bytes, kind: int) -> Sending:
        """Queue a message; it is not durable yet. Raises Rejected ("queue-full" among others), or what ended us.

        `kind`: what it will be sealed as; 0: it travels as it is.
        """
        if self._error:
            raise self._error
        bytes_max = PAYLOAD_BODY_BYTES_MAX if kind else MESSAGE_BYTES_MAX
        if len(data) > bytes_max:
            raise Rejected(f"a message has at most {bytes_max} bytes", code="message-too-large")
        to = address(self._device.device_id, recipients)
        message = QueuedMessage(to, bytes(data), now_ms(), kind)
        if self._bytes and self._bytes + message.kept_bytes > self._bytes_max:
            raise Rejected(f"the queue holds {self._bytes} bytes already", code="queue-full")
        sending = Sending(message.kept_bytes)
        self._bytes += message.kept_bytes
        self._new.append((sending, message))
        self._changed.notify()
        return sending

    async def put(self, recipients: Iterable[bytes | str], data: bytes, kind: int) -> Sending:
        """Like `put_nowait`, but waits while the queue is full."""
        await trio.lowlevel.checkpoint()
        to = list(recipients)
        while True:
            try:
                return self.put_nowait(to, data, kind)
            except Rejected as refused:
                if refused.code != "queue-full":
                    raise
            await self._changed.wait()

    async def run_storing(self) -> None:
        """Make new messages durable, many at a time, for ever."""
        while True:
            while not self._new:
                await self._changed.wait()
            await self.store_new()

    async def store_new(self) -> None:
        """Make the messages durable that are not. Only one task may do so at a time."""
        batch = list(self._new)
        if not batch:
            return
        await self._calls.run(self._store.add_queued, [message for _, message in batch])
        del self._new[: len(batch)]
        for sending, _ in batch:
            self._stored.append(sending)
            sending.note_stored()
        self._changed.notify()

    async def next_bundle(self, follower: Follower) -> Bundle:
        """The bundle to send now, or again: the same one until it is accepted or refused.

        Raises LinkError when the keys to seal it cannot be asked for.
        """
        give_up_at = math.inf
        while True:
            while not self._stored:
                await self._changed.wait()
            if self._bundle is None and not self._kept_bundle:
                messages = await self._calls.run(self._store.queued, BUNDLE_MESSAGES_MAX, BUNDLE_BYTES_MAX)
                messages = messages[: count_fitting(messages)]
                problems = await self._sealer.prepare(follower.origin, messages)
                refusals = [refusal_of(problems, message) for message in messages]
                if refusals[0] is not None:
                    give_up_at = min(give_up_at, trio.current_time() + self._keys_wait_s)
                    is_gossip = messages[0].kind == PAYLOAD_GOSSIP  # to strangers, it must not hold us up
                    if trio.current_time() < give_up_at and not is_gossip:
                        await trio.sleep(_KEYS_RETRY_S)  # a recipient may be about to publish its first keys
                    else:
                        await self._drop_first(refusals[0])
                        give_up_at = math.inf
                    continue
                n_sealable = next((i for i, refusal in enumerate(refusals) if refusal), len(messages))
                return await self._calls.run(self._freeze, follower.origin, messages[:n_sealable])
            return await self._calls.run(self._frozen_bundle, follower.origin)

    async def _drop_first(self, error: Rejected) -> None:
        """The oldest message can never be sent."""
        await self._calls.run(self._store.finish, 1)
        self._pop().note_error(error)
        self._changed.notify()

    def _frozen_bundle(self, origin: bytes) -> Bundle:
        self._watch.note_sent()
        if self._bundle is None:
            self._bundle = open_bundle(self._kept_bundle, origin)
        return self._bundle

    def _freeze(self, origin: bytes, messages: list[QueuedMessage]) -> Bundle:
        self._watch.note_sent()
        first_ctr = self._store.next_counter()
        drafts = []
        told: set[bytes] = set()
        for i, message in enumerate(messages):
            recipients = self._recipients_of(message.recipients)
            try:
                drafts.append(self._sealer.draft(origin, first_ctr + i, recipients, message, told))
            except Rejected:  # its keys were used up by the messages before it: the next bundle asks for more
                break
        bundle = build_bundle(self._device.signer, origin, first_ctr, drafts)
        self._store.freeze(bundle.encode(), first_ctr + bundle.count)
        self._bundle = bundle
        return bundle

    def _recipients_of(self, ids: tuple[bytes, ...]) -> Recipients:
        """One salt for each set, so that its root repeats; it follows from a secret, so none must be kept."""
        recipients = self._recipients.get(ids)
        if recipients is None:
            salt = hmac.digest(self._salt_secret, b"".join(ids), "sha256")[:16]
            recipients = Recipients(RecipientSet(salt, ids))
            if len(self._recipients) >= _RECIPIENTS_REMEMBERED_MAX:
                del self._recipients[next(iter(self._recipients))]
            self._recipients[ids] = recipients
        return recipients

    async def accept(self, follower: Follower, bundle: Bundle, receipt: frames.Receipt) -> None:
        """The provider says that it sequenced the bundle. Raises ProviderMisbehaved when that cannot be verified."""
        seqs = await self._calls.run(self._accept, follower, bundle, receipt)
        manifest = Signed(*receipt.manifest)
        for seq, row in zip(seqs, bundle.rows, strict=True):
            recipients = bundle.recipients[row.set_index].device_ids
            self._pop().note_receipt(Receipt(seq, parse_seq(seq)[0], recipients, manifest))
        self._changed.notify()

    def _accept(self, follower: Follower, bundle: Bundle, receipt: frames.Receipt) -> list[bytes]:
        seqs = follower.check_receipt(receipt, bundle)
        self._watch.note_receipt(bundle, receipt)
        self._finish(bundle)
        return seqs

    async def refuse(self, bundle: Bundle, error: Rejected) -> None:
        """The provider refused the bundle for good: its messages leave the queue with that error."""
        await self._calls.run(self._refuse, bundle)
        for _ in range(bundle.count):
            self._pop().note_error(error)
        self._changed.notify()

    def _refuse(self, bundle: Bundle) -> None:
        self._watch.note_refused_bundle()
        self._finish(bundle)

    def _finish(self, bundle: Bundle) -> None:
        self._store.finish(bundle.count)
        self._bundle = None
        self._kept_bundle = b""

    def _pop(self) -> Sending:
        sending = self._stored.popleft()
        self._bytes -= sending.kept_bytes
        return sending

    def fail(self, error: NoiseError) -> None:
        """Nothing more is sent: whoever waits, or comes later, gets the error."""
        self._error = error
        for sending in self.unsent():
            sending.note_error(error)
        self._changed.notify()
