"""A stage's signed output against its signed input: a message left out, or put in.

Knows nothing of how the statements were found, nor of who was deceived. A router's sheet names the manifest that it was
made from, a receiver's the route sheets, an outbox's head the merge sheet. An honest stage passes on what it was given,
byte by byte, and nothing else. It checks what it is given before it signs; so whoever names a statement by its hash has
accepted it. Without that hash two statements of neighbours contradict nothing: the one before may have signed another.
"""

from itertools import pairwise
from typing import Annotated, NamedTuple

from noise.protocol.delta import SignedHead
from noise.protocol.encoding import struct_codec
from noise.protocol.errors import DecodeError
from noise.protocol.evidence.openings import PlacedLeaf
from noise.protocol.evidence.rosters import Rosters
from noise.protocol.evidence.stage_views import (
    QUESTION,
    STAGE_CUSTODY,
    MergeView,
    OpenedHistory,
    OpenedManifest,
    OpenedMerge,
    OpenedRoute,
    PlacedItem,
    Question,
    RouteView,
    SequencedView,
    SheetView,
    StageCustody,
    check_item,
    check_item_leaf,
    open_history_view,
    open_merge_view,
    open_route_view,
    open_sequenced_view,
)
from noise.protocol.evidence.verdict import NotProven, Verdict
from noise.protocol.identifiers import Actor, Role, format_id, parse_actor, parse_seq
from noise.protocol.merkle import check_inclusion
from noise.protocol.placement import place_mailbox
from noise.protocol.signing import Signed
from noise.protocol.stages import check_head, check_merge_sheet, check_route_sheet, entry_hash
from noise.protocol.statements import EPOCH_HEAD, MERGE_SHEET, MESSAGE_LEAF, ROUTE_SHEET, EpochHead, Roster


class StageOmission(NamedTuple):
    """A message that a stage was given for a mailbox, and that it passed on with other bytes, or not at all."""

    question: Annotated[Question, QUESTION]
    custody: Annotated[StageCustody, STAGE_CUSTODY]


STAGE_OMISSION = struct_codec(StageOmission)


class StageInsertion(NamedTuple):
    """A message that a stage passed on to a mailbox, and that it was not given for it.

    With one sheet alone in `custody`: it holds what no sheet of its place may hold, or in an order that none has.
    """

    question: Annotated[Question, QUESTION]
    custody: Annotated[StageCustody, STAGE_CUSTODY]


STAGE_INSERTION = struct_codec(StageInsertion)


class StagePair(NamedTuple):
    """What a stage was given for a mailbox at a seq, and what it made of it."""

    actor: Actor
    given: bytes | None
    made: bytes | None


class OpenedStageHead(NamedTuple):
    """`signer`: (actor, key)."""

    head: EpochHead
    signer: tuple[Actor, bytes]


def verify_stage_omission(rosters: Rosters, finding: StageOmission) -> Verdict:
    pair = open_pair(rosters, finding.question, finding.custody)
    if pair.given is None or pair.given == pair.made:
        raise NotProven("the stage was given nothing, or it passed on what it was given")
    how = "and passed on nothing there"
    if pair.made is not None:
        how = f"and passed on another, which differs in {_compare(pair.given, pair.made)}"
    detail = f"{pair.actor} was given {_describe(finding.question)}, {how}"
    return _convict("StageOmission", rosters, pair.actor, finding.question, detail)


def verify_stage_insertion(rosters: Rosters, finding: StageInsertion) -> Verdict:
    match finding.custody:
        case StageCustody(_, None, RouteView() as routed, None, None, None, None):
            return _verify_lone_route(rosters, finding, routed)
        case StageCustody(_, None, None, MergeView() as merged, None, None, None):
            return _verify_lone_merge(rosters, finding, merged)
    pair = open_pair(rosters, finding.question, finding.custody)
    if pair.made is None or pair.given is not None:
        raise NotProven("the stage passed on nothing, or it was given something")
    detail = f"{pair.actor} passed on {_describe(finding.question)}, and was not given it"
    return _convict("StageInsertion", rosters, pair.actor, finding.question, detail)


