"""Proofs of misbehaviour as files: made from a finding, and verified by anybody who knows the provider's origin.

Knows nothing of clients, stores, networks or clocks. A proof is a contradiction between what one provider signed, with
the rosters that say whose keys signed it; its root key's word is needed for nothing else. An honest provider signs no
contradictions, so there is no proof against it, whoever makes one up.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import TypeAlias

from noise.protocol.delta import SignedRoster
from noise.protocol.evidence import challenges, trail
from noise.protocol.evidence.kinds import (
    PLAIN_KINDS,
    PROOF,
    PROOF_BYTES_MAX,
    Kind,
    PlainFinding,
    Proof,
    open_proof,
)
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

Finding: TypeAlias = PlainFinding | trail.BlameTrail | challenges.Admission

_ADMISSIBLE: Mapping[str, Kind] = {**PLAIN_KINDS, "BlameTrail": Kind(trail.BLAME_TRAIL, trail.verify_trail)}


def _verify_admission(rosters: Rosters, finding: challenges.Admission) -> Verdict:
    admitted = open_proof(finding.proof, (rosters.origin,), _ADMISSIBLE).verdict
    return challenges.verify_admission(rosters, finding, admitted)


KINDS: Mapping[str, Kind] = {**_ADMISSIBLE, "Admission": Kind(challenges.ADMISSION, _verify_admission)}


def verify_proof(data: bytes, origins: Collection[bytes]) -> Verdict:
    """What a proof file proves about one of the `origins`: the only thing that is trusted.

    Pure, total and bounded: raises DecodeError for what is malformed, NotProven for all else, and nothing but these.
    """
    return open_proof(data, origins, KINDS).verdict


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
