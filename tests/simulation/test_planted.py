"""That the judges of worlds see: each bug that is planted here, in an otherwise honest provider, must be complained of.

Knows nothing of how they see it.
"""

from random import Random

import pytest
import trio

from noise.demo.zoo.lies import make_lie
from noise.demo.zoo.stages import Batch, lie_in_receiver
from noise.node import Node
from noise.pipeline.batches import Part
from noise.pipeline.kept import ROUTER_BATCH, parse_batch
from noise.protocol.errors import ProviderMisbehaved
from noise.protocol.evidence.proof import verify_proof
from noise.protocol.identifiers import Role
from noise.store.custody import CustodyRow
from tests.simulation.asked import complaints_of_the_asked
from tests.simulation.checks import complaints_about, truth_of
from tests.simulation.clockwork import run_seeded
from tests.simulation.framing import offer_all
from tests.simulation.lying import LyingWorld
from tests.simulation.pool import Pool, pool_of
from tests.simulation.remembered import remembered
from tests.simulation.result import Result
from tests.simulation.seeds import leaves_of
from tests.simulation.world import live_world

SEEDS = range(3, 11)


def _wrapped(owner: object, name: str, change) -> None:
    before = getattr(owner, name)
    setattr(owner, name, lambda *arguments: change(before(*arguments), *arguments))


def _emptied(row: CustodyRow) -> CustodyRow:
    batch = parse_batch(ROUTER_BATCH, row.batch)
    return row._replace(batch=ROUTER_BATCH.encode(tuple(parts[:-1] for parts in batch)))


async def _judge(result: Result) -> list[str]:
    asked = await complaints_of_the_asked(result, await truth_of(result), Random(result.seed), 8, 2)
    return await complaints_about(result) + asked


def _complaints(seed: int, plant) -> list[str]:
    """What the judge says, or what ended the world."""
    try:
        return live_world(seed, _judge, on_node=plant)[1]
    except Exception as error:
        return [repr(leaf) for leaf in leaves_of(error)]


def test_a_dropped_message_is_missed() -> None:
    """Every receiver leaves the last mailbox out of each epoch that has more than one; and is named for it."""

    def drop(batch: Batch) -> dict[bytes, list[Part]]:
        if len(batch.parts) < 2:
            return batch.parts
        return {mailbox: parts for mailbox, parts in batch.parts.items() if mailbox != max(batch.parts)}

    def plant(node: Node) -> None:
        for receiver in node.pipeline.receivers:
            lie_in_receiver(receiver, drop)

    found = [_complaints(seed, plant) for seed in SEEDS]
    assert sum(any("is missing" in one for one in complaints) for complaints in found) > len(SEEDS) // 2
    assert sum(any("has a proof" in one for one in complaints) for complaints in found) > len(SEEDS) // 3
    names = [one for complaints in found for one in complaints if "the walk names somebody" in one]
    assert len(names) > len(SEEDS) // 3
    assert all("accused='receiver-0-" in one for one in names)


def test_an_actor_that_keeps_nothing_is_missed() -> None:
    """The sequencer does not keep some epochs: it is noticed when it starts, or else in the end."""

    def plant(node: Node) -> None:
        keep = node.custody.keep

        async def keep_some(rows, prune_before):
            kept = [row for row in rows if row.statement.actor[0] != Role.SEQUENCER or row.statement.epoch % 4]
            await keep(kept, prune_before)

        node.custody.keep = keep_some  # type: ignore[method-assign]

    found = [_complaints(seed, plant) for seed in SEEDS]
    assert any("forgot what they signed" in one for complaints in found for one in complaints)
    assert any("does not keep epoch" in one for complaints in found for one in complaints)


def test_what_an_actor_cannot_show_is_missed() -> None:
    """Every router keeps a batch without the last of its parts: what it signed, it cannot show any more."""

    def plant(node: Node) -> None:
        for router in node.pipeline.routers:
            _wrapped(router, "step", lambda routed, *_: [one._replace(kept=_emptied(one.kept)) for one in routed])

    found = [_complaints(seed, plant) for seed in SEEDS]
    assert any("has a row and no answer" in one for complaints in found for one in complaints)


def test_the_delta_of_another_epoch_is_refused() -> None:
    """The fanout pushes what it pushed to that mailbox before."""

    def plant(node: Node) -> None:
        last: dict[bytes, bytes] = {}

        def older(frame: bytes, *arguments) -> bytes:
            return last.setdefault(arguments[-1].device_id, frame)

        _wrapped(node.pipeline.fanout, "_live_frame", older)

    found = [_complaints(seed, plant) for seed in SEEDS]
    assert any(ProviderMisbehaved.__name__ in one for complaints in found for one in complaints)


def test_a_second_receipt_is_seen() -> None:
    """Receipts that are made again lead elsewhere."""

    def plant(node: Node) -> None:
        for inbox in node.pipeline.inboxes:
            find = inbox._receipts.find

            async def other(last_id, bundle, find=find):
                receipt = await find(last_id, bundle)
                return receipt._replace(proof=(*receipt.proof, bytes(32)))

            inbox._receipts.find = other

    found = [_complaints(seed, plant) for seed in SEEDS]
    assert any("misbehaved" in one.lower() or "two receipts" in one for complaints in found for one in complaints)


def test_an_epoch_that_was_shown_and_is_no_more_is_seen() -> None:
    """Each life forgets the last epoch of the one before: what was shown is signed again with another time."""

    def plant(node: Node) -> None:
        kept = node.store._kept
        log = node.pipeline.sequencer.log
        if len(kept.epochs) > 2 and log.size == len(kept.epochs):
            row = kept.epochs[-1]
            kept.epochs[-1] = row._replace(checkpoint=kept.epochs[-2].checkpoint)

    found = [_complaints(seed, plant) for seed in SEEDS]
    assert any("two byte strings" in one for complaints in found for one in complaints)
    assert any("fsck" in one for complaints in found for one in complaints)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("drop-one", "Omission"),
        *[
            pytest.param(name, kind, marks=pytest.mark.slow)
            for name, kind in (("swap-seqs", "Conflict"), ("change-sender", "Conflict"), ("drop-all", "Omission"))
        ],
    ],
)
def test_framers_convict_the_guilty(name: str, kind: str) -> None:
    """The very offers that convict no honest provider convict those who lied, of what they did."""
    pools: list[Pool] = []

    async def judge(result: Result) -> list[str]:
        await trio.lowlevel.checkpoint()
        pools.append(await pool_of(result))
        return []

    with remembered():
        world = LyingWorld(12, make_lie(name))
        run_seeded("12", lambda: world.run(judge))
        convictions = offer_all(pools[0]).convictions
    assert any(kind in conviction for conviction in convictions)
    for conviction in convictions:
        verify_proof(bytes.fromhex(conviction.rpartition(" ")[2]), [world.origin])
