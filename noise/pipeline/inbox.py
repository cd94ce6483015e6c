"""Accepts bundles, gives their messages positions in its lane, and seals each epoch with a signed manifest.

Knows nothing of recipients' mailboxes, of other lanes, or of who is connected. All that can refuse a bundle happens
before `admit` returns; what was admitted is sealed, and what is sealed is never dropped.
"""

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import NamedTuple

import trio

from noise.pipeline.batches import Accepted, Answer, SealedLane, Submission
from noise.pipeline.reissue import Receipts, make_receipt
from noise.pipeline.senders import SenderTable
from noise.pipeline.slots import Slots
from noise.protocol.envelope import Bundle, Recipients, RecipientSet, open_bundle
from noise.protocol.errors import NoiseError, Rejected
from noise.protocol.identifiers import make_seq
from noise.protocol.merkle import Tree
from noise.protocol.statements import MANIFEST, Roster, hash_manifest
from noise.store.base import ID_STEP, BundleRow, ManifestWrite, Store

LOGGER = logging.getLogger("noise.pipeline")

_REISSUES_WAITING_MAX = 64


class RecipientCache:
    """Recipient sets whose roots were computed before: a sender keeps one set for many messages."""

    __slots__ = ("_ids", "_ids_max", "_known")

    def __init__(self, ids_max: int) -> None:
        self._known: OrderedDict[RecipientSet, Recipients] = OrderedDict()
        self._ids = 0
        self._ids_max = ids_max

    def __call__(self, recipient_set: RecipientSet) -> Recipients:
        known = self._known.get(recipient_set)
        if known is not None:
            self._known.move_to_end(recipient_set)
            return known
        made = Recipients(recipient_set)
        self._known[recipient_set] = made
        self._ids += len(made.device_ids)
        while self._ids > self._ids_max:
            self._ids -= len(self._known.popitem(last=False)[1].device_ids)
        return made


class EpochLimits(NamedTuple):
    """What one lane takes into one epoch; a single bundle always fits. `bundles`: None for any number.

    `recipient_ids`: how many it remembers in recipient sets whose roots it computed.
    """

    messages: int
    bytes: int
    deliveries: int
    bundles: int | None
    recipient_ids: int


