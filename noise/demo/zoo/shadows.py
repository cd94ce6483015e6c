"""Messages as they never were, kept beside the store so that every page of a mailbox shows them again.

Knows nothing of why they are shown. A store holds each position of a lane once; what a liar shows at a position, or
at one that no manifest has, lies here, under ids that no inbox gives away. A history row picks them like any bundle.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from noise.pipeline.batches import Accepted, Part
from noise.protocol.envelope import Bundle
from noise.protocol.identifiers import parse_seq
from noise.store.base import LANE_BITS, BundleRow, Store

_FIRST_NUMBER = 1 << 40


class Shadows:
    """`path`: a file that keeps them from one start to the next; None: nothing does."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._rows: dict[int, BundleRow] = {}
        if path is not None and path.exists():
            for line in path.read_text(encoding="ascii").splitlines():
                *numbers, sender, body = json.loads(line)
                bundle_id, epoch, first_pos, first_ctr, n_messages = numbers
                row = BundleRow(
                    bundle_id, epoch, first_pos, bytes.fromhex(sender), first_ctr, n_messages, -1, bytes.fromhex(body)
                )
                self._rows[bundle_id] = row

    def serve(self, store: Store) -> None:
        """Let whoever reads bundles from an open store find these too."""
        read: Callable[[Sequence[int]], Any] = store.bundles_by_id

        async def bundles_by_id(ids: Sequence[int]) -> dict[int, BundleRow]:
            found: dict[int, BundleRow] = await read([one for one in ids if one not in self._rows])
            return found | {one: self._rows[one] for one in ids if one in self._rows}

        store.bundles_by_id = bundles_by_id  # type: ignore[method-assign]

    def place(self, bundle: Bundle, first_seq: bytes, indexes: tuple[int, ...] = ()) -> Part:
        """A part of a bundle as if its messages stood at `first_seq` and behind it."""
        epoch, lane, first_pos = parse_seq(first_seq)
        bundle_id = (_FIRST_NUMBER + len(self._rows)) << LANE_BITS | lane
        row = BundleRow(bundle_id, epoch, first_pos, bundle.sender, bundle.first_ctr, bundle.count, -1, bundle.encode())
        self._rows[bundle_id] = row
        if self._path is not None:
            line = json.dumps(
                [bundle_id, epoch, first_pos, row.first_ctr, row.n_messages, row.sender.hex(), row.body.hex()]
            )
            with self._path.open("a", encoding="ascii") as file:
                file.write(line + "\n")
        return Part(Accepted(bundle, row.body, bundle_id, first_seq), indexes)


def held(part: Part) -> tuple[int, ...]:
    """The indexes of a part's messages in its bundle."""
    return part.indexes or tuple(range(part.bundle.count))


def without(part: Part, index: int) -> Part | None:
    """A part without one message of its bundle; None: nothing is left."""
    kept = tuple(i for i in held(part) if i != index)
    if not kept:
        return None
    if len(kept) == len(part.leaf_hashes):
        return part
    return Part(Accepted(part.bundle, b"", part.bundle_id, part.first_seq), kept)
