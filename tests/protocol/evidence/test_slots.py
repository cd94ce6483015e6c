"""Equivocation: two bodies for one slot under one key convict; two honest statements never share a slot."""

from functools import cache
from typing import Any

import pytest

from noise.protocol.delta import SignedRoster
from noise.protocol.encoding import StructCodec
from noise.protocol.errors import DecodeError
from noise.protocol.evidence.proof import NotProven
from noise.protocol.evidence.slots import ManifestEquivocation, StageEquivocation
from noise.protocol.frames import SignedManifest
from noise.protocol.identifiers import NO_EPOCH, Actor, Role
from noise.protocol.signing import Signed, Signer
from noise.protocol.statements import EPOCH_HEAD, EPOCH_OPEN, MERGE_SHEET, ROUTE_SHEET, STATEMENTS, Roster, hash_roster
from tests.protocol.evidence.exhibits import INBOX, Exhibit, Scribe, acquits, convicts, judge, manifest_of, tell
from tests.protocol.story import BOB, LAST
from tests.vectors.cast import LOG, OTHER_ORIGIN, ROOT, actor_key, make_roster, sign_roster, signer_of

OUTBOX = Actor(Role.OUTBOX, 0, 0)


@cache
def honest() -> Scribe:
    """Not to be changed."""
    return tell()


def manifest(
    epoch: int = LAST, signer: Signer | None = None, inbox: Actor = INBOX, /, **changes: Any
) -> SignedManifest:
    return manifest_of(honest().sequenced[LAST], epoch, signer, inbox, **changes)


def head(signer: Signer | None = None, /, *, outbox: Actor = OUTBOX, **changes: Any) -> Signed:
    signed = Exhibit(honest(), BOB).head.head
    body = EPOCH_HEAD.decode(signed.body)._replace(actor=outbox.encode())._replace(**changes)
    return (signer or actor_key(outbox)).sign("head", body.origin, EPOCH_HEAD.encode(body))


STAGES: dict[Actor, tuple[StructCodec[Any], dict[str, Any]]] = {
    Actor(Role.ROUTER, 0, 0): (ROUTE_SHEET, {"manifest_hash": bytes(32), "root": bytes(32), "lane": 7}),
    Actor(Role.RECEIVER, 0, 0): (MERGE_SHEET, {"inputs": (), "n_mailboxes": 77, "root": bytes(32)}),
    OUTBOX: (EPOCH_HEAD, {"map_root": bytes(32), "merge_sheet_hash": bytes(32)}),
    Actor(Role.SEQUENCER, 0, 0): (EPOCH_OPEN, {"placement_count": 1, "handoffs_root": bytes(32)}),
}


def statement(actor: Actor, label: str = "", signer: Signer | None = None, /, **changes: Any) -> Signed:
    """What a stage stated of the last epoch, with other fields."""
    codec, _ = STAGES[actor]
    true = head().body if actor == OUTBOX else honest().epochs[LAST].bodies[actor.encode()]
    body = codec.encode(codec.decode(true)._replace(**changes))
    return (signer or actor_key(actor)).sign(label or STATEMENTS[actor.role][0], honest().roster.origin, body)


@pytest.mark.parametrize("actor", STAGES, ids=str)
def test_two_statements_of_any_stage(actor: Actor) -> None:
    for name, value in STAGES[actor][1].items():
        finding = StageEquivocation(statement(actor), statement(actor, **{name: value}))
        convicts(honest(), finding, str(actor), LAST, f"they differ in {name}")
        convicts(honest(), StageEquivocation(*finding[::-1]), str(actor), LAST)


@pytest.mark.parametrize("actor", STAGES, ids=str)
def test_one_statement_of_a_stage_and_what_is_none(actor: Actor) -> None:
    """Of another slot, by another key, or signed as what another stage signs."""
    [(name, value), *_] = STAGES[actor][1].items()
    lie = {name: value}
    others = [statement(actor, "", actor_key(other), **lie) for other in (*STAGES, INBOX) if other != actor]
    others += [statement(actor, label, **lie) for label, _ in STATEMENTS.values() if label != STATEMENTS[actor.role][0]]
    others += [statement(actor, epoch=LAST - 1, **lie), statement(actor, incarnation=1, **lie)]
    others += [statement(actor, origin=OTHER_ORIGIN, **lie), statement(actor)]
    others += [statement(actor, actor=other.encode(), **lie) for other in (*STAGES, INBOX) if other != actor]
    others.append(statement(actor, **lie)._replace(signature=statement(actor).signature))
    for other in others:
        acquits(honest(), StageEquivocation(statement(actor), other))
        acquits(honest(), StageEquivocation(other, statement(actor)))


