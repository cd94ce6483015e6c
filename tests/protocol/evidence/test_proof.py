"""Proof files: one form, every class convicts, and whatever is done to the bytes ends in DecodeError or NotProven."""

import tracemalloc
from collections.abc import Iterator, Sequence
from functools import cache
from random import Random
from time import process_time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noise.protocol.delta import SignedRoster
from noise.protocol.errors import DecodeError
from noise.protocol.evidence import openings
from noise.protocol.evidence.kinds import PROOF_ROSTERS_MAX
from noise.protocol.evidence.messages import Omission
from noise.protocol.evidence.openings import PROOF_HASHES_MAX
from noise.protocol.evidence.proof import (
    KINDS,
    PROOF,
    PROOF_BYTES_MAX,
    NotProven,
    Proof,
    Verdict,
    make_proof,
    verify_proof,
)
from noise.protocol.limits import LANES_MAX, OUTBOXES_MAX
from noise.protocol.statements import ROSTER, hash_roster
from tests.protocol.evidence.convictions import (
    CONVICTIONS,
    conviction,
    framings,
    rosters_for,
    told_truly,
)
from tests.protocol.evidence.exhibits import Exhibit, Scribe, acquits, file_of, judge, rosters_of, sequence, tell
from tests.protocol.mutations import mutations
from tests.protocol.story import ALICE, BOB, DAVE, LAST, letter
from tests.protocol.structures import values
from tests.vectors.cast import ORIGIN, OTHER_ORIGIN, ROOT, device_of, make_roster, sign_roster

CAROL = device_of("carol")
every_conviction = pytest.mark.parametrize("name", CONVICTIONS)


@cache
def made(name: str) -> bytes:
    return make_proof(ORIGIN, rosters_for(name), conviction(name))


def outcome(data: bytes) -> Verdict | str:
    """A verdict, or the code of the refusal. Anything else escapes.

    How a trail's verdict tells the way is left out: what is no view any more is not on it.
    """
    try:
        verdict = verify_proof(data, {ORIGIN})
        return verdict._replace(way=(), detail="") if verdict.way else verdict
    except (DecodeError, NotProven) as error:
        return error.code


def test_every_class_is_convicted_of() -> None:
    assert {type(conviction(name)).__name__ for name in CONVICTIONS} == set(KINDS)


@every_conviction
def test_a_proof_convicts(name: str) -> None:
    verdict = verify_proof(made(name), [OTHER_ORIGIN, ORIGIN])
    assert (verdict.kind, verdict.origin) == (name.split(",", maxsplit=1)[0], ORIGIN)
    assert verdict.epoch == (4 if name == "Omission, gap" else LAST)
    assert verdict.is_suspicion == (name == "UnansweredChallenge")
    assert len(made(name)) < 16_000
    assert verify_proof(made(name), [ORIGIN]) == verdict
    assert verdict.detail.isprintable()
    assert not verdict.detail.endswith(".")


@every_conviction
def test_a_proof_is_about_its_origin_alone(name: str) -> None:
    for origins in ((), (OTHER_ORIGIN,), {bytes(32)}):
        with pytest.raises(NotProven, match="another provider"):
            verify_proof(made(name), origins)
    proof = PROOF.decode(made(name))
    moved = PROOF.encode(proof._replace(origin=OTHER_ORIGIN))
    with pytest.raises(NotProven):
        verify_proof(moved, [ORIGIN, OTHER_ORIGIN])
    with pytest.raises(NotProven):
        verify_proof(PROOF.encode(proof._replace(rosters=())), [ORIGIN])


def check_bits(name: str, first_byte: int, step: int) -> None:
    """Flip a bit of every byte, or of every so many: no proof any more, or the very same conviction."""
    data, verdict, random = made(name), outcome(made(name)), Random(name)
    for at in range(first_byte, len(data), step):
        damaged = bytearray(data)
        damaged[at] ^= 1 << random.randrange(8)
        assert outcome(bytes(damaged)) in ("malformed", "not-proven", verdict), at


@every_conviction
def test_bits_count(name: str) -> None:
    step = 1 if len(made(name)) < 1800 else 19
    check_bits(name, Random(name).randrange(step), step)


@pytest.mark.slow
@every_conviction
def test_every_bit_counts(name: str) -> None:
    check_bits(name, 0, 1)


@every_conviction
def test_every_cut_and_every_addition_is_malformed(name: str) -> None:
    data = made(name)
    for size in range(len(data)):
        with pytest.raises(DecodeError):
            verify_proof(data[:size], [ORIGIN])
    for more in (b"\0", data):
        with pytest.raises(DecodeError):
            verify_proof(data + more, [ORIGIN])


