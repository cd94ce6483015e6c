"""Disputes with peers that lie, show nothing or send junk: they end, cost little, and accuse nobody."""

from collections.abc import Callable
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noise.protocol.dispute import (
    STRAYS_MAX,
    Contradiction,
    Difference,
    Dispute,
    DisputeState,
    PeerLied,
    Unavailable,
)
from noise.protocol.errors import NoiseError
from noise.protocol.gossip import (
    PAGE_ITEMS_MAX,
    GossipFrame,
    Reason,
    SectionFrame,
    SectionRequest,
    StatementFrame,
    StatementRequest,
)
from noise.protocol.pair_chain import ChainItem, Cut, PairChain, new_chain
from tests.protocol.disputants import (
    EMPTY,
    EXAMPLES,
    OTHER_HASH,
    STORY,
    Device,
    between,
    dispute_in,
    epoch_of,
    item,
    settle,
)
from tests.vectors.cast import device_of


class Lie(NamedTuple):
    why: str
    cut: Callable[[Cut], Cut]
    page: Callable[[SectionFrame], SectionFrame]


def same(value: SectionFrame) -> SectionFrame:
    return value


def resized(change: Callable[[tuple[ChainItem, ...]], tuple[ChainItem, ...]]) -> Callable[[SectionFrame], SectionFrame]:
    return lambda frame: frame._replace(items=change(frame.items))


LIES = [
    Lie("another head", lambda cut: cut._replace(head=OTHER_HASH), same),
    Lie("longer than it is", lambda cut: cut._replace(length=cut.length + 1), same),
    Lie("much longer than it is", lambda cut: cut._replace(length=2**64 - 1), same),
    Lie("shorter than it is", lambda cut: cut._replace(length=cut.length - 1), same),
    Lie("shorter than what matched", lambda cut: cut._replace(length=49), same),
    Lie("nothing at all", lambda cut: cut._replace(length=0), same),
    Lie("no items", lambda cut: cut._replace(head=OTHER_HASH), resized(lambda items: ())),
    Lie("an item fewer", lambda cut: cut, resized(lambda items: items[:-1])),
    Lie("an item more", lambda cut: cut, resized(lambda items: (*items, between(299)))),
    Lie("other items than its head says", lambda cut: cut, resized(lambda items: (*items[:-1], between(250)))),
    Lie("items out of order", lambda cut: cut, resized(lambda items: (*items[:5], items[6], items[5], *items[7:]))),
    Lie("an item twice", lambda cut: cut, resized(lambda items: (*items[:5], items[4], *items[6:]))),
    Lie("items of later epochs", lambda cut: cut, resized(lambda items: (*items[:-1], item(9000)))),
    Lie("items of epochs that matched", lambda cut: cut, resized(lambda items: (STORY[3], *items[1:]))),
]


@pytest.mark.parametrize("lie", LIES, ids=[lie.why for lie in LIES])
@pytest.mark.parametrize("size", [299, 300, 301])
def test_a_peer_that_contradicts_itself_is_not_believed(lie: Lie, size: int) -> None:
    """It ends at once, and blames nobody else. Our side has 300 messages, of which the first 100 matched."""
    ours, theirs = Device(STORY[:300]), Device(STORY[:size])
    matched, claimed = ours.cut(epoch_of(STORY[0])), lie.cut(theirs.cut())
    if claimed == ours.cut():
        claimed = claimed._replace(head=OTHER_HASH)

    def answer(question: GossipFrame) -> GossipFrame:
        frame = theirs.answer(question)
        return lie.page(frame) if isinstance(frame, SectionFrame) else frame

    dispute = ours.dispute(claimed, matched)
    assert settle(dispute, answer, rounds_max=3) <= 1
    assert isinstance(dispute.outcome, PeerLied), dispute.outcome


