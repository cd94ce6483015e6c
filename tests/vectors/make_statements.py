"""Makes the golden vectors of statements: every body with its hash and signature, and the leaves under their roots.

All are of epoch 0 of one story, except where a second epoch shows `previous`.
"""

from typing import Any

from noise.protocol.identifiers import Role
from noise.protocol.merkle import leaf_hash
from noise.protocol.signing import SIGNED, Signed
from noise.protocol.statements import (
    EPOCH_HEAD,
    EPOCH_OPEN,
    EPOCH_RECORD,
    MANIFEST,
    MESSAGE_LEAF,
    ROSTER,
    Roster,
    RosterEntry,
    hash_head,
    hash_manifest,
    hash_open,
    hash_roster,
    open_roster,
)
from tests.vectors.cast import ORIGIN, OTHER_ORIGIN, ROOT, filler, make_roster, seed_of, sign_roster, signer_of
from tests.vectors.epochs import INBOX, OUTBOX, SEQUENCER, story
from tests.vectors.golden import readable, refusal_of, write


def describe_leaves() -> list[dict[str, Any]]:
    placed = story().epochs[0].placed[0]
    return [
        {"leaf": MESSAGE_LEAF.decode(leaf), "encoded": leaf, "leaf_hash": leaf_hash(leaf)} for leaf in placed.leaves
    ]


def describe_statements() -> list[dict[str, Any]]:
    described = []
    for epoch in story().epochs[:2]:
        for label, actor, codec, hash_body, signed in (
            ("manifest", INBOX, MANIFEST, hash_manifest, epoch.manifest),
            ("head", OUTBOX, EPOCH_HEAD, hash_head, epoch.head),
            ("open", SEQUENCER, EPOCH_OPEN, hash_open, epoch.opened),
        ):
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
                    "proof_in_record": epoch.statements.inclusion((INBOX, OUTBOX, SEQUENCER).index(actor)),
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
    another_sequencer = stranger._replace(actor=b"\x05" + b"\xff" * 4)

    def of(*entries: RosterEntry) -> Roster:
        return roster._replace(actors=entries)

    def without(role: Role) -> Roster:
        return of(*(entry for entry in actors if entry.actor[0] != role))

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
        "seeds": {name: seed_of(name) for name in ("root", "log", "sequencer", str(INBOX), str(OUTBOX))},
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
