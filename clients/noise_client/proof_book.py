"""Proofs of misbehaviour that we hold: each verified as a stranger would verify it, before it counts.

Knows nothing of how a proof came about, or of who is told.
"""

from collections.abc import Callable
from enum import Enum

from noise.protocol.errors import NoiseError
from noise.protocol.evidence.proof import verify_proof
from noise.protocol.evidence.verdict import Verdict as ProofVerdict
from noise_client.evidence_store import EvidenceStore, KeptProof
from noise_client.verdicts import Docket, Reason, Verdict


class News(Enum):
    """What a proof is to us."""

    NO_PROOF = "no proof"
    KNOWN = "known"  # there is one of its class, accused and epoch
    ANOTHER = "another"  # the first of its epoch, but not of its class and accused
    FIRST = "first"  # of its class and accused


class ProofBook:
    """Calls the store."""

    def __init__(self, store: EvidenceStore, origin: bytes, docket: Docket, time_ms: Callable[[], int]) -> None:
        self._store = store
        self._origin = origin
        self._docket = docket
        self._time_ms = time_ms
        self._verdicts: list[ProofVerdict] = []
        for kept in store.proofs():
            self._expose(verify_proof(kept.proof, [origin]))

    def keep(self, proof: bytes) -> News:
        """Store what convicts, if it is news."""
        try:
            verdict = verify_proof(proof, [self._origin])
        except NoiseError:
            return News.NO_PROOF
        known = [(v.kind, v.accused) for v in self._verdicts]
        is_known = any(verdict[:4] == v[:4] for v in self._verdicts)
        if is_known or not self._store.save_proof(KeptProof(self._time_ms(), proof)):
            return News.KNOWN
        self._expose(verdict)
        return News.ANOTHER if (verdict.kind, verdict.accused) in known else News.FIRST

    def proofs(self, count: int) -> list[bytes]:
        """The first that we had."""
        return [kept.proof for kept in self._store.proofs()[:count]]

    def _expose(self, verdict: ProofVerdict) -> None:
        self._verdicts.append(verdict)
        self._docket.add(Verdict.EXPOSED, f"proof {len(self._verdicts)}", Reason(verdict.kind, verdict.detail))
