"""Merkle trees against the naive twin, the reference vectors, and every mutation of a proof."""

from collections.abc import Sequence
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noise.protocol.errors import ProofError
from noise.protocol.merkle import (
    EMPTY_RANGE,
    EMPTY_ROOT,
    SIZE_MAX,
    CompactRange,
    Tree,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    make_range,
    node_hash,
    prove_subset,
    range_hashes,
    root_at,
    root_from_subset,
    subtree_spans,
    tree_root,
)
from tests.protocol.naive_merkle import (
    HASHES,
    LEAVES,
    MARKED_INDEX,
    SIZES_MAX,
    Range,
    check_root,
    consistency_ranges,
    consistency_terms,
    endless_root,
    inclusion_ranges,
    inclusion_term,
    mutations,
    near,
    passes,
    root_of,
    span_ranges,
    subset_ranges,
    subset_term,
    term,
)
from tests.vectors import make_merkle


def node(level: int, index: int) -> bytes:
    """The test tree, of which only the perfect subtrees may be asked for."""
    assert (index + 1) << level <= SIZES_MAX
    return root_of(index << level, (index + 1) << level)


# --- trees and ranges


def test_reference_vectors_of_certificate_transparency() -> None:
    hashes = [leaf_hash(leaf) for leaf in make_merkle.LEAVES]
    roots = [tree_root(hashes[:size]).hex() for size in range(9)]
    assert roots[0] == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert roots[1] == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert roots[2] == "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
    assert roots[3] == "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"
    assert roots[4] == "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"
    assert roots[5] == "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"
    assert roots[6] == "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"
    assert roots[7] == "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"
    assert roots[8] == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
    proof = [part.hex() for part in Tree(hashes).inclusion(5)]
    assert proof == [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


def test_roots() -> None:
    grown = EMPTY_RANGE
    for size in range(SIZES_MAX + 1):
        root = root_of(0, size)
        assert tree_root(HASHES[:size]) == tree_root(tuple(HASHES[:size])) == Tree(HASHES[:size]).root == root
        assert Tree(HASHES[:size]).size == size
        assert root_at(node, size) == grown.root() == root
        assert grown == make_range(size, [root_of(*part) for part in span_ranges(0, size)])
        if size < SIZES_MAX:
            grown = grown.append(HASHES[size])
    assert leaf_hash(LEAVES[3]) == HASHES[3]
    assert node_hash(HASHES[2], HASHES[3]) == root_of(2, 4)


def test_tree_nodes() -> None:
    tree = Tree(HASHES[:11])
    assert [len(level) for level in tree.levels] == [11, 6, 3, 2, 1]
    for level, nodes in enumerate(tree.levels):
        for index in range(len(nodes)):
            assert tree.node(level, index) == root_of(index << level, min((index + 1) << level, 11))


def test_spans_and_extensions() -> None:
    for first in range(SIZES_MAX + 1):
        start = make_range(first, range_hashes(node, 0, first))
        for after in range(first, SIZES_MAX + 1):
            spans = subtree_spans(first, after)
            assert [(index << level, (index + 1) << level) for level, index in spans] == span_ranges(first, after)
            hashes = range_hashes(node, first, after)
            assert start.extend(after, hashes) == make_range(after, range_hashes(node, 0, after))


def test_longest_decomposition() -> None:
    assert len(subtree_spans(1, SIZE_MAX - 1)) == 124
    assert subtree_spans(0, SIZE_MAX) == [(63, 0)]


@pytest.mark.parametrize("bounds", [(-1, 3), (4, 3), (0, SIZE_MAX + 1), (SIZE_MAX + 1, SIZE_MAX + 1)])
def test_no_such_range(bounds: Range) -> None:
    with pytest.raises(ProofError):
        subtree_spans(*bounds)


def test_range_invariants() -> None:
    assert make_range(0, []) == EMPTY_RANGE
    assert EMPTY_RANGE.root() == EMPTY_ROOT
    peaks = range_hashes(node, 0, 7)
    assert make_range(7, peaks) == CompactRange(7, tuple(peaks))
    refused: list[tuple[int, list[bytes]]] = [(8, peaks), (7, peaks[:2]), (7, [*peaks, peaks[0]]), (-7, peaks)]
    refused += [(SIZE_MAX * 2, peaks[:1]), (7, [peaks[0][:-1], peaks[0][-1:] + peaks[1], peaks[2]])]
    for size, parts in refused:
        with pytest.raises(ProofError):
            make_range(size, parts)


def test_extend_mutated() -> None:
    for size, next_size in combinations(range(12), 2):
        start = make_range(size, range_hashes(node, 0, size))
        hashes = range_hashes(node, size, next_size)
        root = start.extend(next_size, hashes).root()
        for bad in mutations(hashes):
            assert not passes(lambda: check_root(start.extend(next_size, bad).root(), root))  # noqa: B023
        for other in range(-1, 30):  # the same peaks and hashes are the same tree only if they fold alike
            atoms = enumerate([*span_ranges(0, size), *span_ranges(size, other)])
            parts = enumerate([*span_ranges(0, size), *span_ranges(size, next_size)])
            is_alike = (
                other >= size
                and len(span_ranges(size, other)) == len(hashes)
                and term(0, other, {p: i for i, p in atoms}) == term(0, next_size, {p: i for i, p in parts})
            )
            assert passes(lambda: check_root(start.extend(other, hashes).root(), root)) == is_alike  # noqa: B023


# --- inclusion


def test_inclusion() -> None:
    for size in range(1, SIZES_MAX + 1):
        tree = Tree(HASHES[:size])
        for index in range(size):
            proof = [root_of(*part) for part in inclusion_ranges(index, 0, size)]
            assert inclusion_proof(node, index, size) == tree.inclusion(index) == proof
            check_inclusion(tree.root, size, index, HASHES[index], proof)


def test_inclusion_mutated() -> None:
    for size in range(1, 18):
        root = root_of(0, size)
        for index in range(size):
            leaf, proof = HASHES[index], inclusion_proof(node, index, size)
            for bad in mutations(proof):
                assert not passes(check_inclusion, root, size, index, leaf, bad)
            assert not passes(check_inclusion, HASHES[-1], size, index, leaf, proof)
            assert not passes(check_inclusion, root, size, index, HASHES[-1], proof)
            assert not passes(check_inclusion, root, size, index, root, []) or size == 1
            # Under another index or size the proof holds exactly if it is the same path: sizes must come signed.
            claims = {*near(index, size), *((i, n) for n in range(36) for i in range(-1, n + 2))}
            for other_index, other_size in claims:
                is_same_path = 0 <= other_index < other_size and inclusion_term(
                    other_index, other_size
                ) == inclusion_term(index, size)
                assert passes(check_inclusion, root, other_size, other_index, leaf, proof) == is_same_path


def test_no_such_leaf() -> None:
    for index, size in [(0, 0), (7, 7), (-1, 7), (0, SIZE_MAX + 1)]:
        with pytest.raises(ProofError):
            inclusion_proof(node, index, size)
        with pytest.raises(ProofError):
            check_inclusion(HASHES[0], size, index, HASHES[0], [])
    for index in (-1, 7):
        with pytest.raises(ProofError):
            Tree(HASHES[:7]).inclusion(index)


# --- consistency


def test_consistency() -> None:
    for new in range(SIZES_MAX + 1):
        for old in range(new + 1):
            proof = [root_of(*part) for part in consistency_ranges(old, 0, new)] if old else []
            assert consistency_proof(node, old, new) == proof
            check_consistency(old, root_of(0, old), new, root_of(0, new), proof)


def test_consistency_mutated() -> None:
    for old, new in combinations(range(11), 2):
        old_root, new_root, proof = root_of(0, old), root_of(0, new), consistency_proof(node, old, new)
        for bad in mutations(proof):
            assert not passes(check_consistency, old, old_root, new, new_root, bad)
        assert not passes(check_consistency, old, new_root, new, old_root, proof)
        assert not passes(check_consistency, old, HASHES[-1], new, new_root, proof)
        # The new root is bound by the proof, of which there is none that shows a tree to begin with nothing.
        assert passes(check_consistency, old, old_root, new, HASHES[-1], proof) == (old == 0)
        claims = {*near(old, new), *((a, b) for b in range(24) for a in range(-1, b + 2))}
        for other_old, other_new in claims:
            if old == 0:  # an empty proof, and two roots of which the first is that of no leaves
                expected = 0 == other_old < other_new
            elif 0 < other_old < other_new:
                expected = consistency_terms(other_old, other_new) == consistency_terms(old, new)
            else:
                expected = False
            assert passes(check_consistency, other_old, old_root, other_new, new_root, proof) == expected


def test_consistency_of_equal_sizes() -> None:
    for size in range(9):
        root = root_of(0, size)
        for claim in range(-1, 20):  # nothing is proved, so any size will do; but no leaves have one root only
            assert passes(check_consistency, claim, root, claim, root, []) == (claim > 0 or claim == size == 0)
        assert not passes(check_consistency, size, root, size, HASHES[-1], [])
        assert not passes(check_consistency, size, root, size, root, [root])
    for sizes in [(3, 2), (-1, 2), (1, SIZE_MAX + 1)]:
        with pytest.raises(ProofError):
            consistency_proof(node, *sizes)


# --- subsets


class WatchedTree(Tree):
    """Counts what a prover looks at."""

    looked_up = 0

    def node(self, level: int, index: int) -> bytes:
        self.looked_up += 1
        return super().node(level, index)


def check_subset(size: int, chosen: Sequence[int]) -> list[bytes]:
    tree = WatchedTree(HASHES[:size])
    proof = prove_subset(tree, chosen)
    assert proof == [root_of(*part) for part in subset_ranges(chosen, 0, size)]
    assert tree.looked_up == len(proof)
    assert root_from_subset(size, chosen, [HASHES[i] for i in chosen], proof) == tree.root
    return proof


def test_subsets_of_small_trees() -> None:
    for size in range(1, 9):
        for bits in range(1, 1 << size):
            check_subset(size, [i for i in range(size) if bits >> i & 1])


def test_contiguous_subsets() -> None:
    for size in (1, 2, 3, 16, 21, 33, 70):
        for first, after in combinations(range(size + 1), 2):
            proof = check_subset(size, range(first, after))
            assert Tree(HASHES[:size]).prove_subset(first, after) == proof
    assert Tree(HASHES).prove_subset(0, SIZES_MAX) == []


@given(st.integers(1, SIZES_MAX).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1), min_size=1))))
@settings(max_examples=150)
def test_any_subset(case: tuple[int, set[int]]) -> None:
    size, chosen = case
    check_subset(size, sorted(chosen))


