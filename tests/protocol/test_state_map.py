"""The state map against a naive twin over a dict, with keys that share long prefixes, and every mutation of a proof."""

import json
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noise.protocol.errors import ProofError
from noise.protocol.state_map import EMPTY_HASH, SIBLINGS_MAX, MapProof, StateMap, root_from_proof
from tests.protocol.naive_merkle import check_root, mutations, passes
from tests.vectors import make_merkle

Item = tuple[bytes, bytes, int]

BASES = [bytes(32), b"\xff" * 32, sha256(b"base").digest()]
VALUE_HASHES = [sha256(b"value %d" % i).digest() for i in range(4)]


# --- the naive twin


def bits_of(key: bytes) -> str:
    return f"{int.from_bytes(key, 'big'):0256b}"


def hash_of_leaf(key: bytes, value_hash: bytes) -> bytes:
    return sha256(b"\x20" + key + value_hash).digest()


class Twin:
    """The tree by its definition: the hash of every subtree, by its prefix."""

    def __init__(self, leaves: dict[bytes, bytes]) -> None:
        self.leaves = leaves
        self.hashes: dict[str, bytes] = {}
        self.grow("", sorted(leaves))

    def grow(self, prefix: str, keys: list[bytes]) -> bytes:
        if len(keys) > 1:
            left = self.grow(prefix + "0", [key for key in keys if bits_of(key)[len(prefix)] == "0"])
            right = self.grow(prefix + "1", [key for key in keys if bits_of(key)[len(prefix)] == "1"])
            self.hashes[prefix] = sha256(b"\x21" + left + right).digest()
        else:
            self.hashes[prefix] = hash_of_leaf(keys[0], self.leaves[keys[0]]) if keys else sha256(b"\x22").digest()
        return self.hashes[prefix]

    @property
    def root(self) -> bytes:
        return self.hashes[""]

    def prove(self, key: bytes) -> MapProof:
        bits, depth, siblings = bits_of(key), 0, []
        while bits[:depth] + "0" in self.hashes:
            siblings.append(self.hashes[bits[:depth] + "10"[int(bits[depth])]])
            depth += 1
        there = [other for other in self.leaves if bits_of(other)[:depth] == bits[:depth] and other != key]
        return MapProof(tuple(siblings), (there[0], self.leaves[there[0]]) if there else None)


def fold(key: bytes, terminal: bytes, siblings: tuple[bytes, ...]) -> bytes:
    """Where a path leads when nobody looks at its form."""
    for bit, sibling in reversed(list(zip(bits_of(key), siblings, strict=False))):
        terminal = sha256(b"\x21" + (sibling + terminal if bit == "1" else terminal + sibling)).digest()
    return terminal


# --- the map


@st.composite
def draw_key(draw: st.DrawFn) -> bytes:
    """A key that parts from one of three others at a chosen bit."""
    base = draw(st.sampled_from(BASES))
    place = draw(st.sampled_from([0, 1, 2, 7, 8, 9, 20, 126, 127, 128, 129, 254, 255]) | st.integers(0, 255))
    rest = draw(st.sampled_from(BASES))
    tail = 2 ** (255 - place) - 1
    key = (int.from_bytes(base, "big") & ~tail ^ (tail + 1)) | (int.from_bytes(rest, "big") & tail)
    return key.to_bytes(32, "big") if draw(st.booleans()) else base


batches = st.lists(st.dictionaries(draw_key(), st.integers(0, 3), max_size=12), min_size=1, max_size=4)


def item(key: bytes, value: int) -> Item:
    return key, VALUE_HASHES[value], value


def check_version(version: StateMap[int], expected: dict[bytes, int], strangers: set[bytes]) -> None:
    twin = Twin({key: VALUE_HASHES[value] for key, value in expected.items()})
    assert version.root_hash == twin.root
    assert version.count == len(expected)
    assert list(version.items()) == [item(key, expected[key]) for key in sorted(expected)]
    for key in expected.keys() | strangers:
        assert version.get(key) == expected.get(key)
        proof = twin.prove(key)
        if len(proof.siblings) > SIBLINGS_MAX:
            with pytest.raises(ProofError, match="map-too-deep"):
                version.prove(key)
        else:
            assert version.prove(key) == proof
            assert root_from_proof(key, twin.leaves.get(key), proof) == twin.root


