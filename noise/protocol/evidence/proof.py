"""Proofs of misbehaviour as files: made from a finding, and verified by anybody who knows the provider's origin.

Knows nothing of clients, stores, networks or clocks. A proof is a contradiction between what one provider signed, with
the rosters that say whose keys signed it; its root key's word is needed for nothing else. An honest provider signs no
contradictions, so there is no proof against it, whoever makes one up.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Annotated, Any, NamedTuple, TypeAlias

from noise.protocol.delta import SIGNED_ROSTER, SignedRoster
from noise.protocol.encoding import Bytes32, Codec, Text, Vec32, list_of, struct_codec
from noise.protocol.errors import DecodeError
from noise.protocol.evidence import logs, mailboxes, messages, slots
from noise.protocol.evidence.rosters import Rosters
from noise.protocol.evidence.verdict import NotProven, Verdict, nothing_else
from noise.protocol.statements import hash_roster

__all__ = [
    "KINDS",
    "PROOF",
    "PROOF_BYTES_MAX",
    "Finding",
    "NotProven",
    "Proof",
    "Verdict",
    "make_proof",
    "verify_proof",
]

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

Finding: TypeAlias = (
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
)


class Kind(NamedTuple):
    """A class of evidence: its structure, and the check that ends in a verdict or raises a NoiseError."""

    codec: Codec[Any]
    verify: Callable[[Rosters, Any], Verdict]


KINDS: dict[str, Kind] = {
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
}


def verify_proof(data: bytes, origins: Collection[bytes]) -> Verdict:
    """What a proof file proves about one of the `origins`: the only thing that is trusted.

    Pure, total and bounded: raises DecodeError for what is malformed, NotProven for all else, and nothing but these.
    """
    if len(data) > PROOF_BYTES_MAX:
        raise DecodeError(f"a proof has at most {PROOF_BYTES_MAX} bytes")
    proof = PROOF.decode(data)
    kind = KINDS.get(proof.kind)
    if kind is None:
        raise DecodeError("an unknown class of evidence")
    finding = kind.codec.decode(proof.body)
    with nothing_else():
        if proof.origin not in origins:
            raise NotProven("the proof is about another provider")
        return kind.verify(Rosters(proof.origin, proof.rosters), finding)


def make_proof(origin: bytes, rosters: Sequence[SignedRoster], finding: Finding) -> bytes:
    """The file that proves a finding, with those of the rosters that it needs. It is verified before it is returned.

    Raises DecodeError or NotProven when it proves nothing.
    """
    name = type(finding).__name__
    kind = KINDS[name]
    with nothing_else():
        opened = Rosters(origin, rosters)
        kind.verify(opened, finding)
    by_hash = {hash_roster(one.body): one for one in rosters}
    needed = tuple([one for roster_hash, one in by_hash.items() if roster_hash in opened.used])
    data = PROOF.encode(Proof(origin, needed, name, kind.codec.encode(finding)))
    verify_proof(data, (origin,))
    return data
