"""LogFork and InvalidRecord: every shape of them convicts, and nothing that an honest log holds does."""

import base64
from functools import cache
from typing import Any

import pytest

from noise.protocol.checkpoint import Checkpoint, sign_checkpoint
from noise.protocol.delta import SignedRoster
from noise.protocol.errors import DecodeError, NoiseError, ProofError
from noise.protocol.evidence.logs import InvalidRecord, LogFork
from noise.protocol.evidence.openings import LogOpening, open_log_leaf
from noise.protocol.evidence.rosters import Rosters
from noise.protocol.identifiers import Role
from noise.protocol.merkle import EMPTY_ROOT, Tree, leaf_hash, tree_root
from noise.protocol.signing import Signer
from noise.protocol.statements import EPOCH_RECORD, Roster, hash_roster
from tests.protocol.evidence.exhibits import Exhibit, Scribe, acquits, convicts, judge, rosters_of, tell
from tests.protocol.story import BOB, LAST
from tests.vectors.cast import LOG, LOG_NAME, ORIGIN, make_roster, sign_roster, signer_of

OTHER = tree_root([bytes(32)])


@cache
def honest() -> Scribe:
    """Not to be changed."""
    return tell()


def note_of(leaves: list[bytes], signer: Signer = LOG, **changes: Any) -> bytes:
    return sign_checkpoint(signer, Checkpoint(LOG_NAME, len(leaves), tree_root(leaves))._replace(**changes))


def open_at(leaves: list[bytes], records: list[bytes], place: int, signer: Signer = LOG) -> LogOpening:
    """Record `place` in the log of all of them."""
    proof = Tree(leaves).inclusion(place)
    return LogOpening(note_of(leaves, signer), place, records[place], tuple(proof))


def true_records(scribe: Scribe) -> list[bytes]:
    return [EPOCH_RECORD.encode(snapshot.record) for snapshot in scribe.epochs]


def true_openings(scribe: Scribe) -> list[LogOpening]:
    """Every record in the log of every size."""
    records = true_records(scribe)
    hashes = [leaf_hash(record) for record in records]
    return [open_at(hashes[:size], records, place) for size in range(1, len(records) + 1) for place in range(size)]


def invented(place: int, n: int = LAST + 1, **changes: Any) -> LogOpening:
    """Record `place` of a log of n records that is true up to it; what follows is what it was."""
    records = true_records(honest())[:n]
    records[place] = EPOCH_RECORD.encode(EPOCH_RECORD.decode(records[place])._replace(**changes))
    return open_at([leaf_hash(record) for record in records], records, place)


# LogFork


def test_two_logs_of_one_size() -> None:
    lie = Exhibit(honest(), BOB, record={"time_ms": 7}).note
    finding = LogFork((Exhibit(honest(), BOB).note, lie), ())
    convicts(honest(), finding, "log-0-0", LAST, "two different logs of the same 6 epochs")
    convicts(honest(), LogFork(finding.notes[::-1], ()), "log-0-0", LAST)


def test_two_records_of_one_epoch() -> None:
    """Whatever the sizes of the logs in which they are shown."""
    for place in range(LAST + 1):
        for size in range(place + 1, LAST + 2):
            for true in (opening for opening in true_openings(honest()) if opening.place == place):
                finding = LogFork((), (true, invented(place, size, n_messages=77)))
                convicts(honest(), finding, "log-0-0", place, f"different records of epoch {place}")


def test_a_record_that_continues_another_log() -> None:
    for place in range(1, LAST + 1):
        note = Exhibit(honest(), BOB, place - 1).note
        for size in range(place + 1, LAST + 2):
            finding = LogFork((note,), (invented(place, size, prev_root=OTHER),))
            convicts(honest(), finding, "log-0-0", place, f"a log of {place} epochs")


def test_two_views_of_an_honest_log_are_no_fork() -> None:
    openings = true_openings(honest())
    notes = [Exhibit(honest(), BOB, number).note for number in range(LAST + 1)]
    for one in openings:
        for other in openings:
            acquits(honest(), LogFork((), (one, other)))
        for note in notes:
            acquits(honest(), LogFork((note,), (one,)))
    for note in notes:
        for again in notes:
            acquits(honest(), LogFork((note, again), ()))


def test_proofs_under_another_size_or_place() -> None:
    """Almost every proof verifies for some other leaf of a tree of some other size: the size is what the note says."""
    rosters = Rosters(ORIGIN, rosters_of(honest()))
    records = true_records(honest())
    for one in true_openings(honest())[6:]:
        for place in (*range(LAST + 3), 2**63, 2**64 - 1):
            for record in records:
                if (place, record) != (one.place, one.record):
                    with pytest.raises(ProofError):
                        open_log_leaf(rosters, one._replace(place=place, record=record))


