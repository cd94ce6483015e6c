"""What stages check of what they are given: each link and each place, attacked one by one by whoever holds the keys.

Knows nothing of the pipeline. Every statement here is rightly signed unless it says otherwise.
"""

from typing import Any

import pytest

from noise.protocol.encoding import StructCodec
from noise.protocol.errors import DecodeError, ProofError, SignatureError
from noise.protocol.identifiers import Actor, Role
from noise.protocol.merkle import EMPTY_ROOT, Tree, leaf_hash
from noise.protocol.signing import Signed, Signer
from noise.protocol.stages import (
    check_entry,
    check_head,
    check_items,
    check_manifest,
    check_merge_sheet,
    check_route_sheet,
    entry_hash,
    item_hash,
    items_root,
    receiver_of,
    router_of,
)
from noise.protocol.statements import (
    EPOCH_HEAD,
    MANIFEST,
    MERGE_SHEET,
    ROUTE_SHEET,
    EpochHead,
    hash_manifest,
    hash_merge,
    hash_route,
)
from tests.vectors.cast import NO_PREVIOUS, ORIGIN, OTHER_ORIGIN, actor_key
from tests.vectors.make_sheets import INBOX_OF, LANES, SheetEpoch, in_force, run_epochs
from tests.vectors.sheets import entries_of, items_of, kept_by

EPOCH = 1
LANE = LANES[1]
INBOX = INBOX_OF[LANE]
ROUTER, OUTBOX, RECEIVER = router_of(INBOX.encode()), Actor(Role.OUTBOX, 0, 2), Actor(Role.RECEIVER, 0, 2)
RULES = in_force()


def epoch() -> SheetEpoch:
    return run_epochs()[EPOCH]


def signed(codec: StructCodec[Any], body: bytes, label: str, signer: Signer, **changes: Any) -> Signed:
    return signer.sign(label, ORIGIN, codec.encode(codec.decode(body)._replace(**changes)))


def manifest(signer: Signer | None = None, label: str = "manifest", **changes: Any) -> Signed:
    return signed(MANIFEST, epoch().given[1].manifest, label, signer or actor_key(INBOX), **changes)


def route(signer: Signer | None = None, label: str = "route", **changes: Any) -> Signed:
    return signed(ROUTE_SHEET, epoch().routes[1], label, signer or actor_key(ROUTER), **changes)


def merge(signer: Signer | None = None, label: str = "merge", **changes: Any) -> Signed:
    return signed(MERGE_SHEET, epoch().merges[2], label, signer or actor_key(RECEIVER), **changes)


def head(signer: Signer | None = None, label: str = "head", **changes: Any) -> Signed:
    merge_hash = hash_merge(epoch().merges[2])
    rest = (EPOCH, merge_hash, bytes(32), 1, NO_PREVIOUS, RULES.roster_hash)
    body = EPOCH_HEAD.encode(EpochHead(ORIGIN, OUTBOX.encode(), 0, *rest))
    return signed(EPOCH_HEAD, body, label, signer or actor_key(OUTBOX), **changes)


def receive_manifest(given: Signed) -> None:
    check_manifest(given, RULES.roster, LANE, EPOCH)


def receive_route(given: Signed) -> None:
    check_route_sheet(given, *RULES, LANE, EPOCH, hash_manifest(epoch().given[1].manifest))


def receive_merge(given: Signed) -> None:
    check_merge_sheet(given, *RULES, OUTBOX, EPOCH, [hash_route(body) for body in epoch().routes])


def receive_head(given: Signed) -> None:
    check_head(given, *RULES, OUTBOX, EPOCH, hash_merge(epoch().merges[2]))


def hashes_of(receiver: Actor) -> list[bytes]:
    """Of the items of the lane that an outbox gets."""
    content = kept_by(RULES, receiver._replace(role=Role.OUTBOX), epoch().given[1].content)
    return [item_hash(*item) for item in items_of(content)]


def entries() -> Tree:
    return Tree([entry_hash(*entry) for entry in entries_of(RULES, epoch().given[1].content)])


STAGES = {"manifest": (manifest, receive_manifest), "route": (route, receive_route), "merge": (merge, receive_merge)}
STAGES["head"] = (head, receive_head)
LIES: dict[str, tuple[str, dict[str, Any]]] = {
    "of another origin": ("wrong-", {"origin": OTHER_ORIGIN}),
    "of another epoch": ("wrong-", {"epoch": EPOCH - 1}),
    "of another incarnation": ("wrong-incarnation", {"incarnation": 1}),
    "signed by the log": ("bad-signature", {"signer": actor_key(Actor(Role.LOG, 0, 0))}),
    "signed as something else": ("bad-signature", {"label": "open"}),
    "under another roster": ("wrong-", {"roster_hash": bytes(32)}),
}


