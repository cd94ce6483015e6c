"""Testimonies: what a client can show of each message, when it cannot, and what two of them prove."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noise.protocol.envelope import Bundle
from noise.protocol.errors import DecodeError, NoiseError
from noise.protocol.evidence.material import EvidenceUnavailable
from noise.protocol.evidence.proof import verify_proof
from noise.protocol.evidence.testimony import TESTIMONY, accuse_message, check_testimony
from noise.protocol.evidence.verdict import NotProven, Verdict
from noise.protocol.identifiers import NO_EPOCH, make_seq, parse_seq
from noise.protocol.statements import MESSAGE_LEAF
from tests.protocol.evidence.honest_stories import DEVICES, Story, honest_story
from tests.protocol.evidence.materials import Said, Witness, retell
from tests.protocol.liar import Liar, Placed
from tests.protocol.mutations import mutations
from tests.protocol.story import ALICE, BOB, DAVE, LAST, letter, story, tell_story
from tests.vectors.cast import ORIGIN, OTHER_ORIGIN, device_of

CAROL = device_of("carol")


def form_of(testimony: Said) -> str:
    absent = testimony.absent
    if absent is None:
        return "delivered"
    if absent.state is not None:
        return "idle" if absent.state.state else "no mailbox"
    return "between" if absent.before or absent.after else "gap"


def test_everything_that_was_said() -> None:
    """bob, in the story: something arrived in 0, 2, 4 and 5."""
    bob = Witness().follow(story(), LAST + 1)
    forms = {
        (0, 0): "delivered",
        (0, 1): "delivered",
        (0, 2): "between",
        (1, 0): "gap",
        (2, 1): "delivered",
        (2, 2): "between",
        (3, 0): "gap",
        (3, 2**48 - 1): "gap",
        (5, 0): "delivered",
        (5, 2): "delivered",
        (5, 3): "between",
    }
    for (epoch, pos), form in forms.items():
        seq = make_seq(epoch, 0, pos)
        testimony = bob.say(seq, BOB)
        assert form_of(testimony) == form
        leaf = check_testimony(testimony, ORIGIN, BOB, seq)
        assert (MESSAGE_LEAF.decode(leaf).seq if leaf else None) == (seq if form == "delivered" else None)
        assert (testimony.recipient is not None) == (form == "delivered")


def test_before_the_first_and_after_the_last() -> None:
    liar = Liar()
    for bundles in ([], [letter("alice", 1, b"first")], [], []):
        liar.commit(*bundles)
    bob, dave = Witness().follow(liar, 4), Witness(DAVE).follow(liar, 4)
    for witness, epoch, form in ((bob, 0, "gap"), (bob, 2, "idle"), (bob, 3, "idle"), (dave, 3, "no mailbox")):
        seq = make_seq(epoch, 0, 0)
        assert form_of(witness.say(seq, ALICE)) == form
        assert check_testimony(witness.say(seq, ALICE), ORIGIN, witness.mailbox, seq) is None


def test_what_is_not_known_yet() -> None:
    seq = make_seq(LAST, 0, 0)
    for n_epochs in range(LAST):
        refused(Witness().follow(story(), n_epochs), seq, "evidence-future")
    catching_up = Witness()
    catching_up.take(story().delta(BOB, records_max=2))
    for epoch in range(3):
        refused(catching_up, make_seq(epoch, 0, 0), "evidence-future")  # the rest of the tree is not known
    refused(catching_up, seq, "evidence-future")
    refused(catching_up, make_seq(NO_EPOCH, 0, 0), "evidence-future")
    catching_up.take(story().delta(BOB, catching_up.follower.cursor))
    assert form_of(catching_up.say(seq, ALICE)) == "delivered"


def refused(witness: Witness, seq: bytes, code: str, peer: bytes = ALICE) -> None:
    with pytest.raises(EvidenceUnavailable) as caught:
        witness.say(seq, peer)
    assert caught.value.code == code


def test_what_was_forgotten() -> None:
    """Record 2, of epoch 4, is the first that is kept: it still says that nothing arrived in epoch 3."""
    bob = Witness().follow(story(), LAST + 1)
    bob.forget(2)
    for epoch in range(3):
        refused(bob, make_seq(epoch, 0, 0), "evidence-dropped")
    for epoch, form in ((3, "gap"), (4, "delivered"), (5, "delivered")):
        assert form_of(bob.say(make_seq(epoch, 0, 0), ALICE)) == form
    bob.leaves[2] = bob.leaves[2][1:]
    refused(bob, make_seq(4, 0, 0), "evidence-dropped")
    bob.sets.clear()
    refused(bob, make_seq(5, 0, 0), "evidence-dropped")
    bob.forget(4)
    for epoch in range(LAST + 1):
        refused(bob, make_seq(epoch, 0, 0), "evidence-dropped")


def test_a_message_for_others() -> None:
    """carol's to bob is none of alice's business; bob may show it to himself."""
    bob, seq = Witness().follow(story(), LAST + 1), make_seq(2, 0, 0)
    refused(bob, seq, "evidence-private", ALICE)
    for peer in (BOB, CAROL):
        recipient = bob.say(seq, peer).recipient
        assert recipient is not None and recipient.device_id == peer


def test_a_testimony_is_about_one_message_in_one_mailbox_of_one_provider() -> None:
    bob = Witness().follow(story(), LAST + 1)
    for epoch, pos in ((0, 0), (1, 0), (5, 3)):
        seq = make_seq(epoch, 0, pos)
        testimony = bob.say(seq, BOB)
        for origin, mailbox, other in (
            (OTHER_ORIGIN, BOB, seq),
            (ORIGIN, ALICE, seq),
            (ORIGIN, BOB, make_seq(4, 0, 0)),
            (ORIGIN, BOB, make_seq(0, 0, 1)),
        ):
            with pytest.raises(NotProven):
                check_testimony(testimony, origin, mailbox, other)
        with pytest.raises(DecodeError):
            check_testimony(testimony, ORIGIN, BOB, seq[1:])


def test_a_recipient_of_another_message() -> None:
    """Nobody is one of its recipients because somebody says so."""
    bob, seq = Witness().follow(story(), LAST + 1), make_seq(5, 0, 0)
    ours, recipient = bob.say(seq, ALICE), bob.say(make_seq(2, 0, 0), CAROL).recipient
    assert ours.recipient is not None and recipient is not None
    for wrong in (
        recipient,
        ours.recipient._replace(device_id=CAROL),
        ours.recipient._replace(salt=bytes(16)),
        ours.recipient._replace(place=1 - ours.recipient.place),
        ours.recipient._replace(proof=()),
    ):
        with pytest.raises(NotProven):
            check_testimony(ours._replace(recipient=wrong), ORIGIN, BOB, seq)


def test_a_testimony_says_one_thing() -> None:
    bob = Witness().follow(story(), LAST + 1)
    there, gone = (bob.say(make_seq(epoch, 0, 0), ALICE) for epoch in (0, 1))
    for wrong in (
        there._replace(absent=gone.absent),
        gone._replace(absent=None),
        gone._replace(recipient=there.recipient),
    ):
        with pytest.raises(DecodeError):
            TESTIMONY.decode(TESTIMONY.encode(wrong))


@pytest.mark.parametrize(("epoch", "pos"), [(5, 0), (5, 3), (3, 0)])
def test_nothing_in_a_testimony_can_be_changed(epoch: int, pos: int) -> None:
    """What is accepted says the same: there may be more rosters, or another recipient, or another head that says it."""
    seq, random = make_seq(epoch, 0, pos), Random(pos)
    bob, alice = Witness().follow(story(), LAST + 1), Witness(ALICE).follow(story(), LAST + 1)
    honest = bob.say(seq, ALICE)
    said = check_testimony(honest, ORIGIN, BOB, seq)
    others = [one.say(make_seq(e, 0, 0), one.mailbox) for one in (bob, alice) for e in (0, 3, 4, 5)]
    found = list(mutations(TESTIMONY, honest, others))
    n_refused = 0
    for mutation in random.sample(found, 400) if len(found) > 400 else found:
        try:
            changed = TESTIMONY.decode(TESTIMONY.encode(mutation.value))
            assert check_testimony(changed, ORIGIN, BOB, seq) == said
        except (DecodeError, NotProven):
            n_refused += 1
    assert n_refused > 100


def every_seq(told: Story) -> list[bytes]:
    """Of every message, and one where there is none."""
    return [make_seq(epoch, 0, pos) for epoch, n in enumerate(told.n_messages) for pos in range(n + 1)]


def try_to_testify(witness: Witness, seq: bytes, peer: bytes) -> Said | None:
    try:
        return witness.say(seq, peer)
    except EvidenceUnavailable:
        return None


@settings(deadline=None, max_examples=12)
@given(st.integers(0, 2**32))
def test_the_honest_are_never_convicted(seed: int) -> None:
    """Of every pair of clients, about every message, whatever each has seen and forgotten."""
    told = honest_story(Random(seed))
    for seq in every_seq(told):
        testimonies = {
            (one.mailbox, peer): testimony
            for one in told.witnesses.values()
            for peer in DEVICES
            if (testimony := try_to_testify(one, seq, peer)) is not None
        }
        for (ours, peer), testimony in testimonies.items():
            check_testimony(testimony, ORIGIN, ours, seq)
            theirs = testimonies.get((peer, ours))
            if theirs is not None:
                with pytest.raises(NotProven):
                    accuse_message(ORIGIN, testimony, ours, theirs, peer, seq)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32))
def test_what_was_kept_can_be_shown(seed: int) -> None:
    """Whoever has caught up and forgotten nothing can say of every message whether it came."""
    told = honest_story(Random(seed), epochs_max=5)
    for witness in told.witnesses.values():
        fresh = Witness(witness.mailbox)
        while not fresh.follower.cursor.log_size or fresh.follower.cursor.hist_next < fresh.follower.cursor.hist_size:
            fresh.take(told.liar.delta(fresh.mailbox, fresh.follower.cursor, records_max=2))
        delivered = {MESSAGE_LEAF.decode(leaf).seq: leaf for leaves in fresh.leaves.values() for leaf in leaves}
        for seq in every_seq(told):
            leaf = check_testimony(fresh.say(seq, fresh.mailbox), ORIGIN, fresh.mailbox, seq)
            assert leaf == delivered.get(seq)


def exchange(liar: Liar, seq: bytes, *, skipped: int = 0, ours: bytes = ALICE, theirs: bytes = BOB) -> Verdict:
    """Both follow to the end, the second of them with a leap, and compare. Both builds of the proof convict alike."""
    one = Witness(ours).follow(liar, len(liar.epochs))
    other = Witness(theirs).follow(liar, len(liar.epochs) - 1 - skipped)
    other.take(liar.delta(theirs, other.follower.cursor))
    mine, yours = one.say(seq, theirs), other.say(seq, ours)
    proofs = [
        accuse_message(ORIGIN, mine, ours, yours, theirs, seq),
        accuse_message(ORIGIN, yours, theirs, mine, ours, seq),
    ]
    first, second = (verify_proof(proof, {ORIGIN}) for proof in proofs)
    assert (first.kind, first.accused, first.epoch) == (second.kind, second.accused, second.epoch)
    assert first.epoch == parse_seq(seq)[0]
    return first


def last_told(*placed: Placed) -> Liar:
    """In the last epoch bob is told this, to everybody's knowledge."""
    liar = tell_story()
    retell(liar, liar.told[BOB].upto(3).then(LAST, *placed))
    return liar


