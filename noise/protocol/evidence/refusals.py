"""A delta that a follower refused, opened as far as it goes: what the provider signed of it, and what follows.

Knows nothing of why it was refused, nor of what contradicts what. Nothing here is verified: whoever builds a proof from
it has the proof verified. What was damaged on its way leads to nothing that is signed.
"""

from contextlib import suppress
from typing import NamedTuple

from noise.protocol.checkpoint import parse_checkpoint
from noise.protocol.delta import Delta, RecipientLists, SignedRoster
from noise.protocol.envelope import RecipientSet
from noise.protocol.errors import DecodeError, NoiseError, ProofError
from noise.protocol.evidence.lenient import Committed, committed_leaves, finder
from noise.protocol.evidence.material import Attested, EvidenceUnavailable, Material, attested, open_shared, roster_of
from noise.protocol.evidence.openings import LogOpening
from noise.protocol.evidence.patchwork import patchwork
from noise.protocol.history import MAILBOX_STATE, MailboxState
from noise.protocol.merkle import EMPTY_RANGE, NodeSource, check_inclusion, leaf_hash, leaf_hashes, subtree_spans
from noise.protocol.signing import Signed
from noise.protocol.statements import EPOCH_RECORD, open_roster
from noise.protocol.trust import Trusted


class Refusal(NamedTuple):
    """`rosters`: those that may matter, verified. `ours`: what was trusted, if anything. `theirs`: what the delta says.

    `log`: the delta's epoch record, whatever these bytes are, in the log of the delta's checkpoint; None: it is not
    there, or that cannot be shown. `leaves`: what the delta's own history records, from `first_new` on, commit to.
    """

    rosters: tuple[SignedRoster, ...]
    ours: Attested | None
    log: LogOpening | None
    theirs: Attested | None
    first_new: int
    leaves: dict[int, list[Committed]]


def kept_alone(trusted: Trusted, origin: bytes, mailbox: bytes) -> Material:
    """The material of a client that keeps nothing but what it trusts."""
    base = trusted.delivered.records if trusted.delivered else EMPTY_RANGE
    return Material(origin, mailbox, trusted, base, (), lambda _: (), lambda _: None)


def kept_before(trusted: Trusted, kept: Material) -> Material:
    """What was kept when this was trusted, as far as it still is."""
    size = trusted.delivered.state.hist_size if trusted.delivered else 0
    if kept.base.size > size:
        return kept_alone(trusted, kept.origin, kept.mailbox)
    return kept._replace(trusted=trusted, records=kept.records[: size - kept.base.size])


def open_refusal(kept: Material, delta: Delta, lists: RecipientLists) -> Refusal:
    """`kept`: before the delta. `lists`: what the connection had brought before it."""
    rosters = _rosters(kept, delta)
    try:
        ours = attested(kept)
    except EvidenceUnavailable:
        ours = None
    find = finder(delta, lists)
    first_new = kept.base.size + len(kept.records)
    leaves: dict[int, list[Committed]] = {}
    for index, entry in enumerate(delta.history, first_new):
        try:
            leaves[index] = committed_leaves(entry, kept.origin, kept.mailbox, find)
        except NoiseError:
            continue  # it commits to something else, which nobody has seen
    log = _open_log(kept.trusted, delta)
    theirs = _attested(kept, delta, log, leaves) if log else None
    return Refusal(rosters, ours, log, theirs, first_new, leaves)


def _rosters(kept: Material, delta: Delta) -> tuple[SignedRoster, ...]:
    trusted = kept.trusted
    known = [*trusted.rosters, *(Signed(*one) for one in delta.rosters)]
    chosen = [SignedRoster(*one) for one in (*trusted.rosters[-1:], *known[-1:])]
    for shared in (trusted.shared, delta.shared):
        try:
            chosen += roster_of(shared.record, known) if shared else ()
        except DecodeError:
            continue
    return tuple(dict.fromkeys([one for one in chosen if _is_origins(one, kept.origin)]))


def _is_origins(roster: SignedRoster, origin: bytes) -> bool:
    try:
        open_roster(Signed(*roster), origin)
    except NoiseError:
        return False
    return True


def _open_log(trusted: Trusted, delta: Delta) -> LogOpening | None:
    """The record as the last leaf, or at the place that it claims: a liar's sizes need not agree."""
    note, record = delta.shared.note, delta.shared.record
    try:
        checkpoint = parse_checkpoint(note)[0]
    except DecodeError:
        return None
    places = [checkpoint.size - 1]
    with suppress(DecodeError):
        places.append(EPOCH_RECORD.decode(record).epoch)
    proofs = [trusted.log_proof] if checkpoint.size == trusted.log.size else []
    for reached in places:
        try:
            proofs.append(trusted.log.extend(reached, delta.log_hashes).peaks[::-1])
        except ProofError:
            continue
    for place in places:
        for proof in proofs:
            try:
                check_inclusion(checkpoint.root, checkpoint.size, place, leaf_hash(record), proof)
            except ProofError:
                continue
            return LogOpening(note, place, record, proof)
    return None


def _attested(kept: Material, delta: Delta, log: LogOpening, leaves: dict[int, list[Committed]]) -> Attested | None:
    try:
        state = MAILBOX_STATE.decode(delta.state) if delta.state else None
        rosters = roster_of(log.record, [*kept.trusted.rosters, *(Signed(*one) for one in delta.rosters)])
        shared = open_shared(delta.shared, log.proof, kept.mailbox, delta.state, delta.path, delta.other)
    except DecodeError:
        return None
    sets = {
        one.recipients.root: RecipientSet(one.recipients.env_salt, one.recipients.device_ids)
        for committed in leaves.values()
        for one in committed
    }

    def leaves_of(index: int) -> list[bytes]:
        return [one.leaf for one in leaves[index]] if index in leaves else list(kept.leaves_of(index))

    records = (*kept.records, *(entry.record for entry in delta.history))
    return Attested(
        rosters,
        shared._replace(head=shared.head._replace(log=log)),
        state,
        kept.base.size,
        records,
        _nodes(kept, records, state, delta.tail_hashes),
        leaves_of,
        lambda root: sets.get(root) or kept.recipients_of(root),
    )


def _nodes(
    kept: Material, records: tuple[bytes, ...], state: MailboxState | None, tail: tuple[bytes, ...]
) -> NodeSource:
    """The history's tree, as far as it goes: without its end when the delta's hashes do not lead there."""
    hashes, old = leaf_hashes(records), kept.trusted.state
    reached = kept.base.size + len(records)
    after = []
    if old is not None and reached < old.hist_size:
        cut = len(subtree_spans(reached, old.hist_size))
        after.append((old.hist_size, tail[:cut]))
        tail = tail[cut:]
    try:
        return patchwork(kept.base, hashes, *after, (state.hist_size if state else reached, tail))
    except ProofError:
        return patchwork(kept.base, hashes)