@given(batches, st.sets(draw_key(), max_size=6), st.randoms(use_true_random=False))
@settings(max_examples=100)
def test_versions(batches: list[dict[bytes, int]], strangers: set[bytes], random: Any) -> None:
    versions: list[tuple[StateMap[int], dict[bytes, int]]] = [(StateMap.empty(), {})]
    for batch in batches:
        items = [item(key, value) for key, value in batch.items()]
        random.shuffle(items)
        version, expected = versions[-1]
        versions.append((version.update(items), expected | batch))
    for version, expected in versions:  # the old ones too: none has changed since
        check_version(version, expected, strangers)
    everything = [item(key, value) for key, value in versions[-1][1].items()]
    assert StateMap[int].empty().update(everything).root_hash == versions[-1][0].root_hash


def test_many_keys() -> None:
    keys = [sha256(b"key %d" % i).digest() for i in range(600)]
    expected = dict.fromkeys(keys[:400], 0)
    version = StateMap[int].empty().update([item(key, 0) for key in keys[:400]])
    check_version(version, expected, set(keys[400:410]))
    changed = keys[100:500:3]
    version = version.update([item(key, 1) for key in changed])
    check_version(version, expected | dict.fromkeys(changed, 1), set(keys[500:510]))


def test_empty_map() -> None:
    empty = StateMap[int].empty()
    assert empty.root_hash == EMPTY_HASH == sha256(b"\x22").digest()
    assert empty.update([]).root_hash == EMPTY_HASH
    check_version(empty, {}, set(BASES))


@pytest.mark.parametrize(
    "items",
    [
        [item(BASES[0], 0), item(BASES[1], 0), item(BASES[0], 1)],
        [item(BASES[0], 0), item(BASES[0], 0)],
        [(BASES[0][1:], VALUE_HASHES[0], 0)],
        [(BASES[0] + b"\x00", VALUE_HASHES[0], 0)],
        [(BASES[0], VALUE_HASHES[0][1:], 0)],
    ],
    ids=["a key twice", "an item twice", "a short key", "a long key", "a short value hash"],
)
def test_refused_updates(items: list[Item]) -> None:
    version = StateMap[int].empty().update([item(BASES[0], 3)])
    with pytest.raises(ValueError, match="a key"):
        version.update(items)
    check_version(version, {BASES[0]: 3}, set(BASES))


def test_what_is_no_key() -> None:
    version = StateMap[int].empty().update([item(key, 3) for key in BASES])
    for key in (b"", BASES[1][1:], b"\x00" + BASES[1], bytes(33), bytes(31)):
        assert version.get(key) is None
        assert StateMap[int].empty().get(key) is None
        with pytest.raises(ValueError, match="32 bytes"):
            version.prove(key)


def test_depth() -> None:
    for shared_bits in (127, 128, 254, 255):
        keys = [BASES[0], (1 << (255 - shared_bits)).to_bytes(32, "big")]
        version = StateMap[int].empty().update([item(key, 2) for key in keys])
        check_version(version, dict.fromkeys(keys, 2), {BASES[1]})
        assert passes(version.prove, keys[1]) == (shared_bits + 1 <= SIBLINGS_MAX)


# --- what a forger may try


FOREST = StateMap[int].empty().update([item(sha256(b"tree %d" % i).digest(), i % 4) for i in range(12)])


def proofs() -> Iterator[tuple[bytes, bytes | None, MapProof]]:
    """Of members, and of absence: beside another leaf and in an empty place."""
    for key, value_hash, _ in FOREST.items():
        yield key, value_hash, FOREST.prove(key)
        yield key[:-1] + bytes([key[-1] ^ 1]), None, FOREST.prove(key[:-1] + bytes([key[-1] ^ 1]))
    gaps = [bytes([i]) * 32 for i in range(256)]
    empties = [gap for gap in gaps if FOREST.prove(gap).other is None]
    assert empties
    yield from ((key, None, FOREST.prove(key)) for key in empties)


def holds(key: bytes, value_hash: bytes | None, proof: MapProof) -> bool:
    return passes(lambda: check_root(root_from_proof(key, value_hash, proof), FOREST.root_hash))


