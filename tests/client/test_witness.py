"""What witnesses make of honest providers and of lying ones, whatever becomes of their frames.

A provider's stories are told by `Liar`, and verified by real followers. Lying peers are in `test_witness_peers`, what
is forgotten and what goes by files in `test_witness_keeping`.
"""

from copy import deepcopy
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noise.protocol.errors import NoiseError
from noise.protocol.evidence.proof import verify_proof
from noise.protocol.gossip import ProofFrame, ViewFrame
from noise_client.log_watch import DISTINGUISHED_EVERY
from noise_client.retention import Policy
from noise_client.verdicts import FINE, Reason, Verdict
from tests.client.witnesses import (
    PATIENT,
    POLICIES,
    Keeper,
    are_exposed,
    chat,
    converse,
    couple,
    forked,
    log_page,
    look_up,
    lossy,
    omit,
    replace,
)
from tests.protocol.evidence.materials import sequence
from tests.protocol.liar import Liar, Placed
from tests.protocol.story import ALICE, BOB, letter
from tests.vectors.cast import ORIGIN, device_of

CAROL = device_of("carol")


# Honest providers


@settings(max_examples=12)
@given(st.integers(0, 2**32))
def test_an_honest_story_ends_well_in_every_order(seed: int) -> None:
    """Everybody follows at its own pace, forgets by its own policy, dies now and then; frames are lost and doubled."""
    random = Random(seed)
    liar = chat(random.randint(1, 7), n_outboxes=random.choice((1, 3)))
    keepers = [Keeper(name, random.choice(POLICIES)) for name in ("alice", "bob", "carol")]
    for number in range(len(liar.epochs)):
        for keeper in keepers:
            pace = random.random()
            if pace < 0.5:
                keeper.follow(liar, number + 1)
            elif pace < 0.7:
                keeper.skip_to(liar, number, records_max=random.choice((None, 1)))
            elif pace < 0.8:
                keeper.open()
            if random.random() < 0.3:
                keeper.witness.prune()
        converse(*keepers, random=random, change=lossy(random), rounds=1)
        assert [keeper.witness.judgement for keeper in keepers if keeper.verdict is Verdict.EXPOSED] == []
    for keeper in keepers:
        while keeper.follower.cursor.hist_next < (len(liar.told[keeper.id].entries) if keeper.id in liar.told else 0):
            keeper.skip_to(liar)
        keeper.follow(liar)
    converse(*keepers, random=random)
    for keeper in keepers:
        look_up(keeper, liar)
    converse(*keepers)
    assert [keeper.witness.judgement for keeper in keepers] == [FINE] * 3
    assert [keeper.kinds for keeper in keepers] == [[]] * 3


def test_what_is_under_way_is_no_difference() -> None:
    """bob is ahead: alice keeps his cut until she has verified its epoch herself, and only then compares."""
    liar = chat(3)
    alice, bob = Keeper("alice").follow(liar, 1), Keeper("bob").follow(liar)
    converse(alice, bob)
    assert (alice.witness.judgement, bob.witness.judgement) == (FINE, FINE)
    pair = alice.store.pair(BOB)
    assert pair is None, "nothing was compared at the latest"
    assert bob.store.pair(ALICE).matched_epoch == 0, "bob has verified what alice says, long ago"
    alice.follow(liar)
    assert alice.store.pair(BOB).matched_epoch == 2, "the cut has waited"


def test_a_cut_waits_for_all_messages_of_its_epoch() -> None:
    """In the middle of catching up the log is verified already, and half of the messages are still to come."""
    liar = chat(4)
    alice, bob = Keeper("alice"), Keeper("bob").follow(liar)
    alice.skip_to(liar, records_max=1)
    assert alice.follower.trusted.log.size == 4
    converse(alice, bob)
    assert (alice.witness.judgement, alice.store.pair(BOB)) == (FINE, None)
    while alice.follower.cursor.hist_next < alice.follower.cursor.hist_size:
        alice.skip_to(liar, records_max=1)
    assert alice.store.pair(BOB).matched_epoch == 3


def test_a_pending_cut_that_differs_is_found_when_its_time_comes() -> None:
    liar = chat(3)
    omit(liar, "bob")
    alice, bob = Keeper("alice").follow(liar, 1), Keeper("bob").follow(liar)
    converse(alice, bob)
    assert (alice.verdict, bob.verdict) == (Verdict.OK, Verdict.OK)
    alice.follow(liar)
    converse(alice, bob)
    are_exposed("Omission", alice, bob)


