"""Makes the golden vectors of the Merkle trees and of the state map: `python -m tests.vectors.make_merkle` writes them.

Deterministic, and made by the code itself: the tests compare the stored files with this, and with a naive twin.
Bytes are hex. Integers beyond 2**53 are decimal strings, for JavaScript: `BigInt()` reads both.
In `refused`, the verifier takes the good parts, and must not take them changed as a case says: it raises, or,
where it returns a root (`subset`, `map`), returns another one. `map form` must raise.
"""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from noise.protocol.merkle import (
    EMPTY_ROOT,
    SIZE_MAX,
    Tree,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    prove_subset,
    range_hashes,
    root_at,
    subtree_spans,
    tree_root,
)
from noise.protocol.state_map import EMPTY_HASH, StateMap, root_from_proof

DIRECTORY = Path(__file__).parent

# The reference leaves of certificate-transparency, on which RFC 6962's own tests rest.
LEAVES = [
    *(b"", b"\x00", b"\x10", b"\x20\x21", b"\x30\x31", b"\x40\x41\x42\x43"),
    *(bytes(range(0x50, 0x58)), bytes(range(0x60, 0x70))),
]
HASHES = [leaf_hash(leaf) for leaf in LEAVES]
MARKED_INDEX = 2**53 + 1  # of the endless list: every leaf is "" but this one, which is 00


