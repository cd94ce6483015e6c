"""What a client must not lose: its contract, sentence by sentence, and how it is called from Trio.

Knows nothing of SQL or files, nor of what the trusted state says. Four things are kept: what was verified (one blob,
and the senders' counters), verified messages that the application has not taken, messages without a receipt, and the
evidence of `noise_client.evidence_store`.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from typing import NamedTuple, TypeVar, TypeVarTuple

import trio

from noise.protocol.identifiers import parse_seq
from noise_client.evidence_store import NOTHING_GAINED, EvidenceStore, Gained

ROW_BYTES = 256
"""What a kept message is taken to cost beside its own bytes."""

OFFENCES_MAX = 16
"""Offences kept: each may be as large as a frame, and the first is the one that matters."""


class Seal(IntEnum):
    """How a message came: as its sender wrote it for all to read, sealed and opened, or sealed and not to be opened."""

    NONE = 0
    OPENED = 1
    UNREADABLE = 2


class Delivery(NamedTuple):
    """One verified message. `seq`: its position, 16 bytes, whose byte order is delivery order.

    `recipients`: device ids, sorted, the sender's and our own among them. `data`: the plaintext; of a message that was
    not sealed the bytes that all recipients got, with `ciphertext` those for us alone, if any; of one that cannot be
    opened, nothing. `created_ms`: what the sender says. `leaf`: the encoded MessageLeaf.
    """

    seq: bytes
    sender: bytes
    sender_ctr: int
    created_ms: int
    recipients: tuple[bytes, ...]
    data: bytes
    ciphertext: bytes
    leaf: bytes
    seal: Seal = Seal.NONE

    @property
    def epoch(self) -> int:
        return parse_seq(self.seq)[0]

    @property
    def kept_bytes(self) -> int:
        """What it counts in a backlog."""
        return ROW_BYTES + 32 * len(self.recipients) + len(self.data) + len(self.ciphertext)


class QueuedMessage(NamedTuple):
    """One message to be sent. `recipients`: device ids, sorted and unique, our own among them.

    `kind`: what is sealed (as in `noise.protocol.sealing`); 0: the bytes travel as they are.
    """

    recipients: tuple[bytes, ...]
    data: bytes
    created_ms: int
    kind: int = 0

    @property
    def kept_bytes(self) -> int:
        """What it counts in the queue."""
        return ROW_BYTES + 32 * len(self.recipients) + len(self.data)


class Offence(NamedTuple):
    """What the provider sent that an honest one never sends. `evidence`: the offending bytes, verbatim."""

    time_ms: int
    code: str
    detail: str
    evidence: tuple[bytes, ...]


class Kept(NamedTuple):
    """What a store holds when it is opened, without the messages themselves.

    `origin` is None, and `trusted` empty, before the first verified delta. `bundle`: the frozen one, or empty.
    `queued_bytes`: `kept_bytes` of every queued message, oldest first.
    """

    private_key: bytes
    salt_secret: bytes
    origin: bytes | None
    trusted: bytes
    bundle: bytes
    backlog_bytes: int
    queued_bytes: list[int]


class TrustStore(EvidenceStore):
    """One device's durable memory. The contract:

    - Every method is atomic: it happens as a whole, or raises TrustStoreError and nothing of it happened.
    - What a method *makes durable* outlives a power failure. What it merely *writes* outlives the end of the process.
    - `private_key` and `salt_secret` never change, and neither does the origin once it is set.
    - A store is used by one process, and by one thread at a time; a second process is refused with "device-locked".
    - After `close`, which may be called twice, no other method may be called.
    """

    blocks: bool
    """Whether calls wait for a disk, and so belong into a worker thread."""

    @abstractmethod
    def load(self) -> Kept:
        """All that a client must know to go on."""

    @abstractmethod
    def last_counter(self, sender: bytes) -> int | None:
        """The counter that `save_step` saved last for a sender, or None."""

    @abstractmethod
    def next_counter(self) -> int:
        """Where the counters of the next bundle begin: 1, or where `freeze` or `save_step` moved it."""

    @abstractmethod
    def save_step(
        self,
        origin: bytes,
        trusted: bytes,
        counters: dict[bytes, int],
        deliveries: Sequence[Delivery],
        gained: Gained = NOTHING_GAINED,
    ) -> None:
        """Replace what is trusted, and add deliveries, whose seqs are above all before, and what evidence was gained;
        durable if anything but a note is added.

        Our own counter among `counters` moves `next_counter` beyond it: a key used elsewhere too goes on after that.
        """

    @abstractmethod
    def untaken(self, count_max: int, bytes_max: int) -> list[Delivery]:
        """The first deliveries that were not taken, in the order of seq.

        At most `count_max`, and no more than `bytes_max` of `kept_bytes`, but one at least if there is any.
        """

    @abstractmethod
    def take(self, seq: bytes) -> None:
        """Write that the application has taken all deliveries up to `seq`: they are forgotten."""

    @abstractmethod
    def add_queued(self, messages: Sequence[QueuedMessage]) -> None:
        """Make messages durable at the end of the queue."""

    @abstractmethod
    def queued(self, count_max: int, bytes_max: int) -> list[QueuedMessage]:
        """The first messages of the queue, limited as in `untaken`. A frozen bundle's messages are still there."""

    @abstractmethod
    def freeze(self, bundle: bytes, next_ctr: int) -> None:
        """Make the bundle durable that the first messages of the queue became. `next_ctr`: where its counters end."""

    @abstractmethod
    def finish(self, count: int) -> None:
        """Write that the frozen bundle and the first `count` messages are done with: they are forgotten."""

    @abstractmethod
    def save_offence(self, offence: Offence) -> None:
        """Make it durable. The oldest beyond OFFENCES_MAX are forgotten."""

    @abstractmethod
    def offences(self) -> list[Offence]:
        """Those that are kept, oldest first."""

    @abstractmethod
    def close(self) -> None: ...


T = TypeVar("T")
Ts = TypeVarTuple("Ts")
M = TypeVar("M", Delivery, QueuedMessage)


def first_rows(rows: Iterable[M], bytes_max: int) -> list[M]:
    """The first rows, up to `bytes_max` of `kept_bytes` together, but one at least if there is any."""
    first: list[M] = []
    total = 0
    for row in rows:
        total += row.kept_bytes
        if first and total > bytes_max:
            break
        first.append(row)
    return first


class StoreCalls:
    """Calls into one store, one at a time, and away from the event loop where they block.

    What a function does besides calling the store, it does alone as well: no two of them ever run together.
    """

    def __init__(self, store: TrustStore) -> None:
        self._blocks = store.blocks
        self._limiter = trio.CapacityLimiter(1)

    async def run(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Never abandoned: a call that began is waited for, also when the caller is cancelled meanwhile."""
        if self._blocks:
            return await trio.to_thread.run_sync(function, *args, limiter=self._limiter)
        await trio.lowlevel.checkpoint()
        return function(*args)

    async def run_short(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """For what only writes: made right here, three times as fast, unless another call is under way."""
        await trio.lowlevel.checkpoint()
        if self._limiter.borrowed_tokens:
            return await self.run(function, *args)
        return function(*args)
