"""Peers that lie about an honest provider: whatever they say, it is a suspicion at most, and costs a bounded amount."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noise.protocol.errors import NoiseError
from noise.protocol.evidence.proof import verify_proof
from noise.protocol.evidence.testimony import TESTIMONY
from noise.protocol.gossip import (
    VIEW,
    GossipFrame,
    LogFrame,
    LogRequest,
    ProofFrame,
    SectionFrame,
    SectionRequest,
    StatementFrame,
    StatementRequest,
    View,
    ViewFrame,
    encode_gossip,
    parse_gossip,
)
from noise.protocol.identifiers import Role, make_seq
from noise.protocol.pair_chain import ChainItem, Cut, new_chain
from noise_client.device import Device
from noise_client.retention import Window
from noise_client.trust_store_memory import MemoryTrustStore
from noise_client.verdicts import FINE, Verdict
from noise_client.witness import Witness
from tests.client.witnesses import Keeper, chat, converse, forked, omit
from tests.protocol.liar import Liar, Lie
from tests.protocol.story import ALICE, BOB, letter
from tests.vectors.cast import LOG, ORIGIN, OTHER_ORIGIN, device_of, seed_of, signer_of

NOBODY = device_of("nobody")
ANSWERS_PER_MINUTE, DISPUTES_MAX = 256, 256


def alice_at(n_epochs: int = 4) -> Keeper:
    return Keeper("alice").follow(chat(n_epochs))


def said_to_bob(keeper: Keeper) -> list[GossipFrame]:
    return [frame for peer, frame in keeper.witness.take_outgoing() if peer == BOB]


def chain_with_a_lie(alice: Keeper, *items: ChainItem) -> tuple[list[ChainItem], Cut]:
    """bob's chain with more messages than there are, and a cut that it leads to."""
    invented = sorted([*alice.witness._pairs.chains.items(BOB)(0, 1000), *items])
    return invented, new_chain(ALICE, BOB).extend(invented).cut_at(3)


INVENTED = ChainItem(make_seq(3, 0, 700), b"x" * 32)


def lie_up_to_the_testimony(alice: Keeper) -> StatementRequest:
    """bob claims a message that nobody sent, consistently; what alice asks in the end."""
    items, cut = chain_with_a_lie(alice, INVENTED)
    alice.hear(BOB, ViewFrame(View(None, (cut,))))
    [request] = said_to_bob(alice)
    assert isinstance(request, SectionRequest)
    alice.hear(BOB, SectionFrame(*request, 0, tuple(items)))
    [asked] = said_to_bob(alice)
    assert isinstance(asked, StatementRequest) and asked.seq == INVENTED.seq
    return asked


@pytest.mark.parametrize(
    "cut",
    [Cut(3, 0, bytes(32)), Cut(3, 2**64 - 1, b"x" * 32), Cut(0, 2, b"x" * 32), Cut(3, 6, b"x" * 32)],
)
def test_a_false_cut_is_a_suspicion_until_a_true_one_comes(cut: Cut) -> None:
    alice, bob = alice_at(), Keeper("bob").follow(chat(4))
    alice.hear(BOB, ViewFrame(View(None, (cut,))))
    assert (alice.verdict, alice.reasons) == (Verdict.SUSPECTED, {"peer-differs"})
    alice.hear(BOB, ViewFrame(bob.witness.view(ALICE)))
    assert alice.witness.judgement == FINE


@pytest.mark.parametrize("epoch", [4, 2**63, 2**64 - 1])
def test_a_cut_of_an_epoch_that_never_was_waits_for_ever(epoch: int) -> None:
    alice = alice_at()
    alice.hear(BOB, ViewFrame(View(None, (Cut(epoch, 1, b"x" * 32),))))
    assert (alice.witness.judgement, said_to_bob(alice)) == (FINE, [])


@pytest.mark.parametrize("spoil", ["too few", "too many", "out of order", "another epoch", "another head", "nothing"])
def test_a_chain_that_contradicts_its_own_cut_clears_the_provider(spoil: str) -> None:
    alice = alice_at()
    items, cut = chain_with_a_lie(alice, INVENTED)
    alice.hear(BOB, ViewFrame(View(None, (cut,))))
    [request] = said_to_bob(alice)
    assert isinstance(request, SectionRequest) and alice.verdict is Verdict.SUSPECTED
    wrong = {
        "too few": items[:-1],
        "too many": [*items, ChainItem(make_seq(3, 0, 900), bytes(32))],
        "out of order": items[::-1],
        "another epoch": [*items[:-1], ChainItem(make_seq(4, 0, 0), bytes(32))],
        "another head": [*items[:-1], INVENTED._replace(env_hash=bytes(32))],
        "nothing": [],
    }[spoil]
    alice.hear(BOB, SectionFrame(*request, 0, tuple(wrong)))
    assert (alice.witness.judgement, alice.witness.questions()) == (FINE, [])