def test_statements_of_two_stages_contradict_nothing() -> None:
    for one in STAGES:
        for other in STAGES:
            with pytest.raises((DecodeError, NotProven)):
                judge(honest(), StageEquivocation(statement(one), statement(other)))


@pytest.mark.parametrize(
    "changes", [{"n_messages": 2}, {"root": bytes(32)}, {"previous": bytes(31) + b"\1"}, {"lane": 1}]
)
def test_two_manifests(changes: dict[str, Any]) -> None:
    finding = ManifestEquivocation(manifest(), manifest(**changes))
    convicts(honest(), finding, "inbox-0-0", LAST, f"they differ in {', '.join(changes)}")
    convicts(honest(), ManifestEquivocation(*finding[::-1]), "inbox-0-0", LAST)


@pytest.mark.parametrize(
    "changes",
    [
        {"map_root": bytes(32)},
        {"map_count": 9},
        {"previous": bytes(31) + b"\1"},
        {"roster_hash": bytes(32)},
        {"merge_sheet_hash": bytes(31) + b"\1"},
    ],
)
def test_two_heads(changes: dict[str, Any]) -> None:
    finding = StageEquivocation(head(), head(**changes))
    convicts(honest(), finding, "outbox-0-0", LAST, f"they differ in {', '.join(changes)}")
    convicts(honest(), StageEquivocation(*finding[::-1]), "outbox-0-0", LAST)


@pytest.mark.parametrize("epoch", [0, 2**63, NO_EPOCH])
def test_slots_at_the_edges(epoch: int) -> None:
    one, other = manifest(epoch), manifest(epoch, n_messages=1)
    convicts(honest(), ManifestEquivocation(one, other), "inbox-0-0", epoch)
    convicts(honest(), StageEquivocation(head(epoch=epoch), head(epoch=epoch, map_count=9)), "outbox-0-0", epoch)
    acquits(honest(), ManifestEquivocation(one, manifest((epoch + 1) % 2**64)), "two slots")