def test_proofs_mutated() -> None:
    foreign = sha256(b"foreign").digest()
    for key, value_hash, proof in proofs():
        assert holds(key, value_hash, proof)
        siblings, other = proof
        for bad in mutations(siblings):
            assert not holds(key, value_hash, MapProof(tuple(bad), other))
        assert not holds(key, value_hash, MapProof((*siblings, EMPTY_HASH), other))
        assert not holds(key, value_hash, MapProof((EMPTY_HASH, *siblings), other))
        for wrong in (foreign, foreign[1:], b""):
            assert not holds(key, wrong, proof)
            assert not holds(key, value_hash, MapProof(siblings, (key, wrong)))
            assert not holds(key, value_hash, MapProof(siblings, (wrong, foreign)))
        if value_hash is not None:  # present, so not absent in any way
            assert not holds(key, None, proof)
            assert not holds(key, None, MapProof(siblings, (key, value_hash)))
        if other is not None:
            assert not holds(key, value_hash, MapProof(siblings, None))
            assert not holds(key, other[1], proof)
            assert not holds(key, other[1], MapProof(siblings, None))
            assert not holds(other[0], None, proof)


def test_proofs_of_neighbours() -> None:
    """Absence is shown for a whole place at once: exactly the keys in it, but for the leaf that is there."""
    for key, value_hash, proof in proofs():
        for place in range(256):
            neighbour = (int.from_bytes(key, "big") ^ 1 << (255 - place)).to_bytes(32, "big")
            is_there = proof.other is not None and neighbour == proof.other[0]
            is_in_place = value_hash is None and place >= len(proof.siblings) and not is_there
            assert holds(neighbour, value_hash, proof) == is_in_place
        for short in (key[1:], key + b"\x00", b"\x00" + key):
            assert not holds(short, value_hash, proof)


KEY, NEAR = bytes(32), bytes(31) + b"\x01"
APART = b"\x20" + bytes(31)  # shares two bits with KEY
LEAF, NEAR_LEAF = hash_of_leaf(KEY, VALUE_HASHES[0]), hash_of_leaf(NEAR, VALUE_HASHES[1])
ONE, TWO, THREE = (sha256(bytes([i])).digest() for i in range(3))
PARENT = sha256(b"\x21" + LEAF + TWO).digest()
GAP_PARENT = sha256(b"\x21" + EMPTY_HASH + TWO).digest()
MANY = tuple(sha256(b"sibling %d" % i).digest() for i in range(SIBLINGS_MAX + 1))


@pytest.mark.parametrize(
    ("value_hash", "other", "siblings", "why"),
    [
        (VALUE_HASHES[0], None, (ONE, EMPTY_HASH), "empty subtree beside"),
        (VALUE_HASHES[0], None, (EMPTY_HASH,), "empty subtree beside"),
        (None, (NEAR, VALUE_HASHES[1]), (ONE, EMPTY_HASH), "empty subtree beside"),
        (None, None, (ONE, EMPTY_HASH), "empty subtree beside"),
        (VALUE_HASHES[0], None, (ONE, LEAF), "two places"),
        (VALUE_HASHES[0], None, (LEAF, ONE), "two places"),
        (VALUE_HASHES[0], None, (ONE, EMPTY_HASH, ONE), "two places"),
        (VALUE_HASHES[0], None, (PARENT, TWO), "two places"),
        (None, (NEAR, VALUE_HASHES[1]), (NEAR_LEAF, ONE), "two places"),
        (None, None, (ONE, ONE), "two places"),
        (None, None, (GAP_PARENT, TWO), "two places"),
        (VALUE_HASHES[0], None, MANY, "129 siblings"),
        (None, (NEAR, VALUE_HASHES[1]), MANY, "129 siblings"),
        (None, None, MANY, "129 siblings"),
        (None, (KEY, VALUE_HASHES[0]), (ONE, TWO), "not in the place"),
        (None, (APART, VALUE_HASHES[1]), (ONE, TWO, THREE), "not in the place"),
        (VALUE_HASHES[0], (NEAR, VALUE_HASHES[1]), (ONE, TWO), "present key"),
        (VALUE_HASHES[0], None, (ONE[1:], TWO), "32 bytes"),
        (VALUE_HASHES[0][1:], None, (ONE, TWO), "32 bytes"),
        (None, (NEAR, VALUE_HASHES[0] + b"\x00"), (ONE, TWO), "32 bytes"),
        (None, (NEAR[1:], VALUE_HASHES[0]), (), "32 bytes"),
    ],
)
def test_no_canonical_form(
    value_hash: bytes | None, other: tuple[bytes, bytes] | None, siblings: tuple[bytes, ...], why: str
) -> None:
    """Refused for their form alone: the root that each leads to might be a signed one."""
    with pytest.raises(ProofError, match=why):
        root_from_proof(KEY, value_hash, MapProof(siblings, other))