def test_subset_mutated() -> None:
    for size in range(1, 6):
        for bits in range(1, 1 << size):
            chosen = [i for i in range(size) if bits >> i & 1]
            leaves, proof, root = [HASHES[i] for i in chosen], check_subset(size, chosen), root_of(0, size)

            def check(size: int, chosen: Sequence[int], leaves: Sequence[bytes], proof: Sequence[bytes]) -> None:
                check_root(root_from_subset(size, chosen, leaves, proof), root)  # noqa: B023

            for bad in mutations(proof):
                assert not passes(check, size, chosen, leaves, bad)
            for bad in mutations(leaves):
                assert not passes(check, size, chosen, bad, proof)
            for other_size in {*range(9), size * 2}:  # other places for the same leaves: exactly if they fold alike
                for others in combinations(range(other_size), len(chosen)):
                    is_alike = subset_term(others, other_size) == subset_term(chosen, size)
                    assert passes(check, other_size, others, leaves, proof) == is_alike
            for disorder in [chosen[::-1], [chosen[0]] * len(chosen), [i + size for i in chosen], [-1, *chosen[1:]]]:
                if disorder != chosen:
                    assert not passes(check, size, disorder, leaves, proof)


def test_no_such_subset() -> None:
    tree = Tree(HASHES[:7])
    for indexes in ([], [7], [-1], [-1, 0], [3, 3], [4, 3], [9, 3], [0, 7], range(5, 8), range(6, 2, -1)):
        with pytest.raises(ProofError):
            prove_subset(tree, indexes)
        with pytest.raises(ProofError):
            root_from_subset(7, indexes, HASHES[: len(indexes)], [])
    with pytest.raises(ProofError):
        prove_subset(Tree([]), [0])


