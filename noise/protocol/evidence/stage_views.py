"""What each stage's signed statement says of one message and one mailbox: opened, and made from what a stage keeps.

Knows nothing of who lied: a view is a leaf, or nothing, by the word of one signer. There are four, one for each stage:
the manifest (is the mailbox's device a recipient?), the route sheet, the merge sheet, the mailbox's history.

A view is about a question: a seq and a mailbox. Sheets name the roster that they were made under; where that roster
keeps the mailbox is where the view must look. All that opens raises DecodeError for what is not well formed, and
NotProven, ProofError or SignatureError for the rest.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Annotated, NamedTuple, TypeAlias

from noise.protocol.delta import SIGNED_HEAD, SIGNED_ROSTER, SignedHead, SignedRoster
from noise.protocol.encoding import U32, Bytes5, Bytes16, Bytes32, list_of, optional, struct_codec
from noise.protocol.envelope import Recipients, RecipientSet
from noise.protocol.errors import DecodeError, ProofError
from noise.protocol.evidence.absences import ABSENCE, Absence, open_absence
from noise.protocol.evidence.material import open_device, place_leaf
from noise.protocol.evidence.messages import check_not_among
from noise.protocol.evidence.openings import (
    LEAF_OPENING,
    PLACED_LEAF,
    RECIPIENT_OPENING,
    SEQUENCED_LEAF,
    LeafOpening,
    PlacedLeaf,
    ProofHashes,
    RecipientOpening,
    SequencedLeaf,
    open_leaf,
    open_recipient,
    open_sequenced,
)
from noise.protocol.evidence.rosters import Rosters
from noise.protocol.evidence.verdict import NotProven
from noise.protocol.frames import SIGNED_MANIFEST, SignedManifest
from noise.protocol.identifiers import Actor, parse_seq
from noise.protocol.log_pages import SIGNED_MERGE, SIGNED_ROUTE, SignedMerge, SignedRoute
from noise.protocol.merkle import Tree, check_inclusion, leaf_hash, leaf_hashes, tree_root
from noise.protocol.signing import Signed
from noise.protocol.stages import check_manifest, check_merge_sheet, check_route_sheet, entry_hash, item_hash
from noise.protocol.statements import (
    MERGE_SHEET,
    MESSAGE_LEAF,
    ROUTE_ENTRY,
    ROUTE_SHEET,
    SHEET_ITEM,
    MergeSheet,
    Roster,
    RouteEntry,
    RouteSheet,
    SheetItem,
    hash_manifest,
    hash_merge,
    hash_route,
)

ANSWER_ROSTERS_MAX = 8
ANSWER_STAGES_MAX = 4
"""One actor answers for itself; what several answered may stand in one, of one question."""

SheetContent: TypeAlias = Mapping[bytes, Sequence[bytes]]
"""What a sheet holds for an outbox: the encoded MessageLeaves of each mailbox, seq strictly increasing."""


class Question(NamedTuple):
    """What became of the message at `seq` for `mailbox`?"""

    seq: Bytes16
    mailbox: Bytes32


QUESTION = struct_codec(Question)


class EndedLane(NamedTuple):
    """A manifest that ends before a position: nothing was sequenced there."""

    manifest: Annotated[SignedManifest, SIGNED_MANIFEST]
    roster_hash: Bytes32


ENDED_LANE = struct_codec(EndedLane)


class SequencedView(NamedTuple):
    """The message at a seq, and of its recipients the mailbox's own device, or the neighbours between which that is
    not (as in Misdelivery); or that the lane ended before."""

    message: Annotated[SequencedLeaf | None, optional(SEQUENCED_LEAF)]
    recipients: Annotated[tuple[RecipientOpening, ...], list_of(RECIPIENT_OPENING, 2)]
    ended: Annotated[EndedLane | None, optional(ENDED_LANE)]


SEQUENCED_VIEW = struct_codec(SequencedView)


class PlacedItem(NamedTuple):
    """`item`: number `place` of what a sheet holds for an outbox."""

    place: U32
    item: Annotated[SheetItem, SHEET_ITEM]
    proof: ProofHashes


PLACED_ITEM = struct_codec(PlacedItem)


class SheetView(NamedTuple):
    """Of what a sheet holds for an outbox: the mailbox's `item`, and in it the `leaf` at the seq, or the neighbours
    `before` and `after` between which it is not; or no item, but its neighbours. One neighbour, at an end."""

    item: Annotated[PlacedItem | None, optional(PLACED_ITEM)]
    leaf: Annotated[PlacedLeaf | None, optional(PLACED_LEAF)]
    before: Annotated[PlacedLeaf | None, optional(PLACED_LEAF)]
    after: Annotated[PlacedLeaf | None, optional(PLACED_LEAF)]
    item_before: Annotated[PlacedItem | None, optional(PLACED_ITEM)]
    item_after: Annotated[PlacedItem | None, optional(PLACED_ITEM)]


SHEET_VIEW = struct_codec(SheetView)


class RouteView(NamedTuple):
    """`entry`: of one outbox, at its number. `content`: what is under that entry."""

    sheet: Annotated[SignedRoute, SIGNED_ROUTE]
    entry: Annotated[RouteEntry, ROUTE_ENTRY]
    proof: ProofHashes
    content: Annotated[SheetView, SHEET_VIEW]


ROUTE_VIEW = struct_codec(RouteView)


class MergeView(NamedTuple):
    sheet: Annotated[SignedMerge, SIGNED_MERGE]
    content: Annotated[SheetView, SHEET_VIEW]


MERGE_VIEW = struct_codec(MergeView)


class StageCustody(NamedTuple):
    """What one actor was given and what it made of it. Whatever is not its business is left out.

    An inbox: `sequenced`. A router: `sequenced`, `routed`. A receiver: `routed`, `merged`. An outbox: `merged`, its
    `head` of the seq's epoch, and `delivered` or `absent`, under any head that the same key signed.
    """

    actor: Bytes5
    sequenced: Annotated[SequencedView | None, optional(SEQUENCED_VIEW)] = None
    routed: Annotated[RouteView | None, optional(ROUTE_VIEW)] = None
    merged: Annotated[MergeView | None, optional(MERGE_VIEW)] = None
    head: Annotated[SignedHead | None, optional(SIGNED_HEAD)] = None
    delivered: Annotated[LeafOpening | None, optional(LEAF_OPENING)] = None
    absent: Annotated[Absence | None, optional(ABSENCE)] = None


STAGE_CUSTODY = struct_codec(StageCustody)


class CustodyAnswer(NamedTuple):
    """What actors answer to a question, with the rosters that verify it."""

    rosters: Annotated[tuple[SignedRoster, ...], list_of(SIGNED_ROSTER, ANSWER_ROSTERS_MAX)]
    question: Annotated[Question, QUESTION]
    stages: Annotated[tuple[StageCustody, ...], list_of(STAGE_CUSTODY, ANSWER_STAGES_MAX)]


CUSTODY_ANSWER = struct_codec(CustodyAnswer)


class OpenedManifest(NamedTuple):
    """`leaf`: the message, when the mailbox's device is among its recipients."""

    manifest_hash: bytes
    roster_hash: bytes
    leaf: bytes | None


