"""The provider of a world: a real pipeline on a store in memory, lived in lives that end well or badly.

Knows nothing of what is sent, nor of what devices make of it: they see bytes over a `Link`, and nothing else. The
server's side of a link does what the push face does, without sockets and without authentication.
"""

import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import trio

from noise.config import ServeOptions
from noise.node import Layout, Node, OpenState, build_node, sealed_epochs
from noise.pipeline.batches import CommittedEpoch
from noise.pipeline.recovery import load_rosters
from noise.protocol.delta import RecipientLists, SignedRoster
from noise.protocol.errors import NoiseError, Rejected
from noise.protocol.frames import (
    AckFrame,
    BundleFrame,
    Cursor,
    Receipt,
    ReceiptFrame,
    RefusalFrame,
    encode_frame,
    parse_frame,
)
from noise.protocol.identifiers import origin_of
from noise.protocol.merkle import consistency_proof
from noise.protocol.signing import Signed
from noise.protocol.statements import EPOCH_RECORD, ROSTER, Parameters, Roster, hash_roster
from noise.rosters import ROOT_KEY, delete_ended_keys, sign_roster
from noise.store.custody import Custody
from noise.store.memory import MemoryStore
from noise_client.log_watch import LogLookup, Lookup
from noise_client.witness import Witness
from tests.pipeline.faults import READS, STORE_WRITES, Crashed, Meter, MeteredMemory
from tests.pipeline.memory_provider import first_store
from tests.simulation.operator import NO_CHORES, NOWHERE, Chores, Operator, SeededRing, Vault

_SLOW_STORE = 0.1
_LINK_FRAMES_MAX = 16


class SeededKeys:
    """What `tests.pipeline.memory_provider.Keys` is, from a seed."""

    def __init__(self, seed: str, shape: tuple[int, int], parameters: Parameters) -> None:
        self.ring = SeededRing(seed)
        self.origin = origin_of(self.ring.create(ROOT_KEY).public_key)
        self.first_roster = sign_roster(self.ring, [], 0, shape, parameters)


class Mark:
    """The high-water mark, in memory. It outlives every life."""

    def __init__(self) -> None:
        self._sealed = 0
        self._committed = 0

    def open(self, sealed: int, committed: int) -> None:
        assert (sealed, committed) >= (self._sealed, self._committed), "the store lost what was signed"
        self._sealed, self._committed = sealed, committed

    def sealed(self, next_epoch: int) -> None:
        self._sealed = max(self._sealed, next_epoch)

    def committed(self, next_epoch: int) -> None:
        self._committed = next_epoch


class Life(NamedTuple):
    """One life of a provider. `seconds` until it is ended, from outside: gracefully, or by a kill. `meter`: what fails
    or crashes within. `seconds` None: until `Provider.end`."""

    shape: tuple[int, int]
    topology: str
    parameters: Parameters
    meter: Meter
    seconds: float | None
    is_killed: bool
    chores: Chores = NO_CHORES

    def options(self) -> ServeOptions:
        return ServeOptions(NOWHERE, "nowhere", 0, self.topology, *self.shape, *self.parameters[:3])._replace(
            custody_epochs=self.parameters.custody_epochs, challenge_epochs=self.parameters.challenge_epochs
        )


class Link:
    """Both directions of a connection, as bytes. Whatever is under way when it ends is lost."""

    def __init__(self, device_id: bytes, cursor: Cursor) -> None:
        self.device_id = device_id
        self.cursor = cursor
        self.down_send, self.down = trio.open_memory_channel[bytes](_LINK_FRAMES_MAX)
        self.up_send, self.up = trio.open_memory_channel[bytes](_LINK_FRAMES_MAX)
        self.scope = trio.CancelScope()
        """The server's side."""

    def close(self) -> None:
        """The link is lost, with all that is under way."""
        self.scope.cancel()
        for end in (self.down_send, self.down, self.up_send, self.up):
            end.close()

    def end(self) -> None:
        """The server's process ended: what it had sent before may still arrive."""
        self.down_send.close()
        self.up.close()


