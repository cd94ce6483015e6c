"""Disputes: the first difference is found, over any carrier, against any peer, at a cost that our own data bounds."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noise.protocol.dispute import (
    ANSWERS,
    STRAYS_MAX,
    Contradiction,
    Difference,
    Dispute,
    DisputeState,
    Unavailable,
)
from noise.protocol.exported_view import ExportedSection, SharedTestimony, answer_from_view
from noise.protocol.gossip import (
    PAGE_ITEMS_MAX,
    GossipFrame,
    Reason,
    SectionFrame,
    SectionRequest,
    StatementFrame,
    StatementRequest,
    encode_gossip,
    parse_gossip,
)
from noise.protocol.pair_chain import Comparison, compare
from tests.protocol.disputants import (
    EXAMPLES,
    STORY,
    Device,
    changed,
    dispute_in,
    epoch_of,
    settle,
    true_difference,
)
from tests.vectors.cast import device_of

CHANGES = ("drop", "end", "insert", "change", "move", "swap")
SIZES = [1, 2, 100, 255, 256, 257, 300, 511, 512, 513, 700]
changes = st.lists(st.tuples(st.sampled_from(CHANGES), st.integers(0, 2**16)), min_size=1, max_size=3)


@given(st.sampled_from(SIZES), changes, st.booleans(), st.integers(8, 20), st.booleans())
@settings(max_examples=120)
def test_the_first_difference_is_found(
    size: int, todo: list[tuple[str, int]], we_are_lied_to: bool, cut_epoch: int, remember: bool
) -> None:
    """Wherever it is, whatever it is, whichever side has the true story, with or without an earlier match."""
    honest, lied_to = STORY[:size], STORY[:size]
    for change, number in todo:
        lied_to = changed(lied_to, change, number) if lied_to else lied_to
    lied_to = sorted({i.seq: i for i in lied_to}.values())  # what a follower lets through is in order
    ours, theirs = Device(lied_to if we_are_lied_to else honest), Device(honest if we_are_lied_to else lied_to)
    expected = true_difference(ours.items, theirs.items, cut_epoch)
    if compare(ours.known(), theirs.cut(cut_epoch)) is Comparison.MATCH:
        assert expected is None
        return
    assert expected is not None
    matched = None
    if remember:
        epochs = [e for e in range(8, cut_epoch) if compare(ours.known(), theirs.cut(e)) is Comparison.MATCH]
        matched = ours.cut(epochs[-1]) if epochs else None
    dispute = ours.dispute(theirs.cut(cut_epoch), matched)
    n_rounds = settle(dispute, theirs.answer)
    assert dispute.outcome == Contradiction(expected, b"absent" if expected.theirs is None else b"delivered")
    assert dispute.difference == expected
    assert n_rounds <= len(ours.items) // PAGE_ITEMS_MAX + 2


# --- carriers ---


class Carrier:
    """Loses, repeats and reorders frames, some of them for a very long time."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.under_way: list[bytes] = []

    def send(self, frame: GossipFrame) -> None:
        copies = self.random.choice((0, 1, 1, 2, 3))
        self.under_way += [encode_gossip(frame)] * copies

    def arrive(self) -> list[GossipFrame]:
        self.random.shuffle(self.under_way)
        now = self.random.randrange(len(self.under_way) + 1)
        arrived, self.under_way = self.under_way[:now], self.under_way[now:]
        return [parse_gossip(data) for data in arrived]


@pytest.mark.parametrize("seed", range(12))
def test_both_sides_at_once_over_a_careless_carrier(seed: int) -> None:
    """With different cuts, lost, repeated, late and reordered frames, and starts from scratch with the same numbers:
    both end with the one message at which the stories part, each with the other's word for it."""
    random = Random(seed)
    change, number = random.choice(CHANGES), random.randrange(150, 600)
    devices = [Device(STORY[:700]), Device(changed(STORY[:700], change, number))]
    known = [device.known() for device in devices]
    first = next(e for e in range(100) if compare(known[0], devices[1].cut(e)) is Comparison.DIFFERS)
    cuts = [device.cut(random.randrange(first, 100)) for device in devices]
    carriers = [Carrier(random), Carrier(random)]  # to devices[0], to devices[1]
    disputes = [devices[side].dispute(cuts[1 - side]) for side in (0, 1)]
    for _ in range(400):
        if all(dispute.outcome for dispute in disputes):
            break
        for side in (0, 1):
            if disputes[side].outcome is None and random.random() < 0.02:
                disputes[side] = devices[side].dispute(cuts[1 - side])
            question = disputes[side].question()
            if question is not None:
                carriers[1 - side].send(question)
            for frame in carriers[side].arrive():
                if isinstance(frame, SectionRequest | StatementRequest):
                    carriers[1 - side].send(devices[side].answer(frame))
                else:
                    disputes[side].receive(frame)
    for side in (0, 1):
        expected = true_difference(devices[side].items, devices[1 - side].items, 100)
        assert expected is not None
        testimony = devices[1 - side].testify(expected.seq)
        assert disputes[side].outcome == Contradiction(expected, testimony)


