"""Pair chains and cuts: the same on both sides, different after any difference, and never compared too early."""

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noise.protocol.errors import DecodeError
from noise.protocol.identifiers import NO_EPOCH, make_seq
from noise.protocol.pair_chain import ChainItem, Comparison, Cut, KnownCuts, PairChain, compare, new_chain
from tests.vectors.cast import device_of, filler
from tests.vectors.make_pair_chain import compared, grow

ALICE, BOB, CAROL = device_of("alice"), device_of("bob"), device_of("carol")

Story = dict[int, list[ChainItem]]
"""Epoch to the messages that both received in it."""

epochs_of_messages = st.dictionaries(st.integers(0, 12), st.integers(1, 4), max_size=8)


def story_of(counts: dict[int, int]) -> Story:
    return {
        epoch: [ChainItem(make_seq(epoch, 0, pos), filler(f"{epoch} {pos}", 32)) for pos in range(count)]
        for epoch, count in counts.items()
    }


def known_of(story: Story, next_epoch: int, first_epoch: int = 0) -> KnownCuts:
    """What one who verified epochs before `next_epoch`, and keeps those from `first_epoch` on, knows."""
    chain = new_chain(ALICE, BOB)
    steps: list[Cut] = []
    for epoch in sorted(epoch for epoch in story if epoch < next_epoch):
        chain = chain.extend(story[epoch])
        steps.append(chain.cut_at(epoch))
    forgotten = [step for step in steps if step.epoch <= first_epoch]
    base = forgotten[-1] if forgotten else new_chain(ALICE, BOB).cut_at(0)
    return KnownCuts(base._replace(epoch=first_epoch), steps[len(forgotten) :], next_epoch)


def newest(known: KnownCuts) -> Cut:
    cut = known.at(known.next_epoch - 1)
    assert isinstance(cut, Cut)
    return cut


def test_heads_by_hand() -> None:
    tag = sha256(b"noise-seq/1/h/pair").digest()
    pair = min(ALICE, BOB) + max(ALICE, BOB)
    seq, env_hash = make_seq(7, 1, 2), filler("env", 32)
    empty = sha256(tag + pair).digest()
    assert new_chain(ALICE, BOB) == PairChain(pair, 0, empty)
    first = sha256(tag + empty + pair + seq + env_hash).digest()
    assert new_chain(ALICE, BOB).append(seq, env_hash) == PairChain(pair, 1, first)


def test_both_sides_have_one_chain_and_no_other_pair_has_it() -> None:
    item = ChainItem(make_seq(1, 0, 0), filler("env", 32))
    assert new_chain(ALICE, BOB).extend([item]) == new_chain(BOB, ALICE).append(*item)
    heads = {new_chain(ALICE, other).append(*item).head for other in (BOB, CAROL)}
    heads |= {new_chain(BOB, CAROL).append(*item).head, *(new_chain(*p).head for p in ((ALICE, BOB), (ALICE, CAROL)))}
    assert len(heads) == 5


def test_a_chain_is_a_value() -> None:
    chain = new_chain(ALICE, BOB)
    longer = chain.append(make_seq(1, 0, 0), filler("env", 32))
    assert (chain.length, longer.length) == (0, 1)
    assert chain == new_chain(ALICE, BOB)
    assert longer.cut_at(5) == Cut(5, 1, longer.head)


@pytest.mark.parametrize(
    ("one", "other"),
    [(ALICE, ALICE), (ALICE[:31], BOB), (ALICE, BOB + b"\0"), (ALICE[:31], ALICE[31:] + BOB), (b"", ALICE + BOB)],
)
def test_a_pair_is_two_whole_ids(one: bytes, other: bytes) -> None:
    """Nothing moves between the two: ids without a length must have one."""
    with pytest.raises(DecodeError):
        new_chain(one, other)


def test_nothing_moves_between_seq_and_hash() -> None:
    seq, env_hash = make_seq(1, 0, 0), filler("env", 32)
    for wrong in ((seq + env_hash[:1], env_hash[1:]), (seq[:15], seq[15:] + env_hash), (b"", env_hash), (seq, b"")):
        with pytest.raises(DecodeError):
            new_chain(ALICE, BOB).append(*wrong)


def test_order_and_content_count() -> None:
    one, two = (ChainItem(make_seq(1, 0, pos), filler(f"env {pos}", 32)) for pos in range(2))
    swapped = [one._replace(env_hash=two.env_hash), two._replace(env_hash=one.env_hash)]
    chains = [[one, two], [two, one], swapped, [one], [two], [one, one], []]
    assert len({new_chain(ALICE, BOB).extend(items).head for items in chains}) == len(chains)


