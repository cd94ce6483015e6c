"""Lies in one mailbox, or in several: what was sequenced is not what is delivered there.

Knows nothing of sockets, the log or the store, nor of which stage tells them. Whoever it is, the mailbox's outbox signs
a state that commits to the lie, and live pushes, pages and HTTP show the same.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import combinations
from typing import Any

from noise.demo.zoo.forgery import Change, Forger, drafts_of
from noise.demo.zoo.inbox_lies import append
from noise.demo.zoo.lie import Facts, Lie, Target, replace
from noise.demo.zoo.shadows import held, without
from noise.demo.zoo.stages import Batch
from noise.demo.zoo.waiting import Waiting
from noise.node import Node
from noise.pipeline.batches import MergedEpoch, OutboxEpoch, Part
from noise.pipeline.inbox import Inbox
from noise.pipeline.outbox import Outbox
from noise.protocol.envelope import Bundle
from noise.protocol.errors import ProofError
from noise.protocol.history import MAILBOX_STATE, hash_state, map_key_of, new_history
from noise.protocol.identifiers import make_seq, parse_actor, parse_seq
from noise.store.base import Store

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

    def edit(self, batch: Batch) -> dict[bytes, list[Part]]:
        target = self.target
        if target is None or batch.epoch != target.epoch:
            return batch.parts
        edited = dict(batch.parts)
        for mailbox in self._losers(target):
            parts = batch.parts.get(mailbox, [])
            if any(target.is_in(part) for part in parts):
                left = [without(part, target.place) if target.is_in(part) else part for part in parts]
                edited[mailbox] = [part for part in left if part]
                self.tell(batch.epoch, mailbox, target.seq, batch.by)
        return {mailbox: parts for mailbox, parts in edited.items() if parts}


class EmptyRange(Lie):
    """From the message on, some epochs bring nothing to the victim."""

    def edit(self, batch: Batch) -> dict[bytes, list[Part]]:
        target = self.target
        if target is None or target.victim not in batch.parts or len(self.told) == EMPTY_EPOCHS:
            return batch.parts
        first, *_ = batch.parts[target.victim]
        self.tell(batch.epoch, target.victim, seq_of(first), batch.by)
        return {mailbox: parts for mailbox, parts in batch.parts.items() if mailbox != target.victim}


class Misroute(Lie):
    """The message is put where another outbox keeps mailboxes: the victim's own outbox never hears of it.

    An honest receiver would not sign it. That of the other outbox, and the outbox, do not look; then there is a state
    map with one mailbox too many, and nobody is shown that: it would give the lie away.
    """

    def edit_lane(self, batches: Sequence[Batch]) -> list[dict[bytes, list[Part]]]:
        target = self.target
        edited = [dict(batch.parts) for batch in batches]
        if target is None or target.epoch != batches[0].epoch or target.lane not in batches[0].n_messages:
            return edited
        own = self.outbox_of(target.victim)
        edited[(own + 1) % len(edited)][target.victim] = edited[own].pop(target.victim)
        self.tell(target.epoch, target.victim, target.seq, batches[own].by)
        return edited

    def change(self, node: Node) -> None:
        for outbox in node.pipeline.outboxes:
            replace(outbox, "step", partial(self._hiding, outbox))
        for actor in (*node.pipeline.receivers, *node.pipeline.outboxes):
            replace(actor, "check", self._looking_away)

    def _looking_away(self, check: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
        def looking_away(given: Any, items: Any) -> None:
            try:
                check(given, items)
            except ProofError:
                if self.target is None or self.target.epoch != given.epoch:
                    raise

        return looking_away

    def _hiding(
        self, outbox: Outbox, step: Callable[[MergedEpoch], OutboxEpoch]
    ) -> Callable[[MergedEpoch], OutboxEpoch]:
        def hiding(merged: MergedEpoch) -> OutboxEpoch:
            made = step(merged)
            if self.target is None or self.outbox_of(self.target.victim) == outbox.number:
                return made
            victim = self.target.victim
            return made._replace(
                touched={mailbox: one for mailbox, one in made.touched.items() if mailbox != victim},
                history=[row for row in made.history if row.mailbox != victim],
                caches=[row for row in made.caches if row.key != victim],
            )

        return hiding


class _Edit(Lie):
    """Changes what the victim gets in the epoch of the message."""

    def edit(self, batch: Batch) -> dict[bytes, list[Part]]:
        target = self.target
        if target is None or batch.epoch != target.epoch or target.victim not in batch.parts:
            return batch.parts
        parts = self.lie_about(target, batch, batch.parts[target.victim])
        parts.sort(key=lambda part: part.first_seq)
        return batch.parts | {target.victim: parts}

    def lie_about(self, target: Target, batch: Batch, parts: list[Part]) -> list[Part]:
        raise NotImplementedError


def seq_of(part: Part) -> bytes:
    """Of a part's first message."""
    epoch, lane, first_pos = parse_seq(part.first_seq)
    return make_seq(epoch, lane, first_pos + held(part)[0])


def free_seq(batch: Batch, target: Target) -> bytes:
    """Behind all that the message's lane has in this epoch, and all that the victim was given as if it were there."""
    pos = batch.n_messages[target.lane]
    for part in batch.parts.get(target.victim, []):
        _, lane, first_pos = parse_seq(part.first_seq)
        if lane == target.lane:
            pos = max(pos, first_pos + part.bundle.count)
    return make_seq(batch.epoch, target.lane, pos)


