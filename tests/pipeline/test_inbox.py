"""What an inbox does with a bundle that comes again: while its epoch is open, sealed, committed, and in another life.

Knows nothing of recipients. The clock stands still, so an epoch is open until a test lets it be cut.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from noise.node import Node
from noise.pipeline import reissue
from noise.protocol.envelope import Bundle, Draft, Recipients, RecipientSet, build_bundle
from noise.protocol.errors import NoiseError
from noise.protocol.follower import Follower
from noise.protocol.frames import Receipt
from noise.protocol.identifiers import device_id_of, parse_seq
from noise.protocol.limits import BUNDLE_MESSAGES_MAX
from noise.protocol.trust import NOTHING
from noise.store.base import ManifestWrite
from noise.store.memory import MemoryStore
from tests.pipeline.harness import Answers, signer
from tests.pipeline.memory_provider import Keys, first_store, running_on, shaped

pytestmark = pytest.mark.usefixtures("mock_clock")
LAST_CTR = 2**64 - 2
"""The last counter that a message can have: 2**64 - 1 must fit where the next free one is kept."""


class GatedStore(MemoryStore):
    """A disk that takes its time over manifests."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__()
        self._kept = store._kept
        self.gate: trio.Event | None = None

    async def append_manifest(self, write: ManifestWrite) -> None:
        if self.gate is not None:
            await self.gate.wait()
        await super().append_manifest(write)


class World:
    """A provider of one lane, and what its senders hear."""

    def __init__(self, node: Node, store: GatedStore, clock: MockClock) -> None:
        self.node = node
        self.store = store
        self.clock = clock
        self.answers = Answers()

    async def send(self, number: int, bundle: Bundle) -> None:
        await self.answers.submit(self.node, number, bundle.encode())
        await wait_all_tasks_blocked()

    async def cut(self) -> None:
        """Close the open epoch, and wait until nothing happens any more."""
        self.clock.jump(1)
        await wait_all_tasks_blocked()
        await trio.testing.wait_all_tasks_blocked(0.01)

    async def settle(self, count: int) -> None:
        """Until so many answers came."""
        with trio.fail_after(1000):
            await self.answers.wait(count)

    def receipt(self, number: int, place: int = 0) -> Receipt:
        outcome = self.answers[number][place]
        assert isinstance(outcome, Receipt), outcome
        return outcome

    def refusal(self, number: int, place: int = 0) -> str:
        outcome = self.answers[number][place]
        assert isinstance(outcome, NoiseError)
        return outcome.code

    def check(self, receipt: Receipt, bundle: Bundle) -> int:
        """That it verifies; its position."""
        rosters = tuple(self.node.rosters)
        one = Follower(self.node.origin, bytes(32), NOTHING._replace(rosters=rosters), last_counter=lambda _: None)
        return parse_seq(one.check_receipt(receipt, bundle)[0])[2]


@asynccontextmanager
async def world(directory: Path, clock: MockClock, life: World | None = None, inboxes: int = 1) -> AsyncIterator[World]:
    keys = Keys(directory / "keys") if life is None else life.keys
    store = GatedStore(await first_store(keys) if life is None else life.store)
    chosen = shaped(directory, inboxes)._replace(epoch_ms=500, idle_ms=600_000)
    async with running_on(store, keys, chosen) as node:
        made = World(node, store, clock)
        made.keys = keys
        yield made
        await made.cut()


def bundle_of(origin: bytes, first_ctr: int, *texts: bytes, number: int = 1) -> Bundle:
    by = signer(number)
    members = Recipients(RecipientSet(bytes(16), (device_id_of(by.public_key),)))
    return build_bundle(by, origin, first_ctr, [Draft(members, text, (), 0) for text in texts])


async def test_again_while_the_epoch_is_open(tmp_path: Path, mock_clock: MockClock) -> None:
    """One place, and everybody hears of it."""
    async with world(tmp_path, mock_clock) as one:
        bundle = bundle_of(one.node.origin, 5, b"a", b"b")
        for number in range(3):
            await one.send(number, bundle)
        await one.send(3, bundle_of(one.node.origin, 0, b"c", number=2))
        assert not one.answers.outcomes
        await one.cut()
        await one.settle(4)
        assert one.receipt(0) == one.receipt(1) == one.receipt(2)
        assert (one.check(one.receipt(0), bundle), parse_seq(one.receipt(3).first_seq)[2]) == (0, 2)


