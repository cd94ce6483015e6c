"""Lies in one mailbox, or in several: what was sequenced is not what is delivered there.

Knows nothing of sockets, the log or the store. All of these are told between receiver and outbox: the outbox signs a
state that commits to the lie, and live pushes, pages and HTTP show the same.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import combinations

from noise.node import Node
from noise.pipeline.batches import MergedEpoch, OutboxEpoch, Part
from noise.pipeline.inbox import Inbox
from noise.pipeline.outbox import Outbox
from noise.protocol.envelope import Bundle
from noise.protocol.history import MAILBOX_STATE, hash_state, map_key_of, new_history
from noise.protocol.identifiers import make_seq
from tests.zoo.forgery import Change, Forger, drafts_of
from tests.zoo.lie import Facts, Lie, Target, lane_end, replace
from tests.zoo.shadows import without

EMPTY_EPOCHS = 3


def the_victim(target: Target) -> Iterable[bytes]:
    return [target.victim]


def all_but_the_sender(target: Target) -> Iterable[bytes]:
    return [device_id for device_id in target.recipients.device_ids if device_id != target.bundle.sender]


def everybody(target: Target) -> Iterable[bytes]:
    return target.recipients.device_ids


class Drop(Lie):
    """Sequenced, and missing in the mailboxes of `losers`. All else of the bundle arrives."""

    def __init__(self, facts: Facts, losers: Callable[[Target], Iterable[bytes]]) -> None:
        super().__init__(facts)
        self._losers = losers

    def edit(self, merged: MergedEpoch, outbox: int) -> MergedEpoch:
        target = self.target
        if target is None or merged.epoch != target.epoch:
            return merged
        parts = dict(merged.parts)
        for mailbox in self._losers(target):
            if mailbox in parts:
                left = [without(part, target.place) if target.is_in(part) else part for part in parts.pop(mailbox)]
                if any(left):
                    parts[mailbox] = [part for part in left if part]
                self.tell(merged.epoch, mailbox, target.seq)
        return merged._replace(parts=parts)


class EmptyRange(Lie):
    """From the message on, some epochs bring nothing to the victim."""

    def edit(self, merged: MergedEpoch, outbox: int) -> MergedEpoch:
        target = self.target
        if target is None or target.victim not in merged.parts or len(self.told) == EMPTY_EPOCHS:
            return merged
        parts = dict(merged.parts)
        first, *_ = parts.pop(target.victim)
        self.tell(merged.epoch, target.victim, first.first_seq)
        return merged._replace(parts=parts)


class _Edit(Lie):
    """Changes what the victim gets in the epoch of the message."""

    def edit(self, merged: MergedEpoch, outbox: int) -> MergedEpoch:
        target = self.target
        if target is None or merged.epoch != target.epoch or target.victim not in merged.parts:
            return merged
        parts = self.lie_about(target, merged, merged.parts[target.victim])
        parts.sort(key=lambda part: part.first_seq)
        return merged._replace(parts=merged.parts | {target.victim: parts})

    def lie_about(self, target: Target, merged: MergedEpoch, parts: list[Part]) -> list[Part]:
        raise NotImplementedError


class ChangeContent(_Edit):
    """Something else at the position of the message, committed to by the victim's history."""

    def __init__(self, facts: Facts, change: Change) -> None:
        super().__init__(facts)
        self._change = change

    def lie_about(self, target: Target, merged: MergedEpoch, parts: list[Part]) -> list[Part]:
        self.tell(merged.epoch, target.victim, target.seq)
        changed = self._change(target.bundle, target.place, target.victim)
        return [
            self.shadows.place(changed, part.first_seq, part.indexes) if target.is_in(part) else part for part in parts
        ]


class ChangeSender(ChangeContent):
    """Another message at the position of the message, from a device of the liar's."""

    def __init__(self, facts: Facts) -> None:
        self._forger = Forger()
        super().__init__(facts, self._forger.change_sender)

    def change(self, node: Node) -> None:
        self._forger.learn_prekeys(node.store)


class ChangeCiphertext(ChangeContent):
    """As above, for messages that have per-recipient ciphertexts."""

    def wants(self, bundle: Bundle, index: int) -> bool:
        return bool(bundle.ciphertext_columns[index])


class Insert(_Edit):
    """The victim also gets a message to all recipients that no lane has, from a device of the liar's."""

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._forger = Forger()

    def change(self, node: Node) -> None:
        self._forger.learn_prekeys(node.store)

    def lie_about(self, target: Target, merged: MergedEpoch, parts: list[Part]) -> list[Part]:
        seq = make_seq(merged.epoch, target.lane, lane_end(merged, target.lane))
        self.tell(merged.epoch, target.victim, seq)
        forged = self._forger.forge(target.bundle, [drafts_of(target.bundle)[target.place]])
        return [*parts, self.shadows.place(forged, seq)]


class Duplicate(_Edit):
    """The victim gets the message's bundle a second time, at positions that no lane has."""

    def lie_about(self, target: Target, merged: MergedEpoch, parts: list[Part]) -> list[Part]:
        seq = make_seq(merged.epoch, target.lane, lane_end(merged, target.lane))
        self.tell(merged.epoch, target.victim, seq)
        part = next(part for part in parts if target.is_in(part))
        return [*parts, self.shadows.place(part.bundle, seq, part.indexes)]