@pytest.mark.parametrize("cut", [Cut(11, 300, OTHER_HASH), Cut(12, 301, OTHER_HASH), Cut(13, 299, OTHER_HASH)])
def test_a_cut_cannot_take_back_what_matched(cut: Cut) -> None:
    """Neither the epochs of a match change nor the chain's length before it: there is nothing to ask."""
    ours = Device(STORY[:700])
    dispute = ours.dispute(cut, matched=ours.cut(12))
    assert dispute.question() is None
    assert isinstance(dispute.outcome, PeerLied)


ORDERS: dict[str, list[ChainItem]] = {
    "swapped": [*STORY[:150], STORY[151], STORY[150], *STORY[152:400]],
    "a message twice": [*STORY[:151], STORY[150], *STORY[151:400]],
    "a message twice across pages": [*STORY[:356], STORY[355], *STORY[356:400]],
    "from an epoch that matched": [*STORY[:100], between(99), *STORY[100:400]],
    "from an epoch after the cut": [*STORY[:400], item(400)],
    "from an epoch that never is": [*STORY[:400], ChainItem(bytes([255]) * 16, OTHER_HASH)],
}


@pytest.mark.parametrize("items", ORDERS.values(), ids=ORDERS)
def test_chains_that_no_follower_has_are_lies(items: list[ChainItem]) -> None:
    """Though they lead to the head that they claim. The first 100 messages matched; a page ends at 356."""
    ours = Device([*STORY[:399], between(398)])
    dispute = ours.dispute(EMPTY.extend(items).cut_at(13), matched=ours.cut(10))
    while (question := dispute.question()) is not None:
        assert isinstance(question, SectionRequest)
        first = question.after_length
        dispute.receive(SectionFrame(*question, Reason.NONE, tuple(items[first : first + PAGE_ITEMS_MAX])))
    assert isinstance(dispute.outcome, PeerLied)
    assert "order" in dispute.outcome.detail


def test_a_peer_with_endless_pages_costs_what_we_have() -> None:
    """It claims 2**64 - 1 messages. Pages that equal ours are paid for; the first other one ends the walk."""
    ours, endless = Device(STORY[:600]), [item(number) for number in range(5000)]
    dispute = ours.dispute(Cut(99, 2**64 - 1, OTHER_HASH))
    sent = []

    def answer(question: GossipFrame) -> GossipFrame:
        sent.append(question)
        if isinstance(question, SectionRequest):
            page = endless[question.after_length : question.after_length + PAGE_ITEMS_MAX]
            return SectionFrame(*question, Reason.NONE, tuple(page))
        assert isinstance(question, StatementRequest)
        return StatementFrame(*question, Reason.NONE, b"anything")

    settle(dispute, answer)
    assert [type(question) for question in sent] == [SectionRequest] * 3 + [StatementRequest]
    assert dispute.outcome == Contradiction(Difference(endless[600].seq, None, endless[600]), b"anything")


@pytest.mark.parametrize("number", [0, 1, 2, 3, 4, 255])
@pytest.mark.parametrize("state", [DisputeState.WALKING, DisputeState.ASKING])
def test_empty_answers_end_it(state: DisputeState, number: int) -> None:
    dispute = dispute_in(state)
    question = dispute.question()
    if isinstance(question, SectionRequest):
        dispute.receive(SectionFrame(*question, number, ()))
        if number == 0:
            assert isinstance(dispute.outcome, PeerLied), "an empty page without a reason"
            return
    else:
        assert question is not None
        dispute.receive(StatementFrame(*question, number, b""))
    assert isinstance(dispute.outcome, Unavailable)
    assert dispute.outcome.reason is {1: Reason.LATER, 2: Reason.FORGOTTEN}.get(number, Reason.UNWILLING)
    assert not dispute.outcome.is_ours


def test_a_reason_and_content_do_not_go_together() -> None:
    dispute = dispute_in(DisputeState.ASKING)
    question = dispute.question()
    assert question is not None
    dispute.receive(StatementFrame(*question, Reason.UNWILLING, b"but here it is"))
    assert isinstance(dispute.outcome, Unavailable)


