"""That the judges of worlds see: each bug that is planted here, in an otherwise honest provider, must be complained of.

Knows nothing of how they see it.
"""

import trio

from noise.node import Node
from noise.pipeline.batches import MergedEpoch
from noise.protocol.errors import ProviderMisbehaved
from noise.protocol.evidence.proof import verify_proof
from tests.simulation.checks import complaints_about
from tests.simulation.clockwork import run_seeded
from tests.simulation.framing import offer_all
from tests.simulation.lying import LyingWorld
from tests.simulation.pool import Pool, pool_of
from tests.simulation.remembered import remembered
from tests.simulation.result import Result
from tests.simulation.seeds import leaves_of
from tests.simulation.world import live_world
from tests.zoo.lies import make_lie

SEEDS = range(3, 15)


def _wrapped(owner: object, name: str, change) -> None:
    before = getattr(owner, name)
    setattr(owner, name, lambda *arguments: change(before(*arguments), *arguments))


def _complaints(seed: int, plant) -> list[str]:
    """What the judge says, or what ended the world."""
    try:
        return live_world(seed, complaints_about, on_node=plant)[1]
    except Exception as error:
        return [repr(leaf) for leaf in leaves_of(error)]


def test_a_dropped_message_is_missed() -> None:
    """Every outbox leaves the last mailbox out of each epoch that has more than one."""

    def drop(merged: MergedEpoch, *_: object) -> MergedEpoch:
        if len(merged.parts) > 1:
            del merged.parts[max(merged.parts)]
        return merged

    def plant(node: Node) -> None:
        for receiver in node.pipeline.receivers:
            _wrapped(receiver, "step", drop)

    found = [_complaints(seed, plant) for seed in SEEDS]
    assert sum(any("is missing" in one for one in complaints) for complaints in found) > len(SEEDS) // 2
    assert sum(any("has a proof" in one for one in complaints) for complaints in found) > len(SEEDS) // 3


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


def test_framers_convict_the_guilty() -> None:
    """The very offers that convict no honest provider convict those who lied, of what they did."""
    for name, kind in (
        ("drop-one", "Omission"),
        ("swap-seqs", "Conflict"),
        ("change-sender", "Conflict"),
        ("drop-all", "Omission"),
    ):
        pools: list[Pool] = []

        async def judge(result: Result, pools: list[Pool] = pools) -> list[str]:
            await trio.lowlevel.checkpoint()
            pools.append(await pool_of(result))
            return []

        with remembered():
            world = LyingWorld(1, make_lie(name))
            run_seeded("1", lambda world=world, judge=judge: world.run(judge))
            convictions = offer_all(pools[0]).convictions
        assert any(kind in conviction for conviction in convictions), name
        for conviction in convictions:
            verify_proof(bytes.fromhex(conviction.rpartition(" ")[2]), [world.origin])
