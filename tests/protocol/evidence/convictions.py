"""One proof of every class and shape against a liar, and what a framer would make of honest statements.

Knows nothing of how they are verified. All lies are about the last epoch of a story.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import product
from typing import Any

from noise.protocol.delta import SignedRoster
from noise.protocol.encoding import StructCodec
from noise.protocol.envelope import BUNDLE_HEADER, ENVELOPE, Envelope, hash_bundle
from noise.protocol.evidence.absences import Absence
from noise.protocol.evidence.logs import InvalidRecord, LogFork
from noise.protocol.evidence.mailboxes import HistoryViolation, MailboxFork, MailboxRollback
from noise.protocol.evidence.messages import AlteredMessage, Conflict, CounterViolation, Misdelivery, Omission
from noise.protocol.evidence.openings import CommittedLeaf, LogOpening
from noise.protocol.evidence.proof import Finding
from noise.protocol.evidence.roster_lies import PosthumousStatement, RosterEquivocation
from noise.protocol.evidence.slots import ManifestEquivocation, StageEquivocation
from noise.protocol.frames import SignedManifest
from noise.protocol.identifiers import Actor, Role, make_seq
from noise.protocol.merkle import tree_root
from noise.protocol.signing import Signed
from noise.protocol.statements import EPOCH_OPEN, EPOCH_RECORD, MERGE_SHEET, ROUTE_SHEET, STATEMENTS
from tests.protocol.evidence.exhibits import (
    STORY,
    Exhibit,
    Scribe,
    change_leaf,
    manifest_of,
    recipient,
    rosters_of,
    sequence,
    tell,
    tell_leaves,
)
from tests.protocol.evidence.rosters_and_challenges import CASES, case
from tests.protocol.evidence.stage_convictions import STAGE_CONVICTIONS
from tests.protocol.liar import Told
from tests.protocol.story import BOB, LAST, letter
from tests.vectors.cast import ORIGIN, actor_key, device_of, recipients_of

CAROL = device_of("carol")
ROUTER, RECEIVER, SEQUENCER = (Actor(role, 0, 0) for role in (Role.ROUTER, Role.RECEIVER, Role.SEQUENCER))
OTHER = tree_root([bytes(32)])
EIGHT = recipients_of("bob", "carol")  # who gets the message at 5/0/2


@cache
def told_truly() -> Scribe:
    """Not to be changed."""
    return tell()


def bob(told: Told | None = None, leaves: Sequence[bytes] = (), **lie: Any) -> Exhibit:
    return Exhibit(told_truly(), BOB, told=told, leaves={3: leaves} if leaves else None, **lie)


def bob_with(*leaves: bytes) -> Exhibit:
    return bob(tell_leaves(before(3), LAST, leaves), leaves)


def before(k: int) -> Told:
    return told_truly().told[BOB].upto(k)


def truth(place: int) -> bytes:
    return told_truly().sequenced[LAST][place]


def omission(absence: Absence, message: CommittedLeaf | None = None) -> Omission:
    return Omission(message or sequence(told_truly(), LAST, 2), recipient(EIGHT, BOB), absence)


def true_envelope(payload_hash: bytes | None = None) -> bytes:
    """Of the message at 5/0/0."""
    six = STORY[LAST][0]
    members, row = six.recipients[0], six.rows[0]
    made = Envelope(
        *(six.sender, six.first_ctr, members.root, 2, row.common_len),
        *(payload_hash or six.payload_hashes[0], 2, six.ciphertexts_roots[0], row.created_ms),
    )
    return ENVELOPE.encode(made)


def _altered_by_envelope() -> Finding:
    lie = bob_with(change_leaf(truth(0), payload_hash=OTHER)).delivered(3, 0)
    return AlteredMessage(lie, true_envelope(), b"", (), (), ())


def _altered_by_header() -> Finding:
    header = BUNDLE_HEADER.encode(BUNDLE_HEADER.decode(STORY[LAST][0].body)._replace(sender=BOB))
    lie = sequence(told_truly(), LAST, 0, [change_leaf(truth(0), bundle_hash=hash_bundle(header))])
    return AlteredMessage(lie, b"", header, (), (), ())


def _altered_by_bundle() -> Finding:
    lie = bob_with(truth(0), change_leaf(truth(1), env_hash=OTHER)).delivered(3, 1)
    six = STORY[LAST][0]
    return AlteredMessage(lie, b"", six.body, (0, 1), tuple(six.env_hashes), ())


def _misdelivery() -> Finding:
    """A message to alice and erin, in carol's mailbox: their ids are below hers and above."""
    message = letter("alice", 9, b"not for you", to=("alice", "erin"))
    leaf = change_leaf(
        truth(0), sender_ctr=9, recipients_root=message.recipients[0].root, seq=make_seq(LAST, 0, 0), n_recipients=2
    )
    told = tell_leaves(told_truly().told[CAROL].upto(1), LAST, [leaf])
    exhibit = Exhibit(told_truly(), CAROL, told=told, leaves={1: [leaf]})
    members = message.recipients[0]
    return Misdelivery(exhibit.leaf(1, 0), tuple(recipient(members, i) for i in members.device_ids))