def readable(value: Any) -> Any:
    """The same value as JSON can hold it."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {name: readable(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [readable(part) for part in value]
    return str(value) if isinstance(value, int) and value > 2**53 else value


def endless_node(level: int, index: int) -> bytes:
    """Perfect subtrees of a list too long to build."""
    node = HASHES[1] if index == MARKED_INDEX >> level else HASHES[0]
    plain = HASHES[0]
    for height in range(level):
        if index != MARKED_INDEX >> level:
            node = node_hash(node, node)
        elif MARKED_INDEX >> height & 1:
            node = node_hash(plain, node)
        else:
            node = node_hash(node, plain)
        plain = node_hash(plain, plain)
    return node


def merkle_vectors() -> dict[str, Any]:
    trees = [Tree(HASHES[:size]) for size in range(9)]
    node = trees[8].node
    subsets = [
        (size, [i for i in range(size) if bits >> i & 1]) for size in range(1, 5) for bits in range(1, 1 << size)
    ]
    subsets += [(6, list(range(first, after))) for first in range(6) for after in range(first + 1, 7)]
    subsets += [(8, [0, 7]), (8, [1, 2, 5]), (8, [0, 1, 2, 3, 6])]
    spans = [(0, 0), (0, 7), (0, 8), (3, 3), (3, 8), (1, 15), (6, 100), (2**53 - 1, 2**53 + 3), (1, SIZE_MAX)]
    return {
        "empty_root": EMPTY_ROOT,
        "leaves": LEAVES,
        "leaf_hashes": HASHES,
        "roots": [tree_root(HASHES[:size]) for size in range(9)],
        "subtree_spans": [
            {"first_index": first, "next_index": after, "spans": subtree_spans(first, after)} for first, after in spans
        ],
        "ranges": [{"size": size, "peaks": range_hashes(node, 0, size)} for size in range(9)],
        "extend": [
            {"size": size, "next_size": next_size, "hashes": range_hashes(node, size, next_size)}
            for next_size in (7, 8)
            for size in range(next_size + 1)
        ],
        "inclusion": [
            {"index": index, "size": size, "proof": inclusion_proof(node, index, size)}
            for size in range(1, 8)
            for index in range(size)
        ],
        "consistency": [
            {"old_size": old, "new_size": new, "proof": consistency_proof(node, old, new)}
            for new in range(8)
            for old in range(new + 1)
        ],
        "subset": [
            {"size": size, "indexes": indexes, "proof": prove_subset(trees[size], indexes)} for size, indexes in subsets
        ],
        "endless": endless_vectors(),
        "refused": refused_proofs(trees),
    }


def endless_vectors() -> dict[str, Any]:
    """Sizes that no double holds exactly, and the largest."""
    size, index = 2**53 + 3, MARKED_INDEX
    return {
        "marked_index": index,
        "inclusion": [
            {"index": i, "size": n, "root": root_at(endless_node, n), "proof": inclusion_proof(endless_node, i, n)}
            for i, n in [(index, size), (index, SIZE_MAX)]
        ],
        "consistency": [
            {
                "old_size": old,
                "old_root": root_at(endless_node, old),
                "new_size": new,
                "new_root": root_at(endless_node, new),
                "proof": consistency_proof(endless_node, old, new),
            }
            for old, new in [(index, size), (2**62, SIZE_MAX)]
        ],
        "subset": [
            {
                "size": size,
                "indexes": [index, index + 1],
                "root": root_at(endless_node, size),
                "proof": range_hashes(endless_node, 0, index),
            }
        ],
    }


def refused_proofs(trees: list[Tree]) -> list[dict[str, Any]]:
    proof = first, second, third = trees[7].inclusion(5)
    inclusion: dict[str, Any] = {"root": trees[7].root, "size": 7, "index": 5, "leaf_hash": HASHES[5], "proof": proof}
    check_inclusion(**inclusion)
    inclusion_cases = {
        "too short": {"proof": [first, second]},
        "too long": {"proof": [*proof, third]},
        "neighbours swapped": {"proof": [second, first, third]},
        "a byte moved between hashes": {"proof": [first[:-1], first[-1:] + second, third]},
        "another leaf": {"leaf_hash": HASHES[4]},
        "another index": {"index": 4},
        "index beyond the size": {"index": 7},
        "index below zero": {"index": -1},
        "another size": {"size": 6},
        "size beyond 2**63": {"size": SIZE_MAX + 1},
        "another root": {"root": trees[6].root},
    }
    proof = consistency_proof(trees[7].node, 3, 7)
    old, new = ({f"{name}_size": n, f"{name}_root": trees[n].root} for name, n in (("old", 3), ("new", 7)))
    consistency: dict[str, Any] = old | new | {"proof": proof}
    check_consistency(**consistency)
    consistency_cases = {
        "too short": {"proof": proof[:-1]},
        "too long": {"proof": [*proof, proof[-1]]},
        "empty": {"proof": []},
        "neighbours swapped": {"proof": [proof[1], proof[0], *proof[2:]]},
        "roots swapped": {"old_root": trees[7].root, "new_root": trees[3].root},
        "sizes swapped": {"old_size": 7, "new_size": 3},
        "another old size": {"old_size": 2},
        "another new size": {"new_size": 9},
        "something from nothing, with a proof": {"old_size": 0, "old_root": EMPTY_ROOT},
        "nothing, with a root": {"old_size": 0, "proof": []},
        "two roots for one size": {"old_size": 7, "proof": []},
        "one root, with a proof": {"old_size": 7, "old_root": trees[7].root},
    }
    subset = {"size": 7, "indexes": [1, 4], "leaf_hashes": [HASHES[1], HASHES[4]], "root": trees[7].root}
    subset["proof"] = proof = prove_subset(trees[7], [1, 4])
    subset_cases = {
        "too short": {"proof": proof[:-1]},
        "too long": {"proof": [*proof, EMPTY_ROOT]},
        "neighbours swapped": {"proof": [proof[1], proof[0], *proof[2:]]},
        "no index": {"indexes": [], "leaf_hashes": [], "proof": [trees[7].root]},
        "an index twice": {"indexes": [1, 1]},
        "indexes out of order": {"indexes": [4, 1]},
        "index beyond the size": {"indexes": [1, 7]},
        "another index": {"indexes": [1, 5]},
        "too few leaves": {"leaf_hashes": [HASHES[1]]},
    }
    peaks = range_hashes(trees[7].node, 0, 7)
    range_cases = {
        "too few": {"peaks": peaks[:-1]},
        "too many": {"size": 8},
        "a byte moved between peaks": {"peaks": [peaks[0][:-1], peaks[0][-1:] + peaks[1], peaks[2]]},
    }
    return [
        describe_refused("inclusion", inclusion, inclusion_cases),
        describe_refused("consistency", consistency, consistency_cases),
        describe_refused("subset", subset, subset_cases),
        describe_refused("range", {"size": 7, "peaks": peaks}, range_cases),
    ]


def describe_refused(verifier: str, good: dict[str, Any], cases: dict[str, Any]) -> dict[str, Any]:
    return {"verifier": verifier, "good": good, "cases": [{"why": why, "changed": cases[why]} for why in cases]}


def map_key(first_bits: str, rest: str = "0") -> bytes:
    """The key with these first bits; its last one is `rest`, and all between are zero."""
    return int((first_bits + "0" * 255)[:255] + rest, 2).to_bytes(32, "big")


def map_vectors() -> dict[str, Any]:
    value_hashes = [sha256(bytes([i])).digest() for i in range(12)]
    keys = [map_key(bits) for bits in ("1", "01", "0011", "00101", "001001", "11111111", "111111101" + "0" * 9 + "1")]
    keys += [
        map_key("111111101"),
        map_key("0011", "1"),
    ]  # the first parts from another after 18 bits, the other after 255
    batches = [[0], [3, 1, 2], [6, 5, 4], [7, 2, 0]]
    versions: list[StateMap[None]] = [StateMap.empty()]
    history = []
    for number, batch in enumerate(batches):
        items = [(keys[i], value_hashes[i + (number == 3)], None) for i in batch]
        versions.append(versions[-1].update(items))
        history.append(
            {
                "items": [{"key": key, "value_hash": value_hash} for key, value_hash, _ in items],
                "count": versions[-1].count,
                "root": versions[-1].root_hash,
            }
        )
    last = versions[-1]
    present = {key: value_hash for key, value_hash, _ in last.items()}
    absent = [map_key(bits) for bits in ("000", "1011", "0010001", "1101", "1111110", "11111110100001")]
    proofs = [describe_proof(versions[0], absent[0], None), describe_proof(versions[1], absent[0], None)]
    proofs += [describe_proof(last, key, present.get(key)) for key in [*present, *absent]]
    deep = StateMap[None].empty().update([(map_key("1" * n), value_hashes[n % 12], None) for n in (127, 128)])
    return {
        "empty_root": EMPTY_HASH,
        "batches": history,
        "proofs": proofs,
        "deepest": describe_proof(deep, map_key("1" * 127), value_hashes[7]),
        "refused": refused_map_proofs(last, present),
    }


def describe_proof(version: StateMap[None], key: bytes, value_hash: bytes | None) -> dict[str, Any]:
    proof = version.prove(key)
    if root_from_proof(key, value_hash, proof) != version.root_hash:
        raise ValueError("a good proof fails")
    siblings, other = proof
    return {"root": version.root_hash, "key": key, "value_hash": value_hash, "siblings": siblings, "other": other}


def refused_map_proofs(version: StateMap[None], present: dict[bytes, bytes]) -> list[dict[str, Any]]:
    key, taken, apart = map_key("0011"), map_key("1011"), map_key("01")
    member = describe_proof(version, key, present[key])
    beside = describe_proof(version, taken, None)
    siblings = member["siblings"]
    member_cases = {
        "present and absent": {"value_hash": None},
        "another value": {"value_hash": EMPTY_HASH},
        "another key": {"key": map_key("0011", "1")},
        "too short": {"siblings": siblings[:-1]},
        "neighbours swapped": {"siblings": [siblings[1], siblings[0], *siblings[2:]]},
        "a sibling of 31 bytes": {"siblings": [*siblings[:-1], siblings[-1][1:]]},
        "129 siblings": {"siblings": [sha256(bytes([i])).digest() for i in range(129)]},
        "another leaf too": {"other": beside["other"]},
    }
    beside_cases = {
        "the other leaf left out": {"other": None},
        "the other leaf is the key's own": {"key": beside["other"][0]},
        "the other leaf is not in the key's place": {"key": apart},
    }
    # Of trees that nobody honest builds: without a look at its form, each would lead to a root that could be signed.
    first, second = (sha256(bytes([i])).digest() for i in range(2))
    leaf = sha256(b"\x20" + key + present[key]).digest()
    parent = sha256(b"\x21" + leaf + second).digest()  # the key's second bit is 0
    misshapen_cases = {
        "an empty subtree beside the leaf": {"siblings": [first, EMPTY_HASH]},
        "an empty subtree beside an empty one": {"value_hash": None, "siblings": [first, EMPTY_HASH]},
        "the leaf beside itself": {"siblings": [first, leaf]},
        "a subtree in two places": {"siblings": [first, first]},
        "a subtree beside itself": {"siblings": [parent, second]},
    }
    return [
        describe_refused("map", member, member_cases),
        describe_refused("map", beside, beside_cases),
        describe_refused("map form", member, misshapen_cases),
    ]


def vectors() -> dict[str, Any]:
    """File name to what the file holds."""
    return {"merkle.json": readable(merkle_vectors()), "state_map.json": readable(map_vectors())}


def as_text(content: dict[str, Any]) -> str:
    """JSON with a line for each item of each list."""
    parts = []
    for name, value in content.items():
        text = json.dumps(value)
        if isinstance(value, list):
            text = "[\n  " + ",\n  ".join(map(json.dumps, value)) + "\n ]"
        parts.append(f" {json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    for name, content in vectors().items():
        (DIRECTORY / name).write_text(as_text(content))
