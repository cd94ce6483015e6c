"""The load generator: a process of its own, with one connection per mailbox and one thread, no framework in between.

    python -m tests.load.generator < plan.json > outcome.json

Knows nothing of scenarios or targets: it carries out a plan (see `tests.load.plan`). A delivery counts when the frame
that brings it was received whole and parsed at its recipient. All frames are kept, and verified after the last phase.
"""

import gc
import random
import resource
import select
import sys
import time
from array import array
from collections import deque
from functools import partial
from itertools import cycle
from typing import NamedTuple
from urllib.parse import urlsplit

from noise.protocol.errors import NoiseError
from noise.protocol.frames import (
    DeltaFrame,
    PingFrame,
    PongFrame,
    ReceiptFrame,
    RefusalFrame,
    encode_frame,
    parse_frame,
)
from noise.protocol.identifiers import parse_id
from tests.load.forked import map_forked, note
from tests.load.machine import machine_busy_s, process_cpu_s, process_memory
from tests.load.peer import Peer
from tests.load.plan import Measured, Outcome, Phase, Plan, encode_outcome, parse_plan
from tests.load.population import Content, Device, Stocked, recipients_of, strangers
from tests.load.verification import Client, Verdict, compare, remember_signatures, verify_mailbox
from tests.load.wire import WireError, encode_message

_RECEIVE_BYTES = 1 << 20
_STRANGERS_PER_MESSAGE = 1000
_CLOSED_LOOP_STOCK = 150_000  # deliveries per second for which bundles are made beforehand; more are made as needed
_PING_S = 20.0
_STUCK_S = 30.0
_TICK_S = 0.02
_COMPLAINTS_MAX = 20
_PERCENTILES = (50, 90, 99, 99.9, 100)
_PING = encode_message(encode_frame(PingFrame(bytes(16))))
_EPOCH_IN_RECORD = slice(2, 10)  # u16 record type, u64 epoch


class _Snapshot(NamedTuple):
    """Everything that is counted, at one moment."""

    at: float
    deliveries: int
    frames: int
    epoch: int
    down_bytes: int
    up_bytes: int
    server_cpu_s: float
    generator_cpu_s: float
    machine_s: float


