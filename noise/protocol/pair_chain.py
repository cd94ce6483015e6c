"""Pair chains: one hash over all messages that two devices both received, and the cuts at which they compare it.

Knows nothing of peers, files or connections, and nothing of who is right: that is `noise.protocol.dispute`.

A chain is never compared as it stands. A cut names an epoch, and an epoch that is verified never changes: whoever has
verified it too compares, all others wait. Messages that are under way cannot look like a difference.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import NamedTuple

from noise.protocol.encoding import U64, Bytes16, Bytes32, struct_codec
from noise.protocol.errors import DecodeError
from noise.protocol.signing import hasher

_hash = hasher("pair")


class ChainItem(NamedTuple):
    """One message in a pair chain: where it was put, and what it is."""

    seq: Bytes16
    env_hash: Bytes32


CHAIN_ITEM = struct_codec(ChainItem)


class Cut(NamedTuple):
    """How a pair chain stands after all messages of epochs up to and with `epoch`. Made only of verified epochs."""

    epoch: U64
    length: U64
    head: Bytes32


CUT = struct_codec(Cut)


class PairChain(NamedTuple):
    """A chain of `length` messages. `pair`: both device ids, the smaller one first, 64 bytes.

    `head_0 = H("pair", pair)`; `head_k = H("pair", head_{k-1} || pair || seq || env_hash)`.
    """

    pair: bytes
    length: int
    head: bytes

    def append(self, seq: bytes, env_hash: bytes) -> "PairChain":
        """The chain with one more message, which follows all before it in seq order. Raises DecodeError."""
        return self.extend((ChainItem(seq, env_hash),))

    def extend(self, items: Iterable[ChainItem]) -> "PairChain":
        """The chain with more messages, in seq order. Raises DecodeError."""
        pair, length, head = self
        for seq, env_hash in items:
            if len(seq) != 16 or len(env_hash) != 32:
                raise DecodeError("a seq has 16 bytes, a hash of an envelope 32")
            head = _hash(head + pair + seq + env_hash)
            length += 1
        return PairChain(pair, length, head)

    def cut_at(self, epoch: int) -> Cut:
        """The cut of this chain, which holds all messages of epochs up to `epoch`, verified, and none of later ones."""
        return Cut(epoch, self.length, self.head)


def new_chain(one: bytes, other: bytes) -> PairChain:
    """The empty chain of two devices, whichever is named first. Raises DecodeError."""
    pair = min(one, other) + max(one, other)
    if len(one) != 32 or len(other) != 32 or one == other:
        raise DecodeError("a pair has two device ids of 32 bytes each")
    return PairChain(pair, 0, _hash(pair))


class Comparison(Enum):
    """What came of a peer's cut."""

    MATCH = "match"
    DIFFERS = "differs"
    LATER = "later"  # its epoch is not verified here yet: keep the cut and compare then
    FORGOTTEN = "forgotten"  # its epoch is behind what is kept here: nothing can be said


class KnownCuts(NamedTuple):
    """How our own chain stood at every epoch of `[base.epoch, next_epoch)`.

    `steps`: the cut after each of these epochs that lengthened the chain, by epoch. `base`: the cut at the first one
    (or the chain before it, if a step is of the same epoch). Epochs before `next_epoch` are verified, every message of
    them included.
    """

    base: Cut
    steps: Sequence[Cut]
    next_epoch: int

    def at(self, epoch: int) -> Cut | Comparison:
        """Our cut at an epoch; or LATER, or FORGOTTEN."""
        if epoch >= self.next_epoch:
            return Comparison.LATER
        if epoch < self.base.epoch:
            return Comparison.FORGOTTEN
        n_steps = bisect_right(self.steps, epoch, key=lambda step: step.epoch)
        step = self.steps[n_steps - 1] if n_steps else self.base
        return Cut(epoch, step.length, step.head)


def compare(own: KnownCuts, cut: Cut) -> Comparison:
    """A peer's cut of the pair's chain against ours, at the epoch that it names."""
    ours = own.at(cut.epoch)
    if isinstance(ours, Comparison):
        return ours
    return Comparison.MATCH if ours == cut else Comparison.DIFFERS
