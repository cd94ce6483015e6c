"""The files in which the command leaves proofs for strangers."""

from pathlib import Path

import pytest

from noise.protocol.evidence.proof import make_proof
from noise_client.cli_verdicts import ProofFiles, describe, judgement_json
from noise_client.evidence_store import KeptProof
from noise_client.verdicts import Judgement, Reason, Verdict
from tests.protocol.evidence.convictions import conviction, told_truly
from tests.protocol.evidence.exhibits import file_of
from tests.protocol.evidence.rosters_and_challenges import case
from tests.vectors.cast import ORIGIN

OUTBOX, INBOX = (
    KeptProof(1, file_of(told_truly(), conviction(name)))
    for name in ("AlteredMessage, envelope", "AlteredMessage, header")
)


def written(directory: Path, *proofs: KeptProof) -> list[tuple[str, bytes]]:
    """What one process writes."""
    paths = ProofFiles(str(directory / "x.device"), "test").write(proofs)
    return [(path.name, path.read_bytes()) for path in paths]


def test_two_proofs_of_one_class_and_epoch_are_two_files(tmp_path: Path) -> None:
    expected = [
        ("x.device.AlteredMessage-5.proof", OUTBOX.proof),
        ("x.device.AlteredMessage-5.inbox-0-0.proof", INBOX.proof),
    ]
    for _ in range(2):
        assert written(tmp_path, OUTBOX, INBOX) == expected, "the next process finds its own files"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(name for name, _ in expected)


def test_a_proof_is_written_once_and_what_convicts_nobody_never(tmp_path: Path) -> None:
    files = ProofFiles(str(tmp_path / "x.device"), "test")
    assert files.write([KeptProof(1, OUTBOX.proof[:-1]), OUTBOX]) == [tmp_path / "x.device.AlteredMessage-5.proof"]
    assert files.write([OUTBOX]) == []


def test_a_suspicion_is_no_proof_by_its_name_and_its_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = case("UnansweredChallenge")
    [(name, _)] = written(tmp_path, KeptProof(1, make_proof(ORIGIN, made.rosters, made.finding)))
    assert name == "x.device.UnansweredChallenge-5.suspicion"
    said = capsys.readouterr().err
    assert "SUSPICION, no proof: router-0-0 was asked" in said and "PROOF of" not in said


def test_who_is_convicted_comes_first() -> None:
    omission = Reason("Omission", "a message did not arrive", "provider")
    lie = Reason("StageOmission", "router-0-0 was given it", "router-0-0")
    silence = Reason("unresponsive", "outbox-0-0 shows nothing", "outbox-0-0")
    doubt = Reason("peer-differs", "a peer counts more")
    assert describe(Judgement(Verdict.EXPOSED, (omission, silence, doubt))).startswith("the provider is EXPOSED: a ")
    judgement = Judgement(Verdict.EXPOSED, (omission, lie, silence, doubt))
    assert describe(judgement).startswith(
        "the provider is EXPOSED by router-0-0: a message did not arrive [Omission]; "
    )
    assert judgement_json(Judgement(Verdict.EXPOSED, (lie, doubt))) == {
        "verdict": "exposed",
        "reasons": [
            {"code": "StageOmission", "detail": "router-0-0 was given it", "accused": "router-0-0"},
            {"code": "peer-differs", "detail": "a peer counts more", "accused": ""},
        ],
    }
