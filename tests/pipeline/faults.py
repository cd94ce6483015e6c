"""Lives of a provider that end badly: stores whose operations fail or crash by number, and witnesses of what got out.

Knows nothing of what should happen then, except that it is the same for all: see `Witness`.
"""

from collections.abc import Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from noise.node import Node
from noise.pipeline.fsck import check_store
from noise.pipeline.recovery import load_rosters
from noise.protocol.envelope import Bundle
from noise.protocol.errors import NoiseError
from noise.protocol.frames import RECEIPT, DeltaFrame, Receipt, parse_frame
from noise.protocol.identifiers import Actor, Role, parse_seq
from noise.protocol.signing import SIGNED
from noise.protocol.statements import EPOCH_HEAD, EPOCH_RECORD, MANIFEST, ROSTER
from noise.store.base import StatementRow, Store
from noise.store.custody import Custody
from noise.store.custody_apart import ApartCustody
from noise.store.custody_memory import MemoryCustody
from noise.store.custody_sqlite import create_custody
from noise.store.custody_tables import EVERYBODY
from noise.store.memory import MemoryStore
from noise.store.sqlite import create_sqlite
from tests.pipeline.harness import Mailbox, ServerSide, signer, workload
from tests.pipeline.memory_provider import Keys, first_store, opened, shaped
from tests.store.conftest import FaultySqliteStore
from tests.store.custody_worlds import FaultySqliteCustody

WRITES = ("append_manifest", "keep", "commit_epoch", "add_roster")
STORE_WRITES = tuple(name for name in WRITES if name != "keep")
READS = tuple(sorted(name for name in Store.__abstractmethods__ if name not in {*WRITES, "next_epoch", "replay_epoch"}))


class Crashed(Exception):
    """The process ends here: nobody may go on after it."""


@dataclass
class Meter:
    """Counts operations over all lives. `crash_at`: operations that never happen. `cancel_at`: operations during which
    everything is cancelled. `fail_at`: writes that fail, and whether they are stored. `crash_at_write`: one that never
    happens, by its number among writes."""

    crash_at: frozenset[int] = frozenset()
    cancel_at: frozenset[int] = frozenset()
    fail_at: dict[int, bool] = field(default_factory=dict)
    operations: list[str] = field(default_factory=list)
    n_writes: int = 0
    n_faults: int = 0
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    crash_at_write: int | None = None

    def count(self, name: str, fail_next: Callable[[bool], None]) -> None:
        """An operation begins. `fail_next` makes it fail, stored or not."""
        number = len(self.operations)
        self.operations.append(name)
        if number in self.crash_at or (name in WRITES and self.n_writes == self.crash_at_write):
            self.n_faults += 1
            raise Crashed(f"{name}, operation {number}")
        if number in self.cancel_at:
            self.n_faults += 1
            self.scope.cancel()
        if name in WRITES:
            stored = self.fail_at.get(self.n_writes)
            self.n_writes += 1
            if stored is not None:
                self.n_faults += 1
                fail_next(stored)


def _metered(base: type) -> Any:
    def counted(name: str) -> Any:
        async def operation(self: Any, *arguments: Any, **named: Any) -> Any:
            self.meter.count(name, lambda stored: self.fail_next(name, stored=stored))
            return await getattr(base, name)(self, *arguments, **named)

        return operation

    return type(f"Metered{base.__name__}", (base,), {name: counted(name) for name in (*STORE_WRITES, *READS)})


def _metered_custody(base: type) -> Any:
    """One operation at a time, also of several actors: `turn` is theirs together."""

    class MeteredCustody(base):  # type: ignore[misc]
        meter: Meter
        turn: trio.Lock

        async def keep(self, *arguments: Any) -> None:
            async with self.turn:
                self.meter.count("keep", lambda stored: self.fail_next(stored=stored))
                await super().keep(*arguments)

    return MeteredCustody


MeteredMemory = _metered(MemoryStore)
MeteredSqlite = _metered(FaultySqliteStore)
MeteredMemoryCustody = _metered_custody(MemoryCustody)
MeteredSqliteCustody = _metered_custody(FaultySqliteCustody)

