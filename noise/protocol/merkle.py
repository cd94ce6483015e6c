"""Merkle trees as in RFC 6962 and RFC 9162: roots, compact ranges, and proofs, made and checked.

Knows nothing of what a leaf means, of signatures, encodings or storage: leaf hashes and sizes in, hashes out.

Every hash is 32 bytes. A leaf is `SHA-256(0x00 || leaf)`, a node `SHA-256(0x01 || left || right)`, the empty tree
`SHA-256("")`. A tree of n > 1 leaves splits at the largest power of two below n; built level by level from the leaves,
that is: pair neighbours, and promote an odd last one unchanged. The node `(level, index)` covers the leaves
`[index << level, (index + 1) << level)`; it is perfect when the tree has all of them, ragged when it is cut short.

**What a verifier must know: a size is never proved, it is signed.** A proof fixes the path from the leaf to the root
and no more, and almost every path also exists in a tree of some other size: what proves leaf 4 of 5 also proves leaf 1
of 2, leaf 2 of 3 and leaf 8 of 9. So `index` and `size` come from the signed bytes that carry the root, or from
arithmetic on them, and never from whoever brings the proof. With a given size a proof has one length and one meaning;
the functions here enforce both. All of them are safe on hostile input: a size is at most 2**63, nothing recurses, and
the work is bounded by the hashes handed in, or by one path for each index asked for.

Compact ranges and their names: transparency-dev/merkle, `compact`. Whatever fails raises `ProofError`.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256  # OpenSSL's: for 65 bytes 0.34 us, against 0.50 us of the one built into Python
from typing import NamedTuple

from noise.protocol.errors import ProofError

EMPTY_ROOT = sha256(b"").digest()
SIZE_MAX = 2**63
"""Leaves in a tree, at most: no inclusion proof is longer than 63 hashes."""

_HASH_SIZES = frozenset({32})

NodeSource = Callable[[int, int], bytes]
"""`(level, index)` to the hash of that perfect subtree."""


def leaf_hash(leaf: bytes) -> bytes:
    """Hash of one leaf (RFC 9162, 2.1.1)."""
    return sha256(b"\x00" + leaf).digest()


def leaf_hashes(leaves: Sequence[bytes]) -> list[bytes]:
    """`leaf_hash` of each."""
    return [sha256(b"\x00" + leaf).digest() for leaf in leaves]


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node (RFC 9162, 2.1.1)."""
    return sha256(b"\x01" + left + right).digest()


def tree_root(hashes: Sequence[bytes]) -> bytes:
    """Root over leaf hashes (RFC 9162, 2.1.1); `EMPTY_ROOT` over none."""
    if not hashes:
        return EMPTY_ROOT
    while len(hashes) > 1:
        hashes = _parents(hashes)
    return hashes[0]


def _parents(level: Sequence[bytes]) -> list[bytes]:
    nodes = iter(level)
    parents = [sha256(b"\x01" + left + right).digest() for left, right in zip(nodes, nodes)]  # noqa: B905 (a tenth slower)
    if len(level) & 1:
        parents.append(level[-1])
    return parents


def subtree_spans(first_index: int, next_index: int) -> list[tuple[int, int]]:
    """The fewest perfect subtrees `(level, index)` that cover the leaves `[first_index, next_index)`, left to right.

    At most 124 of them. Raises `ProofError` for what is no range within `SIZE_MAX`.
    """
    if not 0 <= first_index <= next_index <= SIZE_MAX:
        raise ProofError(f"no range of leaves: [{first_index}, {next_index})")
    spans = []
    while first_index < next_index:
        leaf_count = first_index & -first_index  # as its place allows; at 0, and near the end, as the rest allows
        if not 0 < leaf_count <= next_index - first_index:
            leaf_count = 1 << (next_index - first_index).bit_length() - 1
        level = leaf_count.bit_length() - 1
        spans.append((level, first_index >> level))
        first_index += leaf_count
    return spans


def _tail_spans(first_index: int, size: int) -> list[tuple[int, int]]:
    """The fewest subtrees that cover `[first_index, size)` of a tree of `size` leaves; the last may be ragged."""
    spans = subtree_spans(first_index, 1 << (size - 1).bit_length())
    return [(level, index) for level, index in spans if index << level < size]