# --- sizes that nobody can build, and bytes that nobody should send


def test_endless_sizes() -> None:
    def source(level: int, index: int) -> bytes:
        return endless_root(index << level, (index + 1) << level)

    for size in (MARKED_INDEX, MARKED_INDEX + 1, 2**62 + 3, SIZE_MAX - 1, SIZE_MAX):
        root = endless_root(0, size)
        assert root_at(source, size) == make_range(size, range_hashes(source, 0, size)).root() == root
        for index in (0, MARKED_INDEX - 1, size - 1):
            proof = inclusion_proof(source, index, size)
            assert proof == [endless_root(*part) for part in inclusion_ranges(index, 0, size)]
            check_inclusion(root, size, index, source(0, index), proof)
        for old in (1, 2**52, MARKED_INDEX - 1):
            proof = consistency_proof(source, old, size)
            assert proof == [endless_root(*part) for part in consistency_ranges(old, 0, size)]
            check_consistency(old, endless_root(0, old), size, root, proof)
        for chosen in ([0], [size - 1], [0, size - 1], [1, 2**40, MARKED_INDEX - 1]):
            proof = [endless_root(*part) for part in subset_ranges(chosen, 0, size)]
            leaves = [source(0, index) for index in chosen]
            assert root_from_subset(size, chosen, leaves, proof) == root