@pytest.mark.parametrize(
    ("value_hash", "other", "siblings"),
    [
        (VALUE_HASHES[0], None, ()),
        (VALUE_HASHES[0], None, (EMPTY_HASH, EMPTY_HASH, ONE)),
        (VALUE_HASHES[0], None, MANY[:SIBLINGS_MAX]),
        (None, (APART, VALUE_HASHES[1]), (ONE, TWO)),
        (None, None, ()),
        (None, None, (EMPTY_HASH, ONE)),
        (None, None, (EMPTY_HASH, hash_of_leaf(b"\x40" * 32, VALUE_HASHES[2]))),  # one leaf beside nothing: not seen
    ],
)
def test_what_must_pass(
    value_hash: bytes | None, other: tuple[bytes, bytes] | None, siblings: tuple[bytes, ...]
) -> None:
    """The rules refuse no more than what no canonical map can have, as far as one path shows it."""
    terminal = hash_of_leaf(*other) if other else hash_of_leaf(KEY, value_hash) if value_hash else EMPTY_HASH
    assert root_from_proof(KEY, value_hash, MapProof(siblings, other)) == fold(KEY, terminal, siblings)


parts = st.sampled_from([EMPTY_HASH, LEAF, *BASES, *VALUE_HASHES]) | st.binary(max_size=40)


@given(parts, st.none() | parts, st.lists(parts, max_size=5), st.none() | st.tuples(parts, parts))
def test_only_proof_errors_leave(
    key: bytes, value_hash: bytes | None, siblings: list[bytes], other: tuple[bytes, bytes] | None
) -> None:
    passes(root_from_proof, key, value_hash, MapProof(tuple(siblings), other))


# --- golden vectors


def read(value: Any, name: str = "") -> Any:
    """A stored value as Python holds it."""
    if isinstance(value, dict):
        return {key: read(part, key) for key, part in value.items()}
    if isinstance(value, list):
        return tuple(read(part) for part in value)
    return bytes.fromhex(value) if isinstance(value, str) and name not in ("verifier", "why") else value


@pytest.fixture(scope="module")
def stored() -> Any:
    return json.loads((make_merkle.DIRECTORY / "state_map.json").read_text())


def test_vectors_are_what_the_code_makes(stored: Any) -> None:
    assert stored == make_merkle.vectors()["state_map.json"]
    assert (make_merkle.DIRECTORY / "state_map.json").stat().st_size < 40_000


def test_vectors_are_what_the_twin_makes(stored: Any) -> None:
    vectors = read(stored)
    assert vectors["empty_root"] == sha256(b"\x22").digest()
    twins = [Twin({})]
    for batch in vectors["batches"]:
        twins.append(Twin(twins[-1].leaves | {item["key"]: item["value_hash"] for item in batch["items"]}))
        assert (batch["root"], batch["count"]) == (twins[-1].root, len(twins[-1].leaves))
    by_root = {twin.root: twin for twin in twins}
    for case in vectors["proofs"]:
        twin = by_root[case["root"]]
        assert twin.leaves.get(case["key"]) == case["value_hash"]
        assert twin.prove(case["key"]) == (case["siblings"], case["other"])
    deepest = vectors["deepest"]
    assert len(deepest["siblings"]) == SIBLINGS_MAX
    leaf = hash_of_leaf(deepest["key"], deepest["value_hash"])
    assert fold(deepest["key"], leaf, deepest["siblings"]) == deepest["root"]


def prove_again(case: dict[str, Any]) -> bytes:
    return root_from_proof(case["key"], case["value_hash"], MapProof(case["siblings"], case["other"]))


def test_refused_vectors(stored: Any) -> None:
    for group in read(stored["refused"]):
        check_root(prove_again(group["good"]), group["good"]["root"])
        for case in group["cases"]:
            parts = group["good"] | case["changed"]
            if group["verifier"] == "map form":
                assert not passes(prove_again, parts), case["why"]
            else:
                assert not passes(lambda: check_root(prove_again(parts), parts["root"])), case["why"]  # noqa: B023