def _counter_twice() -> Finding:
    lie = sequence(told_truly(), LAST, 1, [truth(0), change_leaf(truth(1), sender_ctr=4)])
    return CounterViolation(sequence(told_truly(), LAST, 0), lie)


def _counters_back() -> Finding:
    lie = bob_with(change_leaf(truth(0), sender_ctr=2)).delivered(3, 0)
    return CounterViolation(lie, sequence(told_truly(), 2, 1))


def _manifests() -> Finding:
    leaves = told_truly().sequenced[LAST]
    return ManifestEquivocation(manifest_of(leaves, LAST), manifest_of(leaves[:2], LAST))


def _heads() -> Finding:
    return StageEquivocation(Signed(*bob().head.head), Signed(*bob(before(3)).head.head))


def _twice(actor: Actor, codec: StructCodec[Any], **changes: Any) -> Finding:
    """What a stage stated of the last epoch, and the same with other fields."""
    body, label = told_truly().epochs[LAST].bodies[actor.encode()], STATEMENTS[actor.role][0]
    lie = codec.encode(codec.decode(body)._replace(**changes))
    return StageEquivocation(*(actor_key(actor).sign(label, ORIGIN, one) for one in (body, lie)))


def _continues_another() -> Finding:
    return LogFork((Exhibit(told_truly(), BOB, 4).note,), (bob(record={"prev_root": OTHER}).log,))


def _other_state() -> Finding:
    state = told_truly().told[BOB].state._replace(hist_root=OTHER)
    return MailboxFork((bob().state, bob(state=state).state), ())


def _late_record() -> Finding:
    """Epoch 3 was over without anything for bob."""
    lie = bob(tell_leaves(before(2), 3, told_truly().sequenced[LAST]))
    return HistoryViolation(lie.record(2), Exhibit(told_truly(), BOB, 3).state, None, ())


def _wrong_record(**changes: Any) -> Finding:
    return HistoryViolation(
        bob(tell_leaves(before(3), LAST, told_truly().sequenced[LAST], **changes)).record(3), None, None, ()
    )


def _wrong_neighbours() -> Finding:
    lie = bob(tell_leaves(before(3), LAST, told_truly().sequenced[LAST], prev_epoch=3))
    return HistoryViolation(lie.record(3), None, lie.record(2), ())


def _wrong_order() -> Finding:
    lie = bob_with(truth(1), truth(0), truth(2))
    return HistoryViolation(lie.record(3), None, None, (lie.placed(3, 0), lie.placed(3, 1)))


def _wrong_state() -> Finding:
    lie = bob(state=told_truly().told[BOB].state._replace(total=3))
    return HistoryViolation(None, lie.state, None, ())


CONVICTIONS: dict[str, Callable[[], Finding]] = {
    "ManifestEquivocation": _manifests,
    "StageEquivocation, heads": _heads,
    "StageEquivocation, route sheets": lambda: _twice(ROUTER, ROUTE_SHEET, root=OTHER),
    "StageEquivocation, merge sheets": lambda: _twice(RECEIVER, MERGE_SHEET, inputs=()),
    "StageEquivocation, openings": lambda: _twice(SEQUENCER, EPOCH_OPEN, placement_root=OTHER),
    "Omission, idle tail": lambda: omission(bob(before(3)).idle()),
    "Omission, no mailbox": lambda: omission(bob(state=b"").idle()),
    "Omission, in-delta": lambda: omission(bob_with(truth(0), truth(1)).between(3, -1, None)),
    "Omission, gap": lambda: Omission(
        sequence(told_truly(), 4, 0),
        recipient(recipients_of("alice", "bob"), BOB),
        bob(tell_leaves(before(2), LAST, told_truly().sequenced[LAST])).gap(2),
    ),
    "Omission, delivered to another": lambda: omission(
        bob(before(3)).idle(), Exhibit(told_truly(), CAROL).delivered(1, 0)
    ),
    "Conflict": lambda: Conflict(
        sequence(told_truly(), LAST, 0), bob_with(change_leaf(truth(0), payload_hash=OTHER)).delivered(3, 0)
    ),
    "AlteredMessage, envelope": _altered_by_envelope,
    "AlteredMessage, header": _altered_by_header,
    "AlteredMessage, bundle": _altered_by_bundle,
    "CounterViolation, twice": _counter_twice,
    "CounterViolation, back": _counters_back,
    "Misdelivery": _misdelivery,
    "MailboxFork, states": _other_state,
    "MailboxFork, records": lambda: MailboxFork((), (bob().record(3), bob_with(truth(0)).record(3))),
    "MailboxRollback": lambda: MailboxRollback(Exhibit(told_truly(), BOB, 4).state, bob(before(2)).state),
    "MailboxRollback, vanished": lambda: MailboxRollback(Exhibit(told_truly(), BOB, 4).state, bob(state=b"").state),
    "HistoryViolation, record": lambda: _wrong_record(prev_epoch=LAST),
    "HistoryViolation, state": _wrong_state,
    "HistoryViolation, late": _late_record,
    "HistoryViolation, neighbours": _wrong_neighbours,
    "HistoryViolation, order": _wrong_order,
    "LogFork, notes": lambda: LogFork((bob().note, bob(record={"time_ms": 7}).note), ()),
    "LogFork, records": lambda: LogFork((), (bob().log, bob(record={"time_ms": 7}).log)),
    "LogFork, continued": _continues_another,
    "InvalidRecord": lambda: InvalidRecord(bob(record={"statements_count": 2}).log, None),
    "InvalidRecord, time": lambda: InvalidRecord(bob(record={"time_ms": 7}).log, Exhibit(told_truly(), BOB, 4).log),
    **STAGE_CONVICTIONS,
    **{name: partial(lambda name: case(name).finding, name) for name in CASES},
}
"""Name, which begins with the class that the verdict has, to what convicts."""