def other_words() -> dict[str, bytes]:
    """What bob can bring instead of the provider's word about a message that there is not."""
    liar = chat(4)
    bob, alice = (Keeper(name).follow(liar).witness for name in ("bob", "alice"))
    there, absent = bob.testify(make_seq(3, 0, 0), ALICE), bob.testify(INVENTED.seq, ALICE)
    return {
        "nothing": b"",
        "junk": b"\xff" * 90,
        "another message": TESTIMONY.encode(there),
        "another mailbox": TESTIMONY.encode(alice.testify(make_seq(3, 0, 0), BOB)),
        "that there is none": TESTIMONY.encode(absent),
        "without rosters": TESTIMONY.encode(there._replace(rosters=())),
        "the leaf of another seq": TESTIMONY.encode(
            there._replace(delivered=there.delivered._replace(place=1) if there.delivered else None)
        ),
    }


@pytest.mark.parametrize("name", other_words())
def test_a_consistent_lie_has_nothing_to_show(name: str) -> None:
    alice = alice_at()
    asked = lie_up_to_the_testimony(alice)
    alice.hear(BOB, StatementFrame(*asked, 0, other_words()[name]))
    assert (alice.verdict, alice.reasons, alice.kinds) == (Verdict.SUSPECTED, {"peer-differs"}, [])
    assert alice.witness.questions() == [], "it is over"


@pytest.mark.parametrize("reason", [1, 2, 3, 77])
def test_a_liar_that_will_not_show_anything(reason: int) -> None:
    alice = alice_at()
    alice.hear(BOB, StatementFrame(*lie_up_to_the_testimony(alice), reason, b""))
    assert (alice.verdict, alice.kinds, alice.witness.questions()) == (Verdict.SUSPECTED, [], [])


def real_proof() -> bytes:
    liar = chat(3)
    omit(liar, "bob")
    alice, bob = (Keeper(name).follow(liar) for name in ("alice", "bob"))
    converse(alice, bob)
    return alice.store.proofs()[0].proof


def test_proofs_that_prove_nothing_here() -> None:
    """Damaged ones, and one about another provider, brought to a device that follows that one."""
    proof = real_proof()
    alice, random = alice_at(), Random(7)
    for _ in range(200):
        at = random.randrange(len(proof))
        damaged = proof[:at] + bytes([proof[at] ^ random.randint(1, 255)]) + proof[at + 1 :]
        with pytest.raises(NoiseError):
            alice.witness.hear(BOB, ProofFrame(damaged))
    for junk in (b"", proof[:-1], proof + b"\0"):
        with pytest.raises(NoiseError):
            alice.witness.hear(BOB, ProofFrame(junk))
    device = Device(seed_of("dave"))
    elsewhere = Witness(
        MemoryTrustStore(device), device.device_id, OTHER_ORIGIN, alice.follower.trusted, Window(), time_ms=lambda: 0
    )
    with pytest.raises(NoiseError):
        elsewhere.hear(BOB, ProofFrame(proof))
    assert (alice.witness.judgement, elsewhere.judgement) == (FINE, FINE)


def test_a_true_proof_convicts_whoever_brings_it() -> None:
    alice, proof = alice_at(), real_proof()
    for _ in range(2):
        alice.hear(NOBODY, ProofFrame(proof))
    assert (alice.verdict, len(alice.store.proofs())) == (Verdict.EXPOSED, 1)
    assert verify_proof(alice.store.proofs()[0].proof, [ORIGIN]).kind == "Omission"


def test_answers_to_what_nobody_asked() -> None:
    alice, testimony = alice_at(), other_words()["another message"]
    for frame in (
        SectionFrame(0, 3, 0, 0, (INVENTED,)),
        StatementFrame(0, INVENTED.seq, 0, testimony),
        StatementFrame(9, make_seq(3, 0, 0), 0, testimony),
        LogFrame(0, 3, 0, b""),
        LogFrame(0, 3, 1, b""),
        LogFrame(0, 3, 0, b"junk"),
    ):
        alice.hear(BOB, frame)
        assert (alice.witness.judgement, alice.witness.take_outgoing()) == (FINE, []), frame


