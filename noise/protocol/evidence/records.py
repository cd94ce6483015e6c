"""The rules of a mailbox's history, one function for each pair of things that can break them.

Knows nothing of signatures: what it is given is what a provider signed of a mailbox that was never elsewhere. Each
function says what is wrong, in a few words, or nothing (""). What is found wrong here no honest outbox signs.
"""

from collections.abc import Sequence

from noise.protocol.errors import DecodeError
from noise.protocol.evidence.openings import PlacedLeaf, RecordOpening, check_placed
from noise.protocol.history import HISTORY_RECORD, HistoryRecord, MailboxState
from noise.protocol.identifiers import NO_EPOCH, parse_seq
from noise.protocol.merkle import EMPTY_ROOT, CompactRange
from noise.protocol.statements import MESSAGE_LEAF


def find_in_state(state: MailboxState, epoch: int) -> str:
    """A state by itself, as of an epoch."""
    if not state.hist_size:
        return "a mailbox that began without a delivery"
    if not (state.last_epoch <= epoch and parse_seq(state.last_seq)[0] == state.last_epoch):
        return f"its last delivery is said to be of epoch {state.last_epoch}, and at another place"
    if state.total < state.hist_size:
        return f"{state.hist_size} records with {state.total} messages"
    if not state.since_epoch <= state.last_epoch:
        return f"it began in epoch {state.since_epoch}, after its last delivery in {state.last_epoch}"
    return ""


def find_in_record(opening: RecordOpening, state: MailboxState, epoch: int) -> str:
    """A record by itself, whatever bytes it is, at its place under its own state as of an epoch."""
    try:
        record = HISTORY_RECORD.decode(opening.record)
    except DecodeError:
        return f"what stands at place {opening.place} is no record"
    name = f"record {opening.place}"
    if (record.mailbox, record.k) != (state.mailbox, opening.place):
        return f"{name} says that it is another mailbox's, or number {record.k}"
    if record.k == 0 and (record.prev_epoch, record.prev_root) != (NO_EPOCH, EMPTY_ROOT):
        return f"{name} claims to continue something"
    before = CompactRange(opening.place, opening.proof[::-1])  # of the last leaf: all that is beside its path
    if record.k + 1 == state.hist_size and record.prev_root != before.root():
        return f"{name} claims to continue other records than those that it ends"
    if record.k and not record.prev_epoch < record.epoch:
        return f"{name} of epoch {record.epoch} claims to follow one of epoch {record.prev_epoch}"
    if not record.epoch <= epoch:
        return f"{name} is of epoch {record.epoch}, which was not over"
    if not record.n_messages:
        return f"{name} has no messages"
    if record.own_ciphertexts_count > record.n_messages:
        return f"{name} has more own ciphertexts than messages"
    if (record.own_ciphertexts_count == 0) != (record.own_ciphertexts_root == EMPTY_ROOT):
        return f"{name} has {record.own_ciphertexts_count} own ciphertexts under a root of another number"
    if record.k == 0 and record.epoch != state.since_epoch:
        return f"{name} is of epoch {record.epoch}, and the mailbox began in epoch {state.since_epoch}"
    if record.n_messages > state.total:
        return f"{name} has {record.n_messages} messages of {state.total}"
    return _find_against_end(record, state)


def find_against_state(record: HistoryRecord, state: MailboxState | None, epoch: int) -> str:
    """A record of a mailbox, against another state of it (None: it had none) as of an epoch."""
    if state is None:
        if record.epoch <= epoch:
            return f"a record of epoch {record.epoch}, and no mailbox as of epoch {epoch}"
        return ""
    size = state.hist_size
    if record.k >= size and record.epoch <= epoch:
        return f"a record number {record.k} of epoch {record.epoch}, and only {size} records as of epoch {epoch}"
    if record.k == size and (record.prev_epoch, record.prev_root) != (state.last_epoch, state.hist_root):
        return f"record {record.k} does not continue the {size} records of epoch {epoch}"
    return _find_against_end(record, state)


def find_in_total(record: HistoryRecord, state: MailboxState, before: MailboxState | None) -> str:
    """The state that a record leads to, against the one from which it does (None: the mailbox began with it)."""
    size, total = (before.hist_size, before.total) if before else (0, 0)
    if (size, state.hist_size) != (record.k, record.k + 1) or state.total == total + record.n_messages:
        return ""
    return f"record {record.k} has {record.n_messages} messages, and with it they grow from {total} to {state.total}"


def _find_against_end(record: HistoryRecord, state: MailboxState) -> str:
    """A record that a state has, against the epoch of the last."""
    is_last, is_there = record.k + 1 == state.hist_size, record.k < state.hist_size
    if is_last and record.epoch != state.last_epoch:
        return f"the last record is of epoch {record.epoch}, and the last delivery of epoch {state.last_epoch}"
    if is_there and not is_last and not record.epoch < state.last_epoch:
        return f"record {record.k} is of epoch {record.epoch}, and the last delivery of epoch {state.last_epoch}"
    return ""


def find_in_neighbours(one: HistoryRecord, other: HistoryRecord) -> str:
    """Two records of one mailbox at two places."""
    first, second = sorted((one, other), key=lambda record: record.k)
    if first.k == second.k:
        return ""
    if not first.epoch < second.epoch:
        return f"record {first.k} is of epoch {first.epoch}, and record {second.k} of epoch {second.epoch}"
    are_neighbours = second.k == first.k + 1
    follows = second.prev_epoch == first.epoch if are_neighbours else first.epoch < second.prev_epoch
    if not follows:
        return (
            f"record {first.k} is of epoch {first.epoch}, and record {second.k} claims to follow one of epoch "
            f"{second.prev_epoch}"
        )
    return ""


def find_in_leaves(record: HistoryRecord, state: MailboxState, leaves: Sequence[PlacedLeaf]) -> str:
    """One or two messages that a record delivered. Raises ProofError when it did not."""
    seqs = []
    for placed in leaves:
        check_placed(record, placed)
        try:
            leaf = MESSAGE_LEAF.decode(placed.leaf)
        except DecodeError:
            return f"what stands at place {placed.place} of record {record.k} is no message"
        if parse_seq(leaf.seq)[0] != record.epoch:
            return "a message of epoch {}/{}/{} in a record of epoch ".format(*parse_seq(leaf.seq)) + str(record.epoch)
        is_last = (placed.place + 1, record.k + 1) == (record.n_messages, state.hist_size)
        if is_last and leaf.seq != state.last_seq:
            return "the last message is at another position than the state says"
        seqs.append((placed.place, leaf.seq))
    (first_place, first), (second_place, second) = min(seqs), max(seqs)
    if first_place < second_place and not first < second:
        return f"messages {first_place} and {second_place} of record {record.k} are not in order"
    return ""
