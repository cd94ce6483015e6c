"""MailboxFork and MailboxRollback: whatever of a state is changed or taken back convicts, and nothing honest does."""

from collections.abc import Callable
from typing import Any

import pytest

from noise.protocol.errors import DecodeError
from noise.protocol.evidence.mailboxes import (
    MailboxFork,
    MailboxRollback,
)
from noise.protocol.evidence.openings import RecordOpening, StateOpening
from noise.protocol.identifiers import NO_SEQ, make_seq
from noise.protocol.placement import place_mailbox
from tests.protocol.evidence.bobs_mailbox import CAROL, OTHER, OUTBOX, bob, honest, state_of, told
from tests.protocol.evidence.exhibits import (
    Exhibit,
    acquits,
    convicts,
    judge,
    tell,
    tell_leaves,
)
from tests.protocol.liar import Told
from tests.protocol.story import ALICE, BOB, DAVE, LAST


def fork(one: StateOpening, other: StateOpening) -> MailboxFork:
    return MailboxFork((one, other), ())


def record_fork(one: RecordOpening, other: RecordOpening) -> MailboxFork:
    return MailboxFork((), (one, other))


# MailboxFork


SAME_SIZE: dict[str, Any] = {
    "hist_root": OTHER,
    "last_epoch": 4,
    "last_seq": make_seq(LAST, 0, 9),
    "total": 99,
    "since_epoch": 1,
}


@pytest.mark.parametrize("field", SAME_SIZE)
def test_two_states_of_one_size(field: str) -> None:
    for number in (4, LAST):
        lie = state_of(bob(number), **{field: SAME_SIZE[field] if field != "last_epoch" else 3})
        finding = fork(bob(number).state, lie.state)
        convicts(honest(), finding, OUTBOX, number, field)
        convicts(honest(), fork(lie.state, bob(number).state), OUTBOX, number, field)


def test_two_states_of_one_size_at_two_epochs() -> None:
    lie = state_of(bob(3), hist_root=OTHER)
    convicts(honest(), fork(lie.state, bob(2).state), OUTBOX, 3, "as of epochs 3 and 2")


def test_two_records_at_one_place() -> None:
    lie = Exhibit(honest(), BOB, told=tell_leaves(told(3), LAST, honest().sequenced[LAST][:2]))
    convicts(honest(), record_fork(bob().record(3), lie.record(3)), OUTBOX, LAST, "records number 3")
    lie = Exhibit(honest(), BOB, told=tell_leaves(told(1), LAST, honest().sequenced[LAST]))
    convicts(honest(), record_fork(lie.record(1), bob(3).record(1)), OUTBOX, LAST, "records number 1")


def test_a_state_or_two_of_one_size_are_no_fork() -> None:
    for mailbox in (ALICE, BOB, CAROL, DAVE):
        exhibits = [Exhibit(honest(), mailbox, number) for number in range(LAST + 1)]
        for one in exhibits:
            for other in exhibits:
                acquits(honest(), fork(one.state, other.state))
    acquits(honest(), fork(bob().state, Exhibit(honest(), ALICE).state))


def test_records_of_two_mailboxes_or_places_are_no_fork() -> None:
    everything = [
        Exhibit(honest(), mailbox, number).record(k)
        for mailbox in (ALICE, BOB, CAROL)
        for number in (2, LAST)
        for k in range(len(honest().epochs[number].told[mailbox].entries))
    ]
    for one in everything:
        for other in everything:
            acquits(honest(), record_fork(one, other))


def test_two_keys_are_two_signers() -> None:
    """A fork that no single actor signed is the provider's."""
    scribe = tell(1, LAST)
    rosters = (scribe.next_roster(n) for n in range(2, 64))
    scribe.change_roster(next(roster for roster in rosters if place_mailbox(roster, BOB).number))
    scribe.commit()
    lie = Exhibit(scribe, BOB, state=scribe.told[BOB].state._replace(hist_root=OTHER))
    convicts(scribe, fork(Exhibit(scribe, BOB, 4).state, lie.state), "provider", LAST)
    convicts(
        scribe, MailboxRollback(Exhibit(scribe, BOB, 4).state, Exhibit(scribe, BOB, state=b"").state), "provider", LAST
    )