def _grow(peaks: list[bytes], spans: Sequence[tuple[int, int]], hashes: Sequence[bytes]) -> None:
    """Append subtrees, each beginning where the one before ended, to the peaks of a compact range."""
    for span, node in zip(spans, hashes, strict=True):
        index, merged = span[1], node
        while index & 1:  # a right child: merge it with what is on its left
            merged = sha256(b"\x01" + peaks.pop() + merged).digest()
            index >>= 1
        peaks.append(merged)


def _fold(peaks: Sequence[bytes]) -> bytes:
    """Root over subtrees of falling size, of which only the last may be ragged."""
    if not peaks:
        return EMPTY_ROOT
    root = peaks[-1]
    for peak in peaks[-2::-1]:
        root = sha256(b"\x01" + peak + root).digest()
    return root


def _check_hashes(hashes: Sequence[bytes]) -> None:
    if not _HASH_SIZES.issuperset(map(len, hashes)):
        raise ProofError("a hash is not 32 bytes")


class CompactRange(NamedTuple):
    """All that must be kept of a tree to append to it: its size, and its maximal perfect subtrees, largest first.

    One peak for each bit set in `size`. What comes from outside goes through `make_range`.
    """

    size: int
    peaks: tuple[bytes, ...]

    def append(self, leaf_hash: bytes) -> "CompactRange":
        """The range with one more leaf. `leaf_hash` is the caller's own, its length is not checked."""
        size, peaks = self
        left_siblings = (size ^ (size + 1)).bit_length() - 1
        if not left_siblings:
            return CompactRange(size + 1, (*peaks, leaf_hash))
        node = leaf_hash
        for peak in peaks[: -left_siblings - 1 : -1]:
            node = sha256(b"\x01" + peak + node).digest()
        return CompactRange(size + 1, (*peaks[:-left_siblings], node))

    def extend(self, next_size: int, hashes: Sequence[bytes]) -> "CompactRange":
        """The range with leaves up to `next_size`, given the hashes of `subtree_spans(self.size, next_size)`.

        Raises `ProofError` when the size shrinks, or the hashes are more, fewer or no hashes.
        """
        spans = subtree_spans(self.size, next_size)
        if len(spans) != len(hashes):
            raise ProofError(f"{len(hashes)} hashes where {len(spans)} extend {self.size} leaves to {next_size}")
        _check_hashes(hashes)
        peaks = list(self.peaks)
        _grow(peaks, spans, hashes)
        return CompactRange(next_size, tuple(peaks))

    def root(self) -> bytes:
        """Root of the tree; `EMPTY_ROOT` for no leaves."""
        return _fold(self.peaks)


EMPTY_RANGE = CompactRange(0, ())


def make_range(size: int, peaks: Sequence[bytes]) -> CompactRange:
    """A compact range from stored or received parts. Raises `ProofError` unless there is a peak for each bit of `size`.

    That the peaks are the true ones shows only when `root()` equals a root that is signed for this size.
    """
    if not 0 <= size <= SIZE_MAX:
        raise ProofError(f"no tree has {size} leaves")
    if len(peaks) != size.bit_count():
        raise ProofError(f"{len(peaks)} peaks where {size} leaves have {size.bit_count()}")
    _check_hashes(peaks)
    return CompactRange(size, tuple(peaks))


def range_hashes(node: NodeSource, first_index: int, next_index: int) -> list[bytes]:
    """The hashes of `subtree_spans(first_index, next_index)`, which is what `CompactRange.extend` takes."""
    return [node(level, index) for level, index in subtree_spans(first_index, next_index)]


def root_at(node: NodeSource, size: int) -> bytes:
    """Root over the first `size` leaves."""
    return _fold(range_hashes(node, 0, size))


def inclusion_proof(node: NodeSource, index: int, size: int) -> list[bytes]:
    """Siblings from leaf `index` up to the root over `size` leaves (RFC 9162, 2.1.3.1).

    `node` is asked for perfect subtrees only. Raises `ProofError` when there is no such leaf.
    """
    _check_index(index, size)
    return _path(node, 0, index, size)


def consistency_proof(node: NodeSource, old_size: int, new_size: int) -> list[bytes]:
    """What shows that the tree of `new_size` leaves begins with the tree of `old_size` (RFC 9162, 2.1.4.1).

    Empty when nothing needs showing: `old_size` 0, or equal sizes. `node` is asked for perfect subtrees only.
    """
    if not 0 <= old_size <= new_size <= SIZE_MAX:
        raise ProofError(f"no tree grows from {old_size} to {new_size} leaves")
    if old_size in (0, new_size):
        return []
    level, index = _last_perfect(old_size)
    seed = [node(level, index)] if index else []  # the verifier has it already: it is the old root
    return seed + _path(node, level, index, new_size)


