"""What each stage checks of the statements that it was given, before it signs its own.

Knows nothing of channels, stores or proofs of misbehaviour. Stages, recovery, fsck and auditors run these same checks:
manifest -> route sheet -> merge sheet -> head, each of which names the hash of the one before it. All of them raise
DecodeError, ProofError or SignatureError.
"""

from collections.abc import Sequence

from noise.protocol.errors import ProofError
from noise.protocol.identifiers import Actor, Role, parse_actor, parse_seq
from noise.protocol.merkle import EMPTY_ROOT, check_inclusion, leaf_hash, tree_root
from noise.protocol.placement import place_mailbox
from noise.protocol.signing import Signed
from noise.protocol.statements import (
    EPOCH_HEAD,
    MANIFEST,
    MERGE_SHEET,
    ROUTE_ENTRY,
    ROUTE_SHEET,
    SHEET_ITEM,
    EpochHead,
    Manifest,
    MergeSheet,
    Roster,
    RouteSheet,
    verify_statement,
)


def item_hash(mailbox: bytes, n_messages: int, delta_root: bytes) -> bytes:
    """Of one SheetItem, as a leaf."""
    return leaf_hash(SHEET_ITEM.pack(mailbox, n_messages, delta_root))


def items_root(item_hashes: Sequence[bytes]) -> bytes:
    """Of a sheet's items, mailboxes strictly increasing."""
    return tree_root(list(item_hashes)) if item_hashes else EMPTY_ROOT


def entry_hash(outbox: bytes, n_mailboxes: int, root: bytes) -> bytes:
    """Of one RouteEntry, as a leaf. `outbox`: the actor, encoded."""
    return leaf_hash(ROUTE_ENTRY.pack(outbox, n_mailboxes, root))


def router_of(inbox: bytes) -> Actor:
    """The router of an inbox's lane: it has the inbox's number."""
    return parse_actor(inbox)._replace(role=Role.ROUTER)


def receiver_of(outbox: Actor) -> Actor:
    """The receiver of an outbox: it has the outbox's number."""
    return outbox._replace(role=Role.RECEIVER)


def way_of(roster: Roster, seq: bytes, mailbox: bytes) -> list[Actor]:
    """Through whose hands a message for a mailbox goes: inbox, router, receiver, outbox.

    Without the first two, if the seq is of no lane: then the others have nothing there. `roster`: the one in force in
    the seq's epoch. Raises DecodeError for a seq that is none.
    """
    lane = parse_seq(seq)[1]
    inboxes = [one.inbox for one in roster.lanes if one.lane == lane]
    outbox = place_mailbox(roster, mailbox)
    return [*map(parse_actor, inboxes), *map(router_of, inboxes), receiver_of(outbox), outbox]


def check_manifest(signed: Signed, roster: Roster, lane: int, epoch: int) -> Manifest:
    """What the inbox of a lane signed."""
    manifest = MANIFEST.decode(signed.body)
    inbox = {one.lane: one.inbox for one in roster.lanes}.get(lane)
    if (manifest.origin, manifest.actor, manifest.lane, manifest.epoch) != (roster.origin, inbox, lane, epoch):
        raise ProofError("the manifest of another origin, lane or epoch", code="wrong-manifest")
    verify_statement(signed, "manifest", roster, parse_actor(manifest.actor), manifest.incarnation)
    return manifest


def check_route_sheet(
    signed: Signed, roster: Roster, roster_hash: bytes, lane: int, epoch: int, manifest_hash: bytes
) -> RouteSheet:
    """What the router of a lane signed over this manifest."""
    sheet = ROUTE_SHEET.decode(signed.body)
    inbox = {one.lane: one.inbox for one in roster.lanes}.get(lane)
    router = router_of(inbox) if inbox is not None else None
    expected = (roster.origin, router and router.encode(), lane, epoch, roster_hash, roster.count_of(Role.OUTBOX))
    if (sheet.origin, sheet.actor, sheet.lane, sheet.epoch, sheet.roster_hash, sheet.n_outboxes) != expected:
        raise ProofError("the route sheet of another origin, lane, epoch or roster", code="wrong-sheet")
    if sheet.manifest_hash != manifest_hash:
        raise ProofError("the route sheet was made from another manifest", code="wrong-sheet")
    verify_statement(signed, "route", roster, parse_actor(sheet.actor), sheet.incarnation)
    return sheet


def check_entry(sheet: RouteSheet, outbox: Actor, items: Sequence[bytes], proof: Sequence[bytes]) -> None:
    """What came for an outbox, by item hashes, is what a route sheet has for it."""
    entry = entry_hash(outbox.encode(), len(items), items_root(items))
    check_inclusion(sheet.root, sheet.n_outboxes, outbox.number, entry, proof)


def check_merge_sheet(
    signed: Signed, roster: Roster, roster_hash: bytes, outbox: Actor, epoch: int, inputs: Sequence[bytes]
) -> MergeSheet:
    """What the receiver of an outbox signed over these route sheets, by hash, in the order of lanes."""
    sheet = MERGE_SHEET.decode(signed.body)
    receiver = receiver_of(outbox)
    expected = (roster.origin, receiver.encode(), epoch, roster_hash)
    if (sheet.origin, sheet.actor, sheet.epoch, sheet.roster_hash) != expected:
        raise ProofError("the merge sheet of another origin, outbox, epoch or roster", code="wrong-sheet")
    if sheet.inputs != tuple(inputs):
        raise ProofError("the merge sheet was made from other route sheets", code="wrong-sheet")
    verify_statement(signed, "merge", roster, receiver, sheet.incarnation)
    return sheet


def check_items(sheet: MergeSheet, items: Sequence[bytes]) -> None:
    """What came with a merge sheet, by item hashes, is what it holds."""
    if (len(items), items_root(items)) != (sheet.n_mailboxes, sheet.root):
        raise ProofError("what came is not what the merge sheet holds", code="wrong-sheet")


def check_head(
    signed: Signed, roster: Roster, roster_hash: bytes, outbox: Actor, epoch: int, merge_sheet_hash: bytes
) -> EpochHead:
    """What an outbox signed over this merge sheet."""
    head = EPOCH_HEAD.decode(signed.body)
    expected = (roster.origin, outbox.encode(), epoch, roster_hash)
    if (head.origin, head.actor, head.epoch, head.roster_hash) != expected:
        raise ProofError("the head of another origin, outbox, epoch or roster", code="wrong-head")
    if head.merge_sheet_hash != merge_sheet_hash:
        raise ProofError("the head was made from another merge sheet", code="wrong-head")
    verify_statement(signed, "head", roster, outbox, head.incarnation)
    return head
