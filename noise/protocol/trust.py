"""What a client trusts about its provider, and how that is stored.

Knows nothing of how trust is won: that is `noise.protocol.follower`.
"""

from hashlib import sha256
from typing import Annotated, NamedTuple

from noise.protocol.delta import DELTA_SHARED, OTHER_LEAF, DeltaShared, OtherLeaf
from noise.protocol.encoding import U64, Hashes, list_of, optional, struct_codec
from noise.protocol.errors import DecodeError
from noise.protocol.history import MAILBOX_STATE, History, MailboxState
from noise.protocol.merkle import EMPTY_RANGE, CompactRange, make_range
from noise.protocol.signing import SIGNED, Signed

ROSTERS_KEPT = 64
_CHECKSUM_BYTES = 8


class Bound(NamedTuple):
    """What a trusted state says of the future: record `hist_size` and all after it are of epoch `log_size` or later."""

    hist_size: U64
    log_size: U64


BOUND = struct_codec(Bound)


class Trusted(NamedTuple):
    """All that a client trusts about its provider, and stores, with the signatures that made it trust.

    `rosters`: the last ROSTERS_KEPT, the one in force at the end; receipts of older epochs need the older ones.
    `log_proof`: inclusion of the last epoch record in the log of its checkpoint, for whoever was not there.
    `shared`, `path` and `other` are the last verified delta's: checkpoint, epoch record, epoch head and the way from
    it to `state`, the mailbox's state (None when the map had none). `delivered`: the history up to the last record
    whose messages were verified; it reaches `state` except in the middle of catching up. `bounds`: those of earlier
    states that it has not passed yet.
    """

    rosters: tuple[Signed, ...]
    log: CompactRange
    log_proof: tuple[bytes, ...]
    shared: DeltaShared | None
    path: tuple[bytes, ...]
    other: OtherLeaf | None
    state: MailboxState | None
    delivered: History | None
    bounds: tuple[Bound, ...]

    @property
    def is_complete(self) -> bool:
        """Whether everything was delivered that the last verified epoch commits to: there is nothing to catch up."""
        return (self.delivered.state if self.delivered else None) == self.state


NOTHING = Trusted((), EMPTY_RANGE, (), None, (), None, None, None, ())
"""What a client trusts before its first delta: the origin that it pinned, and nothing else."""


class _StoredTrust(NamedTuple):
    rosters: Annotated[tuple[Signed, ...], list_of(SIGNED)]
    log_size: U64
    log_peaks: Hashes
    log_proof: Hashes
    shared: Annotated[DeltaShared | None, optional(DELTA_SHARED)]
    path: Hashes
    other: Annotated[OtherLeaf | None, optional(OTHER_LEAF)]
    state: Annotated[MailboxState | None, optional(MAILBOX_STATE)]
    delivered: Annotated[MailboxState | None, optional(MAILBOX_STATE)]
    delivered_peaks: Hashes
    bounds: Annotated[tuple[Bound, ...], list_of(BOUND)]


_STORED_TRUST = struct_codec(_StoredTrust)


def encode_trusted(trusted: Trusted) -> bytes:
    """One blob for a trust store, with a checksum: what a disk does to it must not look like a lie of the provider."""
    rosters, log, log_proof, shared, path, other, state, delivered, bounds = trusted
    reached, peaks = (delivered.state, delivered.records.peaks) if delivered else (None, ())
    stored = _StoredTrust(rosters, log.size, log.peaks, log_proof, shared, path, other, state, reached, peaks, bounds)
    encoded = _STORED_TRUST.encode(stored)
    return sha256(encoded).digest()[:_CHECKSUM_BYTES] + encoded


def parse_trusted(data: bytes) -> Trusted:
    """The exact inverse of `encode_trusted`. Raises DecodeError or ProofError."""
    checksum, encoded = data[:_CHECKSUM_BYTES], data[_CHECKSUM_BYTES:]
    if sha256(encoded).digest()[:_CHECKSUM_BYTES] != checksum:
        raise DecodeError("the stored trust is damaged: restore it from a copy")
    t = _STORED_TRUST.decode(encoded)
    log = make_range(t.log_size, t.log_peaks)
    delivered = History(t.delivered, make_range(t.delivered.hist_size, t.delivered_peaks)) if t.delivered else None
    return Trusted(t.rosters, log, t.log_proof, t.shared, t.path, t.other, t.state, delivered, t.bounds)
