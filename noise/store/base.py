"""The durable store: its rows, its errors, and its contract, sentence by sentence.

Must not know: the protocol (to a store, bodies are opaque bytes and the rest are small integers), nor SQL, files or
threads, which are a concrete store's own business.
"""

from abc import ABC, abstractmethod
from array import array
from collections.abc import Sequence
from typing import NamedTuple

from noise.protocol.errors import NoiseError

LANE_BITS = 10
"""`bundle_id = (number << LANE_BITS) | lane`: ids rise within a lane, and those of all lanes rise together."""

ID_STEP = 1 << LANE_BITS
"""From a bundle's id to the id of the next bundle of its lane."""

NUMBER_MAX = 2**63 - 2
"""Largest epoch, bundle id or version, so that the one after it is still a signed 64-bit number."""

PAGE_ROWS = 1024
"""Rows in a page unless the caller says otherwise. Rows of bundles can hold a megabyte each: ask for fewer of those."""


class StoreMissing(NoiseError):
    """There is no store at that place."""

    default_code = "store-missing"


class StoreForeign(NoiseError):
    """A sound store that is not ours to open: of another provider, or of another format version."""

    default_code = "store-foreign"


class StoreCorrupt(NoiseError):
    """What is stored is not what was written. Serve nothing from it: restore it or mend it first."""

    default_code = "store-corrupt"


class StoreLocked(NoiseError):
    """Somebody else, in this process or another, has the store open."""

    default_code = "store-locked"


class StoreFailed(NoiseError):
    """The outcome of a write is unknown, or the store cannot be used at all. Stop, and recover by opening it again."""

    default_code = "store-failed"


class WriteRefused(NoiseError):
    """Nothing of the write was stored, and the store goes on. The subclass says why."""


class SlotTaken(WriteRefused):
    """The slot, or the roster version, holds other bytes. They never change: emit those that are stored."""

    default_code = "slot-taken"


class StoreConflict(WriteRefused):
    """The write does not continue what is stored, or breaks its own shape."""

    default_code = "store-conflict"


class PrekeysFull(WriteRefused):
    """The device would have more one-time prekeys than it may."""

    default_code = "too-many-prekeys"


class DevicesFull(WriteRefused):
    """More devices would have prekeys than may."""

    default_code = "prekey-quota"


class StatementRow(NamedTuple):
    """A signing slot and what was signed for it. `actor`: 5 bytes, u32 `incarnation`. The key is the first three."""

    epoch: int
    actor: bytes
    incarnation: int
    body: bytes
    signature: bytes


class BundleRow(NamedTuple):
    """A device's bundle. `first_pos`: u48, its first message's position in (epoch, lane). `sender`: 32 bytes.

    `first_ctr`: u64. `n_messages`: u32. `prev_id`: the sender's previous bundle, in whatever lane; -1 is none.
    """

    bundle_id: int
    epoch: int
    first_pos: int
    sender: bytes
    first_ctr: int
    n_messages: int
    prev_id: int
    body: bytes


class ManifestRow(NamedTuple):
    """A manifest and the half-open range of bundle ids under it; both ends are ids of `lane`, ID_STEP apart."""

    epoch: int
    lane: int
    statement: StatementRow
    first_id: int
    next_id: int


class ManifestWrite(NamedTuple):
    """A manifest and exactly the bundles of its range, ids and positions rising. Empty: `first_id == next_id`."""

    epoch: int
    lane: int
    statement: StatementRow
    first_id: int
    next_id: int
    bundles: Sequence[BundleRow]


class HistoryRow(NamedTuple):
    """What `mailbox` (32 bytes) received in `epoch`. `prev_epoch`: that of its row before, -1 is none."""

    mailbox: bytes
    epoch: int
    prev_epoch: int
    record: bytes
    picks: bytes


class CacheRow(NamedTuple):
    """`key`: 32 bytes. `value`: opaque."""

    key: bytes
    value: bytes


class EpochRow(NamedTuple):
    """An epoch as the log has it. `leaf_hash`: 32 bytes."""

    epoch: int
    record: bytes
    leaf_hash: bytes
    checkpoint: bytes


class EpochWrite(NamedTuple):
    """All that one epoch changes. `leaf_hash`, `block_hash`: 32 bytes. `history`: of this epoch, mailboxes rising.

    `mailboxes` and `senders` are caches, written lazily, that make starting fast; `replay_epoch` is their watermark:
    every row that an epoch before it changed is in them, and what later epochs changed is replayed. `acks`: by device.
    `challenges`: by what identifies them, those that the epoch opens or answers.
    """

    epoch: int
    record: bytes
    leaf_hash: bytes
    block_hash: bytes | None
    checkpoint: bytes
    statements: Sequence[StatementRow]
    history: Sequence[HistoryRow]
    mailboxes: Sequence[CacheRow]
    senders: Sequence[CacheRow]
    replay_epoch: int
    acks: Sequence[CacheRow]
    challenges: Sequence[CacheRow]