ACTORS = [
    Actor(role, 0, n).encode() for role in (Role.INBOX, Role.ROUTER, Role.RECEIVER, Role.OUTBOX) for n in range(3)
]
"""Those of all SHAPES that sign, but the sequencer."""
SEQUENCER = Actor(Role.SEQUENCER, 0, 0).encode()


def reopened(custody: MemoryCustody, meter: Meter, turn: trio.Lock) -> Any:
    """What a custody in memory stored, as a new process finds it."""
    opened_again = MeteredMemoryCustody()
    opened_again.meter, opened_again.turn = meter, turn
    opened_again._kept = custody._kept
    return opened_again


class MemoryWorld:
    """What survives is in memory."""

    def __init__(self, _directory: Path, _keys: Keys) -> None:
        self._kept: Any = None
        self._custody = MemoryCustody()

    @asynccontextmanager
    async def open(self, keys: Keys, meter: Meter) -> Any:
        store = MeteredMemory()
        store.meter = meter
        store._kept = self._kept or (await first_store(keys))._kept
        self._kept = store._kept
        try:
            yield store, self.custody(meter)
        finally:
            store._failure = "the process has ended"

    def custody(self, meter: Meter) -> Custody:
        """What all actors kept."""
        custody: Custody = reopened(self._custody, meter, trio.Lock())
        return custody

    def has_epoch(self, epoch: int) -> bool:
        return epoch < len(self._kept.epochs)

    def has_manifest(self, receipt: Receipt) -> bool:
        epoch, lane, _ = parse_seq(receipt.first_seq)
        row = self._kept.manifests.get((epoch, lane))
        return row is not None and (row.statement.body, row.statement.signature) == tuple(receipt.manifest)


class ApartWorld(MemoryWorld):
    """What each actor keeps is stored by itself: some may have kept an epoch that others have not."""

    def __init__(self, directory: Path, keys: Keys) -> None:
        super().__init__(directory, keys)
        self._custodies = {actor: MemoryCustody() for actor in (*ACTORS, SEQUENCER)}

    def custody(self, meter: Meter) -> Custody:
        turn = trio.Lock()
        return ApartCustody({actor: reopened(custody, meter, turn) for actor, custody in self._custodies.items()})


class SqliteWorld:
    """What survives is in two files. What is durable at a moment is asked of the store that is open."""

    def __init__(self, directory: Path, keys: Keys) -> None:
        self._path = directory / "noise.db"
        self._custody_path = directory / "custody.db"

    @asynccontextmanager
    async def open(self, keys: Keys, meter: Meter) -> Any:
        if not self._path.exists():
            await create_sqlite(self._path, keys.origin)
            await create_custody(self._custody_path, keys.origin)
            async with FaultySqliteStore(self._path, keys.origin) as store:
                for row in await (await first_store(keys)).rosters():
                    await store.add_roster(*row)
        store = MeteredSqlite(self._path, keys.origin)
        custody = MeteredSqliteCustody(self._custody_path, keys.origin, EVERYBODY)
        store.meter = custody.meter = meter
        custody.turn = trio.Lock()
        async with store, custody:
            self._store = store
            yield store, custody

    def has_epoch(self, epoch: int) -> bool:
        return bool(epoch < self._store.next_epoch)

    def has_manifest(self, receipt: Receipt) -> bool:
        return True  # seen when the next life begins


