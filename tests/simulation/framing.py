"""Every piece that a provider said, offered with every other to every class of evidence: none convicts an honest one.

Knows nothing of how pieces are opened, nor of any single class's rules. A conviction is returned as a sentence, with
the proof file. Opened pieces are remembered, so that a pair costs only what the class itself compares.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import combinations, pairwise, product
from types import ModuleType
from typing import Any, NamedTuple

from noise.protocol.challenges import CHALLENGE, CHALLENGE_STATE, NO_ANSWER, hash_challenge
from noise.protocol.delta import OtherLeaf
from noise.protocol.envelope import Bundle
from noise.protocol.errors import NoiseError
from noise.protocol.evidence import absences, challenges, logs, mailboxes, messages, openings, roster_lies
from noise.protocol.evidence.absences import Absence
from noise.protocol.evidence.accuse import envelope_of
from noise.protocol.evidence.challenges import SuppressedChallenge, UnansweredChallenge
from noise.protocol.evidence.logs import InvalidRecord, LogFork
from noise.protocol.evidence.mailboxes import HistoryViolation, MailboxFork, MailboxRollback
from noise.protocol.evidence.messages import AlteredMessage, Conflict, CounterViolation, Misdelivery, Omission
from noise.protocol.evidence.openings import CommittedLeaf, LogOpening, RecipientOpening
from noise.protocol.evidence.proof import KINDS, Finding, make_proof, verify_proof
from noise.protocol.evidence.roster_lies import PosthumousStatement, RosterEquivocation
from noise.protocol.evidence.slots import ManifestEquivocation, StageEquivocation
from noise.protocol.identifiers import NO_EPOCH
from noise.protocol.merkle import prove_subset
from noise.protocol.signing import Signed
from noise.protocol.statements import EPOCH_RECORD, hash_roster
from tests.simulation.openings import Pieces, pieces_of
from tests.simulation.pool import Pool
from tests.simulation.remembered import replaced

_CONVICTIONS_SHOWN = 3
_DRAWN = ("manifests", "statements", "notes", "records", "states", "history", "messages")
_REMEMBERED: Sequence[tuple[ModuleType, Sequence[str]]] = (
    (openings, ("open_log", "open_head", "open_state", "open_record", "open_record_leaf")),
    (logs, ("open_note", "open_log_leaf")),
    (mailboxes, ("open_state", "open_record", "open_record_leaf")),
    (messages, ("open_committed", "open_leaf")),
    (absences, ("open_state", "open_record")),
    (challenges, ("open_log",)),
    (roster_lies, ("open_log",)),
)


class Offers(NamedTuple):
    """How many accusations were made up, and the sentences of those that convicted."""

    count: int
    convictions: Sequence[str]


def offer_all(pool: Pool) -> Offers:
    """Every pair to every class."""
    with _remembered_openings():
        pieces = pieces_of(pool)
        count, convicting = _offer(pieces, (finding for make in _MAKERS for finding in make(pool, pieces)))
    return Offers(count, _prove(pool, pieces, convicting))


def offer_some(pool: Pool, rng: random.Random, count: int) -> Offers:
    """Every pair of some pieces to every class: of each kind at most so many, as a seed draws them."""
    with _remembered_openings():
        pieces = pieces_of(pool)
        drawn = {name: rng.sample(kind, min(len(kind), count)) for name in _DRAWN for kind in [getattr(pieces, name)]}
        few = pieces._replace(**drawn)
        count, convicting = _offer(few, (finding for make in _MAKERS for finding in make(pool, few)))
    return Offers(count, _prove(pool, pieces, convicting))


def _offer(pieces: Pieces, findings: Iterator[Finding]) -> tuple[int, list[Finding]]:
    """How many were offered, and the first of each class that convict."""
    count = 0
    convicting: dict[str, list[Finding]] = {}
    for finding in findings:
        count += 1
        name = type(finding).__name__
        try:
            KINDS[name].verify(pieces.rosters, finding)
        except NoiseError:
            continue
        found = convicting.setdefault(name, [])
        if len(found) < _CONVICTIONS_SHOWN:
            found.append(finding)
    return count, [finding for found in convicting.values() for finding in found]


def _prove(pool: Pool, pieces: Pieces, findings: Sequence[Finding]) -> list[str]:
    """As files, with nothing remembered."""
    proofs = [make_proof(pool.origin, pieces.signed_rosters, finding) for finding in findings]
    return [f"convicted: {verify_proof(proof, [pool.origin])} by {proof.hex()}" for proof in proofs]


@contextmanager
def _remembered_openings() -> Iterator[None]:
    with ExitStack() as stack:
        for module, names in _REMEMBERED:
            for name in names:
                stack.enter_context(replaced(module, name, _remember(getattr(module, name))))
        yield


def _remember(open_one: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """The same function, by the identity of what it opens; pieces live as long as all offers."""
    known: dict[int, tuple[Any, Any, NoiseError | None]] = {}

    def remembering(rosters: Any, opening: Any) -> Any:
        found = known.get(id(opening))
        if found is None or found[0] is not opening:
            try:
                found = (opening, open_one(rosters, opening), None)
            except NoiseError as error:
                found = (opening, None, error)
            known[id(opening)] = found
        if found[2] is not None:
            raise found[2]
        return found[1]

    return remembering


def _slots(_: Pool, pieces: Pieces) -> Iterator[Finding]:
    for one, other in combinations(pieces.manifests, 2):
        yield ManifestEquivocation(one, other)
    for record_type in sorted({statement.body[:2] for statement in pieces.statements}):
        of_type = [statement for statement in pieces.statements if statement.body[:2] == record_type]
        yield from (StageEquivocation(*pair) for pair in combinations(of_type, 2))


def _rosters(_: Pool, pieces: Pieces) -> Iterator[Finding]:
    """Every pair of rosters with every record; every statement and every note under a roster and the next, with the
    first record of that."""
    said = [(Signed(*one), None) for one in (*pieces.manifests, *pieces.statements)] + [(None, n) for n in pieces.notes]
    hashes = [hash_roster(signed.body) for signed in pieces.signed_rosters]
    for older, newer in product(hashes, repeat=2):
        yield RosterEquivocation(older, newer, None)
        yield from (RosterEquivocation(older, newer, record) for record in pieces.records)
    first: dict[bytes, LogOpening] = {}
    for record in sorted(pieces.records, key=lambda opening: opening.place):
        first.setdefault(EPOCH_RECORD.decode(record.record).roster_hash, record)
    for older, newer in [*pairwise(hashes), (hashes[0], hashes[-1]), (hashes[-1], hashes[0])]:
        if newer in first:
            yield from (PosthumousStatement(older, newer, statement, note, first[newer]) for statement, note in said)


def _challenges(pool: Pool, pieces: Pieces) -> Iterator[Finding]:
    """Every challenge as it was after every epoch, with the records of that time; and every receipt for one."""
    at: dict[int, list[LogOpening]] = {}
    for record in pieces.records:
        at.setdefault(record.place, []).append(record)
    for epoch, states in enumerate(pool.challenges):
        logs = [*at.get(epoch, ()), *at.get(epoch + 1, ())]
        for key, _, entry in states.items():
            asked = at.get(CHALLENGE.decode(entry.challenge).epoch, ()) if key not in pool.excused else ()
            path = states.prove(key).siblings
            never = entry.state._replace(answered_epoch=NO_EPOCH, answer_hash=NO_ANSWER)
            for state, log, record in product({entry.state, never}, logs, asked):
                yield UnansweredChallenge(log, record, entry.challenge, CHALLENGE_STATE.encode(state), path)
        for one, log in product(pool.challenged, logs):
            siblings, other = states.prove(hash_challenge(one.challenge))
            yield SuppressedChallenge(one.receipt, log, siblings, None if other is None else OtherLeaf(*other))
            yield SuppressedChallenge(pool.challenged[0].receipt, log, siblings, None)


def _logs(_: Pool, pieces: Pieces) -> Iterator[Finding]:
    for note, other in combinations(pieces.notes, 2):
        yield LogFork((note, other), ())
    for one, another in combinations(pieces.records, 2):
        yield LogFork((), (one, another))
        yield InvalidRecord(one, another)
    for note, record in product(pieces.notes, pieces.records):
        yield LogFork((note,), (record,))
    for record in pieces.records:
        yield InvalidRecord(record, None)


def _states(_: Pool, pieces: Pieces) -> Iterator[Finding]:
    for one, other in combinations(pieces.states, 2):
        yield MailboxFork((one, other), ())
        yield MailboxRollback(one, other)
    for state in pieces.states:
        yield HistoryViolation(None, state, None, ())


def _histories(_: Pool, pieces: Pieces) -> Iterator[Finding]:
    records = [record.opening for record in pieces.history]
    for one, other in combinations(records, 2):
        if one.record != other.record or one.place != other.place:
            yield MailboxFork((), (one, other))
            yield HistoryViolation(one, None, other, ())
    for record, state in product(records, pieces.states):
        yield HistoryViolation(record, state, None, ())
    for opening, leaves in pieces.history:
        yield HistoryViolation(opening, None, None, ())
        for placed in leaves:
            yield HistoryViolation(opening, None, None, (placed,))
        for first, second in combinations(leaves, 2):
            yield HistoryViolation(opening, None, None, (first, second))


def _pairs(_: Pool, pieces: Pieces) -> Iterator[Finding]:
    for one, other in combinations(pieces.messages, 2):
        yield Conflict(one, other)
        yield CounterViolation(one, other)


def _encoded(message: CommittedLeaf) -> bytes:
    opening = message.sequenced or message.delivered
    assert opening is not None
    return opening.leaf


def _omissions(pool: Pool, pieces: Pieces) -> Iterator[Finding]:
    """Every message, each of its recipients, and every absence that is any of that recipient's mailbox."""
    absent: dict[bytes, list[Absence]] = {}
    for state in pieces.states:
        absent.setdefault(state.mailbox, []).append(Absence(state, None, None, None))
    for opening, leaves in pieces.history:
        of_mailbox = absent.setdefault(opening.state.mailbox, [])
        of_mailbox.append(Absence(None, opening, None, None))
        for before, after in [(None, one) for one in leaves] + [(one, None) for one in leaves]:
            of_mailbox.append(Absence(None, opening, before, after))
        of_mailbox += [Absence(None, opening, *pair) for pair in combinations(leaves, 2)]
    for message in pieces.messages:
        for recipient in pieces.recipients.get(_encoded(message), ()):
            for absence in absent.get(recipient.device_id, ()):
                yield Omission(message, recipient, absence)


