"""Known ways to frame an honest provider, or to blind whoever watches a lying one: one short test for each.

All of them worked against some system of this kind. Most are searched at length elsewhere; a reader finds them here.
"""

from itertools import combinations
from typing import Any

import pytest

from noise.protocol.delta import RecipientLists
from noise.protocol.envelope import Recipients, RecipientSet
from noise.protocol.errors import DecodeError, NoiseError, ProviderMisbehaved, Rejected, SignatureError
from noise.protocol.evidence.messages import Conflict, Misdelivery, Omission
from noise.protocol.evidence.openings import LOG_OPENING, PlacedLeaf, open_log_leaf
from noise.protocol.evidence.proof import KINDS, NotProven, verify_proof
from noise.protocol.evidence.rosters import Rosters
from noise.protocol.follower import Follower
from noise.protocol.identifiers import make_seq
from noise.protocol.merkle import Tree, check_inclusion, leaf_hash, node_hash
from noise.protocol.pair_chain import new_chain
from noise.protocol.signing import verify_strict
from noise_client.retention import Cumulative
from noise_client.verdicts import FINE, Verdict
from tests.client.witnesses import Keeper, chat, converse, log_page, omit
from tests.protocol.evidence.convictions import CONVICTIONS, EIGHT, bob, conviction, told_truly, truth
from tests.protocol.evidence.exhibits import (
    Exhibit,
    acquits,
    change_leaf,
    convicts,
    file_of,
    recipient,
    rosters_of,
    sequence,
)
from tests.protocol.liar import Liar, Lie, Placed, Told
from tests.protocol.mutations import mutations
from tests.protocol.story import ALICE, BOB, LAST, OTHER_ROOT, letter
from tests.vectors.cast import ORIGIN, OTHER_ORIGIN, device_of, filler, recipients_of, signer_of

CAROL = device_of("carol")
SIX = recipients_of("alice", "bob")


def honest() -> Exhibit:
    """bob's mailbox as of the last epoch, as it is."""
    return Exhibit(told_truly(), BOB)


# Ranges, epochs, and what is kept


def test_ranges_that_restart_at_0_after_a_mailbox_was_emptied() -> None:
    """A client that forgot everything goes on at the next record; a provider that begins anew is convicted."""
    liar = chat(4)
    alice = Keeper("alice", Cumulative()).follow(liar)
    alice.witness.prune()
    assert (alice.store.base().size, alice.store.records(0)) == (4, [])
    again = Told(ALICE).then(4, Placed(letter("alice", 60, b"from 0")))
    sent = letter("alice", 60, b"more")
    liar.commit(sent)
    follower = Follower(ORIGIN, ALICE, alice.follower.trusted, last_counter=alice.store.last_counter)
    [delivery] = follower.check_delta(liar.delta(ALICE, follower.cursor), alice.lists).deliveries
    assert delivery.common == b"more"
    alice.take(liar.delta(ALICE, alice.follower.cursor, told=again, lie=Lie(tail=())))
    assert len(alice.refusals) == 1
    assert (alice.verdict, alice.kinds) == (Verdict.EXPOSED, ["MailboxRollback"])


def test_epochs_that_restart_at_0_with_the_same_key() -> None:
    """Whoever saw the first epoch 0 refuses the second one, and proves that there are two."""
    again = Liar()
    again.commit(letter("alice", 1, b"a new life"))
    bob_before = Keeper("bob").follow(chat(1))
    bob_before.take(again.delta(BOB))
    assert bob_before.verdict is Verdict.EXPOSED
    bob_later = Keeper("bob").follow(chat(3))
    bob_later.take(again.delta(BOB))
    assert len(bob_later.refusals) == 1
    bob_later.witness.hear_record(0, *log_page(again, 0, 1))
    assert bob_later.kinds[-1:] == ["LogFork"]


def test_a_detector_that_kept_hashes_but_not_signatures() -> None:
    """All that a restarted client has is its file: every note in it verifies by itself, and proves a fork."""
    liar, other = chat(3), chat(2)
    other.commit(letter("alice", 90, b"another third epoch"))
    alice = Keeper("alice").follow(liar)
    alice.open()
    rosters = Rosters(ORIGIN, rosters_of(liar))
    notes = [LOG_OPENING.decode(kept.note) for kept in alice.store.notes()]
    assert [open_log_leaf(rosters, note).size for note in notes] == [1, 2, 3]
    alice.witness.hear_record(2, *log_page(other, 2, 3))
    assert verify_proof(alice.store.proofs()[0].proof, [ORIGIN]).kind == "LogFork"


