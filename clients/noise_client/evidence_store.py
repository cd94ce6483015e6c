"""What a client keeps of its provider's word, to show it to others: the contract, sentence by sentence.

Knows nothing of SQL or files, nor of when something may be forgotten: `noise_client.retention` decides that. The signed
part (checkpoint, head, path) is in the trusted blob; here is what it commits to, and what peers have said about it.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from noise.protocol.envelope import RecipientSet
from noise.protocol.merkle import CompactRange

NOTES_MAX = 64
"""Checkpoints kept with their signatures, of each kind: some 250 bytes each."""

PROOFS_MAX = 64
"""Proofs kept: each convicts, so the first is the one that matters."""


class KeptRecord(NamedTuple):
    """History record `k` of our mailbox, encoded."""

    k: int
    record: bytes


class KeptMessage(NamedTuple):
    """A message of history record `k`. `leaf`: the encoded MessageLeaf."""

    seq: bytes
    k: int
    recipients_root: bytes
    leaf: bytes


class KeptNote(NamedTuple):
    """A checkpoint note of the log at `size`, verbatim. `is_distinguished`: one of those that every client keeps."""

    size: int
    note: bytes
    is_distinguished: bool


class Pair(NamedTuple):
    """Our pair chain with a peer. `base_*`: where what is kept of it begins: last seq, length and head before that.

    `matched_length`, `matched_epoch`: the last cut at which both chains were the same; epoch -1: never compared.
    `disputed_seq`: where the last dispute found the first difference; empty: there was none.
    """

    peer: bytes
    base_seq: bytes
    base_length: int
    base_head: bytes
    matched_length: int
    matched_epoch: int
    disputed_seq: bytes = b""


class KeptReceipt(NamedTuple):
    """A receipt that is not honoured yet: the encoded bundle, and the encoded receipt. `first_seq` of the bundle."""

    first_seq: bytes
    bundle: bytes
    receipt: bytes


class KeptProof(NamedTuple):
    """A proof of misbehaviour that was verified. `time_ms`: when we had it."""

    time_ms: int
    proof: bytes


class PrivatePrekey(NamedTuple):
    """Our half of a prekey. `kind`: as in `noise.protocol.prekeys`. `made_ms`: when."""

    prekey_id: bytes
    kind: int
    private_key: bytes
    made_ms: int


class Gained(NamedTuple):
    """What a verified step adds. `spent`: ids of one-time prekeys that opened something: they are forgotten."""

    records: Sequence[KeptRecord] = ()
    messages: Sequence[KeptMessage] = ()
    sets: Sequence[tuple[bytes, RecipientSet]] = ()
    notes: Sequence[KeptNote] = ()
    spent: Sequence[bytes] = ()


NOTHING_GAINED = Gained()


class EvidenceStore(ABC):
    """The contract, beyond that of `TrustStore`:

    - What `save_step` gains is added in the same transaction; what is kept already stays as it is.
    - Of each kind of note the NOTES_MAX largest sizes are kept.
    - Every method is atomic, and what it saves outlives the end of the process.
    - Prekeys, receipts and proofs are durable when the method that saves them returns.
    """

    @abstractmethod
    def base(self) -> CompactRange:
        """The range over the records that were forgotten."""

    @abstractmethod
    def records(self, first_k: int) -> list[bytes]:
        """The encoded records from record `first_k` on, in order."""

    @abstractmethod
    def leaves(self, k: int) -> list[bytes]:
        """The encoded leaves of a record, in seq order; empty when it is not kept."""

    @abstractmethod
    def recipient_set(self, root: bytes) -> RecipientSet | None:
        """A recipient list by its root."""

    @abstractmethod
    def chain_leaves(self, peer: bytes, after_seq: bytes, count: int) -> list[bytes]:
        """The first `count` kept leaves after `after_seq` whose recipients include `peer`, in seq order."""

    @abstractmethod
    def peers(self, next_k: int) -> list[bytes]:
        """All recipients of the kept messages of records before `next_k`."""

    @abstractmethod
    def pair(self, peer: bytes) -> Pair | None:
        """What was saved last about a peer."""

    @abstractmethod
    def save_pairs(self, pairs: Sequence[Pair]) -> None:
        """Replace what is known of these peers."""

    @abstractmethod
    def forget(self, base: CompactRange, pairs: Sequence[Pair]) -> None:
        """Forget the records before `base.size`, their messages, and the sets that only they had; save these pairs."""

    @abstractmethod
    def notes(self) -> list[KeptNote]:
        """All that are kept, by size."""

    @abstractmethod
    def save_note(self, note: KeptNote) -> None:
        """Keep it among those of its kind."""

    @abstractmethod
    def save_receipt(self, receipt: KeptReceipt) -> None:
        """Keep it until it is dropped."""

    @abstractmethod
    def receipts(self) -> list[KeptReceipt]:
        """By first seq."""

    @abstractmethod
    def drop_receipt(self, first_seq: bytes) -> None:
        """It was honoured, or became a proof."""

    @abstractmethod
    def save_proof(self, proof: KeptProof) -> bool:
        """Whether it was new. The first PROOFS_MAX are kept."""

    @abstractmethod
    def proofs(self) -> list[KeptProof]:
        """Oldest first."""

    @abstractmethod
    def save_prekeys(self, prekeys: Sequence[PrivatePrekey]) -> None:
        """Before their public halves are published."""

    @abstractmethod
    def prekey(self, prekey_id: bytes) -> PrivatePrekey | None:
        """One of ours."""

    @abstractmethod
    def prekeys(self, kind: int) -> list[PrivatePrekey]:
        """All of a kind, the newest last."""

    @abstractmethod
    def last_prekey_id(self) -> bytes:
        """The highest id that was ever saved, that of a forgotten key too; NO_PREKEY_ID: there was none."""

    @abstractmethod
    def drop_prekeys(self, prekey_ids: Sequence[bytes]) -> None:
        """Forget these: what was sealed for them cannot be opened any more."""

    @abstractmethod
    def evidence_bytes(self) -> tuple[int, int]:
        """(messages kept, bytes that records, messages and sets take)."""
