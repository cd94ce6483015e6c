"""The state map: a persistent Merkle prefix tree over 32-byte keys, with proofs of membership and of absence.

Knows nothing of mailboxes, of what a value means or how it is encoded, of signatures or storage.

A key's bits, the most significant first, lead from the root downwards; a leaf stands at its shortest unique prefix.
Leaf `SHA-256(0x20 || key || value_hash)`, inner node `SHA-256(0x21 || left || right)`, empty subtree `SHA-256(0x22)`.
The same leaves give the same root in whatever order they came. Leaves are never removed. A version never changes:
an update copies the paths that it changes and shares all else, so a committed version stays readable for ever.

**What a proof binds.** Whatever was signed as a root, canonical or not: a key's path ends in one place at most, for a
leaf, an inner node and an empty subtree never hash alike. No root proves both that a key is absent and that it is
present, nor two values for it.

**What canonical form lets a verifier see.** An inner node has at least two leaves below it, and no leaf stands in two
places. Seen from one path, and all of it enforced by `root_from_proof`:

1. The deepest sibling of a terminal is never empty. (Beside a leaf there is another leaf at least; beside an empty
   subtree two, but that they are two cannot be seen: the hash of one leaf looks like any other.)
2. No two hashes on or beside the path are equal, the empty subtree's apart: equal hashes are equal leaves, and these
   would stand in two places.
3. Another leaf in the key's place is another key, and agrees with the key in as many bits as there are siblings.
4. A path has at most 128 siblings: further down, two keys agree in more than 128 bits, which hashes do not. The map
   itself holds such keys, only it cannot prove them.

Hashes that keep these rules are, for all that one path shows, those of a canonical tree: there is no more to enforce.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from operator import itemgetter
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from noise.protocol.errors import ProofError

V = TypeVar("V")

EMPTY_HASH = sha256(b"\x22").digest()
SIBLINGS_MAX = 128

_Node: TypeAlias = tuple[Any, ...]
"""Inner node: `(left, right, hash)`. Leaf or empty subtree: `(None, None, hash, key, value_hash, value)`.

Plain tuples, because a batch makes tens of thousands. `node[bit]` is the child, and `None` where the path ends. An
inner node that is made or changed waits without its hash until all of the batch below it is done.
"""

_LEFT, _RIGHT, _HASH, _KEY, _VALUE = 0, 1, 2, 3, 5
_EMPTY: _Node = (None, None, EMPTY_HASH, b"", b"", None)
_BOTH_EMPTY: _Node = (_EMPTY, _EMPTY)


class MapProof(NamedTuple):
    """What stands beside the path of a key, and where the path ends. Its key and value hash travel elsewhere.

    `siblings`: from the root downwards, 32 bytes each, at most `SIBLINGS_MAX`. `other`: key and value hash of the leaf
    that takes the key's place; `None` when the path ends at the key's own leaf, or at an empty subtree.
    """

    siblings: tuple[bytes, ...]
    other: tuple[bytes, bytes] | None


@dataclass(frozen=True, slots=True, eq=False)
class StateMap(Generic[V]):
    """One version of the map. `count` is its number of leaves. Begin with `StateMap.empty()`."""

    count: int
    _root: _Node = field(repr=False)

    @classmethod
    def empty(cls) -> "StateMap[V]":
        """The map without leaves."""
        return cls(0, _EMPTY)

    @property
    def root_hash(self) -> bytes:
        """Commitment to every key and value hash; `EMPTY_HASH` for no leaves."""
        root_hash: bytes = self._root[_HASH]
        return root_hash

    def get(self, key: bytes) -> V | None:
        """The value of the key; `None` where there is no such leaf."""
        path, shift = _path(key), 256
        node = self._root
        while (child := node[path >> shift & 1]) is not None:
            node = child
            shift -= 1
        return node[_VALUE] if node[_KEY] == key else None

    def prove(self, key: bytes) -> MapProof:
        """Proof that the key has its value, or that it is absent, against `root_hash`.

        Raises `ProofError` `map-too-deep` when the path is longer than `SIBLINGS_MAX`, `ValueError` for what is no key.
        """
        if len(key) != 32:
            raise ValueError("a key has 32 bytes")
        path, shift = _path(key), 256
        node = self._root
        siblings = []
        while (child := node[bit := path >> shift & 1]) is not None:
            siblings.append(node[1 - bit][_HASH])
            node = child
            shift -= 1
        if len(siblings) > SIBLINGS_MAX:
            raise ProofError(f"the path has {len(siblings)} siblings", code="map-too-deep")
        is_taken = node is not _EMPTY and node[_KEY] != key
        return MapProof(tuple(siblings), node[_KEY:_VALUE] if is_taken else None)

    def items(self) -> Iterator[tuple[bytes, bytes, V]]:
        """Every `(key, value_hash, value)` in the order of the keys: what `update` takes."""
        ahead = [self._root]
        while ahead:
            node = ahead.pop()
            if node[_LEFT] is not None:
                ahead += (node[_RIGHT], node[_LEFT])
            elif node is not _EMPTY:
                yield node[_KEY:]

    def update(self, items: Sequence[tuple[bytes, bytes, V]]) -> "StateMap[V]":
        """The next version, in which each `(key, value_hash, value)` is set; in any order, but each key once.

        Raises `ValueError` for a key that comes twice, or a key or value hash that is not 32 bytes.
        """
        if len({item[0] for item in items}) < len(items):
            raise ValueError("a key comes twice")
        # One walk over the leaves from left to right. `waiting` holds the inner nodes above `node`, whose depth is its
        # length. Between two keys it climbs no higher than where they part, so each inner node is hashed once a batch.
        node, count, place = self._root, self.count, 0
        waiting: list[_Node] = []
        for key, value_hash, value in sorted(items, key=itemgetter(0)):
            if len(key) != 32 or len(value_hash) != 32:
                raise ValueError("a key and a value hash have 32 bytes each")
            previous_place, place = place, int.from_bytes(key, "big")
            if waiting:
                shared_bits = 256 - (place ^ previous_place).bit_length()
                if shared_bits < len(waiting):  # sorted: the one before went left there, and this one goes right
                    node = _climb(waiting, node, previous_place, shared_bits + 1)
                    right = waiting[shared_bits][_RIGHT]
                    waiting[shared_bits] = (node, right)
                    node = right
            path, shift = place << 1, 256 - len(waiting)
            while (child := node[path >> shift & 1]) is not None:
                waiting.append(node)
                node = child
                shift -= 1
            if node is _EMPTY:
                count += 1
            elif node[_KEY] != key:
                count += 1
                _split(waiting, node, place)
            node = (None, None, sha256(b"\x20" + key + value_hash).digest(), key, value_hash, value)
        return StateMap(count, _climb(waiting, node, place, 0))


def _path(key: bytes) -> int:
    """The key's bits, and one more, for a leaf at depth 256 is asked for its child like any other."""
    return int.from_bytes(key, "big") << 1


