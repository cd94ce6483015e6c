"""Contradictions about one mailbox: forked, rolled back, or with a history that no honest provider makes.

Knows nothing of the messages' content. An honest provider keeps one history of a mailbox, to which epochs append and
nothing else, and says the same of it under every head.
"""

from typing import Annotated, NamedTuple

from noise.protocol.encoding import list_of, optional, struct_codec
from noise.protocol.errors import DecodeError
from noise.protocol.evidence.openings import (
    PLACED_LEAF,
    RECORD_OPENING,
    STATE_OPENING,
    OpenedState,
    PlacedLeaf,
    RecordOpening,
    StateOpening,
    open_record,
    open_record_leaf,
    open_state,
)
from noise.protocol.evidence.records import (
    find_against_state,
    find_in_leaves,
    find_in_neighbours,
    find_in_record,
    find_in_state,
    find_in_total,
)
from noise.protocol.evidence.rosters import Rosters
from noise.protocol.evidence.verdict import PROVIDER, NotProven, Verdict, name_signer
from noise.protocol.history import MailboxState
from noise.protocol.identifiers import format_id
from noise.protocol.statements import FIRST_INCARNATION


class MailboxFork(NamedTuple):
    """Two states of one size, or two records at one place. Two in all."""

    states: Annotated[tuple[StateOpening, ...], list_of(STATE_OPENING, 2)]
    records: Annotated[tuple[RecordOpening, ...], list_of(RECORD_OPENING, 2)]


MAILBOX_FORK = struct_codec(MailboxFork)


class MailboxRollback(NamedTuple):
    """Two states as of two epochs of which the later one does not continue the earlier."""

    one: Annotated[StateOpening, STATE_OPENING]
    other: Annotated[StateOpening, STATE_OPENING]


MAILBOX_ROLLBACK = struct_codec(MailboxRollback)


class HistoryViolation(NamedTuple):
    """What contradicts itself or the rules: a state alone, a record alone, or a record with one of these.

    `state`: another state. `other`: another record. `leaves`: one or two of the messages that it delivered.
    """

    record: Annotated[RecordOpening | None, optional(RECORD_OPENING)]
    state: Annotated[StateOpening | None, optional(STATE_OPENING)]
    other: Annotated[RecordOpening | None, optional(RECORD_OPENING)]
    leaves: Annotated[tuple[PlacedLeaf, ...], list_of(PLACED_LEAF, 2)]


HISTORY_VIOLATION = struct_codec(HistoryViolation)


def verify_mailbox_fork(rosters: Rosters, finding: MailboxFork) -> Verdict:
    if sorted((len(finding.states), len(finding.records))) != [0, 2]:
        raise DecodeError("a fork has two sides, both states or both records")
    if finding.states:
        states = [open_state(rosters, opening) for opening in finding.states]
        a, b = _present(states[0]), _present(states[1])
        _check_one_mailbox(states[0], states[1])
        if a.hist_size != b.hist_size or a == b:
            raise NotProven("states of two sizes, or one state")
        differing = ", ".join([name for name, x, y in zip(a._fields, a, b, strict=True) if x != y])
        what = f"two states with the same {a.hist_size} records, which differ in {differing}"
    else:
        one, other = finding.records
        states = [open_record_leaf(rosters, opening)[0] for opening in (one, other)]
        _check_one_mailbox(states[0], states[1])
        if one.place != other.place or one.record == other.record:
            raise NotProven("records at two places, or one record")
        what = f"two different records number {one.place}"
    epochs = [state.epoch for state in states]
    detail = f"the mailbox {format_id(states[0].mailbox)} had, as of epochs {epochs[0]} and {epochs[1]}, {what}"
    return _convict("MailboxFork", rosters, states, max(epochs), detail)


def verify_mailbox_rollback(rosters: Rosters, finding: MailboxRollback) -> Verdict:
    states = [open_state(rosters, opening) for opening in finding]
    earlier, later = sorted(states, key=lambda opened: opened.epoch)
    _check_one_mailbox(earlier, later)
    if earlier.epoch == later.epoch:
        raise NotProven("two states as of one epoch")
    what = _find_rollback(earlier, later)
    mailbox = format_id(later.mailbox)
    detail = f"the mailbox {mailbox} went back between epochs {earlier.epoch} and {later.epoch}: {what}"
    return _convict("MailboxRollback", rosters, states, later.epoch, detail)