async def test_again_while_the_manifest_is_being_written(tmp_path: Path, mock_clock: MockClock) -> None:
    """Nobody hears anything before it is durable; then everybody does."""
    async with world(tmp_path, mock_clock) as one:
        bundle, next_one = bundle_of(one.node.origin, 0, b"a"), bundle_of(one.node.origin, 1, b"b")
        one.store.gate = trio.Event()
        await one.send(0, bundle)
        await one.cut()
        await one.send(1, bundle)
        await one.send(2, next_one)
        await one.send(3, bundle_of(one.node.origin, 0, b"another"))
        assert set(one.answers.outcomes) == {3}
        assert one.refusal(3) == "counter-conflict"
        one.store.gate.set()
        await one.settle(3)
        assert one.receipt(0) == one.receipt(1)
        assert 2 not in one.answers.outcomes
        await one.cut()
        await one.settle(4)
        assert parse_seq(one.receipt(2).first_seq)[0] == parse_seq(one.receipt(0).first_seq)[0] + 1


async def test_an_older_one_while_the_manifest_is_being_written(tmp_path: Path, mock_clock: MockClock) -> None:
    """It is looked up when the store has what was sealed after it."""
    async with world(tmp_path, mock_clock) as one:
        first, second = bundle_of(one.node.origin, 0, b"a"), bundle_of(one.node.origin, 1, b"b")
        await one.send(0, first)
        await one.cut()
        await one.settle(1)
        one.store.gate = trio.Event()
        await one.send(1, second)
        await one.cut()
        await one.send(2, first)
        assert set(one.answers.outcomes) == {0}
        one.store.gate.set()
        await one.settle(3)
        assert one.receipt(2) == one.receipt(0) != one.receipt(1)


async def test_again_later_and_in_another_life(tmp_path: Path, mock_clock: MockClock) -> None:
    """The same bytes get the same receipt for ever, whatever shape the provider has by then."""
    async with world(tmp_path, mock_clock) as one:
        bundles = [bundle_of(one.node.origin, 10 * n, b"%d" % n, b"x") for n in range(4)]
        for number, bundle in enumerate(bundles):
            await one.send(number, bundle)
            if number % 2:
                await one.cut()
        await one.settle(4)
        for number, bundle in enumerate(bundles):
            await one.send(10 + number, bundle)
        await one.settle(8)
        receipts = [one.receipt(number) for number in range(4)]
        assert [one.receipt(10 + number) for number in range(4)] == receipts
    for inboxes in (1, 3, 2):
        async with world(tmp_path, mock_clock, one, inboxes) as one:
            for number, bundle in enumerate(bundles):
                await one.send(number, bundle)
            await one.settle(4)
            assert [one.receipt(number) for number in range(4)] == receipts
            for number, bundle in enumerate(bundles):
                one.check(receipts[number], bundle)


@pytest.mark.parametrize("state", ["open", "committed", "restarted"])
async def test_conflicts(tmp_path: Path, mock_clock: MockClock, state: str) -> None:
    """A counter is used once: for other content, for a part of the same, or between two bundles, it is refused."""
    async with world(tmp_path, mock_clock) as one:
        origin = one.node.origin
        await one.send(0, bundle_of(origin, 10, b"a", b"b", b"c"))
        if state == "open":
            await check_conflicts(one, origin)
        await one.cut()
        await one.settle(1)
        assert one.receipt(0)
        if state == "committed":
            await check_conflicts(one, origin)
    if state == "restarted":
        async with world(tmp_path, mock_clock, one) as two:
            await check_conflicts(two, origin)


async def check_conflicts(one: World, origin: bytes) -> None:
    wrong = [
        bundle_of(origin, 10, b"a", b"b", b"C"),
        bundle_of(origin, 10, b"a", b"b"),
        bundle_of(origin, 10, b"a", b"b", b"c", b"d"),
        bundle_of(origin, 11, b"b", b"c"),
        bundle_of(origin, 12, b"c", b"d"),
        bundle_of(origin, 9, b"z", b"a"),
        bundle_of(origin, 0, b"skipped"),
        bundle_of(origin, 9, b"skipped"),
    ]
    answered = sum(map(len, one.answers.outcomes.values()))
    for number, bundle in enumerate(wrong, 100):
        await one.send(number, bundle)
    await one.settle(answered + len(wrong))
    assert [one.refusal(number) for number in range(100, 100 + len(wrong))] == ["counter-conflict"] * len(wrong)
    await one.send(200, bundle_of(origin, 13, b"d"))
    await one.cut()
    await one.settle(answered + len(wrong) + 1)
    assert one.receipt(200)