def _climb(waiting: list[_Node], node: _Node, place: int, depth: int) -> _Node:
    """Finish the inner nodes above `node` up to this depth; `node` and they are on the path of `place`."""
    path = place >> (256 - len(waiting))
    for _ in range(len(waiting) - depth):
        if path & 1:
            left = waiting.pop()[_LEFT]
            node = (left, node, sha256(b"\x21" + left[_HASH] + node[_HASH]).digest())
        else:
            right = waiting.pop()[_RIGHT]
            node = (node, right, sha256(b"\x21" + node[_HASH] + right[_HASH]).digest())
        path >>= 1
    return node


def _split(waiting: list[_Node], leaf: _Node, place: int) -> None:
    """Lengthen the path of `place`, at whose end this leaf of another key is, to where the two keys part."""
    leaf_place = int.from_bytes(leaf[_KEY], "big")
    shared_bits = 256 - (place ^ leaf_place).bit_length()
    waiting += [_BOTH_EMPTY] * (shared_bits - len(waiting))
    waiting.append((leaf, _EMPTY) if leaf_place < place else (_EMPTY, leaf))


def root_from_proof(key: bytes, value_hash: bytes | None, proof: MapProof) -> bytes:
    """Root of the map in which the key has this value hash, or, for `None`, in which it is absent.

    Nothing is shown until the caller has compared it with a root that is signed.
    Raises `ProofError` for a proof that no canonical map has: see the head of this file.
    """
    siblings, other = proof
    depth = len(siblings)
    if depth > SIBLINGS_MAX:
        raise ProofError(f"{depth} siblings, at most {SIBLINGS_MAX}")
    if len(key) != 32 or not {32}.issuperset(map(len, siblings)):
        raise ProofError("a key or a sibling is not 32 bytes")
    if siblings and siblings[-1] == EMPTY_HASH:
        raise ProofError("an empty subtree beside the end of the path")
    place = int.from_bytes(key, "big")
    if value_hash is not None:
        if other is not None:
            raise ProofError("another leaf in the place of a present key")
        node = _leaf_hash(key, value_hash)
    elif other is None:
        node = EMPTY_HASH
    else:
        shared_bits = 256 - (place ^ int.from_bytes(other[0], "big")).bit_length()
        if other[0] == key or shared_bits < depth:
            raise ProofError("a leaf that is not in the place of the absent key")
        node = _leaf_hash(*other)
    seen = [node]
    place >>= 256 - depth
    for sibling in reversed(siblings):
        node = sha256(b"\x21" + (sibling + node if place & 1 else node + sibling)).digest()
        place >>= 1
        seen.append(node)
    seen += [sibling for sibling in siblings if sibling != EMPTY_HASH]
    if len(set(seen)) != len(seen):
        raise ProofError("one subtree in two places")
    return node


def _leaf_hash(key: bytes, value_hash: bytes) -> bytes:
    if len(key) != 32 or len(value_hash) != 32:
        raise ProofError("a key or a value hash is not 32 bytes")
    return sha256(b"\x20" + key + value_hash).digest()