class Witness:
    """Everybody outside: senders with their receipts, devices with their deliveries, and all statements they saw."""

    def __init__(self, world: Any, origin: bytes, bundles: Sequence[Bundle], n_devices: int) -> None:
        self.world = world
        self.bundles = bundles
        self.receipts: dict[int, bytes] = {}
        self.statements: dict[tuple[object, ...], bytes] = {}
        self.mailboxes = [Mailbox(origin, signer(n + 1)) for n in range(n_devices)]
        self.scope = trio.CancelScope()

    def see(self, key: tuple[object, ...], body: bytes) -> None:
        """A slot has one byte string, over all lives."""
        assert self.statements.setdefault(key, body) == body, f"two byte strings for {key}"

    def answer(self, number: int, outcome: Receipt | NoiseError) -> None:
        if not isinstance(outcome, Receipt):
            assert (outcome.code, self.scope.cancel_called) == ("busy", True), outcome
            return
        assert self.world.has_manifest(outcome), "a receipt of a manifest that is not durable"
        encoded = RECEIPT.encode(outcome)
        assert self.receipts.setdefault(number, encoded) == encoded, "two receipts for one bundle"
        manifest = MANIFEST.decode(outcome.manifest.body)
        self.see((manifest.actor, manifest.incarnation, manifest.epoch), b"".join(outcome.manifest))
        self.mailboxes[0].follower.check_receipt(outcome, self.bundles[number])

    def see_frame(self, mailbox: Mailbox, frame: bytes) -> None:
        parsed = parse_frame(frame)
        assert isinstance(parsed, DeltaFrame)
        shared = parsed.delta.shared
        record, head = EPOCH_RECORD.decode(shared.record), EPOCH_HEAD.decode(shared.head.body)
        assert self.world.has_epoch(record.epoch), "an epoch that is not committed was shown"
        self.see((head.actor, head.incarnation, head.epoch), b"".join(shared.head))
        self.see(("record", record.epoch), shared.record)
        self.see(("checkpoint", record.epoch), shared.note)
        mailbox.take(frame)

    async def connect(self, node: Node) -> None:
        """All devices catch up and stay live."""
        fanout = node.pipeline.fanout
        for mailbox in self.mailboxes:
            mailbox.reset()
            live = Watching(self, mailbox)
            while True:
                self.see_frame(mailbox, await fanout.catch_up(live))
                if fanout.join(live):
                    break

    async def check_stored(self, store: Store, custody: Custody) -> None:
        """What got out is what is stored, or will be; and what actors kept is what was committed, or will be."""
        for epoch, row in await kept_rows(store, custody):
            self.see((row.actor, row.incarnation, epoch), row.body + row.signature)
        for epoch in range(store.next_epoch + 1):
            for row in await store.statements(epoch):
                self.see((row.actor, row.incarnation, row.epoch), row.body + row.signature)
                kept = await custody.find(row.actor, row.incarnation, epoch)
                assert epoch == store.next_epoch or (kept is not None and kept.statement == row), "not kept"
            stored = await store.epoch_row(epoch)
            if stored is not None:
                self.see(("record", epoch), stored.record)
                self.see(("checkpoint", epoch), stored.checkpoint)
        for encoded in self.receipts.values():
            receipt = RECEIPT.decode(encoded)
            epoch, lane, _ = parse_seq(receipt.first_seq)
            rows = {row.lane: row.statement for row in await store.manifests(epoch)}
            assert (rows[lane].body, rows[lane].signature) == tuple(receipt.manifest)

    def check_complete(self) -> None:
        """Every bundle has its receipt, and every recipient its messages, where the receipts say, once, in order."""
        expected: dict[bytes, dict[bytes, bytes]] = {mailbox.device_id: {} for mailbox in self.mailboxes}
        for number, bundle in enumerate(self.bundles):
            seqs = self.mailboxes[0].follower.check_receipt(RECEIPT.decode(self.receipts[number]), bundle)
            for row, seq, common in zip(bundle.rows, seqs, bundle.commons, strict=True):
                for device_id in bundle.recipients[row.set_index].device_ids:
                    if device_id in expected:
                        expected[device_id][seq] = common
        for mailbox in self.mailboxes:
            assert [d.seq for d in mailbox.deliveries] == sorted(expected[mailbox.device_id])
            assert {d.seq: d.common for d in mailbox.deliveries} == expected[mailbox.device_id]


async def kept_rows(store: Store, custody: Custody) -> list[tuple[int, StatementRow]]:
    """What the actors of all rosters keep, up to the epoch that is next."""
    rosters = [ROSTER.decode(SIGNED.decode(row.body_and_signature).body) for row in await store.rosters()]
    slots = sorted({(entry.actor, entry.incarnation) for roster in rosters for entry in roster.actors})
    found = []
    for epoch in range(store.next_epoch + 1):
        for slot in slots:
            kept = await custody.find(*slot, epoch)
            if kept is not None:
                found.append((epoch, kept.statement))
    return found