class Generator:
    """All connections, and what came over them."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.origin = parse_id(plan.origin)
        self.content = Content(plan.payload_bytes, plan.is_sealed)
        n, size = plan.mailboxes, plan.group_size
        devices = [Device(number) for number in range(n)]
        self.groups = [list(range(first, min(first + size, n))) for first in range(0, n, size)]
        self.peers: list[Peer] = []
        for group in self.groups:
            recipients = recipients_of([devices[i].device_id for i in group])
            self.peers += [Peer(devices[i], recipients, self._live_client(devices[i])) for i in group]
        self.senders = [self.peers[i] for group in self.groups for i in group[: plan.senders_per_group]]
        if any(phase.strangers for phase in plan.phases):
            self.groups.append([n])
            device = Device(n)
            self.peers.append(Peer(device, recipients_of([device.device_id]), None))
        self.receipts = self.receipts_verified = self.verified_live = 0
        self.complaints: list[str] = []
        self._deliveries = self._frames = self._down_bytes = self._up_bytes = 0
        self._expected = 0
        self._epoch = 0
        self._window = 0
        self._bundle = 0
        self._sent_at: dict[tuple[bytes, int], float] = {}
        self._latencies = array("d")
        self._latency_from = self._latency_until = float("inf")
        self._buffer = bytearray(_RECEIVE_BYTES)
        self._view = memoryview(self._buffer)
        self._epoll = select.epoll()
        self._by_fd: dict[int, Peer] = {}
        self._next_visit = 0
        self._visits_from = 0.0

    def _live_client(self, device: Device) -> Client | None:
        if device.number % self.plan.sample:
            return None
        return Client(self.origin, device.device_id)

    # --- connections

    def connect(self) -> None:
        """Open all connections, and wait for the first delta on each."""
        parts = urlsplit(self.plan.url)
        started = time.monotonic()
        for peer in self.peers:
            peer.connect(parts.hostname or "", parts.port or 80, self.origin)
            fd = peer.sock.fileno()
            self._by_fd[fd] = peer
            self._epoll.register(fd, select.EPOLLIN)
        while not all(peer.frames for peer in self.peers):
            self._poll(0.1)
            self._check_progress(started)
        note(f"connected: {len(self.peers):,} in {time.monotonic() - started:.1f} s")

    def close(self) -> None:
        for peer in self.peers:
            peer.sock.close()

    def _check_progress(self, since: float) -> None:
        if time.monotonic() - since > _STUCK_S:
            raise WireError(f"nothing went on for {_STUCK_S:.0f} s; {self._expected - self._deliveries} are missing")

    def _poll(self, timeout_s: float) -> None:
        for fd, event in self._epoll.poll(max(0.0, timeout_s)):
            peer = self._by_fd[fd]
            if event & select.EPOLLOUT:
                peer.flush()
                if not peer.unsent:
                    self._epoll.modify(fd, select.EPOLLIN)
            if event & ~select.EPOLLOUT:
                self._receive(peer)

    def _receive(self, peer: Peer) -> None:
        size = peer.sock.recv_into(self._buffer)
        if size == 0:
            raise WireError("closed by the server, without a word")
        self._down_bytes += size
        for payload in peer.take(self._view[:size]):
            frame = parse_frame(payload)
            if isinstance(frame, DeltaFrame):
                self._on_delta(peer, payload, frame)
            elif isinstance(frame, ReceiptFrame):
                self._on_receipt(peer, frame)
            elif isinstance(frame, RefusalFrame):
                raise WireError(f"a bundle was refused: {frame.code}: {frame.detail}")
            elif not isinstance(frame, PongFrame):
                raise WireError(f"the server sent {type(frame).__name__}")

    def _send(self, peer: Peer, frame: bytes) -> None:
        had_unsent = bool(peer.unsent)
        peer.send(frame)
        self._up_bytes += len(frame)
        if peer.unsent and not had_unsent:
            self._epoll.modify(peer.sock.fileno(), select.EPOLLIN | select.EPOLLOUT)

    # --- what comes

    def _on_delta(self, peer: Peer, payload: bytes, frame: DeltaFrame) -> None:
        now = time.monotonic()
        delta = frame.delta
        peer.frames.append(payload)
        self._frames += 1
        self._epoch = max(self._epoch, int.from_bytes(delta.shared.record[_EPOCH_IN_RECORD], "big"))
        for entry in delta.history:
            for section in entry.sections:
                n = len(section.rows)
                peer.n_deliveries += n
                self._deliveries += n
                sent_at = self._sent_at.get((section.key, section.first_ctr), 0.0)
                if self._latency_from <= sent_at < self._latency_until:
                    self._latencies.append(now - sent_at)
        if delta.history:
            peer.last_state = delta.state
            peer.is_ack_due = True
        if peer.client is not None:
            self.verified_live += len(peer.client.follow(delta))

    def _on_receipt(self, peer: Peer, frame: ReceiptFrame) -> None:
        stocked = peer.outstanding.pop(frame.request, None)
        if stocked is None:
            raise WireError(f"a receipt for request {frame.request}, which was not made or was answered before")
        self.receipts += 1
        if peer.client is not None:
            peer.client.check_receipt(frame.receipt, stocked.frame[-stocked.bundle_bytes :])
            self.receipts_verified += 1
        if self._window:
            self._send_next(peer, time.monotonic())

    # --- what goes

    def _send_next(self, peer: Peer, scheduled: float) -> None:
        device = peer.device
        if peer.stock:
            stocked = peer.stock.popleft()
        else:
            stocked = device.make_bundles(self.origin, peer.recipients, self.content, self._bundle, 1)[0]
        self._send_bundle(peer, stocked, scheduled, len(peer.recipients.device_ids))

    def _send_bundle(self, peer: Peer, stocked: Stocked, scheduled: float, n_recipients: int) -> None:
        peer.device.pass_over(stocked)
        peer.outstanding[stocked.request] = stocked
        peer.n_sent += stocked.n_messages
        self._expected += stocked.n_messages * n_recipients
        self._sent_at[peer.device.key, stocked.first_ctr] = scheduled
        self._send(peer, stocked.frame)

    def _visit(self, now: float) -> None:
        """Acknowledge, or show that the client is there: each connection in turn, once per interval."""
        interval = self.plan.ack_s or _PING_S
        due = int((now - self._visits_from) / interval * len(self.peers))
        for number in range(self._next_visit, due):
            peer = self.peers[number % len(self.peers)]
            if self.plan.ack_s and peer.is_ack_due:
                self._send(peer, peer.make_ack(self.origin, self._epoch))
            elif number // len(self.peers) % max(1, int(_PING_S / interval)) == 0:
                self._send(peer, _PING)
        self._next_visit = max(self._next_visit, due)

    # --- phases

    def run(self, phase: Phase) -> Measured | None:
        """Carry out a phase; what was measured, if anything was to be."""
        self._sent_at.clear()
        self._latencies = array("d")
        self._bundle = phase.bundle
        if phase.strangers:
            self._add_strangers(phase.strangers)
            return None
        offsets = self._prepare(phase)
        gc.freeze()
        gc.disable()
        start = self._visits_from = time.monotonic()
        self._next_visit = 0
        self._latency_from = start + phase.warm_up_s
        self._latency_until = self._latency_from + phase.seconds
        due = deque((start + offset, sender) for offset, sender in zip(offsets, cycle(self.senders), strict=False))
        self._window = 0 if phase.rate else phase.window
        for peer in self.senders:
            for _ in range(self._window):
                self._send_next(peer, time.monotonic())
        self._drive(due, self._latency_from)
        before = self._snapshot()
        self._drive(due, self._latency_until)
        after = self._snapshot()
        self._window = 0
        for peer in self.peers:
            peer.stock.clear()
        self._drain()
        gc.enable()
        return self._measured(phase.name, before, after)

    def _drive(self, due: deque[tuple[float, Peer]], until: float) -> None:
        """Send what is due when it is due, and take what comes."""
        while (now := time.monotonic()) < until:
            while due and due[0][0] <= now:
                scheduled, sender = due.popleft()
                self._send_next(sender, scheduled)
            self._visit(now)
            next_due = due[0][0] if due else until
            self._poll(min(next_due, until, now + _TICK_S) - time.monotonic())

    def _prepare(self, phase: Phase) -> list[float]:
        """Make bundles; when they are due, in seconds from the start (empty: a closed loop)."""
        per_bundle = phase.bundle * self.plan.group_size
        total_s = phase.warm_up_s + phase.seconds
        n_bundles = int((phase.rate or _CLOSED_LOOP_STOCK) * total_s / per_bundle)
        each = -(-n_bundles // len(self.senders))

        def make(number: int) -> list[Stocked]:
            peer = self.senders[number]
            return peer.device.make_bundles(self.origin, peer.recipients, self.content, phase.bundle, each)

        for peer, stock in zip(self.senders, map_forked(make, len(self.senders), "stocked senders"), strict=True):
            peer.stock.extend(stock)
        if not phase.rate:
            return []
        moments = random.Random(1)
        return sorted(moments.uniform(0, total_s) for _ in range(n_bundles))

    def _drain(self) -> None:
        """Wait until every message that was sent has come to everybody."""
        since, seen = time.monotonic(), -1
        while self._deliveries < self._expected or any(peer.outstanding for peer in self.senders):
            self._poll(0.1)
            now = time.monotonic()
            self._visit(now)
            if self._deliveries != seen:
                since, seen = now, self._deliveries
            self._check_progress(since)

    def _add_strangers(self, count: int) -> None:
        """One device writes to mailboxes that nobody has heard of."""
        peer = self.peers[-1]
        for first in range(0, count, _STRANGERS_PER_MESSAGE):
            named = strangers(peer.device.device_id, min(_STRANGERS_PER_MESSAGE, count - first))
            [stocked] = peer.device.make_bundles(self.origin, named, self.content, 1, 1)
            self._send_bundle(peer, stocked, time.monotonic(), 1)
            self._drain()
        note(f"added mailboxes: {count:,}")

    def _snapshot(self) -> _Snapshot:
        return _Snapshot(
            time.monotonic(),
            self._deliveries,
            self._frames,
            self._epoch,
            self._down_bytes,
            self._up_bytes,
            process_cpu_s(self.plan.server_pid),
            time.process_time(),
            machine_busy_s(),
        )

    def _measured(self, name: str, before: _Snapshot, after: _Snapshot) -> Measured:
        server_cpu_s = after.server_cpu_s - before.server_cpu_s
        generator_cpu_s = after.generator_cpu_s - before.generator_cpu_s
        memory = process_memory(self.plan.server_pid)
        return Measured(
            name,
            after.at - before.at,
            after.deliveries - before.deliveries,
            after.frames - before.frames,
            after.epoch - before.epoch,
            after.down_bytes - before.down_bytes,
            after.up_bytes - before.up_bytes,
            server_cpu_s,
            generator_cpu_s,
            max(0.0, after.machine_s - before.machine_s - server_cpu_s - generator_cpu_s),
            _percentiles(self._latencies),
            memory.resident,
            memory.peak,
        )

    # --- afterwards

    def verify(self) -> int:
        """Follow every mailbox through all its frames. The number of verified deliveries; adds complaints."""
        ids = [peer.device.device_id for peer in self.peers]
        remember_signatures()
        verify = partial(_verify, self.origin, self.peers)
        verdicts = map_forked(verify, len(self.peers), "verified mailboxes")
        sent = [peer.n_sent for peer in self.peers]
        counted = [peer.n_deliveries for peer in self.peers]
        self.complaints += compare(self.groups, ids, sent, counted, verdicts)[:_COMPLAINTS_MAX]
        return sum(verdict.n_deliveries for verdict in verdicts)


def _verify(origin: bytes, peers: list[Peer], number: int) -> Verdict:
    return verify_mailbox(origin, peers[number].device.device_id, peers[number].frames)


def _percentiles(seconds: "array[float]") -> dict[str, float]:
    """Nearest-rank percentiles, in ms."""
    ordered = sorted(seconds)
    if not ordered:
        return {}
    ranks = {p: max(0, min(len(ordered) - 1, -(-int(p * 10) * len(ordered) // 1000) - 1)) for p in _PERCENTILES}
    return {f"{p:g}": ordered[rank] * 1000 for p, rank in ranks.items()}


def main() -> int:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    generator = Generator(parse_plan(sys.stdin.read()))
    measured: list[Measured] = []
    try:
        generator.connect()
        for phase in generator.plan.phases:
            note(f"{phase.name} ...")
            result = generator.run(phase)
            measured += [result] if result else []
    except (WireError, NoiseError, OSError) as error:
        generator.complaints.append(f"{type(error).__name__}: {error}")
    generator.close()
    verified = generator.verify()
    outcome = Outcome(
        measured,
        verified,
        generator.verified_live,
        generator.receipts,
        generator.receipts_verified,
        generator.complaints,
    )
    print(encode_outcome(outcome))
    return 0


if __name__ == "__main__":
    sys.exit(main())