class Replay(Lie):
    """The victim gets the message's bundle again, in an epoch after it."""

    def edit(self, merged: MergedEpoch, outbox: int) -> MergedEpoch:
        target = self.target
        if target is None or merged.epoch <= target.epoch or self.told or outbox != self.outbox_of(target.victim):
            return merged
        seq = make_seq(merged.epoch, target.lane, lane_end(merged, target.lane))
        self.tell(merged.epoch, target.victim, seq)
        bundle = target.bundle
        mine = tuple(i for i, row in enumerate(bundle.rows) if bundle.recipients[row[0]].index(target.victim) >= 0)
        again = self.shadows.place(bundle, seq, mine if len(mine) < bundle.count else ())
        parts = sorted([*merged.parts.get(target.victim, []), again], key=lambda part: part.first_seq)
        return merged._replace(parts=merged.parts | {target.victim: parts})


class Swap(Lie):
    """Two messages of one epoch change places for the victim.

    `with_seqs`: each is shown at the other's position, and they are of two senders: one device's counters would betray
    it. Without: each keeps its position, and the later one comes first. Two messages seldom meet in an epoch, so while
    it waits, the liar cuts no epoch for a message that is alone in it, before the idle interval is over.
    """

    def __init__(self, facts: Facts, *, with_seqs: bool) -> None:
        super().__init__(facts)
        self._with_seqs = with_seqs

    def change(self, node: Node) -> None:
        for inbox in node.pipeline.inboxes:
            replace(inbox, "_on_work", self._holding(node.pipeline.inboxes))

    def _holding(self, inboxes: list[Inbox]) -> Callable[[Callable[[], None]], Callable[[], None]]:
        def make(notice_work: Callable[[], None]) -> Callable[[], None]:
            def notice() -> None:
                waiting = [accepted for inbox in inboxes for accepted in inbox._open.values()]
                concerned = [accepted.bundle for accepted in waiting if self._concerns(accepted.bundle)]
                if self.is_armed and not self.told and waiting and len(concerned) == len(waiting):
                    senders = {bundle.sender for bundle in concerned}
                    if len(senders if self._with_seqs else concerned) < 2:
                        self.node.pipeline.sequencer._has_work = True  # stopping seals it all the same
                        return
                notice_work()

            return notice

        return make

    def _concerns(self, bundle: Bundle) -> bool:
        """Whether the victim receives all of it, along with others."""
        return all(
            len(members.device_ids) > 1 and (self._victim is None or members.index(self._victim) >= 0)
            for members in bundle.recipients
        )

    def edit(self, merged: MergedEpoch, outbox: int) -> MergedEpoch:
        if not self.is_armed or self.told:
            return merged
        for mailbox in sorted(merged.parts) if self._victim is None else [self._victim]:
            parts = merged.parts.get(mailbox, [])
            for i, j in combinations(range(len(parts)), 2):
                if not self._can_swap(parts[i].bundle, parts[j].bundle):
                    continue
                if self._skip:
                    self._skip -= 1
                    return merged
                swapped = list(parts)
                one, other = parts[i], parts[j]
                if self._with_seqs:
                    one = self.shadows.place(parts[i].bundle, parts[j].first_seq, parts[i].indexes)
                    other = self.shadows.place(parts[j].bundle, parts[i].first_seq, parts[j].indexes)
                swapped[i], swapped[j] = other, one
                self.tell(merged.epoch, mailbox, parts[i].first_seq)
                return merged._replace(parts=merged.parts | {mailbox: swapped})
        return merged

    def _can_swap(self, one: Bundle, other: Bundle) -> bool:
        if not self._concerns(one) or not self._concerns(other):
            return False
        return not self._with_seqs or (one.sender != other.sender and one.count == other.count)


class RestartMailbox(Lie):
    """With the message, the victim's history begins anew: all that it had before never was."""

    def change(self, node: Node) -> None:
        for outbox in node.pipeline.outboxes:
            replace(outbox, "step", partial(self._restarting, outbox))

    def victims_among(self, bundle: Bundle, index: int) -> Iterator[bytes]:
        """Only a mailbox that has a past can lose it."""
        for victim in super().victims_among(bundle, index):
            if self._outbox(victim).states.get(map_key_of(victim)) is not None:
                yield victim

    def _outbox(self, mailbox: bytes) -> Outbox:
        return self.node.pipeline.outboxes[self.outbox_of(mailbox)]

    def _restarting(
        self, outbox: Outbox, step: Callable[[MergedEpoch], OutboxEpoch]
    ) -> Callable[[MergedEpoch], OutboxEpoch]:
        def restarting(merged: MergedEpoch) -> OutboxEpoch:
            target = self.target
            if target and merged.epoch == target.epoch and target.victim in merged.parts:
                history = new_history(target.victim, merged.epoch)
                value_hash = hash_state(MAILBOX_STATE.encode(history.state))
                outbox.states = outbox.states.update([(map_key_of(target.victim), value_hash, history)])
                self.tell(merged.epoch, target.victim, target.seq)
            return step(merged)

        return restarting