def test_a_fork_is_of_two_states_or_of_two_records() -> None:
    state, record = bob().state, bob().record(0)
    for states, records in (((), ()), ((state,), (record,)), ((state,), ()), ((state,) * 2, (record,) * 2)):
        with pytest.raises(DecodeError):
            judge(honest(), MailboxFork(states, records))


# MailboxRollback


ROLLBACKS: dict[str, tuple[Callable[[], Exhibit], str]] = {
    "fewer records": (lambda: Exhibit(honest(), BOB, told=told(2)), "it had 3 records, and later 2"),
    "vanished": (lambda: Exhibit(honest(), BOB, state=b""), "it vanished"),
    "fewer messages": (lambda: state_of(bob(), total=5), "messages in 3 records, and later 5"),
    "as many messages in more records": (lambda: state_of(bob(), total=told(3).state.total), "messages in 3 records"),
    "an earlier last message": (lambda: state_of(bob(), last_seq=NO_SEQ), "a later position before"),
    "an earlier last delivery": (lambda: state_of(bob(), last_epoch=2), "in epoch 4, and later in epoch 2"),
    "records of epochs that were over": (lambda: state_of(bob(), last_epoch=4), "epochs that were over"),
    "another beginning": (lambda: state_of(bob(), since_epoch=1), "began in epoch 0, and later in epoch 1"),
}


@pytest.mark.parametrize("name", ROLLBACKS)
def test_what_was_said_is_taken_back(name: str) -> None:
    lie, words = ROLLBACKS[name]
    convicts(honest(), MailboxRollback(bob(4).state, lie().state), OUTBOX, LAST, words)
    convicts(honest(), MailboxRollback(lie().state, bob(4).state), OUTBOX, LAST, words)


def test_a_mailbox_that_begins_in_the_past() -> None:
    nothing = Exhibit(honest(), CAROL, 1).state
    state = honest().told[CAROL].state
    for since_epoch, is_lie in ((0, True), (1, True), (2, False)):
        exhibit = Exhibit(honest(), CAROL, state=state._replace(since_epoch=since_epoch))
        finding = MailboxRollback(nothing, exhibit.state)
        if is_lie:
            convicts(honest(), finding, OUTBOX, LAST, f"had begun in epoch {since_epoch}")
        else:
            acquits(honest(), finding, "began after")


def test_states_only_grow() -> None:
    for mailbox in (ALICE, BOB, CAROL, DAVE):
        exhibits = [Exhibit(honest(), mailbox, number) for number in range(LAST + 1)]
        for one in exhibits:
            for other in exhibits:
                acquits(honest(), MailboxRollback(one.state, other.state))
    acquits(honest(), MailboxRollback(bob(4).state, Exhibit(honest(), CAROL).state), "two mailboxes")
    acquits(honest(), MailboxRollback(Exhibit(honest(), DAVE).state, bob(4).state), "two mailboxes")
    acquits(honest(), MailboxRollback(bob().state, Exhibit(honest(), BOB, told=told(2)).state), "one epoch")


def test_ranges_that_restart_at_0() -> None:
    """What a mailbox that was emptied would say is a rollback; a mailbox that did not exist yet says nothing."""
    restarted = Exhibit(honest(), BOB, told=tell_leaves(Told(BOB), LAST, honest().sequenced[LAST]))
    convicts(honest(), MailboxRollback(bob(3).state, restarted.state), OUTBOX, LAST, "it had 2 records, and later 1")
    acquits(honest(), MailboxRollback(Exhibit(honest(), DAVE, 0).state, Exhibit(honest(), DAVE).state))