def _path(node: NodeSource, level: int, index: int, size: int) -> list[bytes]:
    """Siblings from a node up to the root. At most one is ragged, and is computed from perfect subtrees."""
    path = []
    last = (size - 1) >> level
    while last:
        sibling = index ^ 1
        if sibling < last:
            path.append(node(level, sibling))
        elif sibling == last:
            path.append(_fold(range_hashes(node, sibling << level, size)))
        level, index, last = level + 1, index >> 1, last >> 1
    return path


def _last_perfect(size: int) -> tuple[int, int]:
    """The smallest peak of a tree of `size` > 0 leaves: where a consistency proof begins."""
    level = (size & -size).bit_length() - 1
    return level, (size - 1) >> level


def _check_index(index: int, size: int) -> None:
    if not 0 <= index < size <= SIZE_MAX:
        raise ProofError(f"no leaf {index} in a tree of {size}")


def check_inclusion(root: bytes, size: int, index: int, leaf_hash: bytes, proof: Sequence[bytes]) -> None:
    """Raise `ProofError` unless leaf `index` of the tree with this root and size has this hash (RFC 9162, 2.1.3.2).

    `size` must come from the bytes that signed `root`: see the head of this file.
    """
    _check_index(index, size)
    inner_count, border_count = _path_counts(index, size - 1)
    if len(proof) != inner_count + border_count:
        raise ProofError(f"{len(proof)} hashes where leaf {index} of {size} takes {inner_count + border_count}")
    _check_hashes(proof)
    node = leaf_hash
    for level, sibling in enumerate(proof):
        if level >= inner_count or index >> level & 1:
            node = sha256(b"\x01" + sibling + node).digest()
        else:
            node = sha256(b"\x01" + node + sibling).digest()
    if node != root:
        raise ProofError(f"leaf {index} of {size} does not lead to the root")