def placed(*texts: bytes, sender: str = "alice", first_ctr: int = 4, to: tuple[str, ...] = ("alice", "bob")) -> Placed:
    return Placed(letter(sender, first_ctr, *texts, to=to, own=8))


def test_a_message_that_is_missing_among_others() -> None:
    eight = Placed(letter("carol", 2, b"eight", to=("bob", "carol")), 2)
    for indexes, dropped in (((0,), 1), ((1,), 0)):
        liar = last_told(placed(b"six", b"seven")._replace(indexes=indexes), eight)
        assert exchange(liar, make_seq(LAST, 0, dropped)).kind == "Omission"
    for dropped in (0, 1):
        assert exchange(last_told(eight), make_seq(LAST, 0, dropped)).kind == "Omission"
    liar = last_told(placed(b"six", b"seven"))
    verdict = exchange(liar, make_seq(LAST, 0, 2), ours=CAROL)
    assert (verdict.kind, verdict.accused) == ("Omission", "provider")


def test_an_epoch_that_is_missing() -> None:
    """By the last state, and, when something came since, by the gap."""
    liar = tell_story()
    retell(liar, liar.told[BOB].upto(3))
    assert exchange(liar, make_seq(LAST, 0, 0)).kind == "Omission"
    liar.commit()
    assert exchange(liar, make_seq(LAST, 0, 1)).kind == "Omission"
    liar.commit(letter("alice", 6, b"nine"))
    assert exchange(liar, make_seq(LAST, 0, 1)).kind == "Omission"
    assert exchange(liar, make_seq(LAST, 0, 1), skipped=2).kind == "Omission"