class OpenedRoute(NamedTuple):
    sheet: RouteSheet
    sheet_hash: bytes
    roster: Roster
    leaf: bytes | None


class OpenedMerge(NamedTuple):
    sheet: MergeSheet
    sheet_hash: bytes
    roster: Roster
    leaf: bytes | None


class OpenedHistory(NamedTuple):
    """`signer`: (actor, key) of the head that it was opened under."""

    signer: tuple[Actor, bytes]
    leaf: bytes | None


def open_sequenced_view(rosters: Rosters, view: SequencedView, question: Question) -> OpenedManifest:
    epoch, lane, pos = parse_seq(question.seq)
    if view.message is not None and view.ended is None:
        message = open_sequenced(rosters, view.message)
        if message.leaf.seq != question.seq:
            raise NotProven("the message at another position")
        made = hash_manifest(view.message.manifest.body)
        if [open_recipient(message.leaf, one) for one in view.recipients] == [question.mailbox]:
            return OpenedManifest(made, view.message.roster_hash, message.encoded)
        check_not_among(message.leaf, view.recipients, question.mailbox)
        return OpenedManifest(made, view.message.roster_hash, None)
    if view.ended is None or view.message is not None or view.recipients:
        raise DecodeError("a view of a manifest is of a message, or of the lane's end")
    roster = rosters.find(view.ended.roster_hash, epoch)
    manifest = check_manifest(Signed(*view.ended.manifest), roster, lane, epoch)
    if pos < manifest.n_messages:
        raise NotProven("the lane goes on")
    return OpenedManifest(hash_manifest(view.ended.manifest.body), view.ended.roster_hash, None)


