"""Makes the golden vectors of statements: every body with its hash and signature, and the leaves under their roots.

All are of epoch 0 of one story, except where a second epoch shows `previous`.
"""

from typing import Any

from noise.protocol.encoding import StructCodec
from noise.protocol.identifiers import Role
from noise.protocol.merkle import leaf_hash
from noise.protocol.signing import SIGNED, Signed
from noise.protocol.statements import (
    EPOCH_HEAD,
    EPOCH_OPEN,
    EPOCH_RECORD,
    MANIFEST,
    MERGE_SHEET,
    MESSAGE_LEAF,
    ROSTER,
    ROUTE_SHEET,
    STATEMENTS,
    Roster,
    RosterEntry,
    hash_roster,
    open_roster,
)
from tests.vectors.cast import ORIGIN, OTHER_ORIGIN, ROOT, filler, make_roster, seed_of, sign_roster, signer_of
from tests.vectors.epochs import OUTBOX, SIGNERS, story
from tests.vectors.golden import readable, refusal_of, write

CODECS: tuple[StructCodec[Any], ...] = (MANIFEST, ROUTE_SHEET, MERGE_SHEET, EPOCH_HEAD, EPOCH_OPEN)
"""Of what each of SIGNERS signs."""


def describe_leaves() -> list[dict[str, Any]]:
    placed = story().epochs[0].placed[0]
    return [
        {"leaf": MESSAGE_LEAF.decode(leaf), "encoded": leaf, "leaf_hash": leaf_hash(leaf)} for leaf in placed.leaves
    ]


def describe_statements() -> list[dict[str, Any]]:
    described = []
    for epoch in story().epochs[:2]:
        for place, (actor, codec) in enumerate(zip(SIGNERS, CODECS, strict=True)):
            signed, (label, hash_body) = epoch.signed[actor], STATEMENTS[actor.role]
            described.append(
                {
                    "label": label,
                    "epoch": epoch.number,
                    "signer": str(actor),
                    "fields": codec.to_json(codec.decode(signed.body)),
                    "body": signed.body,
                    "hash": hash_body(signed.body),
                    "signature": signed.signature,
                    "encoded": SIGNED.encode(signed),
                    "proof_in_record": epoch.statements.inclusion(place),
                }
            )
    return described


def describe_records() -> list[dict[str, Any]]:
    return [
        {
            "fields": EPOCH_RECORD.to_json(EPOCH_RECORD.decode(epoch.record)),
            "encoded": epoch.record,
            "leaf_hash": leaf_hash(epoch.record),
            "statement_leaf_hashes": epoch.statements.levels[0],
            "note": epoch.note.decode(),
        }
        for epoch in story().epochs
    ]


def wrong_rosters() -> list[tuple[str, Roster]]:
    """Signed by the root all the same: an encoder does not check what it encodes."""
    roster = make_roster(2, 2)
    actors, lanes = roster.actors, roster.lanes
    first, second, *others = actors
    stranger = first._replace(actor=b"\x01" + b"\xff" * 4, key=filler("a stranger's key", 32))
    second_inbox, second_router, second_receiver, second_outbox = (bytes([role, 0, 0, 0, 1]) for role in range(1, 5))
    another_sequencer = stranger._replace(actor=b"\x05" + b"\xff" * 4)

    def of(*entries: RosterEntry) -> Roster:
        return roster._replace(actors=entries)

    def without(role: Role) -> Roster:
        return of(*(entry for entry in actors if entry.actor[0] != role))

    def but(actor: bytes, *others: RosterEntry) -> Roster:
        return of(*sorted((*(entry for entry in actors if entry.actor != actor), *others)))

    def elsewhere(actor: bytes) -> RosterEntry:
        entry = next(entry for entry in actors if entry.actor == actor)
        return entry._replace(actor=actor[:3] + b"\0\2")

    return [
        ("actors out of order", of(second, first, *others)),
        ("an actor twice", of(first, *actors)),
        ("a role that is none", of(*actors, stranger._replace(actor=b"\x07" + bytes(4)))),
        ("a suite that is none", of(first._replace(suite=2), second, *others)),
        ("lanes out of order", roster._replace(lanes=lanes[::-1])),
        ("a lane twice", roster._replace(lanes=(lanes[0], *lanes))),
        ("a lane of no inbox", roster._replace(lanes=(lanes[0]._replace(inbox=OUTBOX.encode()),))),
        ("a lane of a stranger", roster._replace(lanes=(lanes[0]._replace(inbox=stranger.actor),))),
        ("no sequencer", without(Role.SEQUENCER)),
        ("no log", without(Role.LOG)),
        ("no outbox", without(Role.OUTBOX)),
        ("no inbox", without(Role.INBOX)._replace(lanes=())),
        ("an inbox without a router", but(second_router)),
        ("an outbox without a receiver", but(second_receiver)),
        ("a router of another number", but(second_router, elsewhere(second_router))),
        ("a receiver of another number", but(second_receiver, elsewhere(second_receiver))),
        ("a router without an inbox", but(second_inbox)._replace(lanes=lanes[:1])),
        ("a receiver without an outbox", but(second_outbox)),
        ("an outbox of another number", but(second_outbox, elsewhere(second_outbox))),
        ("an inbox without a lane", roster._replace(lanes=lanes[:1])),
        ("an inbox with two lanes", roster._replace(lanes=(*lanes, lanes[1]._replace(lane=2)))),
        ("two sequencers", of(*sorted((*actors, another_sequencer)))),
        ("one key with two roles", of(first._replace(key=second.key), second, *others)),
        ("the root's key with a role", of(first._replace(key=ROOT.public_key), second, *others)),
        ("a key of small order", of(first._replace(key=(1).to_bytes(32, "little")), second, *others)),
        ("another origin", roster._replace(origin=bytes(32))),
        ("another root key", roster._replace(root_key=signer_of("another root").public_key)),
    ]


def refused_rosters() -> list[tuple[str, Signed]]:
    good = sign_roster(make_roster())
    another = signer_of("another root")
    return [
        *((why, sign_roster(roster)) for why, roster in wrong_rosters()),
        ("no signature", good._replace(signature=bytes(64))),
        ("the signature of another label", ROOT.sign("head", ORIGIN, good.body)),
        ("the signature of another root", another.sign("roster", ORIGIN, good.body)),
        ("another origin in the signature", ROOT.sign("roster", OTHER_ORIGIN, good.body)),
        ("a byte too many", ROOT.sign("roster", ORIGIN, good.body + b"\0")),
    ]


def vectors() -> dict[str, Any]:
    """File name to what the file holds."""
    provider = story()
    content = {
        "origin": ORIGIN,
        "seeds": {name: seed_of(name) for name in ("root", "log", "sequencer", *map(str, SIGNERS[:4]))},
        "roster": {
            "fields": ROSTER.to_json(provider.roster),
            "body": provider.signed_roster.body,
            "hash": hash_roster(provider.signed_roster.body),
            "signature": provider.signed_roster.signature,
        },
        "message_leaves": describe_leaves(),
        "statements": describe_statements(),
        "epoch_records": describe_records(),
        "refused_rosters": [
            {"why": why, "encoded": SIGNED.encode(signed), "code": refusal_of(open_roster, signed, ORIGIN)}
            for why, signed in refused_rosters()
        ],
    }
    return {"statements.json": readable(content)}


if __name__ == "__main__":
    write(vectors())
