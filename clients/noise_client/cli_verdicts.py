"""What the `noise-client` command says about a provider, and the files that it writes for strangers.

Knows nothing of how a verdict comes about.
"""

import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from noise.protocol.errors import NoiseError
from noise.protocol.evidence.proof import PROOF, verify_proof
from noise.protocol.evidence.verdict import PROVIDER
from noise.protocol.identifiers import format_id
from noise_client.evidence_store import KeptProof
from noise_client.proof_book import UNRESPONSIVE
from noise_client.verdicts import Judgement, Reason, Verdict

_MEANINGS = {
    Verdict.OK: "everything that was compared agrees",
    Verdict.STALE: "nothing newer has come",
    Verdict.SUSPECTED: "something does not fit, and nothing is proven",
    Verdict.EXPOSED: "it is proven to have lied",
}


def describe(judgement: Judgement) -> str:
    """For a person, in one line. Which actors are convicted comes first, once that is known."""
    reasons = "; ".join(f"{reason.detail} [{reason.code}]" for reason in judgement.reasons)
    liars = ", ".join(sorted({reason.accused for reason in judgement.reasons if is_named(reason)}))
    by = f" by {liars}" if liars else ""
    return f"the provider is {judgement.verdict.name}{by}: {reasons or _MEANINGS[judgement.verdict]}"


def is_named(reason: Reason) -> bool:
    """Whether it convicts one actor of the provider."""
    return reason.accused not in {"", PROVIDER} and reason.code != UNRESPONSIVE


def judgement_json(judgement: Judgement) -> dict[str, object]:
    """As one JSON line has it."""
    return {
        "verdict": judgement.verdict.value,
        "reasons": [reason._asdict() for reason in judgement.reasons],
    }


class ProofFiles:
    """Writes proofs beside a device file, each once: `FILE.CLASS-EPOCH.proof`; or, where that is another proof's file,
    `FILE.CLASS-EPOCH.ACCUSED.proof`. What is no proof of a lie ends with `.suspicion`."""

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
                stem, end = f"{self._device}.{verdict.kind}-{verdict.epoch}", "proof"
                said = f"PROOF of {verdict.kind} in epoch {verdict.epoch}"
                if verdict.is_suspicion:
                    end, said = "suspicion", f"SUSPICION, no proof: {verdict.detail}"
                elif verdict.accused != PROVIDER:
                    said += f" by {verdict.accused}"
                path = Path(f"{stem}.{end}")
                if path.exists() and path.read_bytes() != kept.proof:
                    path = Path(f"{stem}.{verdict.accused}.{end}")
                path.write_bytes(kept.proof)
                paths.append(path)
                self.say(f"{said}: {path}")
                self.say(f"for anybody: noise verify {path} --origin {format_id(origin)}")
        return paths
