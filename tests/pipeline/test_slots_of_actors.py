"""An epoch dies between any two statements, of any actors: it ends with exactly those that were in the slots.

Knows nothing of what clients see: that is in `test_faults`. A slot is taken when its row is durable: a manifest with
its lane, and every actor's statement in its custody, whether all lie in one file or each actor has a disk of its own.
"""

import copy
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest
import trio
import trio.testing

from noise.keys import actor_key_name
from noise.node import Node
from noise.pipeline.fsck import check_store
from noise.pipeline.recovery import load_rosters
from noise.pipeline.sequencer import Pace
from noise.protocol.identifiers import Role, parse_actor
from noise.protocol.statements import EPOCH_HEAD, EPOCH_OPEN, MANIFEST, MERGE_SHEET, ROUTE_SHEET, STATEMENTS
from noise.store import custody_memory, memory
from noise.store.base import ManifestWrite, SlotTaken, StatementRow
from noise.store.custody import Custody, CustodyRow
from noise.store.custody_apart import ApartCustody
from noise.store.custody_memory import MemoryCustody
from tests.pipeline.faults import ACTORS, SEQUENCER, WRITES, Crashed, Meter, MeteredMemory, reopened
from tests.pipeline.harness import workload
from tests.pipeline.memory_provider import Keys, first_store, opened, shaped

ONE_EPOCH_FOR_ALL_S = 0.02
N_BUNDLES = 12
SHAPES = ((1, 1), (2, 2), (3, 2))
CODECS = {
    Role.INBOX: MANIFEST,
    Role.ROUTER: ROUTE_SHEET,
    Role.RECEIVER: MERGE_SHEET,
    Role.OUTBOX: EPOCH_HEAD,
    Role.SEQUENCER: EPOCH_OPEN,
}

Slot = tuple[int, bytes, int]
End = tuple[int, str]
"""At which write of the epoch a life ends, and how."""


class Disks:
    """What survives: the main store, and a custody of all actors or one for each."""

    def __init__(self, kept: memory.Surviving, custodies: dict[bytes, custody_memory.Surviving]) -> None:
        self.kept = kept
        self.custodies = custodies

    @property
    def is_apart(self) -> bool:
        return b"" not in self.custodies

    def copy(self) -> "Disks":
        return Disks(copy.deepcopy(self.kept), copy.deepcopy(self.custodies))

    def slots(self, epoch: int) -> dict[Slot, StatementRow]:
        """All that are taken in an epoch."""
        return {key: row for key, row in (self._statements() | self._kept_by_actors()).items() if key[0] == epoch}

    def _statements(self) -> dict[Slot, StatementRow]:
        return dict(self.kept.statements)

    def _kept_by_actors(self) -> dict[Slot, StatementRow]:
        return {key: row.statement for key, row in self.rows().items()}

    def rows(self) -> dict[Slot, CustodyRow]:
        return {key: row for custody in self.custodies.values() for key, row in custody.rows.items()}


class OneAtATime(MeteredMemory):  # type: ignore[misc]
    """What one lane writes is durable, or not, before the next one writes."""

    def __init__(self) -> None:
        super().__init__()
        self._turn = trio.Lock()

    async def append_manifest(self, write: ManifestWrite) -> None:
        async with self._turn:
            await super().append_manifest(write)


class Dying(MemoryCustody):
    """Its process ends before it keeps anything, when the others have kept what was theirs."""

    async def keep(self, rows: Sequence[CustodyRow], prune_before: int) -> None:
        await trio.testing.wait_all_tasks_blocked()
        raise Crashed