def test_checkpoints_that_the_log_never_signed() -> None:
    alice = alice_at()
    true = alice.witness.view(BOB).checkpoint
    assert true is not None
    for wrong in (
        true._replace(root=bytes(32)),
        true._replace(size=true.size - 1),
        true._replace(signature=bytes(64)),
    ):
        with pytest.raises(NoiseError):
            alice.witness.hear(BOB, ViewFrame(View(wrong, ())))
        alice.witness.hear_view(BOB, VIEW.encode(View(wrong, ())))
    assert (alice.witness.judgement, alice.witness.take_lookups()) == (FINE, [])


NEW_LOG = signer_of("log, second")
CHANGE = 3
"""The epoch from which on the log has another key."""


def rotated(n_epochs: int = 5) -> Liar:
    """A provider whose log has a new key from epoch CHANGE on."""
    liar = chat(CHANGE)
    roster = liar.next_roster()
    entries = [e._replace(key=NEW_LOG.public_key) if e.actor[0] == Role.LOG else e for e in roster.actors]
    liar.change_roster(roster._replace(actors=tuple(entries)))
    for number in range(CHANGE, n_epochs):
        liar.commit(letter("alice", 50 + number, b"under the new key"))
    return liar


def follow_rotated(keeper: Keeper, liar: Liar, n_epochs: int) -> Keeper:
    for number in range(keeper.follower.trusted.log.size, n_epochs):
        signer, n_rosters = (LOG, 1) if number < CHANGE else (NEW_LOG, 2)
        cursor = keeper.follower.cursor
        lie = Lie(log_signer=signer, rosters=liar.rosters[cursor.roster_version : n_rosters])
        keeper.take(liar.delta(keeper.id, cursor, number=number, lie=lie))
    assert not keeper.refusals
    return keeper


def test_a_checkpoint_under_a_log_key_that_we_do_not_know_yet_waits() -> None:
    """bob is ahead, beyond a rotation: what he says is no nonsense, and it is compared as soon as we are there."""
    liar, fork = rotated(), rotated(CHANGE)
    fork.commit(letter("carol", 9, b"a note to myself", to=("carol",)))
    for said, kinds in ((liar, []), (fork, ["LogFork"])):
        alice = follow_rotated(Keeper("alice"), liar, CHANGE)
        bob = follow_rotated(Keeper("bob"), said, CHANGE + 1)
        alice.witness.hear(BOB, ViewFrame(bob.witness.view(ALICE)))
        assert (alice.witness.judgement, alice.witness.take_lookups()) == (FINE, [])
        follow_rotated(alice, liar, CHANGE + 1)
        assert alice.kinds == kinds


def test_a_checkpoint_from_before_we_came_says_nothing() -> None:
    """dave got the newest roster alone: he cannot know with which key the log was signed before."""
    liar = rotated()
    bob = follow_rotated(Keeper("bob"), liar, CHANGE)
    dave = Keeper("dave")
    dave.take(liar.delta(dave.id, dave.follower.cursor, lie=Lie(log_signer=NEW_LOG, rosters=liar.rosters[-1:])))
    assert dave.follower.trusted.log.size == len(liar.epochs) and not dave.refusals
    view = bob.witness.view(dave.id)
    dave.witness.hear(BOB, ViewFrame(view))
    assert (dave.witness.judgement, dave.witness.take_lookups()) == (FINE, [])
    assert view.checkpoint is not None
    with pytest.raises(NoiseError):
        dave.witness.hear(BOB, ViewFrame(View(view.checkpoint._replace(size=CHANGE + 1), ())))


def test_strangers_with_invented_checkpoints_cost_a_bounded_amount_and_displace_nobody() -> None:
    """Any bytes may be a checkpoint of a log key to come; those that are signed do not wait among them."""
    one, other = forked(3, 1)
    alice, bob = Keeper("alice").follow(one, 3), Keeper("bob").follow(other)
    alice.hear(BOB, ViewFrame(bob.witness.view(ALICE)))
    true = alice.witness.view(BOB).checkpoint
    assert true is not None
    for number in range(600):
        alice.witness.hear(device_of(f"liar {number}"), ViewFrame(View(true._replace(size=4 + number % 2), ())))
    assert len(alice.witness._logs._unverified) <= 256
    alice.follow(one)
    assert alice.kinds == ["LogFork"]
    assert {checkpoint.size for checkpoint in alice.witness._logs._unverified.values()} == {5}


def test_a_view_in_a_message_that_makes_no_sense() -> None:
    alice = alice_at()
    for junk in (b"", b"\xff", b"\0" * 300):
        alice.witness.hear_view(BOB, junk)
    alice.witness.hear_view(ALICE, VIEW.encode(View(None, (Cut(3, 1, b"x" * 32),))))
    assert alice.witness.judgement == FINE, "nor does what seems to come from ourselves"


