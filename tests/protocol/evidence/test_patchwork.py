"""Proofs from the pieces of a tree that a client has are those of the whole tree."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noise.protocol.errors import ProofError
from noise.protocol.evidence.patchwork import patchwork
from noise.protocol.merkle import EMPTY_RANGE, Tree, check_inclusion, inclusion_proof, leaf_hash, range_hashes


@settings(deadline=None, max_examples=150)
@given(st.lists(st.integers(0, 40), min_size=3, max_size=4))
def test_every_known_leaf_has_its_proof(cuts: list[int]) -> None:
    """Pieces: forgotten, known, and one or two that never came."""
    base_size, reached, *ends = sorted(cuts)
    size = ends[-1]
    leaves = [leaf_hash(b"%d" % i) for i in range(size)]
    tree = Tree(leaves)
    base = EMPTY_RANGE.extend(base_size, range_hashes(tree.node, 0, base_size))
    after, first_index = [], reached
    for end in ends:
        after.append((end, range_hashes(tree.node, first_index, end)))
        first_index = end
    nodes = patchwork(base, leaves[base_size:reached], *after)
    for index in range(base_size, reached):
        proof = inclusion_proof(nodes, index, size)
        assert proof == tree.inclusion(index)
        check_inclusion(tree.root, size, index, leaves[index], proof)


def test_what_does_not_follow_is_refused() -> None:
    leaves = [leaf_hash(b"%d" % i) for i in range(7)]
    base = EMPTY_RANGE.extend(4, [Tree(leaves[:4]).root])
    nodes = patchwork(base, leaves[4:6])
    assert nodes(0, 5) == leaves[5]
    assert nodes(1, 2) == Tree(leaves[4:6]).root
    for level, index in ((0, 3), (0, 6), (1, 0), (1, 3), (2, 1), (3, 0), (63, 0), (0, 2**62)):
        with pytest.raises(ProofError) as caught:
            nodes(level, index)
        assert caught.value.code == "unknown-node"
    for hashes in ([], leaves[:2]):
        with pytest.raises(ProofError):
            patchwork(base, leaves[4:6], (7, hashes))
    with pytest.raises(ProofError):
        patchwork(base, leaves[4:6], (5, []))
