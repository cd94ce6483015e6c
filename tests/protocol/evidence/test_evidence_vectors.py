"""The golden proofs convict, and the changed ones do not, read as another implementation would read them."""

import pytest

from noise.protocol.errors import NoiseError
from noise.protocol.evidence.proof import KINDS, PROOF, verify_proof
from tests.vectors import golden

FAMILIES = sorted(path.name for path in golden.DIRECTORY.glob("evidence_*.json") if path.stem != "evidence_refused")


def test_every_class_has_a_golden_proof() -> None:
    proofs = [proof for name in FAMILIES for proof in golden.read(name)["proofs"]]
    assert {PROOF.decode(bytes.fromhex(proof["encoded"])).kind for proof in proofs} == set(KINDS)


@pytest.mark.parametrize("name", FAMILIES)
def test_golden_proofs_convict(name: str) -> None:
    vectors = golden.read(name)
    for proof in vectors["proofs"]:
        verdict = verify_proof(bytes.fromhex(proof["encoded"]), [bytes.fromhex(vectors["origin"])])
        found = (verdict.kind, verdict.accused, verdict.epoch, verdict.is_suspicion)
        assert found == (proof["kind"], proof["accused"], proof["epoch"], proof["is_suspicion"])


def test_golden_refusals_convict_nobody() -> None:
    proofs = {
        proof["name"]: bytes.fromhex(proof["encoded"]) for name in FAMILIES for proof in golden.read(name)["proofs"]
    }
    vectors = golden.read("evidence_refused.json")
    for refused in vectors["refused"]:
        of, at = proofs[refused["of"]], refused["at"]
        data = of[:at] + bytes.fromhex(refused["put"]) + of[at + refused["cut"] :]
        with pytest.raises(NoiseError) as caught:
            verify_proof(data, [bytes.fromhex(vectors["origin"])])
        assert caught.value.code == refused["code"], refused["why"]