def open_pair(rosters: Rosters, question: Question, custody: StageCustody) -> StagePair:
    """The input and the output that one stage's own statement binds together, and nothing else. Raises NoiseErrors."""
    match custody:
        case StageCustody(_, SequencedView() as sequenced, RouteView() as routed, None, None, None, None):
            manifest = open_sequenced_view(rosters, sequenced, question)
            route = open_route_view(rosters, routed, question)
            pair = StagePair(parse_actor(route.sheet.actor), manifest.leaf, route.leaf)
            is_bound = is_routed_from(manifest, route)
        case StageCustody(_, None, RouteView() as routed, MergeView() as merged, None, None, None):
            route = open_route_view(rosters, routed, question)
            merge = open_merge_view(rosters, merged, question)
            pair = StagePair(parse_actor(merge.sheet.actor), route.leaf, merge.leaf)
            is_bound = is_merged_from(route, merge)
        case StageCustody(_, None, None, MergeView() as merged, SignedHead() as signed, delivered, absent):
            merge = open_merge_view(rosters, merged, question)
            head = open_stage_head(rosters, signed, question)
            history = open_history_view(rosters, delivered, absent, question)
            pair = StagePair(head.signer[0], merge.leaf, history.leaf)
            is_bound = is_kept_from(merge, head, history)
        case _:
            raise DecodeError("not what one stage was given and made")
    if custody.actor != pair.actor.encode():
        raise NotProven("the custody of another actor")
    if not is_bound:
        raise NotProven("the one was not made from the other")
    return pair


def is_routed_from(given: OpenedManifest, made: OpenedRoute) -> bool:
    return (given.roster_hash, given.manifest_hash) == (made.sheet.roster_hash, made.sheet.manifest_hash)


def is_merged_from(given: OpenedRoute, made: OpenedMerge) -> bool:
    if given.sheet.roster_hash != made.sheet.roster_hash:
        return False
    lanes = [lane.lane for lane in made.roster.lanes]
    return len(lanes) == len(made.sheet.inputs) and made.sheet.inputs[lanes.index(given.sheet.lane)] == given.sheet_hash


def is_kept_from(given: OpenedMerge, head: OpenedStageHead, made: OpenedHistory) -> bool:
    """`made`: by the very key that signed the epoch's head. A later one inherited the history and made none of it."""
    bound = (head.head.roster_hash, head.head.merge_sheet_hash, head.signer)
    return bound == (given.sheet.roster_hash, given.sheet_hash, made.signer)


def open_stage_head(rosters: Rosters, signed: SignedHead, question: Question) -> OpenedStageHead:
    """The head of the seq's epoch, by the outbox that keeps the mailbox."""
    epoch = parse_seq(question.seq)[0]
    named = EPOCH_HEAD.decode(signed.body)
    roster = rosters.find(named.roster_hash, epoch)
    outbox = place_mailbox(roster, question.mailbox)
    head = check_head(Signed(*signed), roster, named.roster_hash, outbox, epoch, named.merge_sheet_hash)
    return OpenedStageHead(head, (outbox, roster.entry(outbox).key))


def _verify_lone_route(rosters: Rosters, finding: StageInsertion, view: RouteView) -> Verdict:
    epoch, lane, _ = parse_seq(finding.question.seq)
    named = ROUTE_SHEET.decode(view.sheet.body)
    roster = rosters.find(named.roster_hash, epoch)
    sheet = check_route_sheet(Signed(*view.sheet), roster, named.roster_hash, lane, epoch, named.manifest_hash)
    outbox = parse_actor(view.entry.outbox)
    check_inclusion(sheet.root, sheet.n_outboxes, outbox.number, entry_hash(*view.entry), view.proof)
    _open_shown(view.entry.root, view.entry.n_mailboxes, view.content)
    what = _find_misplaced(roster, outbox, epoch, [lane], view.content)
    return _convict_lone(rosters, finding, sheet.actor, what)


