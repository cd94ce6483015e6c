"""A Merkle tree of which only some subtrees are known, as a source of nodes for proofs about the leaves that are.

Knows nothing of what a leaf means. A client that forgot the beginning of its history has a compact range over it; one
that has not got the end yet has the hashes that extend it there. In between are leaves.
"""

from collections.abc import Sequence

from noise.protocol.errors import ProofError
from noise.protocol.merkle import CompactRange, NodeSource, node_hash, subtree_spans


def patchwork(base: CompactRange, leaf_hashes: Sequence[bytes], *after: tuple[int, Sequence[bytes]]) -> NodeSource:
    """Nodes of the tree that begins with `base` and goes on with these leaves, and then with unknown ones.

    `after`: `(next_size, hashes)`, one behind the other: what `CompactRange.extend` takes to get there. A perfect
    subtree that straddles pieces is computed from its halves, once.
    Raises ProofError for too few or too many hashes, and so does the source for what does not follow from them.
    """
    known = dict(zip(subtree_spans(0, base.size), base.peaks, strict=True))
    known.update(((0, base.size + i), leaf_hash) for i, leaf_hash in enumerate(leaf_hashes))
    size = base.size + len(leaf_hashes)
    for next_size, hashes in after:
        spans = subtree_spans(size, next_size)
        if len(spans) != len(hashes):
            raise ProofError(f"{len(hashes)} hashes where {len(spans)} lead from {size} leaves to {next_size}")
        known.update(zip(spans, hashes, strict=True))
        size = next_size

    def node(level: int, index: int) -> bytes:
        found = known.get((level, index))
        if found is not None:
            return found
        if not level:
            raise ProofError(f"nothing is known of leaf {index}", code="unknown-node")
        known[level, index] = node_hash(node(level - 1, 2 * index), node(level - 1, 2 * index + 1))
        return known[level, index]

    return node