def open_route_view(rosters: Rosters, view: RouteView, question: Question) -> OpenedRoute:
    """Under the entry of the outbox that keeps the mailbox, in the sheet of the seq's lane and epoch."""
    epoch, lane, _ = parse_seq(question.seq)
    named = ROUTE_SHEET.decode(view.sheet.body)
    roster = rosters.find(named.roster_hash, epoch)
    sheet = check_route_sheet(Signed(*view.sheet), roster, named.roster_hash, lane, epoch, named.manifest_hash)
    outbox = rosters.place(named.roster_hash, question.mailbox)
    check_inclusion(sheet.root, sheet.n_outboxes, outbox.number, entry_hash(*view.entry), view.proof)
    leaf = _open_content(view.entry.root, view.entry.n_mailboxes, view.content, question)
    return OpenedRoute(sheet, hash_route(view.sheet.body), roster, leaf)


def open_merge_view(rosters: Rosters, view: MergeView, question: Question) -> OpenedMerge:
    """In the sheet for the outbox that keeps the mailbox, of the seq's epoch."""
    epoch = parse_seq(question.seq)[0]
    named = MERGE_SHEET.decode(view.sheet.body)
    roster = rosters.find(named.roster_hash, epoch)
    outbox = rosters.place(named.roster_hash, question.mailbox)
    sheet = check_merge_sheet(Signed(*view.sheet), roster, named.roster_hash, outbox, epoch, named.inputs)
    leaf = _open_content(sheet.root, sheet.n_mailboxes, view.content, question)
    return OpenedMerge(sheet, hash_merge(view.sheet.body), roster, leaf)


def open_history_view(
    rosters: Rosters, delivered: LeafOpening | None, absent: Absence | None, question: Question
) -> OpenedHistory:
    """Under a head of the seq's epoch or a later one."""
    if delivered is not None and absent is None:
        opened = open_leaf(rosters, delivered)
        if (opened.mailbox, opened.leaf.seq) != (question.mailbox, question.seq):
            raise NotProven("another message, or another mailbox")
        return OpenedHistory(opened.signer, opened.encoded)
    if absent is not None and delivered is None:
        nothing = open_absence(rosters, absent, question.seq)
        if nothing.mailbox != question.mailbox:
            raise NotProven("the absence from another mailbox")
        return OpenedHistory(nothing.signer, None)
    raise DecodeError("a message was delivered, or it was not")


def check_item(root: bytes, n_items: int, placed: PlacedItem) -> None:
    """`placed` is among the items of a sheet, or of an entry in it. Raises ProofError."""
    check_inclusion(root, n_items, placed.place, item_hash(*placed.item), placed.proof)


def check_item_leaf(item: SheetItem, placed: PlacedLeaf) -> None:
    """`placed.leaf`, whatever these bytes are, is among the messages of an item. Raises ProofError."""
    check_inclusion(item.delta_root, item.n_messages, placed.place, leaf_hash(placed.leaf), placed.proof)


def _open_content(root: bytes, n_items: int, view: SheetView, question: Question) -> bytes | None:
    """The leaf of the question under a root of items."""
    if view.item is None:
        if (view.leaf, view.before, view.after) != (None, None, None):
            raise DecodeError("messages of no item")
        beside_items = [one for one in (view.item_before, view.item_after) if one is not None]
        for one in beside_items:
            check_item(root, n_items, one)
        _check_between(
            view.item_before and (view.item_before.place, view.item_before.item.mailbox),
            view.item_after and (view.item_after.place, view.item_after.item.mailbox),
            n_items,
            question.mailbox,
        )
        return None
    if (view.item_before, view.item_after) != (None, None):
        raise DecodeError("neighbours of an item that is there")
    check_item(root, n_items, view.item)
    item = view.item.item
    if item.mailbox != question.mailbox:
        raise NotProven("the item of another mailbox")
    for placed in (view.leaf, view.before, view.after):
        if placed is not None:
            check_item_leaf(item, placed)
    if view.leaf is not None:
        if (view.before, view.after) != (None, None):
            raise DecodeError("neighbours of a message that is there")
        if _seq_of(view.leaf.leaf) != question.seq:
            raise NotProven("the message at another position")
        return view.leaf.leaf
    before = view.before and (view.before.place, _seq_of(view.before.leaf))
    after = view.after and (view.after.place, _seq_of(view.after.leaf))
    _check_between(before, after, item.n_messages, question.seq)
    return None