def test_a_question_stays_until_it_is_answered() -> None:
    ours, theirs = Device(STORY[:300]), Device(STORY[:299])
    dispute = ours.dispute(theirs.cut(), first_request=2**32 - 1)
    question = dispute.question()
    assert question == dispute.question() == SectionRequest(2**32 - 1, 99, 0)
    answer = theirs.answer(question)
    dispute.receive(answer)
    assert dispute.question() == SectionRequest(0, 99, 256)
    dispute.receive(answer)
    assert dispute.question() == SectionRequest(0, 99, 256)
    assert settle(dispute, theirs.answer) == 2
    assert dispute.state is DisputeState.OVER
    assert dispute.question() is None


@pytest.mark.parametrize("first_number", [0, 100, 256])
def test_a_file_is_a_carrier(first_number: int) -> None:
    """The first file shows where the difference is; the next holds the testimony."""
    ours, theirs = Device(STORY[:600]), Device(changed(STORY[:600], "drop", 400))
    matched = ours.cut(epoch_of(STORY[first_number]) - 1) if first_number == 100 else None
    cut, numbers = theirs.cut(), slice(100 if matched else 0, None)
    section = ExportedSection(device_of("alice"), (cut,), numbers.start, tuple(theirs.items[numbers]), ())

    def ask(with_section: ExportedSection) -> Dispute:
        dispute = ours.dispute(cut, matched)
        settle(dispute, lambda question: answer_from_view(with_section, question))  # type: ignore[arg-type]
        return dispute

    first = ask(section)
    assert isinstance(first.outcome, Unavailable)
    assert (first.outcome.reason, first.outcome.is_ours) == (Reason.FORGOTTEN, False)
    assert first.difference == Difference(STORY[400].seq, STORY[400], None)
    second = ask(section._replace(testimonies=(SharedTestimony(STORY[400].seq, b"absent"),)))
    assert second.outcome == Contradiction(first.difference, b"absent")


# --- the table ---


def test_every_state_has_one_question_and_one_kind_of_answer() -> None:
    assert set(ANSWERS) == set(DisputeState)
    questions = {state: type(dispute_in(state).question()) for state in DisputeState}
    assert questions == {
        DisputeState.WALKING: SectionRequest,
        DisputeState.ASKING: StatementRequest,
        DisputeState.OVER: type(None),
    }
    answers = {state: len(kinds) for state, kinds in ANSWERS.items()}
    assert answers == {DisputeState.WALKING: 1, DisputeState.ASKING: 1, DisputeState.OVER: 0}


@pytest.mark.parametrize("state", DisputeState)
@pytest.mark.parametrize("frame", EXAMPLES.values(), ids=lambda frame: type(frame).__name__)
def test_what_answers_nothing_changes_nothing(state: DisputeState, frame: GossipFrame) -> None:
    """Frames of every type in every state; the right type, too, as long as it answers another question."""
    dispute = dispute_in(state)
    question, outcome = dispute.question(), dispute.outcome
    wrong = [frame]
    if question is not None and isinstance(frame, ANSWERS[state]):
        right = Device(STORY[:299]).answer(question)
        names = question._fields
        wrong += [right._replace(**{name: getattr(right, name) + 1}) for name in names if name != "seq"]
        wrong += [right._replace(seq=STORY[3].seq)] if "seq" in names else []
    for stray in wrong:
        dispute.receive(stray)
        assert (dispute.state, dispute.question(), dispute.outcome) == (state, question, outcome)


@pytest.mark.parametrize("state", [DisputeState.WALKING, DisputeState.ASKING])
def test_strays_are_counted(state: DisputeState) -> None:
    dispute = dispute_in(state)
    for _ in range(STRAYS_MAX):
        dispute.receive(EXAMPLES[SectionFrame])
    assert dispute.state is state
    dispute.receive(EXAMPLES[SectionFrame])
    assert dispute.outcome is not None
    assert isinstance(dispute.outcome, Unavailable)
    assert not dispute.outcome.is_ours


@pytest.mark.parametrize("state", [DisputeState.WALKING, DisputeState.ASKING])
def test_our_own_question_is_no_answer(state: DisputeState) -> None:
    """A peer's question may have the very numbers of ours, when both began at once; it is a stray all the same."""
    dispute = dispute_in(state)
    for _ in range(STRAYS_MAX + 1):
        assert dispute.outcome is None
        echo = dispute.question()
        assert echo is not None
        dispute.receive(echo)
    assert isinstance(dispute.outcome, Unavailable)


def test_an_honest_peer_over_a_carrier_that_repeats_everything_is_not_cut_off() -> None:
    """Strays count in a row: whatever leads on forgives them."""
    ours, theirs = Device(STORY), Device(STORY[:-1])
    dispute = ours.dispute(theirs.cut())
    while (question := dispute.question()) is not None:
        for _ in range(STRAYS_MAX - 1):
            dispute.receive(EXAMPLES[StatementFrame])
        answer = theirs.answer(question)
        dispute.receive(answer)
        dispute.receive(answer)
    assert isinstance(dispute.outcome, Contradiction)
