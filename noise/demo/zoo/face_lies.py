"""Lies to one client at the last moment: all that is signed and stored is true, and it is shown something else.

Knows nothing of how the truth is made. What it shows to the victim it shows by every way: pushed, paged and over HTTP.
"""

from collections.abc import Awaitable, Callable
from functools import partial

import trio

from noise.demo.zoo.forgery import NOBODY, Forger, shifted
from noise.demo.zoo.lie import Facts, Lie, Target, replace
from noise.node import Node
from noise.pipeline.batches import CommittedEpoch
from noise.pipeline.fanout import Fanout, Subscriber
from noise.protocol.delta import Delta, Section
from noise.protocol.envelope import Bundle, Recipients, RecipientSet
from noise.protocol.frames import DeltaFrame, encode_frame, parse_frame

Spoil = Callable[[Delta, Section, int, Target], tuple[Delta, Section]]
"""(delta, section, the message's row in it, the message) -> both, with one thing changed."""


def spoil_payload(delta: Delta, section: Section, row: int, target: Target) -> tuple[Delta, Section]:
    """Other bytes of the same length, or one where there were none."""
    sizes = [one.common_len for one in section.rows]
    start = sum(sizes[:row])
    common = shifted(section.commons[start : start + sizes[row]])
    commons = section.commons[:start] + common + section.commons[start + sizes[row] :]
    rows = list(section.rows)
    rows[row] = rows[row]._replace(common_len=len(common))
    return delta, section._replace(commons=commons, rows=tuple(rows))


def spoil_ciphertext(delta: Delta, section: Section, row: int, target: Target) -> tuple[Delta, Section]:
    sizes = [one.ciphertext_len for one in section.rows]
    start, end = sum(sizes[:row]), sum(sizes[: row + 1])
    spoiled = section.ciphertexts[:start] + shifted(section.ciphertexts[start:end]) + section.ciphertexts[end:]
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