def _check_between(
    before: tuple[int, bytes] | None, after: tuple[int, bytes] | None, count: int, wanted: bytes
) -> None:
    """(place, key) of neighbours among `count`, or of one at an end: `wanted` is between or beyond."""
    next_place = 0 if before is None else before[0] + 1
    if next_place != (count if after is None else after[0]):
        raise NotProven("there is something between the neighbours")
    if (before is not None and not before[1] < wanted) or (after is not None and not wanted < after[1]):
        raise NotProven("it may be elsewhere")


def _seq_of(leaf: bytes) -> bytes:
    return MESSAGE_LEAF.decode(leaf).seq


def make_sequenced_view(
    manifest: Signed, roster_hash: bytes, leaves: Sequence[bytes], recipients: Recipients | None, question: Question
) -> SequencedView:
    """`leaves`: all of the manifest's, encoded. `recipients`: of the message at the seq; None when the lane is shorter.

    Raises ProofError where they are missing.
    """
    signed, pos = SignedManifest(*manifest), parse_seq(question.seq)[2]
    if pos >= len(leaves):
        return SequencedView(None, (), EndedLane(signed, roster_hash))
    if recipients is None:
        raise ProofError("the recipients of the message are not known", code="unknown-recipients")
    hashes = leaf_hashes(leaves)
    proof = tuple(Tree(hashes).prove_subset(pos, pos + 1))
    message = SequencedLeaf(signed, roster_hash, pos, (hashes[pos],), 0, leaves[pos], proof)
    return SequencedView(message, open_recipients(recipients, question.mailbox), None)


def open_recipients(recipients: Recipients, mailbox: bytes) -> tuple[RecipientOpening, ...]:
    """Those that show whether the mailbox's device is among them: it alone, or its neighbours."""
    members = RecipientSet(recipients.env_salt, recipients.device_ids)
    at = bisect_left(members.device_ids, mailbox)
    if recipients.index(mailbox) >= 0:
        return (open_device(members, at),)
    return tuple([open_device(members, i) for i in (at - 1, at) if 0 <= i < len(members.device_ids)])


def make_route_view(
    sheet: Signed, entries: Sequence[RouteEntry], outbox: Actor, content: SheetContent, question: Question
) -> RouteView:
    """`entries`: of all outboxes. `outbox`: the one that keeps the mailbox, with `content` under its entry."""
    tree = Tree([entry_hash(*entry) for entry in entries])
    at = outbox.number
    view = make_sheet_view(content, question)
    return RouteView(SignedRoute(*sheet), entries[at], tuple(tree.inclusion(at)), view)


def make_merge_view(sheet: Signed, content: SheetContent, question: Question) -> MergeView:
    return MergeView(SignedMerge(*sheet), make_sheet_view(content, question))


def items_of(content: SheetContent) -> list[SheetItem]:
    """The items of a sheet, in its order."""
    return [SheetItem(m, len(content[m]), tree_root(leaf_hashes(content[m]))) for m in sorted(content)]


def make_sheet_view(content: SheetContent, question: Question) -> SheetView:
    items = items_of(content)
    tree = Tree([item_hash(*item) for item in items])
    placed = [PlacedItem(i, item, ()) for i, item in enumerate(items)]
    at = bisect_left(items, question.mailbox, key=lambda item: item.mailbox)

    def item_at(place: int) -> PlacedItem | None:
        if not 0 <= place < len(placed):
            return None
        return placed[place]._replace(proof=tuple(tree.inclusion(place)))

    leaves = content.get(question.mailbox)
    if leaves is None:
        return SheetView(None, None, None, None, item_at(at - 1), item_at(at))
    i = bisect_left(leaves, question.seq, key=_seq_of)
    if i < len(leaves) and _seq_of(leaves[i]) == question.seq:
        return SheetView(item_at(at), place_leaf(leaves, i), None, None, None, None)
    before = place_leaf(leaves, i - 1) if i else None
    after = place_leaf(leaves, i) if i < len(leaves) else None
    return SheetView(item_at(at), None, before, after, None, None)
