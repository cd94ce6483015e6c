"""What a stage keeps of an epoch beside its statement, so that it can answer for it later: a custody row's batch.

Knows nothing of stores or proofs. Messages are named by bundle and index: bundles prove themselves. What nobody else
can say is who was to get them from this stage, and that is written out.
"""

import struct
from collections.abc import Sequence
from typing import Annotated, NamedTuple, TypeVar

from noise.pipeline.batches import Parts
from noise.protocol.encoding import U64, Codec, Hashes, Indexes, list_of, struct_codec
from noise.protocol.errors import DecodeError
from noise.store.base import StoreCorrupt

T = TypeVar("T")

_PART_HEAD = struct.Struct(">QI")
_COUNT = struct.Struct(">I")


class KeptPart(NamedTuple):
    """Messages of a bundle (all, when `indexes` is empty), and the mailboxes that receive exactly those."""

    bundle_id: U64
    indexes: Indexes
    mailboxes: Hashes


KEPT_PART = struct_codec(KeptPart)
KEPT_PARTS: Codec[tuple[KeptPart, ...]] = list_of(KEPT_PART)


class KeptLane(NamedTuple):
    """What a receiver was given of one lane: `entry_proof` leads from its parts to the route sheet's root."""

    entry_proof: Hashes
    parts: Annotated[tuple[KeptPart, ...], KEPT_PARTS]


KEPT_LANE = struct_codec(KeptLane)

ROUTER_BATCH: Codec[tuple[tuple[KeptPart, ...], ...]] = list_of(KEPT_PARTS)
"""The parts of each outbox, by number."""

RECEIVER_BATCH: Codec[tuple[KeptLane, ...]] = list_of(KEPT_LANE)
"""The lanes, in order."""

OUTBOX_BATCH = KEPT_PARTS
"""Of all lanes, lane by lane."""


def encode_parts(parts: Parts) -> bytes:
    """As KEPT_PARTS encodes them: this runs for every epoch."""
    out = [_COUNT.pack(len(parts))]
    for part, mailboxes in parts:
        indexes = part.indexes
        out.append(_PART_HEAD.pack(part.bundle_id, len(indexes)))
        if indexes:
            out.append(struct.pack(f">{len(indexes)}H", *indexes))
        out.append(_COUNT.pack(len(mailboxes)))
        out += mailboxes
    return b"".join(out)


def encode_router_batch(outboxes: Sequence[Parts]) -> bytes:
    """Inverse: ROUTER_BATCH."""
    return b"".join([_COUNT.pack(len(outboxes)), *map(encode_parts, outboxes)])


def encode_receiver_batch(lanes: Sequence[tuple[Sequence[bytes], Parts]]) -> bytes:
    """From (entry proof, parts) of each lane. Inverse: RECEIVER_BATCH."""
    out = [_COUNT.pack(len(lanes))]
    for proof, parts in lanes:
        out += [_COUNT.pack(len(proof)), *proof, encode_parts(parts)]
    return b"".join(out)


def parse_batch(codec: Codec[T], batch: bytes) -> T:
    """A batch as it was kept. Raises StoreCorrupt."""
    try:
        return codec.decode(batch)
    except DecodeError:
        raise StoreCorrupt("what an actor kept of an epoch is damaged: it cannot answer for it") from None