@pytest.mark.parametrize("stage", STAGES)
def test_the_honest_are_believed(stage: str) -> None:
    make, receive = STAGES[stage]
    receive(make())
    with pytest.raises(DecodeError):
        receive(Signed(make().body + b"\0", make().signature))


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("stage", STAGES)
def test_statements_of_something_else(stage: str, lie: str) -> None:
    make, receive = STAGES[stage]
    code, changes = LIES[lie]
    if stage == "manifest" and "roster_hash" in changes:
        return  # a manifest names no roster
    with pytest.raises((ProofError, SignatureError)) as refused:
        receive(make(**changes))
    assert refused.value.code.startswith(code)


@pytest.mark.parametrize("stage", STAGES)
def test_statements_of_another_actor_of_the_same_role(stage: str) -> None:
    """Signed by that actor itself, who holds a key of the roster."""
    make, receive = STAGES[stage]
    role = {"manifest": Role.INBOX, "route": Role.ROUTER, "merge": Role.RECEIVER, "head": Role.OUTBOX}[stage]
    for number in (0, 1):
        other = Actor(role, 0, number)
        if other not in (INBOX, ROUTER):
            with pytest.raises(ProofError):
                receive(make(actor_key(other), actor=other.encode()))


def test_links_to_what_it_was_made_from() -> None:
    first = hash_route(epoch().routes[0])
    for lie, receive in (
        (route(manifest_hash=bytes(32)), receive_route),
        (route(lane=LANES[0]), receive_route),
        (route(n_outboxes=2), receive_route),
        (manifest(lane=LANES[0]), receive_manifest),
        (merge(inputs=()), receive_merge),
        (merge(inputs=(first,)), receive_merge),
        (merge(inputs=(hash_route(epoch().routes[1]), first)), receive_merge),
        (merge(inputs=(first, bytes(32))), receive_merge),
        (head(merge_sheet_hash=bytes(32)), receive_head),
    ):
        with pytest.raises(ProofError):
            receive(lie)


@pytest.mark.parametrize("lane", [0, 1, 5])
def test_a_lane_that_there_is_not(lane: int) -> None:
    """A lane is not its inbox's number: lanes 0 and 1 are nobody's here, although there are inboxes 0 and 1."""
    with pytest.raises(ProofError):
        check_manifest(manifest(lane=lane), RULES.roster, lane, EPOCH)
    with pytest.raises(ProofError):
        check_route_sheet(route(lane=lane), *RULES, lane, EPOCH, hash_manifest(epoch().given[1].manifest))


def test_what_comes_for_an_outbox() -> None:
    sheet, tree = ROUTE_SHEET.decode(epoch().routes[1]), entries()
    assert hashes_of(OUTBOX)
    for number in range(3):
        outbox = OUTBOX._replace(number=number)
        check_entry(sheet, outbox, hashes_of(outbox), tree.inclusion(number))
    good, proof = hashes_of(OUTBOX), tree.inclusion(OUTBOX.number)
    for items in ([], good[:-1], [*good, good[-1]], good[::-1], [leaf_hash(b"x"), *good[1:]]):
        with pytest.raises(ProofError):
            check_entry(sheet, OUTBOX, items, proof)
    with pytest.raises(ProofError):
        check_entry(sheet, OUTBOX._replace(number=1), good, proof)
    with pytest.raises(ProofError):
        check_entry(sheet, OUTBOX._replace(number=3), good, proof)


def test_what_comes_with_a_merge_sheet() -> None:
    sheet, good = MERGE_SHEET.decode(epoch().merges[2]), hashes_of(OUTBOX)
    check_items(sheet, good)
    for items in ([], good[:-1], [*good, good[-1]], good[::-1]):
        with pytest.raises(ProofError):
            check_items(sheet, items)
    with pytest.raises(ProofError):
        check_items(sheet._replace(n_mailboxes=len(good) + 1), good)


def test_who_follows_whom() -> None:
    assert router_of(INBOX.encode()) == Actor(Role.ROUTER, 0, INBOX.number) != Actor(Role.ROUTER, 0, LANE)
    assert receiver_of(OUTBOX) == RECEIVER
    assert items_root([]) == EMPTY_ROOT
