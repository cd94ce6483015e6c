"""The golden vectors of the Merkle trees: the stored file, the code and the naive twin agree."""

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest

from noise.protocol.errors import ProofError
from noise.protocol.merkle import SIZE_MAX, check_consistency, check_inclusion, make_range, root_from_subset
from tests.protocol.naive_merkle import (
    MARKED_INDEX,
    Range,
    check_root,
    consistency_ranges,
    endless_root,
    inclusion_ranges,
    span_ranges,
    split,
    subset_ranges,
)
from tests.vectors import make_merkle

CHECKS: dict[str, Callable[[dict[str, Any]], None]] = {
    "inclusion": lambda case: check_inclusion(**case),
    "consistency": lambda case: check_consistency(**case),
    "subset": lambda case: check_root(
        root_from_subset(case["size"], case["indexes"], case["leaf_hashes"], case["proof"]), case["root"]
    ),
    "range": lambda case: _check_range(**case),
}


def _check_range(size: int, peaks: list[bytes]) -> None:
    make_range(size, peaks)


def read(value: Any, name: str = "") -> Any:
    """A stored value as Python holds it: the names tell bytes from numbers."""
    if isinstance(value, dict):
        return {key: read(part, key) for key, part in value.items()}
    if isinstance(value, list):
        return [read(part, name) for part in value]
    if isinstance(value, str) and name not in ("verifier", "why"):
        return int(value) if "size" in name or "index" in name or name == "spans" else bytes.fromhex(value)
    return value


@pytest.fixture(scope="module")
def stored() -> Any:
    return json.loads((make_merkle.DIRECTORY / "merkle.json").read_text())


def test_vectors_are_what_the_code_makes(stored: Any) -> None:
    assert stored == make_merkle.vectors()["merkle.json"]
    assert (make_merkle.DIRECTORY / "merkle.json").stat().st_size < 40_000


def test_vectors_are_what_the_twin_makes(stored: Any) -> None:
    vectors = read(stored)
    leaves = vectors["leaves"]
    assert vectors["leaf_hashes"] == [sha256(b"\x00" + leaf).digest() for leaf in leaves]

    def mth(first: int, after: int) -> bytes:
        if after - first == 1:
            return bytes(vectors["leaf_hashes"][first])
        middle = split(first, after)
        return sha256(b"\x01" + mth(first, middle) + mth(middle, after)).digest()

    def roots(ranges: list[Range], source: Callable[[int, int], bytes] = mth) -> list[bytes]:
        return [source(*part) for part in ranges]

    assert vectors["empty_root"] == sha256(b"").digest()
    assert vectors["roots"] == [vectors["empty_root"], *(mth(0, size) for size in range(1, 9))]
    for case in vectors["subtree_spans"]:
        spans = [(index << level, (index + 1) << level) for level, index in case["spans"]]
        assert spans == span_ranges(case["first_index"], case["next_index"], (0, SIZE_MAX))
    for case in vectors["ranges"]:
        assert case["peaks"] == roots(span_ranges(0, case["size"]))
    for case in vectors["extend"]:
        assert case["hashes"] == roots(span_ranges(case["size"], case["next_size"]))
    for case in vectors["inclusion"]:
        assert case["proof"] == roots(inclusion_ranges(case["index"], 0, case["size"]))
    for case in vectors["consistency"]:
        old, new = case["old_size"], case["new_size"]
        assert case["proof"] == (roots(consistency_ranges(old, 0, new)) if old else [])
    for case in vectors["subset"]:
        assert case["proof"] == roots(subset_ranges(case["indexes"], 0, case["size"]))
    endless = vectors["endless"]
    assert endless["marked_index"] == MARKED_INDEX
    for case in endless["inclusion"]:
        assert case["root"] == endless_root(0, case["size"])
        assert case["proof"] == roots(inclusion_ranges(case["index"], 0, case["size"]), endless_root)
    for case in endless["consistency"]:
        old, new = case["old_size"], case["new_size"]
        assert (case["old_root"], case["new_root"]) == (endless_root(0, old), endless_root(0, new))
        assert case["proof"] == roots(consistency_ranges(old, 0, new), endless_root)
    for case in endless["subset"]:
        assert case["root"] == endless_root(0, case["size"])
        assert case["proof"] == roots(subset_ranges(case["indexes"], 0, case["size"]), endless_root)


def test_refused_vectors(stored: Any) -> None:
    for group in read(stored["refused"]):
        check = CHECKS[group["verifier"]]
        check(group["good"])
        for case in group["cases"]:
            with pytest.raises(ProofError):
                check(group["good"] | case["changed"])
