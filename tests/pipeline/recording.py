"""Honest deltas from a real pipeline, recorded: what a device trusted before each, and what then came.

Knows nothing of what a test does to them afterwards. One script, run once a session: see `_play`.
"""

import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
import trio

from noise.node import Node
from noise.pipeline.sequencer import Pace
from noise.protocol.delta import Delta, RecipientLists
from noise.protocol.envelope import Bundle, Draft, Recipients, RecipientSet, build_bundle
from noise.protocol.follower import Follower, Step, new_lists
from noise.protocol.frames import DeltaFrame, Receipt, parse_frame
from noise.protocol.identifiers import device_id_of
from noise.protocol.trust import Trusted
from noise.store.custody_memory import MemoryCustody
from noise.store.memory import MemoryStore
from tests.pipeline.harness import Answers, Mailbox, ServerSide, signer
from tests.pipeline.memory_provider import Keys, first_store, running_on, shaped

ONE_EPOCH_FOR_BOTH_S = 0.5
ALICE, BOB, CAROL, DAVE = (signer(n) for n in range(1, 5))


class Moment(NamedTuple):
    """A device before a delta, and the delta. `sent`: the recipient lists that its connection had brought."""

    origin: bytes
    device_id: bytes
    trusted: Trusted
    counters: dict[bytes, int]
    sent: tuple[Recipients, ...]
    delta: Delta

    def follower(self) -> Follower:
        return Follower(self.origin, self.device_id, self.trusted, last_counter=self.counters.get)

    def lists(self) -> RecipientLists:
        lists = RecipientLists()
        lists.admit(self.sent)
        return lists

    def check(self, delta: Delta) -> Step:
        return self.follower().check_delta(delta, self.lists())


class Promise(NamedTuple):
    """A bundle and its receipt, and a follower's rosters when it came."""

    trusted: Trusted
    bundle: Bundle
    receipt: Receipt


class Recording(NamedTuple):
    origin: bytes
    keys: Keys
    store: MemoryStore
    moments: dict[str, Moment]
    promises: list[Promise]


MOMENTS = [
    "first contact, nothing arrived for anybody",
    "first contact",
    "nothing arrived yet",
    "the next epoch",
    "heartbeat",
    "the same epoch again",
    "epochs were skipped",
    "another roster",
    "first page",
    "a page before the trusted state",
    "a page across the trusted states",
    "the last page",
]
"""What `_play` records."""


class Device(Mailbox):
    """A mailbox that records."""

    def __init__(self, origin: bytes, number: int, moments: dict[str, Moment]) -> None:
        super().__init__(origin, signer(number))
        self.moments = moments
        self.sent: list[Recipients] = []
        self.server_side = ServerSide(self)

    def reset(self) -> None:
        super().reset()
        self.sent = []
        self.server_side = ServerSide(self)

    def take_as(self, name: str, frame: bytes) -> None:
        parsed = parse_frame(frame)
        assert isinstance(parsed, DeltaFrame)
        follower = self.follower
        self.moments[name] = Moment(
            follower.origin, self.device_id, follower.trusted, dict(self.counters), tuple(self.sent), parsed.delta
        )
        self.take(frame)
        self.sent += new_lists(parsed.delta)

    async def fetch(self, node: Node, name: str) -> None:
        self.take_as(name, await node.pipeline.fanout.catch_up(self.server_side))
        assert self.server_side.cursor == self.follower.cursor


class Stage:
    """The provider's side of the script."""

    def __init__(self, origin: bytes) -> None:
        self.origin = origin
        self.next_ctr = dict.fromkeys((ALICE, BOB, CAROL, DAVE), 0)
        self.salt = 0

    def members(self, *signers: object) -> Recipients:
        self.salt += 1
        ids = tuple(sorted(device_id_of(s.public_key) for s in signers))
        return Recipients(RecipientSet(self.salt.to_bytes(16, "big"), ids))

    def bundle(self, sender, *drafts: tuple[Recipients, bytes, int]) -> Bundle:
        """Drafts: (recipients, common ciphertext, size of the own ciphertexts or 0)."""
        first_ctr = self.next_ctr[sender]
        self.next_ctr[sender] += len(drafts)
        made = [
            Draft(to, common, tuple(i[:size] for i in to.device_ids) if size else (), 1_000 + n)
            for n, (to, common, size) in enumerate(drafts)
        ]
        return build_bundle(sender, self.origin, first_ctr, made)

    async def commit(self, node: Node, *bundles: Bundle) -> list[Receipt]:
        """Submit, and wait until all is committed and shown. Without bundles: an empty epoch."""
        fanout = node.pipeline.fanout
        if not bundles:
            shown = trio.Event()
            fanout.on_shown = lambda _: shown.set()
            node.pipeline.sequencer.notice_work()
            await shown.wait()
            return []
        answers = Answers()
        for n, bundle in enumerate(bundles):
            await answers.submit(node, n, bundle.encode())
        await answers.wait_shown(node, len(bundles))
        return [answers[n][0] for n in range(len(bundles))]


