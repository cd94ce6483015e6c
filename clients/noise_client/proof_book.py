"""Proofs of misbehaviour that we hold: each verified as a stranger would verify it, before it counts.

Knows nothing of how a proof came about, or of who is told. What it proves silence by is no lie, and exposes nobody.
"""

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple, TypeAlias

from noise.protocol.challenges import hash_complaint
from noise.protocol.errors import NoiseError
from noise.protocol.evidence.challenges import Admission
from noise.protocol.evidence.kinds import open_proof
from noise.protocol.evidence.proof import KINDS, verify_proof
from noise.protocol.evidence.trail import BlameTrail
from noise.protocol.evidence.verdict import PROVIDER
from noise.protocol.evidence.verdict import Verdict as ProofVerdict
from noise_client.evidence_store import PROOFS_MAX, EvidenceStore, KeptProof
from noise_client.verdicts import Docket, Reason, Verdict

UNRESPONSIVE = "unresponsive"
"""The suspicion that an actor does not show what it did, though it was asked for everybody to see."""

_CASES_MAX = 16
_REPEATED_MAX = PROOFS_MAX // 2
"""Places for suspicions, and for more of a class and accused that is known: what names another actor needs room."""

_Lie: TypeAlias = tuple[str, str, bytes, int]


class News(Enum):
    """What a proof is to us."""

    KNOWN = "known"  # there is one of its class, accused and epoch, or no place for it
    ANOTHER = "another"  # the first of its epoch, but not of its class and accused
    FIRST = "first"  # of its class and accused


class Ruling(NamedTuple):
    """`verdict`: what the proof convicts of, or why an actor is suspected."""

    verdict: ProofVerdict
    news: News


class ProofBook:
    """Calls the store. `cases`: proofs that convict the provider, and name none of its actors yet."""

    def __init__(self, store: EvidenceStore, origin: bytes, docket: Docket, time_ms: Callable[[], int]) -> None:
        self.cases: tuple[bytes, ...] = ()
        self._store = store
        self._origin = origin
        self._docket = docket
        self._time_ms = time_ms
        self._verdicts: dict[bytes, ProofVerdict] = {}
        self._explained: set[_Lie] = set()
        for kept in store.proofs():
            self._note(kept.proof, *self._open(kept.proof))

    def keep(self, proof: bytes) -> Ruling | None:
        """Store what convicts or is a reason to suspect, if it is news. None: it proves nothing."""
        known = self._verdicts.get(hash_complaint(proof))
        if known is not None:
            return Ruling(known, News.KNOWN)
        try:
            verdict, explained = self._open(proof)
        except NoiseError:
            return None
        is_first = self._is_first(verdict)
        if _lie_of(verdict) in [_lie_of(one) for one in self._verdicts.values()]:
            return Ruling(verdict, News.KNOWN)
        if (verdict.is_suspicion or not is_first) and len(self._verdicts) >= _REPEATED_MAX:
            return Ruling(verdict, News.KNOWN)
        if not self._store.save_proof(KeptProof(self._time_ms(), proof)):
            return Ruling(verdict, News.KNOWN)
        self._note(proof, verdict, explained)
        return Ruling(verdict, News.FIRST if is_first else News.ANOTHER)

    def drop_case(self, proof: bytes) -> None:
        """Nobody is to be asked about it any more."""
        self.cases = tuple([case for case in self.cases if case != proof])

    def proofs(self, count: int) -> list[bytes]:
        """The first that we had: those that convict before those that do not."""
        suspicions = {key for key, verdict in self._verdicts.items() if verdict.is_suspicion}
        kept = [one.proof for one in self._store.proofs()]
        return sorted(kept, key=lambda proof: hash_complaint(proof) in suspicions)[:count]

    def _open(self, proof: bytes) -> tuple[ProofVerdict, _Lie | None]:
        """What it proves, and what the proof in it proves that it explains. Raises NoiseError."""
        opened = open_proof(proof, (self._origin,), KINDS)
        case = b""
        if isinstance(opened.finding, BlameTrail):
            case = opened.finding.case
        elif isinstance(opened.finding, Admission):
            case = opened.finding.proof
        return opened.verdict, _lie_of(verify_proof(case, (self._origin,))) if case else None

    def _note(self, proof: bytes, verdict: ProofVerdict, explained: _Lie | None) -> None:
        is_first = self._is_first(verdict)
        self._verdicts[hash_complaint(proof)] = verdict
        if is_first:
            key = f"{verdict.kind} of {verdict.accused}"
            if verdict.is_suspicion:
                self._docket.add(Verdict.SUSPECTED, key, Reason(UNRESPONSIVE, verdict.detail, verdict.accused))
            else:
                self._docket.add(Verdict.EXPOSED, key, Reason(verdict.kind, verdict.detail, verdict.accused))
        if explained is not None:
            self._explained.add(explained)
        if verdict.accused == PROVIDER and len(self.cases) < _CASES_MAX:
            self.cases = (*self.cases, proof)
        self.cases = tuple([case for case in self.cases if self._lie_in(case) not in self._explained])

    def _is_first(self, verdict: ProofVerdict) -> bool:
        return all((v.kind, v.accused) != (verdict.kind, verdict.accused) for v in self._verdicts.values())

    def _lie_in(self, proof: bytes) -> _Lie:
        return _lie_of(self._verdicts[hash_complaint(proof)])


def _lie_of(verdict: ProofVerdict) -> _Lie:
    """Which one it is: another proof of the same says nothing new."""
    return verdict.kind, verdict.accused, verdict.origin, verdict.epoch