# Lying ones


@pytest.mark.parametrize("policy", PATIENT)
@pytest.mark.parametrize("seed", range(4))
def test_an_omission_is_exposed_on_both_sides(seed: int, policy: Policy) -> None:
    random = Random(seed)
    liar = chat(6)
    liar.commit(letter("alice", 20, b"lost for bob"))
    omit(liar, "bob")
    liar.commit(letter("bob", 20, b"after it"))
    alice, bob = couple(liar, policy)
    converse(alice, bob, random=random, change=lossy(random), rounds=12)
    are_exposed("Omission", alice, bob)
    verdict = verify_proof(bob.store.proofs()[0].proof, [ORIGIN])
    assert (verdict.accused, verdict.epoch) == ("provider", 6)


def test_a_first_message_that_never_comes() -> None:
    """bob has no mailbox at all, and has verified that."""
    liar = Liar()
    liar.commit(letter("alice", 1, b"hello"))
    omit(liar, "bob")
    alice, bob = couple(liar)
    converse(alice, bob)
    are_exposed("Omission", alice, bob)


def test_a_conflict_is_exposed_on_both_sides() -> None:
    """bob gets another message at the same position: one that a device of the provider's own has signed."""
    liar = chat(3)
    liar.commit(letter("alice", 20, b"yes"))
    replace(liar, "bob", Placed(letter("mallory", 1, b"no", to=("alice", "bob", "mallory"))))
    alice, bob = couple(liar)
    converse(alice, bob)
    are_exposed("Conflict", alice, bob)


def test_a_conflict_about_who_shall_read_it() -> None:
    """By its recipients bob's version is none of alice's business: he must not show it, and proves it alone."""
    liar = chat(3)
    liar.commit(letter("alice", 20, b"yes"))
    replace(liar, "bob", Placed(letter("mallory", 1, b"no", to=("bob", "mallory"))))
    alice, bob = couple(liar)
    converse(alice, bob)
    are_exposed("Conflict", alice, bob)


def test_an_altered_message_is_refused_and_becomes_a_proof_with_a_peer() -> None:
    """bob refuses bytes that nobody signed; the provider committed to them, and alice has the true ones."""
    liar = chat(3)
    true = letter("alice", 20, b"yes", to=("alice", "bob"))
    liar.commit(true)
    altered = letter("alice", 20, b"no")
    altered.signature = true.signature
    replace(liar, "bob", Placed(altered))
    alice, bob = couple(liar)
    assert (bob.refusals, bob.verdict, bob.reasons) == (["bad-signature"], Verdict.SUSPECTED, {"refused-delta"})
    converse(alice, bob)
    are_exposed("Conflict", alice, bob)
    assert "refused-delta" not in bob.reasons, "it is explained"


def test_a_fork_of_one_size_is_exposed_at_once() -> None:
    one, other = forked(3, 1)
    alice, bob = Keeper("alice").follow(one), Keeper("bob").follow(other)
    bob.hear(ALICE, ViewFrame(alice.witness.view(BOB)._replace(cuts=())))
    are_exposed("LogFork", bob)
    for peer, frame in bob.witness.take_outgoing():
        assert peer == ALICE or isinstance(frame, ProofFrame)
        alice.hear(BOB, frame) if peer == ALICE else None
    are_exposed("LogFork", alice)


def test_a_checkpoint_ahead_of_us_waits_until_we_get_there() -> None:
    one, other = forked(3, 2)
    alice, bob = Keeper("alice").follow(one), Keeper("bob").follow(other, 4)
    bob.hear(ALICE, ViewFrame(alice.witness.view(BOB)._replace(cuts=())))
    assert (bob.witness.judgement, bob.witness.take_lookups()) == (FINE, [])
    bob.follow(other)
    are_exposed("LogFork", bob)


def test_a_fork_of_two_sizes_needs_no_honest_answer() -> None:
    """The provider cannot show that alice's log is the beginning of bob's; what it shows instead convicts it."""
    one, other = forked(3, 4)
    alice, bob = Keeper("alice"), Keeper("bob")
    alice.skip_to(one, 4)
    bob.skip_to(other, 6)
    for keeper, peer in ((alice, bob), (bob, alice)):
        keeper.hear(peer.id, ViewFrame(peer.witness.view(keeper.id)._replace(cuts=())))
    assert (alice.verdict, bob.verdict) == (Verdict.OK, Verdict.OK)
    assert look_up(bob, other) == 1
    assert (bob.verdict, bob.reasons) == (Verdict.SUSPECTED, {"log-differs"})
    converse(alice, bob)
    are_exposed("LogFork", alice, bob)


