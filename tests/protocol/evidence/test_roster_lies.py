"""RosterEquivocation and PosthumousStatement: every shape of them convicts, and an honest rotation does not."""

from collections.abc import Sequence
from typing import Any

import pytest

from noise.protocol.checkpoint import Checkpoint, sign_checkpoint
from noise.protocol.delta import SignedRoster
from noise.protocol.encoding import Codec
from noise.protocol.errors import DecodeError
from noise.protocol.evidence.openings import LogOpening
from noise.protocol.evidence.roster_lies import (
    POSTHUMOUS_STATEMENT,
    ROSTER_EQUIVOCATION,
    PosthumousStatement,
    RosterEquivocation,
    verify_posthumous_statement,
    verify_roster_equivocation,
)
from noise.protocol.evidence.rosters import Rosters
from noise.protocol.evidence.verdict import NotProven, Verdict, nothing_else
from noise.protocol.identifiers import Actor, Role
from noise.protocol.merkle import EMPTY_ROOT, Tree, leaf_hash, tree_root
from noise.protocol.signing import SUITE_ED25519, Signed, Signer
from noise.protocol.statements import (
    EPOCH_HEAD,
    EPOCH_OPEN,
    EPOCH_RECORD,
    MANIFEST,
    MERGE_SHEET,
    NO_OVERRIDES,
    ROSTER,
    ROUTE_SHEET,
    EpochHead,
    EpochOpen,
    EpochRecord,
    Lane,
    Manifest,
    MergeSheet,
    Parameters,
    Roster,
    RosterEntry,
    RouteSheet,
    hash_roster,
)
from tests.vectors.cast import LOG_NAME, ORIGIN, OTHER_ORIGIN, ROOT, signer_of

CHANGE = 4
"""The epoch from which on the second roster binds, in which every actor has a new key."""

LATE = CHANGE + 1
"""When that roster's first epoch is in the log, so that everybody can know."""

INBOX, ROUTER, RECEIVER, OUTBOX, SEQUENCER, LOG = (Actor(role, 0, 0) for role in Role)
ACTORS = (INBOX, ROUTER, RECEIVER, OUTBOX, SEQUENCER, LOG)
SIGNERS = ACTORS[:-1]


NONE = bytes(32)
BODIES: dict[Role, tuple[str, Codec[Any], Any, tuple[Any, ...]]] = {
    Role.INBOX: ("manifest", MANIFEST, Manifest, (0, 0, EMPTY_ROOT, NONE)),
    Role.ROUTER: ("route", ROUTE_SHEET, RouteSheet, (NONE, 0, NONE, 1, EMPTY_ROOT, NONE)),
    Role.RECEIVER: ("merge", MERGE_SHEET, MergeSheet, (NONE, (), 0, EMPTY_ROOT, NONE)),
    Role.OUTBOX: ("head", EPOCH_HEAD, EpochHead, (NONE, NONE, 0, NONE, NONE)),
    Role.SEQUENCER: ("open", EPOCH_OPEN, EpochOpen, (NONE, NO_OVERRIDES, 0, EMPTY_ROOT, 0)),
}
"""Of the actors that make statements: label, codec, structure, and what stands behind origin, actor, incarnation and
epoch."""


def key_of(actor: Actor, incarnation: int) -> Signer:
    return signer_of(f"{actor}, incarnation {incarnation}")


def make_roster(
    version: int, incarnations: Sequence[int], valid_from_epoch: int, previous: bytes = bytes(32)
) -> Roster:
    """`incarnations`: of each of ACTORS."""
    entries = tuple(
        RosterEntry(actor.encode(), n, SUITE_ED25519, key_of(actor, n).public_key)
        for actor, n in zip(ACTORS, incarnations, strict=True)
    )
    lanes = (Lane(0, INBOX.encode()),)
    parameters = Parameters(20, 1000, 15_000, 64, 8)
    return Roster(ORIGIN, version, previous, valid_from_epoch, ROOT.public_key, LOG_NAME, entries, lanes, parameters)


def sign(roster: Roster) -> SignedRoster:
    return SignedRoster(*ROOT.sign("roster", ORIGIN, ROSTER.encode(roster)))


def name_of(signed: SignedRoster) -> bytes:
    return hash_roster(signed.body)


FIRST = sign(make_roster(1, [1] * 6, 0))
SECOND = sign(make_roster(2, [2] * 6, CHANGE, name_of(FIRST)))
SECOND_SAME_LOG = sign(make_roster(2, [2] * 5 + [1], CHANGE, name_of(FIRST)))
OTHER_SECOND = sign(make_roster(2, [2] * 5 + [1], CHANGE + 1, name_of(FIRST)))