def _verify_lone_merge(rosters: Rosters, finding: StageInsertion, view: MergeView) -> Verdict:
    epoch = parse_seq(finding.question.seq)[0]
    named = MERGE_SHEET.decode(view.sheet.body)
    roster = rosters.find(named.roster_hash, epoch)
    outbox = parse_actor(named.actor)._replace(role=Role.OUTBOX)
    sheet = check_merge_sheet(Signed(*view.sheet), roster, named.roster_hash, outbox, epoch, named.inputs)
    _open_shown(sheet.root, sheet.n_mailboxes, view.content)
    what = _find_misplaced(roster, outbox, epoch, [one.lane for one in roster.lanes], view.content)
    return _convict_lone(rosters, finding, sheet.actor, what)


def _convict_lone(rosters: Rosters, finding: StageInsertion, actor: bytes, what: str) -> Verdict:
    if finding.custody.actor != actor:
        raise NotProven("the custody of another actor")
    detail = f"{parse_actor(actor)} signed a sheet that nobody may sign: {what}"
    return _convict("StageInsertion", rosters, parse_actor(actor), finding.question, detail)


def _shown_items(view: SheetView) -> list[PlacedItem]:
    return [one for one in (view.item_before, view.item, view.item_after) if one is not None]


def _shown_leaves(view: SheetView) -> list[PlacedLeaf]:
    return [one for one in (view.before, view.leaf, view.after) if one is not None]


def _open_shown(root: bytes, n_items: int, view: SheetView) -> None:
    """All that is shown is under the root: leaves under `item`."""
    for one in _shown_items(view):
        check_item(root, n_items, one)
    for leaf in _shown_leaves(view):
        if view.item is None:
            raise DecodeError("messages of no item")
        check_item_leaf(view.item.item, leaf)


def _find_misplaced(roster: Roster, outbox: Actor, epoch: int, lanes: list[int], view: SheetView) -> str:
    """What of all that is shown an honest sheet for this outbox has not. Raises NotProven."""
    items, placed = _shown_items(view), _shown_leaves(view)
    for one in items:
        if place_mailbox(roster, one.item.mailbox) != outbox:
            return f"{outbox} does not keep the mailbox {format_id(one.item.mailbox)}"
    leaves = []
    for leaf in placed:
        try:
            leaves.append(MESSAGE_LEAF.decode(leaf.leaf))
        except DecodeError:
            return "a part of it is no message"
    for message in leaves:
        where = parse_seq(message.seq)
        if where[0] != epoch or where[1] not in lanes:
            return "the message {}/{}/{} is of another epoch or lane".format(*where)
    in_order = pairwise(items)
    if any(a.place + 1 == b.place and a.item.mailbox >= b.item.mailbox for a, b in in_order):
        return "its mailboxes do not increase"
    together = zip(placed, leaves, strict=True)
    if any(a[0].place + 1 == b[0].place and a[1].seq >= b[1].seq for a, b in pairwise(together)):
        return "the messages of a mailbox do not increase"
    raise NotProven("what is shown of the sheet may be there")


def _convict(kind: str, rosters: Rosters, actor: Actor, question: Question, detail: str) -> Verdict:
    return Verdict(kind, str(actor), rosters.origin, parse_seq(question.seq)[0], detail)


def _describe(question: Question) -> str:
    where = "{}/{}/{}".format(*parse_seq(question.seq))
    return f"the message {where} for the mailbox {format_id(question.mailbox)}"


def _compare(given: bytes, made: bytes) -> str:
    one, other = MESSAGE_LEAF.decode(given), MESSAGE_LEAF.decode(made)
    return ", ".join([name for name, a, b in zip(one._fields, one, other, strict=True) if a != b])