def verify_history_violation(rosters: Rosters, finding: HistoryViolation) -> Verdict:
    n_beside = (finding.state is not None) + (finding.other is not None) + bool(finding.leaves)
    if n_beside > 1:
        raise DecodeError("a violation is of a state, or of a record with one thing more at most")
    if finding.record is None:
        if finding.state is None:
            raise DecodeError("a violation is of a state or of a record")
        opened = open_state(rosters, finding.state)
        what = find_in_state(_present(opened), opened.epoch)
        return _violation(rosters, [opened], what)
    if finding.state is None and finding.other is None and not finding.leaves:
        opened, _ = open_record_leaf(rosters, finding.record)
        what = find_in_record(finding.record, _present(opened), opened.epoch)
        return _violation(rosters, [opened], what)
    record = open_record(rosters, finding.record)
    states = [record.state]
    if finding.state is not None:
        states.append(open_state(rosters, finding.state))
        _check_one_mailbox(*states)
        what = find_against_state(record.record, states[1].state, states[1].epoch)
        what = what or find_in_total(record.record, _present(record.state), states[1].state)
    elif finding.other is not None:
        other = open_record(rosters, finding.other)
        states.append(other.state)
        _check_one_mailbox(*states)
        what = find_in_neighbours(record.record, other.record)
    else:
        what = find_in_leaves(record.record, _present(record.state), finding.leaves)
    return _violation(rosters, states, what)


def _violation(rosters: Rosters, states: list[OpenedState], what: str) -> Verdict:
    """Raises NotProven when nothing was found."""
    if not what:
        raise NotProven("nothing is wrong with this history")
    as_of = " and ".join(dict.fromkeys([str(state.epoch) for state in states]))
    detail = f"the history of the mailbox {format_id(states[0].mailbox)}, as of {as_of}, breaks its rules: {what}"
    verdict = _convict("HistoryViolation", rosters, states, max([state.epoch for state in states]), detail)
    if any(state.head.head.incarnation > FIRST_INCARNATION for state in states):
        return verdict._replace(accused=PROVIDER)  # it may have inherited all of this
    return verdict


def _convict(kind: str, rosters: Rosters, states: list[OpenedState], epoch: int, detail: str) -> Verdict:
    accused = name_signer(*[state.signer for state in states])
    return Verdict(kind, accused, rosters.origin, epoch, detail)


def _present(opened: OpenedState) -> MailboxState:
    if opened.state is None:
        raise NotProven("the mailbox has no state")
    return opened.state


def _check_one_mailbox(one: OpenedState, other: OpenedState) -> None:
    if one.mailbox != other.mailbox:
        raise NotProven("two mailboxes")


def _find_rollback(earlier: OpenedState, later: OpenedState) -> str:
    """How the later state does not continue the earlier one. Raises NotProven."""
    before, after = earlier.state, later.state
    if before is None:
        if after is None or not after.since_epoch <= earlier.epoch:
            raise NotProven("the mailbox began after the earlier state")
        return f"there was none as of epoch {earlier.epoch}, and later it had begun in epoch {after.since_epoch}"
    if after is None:
        return "it vanished"
    n_new = after.hist_size - before.hist_size
    if n_new < 0:
        return f"it had {before.hist_size} records, and later {after.hist_size}"
    if after.since_epoch != before.since_epoch:
        return f"it began in epoch {before.since_epoch}, and later in epoch {after.since_epoch}"
    if after.total < before.total + n_new:
        return f"it had {before.total} messages in {before.hist_size} records, and later {after.total}"
    if after.last_seq < before.last_seq:
        return "its last message was at a later position before"
    if after.last_epoch < before.last_epoch:
        return f"its last delivery was in epoch {before.last_epoch}, and later in epoch {after.last_epoch}"
    if n_new and after.last_epoch <= earlier.epoch:
        return f"it got {n_new} records more, and all of them in epochs that were over"
    raise NotProven("the later state continues the earlier one")
