"""What may be wrong with a delta that a follower refused: findings to try, the most telling first.

Knows nothing of signatures: it compares what the delta says, with what was trusted and within itself, and leaves the
judgement to the verifier.
"""

from bisect import bisect_left
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from noise.protocol.delta import DeltaShared
from noise.protocol.envelope import Recipients, RecipientSet
from noise.protocol.errors import DecodeError, ProofError
from noise.protocol.evidence.lenient import Committed
from noise.protocol.evidence.logs import InvalidRecord, LogFork
from noise.protocol.evidence.mailboxes import HistoryViolation, MailboxFork, MailboxRollback
from noise.protocol.evidence.material import Attested, open_device, place_leaf
from noise.protocol.evidence.messages import CounterViolation, Misdelivery
from noise.protocol.evidence.openings import CommittedLeaf, LeafOpening, LogOpening, RecipientOpening, RecordOpening
from noise.protocol.evidence.proof import Finding
from noise.protocol.evidence.records import find_against_state, find_in_neighbours, find_in_record, find_in_total
from noise.protocol.evidence.refusals import Refusal
from noise.protocol.evidence.slots import StageEquivocation
from noise.protocol.history import HISTORY_RECORD
from noise.protocol.identifiers import parse_seq
from noise.protocol.signing import Signed
from noise.protocol.statements import MESSAGE_LEAF


def log_findings(*views: LogOpening | bytes) -> Iterator[Finding]:
    """One or two views of the log, each a checkpoint note, or an epoch record under one."""
    notes = [view if isinstance(view, bytes) else view.note for view in views]
    records = [view for view in views if not isinstance(view, bytes)]
    if len(notes) == 2:
        yield LogFork(tuple(notes), ())
    if len(records) == 2:
        yield LogFork((), tuple(records))
    for note in notes:
        for record in records:
            yield LogFork((note,), (record,))
    for record in records:
        yield InvalidRecord(record, None)
    if len(records) == 2:
        yield InvalidRecord(*records)


def refusal_findings(refusal: Refusal, trusted: DeltaShared | None, said: DeltaShared) -> Iterator[Finding]:
    """`trusted`, `said`: the shared parts of what was trusted last and of the refused delta."""
    ours, theirs, log = refusal.ours, refusal.theirs, refusal.log
    views: list[LogOpening | bytes] = [log if log else said.note]
    if trusted is not None:
        views.append(ours.opening.head.log if ours else trusted.note)
    yield from log_findings(*views)
    if trusted is not None:
        yield StageEquivocation(Signed(*trusted.head), Signed(*said.head))
    if theirs is not None:
        if ours is not None:
            yield MailboxRollback(ours.opening, theirs.opening)
            yield MailboxFork((ours.opening, theirs.opening), ())
        if theirs.state is not None:
            yield HistoryViolation(None, theirs.opening, None, ())
        yield from _record_findings(refusal.first_new, ours, theirs)
        yield from _leaf_findings(refusal.leaves, theirs)
        yield from _counter_findings(refusal.leaves, theirs)


def _record_findings(first_new: int, ours: Attested | None, theirs: Attested) -> Iterator[Finding]:
    previous: RecordOpening | None = None
    for index in range(max(first_new - 1, theirs.first_index), theirs.next_index):
        try:
            opening = theirs.record(index)
        except ProofError:
            return
        if index >= first_new:
            yield from _findings_of_record(opening, previous, ours, theirs)
        previous = opening


def _findings_of_record(
    opening: RecordOpening, previous: RecordOpening | None, ours: Attested | None, theirs: Attested
) -> Iterator[Finding]:
    if theirs.state is not None and find_in_record(opening, theirs.state, theirs.epoch):
        yield HistoryViolation(opening, None, None, ())
    try:
        record = HISTORY_RECORD.decode(opening.record)
        before = HISTORY_RECORD.decode(previous.record) if previous else None
    except DecodeError:
        return
    if ours is not None and (
        find_against_state(record, ours.state, ours.epoch)
        or (theirs.state is not None and find_in_total(record, theirs.state, ours.state))
    ):
        yield HistoryViolation(opening, ours.opening, None, ())
    if before is not None and find_in_neighbours(before, record):
        yield HistoryViolation(opening, None, previous, ())


def _leaf_findings(leaves: dict[int, list[Committed]], theirs: Attested) -> Iterator[Finding]:
    for index, committed in leaves.items():
        try:
            opening = theirs.record(index)
        except ProofError:
            continue
        epoch = HISTORY_RECORD.decode(opening.record).epoch
        encoded = [one.leaf for one in committed]
        seqs = [MESSAGE_LEAF.decode(leaf).seq for leaf in encoded]
        wrong: list[tuple[int, ...]] = [(i, i + 1) for i, (a, b) in enumerate(pairwise(seqs)) if not a < b]
        del wrong[1:]
        wrong += [(i,) for i, seq in enumerate(seqs) if parse_seq(seq)[0] != epoch][:1]
        state = theirs.state
        if seqs and state is not None and index + 1 == state.hist_size and seqs[-1] != state.last_seq:
            wrong.append((len(seqs) - 1,))
        for places in wrong:
            yield HistoryViolation(opening, None, None, tuple([place_leaf(encoded, place) for place in places]))
        for place, one in enumerate(committed):
            if one.recipients.index(theirs.mailbox) < 0:
                message = LeafOpening(opening, *place_leaf(encoded, place))
                yield Misdelivery(message, _around(one.recipients, theirs.mailbox))
                break


def _around(recipients: Recipients, device_id: bytes) -> tuple[RecipientOpening, ...]:
    """The neighbours between which a device that is no recipient is not."""
    place = bisect_left(recipients.device_ids, device_id)
    members = RecipientSet(recipients.env_salt, recipients.device_ids)
    there = [i for i in (place - 1, place) if 0 <= i < len(members.device_ids)]
    return tuple([open_device(members, i) for i in there])


class _Seen(NamedTuple):
    seq: bytes
    ctr: int
    record: int
    place: int


def _counter_findings(leaves: dict[int, list[Committed]], theirs: Attested) -> Iterator[Finding]:
    """Each new message against the last of its sender before it, here or in a record that is kept."""
    new = {index: [one.leaf for one in committed] for index, committed in leaves.items()}
    last: dict[bytes, _Seen] = {}
    for index in range(theirs.first_index, theirs.next_index):
        for place, encoded in enumerate(new.get(index) or theirs.leaves_of(index)):
            leaf = MESSAGE_LEAF.decode(encoded)
            before, seen = last.get(leaf.sender), _Seen(leaf.seq, leaf.sender_ctr, index, place)
            if before is not None and before.ctr >= seen.ctr:
                try:
                    pair = [CommittedLeaf(None, theirs.leaf(one.record, one.place)) for one in (before, seen)]
                except ProofError:
                    continue
                yield CounterViolation(*pair)
            last[leaf.sender] = seen