def test_a_mailbox_that_never_begins() -> None:
    liar = tell_story()
    liar.commit(letter("alice", 6, b"nine", to=("alice", "dave")))
    del liar.told[DAVE]
    retell(liar)
    assert exchange(liar, make_seq(LAST + 1, 0, 0), theirs=DAVE).kind == "Omission"
    liar.commit(letter("alice", 7, b"ten", to=("alice", "dave")))
    assert exchange(liar, make_seq(LAST + 1, 0, 0), theirs=DAVE).kind == "Omission"


CHANGED: dict[str, tuple[Placed, str]] = {
    "payload": (placed(b"SIX", b"seven"), "env_hash, bundle_hash, payload_hash, ciphertexts_root"),
    "bundle": (placed(b"six", b"SEVEN"), "bundle_hash"),
    "counter": (placed(b"six", b"seven", first_ctr=5), "sender_ctr, env_hash, bundle_hash"),
    "recipients": (
        placed(b"six", b"seven", to=("alice", "bob", "dave")),
        "env_hash, bundle_hash, n_recipients, recipients_root, ciphertexts_root",
    ),
    "sender": (placed(b"six", sender="bob", first_ctr=2), "sender, sender_ctr, env_hash, bundle_hash"),
}


@pytest.mark.parametrize("name", CHANGED)
def test_another_message_in_its_place(name: str) -> None:
    """Each is signed by a device that plays along; only the provider need not."""
    other, differing = CHANGED[name]
    liar = last_told(other)
    liar.sets.update((one.root, one) for one in other.bundle.recipients)
    verdict = exchange(liar, make_seq(LAST, 0, 0))
    assert (verdict.kind, verdict.accused) == ("Conflict", "provider")
    assert verdict.detail.endswith(f"they differ in {differing}")