def test_a_watermark_that_drifts_past_unverified_messages() -> None:
    """What a peer is told never covers what is not verified: not while catching up, and not after a refusal."""
    liar = chat(4)
    alice = Keeper("alice")
    alice.skip_to(liar, records_max=2)
    assert alice.follower.trusted.log.size == 4
    [cut] = alice.witness.view(BOB).cuts
    assert (cut.epoch, cut.length) == (1, 4), "two records came, of epochs 0 and 1"
    view, cursor = alice.witness.view(BOB), alice.follower.cursor
    alice.take(liar.delta(ALICE, cursor, lie=Lie(head={"map_root": OTHER_ROOT})))
    assert (len(alice.refusals), alice.witness.view(BOB), alice.follower.cursor) == (1, view, cursor)
    alice.open()
    assert alice.witness.view(BOB) == view


@pytest.mark.parametrize(
    "lie",
    [
        Lie(head={"map_root": OTHER_ROOT}),
        Lie(record={"statements_root": OTHER_ROOT}),
        Lie(checkpoint={"root": OTHER_ROOT}),
        Lie(head_signer=signer_of("mallory")),
        Lie(state=b""),
    ],
)
def test_a_validation_error_that_is_logged_and_then_ignored(lie: Lie) -> None:
    """It is raised, nothing of the delta is kept, and the verdict is no longer that all is well."""
    liar = chat(4)
    alice = Keeper("alice").follow(liar, 3)
    stored, kept = alice.store.load(), alice.store.records(0)
    delta = liar.delta(ALICE, alice.follower.cursor, lie=lie)
    with pytest.raises(ProviderMisbehaved):
        alice.follower.check_delta(delta, RecipientLists())
    alice.take(delta)
    assert (alice.store.load(), alice.store.records(0)) == (stored, kept)
    assert alice.verdict in (Verdict.SUSPECTED, Verdict.EXPOSED)
    assert alice.reasons


def test_comparing_chains_at_latest_while_messages_are_in_flight() -> None:
    """Whatever each has verified already, honest chains never differ; and a true difference is found all the same."""
    for n_alice in range(1, 5):
        for n_bob in range(1, 5):
            liar = chat(4)
            alice, other = Keeper("alice").follow(liar, n_alice), Keeper("bob").follow(liar, n_bob)
            converse(alice, other, rounds=1)
            assert (alice.witness.judgement, other.witness.judgement) == (FINE, FINE)
    liar = chat(4)
    omit(liar, "bob")
    alice, other = Keeper("alice").follow(liar), Keeper("bob").follow(liar)
    converse(alice, other)
    assert alice.verdict is other.verdict is Verdict.EXPOSED


# Encodings


def test_recipient_lists_joined_with_separators() -> None:
    """No two lists have one root, whatever bytes their ids are made of; an id is 32 bytes, and stays whole."""
    salt = filler("salt", 16)
    ids = sorted(filler(f"id {n}", 31 - n) + mark * (1 + n) for n in range(3) for mark in (b",", b"\n", b"\0", b"|"))
    roots = {Recipients(RecipientSet(salt, chosen)).root for n in (1, 2, 3) for chosen in combinations(ids, n)}
    assert len(roots) == 12 + 66 + 220
    for joined in ((ids[0] + b"," + ids[1],), (ids[0] + ids[1],), (ids[0][:-1], ids[0][-1:] + ids[1])):
        with pytest.raises(DecodeError):
            Recipients(RecipientSet(salt, joined))


def test_ids_without_length_prefix() -> None:
    """Nothing that is hashed or signed changes its meaning when a byte crosses from one part to the next."""
    device_id, salt = filler("id", 32), filler("salt", 16)
    for moved in (
        RecipientSet(salt + device_id[:1], (device_id[1:],)),
        RecipientSet(salt[:-1], (salt[-1:] + device_id,)),
    ):
        with pytest.raises(DecodeError):
            Recipients(moved)
    seq, env_hash = make_seq(1, 0, 0), filler("env", 32)
    for parts in ((seq + env_hash[:1], env_hash[1:]), (seq[:-1], seq[-1:] + env_hash)):
        with pytest.raises(DecodeError):
            new_chain(ALICE, BOB).append(*parts)
    with pytest.raises(DecodeError):
        new_chain(ALICE + BOB[:1], BOB[1:])
    signer, body = signer_of("alice"), b"a body"
    signature = signer.sign("bundle", ORIGIN, body).signature
    verify_strict(signer.public_key, signature, "bundle", ORIGIN, body)
    moved_parts = [("bundle", ORIGIN[:-1], ORIGIN[-1:] + body), ("bundle", ORIGIN + body[:1], body[1:])]
    for label, origin, rest in [*moved_parts, ("head", ORIGIN, body), ("bundle", OTHER_ORIGIN, body)]:
        with pytest.raises(SignatureError):
            verify_strict(signer.public_key, signature, label, origin, rest)