class ChangeContent(_Edit):
    """Something else at the position of the message, committed to by the victim's history."""

    def __init__(self, facts: Facts, change: Change) -> None:
        super().__init__(facts)
        self._change = change

    def lie_about(self, target: Target, batch: Batch, parts: list[Part]) -> list[Part]:
        self.tell(batch.epoch, target.victim, target.seq, batch.by)
        return [self._changed(target, part) if target.is_in(part) else part for part in parts]

    def _changed(self, target: Target, part: Part) -> Part:
        changed = self._change(part.bundle, target.place, target.victim)
        return self.shadows.place(changed, part.first_seq, part.indexes)


class ChangeSender(ChangeContent):
    """Another message at the position of the message, from a device of the liar's."""

    def __init__(self, facts: Facts) -> None:
        self._forger = Forger()
        super().__init__(facts, self._forger.change_sender)

    async def learn(self, store: Store, devices: Iterable[bytes], now_ms: int) -> None:
        await self._forger.take_prekeys(store, devices, now_ms)

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

    async def learn(self, store: Store, devices: Iterable[bytes], now_ms: int) -> None:
        await self._forger.take_prekeys(store, devices, now_ms)

    def change(self, node: Node) -> None:
        self._forger.learn_prekeys(node.store)

    def lie_about(self, target: Target, batch: Batch, parts: list[Part]) -> list[Part]:
        seq = free_seq(batch, target)
        self.tell(batch.epoch, target.victim, seq, batch.by)
        forged = self._forger.forge(target.bundle, [drafts_of(target.bundle)[target.place]])
        return [*parts, self.shadows.place(forged, seq)]


class Duplicate(_Edit):
    """The victim gets the message's bundle a second time, at positions that no lane has.

    An inbox sequences it twice, and so everybody gets it twice.
    """

    def before_sealing(self, inbox: Inbox, epoch: int) -> None:
        target = self.target
        if target is not None and (epoch, inbox.lane) == (target.epoch, target.lane):
            self.tell(epoch, target.victim, append(inbox, epoch, target.accepted), parse_actor(inbox._slots.actor))

    def lie_about(self, target: Target, batch: Batch, parts: list[Part]) -> list[Part]:
        seq = free_seq(batch, target)
        self.tell(batch.epoch, target.victim, seq, batch.by)
        part = next(part for part in parts if target.is_in(part))
        return [*parts, self.shadows.place(part.bundle, seq, part.indexes)]


class Replay(Lie):
    """The victim gets the message's bundle again, in an epoch after it. If an inbox does it, everybody does."""

    def before_sealing(self, inbox: Inbox, epoch: int) -> None:
        target = self.target
        if target is not None and not self.told and epoch > target.epoch and inbox.lane == target.lane:
            self.tell(epoch, target.victim, append(inbox, epoch, target.accepted), parse_actor(inbox._slots.actor))

    def edit(self, batch: Batch) -> dict[bytes, list[Part]]:
        target = self.target
        if target is None or batch.epoch <= target.epoch or batch.outbox != self.outbox_of(target.victim):
            return batch.parts
        if any(told.epoch < batch.epoch or told.by == batch.by for told in self.told):
            return batch.parts
        seq = free_seq(batch, target)
        self.tell(batch.epoch, target.victim, seq, batch.by)
        bundle = target.bundle
        mine = tuple(i for i, row in enumerate(bundle.rows) if bundle.recipients[row[0]].index(target.victim) >= 0)
        again = self.shadows.place(bundle, seq, mine if len(mine) < bundle.count else ())
        parts = sorted([*batch.parts.get(target.victim, []), again], key=lambda part: part.first_seq)
        return batch.parts | {target.victim: parts}


class Swap(Waiting):
    """Two messages of one epoch change places for the victim.

    `with_seqs`: each is shown at the other's position, and they are of two senders: one device's counters would betray
    it. Without: each keeps its position, and the later one comes first. A router needs both in one lane.
    """

    def __init__(self, facts: Facts, *, with_seqs: bool) -> None:
        super().__init__(facts)
        self._with_seqs = with_seqs

    def choose(self, inbox: Inbox, epoch: int) -> None:
        """There is no single message that it is about, nor a lane: the first two will do, wherever they meet."""

    def can_begin(self, bundles: Sequence[Bundle]) -> bool:
        return len({bundle.sender for bundle in bundles} if self._with_seqs else bundles) >= 2

    def edit(self, batch: Batch) -> dict[bytes, list[Part]]:
        if not self.is_armed or self.told:
            return batch.parts
        for mailbox in sorted(batch.parts) if self._victim is None else [self._victim]:
            parts = batch.parts.get(mailbox, [])
            for i, j in combinations(range(len(parts)), 2):
                if not self._can_swap(parts[i].bundle, parts[j].bundle):
                    continue
                if self._skip:
                    self._skip -= 1
                    return batch.parts
                swapped = list(parts)
                one, other = parts[i], parts[j]
                if self._with_seqs:
                    one = self.shadows.place(parts[i].bundle, parts[j].first_seq, parts[i].indexes)
                    other = self.shadows.place(parts[j].bundle, parts[i].first_seq, parts[j].indexes)
                swapped[i], swapped[j] = other, one
                self.tell(batch.epoch, mailbox, parts[i].first_seq, batch.by)
                return batch.parts | {mailbox: swapped}
        return batch.parts

    def _can_swap(self, one: Bundle, other: Bundle) -> bool:
        if not self.concerns(one) or not self.concerns(other):
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
                self.tell(merged.epoch, target.victim, target.seq, parse_actor(outbox._slots.actor))
            return step(merged)

        return restarting