def test_sizes_beyond_the_largest() -> None:
    """Refused, even with a proof that is true."""
    size = SIZE_MAX + 1
    root, leaf = endless_root(0, size), endless_root(0, 1)
    with pytest.raises(ProofError, match="no leaf 0"):
        check_inclusion(root, size, 0, leaf, [endless_root(*part) for part in inclusion_ranges(0, 0, size)])
    with pytest.raises(ProofError, match="no tree grows"):
        check_consistency(1, leaf, size, root, [endless_root(*part) for part in consistency_ranges(1, 0, size)])
    with pytest.raises(ProofError, match="no range"):
        root_from_subset(size, [0], [leaf], [endless_root(*part) for part in subset_ranges([0], 0, size)])
    with pytest.raises(ProofError, match="no range"):
        make_range(SIZE_MAX, [endless_root(0, SIZE_MAX)]).extend(size, [leaf])
    with pytest.raises(ProofError, match="no tree grows"):
        consistency_proof(node, 1, size)


def test_hashes_of_another_length() -> None:
    """Refused as such, though only some of them could have led to the right root."""
    for wrong in (HASHES[0][1:], HASHES[0] + b"\x00", b""):
        for check in (
            lambda part: check_inclusion(HASHES[1], 2, 0, HASHES[0], [part]),
            lambda part: check_consistency(1, HASHES[0], 2, HASHES[1], [part]),
            lambda part: root_from_subset(2, [0], HASHES[:1], [part]),
            lambda part: root_from_subset(2, [0, 1], [HASHES[0], part], []),
            lambda part: EMPTY_RANGE.extend(1, [part]),
            lambda part: make_range(1, [part]),
        ):
            with pytest.raises(ProofError, match="32 bytes"):
                check(wrong)


sizes = st.integers(-2, 40) | st.integers(-(2**70), 2**70)
hashes = st.lists(st.sampled_from(HASHES[:4]) | st.binary(max_size=40), max_size=8)


@given(sizes, sizes, st.lists(sizes, max_size=4), hashes, hashes)
def test_only_proof_errors_leave(a: int, b: int, indexes: list[int], leaves: list[bytes], proof: list[bytes]) -> None:
    passes(lambda: check_inclusion(HASHES[0], a, b, HASHES[1], proof))
    passes(lambda: check_consistency(a, HASHES[0], b, HASHES[1], proof))
    passes(lambda: check_root(root_from_subset(a, indexes, leaves, proof), HASHES[0]))
    passes(lambda: check_root(make_range(a, leaves).extend(b, proof).root(), HASHES[0]))
    passes(lambda: inclusion_proof(lambda level, index: HASHES[0], a, b))  # whatever is asked for
    passes(lambda: consistency_proof(lambda level, index: HASHES[0], a, b))