class RosterRow(NamedTuple):
    """A roster with its signature, verbatim."""

    version: int
    body_and_signature: bytes


class PrekeyRow(NamedTuple):
    """A device's prekey, verbatim. `prekey_id`: 8 bytes. `not_after_ms`: the last moment at which it is handed out."""

    prekey_id: bytes
    not_after_ms: int
    body: bytes


class PrekeyWrite(NamedTuple):
    """What `device` (32 bytes) uploads at `now_ms`. `one_time`: ids rising. `fallback`: of another id, or None.

    `one_time_max`: unexpired ones that a device may have. `devices_max`: devices that may have any, in all.
    """

    device: bytes
    now_ms: int
    one_time: Sequence[PrekeyRow]
    fallback: PrekeyRow | None
    one_time_max: int
    devices_max: int


class PrekeyTake(NamedTuple):
    """Somebody asks for a prekey of `device` (32 bytes) at `now_ms`."""

    device: bytes
    now_ms: int


class PrekeyPair(NamedTuple):
    """Bodies of unexpired prekeys of one device, or None. `one_time` is nowhere else any more."""

    one_time: bytes | None
    fallback: bytes | None


class PrekeyTally(NamedTuple):
    """Unexpired prekeys of a device. `fallback_not_after_ms` 0: no fallback. `last_id`: the highest ever stored, or
    zeros."""

    one_time: int
    fallback_not_after_ms: int
    last_id: bytes