def check_consistency(old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Raise `ProofError` unless the new tree begins with the old one (RFC 9162, 2.1.4.2).

    Both sizes must come from the bytes that signed their roots: see the head of this file. Of the empty tree every tree
    is an extension: the proof is empty, and nothing is said about `new_root`.
    """
    if not 0 <= old_size <= new_size <= SIZE_MAX:
        raise ProofError(f"no tree grows from {old_size} to {new_size} leaves")
    if old_size == 0 and old_root != EMPTY_ROOT:
        raise ProofError("the root of no leaves is not the empty root")
    if old_size == new_size and old_root != new_root:
        raise ProofError(f"two roots for {new_size} leaves")
    if old_size in (0, new_size):
        if proof:
            raise ProofError("a proof where nothing is to be proved")
        return
    level, index = _last_perfect(old_size)
    path = proof if index == 0 else proof[1:]
    inner_count, border_count = _path_counts(index, (new_size - 1) >> level)
    if len(path) != inner_count + border_count:
        raise ProofError(f"{len(proof)} hashes do not lead from {old_size} to {new_size} leaves")
    _check_hashes(proof)
    old = new = proof[0] if index else old_root
    for height, sibling in enumerate(path):
        if height >= inner_count or index >> height & 1:
            old = sha256(b"\x01" + sibling + old).digest()
            new = sha256(b"\x01" + sibling + new).digest()
        else:
            new = sha256(b"\x01" + new + sibling).digest()
    if old != old_root:
        raise ProofError(f"the proof does not lead to the root of {old_size} leaves")
    if new != new_root:
        raise ProofError(f"the proof does not lead to the root of {new_size} leaves")


def _path_counts(index: int, last: int) -> tuple[int, int]:
    """Siblings on the way up before the path joins the right edge, and left siblings on the edge after that."""
    inner_count = (index ^ last).bit_length()
    return inner_count, (index >> inner_count).bit_count()


class Tree:
    """A tree held in memory with all its levels, for whoever makes many proofs from it. Not to be changed once made.

    `levels[0]` are the leaf hashes, `levels[-1]` is the root alone (or nothing, for no leaves).
    """

    __slots__ = ("levels",)

    def __init__(self, leaf_hashes: Sequence[bytes]) -> None:
        level = leaf_hashes
        self.levels: list[Sequence[bytes]] = [level]
        while len(level) > 1:
            level = _parents(level)
            self.levels.append(level)

    @property
    def size(self) -> int:
        """Count of leaves."""
        return len(self.levels[0])

    @property
    def root(self) -> bytes:
        """Root of the tree; `EMPTY_ROOT` for no leaves."""
        return self.levels[-1][0] if self.levels[0] else EMPTY_ROOT

    def node(self, level: int, index: int) -> bytes:
        """The node that covers `[index << level, (index + 1) << level)`, or what of it the tree has: a `NodeSource`."""
        return self.levels[level][index]

    def inclusion(self, index: int) -> list[bytes]:
        """`inclusion_proof` of one leaf for this whole tree."""
        _check_index(index, self.size)
        proof = []
        for level in self.levels:
            sibling = index ^ 1
            if sibling < len(level):
                proof.append(level[sibling])
            index >>= 1
        return proof

    def prove_subset(self, first_index: int, next_index: int) -> list[bytes]:
        """The function `prove_subset` for the contiguous leaves `[first_index, next_index)`."""
        return prove_subset(self, range(first_index, next_index))


def prove_subset(tree: Tree, indexes: Sequence[int]) -> list[bytes]:
    """One proof for many leaves, given by strictly increasing indexes (at least one): a Merkle multiproof.

    The hashes of the maximal subtrees without a chosen leaf, left to right: all that `root_from_subset` cannot compute.
    Empty when every leaf is chosen. Raises `ProofError` for indexes that are none, out of order or out of range.
    """
    proof: list[bytes] = []
    next_index = 0
    for first_index, end_index in _runs(tree.size, indexes):
        proof += range_hashes(tree.node, next_index, first_index)
        next_index = end_index
    proof += [tree.node(level, index) for level, index in _tail_spans(next_index, tree.size)]
    return proof


def root_from_subset(size: int, indexes: Sequence[int], leaf_hashes: Sequence[bytes], proof: Sequence[bytes]) -> bytes:
    """Root of the tree of `size` leaves in which `leaf_hashes[i]` is leaf `indexes[i]`. The caller compares it.

    `size` must come from the bytes that signed the root: see the head of this file. Raises `ProofError` for indexes
    that are none, out of order or out of range, and for too few or too many hashes. Work: one path for each index at
    most.
    """
    if len(leaf_hashes) != len(indexes):
        raise ProofError(f"{len(leaf_hashes)} leaf hashes for {len(indexes)} indexes")
    runs = _runs(size, indexes)
    _check_hashes(leaf_hashes)
    _check_hashes(proof)
    spans: list[tuple[int, int]] = []
    nodes: list[bytes] = []
    next_index = leaf_count = proof_count = 0
    for first_index, end_index in runs:
        skipped = subtree_spans(next_index, first_index)
        nodes += proof[proof_count : proof_count + len(skipped)]
        proof_count += len(skipped)
        chosen = subtree_spans(first_index, end_index)
        for level, _ in chosen:
            nodes.append(tree_root(leaf_hashes[leaf_count : leaf_count + (1 << level)]))
            leaf_count += 1 << level
        spans += skipped + chosen
        next_index = end_index
    tail = _tail_spans(next_index, size)
    if len(proof) != proof_count + len(tail):
        raise ProofError(f"{len(proof)} hashes where the other {size - len(indexes)} leaves have another number")
    peaks: list[bytes] = []
    _grow(peaks, spans + tail, [*nodes, *proof[proof_count:]])
    return _fold(peaks)


def _runs(size: int, indexes: Sequence[int]) -> list[tuple[int, int]]:
    """The half-open ranges of neighbours among the chosen indexes, which must increase and be below `size`.

    An index below 0 is left to `subtree_spans`, which refuses the range before it.
    """
    if not indexes:
        raise ProofError("no leaf is chosen")
    runs = []
    first_index = next_index = indexes[0]
    for index in indexes:
        if index != next_index:
            if index < next_index:
                raise ProofError("indexes are not strictly increasing")
            runs.append((first_index, next_index))
            first_index = index
        next_index = index + 1
    if next_index > size:
        raise ProofError(f"no leaf {next_index - 1} in a tree of {size}")
    runs.append((first_index, next_index))
    return runs