class Inbox:
    """One lane. `run_step` runs a pure function, here or in a worker thread, as the topology says.

    `check_quota` refuses what the provider has no room for. `on_work` tells the sequencer that the open epoch is no
    longer empty, `on_durable` how far manifests are stored.
    """

    def __init__(
        self,
        lane: int,
        slots: Slots,
        senders: SenderTable,
        store: Store,
        *,
        epoch: int,
        next_id: int,
        previous: bytes,
        limits: EpochLimits,
        rosters: Sequence[Roster],
        check_quota: Callable[[Bundle], None],
        on_work: Callable[[], None],
        on_durable: Callable[[int], None],
        run_step: Callable[[Callable[[], Bundle]], Awaitable[Bundle]],
    ) -> None:
        self.lane = lane
        self._slots = slots
        self._senders = senders
        self._store = store
        self._epoch = epoch
        self._next_id = next_id
        self._previous = previous
        self._limits = limits
        self._check_quota = check_quota
        self._on_work = on_work
        self._on_durable = on_durable
        self._run_step = run_step
        self._recipients = RecipientCache(limits.recipient_ids)
        self._open: dict[tuple[bytes, int], Accepted] = {}
        self._next_ctrs: dict[bytes, int] = {}
        self._n_messages = 0
        self._n_bytes = 0
        self._n_deliveries = 0
        self._sealed = trio.Event()
        self._durable = trio.Event()
        self._sealing: dict[tuple[bytes, int], Accepted] = {}
        self._receipts = Receipts(store, slots.origin, rosters)
        self._is_ending = False
        self._reissue_send, self._reissue_receive = trio.open_memory_channel[tuple[Bundle, Answer]](
            _REISSUES_WAITING_MAX
        )

    def has_room(self, bundle: Bundle, data: bytes) -> bool:
        """Whether a bundle still fits into the open epoch. Into an empty one, every bundle does."""
        if not self._open:
            return True
        limits = self._limits
        return (
            (limits.bundles is None or len(self._open) < limits.bundles)
            and self._n_messages + bundle.count <= limits.messages
            and self._n_bytes + len(data) <= limits.bytes
            and self._n_deliveries + bundle.delivery_count <= limits.deliveries
        )

    def admit(self, bundle: Bundle, data: bytes, answer: Answer) -> None:
        """Give a verified bundle its place. Raises Rejected: then nothing of it was kept."""
        sender, first_ctr = bundle.sender, bundle.first_ctr
        key = (sender, first_ctr)
        if first_ctr < self._next_ctrs.get(sender, 0) or first_ctr < self._senders.get(sender).next_ctr:
            waiting = self._open.get(key) or self._sealing.get(key)
            if waiting is None:
                self._ask_reissue(bundle, answer)
            elif waiting.bundle.bundle_hash != bundle.bundle_hash:
                raise Rejected("these counters were used for other content", code="counter-conflict")
            else:
                waiting.answers.append(answer)
            return
        self._check_quota(bundle)
        accepted = Accepted(bundle, data, self._next_id, make_seq(self._epoch, self.lane, self._n_messages))
        accepted.answers.append(answer)
        self._next_id += ID_STEP
        self._n_messages += bundle.count
        self._n_bytes += len(data)
        self._n_deliveries += bundle.delivery_count
        self._open[key] = accepted
        self._next_ctrs[sender] = first_ctr + bundle.count
        self._on_work()

    def _ask_reissue(self, bundle: Bundle, answer: Answer) -> None:
        try:
            self._reissue_send.send_nowait((bundle, answer))
        except (trio.WouldBlock, trio.BrokenResourceError):  # the latter: everything is being cancelled
            raise Rejected("too many receipts are being looked up; send again later", code="busy") from None

    def seal(self, epoch: int) -> tuple[SealedLane, ManifestWrite, Tree]:
        """Close the open epoch: sign its manifest. What is admitted from now on belongs to the next one."""
        if epoch != self._epoch:
            raise RuntimeError(f"lane {self.lane} was asked to seal epoch {epoch}, but {self._epoch} is open")
        bundles = list(self._open.values())
        tree = Tree([h for accepted in bundles for h in accepted.leaf_hashes])
        slots = self._slots
        body = MANIFEST.pack(
            slots.origin, slots.actor, slots.incarnation, epoch, self.lane, tree.size, tree.root, self._previous
        )
        statement = slots.sign(epoch, body)
        rows = []
        for a in bundles:
            b = a.bundle
            prev_id = self._senders.get(b.sender).last_id
            rows.append(BundleRow(a.bundle_id, epoch, a.first_pos, b.sender, b.first_ctr, b.count, prev_id, a.data))
            self._senders.sealed(rows[-1])
        first_id = rows[0].bundle_id if rows else self._next_id
        write = ManifestWrite(epoch, self.lane, statement, first_id, self._next_id, rows)
        self._previous = hash_manifest(body)
        self._epoch = epoch + 1
        self._sealing, self._open = self._open, {}
        self._next_ctrs.clear()
        self._n_messages = self._n_bytes = self._n_deliveries = 0
        self._sealed.set()
        self._sealed = trio.Event()
        return SealedLane(epoch, self.lane, statement, bundles), write, tree

    def answer(self, sealed: SealedLane, tree: Tree) -> None:
        """Hand out the receipts of a durable manifest."""
        self._sealing = {}
        self._durable.set()
        self._durable = trio.Event()
        for accepted in sealed.bundles:
            receipt = make_receipt(
                sealed.statement, tree, accepted.first_seq, accepted.first_pos, accepted.bundle.count
            )
            for answer in accepted.answers:
                answer(receipt)

    async def run_accepting(self, submissions: "trio.MemoryReceiveChannel[Submission]") -> None:
        """Verify and admit what comes; when the epoch is full, wait for the next one."""
        with submissions, self._reissue_send:
            async for data, answer in submissions:
                try:
                    bundle = await self._run_step(partial(open_bundle, data, self._slots.origin, self._recipients))
                    while not self.has_room(bundle, data):
                        await self._sealed.wait()
                    self.admit(bundle, data, answer)
                except NoiseError as refusal:
                    answer(refusal)
            self._is_ending = True

    async def run_sealing(
        self, cuts: "trio.MemoryReceiveChannel[int]", lanes: "trio.MemorySendChannel[SealedLane]"
    ) -> None:
        """Seal when the sequencer says so; answer when the manifest is durable; pass it on."""
        with cuts, lanes:
            async for epoch in cuts:
                sealed, write, tree = self.seal(epoch)
                await self.write(write)
                self.answer(sealed, tree)
                await lanes.send(sealed)

    async def write(self, write: ManifestWrite) -> None:
        """Make a manifest durable: only then may its signature leave the process."""
        await self._store.append_manifest(write)
        self._on_durable(write.epoch + 1)

    async def run_reissuing(self) -> None:
        """Find the receipts of bundles that were sealed long ago and come again, one at a time."""
        with self._reissue_receive as asked:
            async for bundle, answer in asked:
                try:
                    if self._is_ending:
                        raise Rejected("the provider is stopping: send again later", code="unavailable")
                    last_id = self._senders.get(bundle.sender).last_id
                    if self._sealing:
                        await self._durable.wait()  # the store does not have the last bundles yet
                    answer(await self._receipts.find(last_id, bundle))
                except Rejected as refusal:
                    answer(refusal)
                except NoiseError as failure:
                    LOGGER.error("a receipt of lane %d cannot be made again: %s", self.lane, failure)
                    answer(Rejected("the receipt cannot be looked up now: send again later", code="unavailable"))