def test_a_log_that_went_back_is_exposed_by_what_it_shows_now() -> None:
    one, other = forked(3, 2)
    bob = Keeper("bob").follow(one)
    for opening in bob.witness.openings():
        bob.witness.hear_record(opening.place, *log_page(one, opening.place, opening.place + 1))
    assert bob.verdict is Verdict.OK
    bob.witness.hear_record(4, *log_page(other, 4, 5))
    are_exposed("LogFork", bob)


def test_distinguished_checkpoints_are_asked_for_and_kept() -> None:
    liar = Liar()
    for _ in range(DISTINGUISHED_EVERY + 3):
        liar.commit()
    liar.commit(letter("alice", 1, b"late"))
    alice, bob = Keeper("alice"), Keeper("bob")
    alice.skip_to(liar)
    bob.skip_to(liar)
    assert (look_up(alice, liar), look_up(alice, liar)) == (1, 0)
    assert [note.size for note in alice.store.notes() if note.is_distinguished] == [DISTINGUISHED_EVERY]
    other = deepcopy(liar)
    del other.leaves[:]
    [lookup] = bob.witness.take_lookups()
    page = log_page(liar, lookup.wanted - 1, lookup.wanted)
    with pytest.raises(NoiseError):
        bob.witness.hear_note(lookup, *page, (bytes(32),))
    assert [note for note in bob.store.notes() if note.is_distinguished] == []


@pytest.mark.parametrize(("arrives", "kind"), [(None, "Omission"), (b"changed", "Conflict")])
def test_a_receipt_that_is_not_honoured(arrives: bytes | None, kind: str) -> None:
    liar = Liar()
    liar.commit(letter("bob", 1, b"hello"))
    sent = letter("alice", 1, b"mine")
    liar.commit(sent)
    if arrives is None:
        omit(liar, "alice")
    else:
        replace(liar, "alice", Placed(letter("alice", 1, arrives)))
    omit(liar, "bob")
    receipt = sequence(1, [sent])[1][0]
    alice = Keeper("alice").follow(liar, 1)
    alice.witness.note_receipt(sent, receipt)
    alice.open()
    assert alice.verdict is Verdict.OK, "its epoch may still be under way"
    alice.follow(liar)
    are_exposed(kind, alice)
    assert alice.store.receipts() == []
    bob = Keeper("bob").follow(liar)
    converse(alice, bob)
    are_exposed(kind, bob)


def test_a_receipt_that_is_honoured_before_it_comes_or_after() -> None:
    liar = Liar()
    bundles = [letter("carol", 1, b"first", to=("alice", "carol")), letter("alice", 1, b"a", b"b")]
    liar.commit(*bundles)
    receipt = sequence(0, bundles)[1][1]
    early, late = Keeper("alice"), Keeper("alice").follow(liar)
    early.follow(liar, 0)
    late.witness.note_receipt(bundles[1], receipt)
    assert (late.witness.judgement, late.store.receipts()) == (FINE, [])


# Reasons that come and go


def test_staleness_and_suspicion_end_with_their_reasons() -> None:
    liar = chat(2)
    alice = Keeper("alice").follow(liar, 1)
    alice.witness.set_stale(Reason("no-new-epoch", "for too long"))
    assert alice.verdict is Verdict.STALE
    alice.witness.suspect("log-behind", "log-behind", "it knows less than we do")
    assert alice.verdict is Verdict.SUSPECTED
    alice.follow(liar)
    assert (alice.verdict, alice.reasons) == (Verdict.STALE, {"no-new-epoch"})
    alice.witness.set_stale(None)
    assert alice.witness.judgement == FINE


def test_a_proof_outlives_its_process() -> None:
    liar = chat(2)
    omit(liar, "bob")
    alice, bob = couple(liar)
    converse(alice, bob)
    reasons = bob.reasons
    for keeper in (alice, bob):
        proofs = keeper.store.proofs()
        keeper.open()
        are_exposed("Omission", keeper)
        assert keeper.reasons == reasons
        converse(alice, bob)
        assert keeper.store.proofs() == proofs, "one proof of one lie"