@every_conviction
def test_a_proof_of_one_class_proves_no_other(name: str) -> None:
    """The same bytes under every other name: at most a truth of another class, never another truth of the same."""
    proof = PROOF.decode(made(name))
    for kind in (*KINDS, "", "omission", "Slander", "x" * 1000):
        other = outcome(PROOF.encode(proof._replace(kind=kind)))
        if kind == proof.kind:
            assert isinstance(other, Verdict)
        elif kind not in KINDS:
            assert other == "malformed"
        else:
            assert other in ("malformed", "not-proven")


@every_conviction
def test_no_field_can_be_changed(name: str) -> None:
    """Field by field, and with parts of other proofs and of honest statements in every place where they fit."""
    proof, verdict = PROOF.decode(made(name)), outcome(made(name))
    codec = KINDS[proof.kind].codec
    others = [conviction(other) for other in CONVICTIONS if other != name]
    others = [other for other in others if type(other).__name__ == proof.kind]
    for mutation in sample(mutations(codec, conviction(name), others), name, 150):
        changed = outcome(PROOF.encode(proof._replace(body=codec.encode(mutation.value))))
        if changed in ("malformed", "not-proven", verdict):
            continue
        assert mutation.how == "taken", mutation.place  # with others' parts it may prove what those prove
        assert isinstance(changed, Verdict) and changed.kind == proof.kind


def sample(found: Iterator[Any], seed: str, n: int) -> Sequence[Any]:
    everything = list(found)
    return everything if len(everything) <= n else Random(seed).sample(everything, n)


@cache
def honest_world() -> Scribe:
    """The story, with two changes of rosters on its way."""
    scribe = tell(1, 3)
    scribe.change_roster(scribe.next_roster(3))
    scribe.commit()
    scribe.commit(letter("bob", 1, b"five", own=16))
    scribe.change_roster(scribe.next_roster(2))
    scribe.commit(letter("alice", 4, b"six", b"seven", own=8), letter("carol", 2, b"eight", to=("bob", "carol")))
    scribe.commit()
    return scribe


@cache
def honest_findings() -> list[Any]:
    scribe = honest_world()
    exhibits = [Exhibit(scribe, mailbox, n) for mailbox in (ALICE, BOB, CAROL) for n in (2, 4, 5, 6)]
    ks = [k % len(scribe.epochs[e.log.place].told[e.state.mailbox].entries) for k, e in enumerate(exhibits)]
    rosters = (0, 0, 0, 1, 1, 2)
    messages = [sequence(scribe, e, p, roster=rosters[e]) for e, p in ((0, 1), (2, 0), (4, 0), (5, 0), (5, 2))]
    messages += [exhibit.delivered(k, -1) for exhibit, k in zip(exhibits, ks, strict=True)]
    nobody = [Exhibit(scribe, DAVE, n) for n in (0, 6)]
    found = framings(messages, exhibits, ks)
    for one in nobody:
        found += [f._replace(absence=one.idle()) for f in found if isinstance(f, Omission)][:100]
    return found


def test_the_honest_are_never_convicted() -> None:
    """Every class, with all pairs of what an honest provider signed under three rosters."""
    findings = honest_findings()
    elsewhere = {"AlteredMessage", "Admission", "UnansweredChallenge", "SuppressedChallenge"}
    elsewhere |= {"StageOmission", "StageInsertion", "BlameTrail"}  # honest stages and logs have tests of their own
    assert {type(finding).__name__ for finding in findings} == set(KINDS) - elsewhere
    assert len(findings) > 2500
    for finding in sample(iter(findings), "honest", 1000):
        acquits(honest_world(), finding)


@pytest.mark.slow
def test_none_of_the_honest_is_ever_convicted() -> None:
    for finding in honest_findings():
        acquits(honest_world(), finding)


@settings(max_examples=25)
@given(st.randoms(use_true_random=False))
def test_the_honest_are_not_convicted_by_changing_places(random: Random) -> None:
    """Honest statements with a field changed, or taken from other honest statements: other places, counts, pieces."""
    finding = random.choice(honest_findings())
    same = [other for other in random.sample(honest_findings(), 60) if type(other) is type(finding)][:2]
    name = type(finding).__name__
    for mutation in sample(mutations(KINDS[name].codec, finding, same), random.random().hex(), 12):
        data = file_of(honest_world(), mutation.value, name)
        assert outcome(data) in ("malformed", "not-proven"), (name, mutation.place, mutation.how)


@settings(max_examples=40)
@given(st.sampled_from(sorted(CONVICTIONS)), st.randoms(use_true_random=False))
def test_damaged_files(name: str, random: Random) -> None:
    """Bytes taken away, put in, moved and made up."""
    data, verdict = made(name), outcome(made(name))
    at, size = random.randrange(len(data)), random.randrange(1, 64)
    other = made(random.choice(sorted(CONVICTIONS)))
    for damaged in (
        data[:at] + data[at + size :],
        data[:at] + random.randbytes(size) + data[at:],
        data[:at] + random.randbytes(size) + data[at + size :],
        data[:at] + bytes(size) + data[at + size :],
        data[:at] + b"\xff" * size + data[at + size :],
        data[:at] + other[at : at + size] + data[at + size :],
        random.randbytes(size),
    ):
        assert outcome(damaged) in ("malformed", "not-proven", verdict)


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=15)
@given(data=st.data())
def test_whatever_decodes_is_judged(name: str, data: st.DataObject) -> None:
    """Structures of nonsense, rightly encoded, with a true roster."""
    finding = data.draw(values(KINDS[name].codec))
    with pytest.raises((NotProven, DecodeError)):
        judge(told_truly(), finding)


