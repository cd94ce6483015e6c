"""Views of honest statements that claim more than these say, put together by a framer: none of them opens."""

import pytest

from noise.protocol.errors import NoiseError
from noise.protocol.evidence.material import place_leaf
from noise.protocol.evidence.proof import make_proof
from noise.protocol.evidence.rosters import Rosters
from noise.protocol.evidence.stage_views import (
    PlacedItem,
    Question,
    RouteView,
    SheetView,
    StageCustody,
    items_of,
    make_merge_view,
    make_route_view,
    open_merge_view,
    open_route_view,
    open_sequenced_view,
)
from noise.protocol.evidence.stages import StageInsertion
from noise.protocol.identifiers import Actor, Role, make_seq
from noise.protocol.merkle import EMPTY_ROOT, Tree
from noise.protocol.placement import place_mailbox
from noise.protocol.stages import item_hash
from tests.protocol.evidence.stage_world import Content, World
from tests.protocol.story import letter
from tests.vectors.cast import ORIGIN, device_of

EVERYBODY = ("alice", "bob", "carol", "dave", "erin", "frank")
QUESTION = Question(make_seq(0, 0, 1), device_of("bob"))
ROUTER = Actor(Role.ROUTER, 0, 0)


def tell(n_outboxes: int = 1) -> World:
    world = World(1, n_outboxes)
    world.run([letter("alice", 1, b"one", b"two", b"three", to=EVERYBODY)])
    return world


def rosters_of(world: World) -> Rosters:
    return Rosters(ORIGIN, world.signed_rosters())


def place_item(content: Content, place: int) -> PlacedItem:
    items = items_of(content)
    return PlacedItem(place, items[place], tuple(Tree([item_hash(*item) for item in items]).inclusion(place)))


def absent_among(content: Content) -> list[SheetView]:
    """That bob's item, or his message, is not there, by those beside it."""
    own = sorted(content).index(QUESTION.mailbox)
    before = place_item(content, own - 1) if own else None
    after = place_item(content, own + 1) if own + 1 < len(content) else None
    leaves = content[QUESTION.mailbox]
    first, last = place_leaf(leaves, 0), place_leaf(leaves, 2)
    nothing = SheetView(None, None, None, None, None, None)
    item = place_item(content, own)
    return [
        nothing,
        nothing._replace(item_before=before),
        nothing._replace(item_after=after),
        nothing._replace(item_before=before, item_after=after),
        nothing._replace(item_before=item, item_after=after),
        nothing._replace(item=item),
        nothing._replace(item=item, before=first),
        nothing._replace(item=item, after=last),
        nothing._replace(item=item, before=first, after=last),
        nothing._replace(item=item, before=place_leaf(leaves, 1), after=last),
        nothing._replace(item=item, leaf=first),
        nothing._replace(item=item._replace(item=item.item._replace(n_messages=0, delta_root=EMPTY_ROOT))),
        nothing._replace(item_before=before and before._replace(place=len(content) - 1)),
        nothing._replace(item=item, item_before=before, item_after=after),
        nothing._replace(before=first, after=last, item_before=before, item_after=after),
    ]


def test_what_is_in_a_sheet_is_not_absent() -> None:
    world = tell()
    made = world.epochs[0].made[Actor(Role.RECEIVER, 0, 0)]
    view = make_merge_view(made.signed, made.content, QUESTION)
    assert open_merge_view(rosters_of(world), view, QUESTION).leaf == world.sequenced(QUESTION.seq).leaf
    for content in absent_among(made.content):
        with pytest.raises(NoiseError):
            open_merge_view(rosters_of(world), view._replace(content=content), QUESTION)


def test_a_view_is_of_its_own_mailbox_and_seq() -> None:
    world = tell()
    for other in (Question(QUESTION.seq, device_of("carol")), Question(make_seq(0, 0, 2), QUESTION.mailbox)):
        sequenced, routed = world.custody(ROUTER, other).sequenced, world.custody(ROUTER, other).routed
        merged = world.custody(Actor(Role.RECEIVER, 0, 0), other).merged
        assert sequenced
        assert routed
        assert merged
        with pytest.raises(NoiseError):
            open_sequenced_view(rosters_of(world), sequenced, QUESTION)
        with pytest.raises(NoiseError):
            open_route_view(rosters_of(world), routed, QUESTION)
        with pytest.raises(NoiseError):
            open_merge_view(rosters_of(world), merged, QUESTION)


def test_a_mailbox_is_absent_from_the_entry_of_another_outbox() -> None:
    """Which says nothing of it, and neither does that entry at another's place."""
    world = tell(2)
    outbox = place_mailbox(world.roster, QUESTION.mailbox)
    other = outbox._replace(number=1 - outbox.number)
    made = world.epochs[0].made[ROUTER]
    elsewhere = make_route_view(made.signed, made.entries, other, made.content[other], QUESTION)
    own = make_route_view(made.signed, made.entries, outbox, made.content[outbox], QUESTION)
    assert open_route_view(rosters_of(world), own, QUESTION).leaf
    renamed = elsewhere.entry._replace(outbox=outbox.encode())
    for view in (elsewhere, elsewhere._replace(entry=renamed), own._replace(entry=elsewhere.entry)):
        with pytest.raises(NoiseError):
            open_route_view(rosters_of(world), view, QUESTION)


def test_neighbours_that_are_none_are_in_no_order() -> None:
    """What is far apart in an honest sheet, shown the wrong way round, convicts nobody."""
    world = tell()
    made = world.epochs[0].made[ROUTER]
    content = made.content[Actor(Role.OUTBOX, 0, 0)]
    own, leaves = sorted(content).index(QUESTION.mailbox), content[QUESTION.mailbox]
    nothing = SheetView(None, None, None, None, None, None)
    swapped = [
        nothing._replace(item=place_item(content, own), before=place_leaf(leaves, 2), after=place_leaf(leaves, 0)),
        nothing._replace(item=place_item(content, own), before=place_leaf(leaves, 1), after=place_leaf(leaves, 1)),
        nothing._replace(item_before=place_item(content, 2), item_after=place_item(content, 0)),
    ]
    view: RouteView = make_route_view(made.signed, made.entries, Actor(Role.OUTBOX, 0, 0), content, QUESTION)
    for one in swapped:
        finding = StageInsertion(QUESTION, StageCustody(ROUTER.encode(), routed=view._replace(content=one)))
        with pytest.raises(NoiseError):
            make_proof(ORIGIN, world.signed_rosters(), finding)