@pytest.mark.parametrize("keep_from", [1, 300])
def test_what_we_dropped_ourselves_ends_it_and_accuses_nobody(keep_from: int) -> None:
    theirs = Device(STORY[:700])
    dispute = Device(STORY[:699], first_kept=keep_from).dispute(theirs.cut())
    settle(dispute, theirs.answer)
    assert isinstance(dispute.outcome, Unavailable)
    assert (dispute.outcome.reason, dispute.outcome.is_ours) == (Reason.FORGOTTEN, True)


def test_what_is_behind_the_match_may_be_dropped_on_both_sides() -> None:
    ours, theirs = Device(STORY[:699], first_kept=200), Device(STORY[:700], first_kept=200)
    dispute = ours.dispute(theirs.cut(), matched=ours.cut(11))
    settle(dispute, theirs.answer)
    assert isinstance(dispute.outcome, Contradiction)


def test_a_reader_that_returns_less_than_there_is() -> None:
    ours, theirs = Device(STORY[:300]), Device(STORY[:299])
    for read in (lambda after, count: ours.items[after : after + count - 1], lambda after, count: ()):
        dispute = Dispute(EMPTY, ours.cut(), theirs.cut(), read)
        settle(dispute, theirs.answer)
        assert isinstance(dispute.outcome, Unavailable)
        assert dispute.outcome.is_ours


def test_a_dispute_is_about_two_cuts_of_one_epoch() -> None:
    ours = Device(STORY[:300])
    for theirs in (ours.cut(11), ours.cut(12)._replace(epoch=13)):
        with pytest.raises(NoiseError):
            Dispute(EMPTY, ours.cut(12 if theirs.epoch == 13 else 11), theirs, ours.read)


@pytest.mark.parametrize("length", [0, 50, 300])
def test_our_own_cut_that_is_wrong_accuses_nobody(length: int) -> None:
    """A bug or a damaged store of ours, at the end of an honest peer's chain."""
    ours = Device(STORY[:300])
    wrong = Cut(99, length, OTHER_HASH)
    for matched in (None, ours.cut(11), ours.cut(12)):
        dispute = Dispute(EMPTY, wrong, ours.cut(), ours.read, matched=matched)
        settle(dispute, ours.answer)
        outcome = dispute.outcome
        assert isinstance(outcome, Unavailable | Contradiction)
        assert isinstance(outcome, Unavailable) is (length == 300 or matched == ours.cut(12))


@given(st.randoms(use_true_random=False), st.integers(1, 600))
@settings(max_examples=40)
def test_no_peer_breaks_it_or_keeps_it_alive(random: Random, size: int) -> None:
    """Anything that decodes, in any order: it ends, with an outcome, after at most so many frames as our data allow."""
    ours, theirs = Device(STORY[:300]), Device(STORY[:size])
    cut = random.choice(
        [theirs.cut(), ours.cut()._replace(head=OTHER_HASH), Cut(99, random.getrandbits(64), OTHER_HASH)]
    )
    if cut == ours.cut():
        return
    dispute = ours.dispute(cut, random.choice([None, ours.cut(10)]))
    strays = list(EXAMPLES.values())
    for _ in range(6 * (STRAYS_MAX + 1)):
        question = dispute.question()
        if question is None:
            assert dispute.outcome is not None
            return
        frame = theirs.answer(question) if random.random() < 0.1 else random.choice(strays)
        if isinstance(frame, SectionFrame) and random.random() < 0.5:
            frame = frame._replace(items=tuple(random.choices(STORY, k=random.randrange(PAGE_ITEMS_MAX + 1))))
        dispute.receive(frame)
    raise AssertionError("it is still alive")


def test_chains_of_another_pair_are_a_lie() -> None:
    """The same messages, hashed for other devices: a cut is of one pair."""
    ours = Device(STORY[:300])
    other: PairChain = new_chain(device_of("alice"), device_of("carol")).extend(STORY[:300])
    dispute = ours.dispute(other.cut_at(99))
    settle(dispute, ours.answer)
    assert isinstance(dispute.outcome, PeerLied)