async def _play(directory: Path, patch: pytest.MonkeyPatch) -> Recording:
    keys = Keys(directory / "keys", 2, 2)
    store, custody, data = await first_store(keys), MemoryCustody(), directory
    moments: dict[str, Moment] = {}
    promises: list[Promise] = []
    bob, dave = Device(keys.origin, 2, moments), Device(keys.origin, 4, moments)
    stage = Stage(keys.origin)
    two, three, own = stage.members(ALICE, BOB), stage.members(ALICE, BOB, CAROL), stage.members(ALICE)
    five = stage.members(ALICE, BOB, CAROL, *(signer(n) for n in (11, 12)))

    async def send(node: Node, *bundles: Bundle) -> None:
        receipts = await stage.commit(node, *bundles)
        known = bob.follower.trusted
        promises.extend(Promise(known, b, r) for b, r in zip(bundles, receipts, strict=True) if known.rosters)

    async with running_on(store, keys, shaped(data, 2, 2), custody) as node:
        fanout = node.pipeline.fanout
        await dave.fetch(node, "first contact, nothing arrived for anybody")
        await send(
            node,
            stage.bundle(ALICE, (two, b"one", 20), (own, b"to myself", 0), (five, b"two", 31), (two, b"", 0)),
        )
        await bob.fetch(node, "first contact")
        await dave.fetch(node, "nothing arrived yet")
        assert fanout.join(bob.server_side)
        both = [
            stage.bundle(ALICE, (two, b"three", 8), (own, b"again", 9)),
            stage.bundle(CAROL, (stage.members(BOB, CAROL), b"from carol", 0), (three_of(stage), b"to all", 5)),
        ]
        pace = node.pipeline.sequencer._pace
        node.pipeline.sequencer._pace = Pace(ONE_EPOCH_FOR_BOTH_S, 1.0)
        await send(node, *both)
        node.pipeline.sequencer._pace = pace
        [frame] = bob.server_side.frames
        bob.take_as("the next epoch", frame)
        fanout.leave(bob.server_side)
        await stage.commit(node)
        bob.reset()
        await bob.fetch(node, "heartbeat")
        await bob.fetch(node, "the same epoch again")
        await send(node, stage.bundle(CAROL, (three, b"four", 0)))
        await stage.commit(node)
        await send(node, stage.bundle(BOB, (two, b"five", 3), (three, b"six", 0)))
        await stage.commit(node)
        await bob.fetch(node, "epochs were skipped")
        await send(node, stage.bundle(ALICE, (two, b"before the change", 4)))
    async with running_on(store.reopen(), keys, shaped(data, 1, 3), custody.reopen()) as node:
        bob.reset()
        await bob.fetch(node, "another roster")
        for n in range(5):
            await send(node, stage.bundle((ALICE, CAROL)[n % 2], (three, b"page %d" % n, 6 * (n % 2))))
        bob.reset()
        # Of the 5 records that it lacks it gets 2; 3 more come; it gets 2; 2 more come; it gets 5, and then the last.
        for name, page_records, n_meanwhile in (
            ("first page", 2, 0),
            ("a page before the trusted state", 2, 3),
            ("a page across the trusted states", 5, 2),
            ("the last page", 5, 0),
        ):
            patch.setattr("noise.pipeline.catchup.PAGE_RECORDS_MAX", page_records)
            for n in range(n_meanwhile):
                await send(node, stage.bundle(ALICE, (two, b"meanwhile %d" % n, 0)))
                await stage.commit(node)
            await bob.fetch(node, name)
        assert node.pipeline.fanout.join(bob.server_side)
        node.pipeline.fanout.leave(bob.server_side)
    return Recording(keys.origin, keys, store, moments, promises)


def three_of(stage: Stage) -> Recipients:
    """A list that no delta brought before."""
    return stage.members(ALICE, BOB, CAROL)


@cache
def record(_provider: int = 0) -> Recording:
    """One and the same for each number: other numbers are other providers, who play the same script."""
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        return trio.run(_play, Path(directory), patch)
