"""HistoryViolation: every rule of a history convicts whoever breaks it, and nobody else."""

from typing import Any

import pytest

from noise.protocol.errors import DecodeError
from noise.protocol.evidence.mailboxes import (
    HistoryViolation,
    MailboxRollback,
)
from noise.protocol.evidence.openings import RecordOpening
from noise.protocol.history import HISTORY_RECORD
from noise.protocol.identifiers import NO_EPOCH, make_seq
from tests.protocol.evidence.bobs_mailbox import CAROL, OTHER, OUTBOX, bob, honest, state_of, told
from tests.protocol.evidence.exhibits import (
    Exhibit,
    Scribe,
    acquits,
    change_leaf,
    convicts,
    judge,
    tell,
    tell_bytes,
    tell_leaves,
)
from tests.protocol.liar import Told
from tests.protocol.story import ALICE, BOB, DAVE, LAST, letter
from tests.vectors.cast import signer_of


def alone(exhibit: Exhibit, k: int) -> HistoryViolation:
    return HistoryViolation(exhibit.record(k), None, None, ())


def stated(exhibit: Exhibit) -> HistoryViolation:
    return HistoryViolation(None, exhibit.state, None, ())


RECORDS: dict[str, tuple[dict[str, Any], str]] = {
    "of another mailbox": ({"mailbox": ALICE}, "another mailbox's"),
    "of another number": ({"k": 2}, "or number 2"),
    "of the last number there is": ({"k": 2**64 - 1}, "or number"),
    "that follows itself": ({"prev_epoch": LAST}, "claims to follow one of epoch 5"),
    "that follows nothing": ({"prev_epoch": NO_EPOCH}, "claims to follow"),
    "without messages": ({"n_messages": 0}, "has no messages"),
    "with more messages than all": ({"n_messages": 99}, "99 messages of"),
    "with too many own ciphertexts": (
        {"own_ciphertexts_count": 4, "own_ciphertexts_root": OTHER},
        "more own ciphertexts than messages",
    ),
    "with own ciphertexts under no root": ({"own_ciphertexts_count": 1}, "a root of another number"),
    "with a root over no own ciphertexts": ({"own_ciphertexts_root": OTHER}, "a root of another number"),
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_by_itself(name: str) -> None:
    changes, words = RECORDS[name]
    exhibit = Exhibit(
        honest(),
        BOB,
        told=tell_leaves(told(3), LAST, honest().sequenced[LAST], **changes),
        state=honest()
        .told[BOB]
        .state._replace(hist_root=tell_leaves(told(3), LAST, honest().sequenced[LAST], **changes).state.hist_root),
    )
    convicts(honest(), alone(exhibit, 3), OUTBOX, LAST, words)


FIRSTS: dict[str, tuple[dict[str, Any], str]] = {
    "that follows one": ({"prev_epoch": 3}, "claims to continue something"),
    "that continues a root": ({"prev_root": OTHER}, "claims to continue something"),
}


@pytest.mark.parametrize("name", FIRSTS)
def test_a_first_record(name: str) -> None:
    changes, words = FIRSTS[name]
    exhibit = Exhibit(honest(), BOB, told=tell_leaves(Told(BOB), LAST, honest().sequenced[LAST], **changes))
    convicts(honest(), alone(exhibit, 0), OUTBOX, LAST, words)


def test_a_last_record_that_ends_other_records_than_it_continues() -> None:
    for k in range(1, 4):
        leaves = honest().sequenced[LAST]
        lie = tell_leaves(told(k), LAST, leaves, prev_root=OTHER)
        words = f"record {k} claims to continue other records"
        convicts(honest(), alone(Exhibit(honest(), BOB, told=lie), k), OUTBOX, LAST, words)
    longer = tell_leaves(
        tell_leaves(told(2), 4, honest().sequenced[4], prev_root=OTHER), LAST, honest().sequenced[LAST]
    )
    acquits(honest(), alone(Exhibit(honest(), BOB, told=longer), 2), "nothing is wrong")


def test_a_total_that_grows_by_another_number() -> None:
    true = honest().told[BOB].state
    for total in (true.total - 1, true.total + 1):
        lie = state_of(bob(), total=total)
        words = f"record 3 has 3 messages, and with it they grow from {told(3).state.total} to {total}"
        convicts(honest(), against(lie.record(3), bob(4)), OUTBOX, LAST, words)
        acquits(honest(), against(lie.record(3), bob(3)), "nothing is wrong")
        acquits(honest(), against(lie.record(2), bob(4)), "nothing is wrong")
    first = honest().epochs[2].told[CAROL].state
    lie = Exhibit(honest(), CAROL, 2, state=first._replace(total=3))
    nobody = Exhibit(honest(), CAROL, 1)
    convicts(honest(), against(lie.record(0), nobody), OUTBOX, 2, "has 2 messages, and with it they grow from 0 to 3")
    acquits(honest(), against(Exhibit(honest(), CAROL, 2).record(0), nobody), "nothing is wrong")
    begun = Exhibit(honest(), BOB, 1, state=told(1).state._replace(total=3))
    acquits(honest(), against(begun.record(0), bob(1)), "nothing is wrong")


def test_records_of_epochs_that_are_not_there() -> None:
    for epoch in (LAST + 1, 2**63, NO_EPOCH):
        exhibit = Exhibit(honest(), BOB, told=tell_leaves(told(3), LAST, honest().sequenced[LAST], epoch=epoch))
        convicts(honest(), alone(exhibit, 3), OUTBOX, LAST, "which was not over")


def test_what_stands_there_is_no_record() -> None:
    for body in (b"", b"hello", HISTORY_RECORD.encode(HISTORY_RECORD.decode(bob().record(3).record)) + b"\0"):
        exhibit = Exhibit(honest(), BOB, told=tell_bytes(told(3), body))
        convicts(honest(), alone(exhibit, 3), OUTBOX, LAST, "is no record")


def test_records_and_their_own_state() -> None:
    wrong = state_of(bob(), last_epoch=3, last_seq=make_seq(3, 0, 0))
    convicts(honest(), alone(wrong, 3), OUTBOX, LAST, "the last record is of epoch 5")
    convicts(honest(), alone(wrong, 2), OUTBOX, LAST, "record 2 is of epoch 4")
    acquits(honest(), alone(wrong, 1))
    wrong = state_of(bob(), last_epoch=4)
    convicts(honest(), alone(wrong, 2), OUTBOX, LAST, "record 2 is of epoch 4, and the last delivery of epoch 4")
    begun = state_of(bob(), since_epoch=1)
    convicts(honest(), alone(begun, 0), OUTBOX, LAST, "the mailbox began in epoch 1")
    acquits(honest(), alone(begun, 1))


STATES: dict[str, tuple[dict[str, Any], str]] = {
    "without records": ({"hist_size": 0}, "began without a delivery"),
    "of a later epoch": ({"last_epoch": LAST + 1, "last_seq": make_seq(LAST + 1, 0, 0)}, "of epoch 6"),
    "of no epoch": ({"last_epoch": NO_EPOCH}, "last delivery"),
    "with a last message of another epoch": ({"last_seq": make_seq(4, 0, 0)}, "at another place"),
    "with more records than messages": ({"total": 3}, "4 records with 3 messages"),
    "that began after its end": ({"since_epoch": LAST + 1}, "it began in epoch 6"),
    "that never began": ({"since_epoch": NO_EPOCH}, "it began in epoch"),
}


@pytest.mark.parametrize("name", STATES)
def test_a_state_by_itself(name: str) -> None:
    changes, words = STATES[name]
    convicts(honest(), stated(state_of(bob(), **changes)), OUTBOX, LAST, words)


def test_one_message_in_each_record() -> None:
    """As few messages as records are: no fewer."""
    scribe = Scribe()
    for ctr in (1, 2):
        scribe.commit(letter("alice", ctr, b"one"))
        exhibit = Exhibit(scribe, BOB)
        acquits(scribe, stated(exhibit), "nothing is wrong")
        for k in range(ctr):
            acquits(scribe, alone(exhibit, k), "nothing is wrong")


def against(record: RecordOpening, exhibit: Exhibit) -> HistoryViolation:
    return HistoryViolation(record, exhibit.state, None, ())


def test_a_record_that_an_earlier_state_did_not_have() -> None:
    """The epoch was over, and the state knew of nothing: what came later came into the past."""
    lie = Exhibit(honest(), BOB, told=tell_leaves(told(2), 3, honest().sequenced[LAST]))
    finding = against(lie.record(2), bob(3))
    convicts(honest(), finding, OUTBOX, LAST, "record number 2 of epoch 3, and only 2 records as of epoch 3")
    lie = Exhibit(honest(), CAROL, told=tell_leaves(Told(CAROL), 1, honest().sequenced[LAST]))
    finding = against(lie.record(0), Exhibit(honest(), CAROL, 1))
    convicts(honest(), finding, OUTBOX, LAST, "a record of epoch 1, and no mailbox as of epoch 1")


def test_a_record_that_does_not_continue_a_state() -> None:
    for changes in ({"prev_root": OTHER}, {"prev_epoch": 2}, {"prev_epoch": 1}):
        lie = Exhibit(honest(), BOB, told=tell_leaves(told(3), LAST, honest().sequenced[LAST], **changes))
        convicts(honest(), against(lie.record(3), bob(4)), OUTBOX, LAST, "does not continue the 3 records of epoch 4")


def test_a_record_of_another_epoch_than_a_states_last() -> None:
    lie = state_of(bob(4), last_epoch=3)
    convicts(honest(), against(bob().record(2), lie), OUTBOX, LAST, "the last record is of epoch 4")
    lie = state_of(bob(4), last_epoch=1)
    convicts(honest(), against(bob().record(1), lie), OUTBOX, LAST, "record 1 is of epoch 2")


def beside(record: RecordOpening, other: RecordOpening) -> HistoryViolation:
    return HistoryViolation(record, None, other, ())


def test_two_records_that_do_not_follow_each_other() -> None:
    for prev_epoch in (0, 1, 3):
        lie = Exhibit(honest(), BOB, told=tell_leaves(told(2), 4, honest().sequenced[4], prev_epoch=prev_epoch))
        words = f"record 1 is of epoch 2, and record 2 claims to follow one of epoch {prev_epoch}"
        convicts(honest(), beside(lie.record(1), lie.record(2)), OUTBOX, LAST, words)
        convicts(honest(), beside(lie.record(2), lie.record(1)), OUTBOX, LAST, words)
        convicts(honest(), beside(lie.record(2), bob(2).record(1)), OUTBOX, LAST, words)
        if prev_epoch == 0:
            convicts(honest(), beside(lie.record(2), bob().record(0)), OUTBOX, LAST, "record 0 is of epoch 0")
        else:
            acquits(honest(), beside(lie.record(2), bob().record(0)))


def test_records_whose_epochs_do_not_rise() -> None:
    for epoch in (2, 1, 0):
        lie = Exhibit(honest(), BOB, told=tell_leaves(told(2), epoch, honest().sequenced[4]))
        words = f"record 1 is of epoch 2, and record 2 of epoch {epoch}"
        convicts(honest(), beside(lie.record(2), lie.record(1)), OUTBOX, LAST, words)


def within(exhibit: Exhibit, k: int, *places: int) -> HistoryViolation:
    return HistoryViolation(exhibit.record(k), None, None, tuple(exhibit.placed(k, place) for place in places))


def bob_with(*leaves: bytes) -> Exhibit:
    return Exhibit(honest(), BOB, told=tell_leaves(told(3), LAST, leaves), leaves={3: leaves})


def test_messages_out_of_order() -> None:
    six, seven, eight = honest().sequenced[LAST]
    lie = bob_with(seven, six, eight)
    for places in ((0, 1), (1, 0)):
        convicts(honest(), within(lie, 3, *places), OUTBOX, LAST, "messages 0 and 1 of record 3 are not in order")
    acquits(honest(), within(lie, 3, 0, 2))
    acquits(honest(), within(lie, 3, 0, 0))
    doubled = bob_with(six, six, seven)
    convicts(honest(), within(doubled, 3, 0, 1), OUTBOX, LAST, "not in order")


def test_a_message_of_another_epoch() -> None:
    for seq in (make_seq(4, 0, 0), make_seq(LAST + 1, 0, 0), b"\xff" * 16):
        lie = bob_with(change_leaf(honest().sequenced[LAST][0], seq=seq))
        convicts(honest(), within(lie, 3, 0), OUTBOX, LAST, "in a record of epoch 5")


def test_a_message_that_is_none() -> None:
    for leaf in (b"hello", honest().sequenced[LAST][0] + b"\0", b""):
        lie = bob_with(leaf, honest().sequenced[LAST][1])
        convicts(honest(), within(lie, 3, 0), OUTBOX, LAST, "is no message")
        convicts(honest(), within(lie, 3, 1, 0), OUTBOX, LAST, "is no message")


def test_a_last_message_elsewhere_than_the_state_says() -> None:
    lie = state_of(bob(), last_seq=make_seq(LAST, 0, 9))
    convicts(honest(), within(lie, 3, 2), OUTBOX, LAST, "at another position than the state says")
    acquits(honest(), within(lie, 3, 1))
    acquits(honest(), within(lie, 2, 0))


def test_messages_that_are_not_in_the_record() -> None:
    exhibit = bob()
    good = within(exhibit, 3, 0, 1)
    for changed in (
        good.leaves[0]._replace(leaf=b"hello"),
        good.leaves[0]._replace(leaf=honest().sequenced[LAST][1]),
        good.leaves[0]._replace(place=1),
        good.leaves[0]._replace(place=2**32 - 1),
        good.leaves[0]._replace(proof=()),
        exhibit.placed(2, 0),
    ):
        acquits(honest(), good._replace(leaves=(changed,)))
        acquits(honest(), good._replace(leaves=(good.leaves[1], changed)))


def test_a_violation_has_one_shape() -> None:
    exhibit = bob()
    state, record, leaf = exhibit.state, exhibit.record(3), exhibit.placed(3, 0)
    for wrong in (
        HistoryViolation(None, None, None, ()),
        HistoryViolation(None, None, record, ()),
        HistoryViolation(None, state, record, ()),
        HistoryViolation(None, state, None, (leaf,)),
        HistoryViolation(record, state, record, ()),
        HistoryViolation(record, state, None, (leaf,)),
        HistoryViolation(record, None, record, (leaf,)),
        HistoryViolation(record, None, None, (leaf, leaf, leaf)),
    ):
        with pytest.raises(DecodeError):
            judge(honest(), wrong)


def test_an_honest_history_breaks_no_rule() -> None:
    """Every state, every record alone, with every state, with every record, and with all pairs of its messages."""
    scribe = tell(1, 4)
    scribe.change_roster(scribe.next_roster(3))
    scribe.commit(letter("bob", 1, b"five", own=16))
    scribe.commit(letter("alice", 4, b"six", b"seven", own=8), letter("carol", 2, b"eight", to=("bob", "carol")))
    for mailbox in (ALICE, BOB, CAROL, DAVE):
        exhibits = [Exhibit(scribe, mailbox, number) for number in range(LAST + 1)]
        records = [
            exhibit.record(k)
            for number, exhibit in enumerate(exhibits)
            if mailbox in scribe.epochs[number].told
            for k in range(len(scribe.epochs[number].told[mailbox].entries))
        ]
        for exhibit in exhibits:
            acquits(scribe, stated(exhibit))
        for record in records:
            acquits(scribe, HistoryViolation(record, None, None, ()))
            for exhibit in exhibits:
                acquits(scribe, against(record, exhibit))
            for other in records:
                acquits(scribe, beside(record, other))
        for k, leaves in enumerate(scribe.received.get(mailbox, {}).values()):
            for place in range(len(leaves)):
                acquits(scribe, within(exhibits[-1], k, place))
                for other_place in range(len(leaves)):
                    acquits(scribe, within(exhibits[-1], k, place, other_place))


def test_two_mailboxes_are_not_compared() -> None:
    alice = Exhibit(honest(), ALICE)
    acquits(honest(), against(bob().record(3), alice), "two mailboxes")
    acquits(honest(), against(bob().record(0), Exhibit(honest(), DAVE)), "two mailboxes")
    acquits(honest(), beside(bob().record(3), alice.record(1)), "two mailboxes")
    acquits(honest(), beside(bob().record(1), Exhibit(honest(), CAROL).record(1)), "two mailboxes")


def test_what_another_key_signed_is_nobodys() -> None:
    stranger = signer_of("mallory")
    lie = bob(state=told(2).state, head_signer=stranger)
    acquits(honest(), MailboxRollback(bob(4).state, lie.state))
    acquits(honest(), stated(bob(state=told(4).state._replace(total=0), head_signer=stranger)))
