"""What a witness keeps under each policy, what it can still show, and what it makes of peers' views in files."""

import pytest

from noise.protocol.errors import NoiseError
from noise.protocol.evidence.material import EvidenceUnavailable
from noise.protocol.evidence.testimony import TESTIMONY, check_testimony
from noise.protocol.gossip import ViewFrame
from noise.protocol.identifiers import make_seq
from noise_client.retention import Cumulative, Layered, Policy, Stability, Window
from noise_client.verdicts import FINE, Verdict
from tests.client.witnesses import POLICIES, Keeper, are_exposed, chat, converse, couple, forked, omit
from tests.protocol.liar import Liar, Lie
from tests.protocol.story import ALICE, BOB, letter
from tests.vectors.cast import ORIGIN

# What is forgotten


def stable_after(policy: Policy) -> tuple[Liar, Keeper, Keeper]:
    """Five epochs were compared, and four more came; then both forgot what they may forget."""
    liar = chat(5)
    alice, bob, carol = (Keeper(name, policy).follow(liar) for name in ("alice", "bob", "carol"))
    converse(alice, bob, carol)
    for number in range(4):
        liar.commit(letter("alice", 90 + number, b"%d" % number))
    for keeper in (alice, bob):
        keeper.follow(liar)
        keeper.witness.prune()
    return liar, alice, bob


@pytest.mark.parametrize(
    ("policy", "first_epoch"),
    [(Window(), 0), (Stability(), 4), (Layered(), 4), (Window(3), 6), (Layered(Window(2)), 7), (Cumulative(), 9)],
)
def test_evidence_inside_the_promise_stays_producible(policy: Policy, first_epoch: int) -> None:
    """And outside it we say so. A record that is kept still shows that nothing came in the epoch before it."""
    liar, alice, bob = stable_after(policy)
    for keeper, peer in ((alice, BOB), (bob, ALICE)):
        for epoch in range(len(liar.epochs)):
            seq = make_seq(epoch, 0, 0)
            if epoch >= first_epoch:
                said = TESTIMONY.decode(TESTIMONY.encode(keeper.witness.testify(seq, peer)))
                leaf = check_testimony(said, ORIGIN, keeper.id, seq)
                assert (leaf is not None) == (epoch != 4), "in the fifth epoch nothing was said"
                assert check_testimony(keeper.witness.testify(seq, keeper.id), ORIGIN, keeper.id, seq) == leaf
            else:
                with pytest.raises(EvidenceUnavailable) as dropped:
                    keeper.witness.testify(seq, peer)
                assert dropped.value.code == "evidence-dropped"


@pytest.mark.parametrize("policy", POLICIES)
def test_chains_are_still_compared_over_what_was_forgotten(policy: Policy) -> None:
    liar, alice, bob = stable_after(policy)
    converse(alice, bob)
    assert (alice.witness.judgement, bob.witness.judgement) == (FINE, FINE)
    assert alice.store.pair(BOB).matched_epoch == 8
    for keeper in (alice, bob):
        keeper.open()
    liar.commit(letter("alice", 200, b"lost"))
    omit(liar, "bob")
    liar.commit(letter("alice", 201, b"came"))
    alice.follow(liar)
    bob.follow(liar)
    converse(alice, bob)
    are_exposed("Omission", alice, bob)


@pytest.mark.parametrize("policy", [Stability(), Layered()])
def test_what_one_recipient_never_compared_is_kept(policy: Policy) -> None:
    liar = chat(5)
    alice, bob = couple(liar, policy)
    converse(alice, bob)
    alice.witness.prune()
    assert alice.store.base().size == 0, "carol has the first message, too, and never said how it stands"
    carol = Keeper("carol").follow(liar)
    converse(alice, carol)
    alice.witness.prune()
    assert alice.store.base().size == 4


def test_a_dispute_keeps_its_evidence() -> None:
    """As long as a peer's chain differs, nothing is forgotten: what it will ask for must be there."""
    liar = chat(3)
    liar.commit(letter("alice", 20, b"lost for bob"))
    omit(liar, "bob")
    alice, bob = couple(liar, Cumulative())
    alice.hear(BOB, ViewFrame(bob.witness.view(ALICE)))
    assert alice.verdict is Verdict.SUSPECTED
    alice.witness.prune()
    assert alice.store.base().size == 0
    converse(alice, bob)
    are_exposed("Omission", alice, bob)
    alice.witness.prune()
    assert alice.store.base().size == 4


