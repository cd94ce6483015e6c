"""The files in which the command leaves proofs for strangers."""

from pathlib import Path

from noise_client.cli_verdicts import ProofFiles
from noise_client.evidence_store import KeptProof
from tests.protocol.evidence.convictions import conviction, told_truly
from tests.protocol.evidence.exhibits import file_of

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
