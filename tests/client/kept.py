"""A small world of what a client keeps: records, messages, recipient sets, notes, prekeys.

Must not know: where it is kept.
"""

from collections.abc import Sequence

from noise.protocol.envelope import Recipients, RecipientSet
from noise.protocol.identifiers import make_seq
from noise.protocol.merkle import EMPTY_RANGE, CompactRange, leaf_hash
from noise.protocol.prekeys import ONE_TIME, prekey_id_of
from noise.protocol.statements import MESSAGE_LEAF
from noise_client.evidence_store import Gained, KeptMessage, KeptNote, KeptRecord, PrivatePrekey
from noise_client.trust_store import TrustStore
from tests.vectors.cast import ORIGIN, device_of, filler, recipients_of


def record(k: int) -> KeptRecord:
    return KeptRecord(k, b"record %d" % k)


def leaf_of(seq: bytes, recipients: Recipients, sender: str = "alice") -> bytes:
    fixed = (filler(f"env {seq.hex()}", 32), filler("bundle", 32), len(recipients.device_ids), recipients.root)
    return MESSAGE_LEAF.pack(seq, device_of(sender), 1, *fixed, bytes(32), bytes(32))


def message(k: int, seq: bytes, *names: str) -> KeptMessage:
    recipients = recipients_of(*names)
    return KeptMessage(seq, k, recipients.root, leaf_of(seq, recipients))


def set_of(*names: str) -> tuple[bytes, RecipientSet]:
    recipients = recipients_of(*names)
    return recipients.root, RecipientSet(recipients.env_salt, recipients.device_ids)


def gain(store: TrustStore, gained: Gained, trusted: bytes = b"trusted") -> None:
    """A step that adds nothing else."""
    store.save_step(ORIGIN, trusted, {}, [], gained)


def gain_epochs(store: TrustStore, rows: Sequence[tuple[int, Sequence[tuple[str, ...]]]]) -> list[KeptMessage]:
    """For each (epoch, recipients of its messages) a record, numbered from 0; all messages."""
    records, messages = [], []
    for k, (epoch, sent) in enumerate(rows):
        records.append(record(k))
        messages += [message(k, make_seq(epoch, 0, n), *names) for n, names in enumerate(sent)]
    sets = {names: set_of(*names) for _, sent in rows for names in sent}
    gain(store, Gained(records, messages, list(sets.values())))
    return messages


def base_of(size: int) -> CompactRange:
    """The range over the first so many records."""
    base = EMPTY_RANGE
    for k in range(size):
        base = base.append(leaf_hash(record(k).record))
    return base


def note(size: int, *, is_distinguished: bool = False) -> KeptNote:
    return KeptNote(size, b"note %d %d" % (size, is_distinguished), is_distinguished)


def private_prekey(number: int, kind: int = ONE_TIME, made_ms: int = 7) -> PrivatePrekey:
    return PrivatePrekey(prekey_id_of(number), kind, filler(f"prekey {number}", 32), made_ms)
