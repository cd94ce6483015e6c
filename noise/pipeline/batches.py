"""What crosses each channel of the pipeline. Batches, never single messages; nobody changes one after it was sent.

Knows nothing of the stages. An epoch travels as SealedLane (inbox to router), RoutedLane (router to receiver),
MergedEpoch (receiver to outbox), OutboxEpoch (outbox to sequencer) and CommittedEpoch (sequencer to fanout).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias
from zlib import crc32

from noise.protocol.delta import encode_section
from noise.protocol.envelope import Bundle, Recipients
from noise.protocol.errors import NoiseError
from noise.protocol.frames import Receipt
from noise.protocol.history import History
from noise.protocol.state_map import StateMap
from noise.store.base import CacheRow, HistoryRow, StatementRow

Answer: TypeAlias = Callable[[Receipt | NoiseError], None]
"""How whoever submitted a bundle learns its fate, once: a receipt when it is durable, or why it was refused."""


class Submission(NamedTuple):
    """An encoded bundle from outside, unverified."""

    data: bytes
    answer: Answer


class Accepted:
    """A verified bundle at its place in the open epoch of a lane. `leaf_hashes`: of its MessageLeaves, in order."""

    __slots__ = ("answers", "bundle", "bundle_id", "data", "first_pos", "first_seq", "leaf_hashes")

    def __init__(
        self, bundle: Bundle, data: bytes, bundle_id: int, first_pos: int, seqs: Sequence[bytes], leaves: list[bytes]
    ) -> None:
        self.bundle = bundle
        self.data = data
        self.bundle_id = bundle_id
        self.first_pos = first_pos
        self.first_seq = seqs[0]
        self.leaf_hashes = leaves
        self.answers: list[Answer] = []


class SealedLane(NamedTuple):
    """One lane of one epoch, its manifest durable."""

    epoch: int
    lane: int
    statement: StatementRow
    bundles: Sequence[Accepted]


class Part:
    """The messages of one bundle that some mailboxes receive: `indexes` of them, or all when empty.

    Shared by all those mailboxes; the encoded section is made at most once, when first needed.
    """

    __slots__ = ("_section", "bundle", "bundle_id", "first_seq", "indexes", "leaf_hashes", "signature_crc")

    def __init__(
        self, bundle: Bundle, bundle_id: int, first_seq: bytes, indexes: tuple[int, ...], leaf_hashes: list[bytes]
    ) -> None:
        self.bundle = bundle
        self.bundle_id = bundle_id
        self.first_seq = first_seq
        self.indexes = indexes
        self.leaf_hashes = leaf_hashes
        self.signature_crc = crc32(bundle.signature)
        self._section: bytes | None = None

    def section(self) -> bytes:
        """What all recipients of the part share of its section."""
        if self._section is None:
            self._section = encode_section(self.bundle, self.first_seq, self.indexes)
        return self._section

    def recipients(self) -> list[Recipients]:
        """The recipient lists that the part's messages went to."""
        if not self.indexes:
            return self.bundle.recipients
        rows = self.bundle.rows
        return [self.bundle.recipients[place] for place in dict.fromkeys([rows[i][0] for i in self.indexes])]


class RoutedLane(NamedTuple):
    """What one lane holds for one outbox: parts in position order, each with the mailboxes that receive it."""

    epoch: int
    lane: int
    statement: StatementRow
    parts: Sequence[tuple[Part, Sequence[bytes]]]
    n_deliveries: int


class MergedEpoch(NamedTuple):
    """All lanes of one outbox: the parts of each mailbox in seq order. `statements`: every lane's manifest."""

    epoch: int
    statements: Sequence[StatementRow]
    parts: dict[bytes, list[Part]]
    n_deliveries: int


class Touched(NamedTuple):
    """What an epoch did to one mailbox. `own_parts`: the recipient's own part of each section; None: all are empty."""

    key: bytes
    record: bytes
    state: bytes
    parts: list[Part]
    own_parts: list[bytes] | None


class OutboxEpoch(NamedTuple):
    """An outbox's result: its signed head, the states under it, and what goes to the store and to the mailboxes."""

    epoch: int
    number: int
    manifests: Sequence[StatementRow]
    statement: StatementRow
    states: StateMap[History]
    touched: dict[bytes, Touched]
    history: Sequence[HistoryRow]
    caches: Sequence[CacheRow]
    replay_epoch: int
    n_deliveries: int


class CommittedOutbox(NamedTuple):
    """One outbox after a committed epoch: what its mailboxes' deltas share (encoded DeltaShared), and their states."""

    shared: bytes
    states: StateMap[History]
    touched: dict[bytes, Touched]


class CommittedEpoch(NamedTuple):
    """An epoch that is durable and may be shown. `outboxes` by number."""

    epoch: int
    time_ms: int
    n_messages: int
    n_deliveries: int
    outboxes: Sequence[CommittedOutbox]