MANIFESTS = {
    "the same one": manifest(),
    "of another epoch": manifest(LAST - 1),
    "of another incarnation": manifest(incarnation=1),
    "of another origin": manifest(origin=OTHER_ORIGIN, n_messages=2),
    "of another actor": manifest(actor=Actor(Role.INBOX, 0, 1).encode(), n_messages=2),
    "of another role": manifest(actor=OUTBOX.encode(), n_messages=2),
    "by a framer": manifest(LAST, signer_of("mallory"), n_messages=2),
    "by the root": manifest(LAST, ROOT, n_messages=2),
    "by the log": manifest(LAST, LOG, n_messages=2),
    "by the outbox": manifest(LAST, actor_key(OUTBOX), n_messages=2),
    "with a signature for something else": SignedManifest(manifest(n_messages=2).body, manifest().signature),
    "signed as a head": SignedManifest(
        *actor_key(INBOX).sign("head", honest().roster.origin, manifest(n_messages=2).body)
    ),
    "signed for another origin": SignedManifest(
        *actor_key(INBOX).sign("manifest", OTHER_ORIGIN, manifest(n_messages=2).body)
    ),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_one_manifest_and_what_is_none(name: str) -> None:
    acquits(honest(), ManifestEquivocation(manifest(), MANIFESTS[name]))
    acquits(honest(), ManifestEquivocation(MANIFESTS[name], manifest()))


HEADS = {
    "the same one": head(),
    "of another epoch": head(epoch=LAST - 1),
    "of another incarnation": head(incarnation=1),
    "of another origin": head(origin=OTHER_ORIGIN, map_count=9),
    "of another actor": head(outbox=Actor(Role.OUTBOX, 0, 1), map_count=9),
    "of another role": head(outbox=INBOX, map_count=9),
    "by a framer": head(signer_of("mallory"), map_count=9),
    "by the inbox": head(actor_key(INBOX), map_count=9),
    "with a signature for something else": Signed(head(map_count=9).body, head().signature),
}


@pytest.mark.parametrize("name", HEADS)
def test_one_head_and_what_is_none(name: str) -> None:
    acquits(honest(), StageEquivocation(head(), HEADS[name]))
    acquits(honest(), StageEquivocation(HEADS[name], head()))


def test_a_statement_signed_twice_is_one_statement() -> None:
    """What counts is the body: a malleable or randomised signature does not make two."""
    one = manifest()
    acquits(honest(), ManifestEquivocation(one, one._replace(signature=bytes(64))), "one statement twice")


def test_statements_of_two_roles_are_not_each_others() -> None:
    """An outbox's true statements, put where manifests are expected: other labels, other record types."""
    with pytest.raises(DecodeError):
        judge(honest(), ManifestEquivocation(SignedManifest(*head()), SignedManifest(*head(map_count=9))))
    with pytest.raises(DecodeError):
        judge(honest(), StageEquivocation(Signed(*manifest()), Signed(*manifest(n_messages=2))))


def rotated(key: str, incarnation: int, version: int = 2) -> tuple[Roster, Signer]:
    """A roster in which inbox and outbox have other keys and this incarnation."""
    fresh = {role: signer_of(f"{key} {role}") for role in (Role.INBOX, Role.OUTBOX)}
    before = make_roster(1, 1, version, hash_roster(honest().rosters[-1].body))
    entries = tuple(
        entry._replace(key=fresh[Role(entry.actor[0])].public_key, incarnation=incarnation)
        if entry.actor[0] in fresh
        else entry
        for entry in before.actors
    )
    return before._replace(actors=entries), fresh[Role.INBOX]


@pytest.mark.parametrize("incarnation", [0, 1])
def test_a_key_that_rotated_between_two_honest_statements(incarnation: int) -> None:
    """One actor with two keys: even where a root was careless about incarnations, neither key signed twice."""
    roster, signer = rotated("new", incarnation)
    rosters = [SignedRoster(*honest().rosters[0]), SignedRoster(*sign_roster(roster))]
    other = manifest(LAST, signer, n_messages=2, incarnation=incarnation)
    for both in (ManifestEquivocation(manifest(), other), ManifestEquivocation(other, manifest())):
        for given in (rosters, rosters[::-1], rosters[:1], rosters[1:]):
            acquits(honest(), both, rosters=given)
    twice = ManifestEquivocation(other, manifest(LAST, signer, incarnation=incarnation))
    assert judge(honest(), twice, rosters).accused == "inbox-0-0"
    acquits(honest(), twice, "no key", rosters[:1])


def test_a_roster_that_does_not_bind_the_epoch() -> None:
    roster, signer = rotated("new", 1)
    late = SignedRoster(*sign_roster(roster._replace(valid_from_epoch=LAST + 1)))
    twice = ManifestEquivocation(*(manifest(LAST, signer, n_messages=n, incarnation=1) for n in (1, 2)))
    acquits(honest(), twice, "no key", [late])


def test_a_roster_that_a_framer_signed() -> None:
    """Its keys are the framer's, and nobody's whom the origin names."""
    roster, signer = rotated("mine", 1)
    twice = ManifestEquivocation(*(manifest(LAST, signer, n_messages=n, incarnation=1) for n in (1, 2)))
    signed = sign_roster(roster)
    for wrong in (
        signed._replace(signature=signer.sign("roster", roster.origin, signed.body).signature),
        sign_roster(roster._replace(root_key=signer.public_key)),
        sign_roster(roster._replace(origin=OTHER_ORIGIN)),
    ):
        acquits(honest(), twice, rosters=[SignedRoster(*wrong)])
        acquits(honest(), twice, rosters=[SignedRoster(*honest().rosters[0]), SignedRoster(*wrong)])


def test_honest_statements_do_not_share_slots() -> None:
    manifests = [manifest_of(honest().sequenced[epoch], epoch) for epoch in range(LAST + 1)]
    heads = [Signed(*Exhibit(honest(), BOB, number).head.head) for number in range(LAST + 1)]
    for i in range(LAST + 1):
        for j in range(LAST + 1):
            acquits(honest(), ManifestEquivocation(manifests[i], manifests[j]))
            acquits(honest(), StageEquivocation(heads[i], heads[j]))
