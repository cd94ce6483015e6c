"""What comes of challenges: an actor that does not answer, a challenge that was hidden, blame that was accepted.

Knows nothing of what an answer says. Silence is not a lie: an unanswered challenge is a suspicion, and worded as one.
"""

from typing import Annotated, NamedTuple

from noise.protocol.challenges import (
    ADMISSION_BODY,
    CHALLENGE,
    CHALLENGE_RECEIPT,
    CHALLENGE_STATE,
    SIGNED_ADMISSION,
    SIGNED_CHALLENGE_RECEIPT,
    SignedAdmission,
    SignedChallengeReceipt,
    hash_challenge,
    hash_complaint,
    is_answerable,
    is_on_the_way,
)
from noise.protocol.delta import OTHER_LEAF, OtherLeaf
from noise.protocol.encoding import Vec32, embedded, optional, struct_codec
from noise.protocol.evidence.openings import LOG_OPENING, LogOpening, ProofHashes, open_log
from noise.protocol.evidence.rosters import Rosters
from noise.protocol.evidence.verdict import PROVIDER, NotProven, Verdict, name_signer
from noise.protocol.identifiers import Actor, Role, parse_actor
from noise.protocol.signing import Signed
from noise.protocol.state_map import MapProof, root_from_proof
from noise.protocol.statements import EpochRecord

_LOG = Actor(Role.LOG, 0, 0)


class UnansweredChallenge(NamedTuple):
    """`log`: a record, of the deadline or later, under whose `challenges_root` the challenge is still open.

    `asked`: the record of the epoch that the challenge is about, whose roster says who had to do with it.
    """

    log: Annotated[LogOpening, LOG_OPENING]
    asked: Annotated[LogOpening, LOG_OPENING]
    challenge: Annotated[bytes, embedded(CHALLENGE)]
    state: Annotated[bytes, embedded(CHALLENGE_STATE)]
    path: ProofHashes


UNANSWERED_CHALLENGE = struct_codec(UnansweredChallenge)


class SuppressedChallenge(NamedTuple):
    """A receipt, and a record of its `by_epoch` or later that lacks the challenge. `path`, `other`: of its absence.

    The log promised, and the log broke it: who can sign records could otherwise make a liar of whoever promised.
    """

    receipt: Annotated[SignedChallengeReceipt, SIGNED_CHALLENGE_RECEIPT]
    log: Annotated[LogOpening, LOG_OPENING]
    path: ProofHashes
    other: Annotated[OtherLeaf | None, optional(OTHER_LEAF)]


SUPPRESSED_CHALLENGE = struct_codec(SuppressedChallenge)


class Admission(NamedTuple):
    """A proof of misbehaviour, and the actor that takes the blame for it."""

    proof: Vec32
    admission: Annotated[SignedAdmission, SIGNED_ADMISSION]


ADMISSION = struct_codec(Admission)


def verify_unanswered_challenge(rosters: Rosters, finding: UnansweredChallenge) -> Verdict:
    challenge, state = CHALLENGE.decode(finding.challenge), CHALLENGE_STATE.decode(finding.state)
    log, asked = open_log(rosters, finding.log), open_log(rosters, finding.asked)
    key, value_hash = hash_challenge(finding.challenge), hash_challenge(finding.state)
    if root_from_proof(key, value_hash, MapProof(finding.path, None)) != log.record.challenges_root:
        raise NotProven("the path does not lead to the root of the challenges")
    if not state.is_open or log.epoch < state.deadline_epoch:
        raise NotProven("the challenge was answered, or there was still time")
    if (challenge.origin, challenge.epoch) != (rosters.origin, asked.epoch):
        raise NotProven("a challenge about another provider, or another epoch")
    if not is_on_the_way(challenge, asked.roster):
        raise NotProven("the actor had nothing to do with what it was asked")
    time_given = state.deadline_epoch - state.opened_epoch
    if time_given < min(opened.roster.parameters.challenge_epochs for opened in (log, asked)):
        raise NotProven("the actor was given too little time")
    if not challenge.epoch < state.opened_epoch:
        raise NotProven("the actor was asked before there was anything to show")
    if not is_answerable(challenge.epoch, state.deadline_epoch, log.roster, asked.roster):
        raise NotProven("the actor was asked for what it need not have kept any more")
    accused = str(parse_actor(challenge.actor))
    detail = (
        f"{accused} was asked in epoch {state.opened_epoch} for what it was given and made in epoch {challenge.epoch}, "
        f"and had until epoch {state.deadline_epoch}; as of epoch {log.epoch} it is unresponsive, which proves no lie"
    )
    return Verdict("UnansweredChallenge", accused, rosters.origin, challenge.epoch, detail, is_suspicion=True)


def verify_suppressed_challenge(rosters: Rosters, finding: SuppressedChallenge) -> Verdict:
    receipt = CHALLENGE_RECEIPT.decode(finding.receipt.body)
    if (receipt.origin, receipt.actor) != (rosters.origin, _LOG.encode()):
        raise NotProven("a receipt of another origin, or not of the log")
    key = rosters.slot_key([Signed(*finding.receipt)], "challenge", _LOG, receipt.incarnation, receipt.by_epoch)
    log = open_log(rosters, finding.log)
    if log.epoch < receipt.by_epoch:
        raise NotProven(f"the challenge is promised by epoch {receipt.by_epoch}")
    other = finding.other
    proof = MapProof(finding.path, (other.key, other.value_hash) if other else None)
    if root_from_proof(receipt.challenge_hash, None, proof) != log.record.challenges_root:
        raise NotProven("the path does not lead to the root of the challenges")
    detail = (
        f"{_LOG} signed that a challenge is in the log's record of epoch {receipt.by_epoch} and in every later one, "
        f"and the record of epoch {log.epoch} lacks it"
    )
    accused = name_signer((_LOG, key), (_LOG, log.note.key))
    return Verdict("SuppressedChallenge", accused, rosters.origin, log.epoch, detail)


def verify_admission(rosters: Rosters, finding: Admission, admitted: Verdict) -> Verdict:
    """`admitted`: what the proof inside was found to prove about the same origin."""
    body = ADMISSION_BODY.decode(finding.admission.body)
    actor = parse_actor(body.actor)
    if (body.origin, body.proof_hash) != (rosters.origin, hash_complaint(finding.proof)):
        raise NotProven("an admission of something else")
    if body.epoch != admitted.epoch or admitted.accused not in (PROVIDER, str(actor)):
        raise NotProven("nobody takes the blame for another epoch, or for another actor")
    rosters.slot_key([Signed(*finding.admission)], "admission", actor, body.incarnation, body.epoch)
    detail = f"{actor} accepts the blame for this {admitted.kind}: {admitted.detail}"
    return Verdict("Admission", str(actor), rosters.origin, admitted.epoch, detail)


def find_fewer_challenges(before: EpochRecord, after: EpochRecord) -> str:
    """Two records of one log, the earlier first: no challenge is ever taken out. Empty: nothing is wrong."""
    if before.epoch < after.epoch and before.challenges_count > after.challenges_count:
        return (
            f"its log had {before.challenges_count} challenges in epoch {before.epoch} and "
            f"{after.challenges_count} in epoch {after.epoch}"
        )
    return ""
