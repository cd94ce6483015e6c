"""Lies about the log itself: two of them, one that went back, and one epoch that was signed twice.

Knows nothing of messages. Forks and rollbacks are what an operator does with files; each branch is an honest server.
"""

import shutil
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import trio

from noise.config import ServeOptions
from noise.demo.zoo.lie import Lie, replace
from noise.keys import HighWater
from noise.node import Layout, Node, open_node
from noise.pipeline.batches import Answer, CommittedEpoch, OutboxEpoch
from noise.pipeline.fanout import Subscriber
from noise.pipeline.sequencer import Pace, Sealed
from noise.protocol.checkpoint import Checkpoint, sign_checkpoint
from noise.protocol.delta import DELTA_SHARED, DeltaShared, SignedHead
from noise.protocol.encoding import Codec
from noise.protocol.envelope import Bundle
from noise.protocol.errors import Rejected
from noise.protocol.frames import DELTA_PREFIX
from noise.protocol.history import MAILBOX_STATE, History, map_key_of
from noise.protocol.identifiers import NO_EPOCH
from noise.protocol.merkle import CompactRange, Tree, leaf_hash
from noise.protocol.state_map import StateMap
from noise.protocol.statements import (
    EPOCH_HEAD,
    EPOCH_RECORD,
    EpochHead,
    EpochRecord,
    hash_statement,
    statement_leaf_hash,
)

_RECORD: Codec[EpochRecord] = EPOCH_RECORD
_HEAD: Codec[EpochHead] = EPOCH_HEAD
_APART_MS = 1_000  # two branches that run the same empty epoch in the same millisecond would not be two yet


class Fork(Lie):
    """Two groups of clients, each at a port of its own, are shown two logs that go apart where serving began.

    What a client of one group sends is sequenced in both: nobody misses a message, and everybody finds keys to seal for
    everybody. It begins when it is served, armed or not.
    """

    needs_start = True
    divides = True

    def branches(self, data: Path) -> list[Path]:
        other = data.with_name(f"{data.name}.other-group")
        if other.exists():
            shutil.rmtree(other)
        shutil.copytree(data, other)
        return [data, other]

    def connect(self, nodes: Sequence[Node]) -> None:
        one, other = [node.pipeline for node in nodes]
        submit_one, submit_other = one.submit, other.submit
        replace(one, "submit", lambda own: _both(own, submit_other))
        replace(other, "submit", lambda own: _both(own, submit_one))
        for name in ("add_prekeys", "take_prekey", "count_prekeys"):
            setattr(nodes[1].store, name, getattr(nodes[0].store, name))
        replace(other.sequencer, "_time_ms", lambda time_ms: lambda: time_ms() + _APART_MS)
        self.tell(one.sequencer.log.size, b"")


Submit = Callable[[bytes, Answer], Awaitable[None]]


def _both(own: Submit, other: Submit) -> Submit:
    async def submit(data: bytes, answer: Answer) -> None:
        await own(data, answer)
        with suppress(trio.ClosedResourceError):  # the other branch stops first
            await other(data, lambda _: None)

    return submit


class Rollback(Lie):
    """The state of the day on which serving began is restored, and the high-water mark that would tell is renewed.

    With the message everything since is gone. Before it answers again, the liar runs empty epochs until its log is
    longer than any that a client has verified: a shorter one would be too easy to see. Nor does it turn away, as an
    honest server would, a client whose cursor has records that are gone.
    """

    needs_start = True

    def branches(self, data: Path) -> list[Path]:
        self._backup = data.with_name(f"{data.name}.backup")
        if self._backup.exists():
            shutil.rmtree(self._backup)
        shutil.copytree(Layout(data).database.parent, self._backup)
        return [data]

    def change(self, node: Node) -> None:
        if self.told:
            replace(node.pipeline.fanout, "catch_up", self._taking_back)
        else:
            replace(node.pipeline.fanout, "_publish", self._ending)

    def _taking_back(
        self, catch_up: Callable[[Subscriber], Awaitable[bytes]]
    ) -> Callable[[Subscriber], Awaitable[bytes]]:
        async def taking_back(subscriber: Subscriber) -> bytes:
            fanout, cursor, mailbox = self.node.pipeline.fanout, subscriber.cursor, subscriber.device_id
            if fanout.view is None:
                return await catch_up(subscriber)
            history = fanout.view.outboxes[self.outbox_of(mailbox)].states.get(map_key_of(mailbox))
            size, last_epoch = (history.state.hist_size, history.state.last_epoch) if history else (0, NO_EPOCH)
            if cursor.hist_size <= size:
                try:
                    return await catch_up(subscriber)
                except Rejected as refusal:  # the mailbox has had other records since
                    if refusal.code != "bad-cursor":
                        raise
            subscriber.cursor = cursor._replace(hist_size=size, hist_next=size, last_epoch=last_epoch)
            await fanout._log.prepare(self.node.store, cursor.log_size)
            return fanout._heartbeat(fanout.view, subscriber)

        return taking_back

    def _ending(
        self, publish: Callable[[CommittedEpoch], Awaitable[None]]
    ) -> Callable[[CommittedEpoch], Awaitable[None]]:
        async def ending(epoch: CommittedEpoch) -> None:
            await publish(epoch)
            if self.target is not None:
                self.restart_wanted.set()

        return ending

    async def between(self, options: ServeOptions) -> None:
        old_size = self.node.pipeline.sequencer.log.size
        layout = Layout(options.data)
        shutil.rmtree(layout.database.parent)
        shutil.copytree(self._backup, layout.database.parent)
        HighWater(layout.keys).renew()
        async with open_node(options) as node, trio.open_nursery() as nursery:
            pipeline, grown = node.pipeline, trio.Event()
            first_epoch = pipeline.sequencer.log.size
            pipeline.sequencer._pace = Pace(0, 0)
            pipeline.fanout.on_shown = lambda epoch: grown.set() if epoch.epoch >= old_size else None
            nursery.start_soon(pipeline.run)
            await grown.wait()
            pipeline.stop()
        if self.target is not None:
            self.tell(first_epoch, self.target.victim, self.target.seq)


