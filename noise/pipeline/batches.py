"""What crosses each channel of the pipeline. Batches, never single messages; nobody changes one after it was sent.

A bundle at its place makes its own leaves, and a part of it has them: they are right by construction, wherever they go.

Knows nothing of the stages. An epoch travels as SealedLane (inbox to router), RoutedLane (router to receiver),
MergedEpoch (receiver to outbox), OutboxEpoch (outbox to sequencer) and CommittedEpoch (sequencer to fanout).
"""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import NamedTuple, TypeAlias
from zlib import crc32

from noise.protocol.delta import encode_section
from noise.protocol.envelope import Bundle, Recipients
from noise.protocol.errors import NoiseError
from noise.protocol.frames import Receipt
from noise.protocol.history import History
from noise.protocol.identifiers import make_seqs, parse_seq
from noise.protocol.merkle import leaf_hashes, tree_root
from noise.protocol.state_map import StateMap
from noise.protocol.statements import message_leaves
from noise.store.base import CacheRow, HistoryRow, StatementRow
from noise.store.custody import CustodyRow

Answer: TypeAlias = Callable[[Receipt | NoiseError], None]
"""How whoever submitted a bundle learns its fate, once: a receipt when it is durable, or why it was refused."""


class Submission(NamedTuple):
    """An encoded bundle from outside, unverified."""

    data: bytes
    answer: Answer


class Accepted:
    """A bundle at its place in an epoch of a lane. `leaf_hashes`: of its MessageLeaves there, in order.

    Raises DecodeError where the bundle has no room.
    """

    __slots__ = ("answers", "bundle", "bundle_id", "data", "first_pos", "first_seq", "leaf_hashes")

    def __init__(self, bundle: Bundle, data: bytes, bundle_id: int, first_seq: bytes) -> None:
        epoch, lane, first_pos = parse_seq(first_seq)
        self.bundle = bundle
        self.data = data
        self.bundle_id = bundle_id
        self.first_pos = first_pos
        self.first_seq = first_seq
        self.leaf_hashes = leaf_hashes(message_leaves(bundle, make_seqs(epoch, lane, first_pos, bundle.count)))
        self.answers: list[Answer] = []


class SealedLane(NamedTuple):
    """One lane of one epoch, its manifest durable."""

    epoch: int
    lane: int
    statement: StatementRow
    bundles: Sequence[Accepted]


class Content(NamedTuple):
    """The messages of a mailbox in an epoch: how many, and the root of the tree over their leaves."""

    n_messages: int
    delta_root: bytes


class Part:
    """The messages of one bundle that some mailboxes receive: `indexes` of them, or all when empty.

    Shared by all those mailboxes; the encoded section, and the tree over its messages and those that follow in the same
    mailboxes, are made at most once, when first needed. `first_place`, `last_place`: the seqs of its ends, as numbers.
    """

    __slots__ = (
        *("_contents", "_section", "bundle", "bundle_id", "first_place", "first_seq", "indexes", "last_place"),
        *("leaf_hashes", "signature_crc"),
    )

    def __init__(self, accepted: Accepted, indexes: tuple[int, ...]) -> None:
        hashes, first = accepted.leaf_hashes, int.from_bytes(accepted.first_seq, "big")
        self.bundle = bundle = accepted.bundle
        self.bundle_id = accepted.bundle_id
        self.first_seq = accepted.first_seq
        self.indexes = indexes
        self.leaf_hashes = [hashes[i] for i in indexes] if indexes else hashes
        self.first_place = first + (indexes[0] if indexes else 0)
        self.last_place = first + (indexes[-1] if indexes else bundle.count - 1)
        self.signature_crc = crc32(bundle.signature)
        self._section: bytes | None = None
        self._contents: dict[tuple[Part, ...], Content] = {}

    def content_with(self, others: "tuple[Part, ...]") -> Content:
        """Of a mailbox that receives this part first, and then these."""
        content = self._contents.get(others)
        if content is None:
            hashes = list(chain(self.leaf_hashes, *[part.leaf_hashes for part in others]))
            content = self._contents[others] = Content(len(hashes), tree_root(hashes))
        return content

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


Parts: TypeAlias = list[tuple[Part, Sequence[bytes]]]
"""Each part with the mailboxes that receive it, in position order."""


class RoutedLane(NamedTuple):
    """What one lane holds for one outbox.

    `kept`: the router's sheet. `entry_proof`: that the sheet has exactly this for the outbox.
    """

    epoch: int
    lane: int
    manifest: StatementRow
    kept: CustodyRow
    entry_proof: Sequence[bytes]
    parts: Parts
    n_deliveries: int


class MergedEpoch(NamedTuple):
    """All lanes of one outbox: the parts of each mailbox in seq order, and the same in groups, lane by lane.

    `manifests`, `routes`: every lane's. `kept`: the receiver's sheet.
    """

    epoch: int
    manifests: Sequence[StatementRow]
    routes: Sequence[CustodyRow]
    kept: CustodyRow
    parts: dict[bytes, list[Part]]
    groups: Parts
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
    routes: Sequence[CustodyRow]
    merge: CustodyRow
    head: CustodyRow
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