class Serving:
    """The server's side of a link: the fanout's Subscriber."""

    def __init__(self, node: Node, link: Link) -> None:
        self.device_id = link.device_id
        self.cursor = link.cursor
        self.lists = RecipientLists()
        self._node = node
        self._link = link
        self._greeted = trio.Event()

    def push_nowait(self, frame: bytes) -> None:
        try:
            self._link.down_send.send_nowait(frame)
        except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            self._link.close()  # a slow reader, or one that is gone

    def answer(self, request: int, outcome: Receipt | NoiseError) -> None:
        if isinstance(outcome, NoiseError):
            self.push_nowait(encode_frame(RefusalFrame(request, outcome.code, outcome.detail)))
        else:
            self.push_nowait(encode_frame(ReceiptFrame(request, outcome)))

    async def run(self) -> None:
        """Until the link ends."""
        fanout = self._node.pipeline.fanout
        try:
            with self._link.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._feed)
                    await self._read()
                    nursery.cancel_scope.cancel()
        finally:
            fanout.leave(self)
            self._link.end()

    async def _feed(self) -> None:
        fanout = self._node.pipeline.fanout
        try:
            await self._link.down_send.send(await fanout.catch_up(self))
            self._greeted.set()
            while not fanout.join(self):
                await self._link.down_send.send(await fanout.catch_up(self))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._link.close()

    async def _read(self) -> None:
        await self._greeted.wait()
        pipeline = self._node.pipeline
        try:
            async for data in self._link.up:
                frame = parse_frame(data)
                if isinstance(frame, AckFrame):
                    pipeline.acks.accept(frame, self._node.origin, self.device_id, self.cursor.hist_next)
                    continue
                assert isinstance(frame, BundleFrame)
                await self._submit(frame.request, frame.bundle)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
        except NoiseError:  # an ack that is none, or a frame: the push face ends the connection
            self._link.close()

    async def _submit(self, request: int, data: bytes) -> None:
        try:
            await self._node.pipeline.submit(data, lambda outcome: self.answer(request, outcome))
        except NoiseError as refusal:
            self.answer(request, refusal)
        except trio.ClosedResourceError:
            self.answer(request, Rejected("the provider is stopping: send again later", code="unavailable"))


def _slowed(base: Any, rng: random.Random) -> Any:
    """Store operations that take their time, now and then."""

    def slow(name: str) -> Any:
        async def operation(self: Any, *arguments: Any, **named: Any) -> Any:
            if rng.random() < _SLOW_STORE:
                await trio.sleep(rng.choice((0, 0.002, 0.3)))
            return await getattr(base, name)(self, *arguments, **named)

        return operation

    return type("SlowMemory", (base,), {name: slow(name) for name in (*STORE_WRITES, *READS)})


