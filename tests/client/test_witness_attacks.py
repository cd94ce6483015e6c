"""Attacks on a witness that worked once: by a provider that chooses its moments, and by peers that are made up.

Must not know: how a witness answers them.
"""

import pytest

from noise.protocol.evidence.openings import LOG_OPENING
from noise.protocol.gossip import GossipFrame, LogFrame, View, ViewFrame
from noise.protocol.pair_chain import Cut
from noise_client.evidence_store import NOTES_MAX, KeptNote
from noise_client.verdicts import REASONS_MAX, Verdict
from noise_client.witness import LogWatch
from tests.client.witnesses import Keeper, chat, converse, omit
from tests.protocol.evidence.materials import sequence
from tests.protocol.liar import Liar
from tests.protocol.story import letter
from tests.vectors.cast import ORIGIN, device_of

FALSE_VIEW = ViewFrame(View(None, (Cut(3, 9, b"x" * 32),)))


def test_a_receipt_is_not_settled_in_the_middle_of_catching_up() -> None:
    """The provider chooses where a page ends: there, nothing can be proven yet, and nothing may be given up."""
    sent, liar = letter("alice", 1, b"mine"), Liar()
    liar.commit(letter("bob", 1, b"hello"))
    liar.commit(sent)
    omit(liar, "alice")
    omit(liar, "bob")
    for number in range(4):
        liar.commit(letter("bob", 2 + number, b"later"))
    alice = Keeper("alice").follow(liar, 1)
    alice.witness.note_receipt(sent, sequence(1, [sent])[1][0])
    while alice.follower.cursor.hist_next < len(liar.told[alice.id].entries):
        alice.skip_to(liar, records_max=1)
    assert (alice.kinds, alice.store.receipts()) == (["Omission"], [])


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_receipt_that_is_held_back_until_all_is_forgotten(is_restarted: bool) -> None:
    """Everything else is compared, and could be forgotten, while a bundle waits for its answer: also over a restart."""
    sent, liar = letter("alice", 1, b"mine"), Liar()
    liar.commit(letter("bob", 1, b"first"))
    alice = Keeper("alice").follow(liar)
    alice.store.freeze(sent.encode(), 2)
    alice.witness.note_sent()
    liar.commit(sent)
    omit(liar, "alice")
    omit(liar, "bob")
    for number in range(300):
        liar.commit(letter("bob", 2 + number, b"later"))
    converse(alice.follow(liar), Keeper("bob").follow(liar))
    if is_restarted:
        alice.open()
        alice.witness.note_sent()
    alice.witness.prune()
    alice.witness.note_receipt(sent, sequence(1, [sent])[1][0])
    assert alice.kinds == ["Omission"]


def test_devices_that_are_made_up_do_not_evict_a_dispute() -> None:
    liar = chat(4)
    omit(liar, "bob")
    alice, bob = Keeper("alice").follow(liar), Keeper("bob").follow(liar)
    liars = [device_of(f"made up {number}") for number in range(40)]
    todo: list[tuple[Keeper, Keeper, GossipFrame]] = []
    for _ in range(8):
        bob.witness.hear_view(alice.id, alice.witness.encoded_view(bob.id))
        alice.witness.hear_view(bob.id, bob.witness.encoded_view(alice.id))
        for sender, reader, frame in todo:
            reader.hear(sender.id, frame)
        for keeper in (alice, bob):
            for liar_id in liars:
                keeper.hear(liar_id, FALSE_VIEW)
        pairs = ((alice, bob), (bob, alice))
        todo = [(k, o, f) for k, o in pairs for p, f in k.witness.take_outgoing() if p == o.id]
    assert (alice.kinds, bob.kinds) == (["Omission"], ["Omission"])
    assert len(alice.witness.judgement.reasons) <= 2 * REASONS_MAX


def test_two_clients_that_cannot_explain_a_difference_do_not_talk_for_ever() -> None:
    """In band each frame is a message that carries a view: a question for every view would never end."""
    liar = chat(4)
    omit(liar, "bob")
    alice, bob = Keeper("alice").follow(liar), Keeper("bob").follow(liar)
    bob.witness.testify = alice.witness.testify = lambda *_: pytest.fail("never asked")  # type: ignore[method-assign]
    n_said = 0
    for _ in range(40):
        for keeper, other in ((alice, bob), (bob, alice)):
            keeper.witness.hear_view(other.id, other.witness.encoded_view(keeper.id))
            n_said += len(keeper.witness.take_outgoing())
    assert n_said <= 4


def test_an_opening_that_was_not_asked_for_costs_nothing_and_says_nothing() -> None:
    liar = chat(4)
    alice = Keeper("alice").follow(liar)
    foreign = chat(3)
    foreign.commit(letter("bob", 90, b"another log"))
    forged = Keeper("bob").follow(foreign).witness.openings()[0]
    alice.hear(device_of("bob"), LogFrame(0, 3, 0, LOG_OPENING.encode(forged)))
    assert (alice.verdict, alice.kinds) == (Verdict.OK, []), "whoever wants it compared sends a view"


def test_one_look_up_for_a_peer_at_a_time() -> None:
    liar = chat(60)
    alice, bob = Keeper("alice"), Keeper("bob").follow(liar, 7)
    alice.skip_to(liar)
    view = bob.witness.encoded_view(alice.id)
    for _ in range(100):
        alice.witness.hear_view(bob.id, view)
    assert len(alice.witness.take_lookups()) == 1


def test_distinguished_checkpoints_are_not_pushed_out_by_others() -> None:
    alice = Keeper("alice").follow(chat(2))
    encoded = LOG_OPENING.encode(alice.witness.openings()[0])
    watch = LogWatch(alice.store, ORIGIN, lambda: 0)
    watch.note_step(alice.follower.trusted, [KeptNote(256, encoded, True)])
    notes = [KeptNote(size, encoded, False) for size in range(257, 257 + 2 * NOTES_MAX + 2)]
    watch.note_step(alice.follower.trusted, notes)
    assert 256 in watch._kept[True]
    assert len(watch._kept[False]) == NOTES_MAX


def test_a_receipt_for_an_epoch_that_never_comes_is_suspicious() -> None:
    sent = letter("alice", 1, b"mine")
    alice = Keeper("alice").follow(chat(2))
    alice.witness.note_receipt(sent, sequence(2**62, [sent])[1][0])
    assert (alice.verdict, alice.reasons) == (Verdict.SUSPECTED, {"receipt-far"})