class Stage(NamedTuple):
    """A provider with a past of some epochs, and bundles for one more."""

    keys: Keys
    shape: tuple[int, int]
    directory: Path
    disks: Disks
    bundles: list[bytes]
    numbers: Any

    @property
    def next_epoch(self) -> int:
        return len(self.disks.kept.epochs)

    async def live(
        self,
        disks: Disks,
        meter: Meter,
        bundles: Sequence[bytes] = (),
        *,
        shape: tuple[int, int] | None = None,
        is_dying: Callable[[bytes], bool] = lambda _: False,
        is_run: bool = True,
    ) -> None:
        """One life on these disks: an epoch with the bundles, if it is run. Raises what ends it."""
        directory = self.directory / str(next(self.numbers))
        directory.mkdir()
        store = OneAtATime()
        store._kept, store.meter = disks.kept, meter
        async with opened(
            store, self.keys, shaped(directory, *(shape or self.shape)), _custody(disks, meter, is_dying)
        ) as node:
            if is_run:
                await _run_epoch(node, bundles)

    async def ends_badly(self, end: End | None, disks: Disks, *, is_run: bool, **named: Any) -> None:
        """A life that ends at a write."""
        meter = Meter()
        if end is not None:
            at, how = end
            meter.crash_at_write = at if how == "dies" else None
            meter.fail_at = {} if how == "dies" else {at: how == "yet stored"}
        bundles = self.bundles[N_BUNDLES:] if is_run else ()
        try:
            await self.live(disks, meter, bundles, is_run=is_run, **named)
        except BaseException as error:
            if isinstance(error, trio.Cancelled):
                raise
            return
        raise AssertionError("nothing happened")

    async def check_ended(self, disks: Disks, taken: dict[Slot, StatementRow]) -> None:
        """The epoch has ended, with what was in the slots, and every actor keeps what it signed."""
        epoch = self.next_epoch
        if not taken:
            return
        store = MeteredMemory()
        store._kept, store.meter = disks.kept, Meter()
        assert store.next_epoch > epoch
        now = disks.slots(epoch)
        assert {slot: now[slot] for slot in taken} == taken, "a slot holds other bytes"
        committed = {row[:3]: row for row in await store.statements(epoch)}
        kept = {slot: row.statement for slot, row in disks.rows().items() if slot[0] == epoch}
        n_inboxes, n_outboxes = self.shape
        assert committed == kept == now
        assert len(committed) == 2 * n_inboxes + 2 * n_outboxes + 1
        rosters = await load_rosters(store, self.keys.origin)
        await check_store(store, self.keys.origin, rosters, lambda _: None)


def _custody(disks: Disks, meter: Meter, is_dying: Callable[[bytes], bool]) -> Custody:
    turn = trio.Lock()

    def open_one(actor: bytes, kept: custody_memory.Surviving) -> MemoryCustody:
        custody = Dying() if is_dying(actor) else MemoryCustody()
        custody._kept = kept
        return custody if is_dying(actor) else reopened(custody, meter, turn)

    made = {actor: open_one(actor, kept) for actor, kept in disks.custodies.items()}
    return ApartCustody(made) if disks.is_apart else made[b""]


async def _run_epoch(node: Node, bundles: Sequence[bytes]) -> None:
    """One epoch with all the bundles, from beginning to end."""
    sequencer, shown = node.pipeline.sequencer, trio.Event()
    sequencer._pace, sequencer._last_cut = Pace(ONE_EPOCH_FOR_ALL_S, 1.0), trio.current_time()
    node.pipeline.fanout.on_shown = lambda _: shown.set()
    for data in bundles:
        await node.pipeline.submit(data, lambda _: None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.pipeline.run)
        await shown.wait()
        nursery.cancel_scope.cancel()


async def make_stage(directory: Path, shape: tuple[int, int], *, is_apart: bool) -> Stage:
    keys = Keys(directory / "keys", *shape)
    bundles = [bundle.encode() for bundle in workload(keys.origin, 5, 6, 2 * N_BUNDLES)]
    actors = (*ACTORS, SEQUENCER) if is_apart else (b"",)
    disks = Disks((await first_store(keys))._kept, {actor: custody_memory.Surviving() for actor in actors})
    stage = Stage(keys, shape, directory, disks, bundles, count())
    await stage.live(disks, Meter(), bundles[:N_BUNDLES])
    assert stage.next_epoch == 1
    return stage


async def count_writes(stage: Stage, *, shape: tuple[int, int] | None = None) -> int:
    """Of an epoch, without any faults."""
    meter, disks = Meter(), stage.disks.copy()
    await stage.live(disks, meter, stage.bundles[N_BUNDLES:], shape=shape)
    manifests = [row for row in disks.kept.manifests.values() if row.epoch == 1]
    assert all(row.first_id < row.next_id for row in manifests), "a lane is empty"
    return sum(name in WRITES for name in meter.operations)


@pytest.fixture(params=SHAPES, ids=lambda shape: f"{shape[0]}-{shape[1]}")
def shape(request: pytest.FixtureRequest) -> tuple[int, int]:
    return request.param


