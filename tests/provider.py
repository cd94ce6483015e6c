"""A provider in this process, with a real pipeline on a real SQLite file, and devices that write to it.

Must not know: how requests reach a provider; what a test is about.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import trio

from noise.config import ServeOptions
from noise.node import Node
from noise.pipeline.batches import CommittedEpoch
from noise.protocol.envelope import Bundle, Draft, Recipients, RecipientSet, build_bundle
from noise.protocol.errors import NoiseError
from noise.protocol.frames import Receipt
from noise.protocol.identifiers import device_id_of, parse_seq
from noise.protocol.signing import Signer
from noise.web.gateway import Gateway
from tests.pipeline.harness import running


@dataclass
class Clock:
    """A wall clock that a test sets."""

    ms: int = 1_700_000_000_000

    def __call__(self) -> int:
        return self.ms


class Provider:
    """A running provider. `clock`: what its faces take for the time."""

    def __init__(self, node: Node) -> None:
        self.origin = node.origin
        self.clock = Clock()
        self.gateway = Gateway(node.origin, node.pipeline, node.store, node.rosters, self.clock)
        self._fanout = node.pipeline.fanout
        self._fanout.on_shown = self._tell_shown
        self._shown = trio.Event()

    def _tell_shown(self, _: CommittedEpoch) -> None:
        self._shown.set()
        self._shown = trio.Event()

    @property
    def log_size(self) -> int:
        """How many epochs clients may see."""
        return self._fanout.view.epoch + 1 if self._fanout.view else 0

    async def wait_shown(self, receipt: Receipt) -> None:
        """Until the epoch of a receipt is committed and shown."""
        epoch, _, _ = parse_seq(receipt.first_seq)
        while self.log_size <= epoch:
            await self._shown.wait()

    async def grow_log(self, size: int) -> None:
        """Commit empty epochs until the log has `size` leaves."""
        while self.log_size < size:
            self.gateway.pipeline.sequencer.notice_work()
            await self._shown.wait()

    async def submit(self, bundle: Bundle) -> Receipt:
        """Past all faces; returns when the epoch is shown. Raises NoiseError."""
        outcomes: list[Receipt | NoiseError] = []
        known = trio.Event()

        def answer(outcome: Receipt | NoiseError) -> None:
            outcomes.append(outcome)
            known.set()

        await self.gateway.pipeline.submit(bundle.encode(), answer)
        await known.wait()
        (outcome,) = outcomes
        if isinstance(outcome, NoiseError):
            raise outcome
        await self.wait_shown(outcome)
        return outcome


@asynccontextmanager
async def running_provider(
    data: Path,
    *,
    topology: str = "parallel",
    inboxes: int = 1,
    outboxes: int = 1,
    epoch_ms: int = 0,
    idle_ms: int = 60_000,
) -> AsyncIterator[Provider]:
    """The provider in the directory `data`, made if need be, until the block's end. By itself it makes no epochs."""
    chosen = ServeOptions(data, "127.0.0.1", 0, topology, inboxes, outboxes, epoch_ms, idle_ms, 60_000)
    async with running(chosen) as node:
        yield Provider(node)


@dataclass
class Device:
    """A key pair, made from a name, and the counter of its messages."""

    name: str
    next_ctr: int = 1
    signer: Signer = field(init=False)
    device_id: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.signer = Signer(sha256(self.name.encode()).digest())
        self.device_id = device_id_of(self.signer.public_key)

    def write(self, origin: bytes, texts: Sequence[bytes], to: Sequence["Device"] = ()) -> Bundle:
        """A bundle with a message for each text, to `to` and to itself, that uses up its counters."""
        recipients = recipients_of(self.device_id, *[device.device_id for device in to])
        return self.bundle(origin, [Draft(recipients, text, (), 5) for text in texts])

    def bundle(self, origin: bytes, drafts: Sequence[Draft]) -> Bundle:
        """A bundle of drafts that uses up its counters."""
        bundle = build_bundle(self.signer, origin, self.next_ctr, drafts)
        self.next_ctr += len(drafts)
        return bundle


def recipients_of(*device_ids: bytes) -> Recipients:
    return Recipients(RecipientSet(bytes(16), tuple(sorted(set(device_ids)))))