def test_a_lie_about_what_was_forgotten_is_a_suspicion_that_says_why() -> None:
    liar = chat(3)
    liar.commit(letter("alice", 20, b"lost for bob"))
    omit(liar, "bob")
    liar.commit(letter("bob", 20, b"after it"))
    alice, bob = couple(liar, Window(1))
    for keeper in (alice, bob):
        keeper.witness.prune()
    converse(alice, bob)
    for keeper in (alice, bob):
        assert (keeper.verdict, keeper.reasons, keeper.kinds) == (Verdict.SUSPECTED, {"peer-differs"}, [])


def test_nothing_is_said_before_anything_is_verified() -> None:
    alice = Keeper("alice")
    assert alice.witness.view(BOB) == (None, ())
    with pytest.raises(EvidenceUnavailable) as unknown:
        alice.witness.testify(make_seq(0, 0, 0), BOB)
    assert unknown.value.code == "evidence-future"
    alice.witness.prune()
    alice.take(chat(1).delta(ALICE, lie=Lie(record={"statements_count": 2})))
    assert alice.refusals == ["statement-count"]


# Files


def exchange_files(*keepers: Keeper) -> None:
    """Each writes a view for the other and reads the other's, every time in a process of its own."""
    for writer, reader in (keepers, keepers[::-1]):
        writer.open()
        data = writer.witness.export(writer.device, reader.id)
        reader.open()
        assert reader.witness.hear_exported(data) == writer.id


def told_by_files(n_later: int) -> tuple[Keeper, Keeper]:
    """bob was never given a message, after which alice wrote some more; then they exchanged files."""
    liar = chat(3)
    liar.commit(letter("alice", 20, b"lost for bob"))
    omit(liar, "bob")
    for number in range(n_later):
        liar.commit(letter("alice", 21 + number, b"later"))
    alice, bob = couple(liar)
    for _ in range(3):
        exchange_files(alice, bob)
    return alice, bob


@pytest.mark.parametrize("n_later", [0, 5])
def test_a_lie_is_exposed_by_files_alone(n_later: int) -> None:
    """Whoever reads of the message that it lacks has the proof."""
    alice, bob = told_by_files(n_later)
    are_exposed("Omission", bob)
    assert alice.verdict in (Verdict.SUSPECTED, Verdict.EXPOSED)


@pytest.mark.parametrize("n_later", [0, 5, 30])
def test_a_lie_is_exposed_by_files_on_both_sides(n_later: int) -> None:
    """However much was said since: the next file brings what the last one disputed."""
    are_exposed("Omission", *told_by_files(n_later))


def test_honest_files_say_nothing_and_mark_what_is_compared() -> None:
    liar = chat(4)
    alice, bob = couple(liar)
    for _ in range(2):
        exchange_files(alice, bob)
    assert (alice.witness.judgement, bob.witness.judgement) == (FINE, FINE)
    assert alice.store.pair(BOB).matched_epoch == bob.store.pair(ALICE).matched_epoch == 3


def test_forked_logs_in_files_for_everybody() -> None:
    one, other = forked(3, 1)
    alice, bob = Keeper("alice").follow(one), Keeper("bob").follow(other)
    bob.witness.hear_exported(alice.witness.export(alice.device, None))
    are_exposed("LogFork", bob)


def test_files_that_are_not_for_us() -> None:
    liar = chat(4)
    alice, bob, carol = (Keeper(name).follow(liar) for name in ("alice", "bob", "carol"))
    view = alice.witness.export(alice.device, bob.id)
    for keeper, code in ((alice, "own-view"), (carol, "foreign-view")):
        with pytest.raises(NoiseError) as refused:
            keeper.witness.hear_exported(view)
        assert refused.value.code == code
    for damaged in (view[:-1], view[:-1] + b"\0", b""):
        with pytest.raises(NoiseError):
            bob.witness.hear_exported(damaged)
    assert bob.witness.judgement == FINE
