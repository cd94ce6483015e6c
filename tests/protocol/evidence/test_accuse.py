"""From what a client has to a proof: receipts, manifests, heads, views of the log, and bundles against messages.

Deltas that a follower refused are in `test_refusals`.
"""

import pytest

from noise.protocol.delta import HistoryEntry, RecipientLists
from noise.protocol.envelope import ENVELOPE, Bundle, RecipientSet, hash_envelope
from noise.protocol.evidence.accuse import (
    accuse_bundle,
    accuse_heads,
    accuse_logs,
    accuse_manifests,
    accuse_receipt,
    envelope_of,
)
from noise.protocol.evidence.material import EvidenceUnavailable
from noise.protocol.evidence.openings import LogOpening
from noise.protocol.evidence.proof import verify_proof
from noise.protocol.evidence.refusals import kept_alone, open_refusal
from noise.protocol.evidence.testimony import testify_from as say_from
from noise.protocol.frames import Receipt, SignedManifest
from noise.protocol.history import HISTORY_RECORD, apply_record, next_record
from noise.protocol.identifiers import make_seq, make_seqs
from noise.protocol.merkle import EMPTY_ROOT, Tree, leaf_hash, tree_root
from noise.protocol.signing import Signed
from noise.protocol.statements import EPOCH_HEAD, MANIFEST, MESSAGE_LEAF, message_leaves
from noise.protocol.trust import NOTHING
from tests.protocol.evidence.materials import INBOX, Said, Witness, retell, rosters_of, sequence
from tests.protocol.liar import TRUTH, Liar, Lie, Placed, Told
from tests.protocol.story import ALICE, BOB, LAST, OTHER_ROOT, letter, story, tell_story
from tests.vectors.cast import (
    CREATED_MS,
    ORIGIN,
    OTHER_ORIGIN,
    actor_key,
    bundle_of,
    draft_of,
    mixed_bundle,
    recipients_of,
    signer_of,
)


def kind_of(proof: bytes | None) -> str | None:
    """What anybody else finds in it."""
    return verify_proof(proof, {ORIGIN}).kind if proof else None


def sent() -> list[Bundle]:
    return [letter("carol", 1, b"before", to=("bob", "carol")), letter("alice", 1, b"one", b"two", b"three")]


def with_receipt(*arrived: Placed) -> tuple[Liar, Receipt, Bundle]:
    """alice has a receipt for three messages in epoch 1, in which this arrives in her own mailbox."""
    liar = Liar()
    liar.commit()
    liar.commit(*sent())
    del liar.told[ALICE]
    retell(liar, *[Told(ALICE).then(1, *arrived)] if arrived else [])
    return liar, sequence(1, sent())[1][1], sent()[1]


def test_a_receipt_that_is_honoured() -> None:
    liar, receipt, bundle = with_receipt(Placed(sent()[1], 1))
    alice = Witness(ALICE)
    for number in range(2):
        with pytest.raises(EvidenceUnavailable) as caught:
            accuse_receipt(alice.material, receipt, bundle)
        assert caught.value.code == ("evidence-future" if number else "evidence-dropped")  # not even a roster
        alice.follow(liar, number + 1, number)
    assert accuse_receipt(alice.material, receipt, bundle) is None
    alice.forget(1)
    with pytest.raises(EvidenceUnavailable) as caught:
        accuse_receipt(alice.material, receipt, bundle)
    assert caught.value.code == "evidence-dropped"