def statement_of(actor: Actor, epoch: int, incarnation: int, key: Signer | None = None, /, **changes: Any) -> Signed:
    label, codec, structure, rest = BODIES[actor.role]
    statement = structure(ORIGIN, actor.encode(), incarnation, epoch, *rest)._replace(**changes)
    return (key or key_of(actor, incarnation)).sign(label, ORIGIN, codec.encode(statement))


def log_of(rosters: Sequence[SignedRoster]) -> list[bytes]:
    """Epoch records, each under one of these rosters."""
    leaves: list[bytes] = []
    for epoch, roster in enumerate(rosters):
        before = tree_root([leaf_hash(one) for one in leaves]) if leaves else EMPTY_ROOT
        record = EpochRecord(epoch, before, epoch, name_of(roster), NO_OVERRIDES, 0, EMPTY_ROOT, 5, EMPTY_ROOT, 0, 0)
        leaves.append(EPOCH_RECORD.encode(record))
    return leaves


def note_of(records: Sequence[bytes], signer: Signer) -> bytes:
    root = tree_root([leaf_hash(record) for record in records]) if records else EMPTY_ROOT
    return sign_checkpoint(signer, Checkpoint(LOG_NAME, len(records), root))


def open_at(records: Sequence[bytes], place: int, signer: Signer) -> LogOpening:
    proof = Tree([leaf_hash(record) for record in records]).inclusion(place)
    return LogOpening(note_of(records, signer), place, records[place], tuple(proof))


def judge(finding: RosterEquivocation | PosthumousStatement, *rosters: SignedRoster) -> Verdict:
    with nothing_else():
        opened = Rosters(ORIGIN, rosters)
        if isinstance(finding, RosterEquivocation):
            verdict = verify_roster_equivocation(
                opened, ROSTER_EQUIVOCATION.decode(ROSTER_EQUIVOCATION.encode(finding))
            )
        else:
            verdict = verify_posthumous_statement(
                opened, POSTHUMOUS_STATEMENT.decode(POSTHUMOUS_STATEMENT.encode(finding))
            )
    assert opened.used >= {finding[0], finding[1]}, "the file would lack a roster"
    assert (verdict.kind, verdict.origin) == (type(finding).__name__, ORIGIN)
    return verdict


def acquits(finding: RosterEquivocation | PosthumousStatement, *rosters: SignedRoster, words: str = "") -> None:
    with pytest.raises(NotProven) as caught:
        judge(finding, *rosters)
    assert words in caught.value.detail, caught.value


# RosterEquivocation


def test_two_rosters_of_one_version() -> None:
    for one, other in ((SECOND, OTHER_SECOND), (OTHER_SECOND, SECOND)):
        verdict = judge(RosterEquivocation(name_of(one), name_of(other), None), FIRST, SECOND, OTHER_SECOND)
        assert (verdict.accused, verdict.epoch) == ("root", CHANGE)
        assert "two different rosters of version 2" in verdict.detail


def test_rosters_that_follow_each_other() -> None:
    for one in (FIRST, SECOND):
        for other in (FIRST, SECOND):
            acquits(RosterEquivocation(name_of(one), name_of(other), None), FIRST, SECOND)
    acquits(RosterEquivocation(name_of(SECOND), name_of(OTHER_SECOND), None), FIRST, SECOND, words="missing")
    again = RosterEquivocation(name_of(SECOND), name_of(SECOND), None)
    acquits(again, SECOND, SECOND, words="one roster twice")


def test_a_roster_that_a_framer_signed_spoils_the_proof() -> None:
    mallory = signer_of("mallory")
    wrong = SignedRoster(*mallory.sign("roster", ORIGIN, OTHER_SECOND.body))
    acquits(RosterEquivocation(name_of(SECOND), name_of(wrong), None), SECOND, wrong)


def retroactive(records: Sequence[bytes], place: int, other: SignedRoster, incarnation: int = 1) -> RosterEquivocation:
    opening = open_at(records, place, key_of(LOG, incarnation))
    return RosterEquivocation(EPOCH_RECORD.decode(records[place]).roster_hash, name_of(other), opening)


def test_a_roster_that_binds_an_epoch_of_before() -> None:
    """The log still ran under the first one: its root signed too late, or the log did not obey."""
    records = log_of([FIRST] * (CHANGE + 2))
    for epoch in (CHANGE, CHANGE + 1):
        verdict = judge(retroactive(records, epoch, SECOND_SAME_LOG), FIRST, SECOND_SAME_LOG)
        assert (verdict.accused, verdict.epoch) == ("provider", epoch)
        assert f"epoch {epoch} ran under the roster of version 1" in verdict.detail
        assert f"version 2 binds epochs from {CHANGE} on" in verdict.detail
    for epoch in range(CHANGE):
        acquits(retroactive(records, epoch, SECOND_SAME_LOG), FIRST, SECOND_SAME_LOG, words="replaced the record's")