async def test_long_chains(tmp_path: Path, mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many bundles back, and no further."""
    monkeypatch.setattr(reissue, "STEPS_MAX", 6)
    async with world(tmp_path, mock_clock) as one:
        bundles = [bundle_of(one.node.origin, n, b"%d" % n) for n in range(10)]
        for number, bundle in enumerate(bundles):
            await one.send(number, bundle)
            if number % 3 == 0:
                await one.cut()
        await one.cut()
        await one.settle(10)
        for number, bundle in enumerate(bundles):
            await one.send(100 + number, bundle)
        await one.send(200, bundle_of(one.node.origin, 0, b"another"))
        await one.settle(21)
        assert [one.refusal(100 + number) for number in range(4)] == ["counter-too-old"] * 4
        assert [one.receipt(100 + number) for number in range(4, 10)] == [one.receipt(n) for n in range(4, 10)]
        assert one.refusal(200) == "counter-too-old"


async def test_the_last_counters(tmp_path: Path, mock_clock: MockClock) -> None:
    """Counters end right below 2**64 - 1; whoever has used the last one can only ask for receipts."""
    async with world(tmp_path, mock_clock) as one:
        origin = one.node.origin
        last = bundle_of(origin, LAST_CTR - 1, b"a", b"b")
        await one.send(0, last)
        await one.cut()
        await one.settle(1)
        one.check(one.receipt(0), last)
        with pytest.raises(NoiseError) as caught:
            bundle_of(origin, LAST_CTR + 1, b"c")
        assert caught.value.code == "counter-overflow"
    async with world(tmp_path, mock_clock, one) as two:
        await two.send(0, last)
        await two.send(1, bundle_of(origin, LAST_CTR, b"b"))
        await two.send(2, bundle_of(origin, 0, b"a"))
        await two.settle(3)
        assert two.receipt(0) == one.receipt(0)
        assert (two.refusal(1), two.refusal(2)) == ("counter-conflict", "counter-conflict")


async def test_malformed_bundles_do_no_harm(tmp_path: Path, mock_clock: MockClock) -> None:
    async with world(tmp_path, mock_clock) as one:
        good = bundle_of(one.node.origin, 0, b"a")
        data = good.encode()
        for number, wrong in enumerate((data[:-1], data + b"\0", data[:70], bytes(64), bytes(200))):
            await one.answers.submit(one.node, number, wrong)
        for short in (b"", data[:63]):
            with pytest.raises(NoiseError):
                await one.node.pipeline.submit(short, lambda _: None)
        await one.answers.submit(one.node, 9, bundle_of(bytes(32), 0, b"a").encode())
        await one.send(10, good)
        await one.cut()
        await one.settle(7)
        assert {one.refusal(number) for number in (0, 1, 2, 3, 4)} <= {"malformed", "wrong-origin", "bundle-count"}
        assert one.refusal(9) == "wrong-origin"
        assert one.check(one.receipt(10), good) == 0


async def test_a_full_epoch_waits_for_the_next(tmp_path: Path, mock_clock: MockClock) -> None:
    """More than fits is accepted in order, epoch after epoch, and nothing is refused."""
    async with world(tmp_path, mock_clock) as one:
        inbox = one.node.pipeline.inboxes[0]
        inbox._limits = inbox._limits._replace(messages=BUNDLE_MESSAGES_MAX // 64)
        bundles = [bundle_of(one.node.origin, 3 * n, b"a", b"b", b"c") for n in range(5)]
        for number, bundle in enumerate(bundles):
            await one.answers.submit(one.node, number, bundle.encode())
        for _ in bundles:
            await one.cut()
        await one.settle(5)
        epochs = [parse_seq(one.receipt(number).first_seq)[0] for number in range(5)]
        assert epochs == list(range(epochs[0], epochs[0] + 5))