def _altered(pool: Pool, pieces: Pieces) -> Iterator[Finding]:
    """Every message, with the envelopes and headers of all bundles that anybody here made."""
    made: list[tuple[Bundle, list[bytes]]] = [
        (bundle, [envelope_of(bundle, i) for i in range(bundle.count)]) for bundle, _ in pool.receipts
    ]
    for message, (bundle, envelopes) in product(pieces.messages, made):
        for envelope in envelopes:
            yield AlteredMessage(message, envelope, b"", (), (), ())
        yield AlteredMessage(message, b"", bundle.body, (), (), ())
        yield AlteredMessage(message, b"", bundle.body, tuple(range(bundle.count)), tuple(bundle.env_hashes), ())
        for i in range(bundle.count):
            proof = tuple(prove_subset(bundle.tree(), [i]))
            yield AlteredMessage(message, b"", bundle.body, (i,), (bundle.env_hashes[i],), proof)


def _misdelivered(_: Pool, pieces: Pieces) -> Iterator[Finding]:
    for message in pieces.messages:
        if message.delivered is None:
            continue
        shown: Sequence[RecipientOpening] = pieces.recipients.get(message.delivered.leaf, ())
        yield Misdelivery(message.delivered, ())
        for one in shown:
            yield Misdelivery(message.delivered, (one,))
        for pair in product(shown, repeat=2):
            yield Misdelivery(message.delivered, pair)


_MAKERS: Sequence[Callable[[Pool, Pieces], Iterator[Finding]]] = (
    _slots,
    _rosters,
    _challenges,
    _logs,
    _states,
    _histories,
    _pairs,
    _omissions,
    _altered,
    _misdelivered,
)