def test_an_honest_log_obeys_every_roster() -> None:
    """Whatever record is put against whatever roster, also those of a rotated log."""
    for second, incarnation in ((SECOND_SAME_LOG, 1), (SECOND, 2)):
        third = sign(make_roster(3, [3] * 5 + [incarnation], CHANGE + 2, name_of(second)))
        records = log_of([FIRST] * CHANGE + [second] * 2 + [third] * 2)
        for place in range(len(records)):
            for other in (FIRST, second, third):
                acquits(retroactive(records, place, other, incarnation), FIRST, second, third)


def test_a_record_under_another_roster_than_is_said() -> None:
    records = log_of([FIRST] * (CHANGE + 1))
    finding = retroactive(records, CHANGE, SECOND_SAME_LOG)._replace(one=name_of(OTHER_SECOND))
    acquits(finding, FIRST, SECOND_SAME_LOG, OTHER_SECOND, words="another roster")


def test_a_thief_with_a_retired_log_key_frames_nobody_but_the_log() -> None:
    """It can sign a log that never obeyed. The roster had replaced that key: this is a posthumous checkpoint."""
    records = log_of([FIRST] * (CHANGE + 2))
    acquits(retroactive(records, CHANGE, SECOND), FIRST, SECOND, words="had replaced")
    note = note_of(records, key_of(LOG, 1))
    verdict = judge(PosthumousStatement(name_of(FIRST), name_of(SECOND), None, note, under(SECOND)), FIRST, SECOND)
    assert (verdict.accused, verdict.epoch) == ("log-0-0", CHANGE + 1)


# PosthumousStatement


def under(newer: SignedRoster, epoch: int | None = None) -> LogOpening:
    """The record of an epoch under a roster: of its first one."""
    roster = ROSTER.decode(newer.body)
    first = roster.valid_from_epoch
    place = first if epoch is None else epoch
    incarnation = roster.entry(LOG).incarnation
    return open_at(log_of([FIRST] * first + [newer] * (place + 1 - first)), place, key_of(LOG, incarnation))


def posthumous(statement: Signed, older: SignedRoster = FIRST, newer: SignedRoster = SECOND) -> PosthumousStatement:
    return PosthumousStatement(name_of(older), name_of(newer), statement, None, under(newer))


@pytest.mark.parametrize("actor", SIGNERS, ids=str)
def test_a_statement_after_the_end(actor: Actor) -> None:
    for epoch in (CHANGE + 1, CHANGE + 2, 2**63):
        verdict = judge(posthumous(statement_of(actor, epoch, 1)), FIRST, SECOND)
        assert (verdict.accused, verdict.epoch) == (str(actor), epoch)
        assert f"incarnation 1 of {actor} signed its" in verdict.detail
        assert f"version 2 had ended it, and epoch {CHANGE} ran under that" in verdict.detail


@pytest.mark.parametrize("actor", SIGNERS, ids=str)
def test_a_roster_that_the_root_signs_afterwards_ends_nothing(actor: Actor) -> None:
    """Nor does one that binds the very epoch: a crash cut that off under the roster before, and it was begun again."""
    honest = log_of([FIRST] * (CHANGE + 3))
    for epoch in range(CHANGE + 3):
        statement = statement_of(actor, epoch, 1)
        for place in range(len(honest)):
            finding = posthumous(statement)._replace(record=open_at(honest, place, key_of(LOG, 1)))
            acquits(finding, FIRST, SECOND, words="names another roster")
        for place in range(max(epoch, CHANGE), CHANGE + 3):
            finding = posthumous(statement)._replace(record=under(SECOND, place))
            acquits(finding, FIRST, SECOND, words="no epoch before this one")
    late = posthumous(statement_of(actor, CHANGE + 1, 1))
    for signer in (ROOT, key_of(LOG, 3), signer_of("mallory")):
        record = open_at(log_of([FIRST] * CHANGE + [SECOND]), CHANGE, signer)
        acquits(late._replace(record=record), FIRST, SECOND, words="no log key")
    early = sign(make_roster(2, [2] * 6, CHANGE + 1, name_of(FIRST)))
    record = open_at(log_of([FIRST] * CHANGE + [early]), CHANGE, key_of(LOG, 1))
    backwards = posthumous(statement_of(actor, CHANGE + 2, 1), FIRST, early)._replace(record=record)
    acquits(backwards, FIRST, early, words="binds later epochs")


