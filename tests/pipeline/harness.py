"""Drives a real pipeline on a real store in this process, and follows mailboxes with real followers."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from noise.config import ServeOptions
from noise.node import Node, create_node, open_node
from noise.protocol.delta import Delivery, RecipientLists
from noise.protocol.envelope import Bundle, Draft, Recipients, RecipientSet, build_bundle
from noise.protocol.errors import NoiseError
from noise.protocol.follower import Follower, new_lists
from noise.protocol.frames import Cursor, DeltaFrame, Receipt, parse_frame
from noise.protocol.identifiers import device_id_of, parse_seq
from noise.protocol.signing import Signer


def options(
    data: Path, topology: str = "parallel", inboxes: int | None = None, outboxes: int | None = None
) -> ServeOptions:
    return ServeOptions(data, "127.0.0.1", 0, topology, inboxes, outboxes, 1, 1_000, 10_000)


@asynccontextmanager
async def running(chosen: ServeOptions) -> AsyncIterator[Node]:
    """A provider whose pipeline runs; stopped gracefully at the end. Made first if there is none."""
    if not chosen.data.exists():
        await create_node(chosen.data)
    async with open_node(chosen) as node, trio.open_nursery() as nursery:
        nursery.start_soon(node.pipeline.run)
        await node.pipeline.fanout.ready.wait()
        yield node
        node.pipeline.stop()


class Mailbox:
    """A device that follows its mailbox, without a network."""

    def __init__(self, origin: bytes, signer: Signer) -> None:
        self.signer = signer
        self.device_id = device_id_of(signer.public_key)
        self.deliveries: list[Delivery] = []
        self.counters: dict[bytes, int] = {}
        self.follower = Follower(origin, self.device_id, last_counter=self.counters.get)
        self.reset()

    def reset(self) -> None:
        """A new connection."""
        self.cursor: Cursor = self.follower.cursor
        self.lists = RecipientLists()
        self._server_side = ServerSide(self)

    def take(self, frame: bytes) -> None:
        delta_frame = parse_frame(frame)
        assert isinstance(delta_frame, DeltaFrame)
        step = self.follower.check_delta(delta_frame.delta, self.lists)
        self.follower.adopt(step)
        self.lists.admit(new_lists(delta_frame.delta))
        self.counters.update(step.counters)
        self.deliveries += step.deliveries

    async def catch_up(self, node: Node) -> int:
        """Fetch everything that is committed; the number of frames it took."""
        self.reset()
        fanout, subscriber, frames = node.pipeline.fanout, self._server_side, 0
        while True:
            self.take(await fanout.catch_up(subscriber))
            frames += 1
            assert subscriber.cursor == self.follower.cursor
            if fanout.join(subscriber):
                fanout.leave(subscriber)
                return frames


class ServerSide:
    """The fanout's Subscriber for a Mailbox: keeps what is pushed."""

    def __init__(self, mailbox: Mailbox) -> None:
        self.device_id = mailbox.device_id
        self.cursor = mailbox.follower.cursor
        self.lists = RecipientLists()
        self.frames: list[bytes] = []

    def push_nowait(self, frame: bytes) -> None:
        self.frames.append(frame)


class Answers:
    """Collects the fates of bundles."""

    def __init__(self) -> None:
        self.outcomes: dict[int, list[Receipt | NoiseError]] = {}
        self._changed = trio.Event()

    def __getitem__(self, number: int) -> list[Receipt | NoiseError]:
        return self.outcomes[number]

    async def submit(self, node: Node, number: int, data: bytes) -> None:
        def answer(outcome: Receipt | NoiseError) -> None:
            self.outcomes.setdefault(number, []).append(outcome)
            self._changed.set()

        await node.pipeline.submit(data, answer)

    async def wait(self, count: int) -> None:
        """Until so many answers came."""
        while sum(map(len, self.outcomes.values())) < count:
            self._changed = trio.Event()
            await self._changed.wait()

    async def wait_shown(self, node: Node, count: int) -> None:
        """Until so many answers came, and the epochs of all receipts are committed and shown."""
        await self.wait(count)
        receipts = [o for outcomes in self.outcomes.values() for o in outcomes if isinstance(o, Receipt)]
        last_epoch = max(parse_seq(receipt.first_seq)[0] for receipt in receipts)
        fanout, shown = node.pipeline.fanout, trio.Event()
        fanout.on_shown = lambda epoch: shown.set() if epoch.epoch >= last_epoch else None
        if fanout.view is None or fanout.view.epoch < last_epoch:
            await shown.wait()


def signer(number: int) -> Signer:
    return Signer(number.to_bytes(32, "big"))


def workload(origin: bytes, seed: int, n_devices: int = 8, n_bundles: int = 40) -> list[Bundle]:
    """Bundles of one seed: random senders, recipient sets, sizes, with and without per-recipient ciphertexts."""
    rng = random.Random(seed)
    signers = [signer(n + 1) for n in range(n_devices)]
    ids = [device_id_of(s.public_key) for s in signers]
    next_ctr = dict.fromkeys(range(n_devices), 0)
    bundles = []
    for _ in range(n_bundles):
        sender = rng.randrange(n_devices)
        sets = []
        for _ in range(rng.randint(1, 3)):
            members = {ids[sender], *rng.sample(ids, rng.randint(0, n_devices - 1))}
            sets.append(Recipients(RecipientSet(rng.randbytes(16), tuple(sorted(members)))))
        drafts = []
        for _ in range(rng.randint(1, 6)):
            recipients = rng.choice(sets)
            size = rng.choice([0, 0, 40])
            ciphertexts = tuple(rng.randbytes(size) for _ in recipients.device_ids) if size else ()
            drafts.append(Draft(recipients, rng.randbytes(rng.randint(0, 300)), ciphertexts, rng.randrange(2**40)))
        next_ctr[sender] += rng.choice([0, 0, 3])
        bundles.append(build_bundle(signers[sender], origin, next_ctr[sender], drafts))
        next_ctr[sender] += len(drafts)
    return bundles
