"""Proofs that are kept: what exposes, what is a suspicion only, and that no flood of either hides who lied."""

from collections.abc import Iterator

import pytest

from noise.protocol.delta import SignedRoster
from noise.protocol.evidence.proof import Finding, make_proof
from noise.protocol.evidence.slots import StageEquivocation
from noise.protocol.gossip import ProofFrame, View, ViewFrame
from noise.protocol.identifiers import Actor, Role
from noise.protocol.pair_chain import Cut
from noise.protocol.signing import Signed
from noise.protocol.statements import EPOCH_HEAD, EpochHead, hash_roster
from noise_client import MemoryTrustStore
from noise_client.evidence_store import PROOFS_MAX
from noise_client.proof_book import News, ProofBook
from noise_client.verdicts import Docket, Verdict
from tests.client.devices import ALICE
from tests.client.witnesses import Keeper, chat
from tests.protocol.evidence.rosters_and_challenges import case
from tests.protocol.evidence.stage_convictions import trail
from tests.protocol.story import BOB
from tests.vectors.cast import NO_PREVIOUS, ORIGIN, actor_key, device_of, make_roster, sign_roster

ROSTER = make_roster(1, 3)
SIGNED_ROSTER = sign_roster(ROSTER)


def proof_of(name: str) -> bytes:
    """Of one of the classes about rosters and challenges."""
    made = case(name)
    return make_proof(ORIGIN, made.rosters, made.finding)


SUSPICION = proof_of("UnansweredChallenge")


def equivocation(number: int, epoch: int) -> bytes:
    """An outbox signs two heads for one epoch."""
    outbox = Actor(Role.OUTBOX, 0, number)
    heads = [
        EpochHead(
            *(ORIGIN, outbox.encode(), 0, epoch, bytes(32), bytes([n]) * 32, n, NO_PREVIOUS),
            hash_roster(SIGNED_ROSTER.body),
        )
        for n in (0, 1)
    ]
    signed = [actor_key(outbox).sign("head", ORIGIN, EPOCH_HEAD.encode(head)) for head in heads]
    finding: Finding = StageEquivocation(Signed(*signed[0]), Signed(*signed[1]))
    return make_proof(ORIGIN, [SignedRoster(*SIGNED_ROSTER)], finding)


@pytest.fixture
def book() -> Iterator[ProofBook]:
    yield open_book(MemoryTrustStore(ALICE))


def open_book(store: MemoryTrustStore) -> ProofBook:
    return ProofBook(store, ORIGIN, Docket(), lambda: 7)


def news(book: ProofBook, proof: bytes) -> News | None:
    ruling = book.keep(proof)
    return ruling.news if ruling else None


def test_silence_suspects_and_exposes_nobody() -> None:
    """Also when it was stored by an earlier process."""
    alice = Keeper("alice").follow(chat(2))
    for _ in range(2):
        alice.hear(BOB, ProofFrame(SUSPICION))
        assert (alice.verdict, alice.reasons, alice.kinds) == (
            Verdict.SUSPECTED,
            {"unresponsive"},
            ["UnansweredChallenge"],
        )
        [reason] = alice.witness.judgement.reasons
        assert reason.accused == "router-0-0" and "proves no lie" in reason.detail
        alice.open()
    assert not alice.witness.cases


def test_silence_does_not_explain_why_a_peer_differs() -> None:
    """Or a provider that leaves something out would have a friend bring the file, and nobody would look further."""
    alice = Keeper("alice").follow(chat(4))
    alice.hear(BOB, ViewFrame(View(None, (Cut(3, 0, bytes(32)),))))
    assert alice.reasons == {"peer-differs"}
    n_questions = len(alice.witness.questions())
    alice.hear(BOB, ProofFrame(SUSPICION))
    assert alice.reasons == {"peer-differs", "unresponsive"}
    assert len(alice.witness.questions()) == n_questions
    alice.hear(BOB, ProofFrame(equivocation(0, 1)))
    assert alice.reasons == {"StageEquivocation", "unresponsive"}


def test_a_suspicion_is_told_after_what_convicts() -> None:
    alice = Keeper("alice").follow(chat(2))
    for proof in (SUSPICION, equivocation(0, 1)):
        alice.hear(BOB, ProofFrame(proof))
    assert alice.witness.proof_frames() == [ProofFrame(equivocation(0, 1)), ProofFrame(SUSPICION)]


def test_more_of_the_same_leaves_room_for_what_names_another(book: ProofBook) -> None:
    kept = [news(book, equivocation(0, epoch)) for epoch in range(PROOFS_MAX)]
    assert kept[0] is News.FIRST
    assert kept[1 : PROOFS_MAX // 2] == [News.ANOTHER] * (PROOFS_MAX // 2 - 1)
    assert set(kept[PROOFS_MAX // 2 :]) == {News.KNOWN}
    assert news(book, SUSPICION) is News.KNOWN
    assert news(book, equivocation(1, 5)) is News.FIRST
    assert news(book, proof_of("SuppressedChallenge")) is News.FIRST


def test_one_reason_for_each_class_and_accused() -> None:
    alice = Keeper("alice").follow(chat(2))
    alice.hear(BOB, ProofFrame(equivocation(0, 1)))
    [first] = alice.witness.judgement.reasons
    for number, epoch in ((0, 2), (1, 2), (0, 3)):
        alice.hear(BOB, ProofFrame(equivocation(number, epoch)))
    assert alice.witness.judgement.reasons[0] == first
    named = [(reason.code, reason.accused) for reason in alice.witness.judgement.reasons]
    assert named == [("StageEquivocation", "outbox-0-0"), ("StageEquivocation", "outbox-0-1")]
    assert len(alice.kinds) == 4


@pytest.mark.parametrize("explanation", ["BlameTrail", "Admission"])
def test_a_case_is_open_until_it_is_explained(explanation: str) -> None:
    """In whatever order the two come."""
    store, theirs = MemoryTrustStore(ALICE), trail()
    rosters = case("Admission").rosters
    explaining = proof_of("Admission") if explanation == "Admission" else make_proof(ORIGIN, rosters, theirs)
    book = open_book(store)
    book.keep(theirs.case)
    assert (book.cases, open_book(store).cases) == ((theirs.case,), (theirs.case,))
    book.keep(explaining)
    assert (book.cases, open_book(store).cases) == ((), ())
    other = open_book(MemoryTrustStore(ALICE))
    other.keep(explaining)
    other.keep(theirs.case)
    assert other.cases == ()


def test_a_closed_case_is_open_again_in_the_next_process() -> None:
    store, proof = MemoryTrustStore(ALICE), trail().case
    book = open_book(store)
    book.keep(proof)
    book.drop_case(proof)
    assert (book.cases, open_book(store).cases) == ((), (proof,))


def test_who_makes_proofs_up_is_not_listened_to_for_a_minute() -> None:
    """To check them costs time. Others are heard meanwhile."""
    alice = Keeper("alice").follow(chat(2))
    for number in range(8):
        alice.hear(BOB, ProofFrame(SUSPICION[:-1] + bytes([SUSPICION[-1] ^ (number + 1)])))
    alice.hear(BOB, ProofFrame(equivocation(0, 1)))
    assert alice.kinds == []
    alice.hear(device_of("carol"), ProofFrame(equivocation(0, 1)))
    assert alice.kinds == ["StageEquivocation"]
    alice.now_ms += 60_000
    alice.hear(BOB, ProofFrame(equivocation(1, 1)))
    assert alice.kinds == ["StageEquivocation"] * 2
