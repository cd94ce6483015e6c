"""Lies to one client at the last moment: all that is signed and stored is true, and it is shown something else.

Knows nothing of how the truth is made. What it shows to the victim it shows by every way: pushed, paged and over HTTP.
"""

from collections.abc import Awaitable, Callable
from functools import partial

import trio

from noise.node import Node
from noise.pipeline.batches import Accepted, CommittedEpoch, SealedLane
from noise.pipeline.fanout import Fanout, Subscriber
from noise.pipeline.inbox import Inbox
from noise.pipeline.reissue import make_receipt
from noise.protocol.delta import Delta, Section
from noise.protocol.envelope import Bundle, Recipients, RecipientSet
from noise.protocol.frames import DeltaFrame, encode_frame, parse_frame
from noise.protocol.identifiers import make_seq, make_seqs
from noise.protocol.merkle import Tree, leaf_hashes
from noise.protocol.statements import MANIFEST, message_leaves
from noise.store.base import ID_STEP, ManifestWrite, StatementRow
from tests.zoo.forgery import NOBODY, Forger, inverted
from tests.zoo.lie import Facts, Lie, Target, replace

Spoil = Callable[[Delta, Section, int, Target], tuple[Delta, Section]]
"""(delta, section, the message's row in it, the message) -> both, with one thing changed."""


def spoil_payload(delta: Delta, section: Section, row: int, target: Target) -> tuple[Delta, Section]:
    """Other bytes of the same length, or one where there were none."""
    sizes = [one.common_len for one in section.rows]
    start = sum(sizes[:row])
    common = inverted(section.commons[start : start + sizes[row]])
    commons = section.commons[:start] + common + section.commons[start + sizes[row] :]
    rows = list(section.rows)
    rows[row] = rows[row]._replace(common_len=len(common))
    return delta, section._replace(commons=commons, rows=tuple(rows))


def spoil_ciphertext(delta: Delta, section: Section, row: int, target: Target) -> tuple[Delta, Section]:
    sizes = [one.ciphertext_len for one in section.rows]
    start, end = sum(sizes[:row]), sum(sizes[: row + 1])
    spoiled = section.ciphertexts[:start] + inverted(section.ciphertexts[start:end]) + section.ciphertexts[end:]
    return delta, section._replace(ciphertexts=spoiled)


def spoil_recipients(delta: Delta, section: Section, row: int, target: Target) -> tuple[Delta, Section]:
    """A list that the provider made up in the place of the one that it was sent."""
    place = section.rows[row].set_index
    ids = sorted({*target.recipients.device_ids, NOBODY})
    made = Recipients(RecipientSet(target.recipients.env_salt, tuple(ids)))
    roots = (*section.roots[:place], made.root, *section.roots[place + 1 :])
    delta = delta._replace(sets=(*delta.sets, RecipientSet(made.env_salt, made.device_ids)))
    return delta, section._replace(roots=roots)


def spoil_sender(delta: Delta, section: Section, row: int, target: Target) -> tuple[Delta, Section]:
    return delta, section._replace(key=Forger().public_key)


class Transport(Lie):
    """The bytes of one message are spoiled on their way to the victim."""

    def __init__(self, facts: Facts, spoil: Spoil) -> None:
        super().__init__(facts)
        self._spoil = spoil

    def change(self, node: Node) -> None:
        replace(node.pipeline.fanout, "_live_frame", self._spoiling_live)
        replace(node.pipeline.fanout, "catch_up", self._spoiling_pages)

    def _spoiling_live(self, live_frame: Callable[..., bytes]) -> Callable[..., bytes]:
        return lambda *arguments: self._show(live_frame(*arguments), arguments[-1].device_id)

    def _spoiling_pages(
        self, catch_up: Callable[[Subscriber], Awaitable[bytes]]
    ) -> Callable[[Subscriber], Awaitable[bytes]]:
        async def spoiling(subscriber: Subscriber) -> bytes:
            return self._show(await catch_up(subscriber), subscriber.device_id)

        return spoiling

    def _show(self, frame: bytes, device_id: bytes) -> bytes:
        target = self.target
        if target is None or device_id != target.victim:
            return frame
        parsed = parse_frame(frame)
        if not isinstance(parsed, DeltaFrame):
            return frame
        delta = parsed.delta
        history = []
        for entry in delta.history:
            sections = []
            for section in entry.sections:
                shown = section
                if section.first_seq == target.accepted.first_seq:
                    row = section.indexes.index(target.place) if section.indexes else target.place
                    delta, shown = self._spoil(delta, section, row, target)
                    self.tell(target.epoch, target.victim, target.seq)
                sections.append(shown)
            history.append(entry._replace(sections=tuple(sections)))
        return encode_frame(DeltaFrame(delta._replace(history=tuple(history))))


class TransportCiphertext(Transport):
    """As above, for messages that have per-recipient ciphertexts."""

    def wants(self, bundle: Bundle, index: int) -> bool:
        return bool(bundle.ciphertext_columns[index])


