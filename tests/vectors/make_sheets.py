"""Makes the golden vectors of sheets: what routers and receivers of a provider of three outboxes sign over two lanes.

Lanes are not inbox numbers here. One lane is empty in the second epoch, in which every statement names its `previous`.
What a receiver merges for a mailbox is in lane order, which is seq order.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from noise.protocol.encoding import StructCodec
from noise.protocol.envelope import Bundle
from noise.protocol.identifiers import Actor, Role, make_seqs
from noise.protocol.merkle import leaf_hash, tree_root
from noise.protocol.placement import actors_of
from noise.protocol.signing import SIGNED
from noise.protocol.statements import (
    MANIFEST,
    MERGE_SHEET,
    ROSTER,
    ROUTE_ENTRY,
    ROUTE_SHEET,
    SHEET_ITEM,
    STATEMENTS,
    Lane,
    Manifest,
    RosterInForce,
    hash_manifest,
    hash_roster,
    hash_statement,
    message_leaves,
)
from tests.vectors.cast import (
    NO_PREVIOUS,
    ORIGIN,
    actor_key,
    bundle_of,
    draft_of,
    make_roster,
    mixed_bundle,
    recipients_of,
    sign_roster,
)
from tests.vectors.golden import readable, write
from tests.vectors.sheets import (
    Content,
    LaneInput,
    content_of,
    entries_of,
    items_of,
    kept_by,
    merge_sheet,
    route_sheet,
)

LANES = (3, 7)
INBOX_OF = {3: Actor(Role.INBOX, 0, 1), 7: Actor(Role.INBOX, 0, 0)}


class SheetEpoch(NamedTuple):
    """What was sequenced and signed. `routes`, `merges`: bodies, by lane and by receiver."""

    number: int
    given: list[LaneInput]
    routes: list[bytes]
    merges: list[bytes]


def in_force() -> RosterInForce:
    lanes = tuple(Lane(lane, INBOX_OF[lane].encode()) for lane in LANES)
    roster = make_roster(2, 3)._replace(lanes=lanes)
    return RosterInForce(roster, hash_roster(sign_roster(roster).body))


def run_epochs() -> list[SheetEpoch]:
    group = recipients_of("alice", "bob", "carol", "dave", "erin")
    first = [[mixed_bundle()], [bundle_of("bob", [draft_of(group, b"to all"), draft_of(group, b"and again", 48)])]]
    second: list[list[Bundle]] = [[], [bundle_of("carol", [draft_of(recipients_of("carol", "dave"), b"a word")])]]
    epochs: list[SheetEpoch] = []
    for number, bundles in enumerate((first, second)):
        epochs.append(_run(number, bundles, epochs[-1] if epochs else None))
    return epochs


def _run(number: int, bundles: Sequence[Sequence[Bundle]], before: SheetEpoch | None) -> SheetEpoch:
    rosters = in_force()
    given = []
    for place, (lane, sent) in enumerate(zip(LANES, bundles, strict=True)):
        placed, pos = [], 0
        for bundle in sent:
            placed.append((bundle, message_leaves(bundle, make_seqs(number, lane, pos, bundle.count))))
            pos += bundle.count
        root = tree_root([leaf_hash(leaf) for _, leaves in placed for leaf in leaves])
        previous = hash_manifest(before.given[place].manifest) if before else NO_PREVIOUS
        manifest = Manifest(ORIGIN, INBOX_OF[lane].encode(), 0, number, lane, pos, root, previous)
        given.append(LaneInput(lane, MANIFEST.encode(manifest), content_of(placed)))
    routes = []
    for place, one in enumerate(given):
        router = INBOX_OF[one.lane]._replace(role=Role.ROUTER)
        previous = hash_statement(router.encode(), before.routes[place]) if before else NO_PREVIOUS
        routes.append(route_sheet(rosters, number, router, one, previous))
    contents = [one.content for one in given]
    merges = []
    for receiver in actors_of(rosters.roster, Role.RECEIVER):
        previous = hash_statement(receiver.encode(), before.merges[receiver.number]) if before else NO_PREVIOUS
        merges.append(merge_sheet(rosters, number, receiver, list(zip(routes, contents, strict=True)), previous))
    return SheetEpoch(number, given, routes, merges)


def describe_content(content: Content) -> list[dict[str, Any]]:
    """Each mailbox's item, with the seqs of its messages."""
    return [
        {
            "item": item,
            "seqs": [leaf[2:18] for leaf in content[item.mailbox]],
            "leaf_hash": leaf_hash(SHEET_ITEM.encode(item)),
        }
        for item in items_of(content)
    ]


def describe_signed(actor: Actor, body: bytes) -> dict[str, Any]:
    codec: StructCodec[Any] = ROUTE_SHEET if actor.role is Role.ROUTER else MERGE_SHEET
    label, hash_body = STATEMENTS[actor.role]
    signed = actor_key(actor).sign(label, ORIGIN, body)
    return {
        "signer": str(actor),
        "label": label,
        "fields": codec.to_json(codec.decode(body)),
        "hash": hash_body(body),
        "encoded": SIGNED.encode(signed),
    }


def describe_route(given: LaneInput, body: bytes) -> dict[str, Any]:
    rosters, entries = in_force(), []
    outboxes = actors_of(rosters.roster, Role.OUTBOX)
    for outbox, entry in zip(outboxes, entries_of(rosters, given.content), strict=True):
        items = describe_content(kept_by(rosters, outbox, given.content))
        entries.append({"entry": entry, "leaf_hash": leaf_hash(ROUTE_ENTRY.encode(entry)), "items": items})
    router = INBOX_OF[given.lane]._replace(role=Role.ROUTER)
    return describe_signed(router, body) | {"manifest": given.manifest, "entries": entries}


def describe_merge(epoch: SheetEpoch, number: int) -> dict[str, Any]:
    rosters, outbox = in_force(), Actor(Role.OUTBOX, 0, number)
    content: Content = {}
    for given in epoch.given:
        for mailbox, leaves in kept_by(rosters, outbox, given.content).items():
            content.setdefault(mailbox, []).extend(leaves)
    body = epoch.merges[number]
    return describe_signed(outbox._replace(role=Role.RECEIVER), body) | {"items": describe_content(content)}


def vectors() -> dict[str, Any]:
    """File name to what the file holds."""
    epochs = run_epochs()
    roster = in_force()
    content = {
        "origin": ORIGIN,
        "roster": {"body": ROSTER.encode(roster.roster), "hash": roster.roster_hash},
        "message_leaves": sorted({leaf for e in epochs for g in e.given for m in g.content.values() for leaf in m}),
        "epochs": [
            {
                "epoch": epoch.number,
                "route_sheets": [describe_route(*pair) for pair in zip(epoch.given, epoch.routes, strict=True)],
                "merge_sheets": [describe_merge(epoch, number) for number in range(len(epoch.merges))],
            }
            for epoch in epochs
        ],
    }
    return {"sheets.json": readable(content)}


if __name__ == "__main__":
    write(vectors())
