"""A refused delta beyond what it proves by itself: what it shows to peers, and that garbage proves nothing.

What each lie proves by itself is in `test_refusals`.
"""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noise.protocol.delta import DELTA, Delta
from noise.protocol.errors import DecodeError
from noise.protocol.evidence.accuse import testify_refused as say_refused
from noise.protocol.evidence.material import EvidenceUnavailable
from noise.protocol.evidence.proof import verify_proof
from noise.protocol.evidence.testimony import accuse_message
from noise.protocol.identifiers import make_seq
from tests.protocol.evidence.honest_stories import DEVICES, honest_story
from tests.protocol.evidence.materials import Said, Witness, retell
from tests.protocol.evidence.test_refusals import lie_about_messages, prove, proven, told
from tests.protocol.liar import Placed
from tests.protocol.mutations import mutations
from tests.protocol.story import ALICE, BOB, LAST, letter, story
from tests.protocol.structures import damaged
from tests.protocol.test_history_lies import before, honest
from tests.vectors.cast import ORIGIN


@pytest.mark.parametrize("name", ["another signer", "the provider's signature", "a sender who is no recipient"])
def test_what_was_refused_convicts_with_a_peer(name: str) -> None:
    """The provider stands by a message that nobody signed; another recipient of the place has the true one."""
    liar, history = lie_about_messages(name)
    bob = Witness().follow(liar, LAST)
    retell(liar, history)
    alice = Witness(ALICE).follow(liar, LAST + 1)
    delta = liar.delta(BOB, bob.follower.cursor)
    assert proven(bob, delta) is None
    seq = make_seq(LAST, 0, 0)
    ours = refused_word(bob, delta, seq, ALICE if name != "a sender who is no recipient" else BOB)
    proof = accuse_message(ORIGIN, ours, BOB, alice.say(seq, BOB), ALICE, seq)
    assert verify_proof(proof, {ORIGIN}).kind == "Conflict"
    lost = make_seq(LAST, 0, 1)
    ours = refused_word(bob, delta, lost, ALICE)
    proof = accuse_message(ORIGIN, ours, BOB, alice.say(lost, BOB), ALICE, lost)
    assert verify_proof(proof, {ORIGIN}).kind == "Omission"


def refused_word(witness: Witness, delta: Delta, seq: bytes, peer: bytes) -> Said:
    return say_refused(witness.follower.trusted, delta, witness.lists, seq, peer, witness.material)


def test_what_was_refused_is_shown_later() -> None:
    """When the client has gone on with what the provider then said, and has forgotten some of it."""
    liar, history = lie_about_messages("another signer")
    bob = Witness().follow(liar, LAST)
    trusted, refused, lists = bob.follower.trusted, liar.delta(BOB, bob.follower.cursor, told=history), bob.lists
    said = say_refused(trusted, refused, lists, make_seq(LAST, 0, 0), ALICE, bob.material)
    bob.take(liar.delta(BOB, bob.follower.cursor))
    for forgotten in range(5):
        bob.forget(forgotten)
        assert say_refused(trusted, refused, lists, make_seq(LAST, 0, 0), ALICE, bob.material) == said


def test_what_was_refused_and_is_nobodys_word() -> None:
    bob = Witness().follow(story(), LAST)
    delta = story().delta(BOB, bob.follower.cursor)
    first = delta.history[0].sections[0]
    cut = delta._replace(history=(delta.history[0]._replace(sections=(first,)),))
    unsigned = delta._replace(shared=delta.shared._replace(head=delta.shared.head._replace(signature=bytes(64))))
    foreign = delta._replace(shared=delta.shared._replace(note=b""))
    for wrong, code in ((cut, "evidence-dropped"), (unsigned, "evidence-unsigned"), (foreign, "evidence-unsigned")):
        with pytest.raises(EvidenceUnavailable) as caught:
            refused_word(bob, wrong, make_seq(LAST, 0, 0), ALICE)
        assert caught.value.code == code
    assert refused_word(bob, delta, make_seq(LAST, 0, 2), BOB).delivered is not None


def test_garbage_is_not_evidence() -> None:
    """Messages beside an honest record, others' parts, other lists."""
    first, second = story().told[BOB].entries[-1].sections
    inserted = before().then(LAST, Placed(letter("alice", 9, b"inserted"), 3)).entries[-1].sections[0]
    early = first._replace(first_seq=make_seq(LAST - 1, 0, 0))
    huge = first._replace(first_ctr=2**64 - 1)
    for sections in ((first,), (), (second, first), (early, second), (first, second, inserted), (huge, second)):
        assert told({}, history=story().told[BOB].with_sections(*sections)) is None
    own_part = before().then(LAST, honest()[0], own_part_of=ALICE)
    assert told({}, history=own_part) is None
    assert told({"tail": [bytes(32)]}) is None


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**32))
def test_damage_on_the_way_convicts_nobody(seed: int) -> None:
    """Of an honest delta, in its bytes or in its structure, with parts of other honest deltas in it."""
    random = Random(seed)
    liar, witnesses, _ = honest_story(random, epochs_max=5)
    witness = witnesses[random.choice(DEVICES)]
    delta = liar.delta(witness.mailbox, witness.follower.cursor, records_max=random.choice([1, 100]))
    others = [liar.delta(one) for one in DEVICES]
    others.append(liar.delta(witness.mailbox, number=random.randrange(len(liar.epochs))))
    found = list(mutations(DELTA, delta, others))
    changed = [mutation.value for mutation in random.sample(found, min(len(found), 15))]
    for data in [damaged(DELTA.encode(delta), random) for _ in range(15)]:
        try:
            changed.append(DELTA.decode(data))
        except DecodeError:
            continue
    for one in [delta, *others, *changed]:
        assert prove(witness, one, alone=random.random() < 0.5) is None


@pytest.mark.parametrize("name", ["another order", "a counter twice", "a message for others"])
def test_a_lie_that_was_damaged_too(name: str) -> None:
    """There is a proof that others accept, or none, and no error."""
    random = Random(name)
    liar, history = lie_about_messages(name)
    witness = Witness().follow(liar, LAST)
    delta = liar.delta(BOB, witness.follower.cursor, told=history)
    found = [prove(witness, one.value, alone=False) for one in random.sample(list(mutations(DELTA, delta)), 60)]
    assert None in found