class Watching(ServerSide):
    def __init__(self, witness: Witness, mailbox: Mailbox) -> None:
        super().__init__(mailbox)
        self.witness = witness
        self.mailbox = mailbox

    def push_nowait(self, frame: bytes) -> None:
        self.witness.see_frame(self.mailbox, frame)


N_DEVICES = 3
STEPS = (1, 4, 0, 2)  # bundles that are sent at once, before the next are; none: an empty epoch
SHAPES = ((2, 2, "parallel"), (3, 1, "multithreaded"), (1, 1, "central"))  # of one life after the other


@dataclass
class Story:
    """A provider's lives until everything is said. `n_lives` so far; `ended_badly`: what ended some of them."""

    witness: Witness
    ended_badly: list[BaseException]
    n_lives: int


async def tell(world_type: Any, directory: Path, keys: Keys, meter: Meter, seed: int = 1) -> Story:
    """Live until all is sent, received and confirmed, through every fault of the meter. The last life fscks itself."""
    world = world_type(directory, keys)
    witness = Witness(world, keys.origin, workload(keys.origin, seed, N_DEVICES, sum(STEPS)), N_DEVICES)
    story = Story(witness, [], 0)
    steps = _steps()
    n_sent, is_well = 0, False
    while steps or not is_well or story.n_lives < 2:
        chosen = shaped(directory, *SHAPES[story.n_lives % len(SHAPES)])
        story.n_lives += 1
        assert story.n_lives < 10
        n_faults, is_well = meter.n_faults, True
        try:
            with trio.CancelScope() as meter.scope:
                witness.scope = meter.scope
                async with world.open(keys, meter) as (store, custody):
                    await witness.check_stored(store, custody)
                    async with opened(store, keys, chosen, custody) as node, trio.open_nursery() as nursery:
                        nursery.start_soon(node.pipeline.run)
                        await node.pipeline.fanout.ready.wait()
                        await witness.connect(node)
                        await _send(node, witness, range(n_sent))
                        while steps and (story.n_lives > 1 or len(steps) > 2):
                            first, n_sent = steps[0]
                            await _send(node, witness, range(first, n_sent))
                            steps.pop(0)
                        node.pipeline.stop()
        except BaseException as error:
            if meter.n_faults == n_faults:
                raise
            story.ended_badly.append(error)
            is_well = False
        else:
            is_well = not meter.scope.cancelled_caught
            assert meter.n_faults == n_faults or meter.scope.cancel_called, "it went on after a fault"
    async with world.open(keys, Meter()) as (store, custody):
        await witness.check_stored(store, custody)
        await check_store(store, keys.origin, await load_rosters(store, keys.origin), lambda _: None)
    witness.check_complete()
    return story


def _steps() -> list[tuple[int, int]]:
    ends = [sum(STEPS[: n + 1]) for n in range(len(STEPS))]
    return [(end - count, end) for end, count in zip(ends, STEPS, strict=True)]


async def _send(node: Node, witness: Witness, numbers: range) -> None:
    """Send bundles, whether for the first time or again, and wait for all receipts; without any, for an epoch."""
    waiting, answered = set(numbers), trio.Event()
    epoch = node.pipeline.sequencer.log.size

    def answer(number: int, outcome: Receipt | NoiseError) -> None:
        witness.answer(number, outcome)
        waiting.discard(number)
        if not waiting:
            answered.set()

    for number in numbers:
        data = witness.bundles[number].encode()
        await node.pipeline.submit(data, lambda outcome, number=number: answer(number, outcome))
    if numbers:
        await answered.wait()
        return
    shown = trio.Event()
    node.pipeline.fanout.on_shown = lambda committed: shown.set() if committed.epoch >= epoch else None
    node.pipeline.sequencer.notice_work()
    await shown.wait()