class Stale(Lie):
    """The victim sees the provider as it was before the message, for ever: what it sends is taken, and that is all.

    `with_heartbeats`: it is told again and again that nothing has come, with the last true signatures. Without, the
    connection is open and silent.
    """

    def __init__(self, facts: Facts, *, with_heartbeats: bool) -> None:
        super().__init__(facts)
        self._with_heartbeats = with_heartbeats

    def change(self, node: Node) -> None:
        fanout = node.pipeline.fanout
        self._last: CommittedEpoch | None = None
        self._frozen = Fanout(fanout._log, node.store, node.rosters, fanout._placement, heartbeat_s=fanout._heartbeat_s)
        replace(fanout, "_publish", self._freezing)
        replace(fanout, "catch_up", partial(self._two_faced, self._frozen.catch_up))
        replace(fanout, "join", partial(self._two_faced, self._frozen.join))
        replace(fanout, "leave", self._leaving)
        if self._with_heartbeats:
            replace(fanout, "run_heartbeats", self._both_beating)

    def _freezing(
        self, publish: Callable[[CommittedEpoch], Awaitable[None]]
    ) -> Callable[[CommittedEpoch], Awaitable[None]]:
        async def freezing(epoch: CommittedEpoch) -> None:
            target, frozen, fanout = self.target, self._frozen, self.node.pipeline.fanout
            if target is not None and frozen.view is None:
                frozen.view = frozen._shown = self._last
                frozen.ready.set()
                for subscriber in tuple(fanout._subscribers.get(target.victim, ())):
                    fanout.leave(subscriber)
                    frozen.join(subscriber)
                self.tell(target.epoch, target.victim, target.seq)
            self._last = epoch
            await publish(epoch)

        return freezing

    def _two_faced(
        self, lie: Callable[[Subscriber], object], truth: Callable[[Subscriber], object]
    ) -> Callable[[Subscriber], object]:
        def two_faced(subscriber: Subscriber) -> object:
            return (lie if self._is_deceived(subscriber) else truth)(subscriber)

        return two_faced

    def _is_deceived(self, subscriber: Subscriber) -> bool:
        return bool(self.told) and subscriber.device_id == self.told[0].victim

    def _leaving(self, leave: Callable[[Subscriber], None]) -> Callable[[Subscriber], None]:
        def leaving(subscriber: Subscriber) -> None:
            leave(subscriber)
            self._frozen.leave(subscriber)

        return leaving

    def _both_beating(self, run_heartbeats: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        async def both() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run_heartbeats)
                nursery.start_soon(self._frozen.run_heartbeats)

        return both


class OtherManifest(Lie):
    """The sender's receipt is of another manifest than the one that counts, in which its message is not."""

    def change(self, node: Node) -> None:
        for inbox in node.pipeline.inboxes:
            replace(inbox, "seal", partial(self._sealing, inbox))
            replace(inbox, "answer", self._answering)

    def _sealing(
        self, inbox: Inbox, seal: Callable[..., tuple[SealedLane, ManifestWrite, Tree]]
    ) -> Callable[..., object]:
        def sealing(epoch: int) -> tuple[SealedLane, ManifestWrite, Tree]:
            taken = self._take_out(inbox, epoch)
            previous = inbox._previous
            sealed, write, tree = seal(epoch)
            if taken is not None:
                self._sign_other(inbox, sealed, previous, taken)
            return sealed, write, tree

        return sealing

    def _take_out(self, inbox: Inbox, epoch: int) -> Accepted | None:
        """The bundle of the message, out of the open epoch; those behind it move up."""
        self.choose(SealedLane(epoch, inbox.lane, StatementRow(0, b"", 0, b"", b""), list(inbox._open.values())))
        target = self.target
        if target is None or self.told or target.accepted not in inbox._open.values():
            return None
        kept = {}
        for key, accepted in inbox._open.items():
            if accepted.first_pos > target.accepted.first_pos:
                moved = accepted.first_pos - target.bundle.count
                seqs = make_seqs(epoch, inbox.lane, moved, accepted.bundle.count)
                leaves = leaf_hashes(message_leaves(accepted.bundle, seqs))
                again = Accepted(accepted.bundle, accepted.data, accepted.bundle_id - ID_STEP, moved, seqs, leaves)
                again.answers = accepted.answers
                kept[key] = again
            elif accepted is not target.accepted:
                kept[key] = accepted
        inbox._open = kept
        inbox._next_id -= ID_STEP
        return target.accepted

    def _sign_other(self, inbox: Inbox, sealed: SealedLane, previous: bytes, taken: Accepted) -> None:
        """A second manifest for the slot, which ends with the message, and the receipt under it."""
        slots, bundle = inbox._slots, taken.bundle
        first_pos = sum(accepted.bundle.count for accepted in sealed.bundles)
        first_seq = make_seq(sealed.epoch, sealed.lane, first_pos)
        leaves = [leaf for accepted in sealed.bundles for leaf in accepted.leaf_hashes]
        leaves += leaf_hashes(message_leaves(bundle, make_seqs(sealed.epoch, sealed.lane, first_pos, bundle.count)))
        tree = Tree(leaves)
        body = MANIFEST.pack(
            *(slots.origin, slots.actor, slots.incarnation, sealed.epoch, sealed.lane, tree.size, tree.root, previous)
        )
        signature = slots._signer.sign("manifest", slots.origin, body).signature
        statement = StatementRow(sealed.epoch, slots.actor, slots.incarnation, body, signature)
        self._receipt = make_receipt(statement, tree, first_seq, first_pos, bundle.count)
        self._unanswered = taken.answers
        self.tell(sealed.epoch, bundle.sender, first_seq)

    def _answering(self, answer: Callable[[SealedLane, Tree], None]) -> Callable[[SealedLane, Tree], None]:
        def answering(sealed: SealedLane, tree: Tree) -> None:
            answer(sealed, tree)
            if self.told and sealed.epoch == self.told[0].epoch and self._unanswered:
                for settle in self._unanswered:
                    settle(self._receipt)
                self._unanswered = []

        return answering
