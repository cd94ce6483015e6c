"""What the `noise-client` command says about a provider, and the files that it writes for strangers.

Knows nothing of how a verdict comes about.
"""

import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from noise.protocol.errors import NoiseError
from noise.protocol.evidence.proof import PROOF, verify_proof
from noise.protocol.identifiers import format_id
from noise_client.evidence_store import KeptProof
from noise_client.verdicts import Judgement, Verdict

_MEANINGS = {
    Verdict.OK: "everything that was compared agrees",
    Verdict.STALE: "nothing newer has come",
    Verdict.SUSPECTED: "something does not fit, and nothing is proven",
    Verdict.EXPOSED: "it is proven to have lied",
}


def describe(judgement: Judgement) -> str:
    """For a person, in one line."""
    reasons = "; ".join(f"{reason.detail} [{reason.code}]" for reason in judgement.reasons)
    return f"the provider is {judgement.verdict.name}: {reasons or _MEANINGS[judgement.verdict]}"


def judgement_json(judgement: Judgement) -> dict[str, object]:
    """As one JSON line has it."""
    return {
        "verdict": judgement.verdict.value,
        "reasons": [{"code": reason.code, "detail": reason.detail} for reason in judgement.reasons],
    }


class ProofFiles:
    """Writes proofs beside a device file, each once: `FILE.CLASS-EPOCH.proof`; or, where that is another proof's file,
    `FILE.CLASS-EPOCH.ACCUSED.proof`."""

    def __init__(self, device: str, command: str) -> None:
        self._device = device
        self._command = command
        self._written: set[bytes] = set()

    def say(self, text: str) -> None:
        """One line on standard error."""
        print(f"{self._command}: {text}", file=sys.stderr, flush=True)

    def write(self, proofs: Iterable[KeptProof]) -> list[Path]:
        """The files of those that were not written before, each announced on standard error."""
        paths = []
        for kept in proofs:
            if kept.proof in self._written:
                continue
            self._written.add(kept.proof)
            with suppress(NoiseError):
                origin = PROOF.decode(kept.proof).origin
                verdict = verify_proof(kept.proof, [origin])
                stem = f"{self._device}.{verdict.kind}-{verdict.epoch}"
                path = Path(f"{stem}.proof")
                if path.exists() and path.read_bytes() != kept.proof:
                    path = Path(f"{stem}.{verdict.accused}.proof")
                path.write_bytes(kept.proof)
                paths.append(path)
                self.say(f"PROOF of {verdict.kind} in epoch {verdict.epoch}: {path}")
                self.say(f"for anybody: noise verify {path} --origin {format_id(origin)}")
        return paths