def test_so_many_answers_for_each_peer_in_a_minute() -> None:
    liar = chat(5)
    alice = Keeper("alice").follow(liar, 4)
    questions = (SectionRequest(1, 3, 0), StatementRequest(2, make_seq(3, 0, 0)), LogRequest(3, 3))
    for number in range(2 * ANSWERS_PER_MINUTE):
        alice.hear(BOB, questions[number % 3])
    assert len(said_to_bob(alice)) == ANSWERS_PER_MINUTE
    alice.hear(NOBODY, questions[0])
    assert len(alice.witness.take_outgoing()) == 1, "others are answered as before"
    alice.follow(liar)
    alice.hear(BOB, questions[1])
    assert said_to_bob(alice) == [], "an epoch is soon made: a stranger's message makes one"
    alice.now_ms += 60_000
    alice.hear(BOB, questions[1])
    assert len(said_to_bob(alice)) == 1


def test_a_message_for_others_is_not_shown() -> None:
    """carol has the first message; what alice and bob wrote to each other is none of her business, and neither is that
    there is nothing at a seq: the neighbours would be shown with it."""
    alice = alice_at()
    for seq, is_shown in ((make_seq(0, 0, 0), True), (make_seq(1, 0, 0), False), (make_seq(1, 0, 9), False)):
        alice.hear(device_of("carol"), StatementRequest(0, seq))
        [(_, answer)] = alice.witness.take_outgoing()
        assert isinstance(answer, StatementFrame)
        assert bool(answer.testimony) is is_shown


def test_any_number_of_liars_costs_a_bounded_amount() -> None:
    alice, false = alice_at(), ViewFrame(View(None, (Cut(3, 5, b"x" * 32), Cut(9, 5, b"x" * 32))))
    for number in range(600):
        alice.hear(device_of(f"liar {number}"), false)
    assert len(alice.witness.questions()) == DISPUTES_MAX
    assert len(alice.witness._pairs._later) <= 256
    for _ in range(3):
        for number in range(600):
            alice.hear(device_of(f"liar {number}"), false)
    assert len(alice.witness.take_outgoing()) <= 1024
    assert (alice.verdict, alice.kinds) == (Verdict.SUSPECTED, [])


def test_a_false_cut_does_not_delay_the_truth_from_others() -> None:
    liar = chat(4)
    omit(liar, "bob")
    alice, bob, carol = (Keeper(name).follow(liar) for name in ("alice", "bob", "carol"))
    for number in range(40):
        alice.hear(device_of(f"liar {number}"), ViewFrame(View(None, (Cut(3, 5, b"x" * 32),))))
    alice.witness.take_outgoing()
    converse(alice, bob, carol)
    assert (alice.kinds, bob.kinds) == (["Omission"], ["Omission"])


@settings(max_examples=40)
@given(st.integers(0, 2**32))
def test_no_peer_that_changes_what_is_said_convicts_an_honest_provider(seed: int) -> None:
    """bob is honest, and mallory changes a byte here and there in whatever goes between him and alice."""
    random = Random(seed)

    def spoil(sender: bytes, recipient: bytes, frame: GossipFrame) -> list[GossipFrame]:
        data = bytearray(encode_gossip(frame))
        for _ in range(random.choice((0, 1, 1, 3))):
            data[random.randrange(1, len(data))] ^= 1 << random.randrange(8)
        try:
            return [parse_gossip(bytes(data))]
        except NoiseError:
            return []

    liar = chat(4)
    alice, bob = Keeper("alice").follow(liar, 3), Keeper("bob").follow(liar)
    converse(alice, bob, random=random, change=spoil)
    alice.follow(liar)
    converse(alice, bob, random=random, change=spoil)
    for keeper in (alice, bob):
        assert keeper.verdict is not Verdict.EXPOSED and keeper.kinds == []
    converse(alice, bob)
    assert (alice.witness.judgement, bob.witness.judgement) == (FINE, FINE)


def test_a_liar_that_never_answers_does_not_lift_the_cap() -> None:
    """A window is a cap on space, whatever peers do."""
    liar = chat(4)
    alice = Keeper("alice", Window(2)).follow(liar)
    alice.hear(BOB, ViewFrame(View(None, (Cut(3, 5, b"x" * 32),))))
    for number in range(3):
        liar.commit(letter("alice", 60 + number, b"more"))
    alice.follow(liar)
    alice.witness.prune()
    assert alice.store.base().size > 0
