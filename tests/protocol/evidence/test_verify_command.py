"""`noise verify` as a stranger runs it: in another process, under python -O, with the file and the origin alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from noise.cli import main
from noise.cli.verdict_text import DEEDS
from noise.protocol.evidence.proof import KINDS, PROOF, PROOF_BYTES_MAX, make_proof
from noise.protocol.identifiers import format_id
from tests.protocol.evidence.convictions import LAST, conviction, told_truly
from tests.protocol.evidence.exhibits import rosters_of
from tests.vectors.cast import ORIGIN, OTHER_ORIGIN

ROOT = Path(__file__).resolve().parents[3]
NAME = format_id(ORIGIN)
HEAVY = ("trio", "quart", "hypercorn", "sqlite3", "rich", "noise.store", "noise.node", "noise.pipeline", "noise.web")


def write(tmp_path: Path, name: str = "Omission, idle tail") -> Path:
    path = tmp_path / "proof"
    path.write_bytes(make_proof(ORIGIN, rosters_of(told_truly()), conviction(name)))
    return path


def test_every_class_has_words() -> None:
    assert DEEDS.keys() == KINDS.keys() - {"BlameTrail"}, "that one is told as what it finds"


def test_a_stranger_convicts_in_another_process(tmp_path: Path) -> None:
    """Assertions off, no server loaded, no network or state: an empty directory."""
    path = write(tmp_path)
    code = (
        "import sys; from noise.cli import main; status = main(sys.argv[1:]);"
        f"print([m for m in {HEAVY!r} if m in sys.modules]); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-O", "-c", code, "verify", str(path), "--origin", NAME],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said[0] == f"CONVICTED: provider {NAME} withheld a message from one of its recipients."
    assert said[1].startswith(f"Omission in epoch {LAST}: the message 5/0/2 that was sequenced")
    assert said[-1] == "[]"


def test_it_names_the_actor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(write(tmp_path, "ManifestEquivocation")), "--origin", NAME]) == 0
    assert f"provider {NAME} (its inbox-0-0) signed two versions" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("result", "status"), [("convicted", 0), ("not-proven", 1), ("malformed", 2), ("unreadable", 2)]
)
def test_one_json_object_with_stable_members(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], result: str, status: int
) -> None:
    path, origin = write(tmp_path), ORIGIN
    if result == "not-proven":
        origin = OTHER_ORIGIN
    if result == "malformed":
        path.write_bytes(path.read_bytes()[:-1])
    if result == "unreadable":
        path = tmp_path / "missing"
    assert main(["verify", str(path), "--origin", format_id(origin), "--json"]) == status
    shown = json.loads(capsys.readouterr().out)
    assert list(shown) == ["result", "kind", "accused", "origin", "epoch", "detail"]
    assert (shown["result"], shown["origin"]) == (result, format_id(origin))
    verdict = ("Omission", "provider", str(LAST)) if result == "convicted" else (None, None, None)
    assert (shown["kind"], shown["accused"], shown["epoch"]) == verdict
    assert shown["detail"]


def test_what_is_not_proven_is_not_said_to_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path)
    proof = PROOF.decode(path.read_bytes())
    path.write_bytes(PROOF.encode(proof._replace(rosters=())))
    assert main(["verify", str(path), "--origin", NAME]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("NOT PROVEN: ")


@pytest.mark.parametrize("content", [b"", b"hello", bytes(PROOF_BYTES_MAX * 2), b"\x00\x1b" + b"\xff" * 100_000])
def test_what_is_no_proof_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes) -> None:
    path = tmp_path / "proof"
    path.write_bytes(content)
    assert main(["verify", str(path), "--origin", NAME]) == 2
    assert capsys.readouterr().err.startswith("MALFORMED: ")
    assert main(["verify", str(tmp_path), "--origin", NAME]) == 2
    assert capsys.readouterr().err.startswith("UNREADABLE: ")


@pytest.mark.parametrize("arguments", [[], ["FILE"], ["FILE", "--origin", "x"], ["FILE", "--origin", NAME + "A"]])
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["verify", *arguments])
    assert caught.value.code == 2
    assert "usage: noise verify" in capsys.readouterr().err
