"""The classes of evidence that stand alone, and how a proof file of any class is opened.

Knows nothing of custody, nor of the classes that hold another proof: `noise.protocol.evidence.proof` has all of them.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any, NamedTuple, TypeAlias

from noise.protocol.delta import SIGNED_ROSTER, SignedRoster
from noise.protocol.encoding import Bytes32, Codec, Text, Vec32, list_of, struct_codec
from noise.protocol.errors import DecodeError
from noise.protocol.evidence import challenges, logs, mailboxes, messages, roster_lies, slots, stages
from noise.protocol.evidence.rosters import Rosters
from noise.protocol.evidence.verdict import NotProven, Verdict, nothing_else

PROOF_BYTES_MAX = 1 << 20
"""A proof file: two or three openings are some 20 KiB, and each roster may have 64 KiB."""

PROOF_ROSTERS_MAX = 16
"""Rosters in a proof: each costs a signature check, and no contradiction has so many statements."""


class Proof(NamedTuple):
    """`kind`: the name of a class of evidence. `body`: the encoding of its structure."""

    origin: Bytes32
    rosters: Annotated[tuple[SignedRoster, ...], list_of(SIGNED_ROSTER, PROOF_ROSTERS_MAX)]
    kind: Text
    body: Vec32


PROOF = struct_codec(Proof, record_type=27)

PlainFinding: TypeAlias = (
    slots.ManifestEquivocation
    | slots.StageEquivocation
    | messages.Omission
    | messages.Conflict
    | messages.AlteredMessage
    | messages.CounterViolation
    | messages.Misdelivery
    | mailboxes.MailboxFork
    | mailboxes.MailboxRollback
    | mailboxes.HistoryViolation
    | logs.LogFork
    | logs.InvalidRecord
    | stages.StageOmission
    | stages.StageInsertion
    | roster_lies.RosterEquivocation
    | roster_lies.PosthumousStatement
    | challenges.UnansweredChallenge
    | challenges.SuppressedChallenge
)


class Kind(NamedTuple):
    """A class of evidence: its structure, and the check that ends in a verdict or raises a NoiseError."""

    codec: Codec[Any]
    verify: Callable[[Rosters, Any], Verdict]


PLAIN_KINDS: Mapping[str, Kind] = {
    "ManifestEquivocation": Kind(slots.MANIFEST_EQUIVOCATION, slots.verify_manifest_equivocation),
    "StageEquivocation": Kind(slots.STAGE_EQUIVOCATION, slots.verify_stage_equivocation),
    "Omission": Kind(messages.OMISSION, messages.verify_omission),
    "Conflict": Kind(messages.CONFLICT, messages.verify_conflict),
    "AlteredMessage": Kind(messages.ALTERED_MESSAGE, messages.verify_altered_message),
    "CounterViolation": Kind(messages.COUNTER_VIOLATION, messages.verify_counter_violation),
    "Misdelivery": Kind(messages.MISDELIVERY, messages.verify_misdelivery),
    "MailboxFork": Kind(mailboxes.MAILBOX_FORK, mailboxes.verify_mailbox_fork),
    "MailboxRollback": Kind(mailboxes.MAILBOX_ROLLBACK, mailboxes.verify_mailbox_rollback),
    "HistoryViolation": Kind(mailboxes.HISTORY_VIOLATION, mailboxes.verify_history_violation),
    "LogFork": Kind(logs.LOG_FORK, logs.verify_log_fork),
    "InvalidRecord": Kind(logs.INVALID_RECORD, logs.verify_invalid_record),
    "StageOmission": Kind(stages.STAGE_OMISSION, stages.verify_stage_omission),
    "StageInsertion": Kind(stages.STAGE_INSERTION, stages.verify_stage_insertion),
    "RosterEquivocation": Kind(roster_lies.ROSTER_EQUIVOCATION, roster_lies.verify_roster_equivocation),
    "PosthumousStatement": Kind(roster_lies.POSTHUMOUS_STATEMENT, roster_lies.verify_posthumous_statement),
    "UnansweredChallenge": Kind(challenges.UNANSWERED_CHALLENGE, challenges.verify_unanswered_challenge),
    "SuppressedChallenge": Kind(challenges.SUPPRESSED_CHALLENGE, challenges.verify_suppressed_challenge),
}


class OpenedProof(NamedTuple):
    """A proof, what is in it, and what it proves."""

    proof: Proof
    finding: Any
    verdict: Verdict


def open_proof(data: bytes, origins: Collection[bytes], kinds: Mapping[str, Kind]) -> OpenedProof:
    """What a proof file of one of these kinds proves about one of the `origins`: the only thing that is trusted.

    Pure, total and bounded: raises DecodeError for what is malformed, NotProven for all else, and nothing but these.
    """
    if len(data) > PROOF_BYTES_MAX:
        raise DecodeError(f"a proof has at most {PROOF_BYTES_MAX} bytes")
    proof = PROOF.decode(data)
    kind = kinds.get(proof.kind)
    if kind is None:
        raise DecodeError("an unknown class of evidence")
    finding = kind.codec.decode(proof.body)
    with nothing_else():
        if proof.origin not in origins:
            raise NotProven("the proof is about another provider")
        return OpenedProof(proof, finding, kind.verify(Rosters(proof.origin, proof.rosters), finding))
