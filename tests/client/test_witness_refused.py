"""What becomes of a delta that was refused, and of proofs that keep coming: who is asked, who is told, how often.

Must not know: sockets. The stories are told by a `Liar`.
"""

from copy import deepcopy

import trio

from noise.protocol.envelope import Bundle
from noise.protocol.gossip import ProofFrame, StatementRequest, ViewFrame
from noise.protocol.prekeys import PrekeyOffer
from noise.protocol.sealing import PAYLOAD_DATA, PAYLOAD_GOSSIP
from noise_client.verdicts import Verdict
from tests.client.test_prekeys_queue import Queue
from tests.client.witnesses import Keeper, chat, converse, replace
from tests.protocol.liar import Liar, Placed
from tests.protocol.story import ALICE, BOB, letter
from tests.vectors.cast import device_of

CAROL = device_of("carol")


def spoiled(to: tuple[str, ...], *others: Bundle) -> Liar:
    """carol writes to alice and bob, behind others; bob is shown carol's message as if it were for others."""
    liar = chat(4)
    true = letter("carol", 20, b"yes", to=("alice", "bob", "carol"))
    liar.commit(*others, true)
    altered = letter("carol", 20, b"yes", to=to)
    altered.signature = true.signature
    replace(liar, "bob", *[Placed(other, i) for i, other in enumerate(others)], Placed(altered, len(others)))
    return liar


def test_a_peer_that_was_left_out_is_asked_all_the_same() -> None:
    """The list of recipients is the lie: alice, of whom it says nothing, has the message as it is."""
    liar = spoiled(("bob", "carol"))
    alice, bob = Keeper("alice").follow(liar), Keeper("bob").follow(liar)
    assert (bob.refusals, bob.verdict) == (["bad-signature"], Verdict.SUSPECTED)
    assert ALICE in [peer for peer, _ in bob.witness.take_outgoing()], "at once"
    converse(alice, bob)
    for keeper in (alice, bob):
        assert (keeper.verdict, keeper.kinds) == (Verdict.EXPOSED, ["Conflict"])


def test_an_honest_answer_about_a_refused_delta_is_no_nonsense() -> None:
    """alice has got the same as bob where nothing was altered: that must not end the link to her."""
    liar = spoiled(("alice", "bob", "carol", "dave"), letter("alice", 20, b"other", to=("alice", "bob")))
    alice, bob = Keeper("alice").follow(liar), Keeper("bob").follow(liar)
    asked = [frame for peer, frame in bob.witness.take_outgoing() if peer == ALICE]
    assert len(asked) == 2
    for frame in asked:
        assert isinstance(frame, StatementRequest)
        alice.witness.hear(BOB, frame)
    for peer, answer in alice.witness.take_outgoing():
        assert peer == BOB
        bob.witness.hear(ALICE, answer)
    assert bob.kinds == ["Conflict"]


def test_proofs_are_there_for_a_peer_that_was_away() -> None:
    liar = spoiled(("bob", "carol"))
    alice, bob = Keeper("alice").follow(liar), Keeper("bob").follow(liar)
    assert bob.witness.proof_frames() == []
    converse(alice, bob)
    [frame] = bob.witness.proof_frames()
    carol = Keeper("carol").follow(liar)
    carol.hear(BOB, frame)
    assert carol.kinds == ["Conflict"]


def test_a_lie_that_goes_on_is_told_once() -> None:
    """Telling makes epochs, and in a fork each is another proof."""
    one = chat(4)
    other = deepcopy(one)
    alice, bob = Keeper("alice"), Keeper("bob")
    told = []
    for number in range(5):
        for liar, text in ((one, b"one"), (other, b"other")):
            liar.commit(letter("alice", 50 + number, text))
        alice.follow(one)
        bob.follow(other)
        bob.hear(ALICE, ViewFrame(alice.witness.view(BOB)._replace(cuts=())))
        told += [peer for peer, frame in bob.witness.take_outgoing() if isinstance(frame, ProofFrame)]
    assert bob.kinds == ["LogFork"] * 5
    assert sorted(told) == sorted({ALICE, CAROL})


async def test_gossip_to_a_stranger_without_keys_does_not_hold_up_messages() -> None:
    queue = Queue(PrekeyOffer(None, None), keys_wait_s=1e6)
    with trio.fail_after(10):
        gossip = queue.outgoing.put_nowait([BOB], b"?", PAYLOAD_GOSSIP)
        message = queue.outgoing.put_nowait([CAROL], b"x", PAYLOAD_DATA)
        await queue.outgoing.store_new()
        await queue.accept(await queue.next())
        assert gossip.has_ended
        assert (await message.wait_receipt()).epoch == 1