@cache
def conviction(name: str) -> Any:
    return CONVICTIONS[name]()


def rosters_for(name: str) -> tuple[SignedRoster, ...]:
    """Whose keys signed a conviction."""
    return case(name).rosters if name in CASES else rosters_of(told_truly())


def framings(messages: Sequence[CommittedLeaf], exhibits: Sequence[Exhibit], ks: Sequence[int]) -> list[Finding]:
    """What a framer makes of honest statements: every class, with pairs of them in every role."""
    found: list[Finding] = []
    states = [exhibit.state for exhibit in exhibits]
    records = [exhibit.record(k) for exhibit, k in zip(exhibits, ks, strict=True)]
    for one, other in product(messages, repeat=2):
        found += [Conflict(one, other), CounterViolation(one, other)]
    for one_state, other_state in product(states, repeat=2):
        found += [MailboxFork((one_state, other_state), ()), MailboxRollback(one_state, other_state)]
        found.append(StageEquivocation(Signed(*one_state.head.head), Signed(*other_state.head.head)))
        found += _log_findings(one_state.head.log, other_state.head.log)
    for one_record, other_record in product(records, repeat=2):
        found += [MailboxFork((), (one_record, other_record)), HistoryViolation(one_record, None, other_record, ())]
    for record, state in product(records, states):
        found.append(HistoryViolation(record, state, None, ()))
    found += [HistoryViolation(record, None, None, ()) for record in records]
    found += [HistoryViolation(None, state, None, ()) for state in states]
    openings = [recipient(EIGHT, BOB), recipient(EIGHT, CAROL), recipient(recipients_of("alice", "bob"), BOB)]
    absences = [exhibit.idle() for exhibit in exhibits] + [Absence(None, record, None, None) for record in records]
    found += [Omission(*made) for made in product(messages, openings, absences)]
    found += [
        Misdelivery(message.delivered, chosen)
        for message in messages
        if message.delivered
        for chosen in ((), *[(opening,) for opening in openings], *product(openings, repeat=2))
    ]
    manifests = [SignedManifest(*m.sequenced.manifest) for m in messages if m.sequenced]
    found += [ManifestEquivocation(*pair) for pair in product(manifests, repeat=2)]
    statements = [Signed(*one) for one in (*manifests, *[exhibit.head.head for exhibit in exhibits])]
    return found + _roster_findings([exhibit.log for exhibit in exhibits], statements)


def _roster_findings(logs: Sequence[LogOpening], statements: Sequence[Signed]) -> list[Finding]:
    found: list[Finding] = []
    names = list(dict.fromkeys(EPOCH_RECORD.decode(log.record).roster_hash for log in logs))
    for older, newer in product(names, repeat=2):
        found += [RosterEquivocation(older, newer, log) for log in (None, *logs)]
        for log in logs:
            found += [PosthumousStatement(older, newer, statement, None, log) for statement in statements]
            found += [PosthumousStatement(older, newer, None, other.note, log) for other in logs]
    return found


def _log_findings(one: LogOpening, other: LogOpening) -> list[Finding]:
    return [
        LogFork((one.note, other.note), ()),
        LogFork((), (one, other)),
        LogFork((one.note,), (other,)),
        InvalidRecord(one, other),
        InvalidRecord(one, None),
    ]