class _Resigned(NamedTuple):
    """An epoch as it was not: `shared` for the victim's outbox, and the states under its head."""

    epoch: int
    shared: bytes
    states: StateMap[History]


class Resign(Lie):
    """The epoch of the message is signed a second time: as if its outbox had had nothing to deliver.

    The victim is shown both: the true one, and whenever it stands there, the other. All others see the true one only.
    """

    def change(self, node: Node) -> None:
        self._resigned: _Resigned | None = None
        replace(node.pipeline.sequencer, "step", self._signing_twice)
        replace(node.pipeline.fanout, "_publish", self._publishing_twice)
        replace(node.pipeline.fanout, "catch_up", self._paging)

    def victims_among(self, bundle: Bundle, index: int) -> Iterator[bytes]:
        """Whoever is not connected may never hear of it."""
        listening = self.node.pipeline.fanout._subscribers
        return (victim for victim in super().victims_among(bundle, index) if victim in listening)

    def _signing_twice(
        self, step: Callable[[Sequence[OutboxEpoch]], tuple[Sealed, CommittedEpoch]]
    ) -> Callable[[Sequence[OutboxEpoch]], tuple[Sealed, CommittedEpoch]]:
        def twice(results: Sequence[OutboxEpoch]) -> tuple[Sealed, CommittedEpoch]:
            sequencer, view = self.node.pipeline.sequencer, self.node.pipeline.fanout.view
            before = sequencer.log.range
            sealed, committed = step(results)
            target = self.target
            if target is not None and view is not None and target.epoch == committed.epoch:
                number = self.outbox_of(target.victim)
                self._resigned = self._resign(number, view.outboxes[number].states, before, sealed)
            return sealed, committed

        return twice

    def _resign(self, number: int, states: StateMap[History], before: CompactRange, sealed: Sealed) -> _Resigned:
        """`states`: those of outbox `number` before the epoch."""
        pipeline, write = self.node.pipeline, sealed.epoch
        slots = pipeline.outboxes[number]._slots
        bodies = {row.statement.actor: row.statement.body for row in sealed.kept}
        head = _HEAD.decode(bodies[slots.actor])
        body = _HEAD.encode(head._replace(map_root=states.root_hash, map_count=states.count))
        bodies[slots.actor] = body
        signed = slots._signer.sign("head", self.node.origin, body)
        statements = Tree([statement_leaf_hash(actor, hash_statement(actor, one)) for actor, one in bodies.items()])
        record = _RECORD.encode(_RECORD.decode(write.record)._replace(statements_root=statements.root))
        log = before.append(leaf_hash(record))
        sequencer = pipeline.sequencer
        note = sign_checkpoint(sequencer._log_signer, Checkpoint(sequencer._log_name, log.size, log.root()))
        proof = tuple(statements.inclusion(list(bodies).index(slots.actor)))
        shared = DELTA_SHARED.encode(DeltaShared(note, record, SignedHead(*signed), proof))
        return _Resigned(write.epoch, shared, states)

    def _publishing_twice(
        self, publish: Callable[[CommittedEpoch], Awaitable[None]]
    ) -> Callable[[CommittedEpoch], Awaitable[None]]:
        async def twice(epoch: CommittedEpoch) -> None:
            await publish(epoch)
            fanout = self.node.pipeline.fanout
            if self._resigned is not None and self._resigned.epoch == epoch.epoch and self.target is not None:
                for subscriber in tuple(fanout._subscribers.get(self.target.victim, ())):
                    fanout._push(subscriber, self._frame(self._resigned, subscriber))

        return twice

    def _paging(self, catch_up: Callable[[Subscriber], Awaitable[bytes]]) -> Callable[[Subscriber], Awaitable[bytes]]:
        async def paging(subscriber: Subscriber) -> bytes:
            target, resigned = self.target, self._resigned
            is_victim = target is not None and subscriber.device_id == target.victim
            if resigned is None or not is_victim or subscriber.cursor.log_size != resigned.epoch + 1:
                return await catch_up(subscriber)
            return self._frame(resigned, subscriber)

        return paging

    def _frame(self, resigned: _Resigned, subscriber: Subscriber) -> bytes:
        """The epoch as it was not, as a heartbeat."""
        key = map_key_of(subscriber.device_id)
        history = resigned.states.get(key)
        state = MAILBOX_STATE.encode(history.state) if history else b""
        reached = subscriber.cursor[2:]
        self.tell(resigned.epoch, subscriber.device_id, self.target.seq if self.target else b"")
        return self.node.pipeline.fanout._encode_delta(
            *(DELTA_PREFIX + resigned.shared, resigned.epoch, subscriber, {}, state, resigned.states.prove(key)),
            *([], [], reached),
        )
