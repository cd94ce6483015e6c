"""Negative statements: a provider's signed word that a message did not arrive in a mailbox.

Knows nothing of who should have received it. There are four, and which one it is follows from what is there:

- *gap*: a record of the mailbox, before whose epoch, back to the record before it, nothing arrived (`record` alone);
- *in-delta*: the record of that very epoch, with the two neighbours between which the message is not, or with the end
  beyond which there is none (`record` and `before`, `after` or both);
- *idle tail*: a state as of that epoch or later, whose last delivery was earlier (`state`);
- *no mailbox*: no state as of that epoch or later (`state`, an absent one). Sound where the epoch's record commits to
  no overrides: a mailbox begins with its first delivery, never ends, and is where hashing says.

A mailbox that was never elsewhere (generation 0, and no other opens) is covered from epoch 0 on.
"""

from typing import Annotated, NamedTuple

from noise.protocol.encoding import optional, struct_codec
from noise.protocol.errors import DecodeError
from noise.protocol.evidence.openings import (
    PLACED_LEAF,
    RECORD_OPENING,
    STATE_OPENING,
    OpenedRecord,
    OpenedState,
    PlacedLeaf,
    RecordOpening,
    StateOpening,
    check_placed,
    open_record,
    open_state,
)
from noise.protocol.evidence.rosters import Rosters
from noise.protocol.evidence.verdict import NotProven
from noise.protocol.identifiers import NO_EPOCH, Actor, parse_seq
from noise.protocol.statements import MESSAGE_LEAF


class Absence(NamedTuple):
    """See the head of this file. Either `state` is there, or `record`."""

    state: Annotated[StateOpening | None, optional(STATE_OPENING)]
    record: Annotated[RecordOpening | None, optional(RECORD_OPENING)]
    before: Annotated[PlacedLeaf | None, optional(PLACED_LEAF)]
    after: Annotated[PlacedLeaf | None, optional(PLACED_LEAF)]


ABSENCE = struct_codec(Absence)


class OpenedAbsence(NamedTuple):
    """`form`: what the provider said, for a person. `as_of`: the epoch whose head says so; `signer`: (actor, key)."""

    mailbox: bytes
    form: str
    as_of: int
    signer: tuple[Actor, bytes]


def open_absence(rosters: Rosters, absence: Absence, seq: bytes) -> OpenedAbsence:
    """The mailbox in which, by the provider's word, the message at `seq` did not arrive."""
    if absence.state is not None and (absence.record, absence.before, absence.after) == (None, None, None):
        opened = open_state(rosters, absence.state)
        form = _check_state(opened, seq)
    elif absence.record is not None and absence.state is None:
        record = open_record(rosters, absence.record)
        opened = record.state
        form = _check_record(record, absence.before, absence.after, seq)
    else:
        raise DecodeError("an absence is shown by a state, or by a record and neighbours in it")
    return OpenedAbsence(opened.mailbox, form, opened.epoch, opened.signer)


def _check_state(opened: OpenedState, seq: bytes) -> str:
    epoch = parse_seq(seq)[0]
    if opened.epoch < epoch:
        raise NotProven("the state is older than the message")
    state = opened.state
    if state is None:
        return f"as of epoch {opened.epoch} it had no such mailbox"
    if not state.last_epoch < epoch:
        raise NotProven("something arrived in that epoch or later")
    return f"as of epoch {opened.epoch} nothing had arrived there since epoch {state.last_epoch}"


def _check_record(opened: OpenedRecord, before: PlacedLeaf | None, after: PlacedLeaf | None, seq: bytes) -> str:
    record, epoch = opened.record, parse_seq(seq)[0]
    if record.epoch > opened.state.epoch:
        raise NotProven("the record of an epoch that was not over")
    if before is not None or after is not None:
        if record.epoch != epoch:
            raise NotProven("the record of another epoch")
        _check_between(opened, before, after, seq)
        return f"what it delivered there in epoch {epoch}, as it said in epoch {opened.state.epoch}, goes without it"
    is_first = record.k == 0 and record.prev_epoch == NO_EPOCH
    if not epoch < record.epoch or not (is_first or (record.k and record.prev_epoch < epoch)):
        raise NotProven("something may have arrived in that epoch")
    since = "ever" if is_first else f"since epoch {record.prev_epoch}"
    return f"when something arrived there in epoch {record.epoch}, nothing had {since}"


def _check_between(opened: OpenedRecord, before: PlacedLeaf | None, after: PlacedLeaf | None, seq: bytes) -> None:
    """`before` and `after` are neighbours, or one of them is at an end, and `seq` is between or beyond."""
    record = opened.record
    next_index = 0
    if before is not None:
        check_placed(record, before)
        if not MESSAGE_LEAF.decode(before.leaf).seq < seq:
            raise NotProven("the message is not after its neighbour")
        next_index = before.place + 1
    if after is not None:
        check_placed(record, after)
        if not seq < MESSAGE_LEAF.decode(after.leaf).seq:
            raise NotProven("the message is not before its neighbour")
    if next_index != (record.n_messages if after is None else after.place):
        raise NotProven("there is something between the neighbours")