def test_duplicate_recipients() -> None:
    """Nobody may be among the recipients twice, and one recipient shown twice is no pair of neighbours."""
    with pytest.raises(Rejected) as refused:
        Recipients(RecipientSet(bytes(16), (ALICE, ALICE)))
    assert refused.value.code == "duplicate-recipients"
    message = honest().leaf(3, 2)
    for member in EIGHT.device_ids:
        acquits(told_truly(), Misdelivery(message, (recipient(EIGHT, member),) * 2))


# Attestations and proofs


def test_an_attestation_re_parsed_with_another_number_of_entries() -> None:
    """Of three messages in a record nobody makes one, or two, or four: the number is signed with the root."""
    exhibit = honest()
    first, second, third = (exhibit.placed(3, place) for place in range(3))
    pair = node_hash(leaf_hash(first.leaf), leaf_hash(second.leaf))
    lacks = exhibit.between(3, 1, 2)
    for before, after in (
        (None, PlacedLeaf(0, third.leaf, (pair,))),  # as if it had two entries, the first of them a pair
        (PlacedLeaf(0, first.leaf, ()), None),  # as if it had one
        (PlacedLeaf(0, first.leaf, (leaf_hash(second.leaf),)), None),
        (PlacedLeaf(1, third.leaf, (pair,)), None),
        (third._replace(place=3), None),
        (second, None),
    ):
        for place in range(3):
            members = EIGHT if place == 2 else SIX
            finding = Omission(
                sequence(told_truly(), LAST, place),
                recipient(members, BOB),
                lacks._replace(before=before, after=after),
            )
            acquits(told_truly(), finding)


def test_a_proof_valid_under_another_index_and_size() -> None:
    """What proves leaf 4 of 5 proves leaf 1 of 2 as well; so index and size come from what is signed."""
    tree = Tree([leaf_hash(bytes([n])) for n in range(5)])
    proof = tree.inclusion(4)
    check_inclusion(tree.root, 5, 4, leaf_hash(b"\4"), proof)
    check_inclusion(tree.root, 2, 1, leaf_hash(b"\4"), proof)
    true = honest().log
    rosters = Rosters(ORIGIN, rosters_of(told_truly()))
    assert open_log_leaf(rosters, true).size == LAST + 1
    for place in [*range(LAST), LAST + 1, 2**32, 2**63, 2**64 - 1]:
        with pytest.raises(NoiseError):
            open_log_leaf(rosters, true._replace(place=place))
    record = honest().record(3)
    for k in (0, 1, 2, 4, 2**63):
        finding = Omission(
            sequence(told_truly(), 4, 0), recipient(SIX, BOB), honest().gap(3)._replace(record=record._replace(place=k))
        )
        acquits(told_truly(), finding)


def test_recipients_compared_with_themselves() -> None:
    """A message does not contradict itself; two lists at one place do, and the verdict says in what they differ."""
    scribe, one = told_truly(), sequence(told_truly(), LAST, 0)
    acquits(scribe, Conflict(one, one))
    acquits(scribe, Conflict(one, honest().delivered(3, 0)))
    changed = change_leaf(truth(0), recipients_root=EIGHT.root)
    other = sequence(scribe, LAST, 0, [changed, *scribe.sequenced[LAST][1:]])
    convicts(scribe, Conflict(one, other), "provider", LAST, "recipients_root")


@pytest.mark.parametrize("name", CONVICTIONS)
def test_a_bound_off_by_one_that_crashes_the_checker(name: str) -> None:
    """Every number in every proof one more, one less, none, and the most there can be: judged, never crashed."""
    finding: Any = conviction(name)
    codec = KINDS[type(finding).__name__].codec
    n_tried = 0
    for mutation in mutations(codec, finding):
        if mutation.how in ("more", "less", "none", "most", "removed", "doubled") and "hash" not in mutation.place:
            n_tried += 1
            try:
                verdict = verify_proof(file_of(told_truly(), mutation.value), [ORIGIN])
                assert verdict.kind == name.split(",", maxsplit=1)[0]
            except (DecodeError, NotProven):
                continue
    assert n_tried > 1


def test_bob_is_who_he_was() -> None:
    """The story on which all of this stands still convicts nobody, and its lies still do."""
    acquits(told_truly(), Omission(sequence(told_truly(), LAST, 2), recipient(EIGHT, BOB), bob().idle()))
    assert verify_proof(file_of(told_truly(), conviction("Omission, idle tail")), [ORIGIN]).epoch == LAST