BROKEN: dict[str, tuple[str, list[Placed]]] = {
    "nothing arrives": ("Omission", []),
    "the last does not": ("Omission", [Placed(sent()[1], 1, (0, 1))]),
    "the first does not": ("Omission", [Placed(sent()[1], 1, (1, 2))]),
    "the middle one does not": ("Omission", [Placed(sent()[1], 1, (0, 2))]),
    "all of them at other places": ("Omission", [Placed(sent()[1], 2)]),
    "others arrive": ("Conflict", [Placed(letter("alice", 1, b"one", b"two", b"4"), 1)]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_receipt_that_is_not_honoured(name: str) -> None:
    kind, arrived = BROKEN[name]
    liar, receipt, bundle = with_receipt(*arrived)
    alice = Witness(ALICE).follow(liar, 2)
    proof = accuse_receipt(alice.material, receipt, bundle)
    assert kind_of(proof) == kind
    for wrong in (
        receipt._replace(first_seq=make_seq(1, 0, 0)),
        receipt._replace(proof=receipt.proof[1:]),
        receipt._replace(manifest=SignedManifest(receipt.manifest.body, bytes(64))),
    ):
        assert accuse_receipt(alice.material, wrong, bundle) is None
    assert accuse_receipt(alice.material, receipt, letter("alice", 1, b"one", b"two", b"drei")) is None


def test_two_manifests_of_one_slot() -> None:
    one, other = (Signed(*sequence(3, bundles)[0]) for bundles in (sent(), sent()[:1]))
    later = Signed(*sequence(4, sent())[0])
    rosters = rosters_of(story())
    proof = accuse_manifests(ORIGIN, rosters, one, other)
    assert kind_of(proof) == "ManifestEquivocation"
    assert proof is not None and verify_proof(proof, {ORIGIN}).accused == str(INBOX)
    assert accuse_manifests(ORIGIN, rosters, one, one) is None
    assert accuse_manifests(ORIGIN, rosters, one, later) is None
    assert accuse_manifests(ORIGIN, rosters, one, other._replace(signature=one.signature)) is None
    assert accuse_manifests(ORIGIN, (), one, other) is None
    assert accuse_manifests(OTHER_ORIGIN, rosters, one, other) is None
    lane = MANIFEST.decode(one.body)._replace(lane=1)
    elsewhere = actor_key(INBOX).sign("manifest", ORIGIN, MANIFEST.encode(lane))
    assert kind_of(accuse_manifests(ORIGIN, rosters, one, elsewhere)) == "ManifestEquivocation"


def test_two_heads_of_one_slot() -> None:
    rosters = rosters_of(story())
    one, other, later = (
        Signed(*story().delta(BOB, number=number, lie=Lie(head=head)).shared.head)
        for number, head in ((4, {}), (4, {"map_root": OTHER_ROOT}), (5, {}))
    )
    assert kind_of(accuse_heads(ORIGIN, rosters, one, other)) == "StageEquivocation"
    assert accuse_heads(ORIGIN, rosters, one, one) is None
    assert accuse_heads(ORIGIN, rosters, one, later) is None
    forged = signer_of("mallory").sign("head", ORIGIN, other.body)
    assert accuse_heads(ORIGIN, rosters, one, forged) is None
    assert EPOCH_HEAD.decode(one.body).epoch == 4


def opened(liar: Liar, number: int, lie: Lie = TRUTH) -> LogOpening:
    """An epoch's record in its own checkpoint, as a client has it that was there."""
    delta = liar.delta(BOB, number=number, lie=lie)
    log = open_refusal(kept_alone(NOTHING, ORIGIN, BOB), delta, RecipientLists()).log
    assert log is not None
    return log


def test_two_views_of_the_log() -> None:
    """Whichever of note and record either side has."""
    rosters = rosters_of(story())
    true = {number: opened(story(), number) for number in range(LAST + 1)}
    late = opened(story(), 4, Lie(record={"time_ms": CREATED_MS + 81}))
    other_past = Lie(leaves=[bytes(32), *story().leaves[1:LAST]], record={"prev_root": OTHER_ROOT})
    forked = opened(story(), LAST, other_past)
    assert kind_of(accuse_logs(ORIGIN, rosters, true[4], late)) == "LogFork"
    assert kind_of(accuse_logs(ORIGIN, rosters, true[4].note, late.note)) == "LogFork"
    assert kind_of(accuse_logs(ORIGIN, rosters, true[5], late.note)) == "LogFork"
    assert kind_of(accuse_logs(ORIGIN, rosters, late.note, true[5])) == "LogFork"
    assert kind_of(accuse_logs(ORIGIN, rosters, true[4], forked)) == "LogFork"
    assert kind_of(accuse_logs(ORIGIN, rosters, true[4].note, forked)) == "LogFork"
    for number in range(LAST + 1):
        for other in range(LAST + 1):
            assert accuse_logs(ORIGIN, rosters, true[number], true[other]) is None
            assert accuse_logs(ORIGIN, rosters, true[number].note, true[other]) is None
            assert accuse_logs(ORIGIN, rosters, true[number].note, true[other].note) is None
    below = LogOpening(true[5].note, 4, true[4].record, tuple(Tree(story().leaves).inclusion(4)))
    assert kind_of(accuse_logs(ORIGIN, rosters, below, late)) == "LogFork"
    assert kind_of(accuse_logs(ORIGIN, rosters, below._replace(note=true[5].note), true[5])) is None
    early = opened(story(), LAST, Lie(record={"time_ms": CREATED_MS - 1}))
    assert kind_of(accuse_logs(ORIGIN, rosters, true[3], early)) == "InvalidRecord"
    assert kind_of(accuse_logs(ORIGIN, rosters, early, true[3])) == "InvalidRecord"
    more = opened(story(), LAST, Lie(record={"statements_count": 4}))
    assert kind_of(accuse_logs(ORIGIN, rosters, more, true[3].note)) == "InvalidRecord"


def altered(bundle: Bundle, index: int, **changes: object) -> Said:
    """alice is told of one message of a bundle, with a leaf that says something else, and shows it."""
    leaf = MESSAGE_LEAF.decode(message_leaves(bundle, make_seqs(LAST, 0, 0, bundle.count))[index])
    encoded = MESSAGE_LEAF.encode(leaf._replace(**changes))  # type: ignore[arg-type]
    liar = tell_story()
    before = liar.told[ALICE].upto(3)
    record = next_record(before.histories[-1], LAST, 1, tree_root([leaf_hash(encoded)]), (0, EMPTY_ROOT))
    body = HISTORY_RECORD.encode(record)
    after = apply_record(before.histories[-1], record, body, leaf.seq)
    entries, histories = (*before.entries, HistoryEntry(body, ())), (*before.histories, after)
    told = before._replace(entries=entries, histories=histories)
    theirs = open_refusal(kept_alone(NOTHING, ORIGIN, ALICE), liar.delta(ALICE, told=told), RecipientLists()).theirs
    assert theirs is not None
    sets = {one.root: RecipientSet(one.env_salt, one.device_ids) for one in bundle.recipients}
    said = theirs._replace(leaves_of=lambda _: [encoded], recipients_of=sets.get)
    return say_from(said, leaf.seq, ALICE)


OTHER = leaf_hash(b"another")
ALTERED: dict[str, tuple[dict[str, object], bool]] = {
    "payload": ({"payload_hash": OTHER}, True),
    "ciphertexts": ({"ciphertexts_root": OTHER}, True),
    "counter": ({"sender_ctr": 8}, True),
    "counter beyond": ({"sender_ctr": 99}, True),
    "envelope": ({"env_hash": OTHER}, True),
    "envelope of another": ({"env_hash": mixed_bundle().env_hashes[1]}, True),
    "envelope and payload": ({"env_hash": OTHER, "payload_hash": OTHER}, True),
    "envelope and sender": ({"env_hash": OTHER, "sender": BOB}, True),
    "envelope and counter": ({"env_hash": OTHER, "sender_ctr": 99}, True),
    "bundle": ({"bundle_hash": OTHER}, False),
    "everything that binds it": ({"env_hash": OTHER, "bundle_hash": OTHER, "payload_hash": OTHER}, False),
    "nothing": ({}, False),
}


@pytest.mark.parametrize("name", ALTERED)
def test_a_message_that_its_sender_did_not_make(name: str) -> None:
    """It names an envelope or a bundle that says something else."""
    changes, is_provable = ALTERED[name]
    said = altered(mixed_bundle(), 0, **changes)
    proof = accuse_bundle(ORIGIN, said, mixed_bundle())
    assert kind_of(proof) == ("AlteredMessage" if is_provable else None)
    assert accuse_bundle(ORIGIN, said, letter("alice", 7, b"another")) is None
    assert accuse_bundle(ORIGIN, said._replace(rosters=()), mixed_bundle()) is None


def test_a_message_of_another_providers_bundle() -> None:
    bundle = bundle_of("alice", [draft_of(recipients_of("alice", "bob"), b"hello")], 9, OTHER_ORIGIN)
    assert kind_of(accuse_bundle(ORIGIN, altered(bundle, 0), bundle)) == "AlteredMessage"


def test_who_has_no_message_accuses_nobody_of_altering_it() -> None:
    alice = Witness(ALICE).follow(story(), LAST + 1)
    assert accuse_bundle(ORIGIN, alice.say(make_seq(1, 0, 0), ALICE), mixed_bundle()) is None


def test_envelopes_are_rebuilt() -> None:
    """Their hashes are those that the bundle's own tree has."""
    bundle = mixed_bundle()
    for index, env_hash in enumerate(bundle.env_hashes):
        envelope = envelope_of(bundle, index)
        assert hash_envelope(envelope) == env_hash
        assert ENVELOPE.decode(envelope).sender_ctr == 7 + index
