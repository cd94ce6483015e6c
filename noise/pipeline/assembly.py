"""Builds the pipeline from what was recovered, opens its channels and starts its nurseries.

The only file that sees the whole graph: submissions -> inbox -> router -> exchange -> receiver -> outbox -> sequencer
-> store -> fanout. Knows nothing of HTTP or sockets.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import trio

from noise.exchange.base import Exchange
from noise.pipeline.acks import AckTable
from noise.pipeline.batches import (
    Answer,
    CommittedEpoch,
    MergedEpoch,
    OutboxEpoch,
    RoutedLane,
    SealedLane,
    Submission,
)
from noise.pipeline.challenges import run_answering
from noise.pipeline.custody import CustodyDesk
from noise.pipeline.fanout import Fanout
from noise.pipeline.inbox import EpochLimits, Inbox
from noise.pipeline.lanes import load_lane
from noise.pipeline.outbox import Outbox
from noise.pipeline.receiver import Receiver
from noise.pipeline.recovery import Recovered
from noise.pipeline.router import Router
from noise.pipeline.sequencer import Pace, Sequencer
from noise.pipeline.slots import Slots
from noise.pipeline.topology import Topology
from noise.protocol.checkpoint import log_name_of
from noise.protocol.delta import SignedRoster
from noise.protocol.envelope import BUNDLE_KEY_AT, Bundle
from noise.protocol.errors import DecodeError, Rejected
from noise.protocol.identifiers import Actor, Role, device_id_of
from noise.protocol.limits import EPOCH_BYTES_MAX, EPOCH_DELIVERIES_MAX, EPOCH_MESSAGES_MAX
from noise.protocol.placement import Rendezvous, actors_of
from noise.protocol.signing import Signed, Signer
from noise.protocol.stages import receiver_of, router_of
from noise.protocol.statements import ROSTER
from noise.store.base import Store
from noise.store.custody import Custody

_SUBMISSIONS_WAITING = 64
_RECIPIENT_IDS_REMEMBERED = 1 << 18
_NO_STATEMENT = bytes(32)


class HighWaterMark(Protocol):
    """Told after each durable write how far was signed."""

    def sealed(self, next_epoch: int) -> None: ...

    def committed(self, next_epoch: int) -> None: ...


class Pipeline:
    """All stages of one provider. `signer_of` finds an actor's key; `time_ms` is the wall clock."""

    def __init__(
        self,
        recovered: Recovered,
        store: Store,
        custody: Custody,
        topology: Topology,
        rosters: Sequence[SignedRoster],
        *,
        signer_of: Callable[[Actor, int], Signer],
        time_ms: Callable[[], int],
        high_water: HighWaterMark,
        mailboxes_max: int,
        make_exchange: Callable[[int], Exchange[RoutedLane]],
    ) -> None:
        roster = recovered.in_force.roster
        self._in_force = recovered.in_force
        self._rosters = [ROSTER.decode(signed.body) for signed in rosters]
        self._store = store
        self._recovered = recovered
        self._topology = topology
        self._signer_of = signer_of
        self._make_exchange = make_exchange
        self._mailboxes_max = mailboxes_max
        inboxes, outboxes = actors_of(roster, Role.INBOX), actors_of(roster, Role.OUTBOX)
        self._lane_of = Rendezvous(inboxes)
        mailbox_placement = Rendezvous(outboxes)
        self.acks = AckTable()
        self.challenges = recovered.challenges
        pace = Pace(roster.parameters.epoch_ms / 1000, roster.parameters.idle_ms / 1000)
        sequencer_slots = self._slots(Actor(Role.SEQUENCER, 0, 0), "open")
        log_actor = Actor(Role.LOG, 0, 0)
        self.sequencer = Sequencer(
            sequencer_slots,
            signer_of(log_actor, roster.entry(log_actor).incarnation),
            log_name_of(roster.origin),
            recovered.log,
            store,
            custody,
            recovered.in_force,
            last_time_ms=recovered.last_time_ms,
            time_ms=time_ms,
            sender_caches=recovered.senders,
            acks=self.acks,
            challenges=self.challenges,
            pace=pace,
            on_durable=high_water.committed,
        )
        self.inboxes = [self._inbox(actor, high_water) for actor in inboxes]
        self.routers = [self._router(router_of(actor.encode()), mailbox_placement, outboxes) for actor in inboxes]
        self.receivers = [self._receiver(actor, mailbox_placement) for actor in outboxes]
        self.outboxes = [self._outbox(actor, mailbox_placement) for actor in outboxes]
        heartbeat_s = roster.parameters.heartbeat_ms / 1000
        self.fanout = Fanout(recovered.log, store, rosters, mailbox_placement, heartbeat_s=heartbeat_s)
        self.custody_desk = CustodyDesk(store, custody, rosters, recovered.log, lambda: self.fanout.view)
        self._submissions = [trio.open_memory_channel[Submission](_SUBMISSIONS_WAITING) for _ in inboxes]

    def _slots(self, actor: Actor, label: str) -> Slots:
        roster = self._in_force.roster
        entry = roster.entry(actor)
        signer = self._signer_of(actor, entry.incarnation)
        return Slots(signer, label, roster.origin, actor, entry.incarnation, self._recovered.log.size)

    def _previous(self, actor: Actor) -> bytes:
        """The hash of the last statement of this incarnation of an actor."""
        incarnation = self._in_force.roster.entry(actor).incarnation
        return self._recovered.previous.get((actor.encode(), incarnation), _NO_STATEMENT)

    def _router(self, actor: Actor, placement: Rendezvous, outboxes: Sequence[Actor]) -> Router:
        return Router(
            self._slots(actor, "route"),
            self._in_force,
            placement,
            outboxes,
            previous=self._previous(actor),
            run_step=self._topology.run_step,
        )

    def _receiver(self, outbox: Actor, placement: Rendezvous) -> Receiver:
        actor = receiver_of(outbox)
        return Receiver(
            self._slots(actor, "merge"),
            self._in_force,
            placement,
            outbox,
            previous=self._previous(actor),
            run_step=self._topology.run_step,
        )

    def _inbox(self, actor: Actor, high_water: HighWaterMark) -> Inbox:
        recovered, n = self._recovered, len(self._recovered.senders)
        return Inbox(
            self._in_force.roster.lane_of(actor.encode()),
            self._slots(actor, "manifest"),
            recovered.senders[actor.number],
            self._store,
            epoch=recovered.log.size,
            next_id=recovered.next_ids[actor.number],
            previous=self._previous(actor),
            limits=EpochLimits(
                EPOCH_MESSAGES_MAX // n,
                EPOCH_BYTES_MAX // n,
                EPOCH_DELIVERIES_MAX // n,
                self._topology.bundles_per_epoch,
                _RECIPIENT_IDS_REMEMBERED // n,
            ),
            rosters=self._rosters,
            check_quota=self._check_quota,
            on_work=self.sequencer.notice_work,
            on_durable=high_water.sealed,
            run_step=self._topology.run_step,
        )

    def _outbox(self, actor: Actor, placement: Rendezvous) -> Outbox:
        recovered = self._recovered
        return Outbox(
            actor,
            self._slots(actor, "head"),
            self._in_force,
            placement,
            recovered.states[actor.number],
            previous=self._previous(actor),
            writeback=recovered.writebacks[actor.number],
            run_step=self._topology.run_step,
        )

    def _check_quota(self, bundle: Bundle) -> None:
        """Raises Rejected when a bundle would make mailboxes beyond the operator's limit."""
        fanout = self.fanout
        if fanout.mailbox_count() < self._mailboxes_max:
            return
        if not all(fanout.has_mailbox(device_id) for members in bundle.recipients for device_id in members.device_ids):
            raise Rejected("no new mailboxes here: the provider has as many as it may", code="mailbox-quota")

    async def submit(self, data: bytes, answer: Answer) -> None:
        """Hand an encoded bundle to its sender's inbox; waits while that is behind. `answer` is called once, later.

        Raises DecodeError for bytes that cannot be a bundle, and trio.ClosedResourceError while stopping.
        """
        key = data[BUNDLE_KEY_AT : BUNDLE_KEY_AT + 32]
        if len(key) < 32:
            raise DecodeError("a bundle ends before its key")
        lane = self._lane_of.number(device_id_of(key))
        await self._submissions[lane][0].send(Submission(data, answer))

    def sign_challenge_receipt(self, body: bytes) -> Signed:
        """The log's promise that a challenge is in it."""
        return self._sign(Actor(Role.LOG, 0, 0), "challenge", body)

    def sign_admission(self, actor: Actor, body: bytes) -> Signed:
        """An actor's word that it is to blame."""
        return self._sign(actor, "admission", body)

    def _sign(self, actor: Actor, label: str, body: bytes) -> Signed:
        roster = self._in_force.roster
        return self._signer_of(actor, roster.entry(actor).incarnation).sign(label, roster.origin, body)

    def stop(self) -> None:
        """Accept nothing more. `run` returns when all that was accepted is committed and shown."""
        for send, _ in self._submissions:
            send.close()

    async def finish_pending(self) -> CommittedEpoch | None:
        """End the epoch that a crash interrupted, from the manifests that are durable. Before `run`.

        Raises StoreCorrupt when these, or their bundles, are not what was signed.
        """
        if not self._recovered.pending:
            return None
        stored = {manifest.lane: manifest for manifest in self._recovered.pending}
        merged: list[list[RoutedLane]] = [[] for _ in self.outboxes]
        for inbox, router in zip(self.inboxes, self.routers, strict=True):
            manifest = stored.get(inbox.lane)
            if manifest is None:
                sealed, write, _ = inbox.seal(self.sequencer.log.size)
                await inbox.write(write)
            else:
                statement = manifest.statement
                previous = self._recovered.previous.get((statement.actor, statement.incarnation), _NO_STATEMENT)
                sealed, _ = await load_lane(self._store, manifest, self._in_force.roster, previous)
            for batches, routed in zip(merged, router.step(sealed), strict=True):
                batches.append(routed)
        results = [
            outbox.step(receiver.step(lanes))
            for outbox, receiver, lanes in zip(self.outboxes, self.receivers, merged, strict=True)
        ]
        sealed_epoch, committed = self.sequencer.step(results)
        await self.sequencer.commit(sealed_epoch)
        return committed

    async def run(self) -> None:
        """Run every stage until `stop`. Whatever a stage raises ends them all: the store has what is needed."""
        n_outboxes = len(self.outboxes)
        exchange = self._make_exchange(n_outboxes)
        results_send, results_receive = trio.open_memory_channel[OutboxEpoch](n_outboxes)
        committed_send, committed_receive = trio.open_memory_channel[CommittedEpoch](0)
        cuts = [trio.open_memory_channel[int](0) for _ in self.inboxes]
        self.sequencer.notice_work()  # clients are shown an epoch of this run, never one from before
        async with trio.open_nursery() as answering:
            answering.start_soon(self._run_answering)
            async with trio.open_nursery() as nursery:
                start = nursery.start_soon
                start(self.fanout.run, committed_receive)
                start(self.sequencer.run, [send for send, _ in cuts], results_receive, committed_send, n_outboxes)
                with results_send:
                    for number, (receiver, outbox) in enumerate(zip(self.receivers, self.outboxes, strict=True)):
                        merged_send, merged_receive = trio.open_memory_channel[MergedEpoch](1)
                        start(receiver.run, exchange.arrivals(number), merged_send)
                        start(outbox.run, merged_receive, results_send.clone())
                start(self._run_lanes, [receive for _, receive in cuts], exchange)
                async with trio.open_nursery() as accepting:
                    for inbox, (_, submissions) in zip(self.inboxes, self._submissions, strict=True):
                        accepting.start_soon(inbox.run_accepting, submissions)
                        start(inbox.run_reissuing)
                self.sequencer.stop()
            answering.cancel_scope.cancel()

    async def _run_answering(self) -> None:
        """Actors answer from what is shown, and at once when something is."""
        await self.fanout.ready.wait()
        await run_answering(self.challenges, self.custody_desk)

    async def _run_lanes(
        self, cuts: Sequence["trio.MemoryReceiveChannel[int]"], exchange: Exchange[RoutedLane]
    ) -> None:
        """Inboxes seal and routers route; when the last lane has ended, so has the exchange."""
        try:
            async with trio.open_nursery() as nursery:
                for inbox, router, lane_cuts in zip(self.inboxes, self.routers, cuts, strict=True):
                    send, receive = trio.open_memory_channel[SealedLane](1)
                    nursery.start_soon(inbox.run_sealing, lane_cuts, send)
                    nursery.start_soon(router.run, receive, exchange)
        finally:
            exchange.close()