@pytest.mark.parametrize("actor", SIGNERS, ids=str)
def test_statements_of_an_honest_rotation(actor: Actor) -> None:
    """The old incarnation up to the change, the new one from then on; in whichever order the rosters are given."""
    statements = [statement_of(actor, epoch, 1 if epoch < CHANGE else 2) for epoch in range(CHANGE + 3)]
    third = sign(make_roster(3, [2] * 6, CHANGE + 1, name_of(SECOND)))
    for statement in statements:
        for older in (FIRST, SECOND, third):
            for newer in (FIRST, SECOND, third):
                acquits(posthumous(statement, older, newer), FIRST, SECOND, third)


def test_an_actor_that_is_named_no_more_at_all() -> None:
    wide = make_roster(1, [1] * 6, 0)
    more = [Actor(role, 0, 1) for role in (Role.INBOX, Role.ROUTER)]
    extra = [RosterEntry(a.encode(), 1, SUITE_ED25519, key_of(a, 1).public_key) for a in more]
    wide = wide._replace(actors=tuple(sorted((*wide.actors, *extra))), lanes=(*wide.lanes, Lane(1, more[0].encode())))
    narrow = sign(make_roster(2, [1] * 6, CHANGE, hash_roster(ROSTER.encode(wide))))
    late = statement_of(ROUTER, CHANGE + 1, 1, key_of(more[1], 1), actor=more[1].encode())
    assert judge(posthumous(late, sign(wide), narrow), sign(wide), narrow).accused == "router-0-1"
    goes_on = statement_of(ROUTER, CHANGE + 1, 1)
    acquits(posthumous(goes_on, sign(wide), narrow), sign(wide), narrow, words="names this incarnation too")


@pytest.mark.parametrize("actor", SIGNERS, ids=str)
def test_statements_that_the_actor_did_not_sign(actor: Actor) -> None:
    good = statement_of(actor, LATE, 1)
    other = next(one for one in SIGNERS if one is not actor)
    for wrong in (
        statement_of(actor, LATE, 1, signer_of("mallory")),
        statement_of(actor, LATE, 1, key_of(actor, 2)),
        statement_of(actor, LATE, 1, ROOT),
        statement_of(actor, LATE, 2, key_of(actor, 1)),
        statement_of(actor, LATE, 1, key_of(actor, 1), origin=OTHER_ORIGIN),
        key_of(actor, 1).sign("bundle", ORIGIN, good.body),
        good._replace(signature=bytes(64)),
    ):
        acquits(posthumous(wrong), FIRST, SECOND)
    for malformed in (b"", good.body[:38], good.body + b"\0", statement_of(other, LATE, 1).body[:2] + good.body[2:]):
        with pytest.raises(DecodeError):
            judge(posthumous(Signed(malformed, good.signature)), FIRST, SECOND)


def test_the_log_makes_no_statements() -> None:
    body = statement_of(SEQUENCER, LATE, 1, actor=LOG.encode()).body
    acquits(posthumous(key_of(LOG, 1).sign("open", ORIGIN, body)), FIRST, SECOND, words="makes no statements")


def test_checkpoints_of_an_honest_rotation() -> None:
    records = log_of([FIRST] * CHANGE + [SECOND] * 3)
    for size in range(len(records) + 1):
        note = note_of(records[:size], key_of(LOG, 1 if size <= CHANGE else 2))
        for older in (FIRST, SECOND):
            for newer in (FIRST, SECOND):
                for place in range(len(records)):
                    record = open_at(records, place, key_of(LOG, 2))
                    acquits(PosthumousStatement(name_of(older), name_of(newer), None, note, record), FIRST, SECOND)


def test_checkpoints_that_the_log_did_not_sign() -> None:
    records = log_of([FIRST] * (LATE + 1))
    foreign = sign_checkpoint(key_of(LOG, 1), Checkpoint("another/log", LATE + 1, EMPTY_ROOT))
    for wrong in (b"", foreign, *(note_of(records, key) for key in (key_of(LOG, 2), signer_of("mallory"), ROOT))):
        finding = PosthumousStatement(name_of(FIRST), name_of(SECOND), None, wrong, under(SECOND))
        acquits(finding, FIRST, SECOND, words="not a checkpoint")


def test_exactly_one_thing_was_signed() -> None:
    note = note_of(log_of([FIRST] * (LATE + 1)), key_of(LOG, 1))
    statement = statement_of(INBOX, LATE, 1)
    for both in ((None, None), (statement, note)):
        with pytest.raises(DecodeError):
            judge(PosthumousStatement(name_of(FIRST), name_of(SECOND), *both, under(SECOND)), FIRST, SECOND)