def test_another_message_for_others_in_its_place() -> None:
    """bob is not among the recipients of what alice has there; she may show it, once he has shown his."""
    liar = tell_story()
    secret: Bundle = letter("alice", 4, b"secret", to=("alice", "carol"))
    liar.sets.update((one.root, one) for one in secret.recipients)
    retell(liar, liar.told[ALICE].upto(3).then(LAST, Placed(secret)))
    seq = make_seq(LAST, 0, 0)
    alice, bob = Witness(ALICE).follow(liar, LAST + 1), Witness(BOB).follow(liar, LAST + 1)
    refused(alice, seq, "evidence-private", BOB)
    for_herself, theirs = alice.say(seq, ALICE), bob.say(seq, ALICE)
    assert verify_proof(accuse_message(ORIGIN, for_herself, ALICE, theirs, BOB, seq), {ORIGIN}).kind == "Conflict"


def test_what_proves_nothing() -> None:
    """A message that is not shown to be for both; one that both have, or lack; what one says of another's mailbox."""
    liar = last_told(Placed(letter("carol", 2, b"eight", to=("bob", "carol")), 2))
    alice, bob = Witness(ALICE).follow(liar, LAST + 1), Witness(BOB).follow(liar, LAST + 1)
    seq = make_seq(LAST, 0, 0)
    mine, yours = alice.say(seq, BOB), bob.say(seq, ALICE)
    first, later = make_seq(0, 0, 0), make_seq(LAST, 0, 9)
    attempts = [
        (mine._replace(recipient=None), ALICE, yours, BOB, seq),
        (mine._replace(recipient=alice.say(seq, ALICE).recipient), ALICE, yours, BOB, seq),
        (alice.say(first, BOB), ALICE, bob.say(first, ALICE), BOB, first),
        (alice.say(later, BOB), ALICE, bob.say(later, ALICE), BOB, later),
        (mine, ALICE, yours, ALICE, seq),
        (mine, BOB, yours, BOB, seq),
        (mine, ALICE, mine, ALICE, seq),
        (mine, ALICE, yours, BOB, first),
    ]
    for attempt in attempts:
        with pytest.raises(NotProven):
            accuse_message(ORIGIN, *attempt)
    with pytest.raises(NoiseError):
        accuse_message(OTHER_ORIGIN, mine, ALICE, yours, BOB, seq)
    assert verify_proof(accuse_message(ORIGIN, mine, ALICE, yours, BOB, seq), {ORIGIN}).kind == "Omission"