def test_notes_that_the_log_did_not_sign() -> None:
    leaves = honest().leaves
    true, lie = note_of(leaves), note_of([*leaves[:-1], OTHER])
    convicts(honest(), LogFork((true, lie), ()), "log-0-0", LAST)
    for signer in map(signer_of, ("mallory", "root", "sequencer", "outbox-0-0")):
        acquits(honest(), LogFork((true, note_of([*leaves[:-1], OTHER], signer)), ()), "no log key")
    for name in ("noise-seq/other", LOG_NAME + "x"):
        acquits(honest(), LogFork((true, note_of([*leaves[:-1], OTHER], log_name=name)), ()), "another log")
    acquits(honest(), LogFork((note_of([], root=OTHER), note_of([])), ()), "no log key")
    hint = lie.index("— ".encode())
    for wrong in (b"", lie[:hint], lie + lie, lie.replace(b"\n6\n", b"\n06\n"), true.replace(b"\n6\n", b"\n5\n")):
        with pytest.raises(NoiseError) as caught:
            judge(honest(), LogFork((true, wrong), ()))
        assert caught.value.code in ("malformed", "not-proven")


def test_a_note_whose_hint_is_of_another_key() -> None:
    """The signature verifies; the note is still not the one that the log's key made."""
    leaves = honest().leaves
    lie = note_of([*leaves[:-1], OTHER])
    head, _, line = lie.rstrip(b"\n").rpartition(b" ")
    changed = base64.b64encode(bytes(4) + base64.b64decode(line)[4:])
    acquits(honest(), LogFork((note_of(leaves), head + b" " + changed + b"\n"), ()), "no log key")


def test_a_fork_has_two_sides() -> None:
    note, record = note_of(honest().leaves), true_openings(honest())[-1]
    for notes, records in (
        ((), ()),
        ((note,), ()),
        ((), (record,)),
        ((note,), (record,) * 2),
        ((note,) * 2, (record,)),
    ):
        with pytest.raises(DecodeError):
            judge(honest(), LogFork(notes, records))
    with pytest.raises(DecodeError):
        judge(honest(), LogFork((note,) * 3, ()))


def test_a_log_whose_key_changed() -> None:
    """One log under two keys is one log; two logs under two keys of one provider are the provider's."""
    before = honest().rosters[-1]
    log, fresh = make_roster(1, 1, 2, hash_roster(before.body)), signer_of("log, second")
    entries = tuple(e._replace(key=fresh.public_key) if e.actor[0] == Role.LOG else e for e in log.actors)
    rosters = [*rosters_of(honest()), SignedRoster(*sign_roster(log._replace(actors=entries, valid_from_epoch=3)))]
    leaves = honest().leaves
    acquits(honest(), LogFork((note_of(leaves), note_of(leaves, fresh)), ()), "of one log", rosters)
    lie = note_of([*leaves[:-1], OTHER], fresh)
    verdict = judge(honest(), LogFork((note_of(leaves), lie), ()), rosters)
    assert (verdict.accused, verdict.epoch) == ("provider", LAST)
    acquits(honest(), LogFork((note_of(leaves), lie), ()), "no log key", rosters[:1])
    early = note_of([OTHER], fresh)
    acquits(honest(), LogFork((note_of(leaves[:1]), early), ()), "no log key", rosters)


# InvalidRecord


def alone(opening: LogOpening) -> InvalidRecord:
    return InvalidRecord(opening, None)


def test_honest_records_are_valid_alone_and_in_pairs() -> None:
    scribe = tell(1, 3)
    scribe.change_roster(scribe.next_roster(3))
    scribe.commit()
    scribe.commit()
    openings = true_openings(scribe)
    for one in openings:
        acquits(scribe, alone(one), "nothing is wrong")
        for other in openings:
            acquits(scribe, InvalidRecord(one, other), "nothing went back")


def test_leaves_that_are_no_records() -> None:
    for record in (b"", b"hello", true_records(honest())[2] + b"\0", true_records(honest())[2][:-1], bytes(230)):
        records = true_records(honest())
        records[2] = record
        opening = open_at([leaf_hash(one) for one in records], records, 2)
        convicts(honest(), alone(opening), "log-0-0", 2, "is no epoch record")
        with pytest.raises(DecodeError):
            judge(honest(), InvalidRecord(opening, opening))


@pytest.mark.parametrize("epoch", [0, 1, 3, 2**63, 2**64 - 1])
def test_a_record_at_another_place(epoch: int) -> None:
    convicts(honest(), alone(invented(2, epoch=epoch)), "log-0-0", 2, f"is a record of epoch {epoch}")


