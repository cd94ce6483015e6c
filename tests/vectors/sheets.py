"""The sheets of honest routers and receivers, in the plainest way: what they sign, and the lists under its roots.

Knows nothing of keys, or of how the pipeline makes the same. `Content`: each mailbox's encoded MessageLeaves in order.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from noise.protocol.envelope import Bundle
from noise.protocol.identifiers import Actor, Role
from noise.protocol.merkle import leaf_hash, tree_root
from noise.protocol.placement import actors_of, place_mailbox
from noise.protocol.statements import (
    MERGE_SHEET,
    ROUTE_ENTRY,
    ROUTE_SHEET,
    SHEET_ITEM,
    MergeSheet,
    RosterInForce,
    RouteEntry,
    RouteSheet,
    SheetItem,
    hash_manifest,
    hash_route,
)
from tests.vectors.cast import NO_PREVIOUS, ORIGIN

Content = dict[bytes, list[bytes]]


class LaneInput(NamedTuple):
    """What a router is given: the manifest's body, and what it promises each mailbox."""

    lane: int
    manifest: bytes
    content: Content


def content_of(placed: Iterable[tuple[Bundle, Sequence[bytes]]]) -> Content:
    """What bundles bring to each of their recipients. `placed`: each with the leaves of its messages."""
    content: Content = {}
    for bundle, leaves in placed:
        for row, leaf in zip(bundle.rows, leaves, strict=True):
            for mailbox in bundle.recipients[row.set_index].device_ids:
                content.setdefault(mailbox, []).append(leaf)
    return content


def kept_by(in_force: RosterInForce, outbox: Actor, content: Mapping[bytes, list[bytes]]) -> Content:
    """The part of a content that goes to one outbox."""
    return {
        mailbox: content[mailbox] for mailbox in sorted(content) if place_mailbox(in_force.roster, mailbox) == outbox
    }


def items_of(content: Content) -> list[SheetItem]:
    return [
        SheetItem(mailbox, len(content[mailbox]), tree_root([leaf_hash(leaf) for leaf in content[mailbox]]))
        for mailbox in sorted(content)
    ]


def root_of(items: Iterable[SheetItem]) -> bytes:
    return tree_root([leaf_hash(SHEET_ITEM.encode(item)) for item in items])


def entries_of(in_force: RosterInForce, content: Content) -> list[RouteEntry]:
    """What a router has for each outbox, in order."""
    entries = []
    for outbox in actors_of(in_force.roster, Role.OUTBOX):
        items = items_of(kept_by(in_force, outbox, content))
        entries.append(RouteEntry(outbox.encode(), len(items), root_of(items)))
    return entries


def route_sheet(
    in_force: RosterInForce, epoch: int, router: Actor, given: LaneInput, previous: bytes = NO_PREVIOUS
) -> bytes:
    """The body that a router signs."""
    entries = entries_of(in_force, given.content)
    root = tree_root([leaf_hash(ROUTE_ENTRY.encode(entry)) for entry in entries])
    signer = (ORIGIN, router.encode(), in_force.roster.entry(router).incarnation, epoch, in_force.roster_hash)
    sheet = RouteSheet(*signer, given.lane, hash_manifest(given.manifest), len(entries), root, previous)
    return ROUTE_SHEET.encode(sheet)


def merge_sheet(
    in_force: RosterInForce,
    epoch: int,
    receiver: Actor,
    routes: Sequence[tuple[bytes, Content]],
    previous: bytes = NO_PREVIOUS,
) -> bytes:
    """The body that a receiver signs. `routes`: every lane's route sheet and what it was made of, lanes in order."""
    content: Content = {}
    for _, routed in routes:
        for mailbox, leaves in kept_by(in_force, receiver._replace(role=Role.OUTBOX), routed).items():
            content.setdefault(mailbox, []).extend(leaves)
    items = items_of(content)
    signer = (ORIGIN, receiver.encode(), in_force.roster.entry(receiver).incarnation, epoch, in_force.roster_hash)
    inputs = tuple(hash_route(body) for body, _ in routes)
    return MERGE_SHEET.encode(MergeSheet(*signer, inputs, len(items), root_of(items), previous))