def test_only_the_rosters_that_are_needed_travel() -> None:
    scribe = told_truly()
    extra = [SignedRoster(*sign_roster(scribe.next_roster(n))) for n in (2, 3)]
    given_rosters = [*extra, *rosters_of(scribe), *extra, *rosters_of(scribe)]
    for name in CONVICTIONS:
        proof = PROOF.decode(make_proof(ORIGIN, [*given_rosters, *rosters_for(name)], conviction(name)))
        assert set(proof.rosters) <= {*given_rosters, *rosters_for(name)}
        assert len(proof.rosters) <= 2


def test_nothing_is_made_of_nothing() -> None:
    scribe = honest_world()
    note = Exhibit(scribe, BOB).note
    fork = type(conviction("LogFork, notes"))((note, note), ())
    with pytest.raises(NotProven):
        make_proof(ORIGIN, rosters_of(scribe), fork)
    with pytest.raises(NotProven):
        make_proof(ORIGIN, (), conviction("LogFork, notes"))
    with pytest.raises(NotProven):
        make_proof(OTHER_ORIGIN, rosters_of(scribe), conviction("LogFork, notes"))


# Bounds


def bounded(data: bytes) -> str:
    """The refusal of a hostile file, which took little time and memory."""
    tracemalloc.start()
    began = process_time()
    try:
        result = outcome(data)
    finally:
        took, peak = process_time() - began, tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert took < 5, took
    assert peak < 64 << 20, peak
    assert isinstance(result, str), result
    return result


def test_a_file_is_at_most_1_mib() -> None:
    assert bounded(bytes(PROOF_BYTES_MAX + 1)) == "malformed"
    assert bounded(made("Conflict") + bytes(PROOF_BYTES_MAX)) == "malformed"


def test_a_proof_has_at_most_so_many_hashes_and_rosters() -> None:
    finding = conviction("LogFork, records")
    one, other = finding.records
    for n, code in ((PROOF_HASHES_MAX, "not-proven"), (PROOF_HASHES_MAX + 1, "malformed"), (30_000, "malformed")):
        long = finding._replace(records=(one, other._replace(proof=(bytes(32),) * n)))
        assert bounded(file_of(told_truly(), long)) == code
    roster = rosters_of(told_truly())[0]
    for n in (PROOF_ROSTERS_MAX + 1, 2000):
        assert bounded(file_of(told_truly(), finding, rosters=[roster] * n)) == "malformed"
    many = file_of(told_truly(), finding, rosters=[roster] * PROOF_ROSTERS_MAX)
    assert outcome(many) == outcome(made("LogFork, records"))


def test_the_largest_rosters() -> None:
    """As many signers as fit, in as many rosters as may be; nothing under them holds."""
    signed = []
    previous = bytes(32)
    for version in range(1, PROOF_ROSTERS_MAX + 1):
        roster = make_roster(LANES_MAX, OUTBOXES_MAX, version, previous)
        body = ROSTER.encode(roster)
        previous = hash_roster(body)
        signed.append(SignedRoster(*ROOT.sign("roster", ORIGIN, body)))
    data = file_of(told_truly(), conviction("Omission, gap"), rosters=signed)
    assert PROOF_BYTES_MAX // 2 < len(data) <= PROOF_BYTES_MAX
    assert bounded(data) == "not-proven"


def test_counts_that_lie_about_what_follows() -> None:
    data = made("Omission, in-delta")
    for at in range(0, len(data) - 4, 13):
        for count in (b"\xff\xff\xff\xff", b"\x00\x0f\xff\xff"):
            if data[at : at + 4] != count:
                assert outcome(data[:at] + count + data[at + 4 :]) in ("malformed", "not-proven")
    empty = PROOF.encode(Proof(ORIGIN, (), "Conflict", b""))
    assert bounded(empty) == "malformed"
    assert bounded(empty[:-4] + b"\xff\xff\xff\xff") == "malformed"


def test_long_lists_in_a_body() -> None:
    finding = conviction("AlteredMessage, bundle")
    for places in ((0,) * 400_000, tuple(range(60_000))):
        assert bounded(file_of(told_truly(), finding._replace(places=places))) == "not-proven"


def test_limits_are_those_of_the_format() -> None:
    assert openings.PROOF_HASHES_MAX == 128
    assert PROOF_BYTES_MAX == 1 << 20