@pytest.mark.parametrize("is_apart", [False, True], ids=["together", "apart"])
async def test_every_write_of_an_epoch(tmp_path: Path, shape: tuple[int, int], is_apart: bool) -> None:
    """The process dies before it, or it fails with either outcome; then the provider comes back, in whatever shape."""
    with trio.fail_after(60):
        stage = await make_stage(tmp_path, shape, is_apart=is_apart)
        n_writes = await count_writes(stage)
        n_kept = 2 * shape[0] + 2 * shape[1] + 1 if is_apart else 1
        assert n_writes == shape[0] + n_kept + 1
        n_taken = set()
        for at in range(n_writes):
            for how in ("dies", "not stored", "yet stored"):
                disks = stage.disks.copy()
                await stage.ends_badly((at, how), disks, is_run=True)
                taken = disks.slots(1)
                n_taken.add(len(taken))
                await stage.live(disks, Meter(), is_run=False, shape=SHAPES[at % len(SHAPES)])
                await stage.check_ended(disks, taken)
        assert {*range(shape[0] + 1), 2 * shape[0] + 2 * shape[1] + 1} <= n_taken
        assert len(n_taken) > shape[0] + shape[1] or not is_apart


@pytest.mark.parametrize("is_apart", [False, True], ids=["together", "apart"])
async def test_it_dies_again_while_it_ends_the_epoch(tmp_path: Path, is_apart: bool, search_factor: int) -> None:
    """At any write of the epoch, and then at any write of recovery, and then once more."""
    random = Random(1)
    with trio.fail_after(60):
        stage = await make_stage(tmp_path, (2, 2), is_apart=is_apart)
        n_writes = await count_writes(stage)
        pairs = [(first, second) for first in range(1, n_writes) for second in range(n_writes - 1)]
        for first, second in pairs if search_factor > 1 else random.sample(pairs, min(len(pairs), 24)):
            disks = stage.disks.copy()
            await stage.ends_badly((first, "dies"), disks, is_run=True)
            taken = disks.slots(1)
            n_left = n_writes - min(first, 2)  # manifests are not written again
            for end in ((min(second, n_left - 1), "dies"), (0, "yet stored")):
                before = disks.slots(1)
                await stage.ends_badly(end, disks, is_run=False)
                assert before.items() <= disks.slots(1).items()
            await stage.live(disks, Meter(), is_run=False)
            await stage.check_ended(disks, taken)


@pytest.mark.parametrize("is_alone", [False, True], ids=["all but one", "one alone"])
async def test_some_actors_kept_and_others_not(tmp_path: Path, shape: tuple[int, int], is_alone: bool) -> None:
    """Each actor has its row and nobody else, or everybody else and it has not."""
    with trio.fail_after(60):
        stage = await make_stage(tmp_path, shape, is_apart=True)
        for chosen in [actor for actor, kept in stage.disks.custodies.items() if kept.rows]:
            disks = stage.disks.copy()
            await stage.ends_badly(
                None, disks, is_run=True, is_dying=lambda actor, chosen=chosen: (actor == chosen) != is_alone
            )
            having = {slot[1] for slot in disks.rows() if slot[0] == 1}
            assert (having == {chosen}) if is_alone else (chosen not in having and len(having) > 3)
            taken = disks.slots(1)
            await stage.live(disks, Meter(), is_run=False)
            await stage.check_ended(disks, taken)


async def test_a_slot_that_holds_other_bytes_stops_the_provider(tmp_path: Path) -> None:
    """Every actor's slot holds something else that it rightly signed, or made it from something else: nothing is
    committed over that, nor is anything else kept."""
    with trio.fail_after(60):
        stage = await make_stage(tmp_path, (2, 2), is_apart=False)
        disks = stage.disks.copy()
        await stage.ends_badly((3, "dies"), disks, is_run=True)
        slots = [slot for slot in disks.rows() if slot[0] == 1]
        assert len(slots) == 9
        for slot in slots:
            for change in (other_statement, other_batch):
                changed = disks.copy()
                rows = changed.custodies[b""].rows
                rows[slot] = change(stage.keys, rows[slot])
                before = changed.copy()
                with pytest.raises(SlotTaken):
                    await stage.live(changed, Meter(), is_run=False)
                assert len(changed.kept.epochs) == 1
                assert changed.rows() == before.rows()


def other_statement(keys: Keys, row: CustodyRow) -> CustodyRow:
    actor, incarnation = parse_actor(row.statement.actor), row.statement.incarnation
    label, codec = STATEMENTS[actor.role][0], CODECS[actor.role]
    body = codec.decode(row.statement.body)
    changes = {"handoffs_count": 1} if actor.role is Role.SEQUENCER else {"previous": bytes(32)}
    signed = keys.ring.load(actor_key_name(actor, incarnation)).sign(
        label, keys.origin, codec.encode(body._replace(**changes))
    )
    return row._replace(statement=row.statement._replace(body=signed.body, signature=signed.signature))


def other_batch(_: Keys, row: CustodyRow) -> CustodyRow:
    return row._replace(batch=row.batch + b"\0")