class Provider:
    """`on_node` is told of every life's node before it runs: the place where a lie begins."""

    def __init__(self, keys: SeededKeys, rng: random.Random, on_node: Callable[[Node], None] = lambda _: None) -> None:
        self.keys = keys
        self.origin = keys.origin
        self.n_lives = 0
        self.n_killed = 0
        self.view: CommittedEpoch | None = None
        """What was shown last."""
        self.node: Node | None = None
        self._store_type = _slowed(MeteredMemory, rng)
        self._kept: Any = None
        self._mark = Mark()
        self.vault = Vault(rng, is_apart=rng.random() < 0.6)
        self.operator = Operator(keys.ring, keys.origin, self.vault, rng)
        self._on_node = on_node
        self._up = trio.Event()
        self._end = trio.Event()
        self._nursery: trio.Nursery | None = None

    @asynccontextmanager
    async def store(self, meter: Meter) -> AsyncIterator[MemoryStore]:
        """What survived, as a new process finds it."""
        store = self._store_type()
        store.meter = meter
        store._kept = self._kept = self._kept or (await first_store(self.keys))._kept  # type: ignore[arg-type]
        try:
            yield store
        finally:
            store._failure = "the process has ended"

    def end(self) -> None:
        """The current life ends, gracefully."""
        self._end.set()

    async def connect(self, device_id: bytes, cursor: Cursor) -> Link:
        """Once the provider is up. The link may end at any time."""
        while self.node is None or self._nursery is None:
            await self._up.wait()
        link = Link(device_id, cursor)
        self._nursery.start_soon(Serving(self.node, link).run)
        return link

    async def look_up(self, witness: Witness, lookup: Lookup) -> None:
        """What a client learns by asking over HTTP: of the log that is committed, as it is kept. Down: nothing."""
        if self.node is None:
            return
        log = self.node.pipeline.sequencer.log
        if isinstance(lookup, LogLookup):
            proof = consistency_proof(log.node, lookup.checkpoint.size, lookup.size)
            assert witness.hear_log(lookup, proof)

    async def live(self, life: Life) -> None:
        """One life. Raises whatever ended it, except what `life` says should."""
        meter = life.meter
        n_faults = meter.n_faults
        self.n_lives += 1
        try:
            with trio.CancelScope() as meter.scope:
                async with self.store(Meter()) as store:
                    await self.operator.let_happen(store, life.chores)
                async with self.store(meter) as store:
                    await self._serve(store, self.vault.open(meter), life)
        except BaseException as error:
            if meter.n_faults == n_faults or not _all_expected(error):
                raise
            self.n_killed += 1
        else:
            assert meter.n_faults == n_faults or meter.scope.cancel_called, "it went on after a fault"
            self.n_killed += meter.scope.cancelled_caught

    async def _serve(self, store: MemoryStore, custody: Custody, life: Life) -> None:
        self._mark.open(await sealed_epochs(store), store.next_epoch)
        await self.operator.prepare(store, custody, self._mark, life.chores)
        options, rosters = life.options(), await load_rosters(store, self.origin)
        mark: Any = self._mark
        state = OpenState(Layout(options.data), self.keys.ring, self.origin, store, mark, rosters)
        node = await build_node(options, state, custody)
        delete_ended_keys(self.keys.ring, state.rosters)
        self._on_node(node)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._run_pipeline, node, nursery.cancel_scope)
            nursery.start_soon(node.pipeline.fanout.run_heartbeats)
            await node.pipeline.fanout.ready.wait()
            self.node, self._nursery, self._end = node, nursery, trio.Event()
            self._up.set()
            try:
                with trio.move_on_after(float("inf") if life.seconds is None else life.seconds):
                    await self._end.wait()
            finally:
                self.node, self._nursery, self._up = None, None, trio.Event()
            if life.is_killed:
                life.meter.scope.cancel()
            node.pipeline.stop()

    async def _run_pipeline(self, node: Node, scope: trio.CancelScope) -> None:
        await node.pipeline.run()
        self.view = node.pipeline.fanout.view
        scope.cancel()


async def roster_of(store: MemoryStore, rosters: Sequence[Signed | SignedRoster], epoch: int) -> Roster | None:
    """The one in force in a committed epoch."""
    row = await MemoryStore.epoch_row(store, epoch)  # nobody notices
    if row is None:
        return None
    wanted = EPOCH_RECORD.decode(row.record).roster_hash
    return next(ROSTER.decode(signed.body) for signed in rosters if hash_roster(signed.body) == wanted)


def _all_expected(error: BaseException) -> bool:
    """Whether a life ended by what was injected, and by what that leads to."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(_all_expected, error.exceptions))
    return isinstance(error, (Crashed, NoiseError, trio.Cancelled, trio.BrokenResourceError, trio.ClosedResourceError))