@given(epochs_of_messages, st.integers(0, 14), st.integers(0, 14), st.integers(0, 14), st.integers(0, 14))
@settings(max_examples=150)
def test_messages_under_way_are_no_difference(
    counts: dict[int, int], ours: int, theirs: int, our_first: int, cut_epoch: int
) -> None:
    """Whoever is ahead, whatever is forgotten, and at whatever epoch: one story never differs from itself."""
    story = story_of(counts)
    own, peer = known_of(story, ours, min(our_first, ours)), known_of(story, theirs)
    cut = peer.at(cut_epoch)
    if isinstance(cut, Comparison):
        assert cut is Comparison.LATER, "nothing is said of epochs that are not verified"
        assert cut_epoch >= theirs
        return
    expected = Comparison.MATCH
    if cut_epoch >= ours:
        expected = Comparison.LATER
    elif cut_epoch < our_first:
        expected = Comparison.FORGOTTEN
    assert compare(own, cut) is expected


@given(epochs_of_messages.filter(bool), st.data())
@settings(max_examples=150)
def test_a_difference_is_seen_from_its_epoch_on(counts: dict[int, int], data: st.DataObject) -> None:
    """And never before it: earlier cuts still match."""
    story = story_of(counts)
    at = data.draw(st.sampled_from(sorted(story)))
    pos = data.draw(st.integers(0, len(story[at]) - 1))
    changes = {
        "dropped": [*story[at][:pos], *story[at][pos + 1 :]],
        "changed": [*story[at][:pos], story[at][pos]._replace(env_hash=filler("other", 32)), *story[at][pos + 1 :]],
        "inserted": [*story[at], ChainItem(make_seq(at, 3, 0), filler("inserted", 32))],
        "twice": [*story[at], story[at][-1]],
    }
    other = story | {at: changes[data.draw(st.sampled_from(sorted(changes)))]}
    own, peer = known_of(story, 14), known_of(other, 14)
    for epoch in range(14):
        cut = peer.at(epoch)
        assert isinstance(cut, Cut)
        assert compare(own, cut) is (Comparison.DIFFERS if epoch >= at else Comparison.MATCH)


def test_a_message_in_another_epoch_is_a_difference_between_the_two() -> None:
    """The chain is equal in the end; a cut tells when it became so."""
    chain = new_chain(ALICE, BOB).append(make_seq(5, 0, 0), filler("env", 32))
    early = KnownCuts(new_chain(ALICE, BOB).cut_at(0), [chain.cut_at(5)], 10)
    late = KnownCuts(new_chain(ALICE, BOB).cut_at(0), [chain.cut_at(7)], 10)
    answers = [compare(early, cut) for epoch in range(4, 9) if isinstance(cut := late.at(epoch), Cut)]
    assert [answer is Comparison.MATCH for answer in answers] == [True, False, False, True, True]


def test_nothing_verified_compares_nothing() -> None:
    nothing = KnownCuts(new_chain(ALICE, BOB).cut_at(0), (), 0)
    for epoch in (0, 1, NO_EPOCH):
        assert nothing.at(epoch) is Comparison.LATER
        assert compare(nothing, new_chain(ALICE, BOB).cut_at(epoch)) is Comparison.LATER
    everything = nothing._replace(next_epoch=NO_EPOCH)
    assert compare(everything, new_chain(ALICE, BOB).cut_at(NO_EPOCH)) is Comparison.LATER, "it is never verified"


@pytest.mark.parametrize(("why", "own", "cut"), compared(), ids=[why for why, _, _ in compared()])
def test_the_vectors_say_what_their_names_say(why: str, own: KnownCuts, cut: Cut) -> None:
    matching = {"before any", "at a step", "between", "the newest", "at the first", "after the first"}
    expected = Comparison.MATCH if why.startswith(tuple(matching)) else Comparison.DIFFERS
    if why.startswith("an epoch"):
        expected = Comparison.LATER
    assert compare(own, cut) is (Comparison.FORGOTTEN if why == "forgotten" else expected)


def test_what_is_known_answers_with_the_epoch_that_was_asked() -> None:
    _, items, known = grow()
    assert newest(known) == known.steps[-1]._replace(epoch=known.next_epoch - 1)
    assert newest(known).length == len(items)
