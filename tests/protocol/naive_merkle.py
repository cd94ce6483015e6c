"""RFC 6962 as it is written: the naive twin that the Merkle tests compare with, and what a forger may try.

Knows nothing of the code under test but its error. The twin follows the recursive definitions of section 2.1: a proof
is a list of ranges of leaves, whose roots are sent. Two claims (index and size, say) admit the same proof exactly when
they fold the same terms (`term`), so what is asserted of a changed claim is always one thing or the other, never
"perhaps".
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from hashlib import sha256
from itertools import pairwise
from typing import Any

from noise.protocol.errors import ProofError

SIZES_MAX = 70
LEAVES = [b"leaf %d" % i for i in range(SIZES_MAX)]
HASHES = [sha256(b"\x00" + leaf).digest() for leaf in LEAVES]
MARKED_INDEX = 2**53 + 1
Range = tuple[int, int]


def split(first: int, after: int) -> int:
    """Where RFC 6962 divides a tree: after the largest power of two smaller than its size."""
    k = 1
    while 2 * k < after - first:
        k *= 2
    return first + k


@lru_cache(None)
def root_of(first: int, after: int) -> bytes:
    if first == after:
        return sha256(b"").digest()
    if after - first == 1:
        return sha256(b"\x00" + LEAVES[first]).digest()
    middle = split(first, after)
    return sha256(b"\x01" + root_of(first, middle) + root_of(middle, after)).digest()


@lru_cache(None)
def endless_root(first: int, after: int) -> bytes:
    """As `root_of`, of a list too long to build: every leaf is empty, but leaf `MARKED_INDEX` is 00."""
    if not first <= MARKED_INDEX < after and first != MARKED_INDEX + 1:
        return endless_root(MARKED_INDEX + 1, MARKED_INDEX + 1 + after - first)  # like any other without that leaf
    if after - first == 1:
        return sha256(b"\x00\x00" if first == MARKED_INDEX else b"\x00").digest()
    middle = split(first, after)
    return sha256(b"\x01" + endless_root(first, middle) + endless_root(middle, after)).digest()


def inclusion_ranges(index: int, first: int, after: int) -> list[Range]:
    """PATH of RFC 6962, 2.1.1."""
    if after - first == 1:
        return []
    middle = split(first, after)
    if index < middle:
        return [*inclusion_ranges(index, first, middle), (middle, after)]
    return [*inclusion_ranges(index, middle, after), (first, middle)]


def consistency_ranges(old: int, first: int, after: int, is_whole: bool = True) -> list[Range]:
    """SUBPROOF of RFC 6962, 2.1.2; `old` counts from the beginning of the list."""
    if old == after:
        return [] if is_whole else [(first, after)]
    middle = split(first, after)
    if old <= middle:
        return [*consistency_ranges(old, first, middle, is_whole), (middle, after)]
    return [*consistency_ranges(old, middle, after, False), (first, middle)]


def subset_ranges(chosen: Sequence[int], first: int, after: int) -> list[Range]:
    inside = sum(first <= i < after for i in chosen)
    if inside in (0, after - first):
        return [] if inside else [(first, after)]
    middle = split(first, after)
    return subset_ranges(chosen, first, middle) + subset_ranges(chosen, middle, after)


def span_ranges(first: int, after: int, place: Range = (0, 128)) -> list[Range]:
    """The maximal aligned subtrees within [first, after), top down."""
    if place[0] >= after or place[1] <= first:
        return []
    if first <= place[0] and place[1] <= after:
        return [place]
    middle = split(*place)
    return span_ranges(first, after, (place[0], middle)) + span_ranges(first, after, (middle, place[1]))


def term(first: int, after: int, atoms: dict[Range, Any]) -> Any:
    """The formula of a root over given parts."""
    if (first, after) in atoms:
        return atoms[first, after]
    middle = split(first, after)
    return term(first, middle, atoms), term(middle, after, atoms)


def inclusion_term(index: int, size: int) -> Any:
    ranges = inclusion_ranges(index, 0, size)
    return term(0, size, {(index, index + 1): "leaf"} | {part: i for i, part in enumerate(ranges)})


def consistency_terms(old: int, new: int) -> Any:
    atoms: dict[Range, Any] = {part: i for i, part in enumerate(consistency_ranges(old, 0, new))}
    if (0, old) not in atoms and old & (old - 1) == 0:
        atoms[0, old] = "old root"
    return len(atoms), term(0, old, atoms), term(0, new, atoms)


def subset_term(chosen: Sequence[int], size: int) -> Any:
    ranges = subset_ranges(chosen, 0, size)
    leaves = {(i, i + 1): f"leaf {n}" for n, i in enumerate(chosen)}
    return len(ranges), term(0, size, leaves | {part: n for n, part in enumerate(ranges)})


def mutations(proof: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Every proof near this one that is not this one."""
    proof = list(proof)
    foreign = sha256(b"foreign").digest()
    yield [foreign, *proof]
    yield [*proof, foreign]
    for i, part in enumerate(proof):
        yield proof[:i] + proof[i + 1 :]
        yield [*proof[: i + 1], *proof[i:]]
        yield [*proof[:i], part[:-1] + bytes([part[-1] ^ 1]), *proof[i + 1 :]]
        yield [*proof[:i], part[:-1], *proof[i + 1 :]]
        yield [*proof[:i], part + b"\x00", *proof[i + 1 :]]
    for i, (left, right) in enumerate(pairwise(proof)):
        if left != right:
            yield [*proof[:i], right, left, *proof[i + 2 :]]
        yield [*proof[:i], left[:-1], left[-1:] + right, *proof[i + 2 :]]
        yield [*proof[:i], left[1:], right + left[:1], *proof[i + 2 :]]
    yield from (proof[:cut] for cut in range(len(proof) - 1))


def near(*numbers: int) -> Iterator[tuple[int, ...]]:
    """One of the numbers off by one, doubled or halved; or all of them; or two of them exchanged."""
    changes: list[Callable[[int], int]] = [lambda n: n - 1, lambda n: n + 1, lambda n: n * 2, lambda n: n // 2]
    for change in changes:
        yield tuple(map(change, numbers))
        for i in range(len(numbers)):
            yield (*numbers[:i], change(numbers[i]), *numbers[i + 1 :])
    yield numbers[::-1]


def passes(check: Callable[..., Any], *args: Any) -> bool:
    try:
        check(*args)
    except ProofError:
        return False
    return True


def check_root(found: bytes, root: bytes) -> None:
    """What everybody does with a root that a verifier returns."""
    if found != root:
        raise ProofError("another root")
