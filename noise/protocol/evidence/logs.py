"""Contradictions in the log of epochs: two logs, and records that no honest log holds.

Knows nothing of mailboxes. Fields that are reserved (placement) convict nobody: a later provider may use them. Nor does
a record that names an older roster than might have been in force, by itself: see `roster_lies`.
"""

from typing import Annotated, NamedTuple, get_args

from noise.protocol.encoding import Codec, Vec16, list_of, optional, struct_codec
from noise.protocol.errors import DecodeError
from noise.protocol.evidence.challenges import find_fewer_challenges
from noise.protocol.evidence.openings import LOG_OPENING, LogOpening, OpenedNote, open_log_leaf, open_note
from noise.protocol.evidence.rosters import Rosters
from noise.protocol.evidence.verdict import NotProven, Verdict, name_signer
from noise.protocol.identifiers import Actor, Role
from noise.protocol.merkle import EMPTY_ROOT, CompactRange
from noise.protocol.statements import EPOCH_RECORD, EpochRecord

_NOTE: Codec[bytes] = get_args(Vec16)[1]
_LOG = Actor(Role.LOG, 0, 0)


class LogFork(NamedTuple):
    """Two views of the log, two in all: checkpoint notes, or records with the note that has them.

    Two notes: of one size. Two records: at one place. One each: the note has the size that the record's place is, so
    that the record's `prev_root` speaks of the same leaves.
    """

    notes: Annotated[tuple[bytes, ...], list_of(_NOTE, 2)]
    records: Annotated[tuple[LogOpening, ...], list_of(LOG_OPENING, 2)]


LOG_FORK = struct_codec(LogFork)


class InvalidRecord(NamedTuple):
    """A leaf of the log that breaks a rule by itself, or, with `other`, in one log with another."""

    record: Annotated[LogOpening, LOG_OPENING]
    other: Annotated[LogOpening | None, optional(LOG_OPENING)]


INVALID_RECORD = struct_codec(InvalidRecord)


def verify_log_fork(rosters: Rosters, finding: LogFork) -> Verdict:
    if len(finding.notes) + len(finding.records) != 2:
        raise DecodeError("a fork has two sides")
    notes = [open_note(rosters, note) for note in finding.notes]
    notes += [open_log_leaf(rosters, opening) for opening in finding.records]
    accused = _name(*notes)
    if len(finding.notes) == 2:
        one, other = notes
        if one.size != other.size or one.root == other.root:
            raise NotProven("checkpoints of two sizes, or of one log")
        detail = f"it signed two different logs of the same {one.size} epochs"
        return Verdict("LogFork", accused, rosters.origin, one.size - 1, detail)
    if len(finding.records) == 2:
        first, second = finding.records
        if first.place != second.place or first.record == second.record:
            raise NotProven("records of two places, or one record twice")
        detail = f"it signed two logs that have different records of epoch {first.place}"
        return Verdict("LogFork", accused, rosters.origin, first.place, detail)
    (opening,) = finding.records
    record = EPOCH_RECORD.decode(opening.record)
    if opening.place != notes[0].size or record.prev_root == notes[0].root:
        raise NotProven("a record of another place, or one that continues the checkpoint")
    detail = (
        f"it signed a log of {opening.place} epochs, and a log whose record of epoch {opening.place} "
        "continues another one"
    )
    return Verdict("LogFork", accused, rosters.origin, opening.place, detail)


def verify_invalid_record(rosters: Rosters, finding: InvalidRecord) -> Verdict:
    note = open_log_leaf(rosters, finding.record)
    if finding.other is not None:
        other = open_log_leaf(rosters, finding.other)
        epoch, what = _find_reversal(finding.record, finding.other)
        return Verdict("InvalidRecord", _name(note, other), rosters.origin, epoch, what)
    epoch = finding.record.place
    what = _find_wrong(rosters, finding.record, note)
    detail = f"the log's leaf {epoch}, which it signed, {what}"
    return Verdict("InvalidRecord", _name(note), rosters.origin, epoch, detail)


def _name(*notes: OpenedNote) -> str:
    return name_signer(*[(_LOG, note.key) for note in notes])


def _find_wrong(rosters: Rosters, opening: LogOpening, note: OpenedNote) -> str:
    """What no honest log has at this place. Raises NotProven."""
    try:
        record = EPOCH_RECORD.decode(opening.record)
    except DecodeError:
        return "is no epoch record"
    if record.epoch != opening.place:
        return f"is a record of epoch {record.epoch}"
    if not record.epoch and record.prev_root != EMPTY_ROOT:
        return "claims to continue a log, and is the first of it"
    before = CompactRange(opening.place, opening.proof[::-1])  # of the last leaf: all that is beside its path
    if record.epoch + 1 == note.size and record.prev_root != before.root():
        return "claims to continue another log than the one that it ends"
    roster = rosters.get(record.roster_hash)
    if roster.valid_from_epoch > record.epoch:
        return f"names a roster that binds epochs from {roster.valid_from_epoch} on"
    n_signers = len(roster.signers())
    if record.statements_count != n_signers:
        return f"has {record.statements_count} statements of the {n_signers} actors that make one"
    raise NotProven("nothing is wrong with this record")


def _find_reversal(one: LogOpening, other: LogOpening) -> tuple[int, str]:
    """(epoch, what is wrong) of two records at their places. Raises NotProven."""
    earlier, later = sorted((one, other), key=lambda opening: opening.place)
    before, after = _record_at_its_place(earlier), _record_at_its_place(later)
    fewer = find_fewer_challenges(before, after)
    if fewer:
        return after.epoch, fewer
    if before.epoch == after.epoch or before.time_ms <= after.time_ms:
        raise NotProven("nothing went back between these records")
    what = f"its log's clock went back from {before.time_ms} ms in epoch {before.epoch} to {after.time_ms} ms"
    return after.epoch, f"{what} in epoch {after.epoch}"


def _record_at_its_place(opening: LogOpening) -> EpochRecord:
    record = EPOCH_RECORD.decode(opening.record)
    if record.epoch != opening.place:
        raise NotProven("the epoch record is not at its place in the log")
    return record
