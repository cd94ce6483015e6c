"""What each mailbox gets of a batch of parts, and the item hashes by which sheets commit to it.

Knows nothing of sheets, lanes or signatures. Router, receiver and outbox all run this: the one to make what it signs,
the others to check what they were given.
"""

from collections.abc import Container, Sequence
from typing import Final

from noise.pipeline.batches import Content, Part, Parts
from noise.protocol.errors import ProofError
from noise.protocol.identifiers import Actor
from noise.protocol.placement import Rendezvous
from noise.protocol.stages import item_hash

_EPOCH_SHIFT: Final = 64
_LANE_SHIFT: Final = 48
_LANE_MASK: Final = 0xFFFF


def content_of(parts: Sequence[Part]) -> Content:
    """Of a mailbox that receives these parts."""
    first, *others = parts
    return first.content_with(tuple(others))


def gather(parts: Parts) -> dict[bytes, list[Part]]:
    """The parts of each mailbox, in their order; mailboxes rising."""
    gathered: dict[bytes, list[Part]] = {}
    get = gathered.get
    for part, mailboxes in parts:
        for mailbox in mailboxes:
            known = get(mailbox)
            if known is None:
                gathered[mailbox] = [part]
            else:
                known.append(part)
    return {mailbox: gathered[mailbox] for mailbox in sorted(gathered)}


def check_places(
    parts_of: dict[bytes, list[Part]], epoch: int, lanes: Container[int], placement: Rendezvous, outbox: Actor
) -> None:
    """What each mailbox gets is of this epoch and these lanes, in order, each once; and the outbox keeps the mailbox.

    Raises ProofError.
    """
    placed = placement.actor
    for mailbox, parts in parts_of.items():
        if placed(mailbox) != outbox:
            raise ProofError(f"{outbox} does not keep all mailboxes of the sheet", code="wrong-sheet")
        reached = (epoch << _EPOCH_SHIFT) - 1
        for part in parts:
            if part.first_place <= reached or part.first_place >> _LANE_SHIFT & _LANE_MASK not in lanes:
                raise ProofError("messages out of their order, or of other lanes", code="wrong-sheet")
            reached = part.last_place
        if reached >> _EPOCH_SHIFT != epoch:
            raise ProofError("messages of another epoch", code="wrong-sheet")


def hash_items(gathered: dict[bytes, list[Part]]) -> dict[bytes, bytes]:
    """The item hash of each mailbox, mailboxes rising."""
    return {mailbox: item_hash(mailbox, *content_of(parts)) for mailbox, parts in gathered.items()}