class Store(ABC):
    """Durable state. The contract, of which every sentence is one test that every store passes:

    - A write returns only when it is durable: whoever opens the store again finds it.
    - A write is all or nothing.
    - A write that is stored already, byte for byte, changes nothing and succeeds.
    - Other bytes for a stored slot raise SlotTaken.
    - Other bytes for a stored roster version raise SlotTaken.
    - A new manifest for an epoch that is committed raises StoreConflict.
    - A second manifest for one epoch and lane raises StoreConflict, even in another slot.
    - A bundle id is stored once: another manifest that uses it raises StoreConflict.
    - Any epoch but next_epoch raises StoreConflict, except the last one with nothing in it that is not stored.
    - A replay_epoch that falls, or passes the epoch it comes with by more than one, raises StoreConflict.
    - A write that breaks its own shape raises StoreConflict.
    - Counters take all of u64.
    - Epochs, ids and versions end at NUMBER_MAX: beyond it they raise StoreConflict.
    - A refused write stores nothing.
    - A refused write does no harm to the writes that wait beside it.
    - A cancelled write was never begun, or runs to its end once.
    - After StoreFailed every write raises StoreFailed, until the store is opened again.
    - A cache row replaces the value of its key, and the last of several in one write wins.
    - A prekey whose id is not above all that its device ever stored changes nothing, taken or not.
    - A new fallback replaces the one before.
    - A one-time prekey is taken once, lowest id first, and is durably gone when it is handed out.
    - A prekey is neither stored, nor taken, nor counted after its not_after_ms.
    - More one-time prekeys of a device than one_time_max raise PrekeysFull.
    - More devices with prekeys than devices_max raise DevicesFull, unless all prekeys of another have expired.

    - A read sees every write that returned before it began.
    - A new store has next_epoch 0 and replay_epoch 0; a committed epoch sets both.
    - epoch_row is None at next_epoch and beyond.
    - leaf_hashes are those of the range, as far as it is committed.
    - block_hashes are those that were given, in order.
    - statements of an epoch come by actor, then incarnation.
    - manifests of an epoch come by lane.
    - pending_manifests are those of next_epoch and beyond, by epoch, then lane.
    - bundles of a range come in position order, and a hole raises StoreCorrupt.
    - bundles_of are those of one manifest, and none if there is no manifest.
    - bundles_by_id leaves out what is not stored.
    - bundles_since pages by epoch, lane and id, bundles of pending manifests included.
    - history_epochs walks from last_epoch back to after_epoch, excluded, and returns ascending epochs.
    - A hole in a mailbox's chain raises StoreCorrupt.
    - history_rows come in the order asked for, and a missing one raises StoreCorrupt.
    - history_since pages by epoch, then mailbox.
    - Caches page by key, and a page shorter than its limit is the last one.
    - rosters come by version.
    - A number or key that no row has is not an error but an empty answer.

    A read is bounded by its arguments: a range by its ends, a list of ids by its length, a page by `limit`, in rows.
    Every read may raise StoreCorrupt if what is stored is damaged, and StoreFailed if it cannot be read or is closed.
    """

    @property
    @abstractmethod
    def next_epoch(self) -> int:
        """How many epochs are committed, which is the one to commit next."""

    @property
    @abstractmethod
    def replay_epoch(self) -> int:
        """The caches lack nothing that an epoch before this one changed."""

    @abstractmethod
    async def append_manifest(self, write: ManifestWrite) -> None:
        """Raises SlotTaken, StoreConflict, StoreFailed."""

    @abstractmethod
    async def commit_epoch(self, write: EpochWrite) -> None:
        """Raises SlotTaken, StoreConflict, StoreFailed."""

    @abstractmethod
    async def add_roster(self, version: int, body_and_signature: bytes) -> None:
        """Raises SlotTaken, StoreConflict, StoreFailed."""

    @abstractmethod
    async def add_prekeys(self, write: PrekeyWrite) -> PrekeyTally:
        """What the device has then. Raises PrekeysFull, DevicesFull, StoreConflict, StoreFailed."""

    @abstractmethod
    async def take_prekey(self, device: bytes, now_ms: int) -> PrekeyPair:
        """A write only if there is a one-time prekey to take. Raises StoreFailed."""

    @abstractmethod
    async def count_prekeys(self, device: bytes, now_ms: int) -> PrekeyTally:
        """Of one device."""

    @abstractmethod
    async def rosters(self) -> list[RosterRow]:
        """All of them: there are as many as the root key has signed."""

    @abstractmethod
    async def epoch_row(self, epoch: int) -> EpochRow | None:
        """One row."""

    @abstractmethod
    async def leaf_hashes(self, first_epoch: int, next_epoch: int) -> list[bytes]:
        """32 bytes for each epoch of the range."""

    @abstractmethod
    async def block_hashes(self) -> list[bytes]:
        """32 bytes for each epoch that was committed with one: as many as the log has full blocks of leaves."""

    @abstractmethod
    async def statements(self, epoch: int) -> list[StatementRow]:
        """As many as actors, or incarnations of them, signed for the epoch."""

    @abstractmethod
    async def manifests(self, epoch: int) -> list[ManifestRow]:
        """At most one for each lane, without the bundles."""

    @abstractmethod
    async def pending_manifests(self) -> list[ManifestRow]:
        """At most one for each lane and epoch in flight, without the bundles."""

    @abstractmethod
    async def bundles(self, first_id: int, next_id: int) -> list[BundleRow]:
        """One for each id of the lane in the range. The lane is in the ids, and both ends are of the same."""

    @abstractmethod
    async def bundles_of(self, epoch: int, lane: int) -> list[BundleRow]:
        """As `bundles`, for the range of a manifest."""

    @abstractmethod
    async def bundles_by_id(self, ids: Sequence[int]) -> dict[int, BundleRow]:
        """At most one for each id, of any lanes."""

    @abstractmethod
    async def bundles_since(
        self, epoch: int, after: tuple[int, int] | None = None, limit: int = PAGE_ROWS
    ) -> list[BundleRow]:
        """A page of the bundles of `epoch` and later. `after`: (epoch, bundle_id) of the page before's last row."""

    @abstractmethod
    async def history_epochs(self, mailbox: bytes, last_epoch: int, after_epoch: int) -> "array[int]":
        """Epochs, 8 bytes each (typecode Q), after `after_epoch` in which the mailbox has rows.

        `last_epoch` is the last of them, as whoever keeps the mailbox's state knows it; -1 if it has none.
        """

    @abstractmethod
    async def history_rows(self, mailbox: bytes, epochs: Sequence[int]) -> list[HistoryRow]:
        """One for each epoch, of those that `history_epochs` found."""

    @abstractmethod
    async def history_since(
        self, epoch: int, after: tuple[int, bytes] | None = None, limit: int = PAGE_ROWS
    ) -> list[HistoryRow]:
        """A page of the rows of `epoch` and later. `after`: (epoch, mailbox) of the page before's last row."""

    @abstractmethod
    async def mailbox_cache(self, after: bytes | None = None, limit: int = PAGE_ROWS) -> list[CacheRow]:
        """A page. `after`: the key of the page before's last row."""

    @abstractmethod
    async def sender_cache(self, after: bytes | None = None, limit: int = PAGE_ROWS) -> list[CacheRow]:
        """A page. `after`: the key of the page before's last row."""

    @abstractmethod
    async def acks(self, after: bytes | None = None, limit: int = PAGE_ROWS) -> list[CacheRow]:
        """A page. `after`: the key of the page before's last row."""

    @abstractmethod
    async def challenges(self, after: bytes | None = None, limit: int = PAGE_ROWS) -> list[CacheRow]:
        """A page. `after`: the key of the page before's last row."""