def test_a_log_that_begins_in_the_middle() -> None:
    convicts(honest(), alone(invented(0, prev_root=OTHER)), "log-0-0", 0, "the first of it")
    acquits(honest(), alone(invented(1, prev_root=EMPTY_ROOT)))


def test_a_record_that_ends_another_log_than_it_continues() -> None:
    """The proof of the last leaf holds the whole log before it; a proof of any other leaf does not."""
    for place in range(1, LAST + 1):
        convicts(honest(), alone(invented(place, place + 1, prev_root=OTHER)), "log-0-0", place, "continue another log")
        for n in range(place + 2, LAST + 2):
            acquits(honest(), alone(invented(place, n, prev_root=OTHER)), "nothing is wrong")


@pytest.mark.parametrize("count", [0, 4, 6, 2**32 - 1])
def test_a_statement_too_many_or_too_few(count: int) -> None:
    convicts(honest(), alone(invented(2, statements_count=count)), "log-0-0", 2, f"has {count} statements of the 5")


def late_roster(epoch: int) -> Roster:
    return make_roster(1, 1, 2, hash_roster(honest().rosters[-1].body))._replace(valid_from_epoch=epoch)


@pytest.mark.parametrize("epoch", [0, 2, 3, 2**64 - 1])
def test_a_roster_of_the_future(epoch: int) -> None:
    signed = sign_roster(late_roster(epoch))
    rosters = [*rosters_of(honest()), SignedRoster(*signed)]
    finding = alone(invented(2, roster_hash=hash_roster(signed.body)))
    if epoch <= 2:
        acquits(honest(), finding, "nothing is wrong", rosters)
    else:
        verdict = judge(honest(), finding, rosters)
        assert (verdict.accused, verdict.epoch) == ("log-0-0", 2)
        assert f"from {epoch} on" in verdict.detail
    acquits(honest(), finding, "missing")


def test_what_is_reserved_convicts_nobody() -> None:
    for changes in (
        {"placement_root": OTHER, "placement_count": 1},
        {"challenges_root": OTHER, "challenges_count": 1},
        {"n_messages": 2**32 - 1},
        {"statements_root": OTHER},
        {"time_ms": 2**64 - 1},
        {"time_ms": 0},
    ):
        acquits(honest(), alone(invented(2, **changes)), "nothing is wrong")


def test_a_clock_that_goes_back() -> None:
    """Between neighbours, over a distance, and in whichever order they are given."""
    lie = invented(4, time_ms=3)
    records = true_records(honest())
    for place in range(4):
        true = open_at([leaf_hash(record) for record in records], records, place)
        for finding in (InvalidRecord(true, lie), InvalidRecord(lie, true)):
            convicts(honest(), finding, "log-0-0", 4, f"in epoch {place} to 3 ms in epoch 4")
    later = open_at([leaf_hash(record) for record in records], records, 5)
    acquits(honest(), InvalidRecord(later, lie), "nothing went back")
    acquits(honest(), InvalidRecord(lie, lie), "nothing went back")


def test_challenges_that_vanish() -> None:
    """What is logged stays, or an actor's silence could be hidden again. More of them are no lie."""
    records = true_records(honest())
    for place in range(4):
        lie = invented(4, challenges_count=0)
        asked = invented(place, challenges_root=OTHER, challenges_count=2)
        for finding in (InvalidRecord(asked, lie), InvalidRecord(lie, asked)):
            convicts(honest(), finding, "log-0-0", 4, f"had 2 challenges in epoch {place} and 0 in epoch 4")
        true = open_at([leaf_hash(record) for record in records], records, place)
        acquits(honest(), InvalidRecord(true, invented(4, challenges_root=OTHER, challenges_count=3)), "nothing went")


def test_epochs_of_one_time_and_two_times_of_one_epoch() -> None:
    """A clock may stand still; two records of one epoch are a fork, which is another class."""
    true = true_openings(honest())[-1]
    same_time = invented(4, time_ms=EPOCH_RECORD.decode(true.record).time_ms)
    acquits(honest(), InvalidRecord(same_time, true), "nothing went back")
    acquits(honest(), InvalidRecord(true, same_time), "nothing went back")
    lie = invented(LAST, time_ms=3)
    acquits(honest(), InvalidRecord(true, lie), "nothing went back")
    acquits(honest(), InvalidRecord(lie, true), "nothing went back")


def test_a_time_is_of_the_place_where_it_stands() -> None:
    lie = invented(4, time_ms=3, epoch=1)
    true = true_openings(honest())[-1]
    acquits(honest(), InvalidRecord(true, lie), "not at its place")
    acquits(honest(), InvalidRecord(lie, true), "not at its place")
